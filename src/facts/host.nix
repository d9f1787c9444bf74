# Everything landfall wants to know of a host, in one evaluation:
#
#     nix eval --json 'FLAKE#nixosConfigurations."HOST"' --apply "($(cat host.nix)) [ ] [ ]"
#
# `loaders`: the boot loaders to look for, each with the key it has here and the path of its option below `boot`.
# `keep`: pools and disks of the layout that are to be kept, by their names in it or, of disks, their paths.
# What is needed (the toplevel) fails in the flake's own words; what is only good to know is `known`, each for itself, and becomes
# null, or what is taken where nothing is known.
# The evaluation leaves the .drv files in the store, so that building needs no second one.
loaders: keep: host:
let
  inherit (builtins) all any attrNames attrValues concatMap elem elemAt filter isAttrs isList length map mapAttrs sort;

  # A system (`nixosConfigurations.x`), or a bare config attribute set as upstream also accepts it.
  config = host.config or host;

  # `tryEval` catches `throw` and failed `assert`, which is what NixOS uses for options without a value; a
  # missing attribute is caught by `or`. It is shallow, hence the deepSeq.
  known = value:
    let tried = builtins.tryEval (builtins.deepSeq value value);
    in if tried.success && isData tried.value then tried.value else null;

  # What JSON has no form of, is not known either.
  isData = value:
    if isAttrs value then value ? outPath || all isData (attrValues value)
    else if isList value then all isData value
    else !(builtins.isFunction value);

  knownOr = otherwise: value:
    let found = known value;
    in if found == null then otherwise else found;

  # `tryEval` does not catch errors of type: what is no set or no list where one is expected counts as empty.
  set = value: if isAttrs value then value else { };
  list = value: if isList value then value else [ ];

  # The first candidate that evaluates. Each is tried alone: `a.b or c` does not survive a throw inside a.b.
  firstKnown = candidates:
    let found = filter (value: value != null) (map known candidates);
    in if found == [ ] then null else builtins.head found;

  # The names are not `drvPath` and `outPath`: toJSON prints an attribute set with an outPath as that string.
  derivation = value: {
    drv = builtins.unsafeDiscardStringContext value.drvPath;
    out = builtins.unsafeDiscardStringContext value.outPath;
    system = value.system or null;
  };
  script = value: known (if isAttrs value then derivation value else null);

  text = value:
    if builtins.isFunction value || isAttrs value && !(value ? outPath || value ? __toString) then throw "this is no text"
    else builtins.unsafeDiscardStringContext (toString value);
  textOrNull = value: if value == null then null else text value;
  texts = mapAttrs (_: text);
  build = config.system.build or { };
  loader = config.boot.loader or { };
  ssh = config.services.openssh or { };
  users = config.users.users or { };
  devices = config.disko.devices or { };
  pools = devices.zpool or { };

  # disko numbers partitions by priority; without its numbers they stay in the order of their names. Its older tables have a list
  # of them, which may leave out the names.
  partitionsOf = content:
    let
      declared = content.partitions or { };
      listed = builtins.genList
        (at: let partition = elemAt declared at; in
          partition // { _index = at; name = if partition.name or null == null then toString (at + 1) else partition.name; })
        (length declared);
      all = if isList declared then listed
        else attrValues (mapAttrs (name: partition: partition // { inherit name; }) declared);
    in
    sort (a: b: (a._index or 0) < (b._index or 0)) all;

  contentType = content: if isAttrs content then content.type or null else null;
  poolOf = content: if contentType content == "zfs" then content.pool or null else null;

  # The pools that a disk is a member of, with the device by which it is: a partition, or the disk itself.
  membershipsOf = disk:
    filter (member: member.pool != null) (
      [ { inherit (disk) device; pool = poolOf (disk.content or null); } ]
      ++ map
        (partition: {
          device = (partition.content or { }).device or partition.device or null;
          pool = poolOf (partition.content or null);
        })
        (partitionsOf (disk.content or { }))
    );

  # A pool is kept with all its disks, a disk with all its pools, and so on.
  kept =
    let
      disks = devices.disk or { };
      memberships = mapAttrs (_: membershipsOf) disks;
      poolNode = name: { key = "pool ${name}"; pool = name; };
      diskNode = name: { key = "disk ${name}"; disk = name; };
      isMember = pool: name: elem pool (map (member: member.pool) memberships.${name});
      named = wish:
        (if pools ? ${wish} then [ (poolNode wish) ] else [ ])
        ++ map diskNode (filter (name: name == wish || text disks.${name}.device == wish) (attrNames disks));
      all = builtins.genericClosure {
        startSet = concatMap named keep;
        operator = node:
          if node ? pool then map diskNode (filter (isMember node.pool) (attrNames disks))
          else map (member: poolNode member.pool) memberships.${node.disk};
      };
    in
    {
      inherit memberships;
      pools = map (node: node.pool) (filter (node: node ? pool) all);
      # In the layout's order, whichever was named.
      disks = builtins.sort builtins.lessThan (map (node: node.disk) (filter (node: node ? disk) all));
      unknown = filter (wish: named wish == [ ]) keep;
    };

  # disko's own script that creates what is missing, for a layout in which a kept disk has no partitions to be made:
  # it is its members only, which disko names to the pool and does not write to. (With the partitions, sgdisk would
  # write a new table, with other GUIDs.)
  formatScript =
    let
      force = content: { _type = "override"; priority = 50; inherit content; };
      member = { device, pool }: {
        device = force device;
        destroy = force false;
        content = force { type = "zfs"; inherit pool; };
      };
      nothing = { destroy = force false; content = force null; };
      # One entry for each membership; the first has the disk's own name.
      entries = name:
        let
          members = kept.memberships.${name};
          entry = at: {
            name = if at == 0 then name else "${name}-member-${toString at}";
            value = { type = "disk"; } // member (elemAt members at);
          };
        in
        if members == [ ] then [ { inherit name; value = nothing; } ]
        else builtins.genList entry (length members);
      without = builtins.listToAttrs (concatMap entries kept.disks);
      changed = host.extendModules { modules = [ { disko.devices.disk = without; } ]; };
    in
    if kept.disks == [ ] || !(host ? extendModules) then null
    else script (changed.config.system.build.formatScript or null);

  disk = name: disk: {
    device = text disk.device;
    destroy = (disk.destroy or true) && !(elem name kept.disks);
    content = contentType (disk.content or null);
    pool = poolOf (disk.content or null);
    partitions = map
      (partition: {
        inherit (partition) name;
        label = textOrNull (partition.label or null);
        start = textOrNull (partition.start or null);
        size = textOrNull (partition.size or null);
        end = textOrNull (partition.end or null);
        type = textOrNull (partition.type or null);
        content = contentType (partition.content or null);
        pool = poolOf (partition.content or null);
      })
      (partitionsOf (disk.content or { }));
  };

  pool = pool: {
    mode = if builtins.isString (pool.mode or "") then pool.mode or "" else null;
    options = texts (pool.options or { });
    rootFsOptions = texts (pool.rootFsOptions or { });
    # `__root` is disko's name for the pool's own dataset.
    datasets = mapAttrs (_: dataset: texts (dataset.options or { })) (removeAttrs (pool.datasets or { }) [ "__root" ]);
  };

  # The layout as plain data: hooks, functions and what disko keeps for itself (`_create` …) are left out, and what throws is
  # null. What it means is worked out elsewhere (devices.rs).
  plain = depth: value:
    let
      tried = builtins.tryEval (builtins.typeOf value);
      kind = if tried.success && depth > 0 then tried.value else "null";
      inner = plain (depth - 1);
      isOwn = name: builtins.substring 0 1 name == "_";
    in
    if kind == "set" then
      if value ? outPath then known (text value)
      else mapAttrs (_: inner) (removeAttrs value (filter isOwn (attrNames value)))
    else if kind == "list" then map inner value
    else if kind == "string" || kind == "path" then known (text value)
    else if elem kind [ "bool" "int" "float" ] then value
    else null;

  fileSystems = mapAttrs
    (_: system: {
      device = known (textOrNull (system.device or null));
      fsType = knownOr "auto" (text (system.fsType or "auto"));
      options = knownOr [ ] (map text (list (system.options or [ ])));
      neededForBoot = knownOr false (system.neededForBoot or false == true);
    })
    (set (config.fileSystems or { }));

  # A list in older configurations, an attribute set of booleans in newer ones.
  switchedOn = value: if isList value then value else filter (name: value.${name} == true) (attrNames (set value));
  # Yes, if one of the signs is there; no, if none is and all of them are known.
  zfs =
    let
      signs = map known [
        (elem "zfs" (switchedOn (config.boot.supportedFilesystems or [ ])))
        (pools != { })
        (any (system: system.fsType == "zfs") (attrValues fileSystems))
      ];
    in
    if elem true signs then true else if elem null signs then null else false;

  keysOf = user:
    let keys = user.openssh.authorizedKeys or { };
    in length (list (keys.keys or [ ])) + length (list (keys.keyFiles or [ ]));
  hasPassword = user:
    let
      given = map (name: user.${name} or null) [ "hashedPassword" "password" "initialPassword" "initialHashedPassword" ];
      files = map (name: user.${name} or null) [ "hashedPasswordFile" "passwordFile" ];
      # "!" and "*" are what no password can match (shadow(5)).
      real = value: value != null && !(elem value [ "" "!" "*" "!*" ]);
    in
    any real given || any (file: file != null) files;
  usersWith = test: knownOr [ ] (filter (name: knownOr false (test users.${name})) (attrNames (set users)));
  sshSettings = ssh.settings or { };
  # A list in newer releases, words with blanks between in older ones and in free settings.
  words = value:
    if value == null then null
    else filter (word: builtins.isString word && word != "") (concatMap (item: builtins.split " +" (text item)) (if isList value then value else [ value ]));
  root = users.root or { };
  logins = {
    # What is not known is no reason to say that nobody can log in.
    sshd = knownOr true (ssh.enable or false == true);
    ports = knownOr [ ] (list (ssh.ports or [ ]));
    # `services.openssh.settings` is younger than NixOS 23.05.
    permitRootLogin = known (textOrNull (sshSettings.PermitRootLogin or ssh.permitRootLogin or null));
    passwordAuthentication = known (sshSettings.PasswordAuthentication or ssh.passwordAuthentication or null);
    publicKeyAuthentication = known (sshSettings.PubkeyAuthentication or null);
    authenticationMethods = known (words (sshSettings.AuthenticationMethods or null));
    allowUsers = known (words (sshSettings.AllowUsers or null));
    denyUsers = known (words (sshSettings.DenyUsers or null));
    allowGroups = known (words (sshSettings.AllowGroups or null));
    denyGroups = known (words (sshSettings.DenyGroups or null));
    rootGroups = filter (name: name != "") (
      [ (knownOr "root" (text (root.group or "root"))) ] ++ knownOr [ ] (map text (list (root.extraGroups or [ ])))
    );
    # Keys that are not in the configuration, or cannot be read: from here it is unknown whether there are any.
    keysFromElsewhere = knownOr true (
      known (keysOf root) == null
      || !(elem (ssh.authorizedKeysCommand or "none") [ null "none" ])
      || (sshSettings.TrustedUserCAKeys or null) != null
    );
    rootKeys = knownOr 0 (keysOf root);
    usersWithKeys = filter (name: name != "root") (usersWith (user: keysOf user > 0));
    usersWithPassword = usersWith hasPassword;
  };

  grubDevices =
    filter (device: device != "") ([ (loader.grub.device or "") ] ++ (loader.grub.devices or [ ]))
    ++ concatMap (copy: copy.devices or [ ]) (loader.grub.mirroredBoots or [ ]);

  # Where no boot loader is enabled, NixOS has a script that only says so: `no-bootloader`, in old releases a line of shell.
  bootInstaller =
    let installer = build.installBootLoader or null;
    in if isAttrs installer then installer.name or "" else if builtins.isString installer then text installer else "";
  installsBootLoader =
    bootInstaller != ""
    && builtins.match ".*(no-bootloader|do not know how to make this configuration bootable).*" bootInstaller == null;
  bootLoader =
    let
      isOn = option: (builtins.foldl' (set: name: set.${name} or { }) (config.boot or { }) option).enable or false == true;
      found = firstKnown (map ({ key, option }: if isOn option then key else null) loaders);
    in
    if found == null && known installsBootLoader == true then "other" else found;
  # What several boot loaders have by the same names, of the one that is switched on.
  ownLoader =
    {
      extlinux = loader.generic-extlinux-compatible or { };
      limine = loader.limine or { };
      refind = loader.refind or { };
    }.${toString bootLoader} or (loader.grub or { });
  mirroredBoots =
    if bootLoader == "lanzaboote" then map (path: { inherit path; }) (config.boot.lanzaboote.extraEfiSysMountPoints or [ ])
    else ownLoader.mirroredBoots or [ ];

  # In a store that lies elsewhere on this machine, a path of a flake's source is spelled with that place in front.
  inStore = path:
    let found = builtins.match "/.*(${builtins.storeDir}/.*)" path;
    in if found == null then path else builtins.head found;
  secrets = map
    (name:
      let secret = config.age.secrets.${name};
      in {
        inherit name;
        path = knownOr "" (text (secret.path or ""));
        # Where the ciphertext is. What is named by a path need not be there: landfall looks for itself.
        file = known (if secret.file or null == null then null else inStore (text secret.file));
        mode = knownOr "" (text (secret.mode or ""));
        owner = knownOr "" (text (secret.owner or ""));
        group = knownOr "" (text (secret.group or ""));
        symlink = knownOr true (secret.symlink or true == true);
      })
    (attrNames (set (config.age.secrets or { })));

  failedAssertions = known (map (failed: text failed.message) (filter (entry: !entry.assertion) (list (config.assertions or [ ]))));
in
{
  inherit failedAssertions;
  hostName = known (config.networking.hostName or null);
  # `config.pkgs` does not exist: `pkgs` stands beside `config`. `nixpkgs.hostPlatform` throws in flakes that
  # still say `system =`.
  system = firstKnown [
    (host.pkgs.stdenv.hostPlatform.system or null)
    (config.nixpkgs.hostPlatform.system or null)
    (host.pkgs.system or null)
    (config.nixpkgs.system or null)
  ];
  # Failed assertions are reported one by one; any other error must reach the user in its own words.
  toplevel = if build ? toplevel && (failedAssertions == null || failedAssertions == [ ]) then derivation build.toplevel else null;
  diskoScript = script (build.diskoScript or null);
  destroyFormatMount = script (build.destroyFormatMount or null);
  mountScript = script (build.mountScript or null);
  kept = let found = known { inherit (kept) pools disks unknown; }; in
    if keep == [ ] then { }
    else if found == null then { unknown = keep; }
    else found // { formatScript = known formatScript; };
  zfsVersion = known (textOrNull (config.boot.zfs.package.version or null));
  disks = known (mapAttrs disk (devices.disk or { }));
  pools = known (mapAttrs (_: pool) pools);
  layout = known (plain 20 devices);
  fileSystems = known fileSystems;
  isContainer = known (config.boot.isContainer or false);
  hostId = known (config.networking.hostId or null);
  zfs = known zfs;
  kernelParams = known (map text (list (config.boot.kernelParams or [ ])));
  modprobeConfig = known (text (config.boot.extraModprobeConfig or ""));
  initrdModules = known (switchedOn (config.boot.initrd.availableKernelModules or [ ]) ++ switchedOn (config.boot.initrd.kernelModules or [ ]));
  logins = known logins;
  users = known (attrNames (set users));
  groups = known (attrNames (set (config.users.groups or { })));
  secrets = known secrets;
  identityPaths = known (map text (list (config.age.identityPaths or [ ])));
  inherit bootLoader;
  firmware = known {
    efi = ownLoader.efiSupport or false;
    # "nodev" is GRUB's word for none: only its configuration is written.
    bios = ownLoader.biosSupport or (any (device: device != "nodev") grubDevices);
    removable = ownLoader.efiInstallAsRemovable or false;
    ia32 = loader.grub.forcei686 or false;
    variables = loader.efi.canTouchEfiVariables or false;
  };
  bootPlaces = {
    esp = known (textOrNull (loader.efi.efiSysMountPoint or null));
    xbootldr = known (textOrNull (loader.systemd-boot.xbootldrMountPoint or null));
    mirrors = known (map
      (copy: {
        path = text (copy.path or "/boot");
        esp = textOrNull (copy.efiSysMountPoint or null);
      })
      mirroredBoots);
  };
  deviceTree = known (if config.hardware.deviceTree.enable or false == true then config.hardware.deviceTree.name or null else null);
  hostKeys = known (map (key: { path = text key.path; type = key.type or "ed25519"; }) (list (ssh.hostKeys or [ ])));
  warnings = known (map text (list (config.warnings or [ ])));
}
