# As much of disko as disko-specs/ and hosts.nix use: the same options with the same defaults, the
# same file systems out of them, and scripts that do the same in the same order. The scripts' verbs are
# shell functions in disko.sh; what is generated here are their calls.
{ build }:
let
  inherit (builtins)
    attrNames
    attrValues
    concatMap
    concatStringsSep
    elemAt
    filter
    foldl'
    genList
    hashString
    head
    length
    listToAttrs
    map
    mapAttrs
    readFile
    sort
    stringLength
    substring
    tail
    toString
    ;

  rootMountPoint = "/mnt";

  call = words: concatStringsSep " " ([ (head words) ] ++ map build.quote (tail words));

  #
  # The options, with disko's defaults
  #

  contents = {
    filesystem =
      device: given:
      {
        inherit device;
        extraArgs = [ ];
        mountOptions = [ "defaults" ];
        mountpoint = null;
      }
      // given;
    zfs = device: given: { inherit device; } // given;
  };

  evaluateContent =
    device: given:
    if contents ? ${given.type} then
      contents.${given.type} device given
    else
      throw "the fixture's disko knows no content of type ${given.type}";

  # GPT names have 36 characters.
  label =
    name: if stringLength name > 36 then substring 0 36 (hashString "sha256" name) else name;

  evaluatePartition =
    disk: name: given:
    let
      partition = {
        inherit name;
        type = "8300";
        attributes = [ ];
        priority =
          if partition.size == "100%" then
            9001
          else if partition.type == "EF02" then
            100
          else
            1000;
        uuid = null;
        label = label "disk-${disk}-${name}";
        size = "0";
        start = "0";
        end = if partition.size == "100%" then "-0" else "+${partition.size}";
        device = "/dev/disk/by-partlabel/${partition.label}";
      }
      // given
      // {
        content = evaluateContent partition.device given.content;
      };
    in
    partition;

  # Partitions are numbered by priority: what takes the rest of the disk comes last.
  numbered =
    partitions:
    let
      sorted = sort (a: b: a.priority < b.priority) (attrValues partitions);
    in
    listToAttrs (
      genList (
        at:
        let
          partition = elemAt sorted at;
        in
        {
          inherit (partition) name;
          value = partition // {
            _index = at + 1;
          };
        }
      ) (length sorted)
    );

  evaluateDisk =
    name: given:
    {
      inherit name;
      destroy = true;
    }
    // given
    // {
      content =
        if given.content == null then
          null
        else if given.content.type != "gpt" then
          evaluateContent given.device given.content
        else
          {
            inherit (given) device;
          }
          // given.content
          // {
            partitions = numbered (mapAttrs (evaluatePartition name) given.content.partitions);
          };
    };

  evaluateDataset =
    pool: name: given:
    {
      inherit name;
      _name = "${pool}/${name}";
      mountpoint = null;
      mountOptions = [ "defaults" ];
      options = { };
    }
    // given;

  evaluatePool =
    name: given:
    let
      pool = {
        inherit name;
        mode = "";
        options = { };
        rootFsOptions = { };
        mountpoint = null;
        mountOptions = [ "defaults" ];
      }
      // given;
    in
    pool
    // {
      datasets = mapAttrs (evaluateDataset name) (given.datasets or { }) // {
        # The pool's own data set; it exists as soon as the pool does.
        __root = {
          name = "__root";
          _name = name;
          type = "zfs_fs";
          options = pool.rootFsOptions;
          inherit (pool) mountpoint mountOptions;
        };
      };
    };

  #
  # What follows from them
  #

  partitionsOf =
    disk: sort (a: b: a._index < b._index) (attrValues (disk.content.partitions or { }));

  ofDisk =
    disk:
    concatMap (
      { content, ... }:
      if content.type == "filesystem" && content.mountpoint != null then
        [
          {
            inherit (content) mountpoint device;
            fsType = content.format;
            options = content.mountOptions;
          }
        ]
      else
        [ ]
    ) (partitionsOf disk);

  mounted =
    dataset: (dataset.options.mountpoint or "") != "none" && (dataset.options.canmount or "") != "off";
  legacy = dataset: (dataset.options.mountpoint or "") == "legacy";

  ofPool =
    pool:
    map (dataset: {
      inherit (dataset) mountpoint;
      device = dataset._name;
      fsType = "zfs";
      options = dataset.mountOptions ++ (if legacy dataset then [ ] else [ "zfsutil" ]);
    }) (filter mounted (attrValues pool.datasets));

  # A parent before what is mounted below it.
  depth = path: if path == "/" then path else path + "/";
  byMountpoint = sort (a: b: depth a.mountpoint < depth b.mountpoint);

  assign = options: map (name: "${name}=${options.${name}}") (attrNames options);
  flagged =
    flag:
    concatMap (assignment: [
      flag
      assignment
    ]);

  scripts =
    devices:
    let
      disks = attrValues devices.disk;
      pools = attrValues devices.zpool;
      wiped = map (disk: disk.device) (filter (disk: disk.destroy) disks);

      members =
        pool:
        concatMap (
          { content, ... }: if content.type == "zfs" && content.pool == pool then [ content.device ] else [ ]
        ) (filter (disk: disk.content != null) disks ++ concatMap partitionsOf disks);

      createPartition =
        disk: partition:
        [
          "create_partition"
          disk.device
          (toString partition._index)
          partition.start
          partition.end
          partition.type
          partition.label
          partition.device
        ]
        ++ map toString partition.attributes;

      createContent =
        { content, ... }:
        if content.type == "filesystem" then
          [
            (
              [
                "create_filesystem"
                content.format
                content.device
              ]
              ++ content.extraArgs
            )
          ]
        else
          [ ];

      createDisk =
        disk: map (createPartition disk) (partitionsOf disk) ++ concatMap createContent (partitionsOf disk);

      createDataset =
        dataset:
        let
          options =
            (if dataset.mountpoint == null then { } else { inherit (dataset) mountpoint; }) // dataset.options;
        in
        if dataset.name == "__root" then
          [ ]
        else
          [
            (
              [
                "create_dataset"
                dataset._name
              ]
              ++ assign options
            )
          ];

      createPool =
        pool:
        [
          (
            [
              "create_pool"
              pool.name
            ]
            ++ flagged "-o" (assign pool.options)
            ++ flagged "-O" (assign pool.rootFsOptions)
            ++ [ pool.name ]
            ++ (if pool.mode == "" then [ ] else [ pool.mode ])
            ++ members pool.name
          )
        ]
        ++ concatMap createDataset (attrValues pool.datasets);

      steps = {
        confirm = [ ([ "confirm" ] ++ wiped) ];
        destroy = [ [ "unmount_all" ] ] ++ map (device: [ "destroy_disk" device ]) wiped;
        format = concatMap createDisk disks ++ concatMap createPool pools;
        mount =
          map (pool: [
            "import_pool"
            pool.name
          ]) pools
          ++ map (fs: [
            "mount_filesystem"
            fs.fsType
            fs.device
            fs.mountpoint
            (concatStringsSep "," fs.options)
          ]) (byMountpoint (concatMap ofDisk disks ++ concatMap ofPool pools));
      };

      text =
        names:
        if disks == [ ] then
          throw "No disks defined, did you forget to import your disko config?"
        else
          concatStringsSep "\n" (
            [
              "#!/bin/sh"
              (readFile ./disko.sh)
            ]
            ++ map call (concatMap (name: steps.${name}) names)
            ++ [ "" ]
          );

      # Before 1.9 disko's scripts were their own output, and asked nothing; the newer ones are
      # programs in bin/. Both exist side by side, and so do variants with and without closure, which
      # are the same here: the installer's tools are used in any case.
      old = name: steps: {
        inherit name;
        mode = "755";
        text = text steps;
      };
      new =
        name: steps:
        old name steps
        // {
          to = "/bin/${name}";
        };
      all = mapAttrs (_: build.write) {
        diskoScript = old "disko" [
          "destroy"
          "format"
          "mount"
        ];
        destroyScript = old "disko-destroy" [ "destroy" ];
        formatScript = old "disko-format" [ "format" ];
        mountScript = old "disko-mount" [ "mount" ];

        destroy = new "disko-destroy" [
          "confirm"
          "destroy"
        ];
        format = new "disko-format" [ "format" ];
        mount = new "disko-mount" [ "mount" ];
        formatMount = new "disko-format-mount" [
          "format"
          "mount"
        ];
        destroyFormatMount = new "disko-destroy-format-mount" [
          "confirm"
          "destroy"
          "format"
          "mount"
        ];
      };
    in
    foldl' (found: name: found // { "${name}NoDeps" = all.${name}; }) all (attrNames all);
in
given:
let
  devices = {
    disk = mapAttrs evaluateDisk (given.disk or { });
    zpool = mapAttrs evaluatePool (given.zpool or { });
  };
in
{
  inherit devices rootMountPoint;
  scripts = scripts devices;
  fileSystems = listToAttrs (
    map (fs: {
      name = fs.mountpoint;
      value = removeAttrs fs [ "mountpoint" ];
    }) (concatMap ofDisk (attrValues devices.disk) ++ concatMap ofPool (attrValues devices.zpool))
  );
}
