# Everything landfall wants to know of a host, in one evaluation:
#
#     nix eval --json 'FLAKE#nixosConfigurations' --apply "hosts: ($(cat host.nix)) hosts hosts.\"HOST\""
#
# What is needed (the toplevel) fails in the flake's own words; what is only good to know becomes null.
# The evaluation leaves the .drv files in the store, so that building needs no second one.
hosts: host:
let
  inherit (builtins) attrNames attrValues concatMap elem filter isAttrs isList length map mapAttrs sort;

  # A system (`nixosConfigurations.x`), or a bare config attribute set as upstream also accepts it.
  config = host.config or host;

  # `tryEval` catches `throw` and failed `assert`, which is what NixOS uses for options without a value; a
  # missing attribute is caught by `or`. It is shallow, hence the deepSeq.
  known = value:
    let tried = builtins.tryEval (builtins.deepSeq value value);
    in if tried.success then tried.value else null;

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
  script = value: if value == null then null else known (derivation value);

  text = value: builtins.unsafeDiscardStringContext (toString value);
  textOrNull = value: if value == null then null else text value;
  texts = mapAttrs (_: text);
  build = config.system.build or { };
  loader = config.boot.loader or { };
  ssh = config.services.openssh or { };
  users = config.users.users or { };
  devices = config.disko.devices or { };
  pools = devices.zpool or { };

  # disko numbers partitions by priority; without its numbers they stay in the order of their names.
  partitionsOf = content:
    let
      all = attrValues (mapAttrs (name: partition: partition // { inherit name; }) (content.partitions or { }));
    in
    sort (a: b: (a._index or 0) < (b._index or 0)) all;

  contentType = content: if isAttrs content then content.type or null else null;
  poolOf = content: if contentType content == "zfs" then content.pool or null else null;

  disk = disk: {
    device = text disk.device;
    destroy = disk.destroy or true;
    content = contentType (disk.content or null);
    pool = poolOf (disk.content or null);
    partitions = map
      (partition: {
        inherit (partition) name;
        label = textOrNull (partition.label or null);
        start = textOrNull (partition.start or null);
        size = textOrNull (partition.size or null);
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
    # `__root` is disko's name for the pool's own data set.
    datasets = mapAttrs (_: dataset: texts (dataset.options or { })) (removeAttrs (pool.datasets or { }) [ "__root" ]);
  };

  # Where the layout mounts something, below any depth of partitions, LUKS, LVM and md.
  at = point: if builtins.isString point && builtins.substring 0 1 point == "/" then [ point ] else [ ];
  mountsOf = content:
    if !(isAttrs content) then [ ] else
    at (content.mountpoint or null)
    ++ concatMap (partition: mountsOf (partition.content or null)) (attrValues (content.partitions or { }))
    ++ concatMap (volume: at (volume.mountpoint or null)) (attrValues (content.subvolumes or { }))
    ++ (if content ? content then mountsOf content.content else [ ]);
  # A data set is mounted by its mountpoint, unless its properties keep it from that.
  datasetMounts = dataset:
    if (dataset.options.mountpoint or "") == "none" || (dataset.options.canmount or "") == "off" then [ ] else
    at (dataset.mountpoint or null);
  layoutMounts =
    concatMap (disk: mountsOf (disk.content or null)) (attrValues (devices.disk or { }))
    ++ concatMap (array: mountsOf (array.content or null)) (attrValues (devices.mdadm or { }))
    ++ concatMap (group: concatMap (volume: mountsOf (volume.content or null)) (attrValues (group.lvs or { }))) (attrValues (devices.lvm_vg or { }))
    ++ concatMap (system: at (system.mountpoint or null)) (attrValues (devices.nodev or { }))
    ++ concatMap (pool: at (pool.mountpoint or null) ++ concatMap datasetMounts (attrValues (pool.datasets or { }))) (attrValues pools);

  fileSystems = mapAttrs
    (_: system: {
      device = textOrNull (system.device or null);
      fsType = text (system.fsType or "auto");
      options = map text (system.options or [ ]);
      neededForBoot = system.neededForBoot or false;
    })
    (config.fileSystems or { });

  # A list in older configurations, an attribute set of booleans in newer ones.
  switchedOn = set: if isList set then set else filter (name: set.${name} == true) (attrNames set);
  zfs =
    elem "zfs" (switchedOn (config.boot.supportedFilesystems or [ ]))
    || pools != { }
    || builtins.any (system: (system.fsType or "") == "zfs") (attrValues (config.fileSystems or { }));

  keysOf = user:
    let keys = user.openssh.authorizedKeys or { };
    in length (keys.keys or [ ]) + length (keys.keyFiles or [ ]);
  hasPassword = user:
    let
      given = map (name: user.${name} or null) [ "hashedPassword" "password" "initialPassword" "initialHashedPassword" ];
      files = map (name: user.${name} or null) [ "hashedPasswordFile" "passwordFile" ];
      # "!" and "*" are what no password can match (shadow(5)).
      real = value: value != null && !(elem value [ "" "!" "*" "!*" ]);
    in
    builtins.any real given || builtins.any (file: file != null) files;
  usersWith = test: filter (name: test users.${name}) (attrNames users);
  sshSettings = ssh.settings or { };
  logins = {
    sshd = ssh.enable or false;
    ports = ssh.ports or [ ];
    permitRootLogin = textOrNull (sshSettings.PermitRootLogin or null);
    passwordAuthentication = sshSettings.PasswordAuthentication or null;
    rootKeys = keysOf (users.root or { });
    usersWithKeys = filter (name: name != "root") (usersWith (user: keysOf user > 0));
    usersWithPassword = usersWith hasPassword;
  };

  # In a store that lies elsewhere on this machine, a path of a flake's source is spelled with that place in front.
  inStore = path:
    let found = builtins.match "/.*(${builtins.storeDir}/.*)" path;
    in if found == null then path else builtins.head found;
  secrets = map
    (name:
      let secret = config.age.secrets.${name};
      in {
        inherit name;
        path = text (secret.path or "");
        # Where the ciphertext is. What is named by a path need not be there: landfall looks for itself.
        file = known (if secret.file or null == null then null else inStore (text secret.file));
        mode = text (secret.mode or "");
        owner = text (secret.owner or "");
        group = text (secret.group or "");
        symlink = secret.symlink or true;
      })
    (attrNames (config.age.secrets or { }));

  failedAssertions = known (map (failed: text failed.message) (filter (entry: !entry.assertion) (config.assertions or [ ])));

  nameOf = other: known (other.config.networking.hostName or null);
  hostName = known (config.networking.hostName or null);
in
{
  inherit hostName failedAssertions;
  # `config.pkgs` does not exist: `pkgs` stands beside `config`. `nixpkgs.hostPlatform` throws in flakes that
  # still say `system =`.
  system = firstKnown [
    (host.pkgs.stdenv.hostPlatform.system or null)
    (config.nixpkgs.hostPlatform.system or null)
    (host.pkgs.system or null)
    (config.nixpkgs.system or null)
  ];
  # Failed assertions are told one by one; any other error must reach the user in its own words.
  toplevel = if build ? toplevel && (failedAssertions == null || failedAssertions == [ ]) then derivation build.toplevel else null;
  diskoScript = script (build.diskoScript or null);
  destroyFormatMount = script (build.destroyFormatMount or null);
  mountScript = script (build.mountScript or null);
  disks = known (mapAttrs (_: disk) (devices.disk or { }));
  pools = known (mapAttrs (_: pool) pools);
  layoutMounts = known layoutMounts;
  fileSystems = known fileSystems;
  isContainer = known (config.boot.isContainer or false);
  hostId = known (config.networking.hostId or null);
  zfs = known zfs;
  kernelParams = known (map text (config.boot.kernelParams or [ ]));
  modprobeConfig = known (text (config.boot.extraModprobeConfig or ""));
  initrdModules = known (switchedOn (config.boot.initrd.availableKernelModules or [ ]) ++ switchedOn (config.boot.initrd.kernelModules or [ ]));
  logins = known logins;
  users = known (attrNames users);
  groups = known (attrNames (config.users.groups or { }));
  secrets = known secrets;
  identityPaths = known (map text (config.age.identityPaths or [ ]));
  namesakes = if hosts == null || hostName == null then null else
    known (filter (name: nameOf hosts.${name} == hostName) (attrNames hosts));
  bootLoader = firstKnown [
    (if loader.generic-extlinux-compatible.enable or false then "extlinux" else null)
    (if loader.systemd-boot.enable or false then "systemd-boot" else null)
    (if loader.grub.enable or false then "grub" else null)
  ];
  deviceTree = known (if config.hardware.deviceTree.enable or false then config.hardware.deviceTree.name or null else null);
  hostKeys = known (map (key: { path = text key.path; type = key.type or "ed25519"; }) (ssh.hostKeys or [ ]));
  warnings = known (map text (config.warnings or [ ]));
}
