# A NixOS-shaped system: `config` with the options an installer asks for, and a toplevel that nixos-install
# accepts, that boots, and that can be rebooted into other generations. What runs on the machine are the
# shell scripts in ../guest.
{ build, root }:
let
  inherit (builtins)
    attrNames
    concatMap
    concatStringsSep
    elem
    filter
    map
    mapAttrs
    match
    pathExists
    readFile
    sort
    toJSON
    toString
    ;
  inherit (build)
    quote
    run
    tools
    write
    ;

  mkDisko = import ./disko.nix { inherit build; };
  version = "25.11";

  # One file or directory of blobs/ as a store path of its own.
  blob =
    name: path:
    builtins.path {
      inherit name;
      path = root + "/blobs/${path}";
    };
  haveBlobs = pathExists (root + "/blobs");

  depth = path: if path == "/" then path else path + "/";
in
{
  hostName,
  system,
  hostId ? null,
  loader ? null,
  deviceTree ? null,
  kernelParams ? [ ],
  authorizedKeys ? [ ],
  isContainer ? false,
  disko ? null,
  fileSystems ? { },
  zfs ? hostId != null,
  initrdModules ? [
    "ahci"
    "sd_mod"
    "virtio_blk"
  ],
  secrets ? { },
  # None: the SSH host keys that age can use.
  identityPaths ? null,
  assertions ? [ ],
  warnings ? [ ],
}:
let
  # The images are arm64. Another host, or a test that only evaluates and builds, gets a few bytes of
  # text for a kernel, and the builder's own static programs.
  real = haveBlobs && system == "aarch64-linux";

  disks = mkDisko disko;
  config = {
    networking = {
      inherit hostName hostId;
      domain = null;
    };
    system = {
      name = hostName;
      stateVersion = version;
      nixos = {
        inherit version;
        release = version;
      };
      build = {
        inherit
          etc
          initialRamdisk
          kernel
          toplevel
          ;
      }
      // (if disko == null then { } else disks.scripts);
    };
    nixpkgs = {
      inherit system;
      hostPlatform = { inherit system; };
    };
    nix.settings = {
      substituters = [ "https://cache.nixos.org/" ];
      trusted-public-keys = [ "cache.nixos.org-1:6NCHdD59X431o0gWypbMrAURkbJ16ZPMQFGspcDShjY=" ];
      experimental-features = [
        "nix-command"
        "flakes"
      ];
    };
    boot = {
      inherit isContainer kernelParams;
      kernelPackages.kernel.version = "6.12";
      supportedFilesystems = {
        ext4 = true;
        inherit zfs;
      };
      zfs = {
        forceImportRoot = false;
        package.version = "2.3.2";
      };
      initrd = {
        availableKernelModules = initrdModules;
        kernelModules = [ ];
        network.ssh.hostKeys = [ ];
      };
      extraModprobeConfig = "";
      loader = {
        generic-extlinux-compatible.enable = loader == "generic-extlinux-compatible";
        grub = {
          enable = loader == "grub";
          devices = [ ];
        };
        systemd-boot.enable = loader == "systemd-boot";
        efi = {
          canTouchEfiVariables = loader == "systemd-boot";
          efiSysMountPoint = "/boot";
        };
      };
    };
    hardware.deviceTree = {
      enable = deviceTree != null;
      name = deviceTree;
    };
    services.openssh = {
      enable = true;
      ports = [ 22 ];
      # One kind only: an RSA key takes minutes on an emulated board.
      hostKeys = [
        {
          path = "/etc/ssh/ssh_host_ed25519_key";
          type = "ed25519";
        }
      ];
      settings = {
        KbdInteractiveAuthentication = false;
        PasswordAuthentication = false;
        PermitRootLogin = "prohibit-password";
      };
    };
    users.users.root = {
      openssh.authorizedKeys = {
        keys = authorizedKeys;
        keyFiles = [ ];
      };
      hashedPassword = null;
    };
    # As etc/passwd and etc/group have them.
    users.users.sshd = { };
    users.users.nobody = { };
    users.groups = {
      root = { };
      kvm = { };
      nogroup = { };
    };
    # As agenix has them.
    age = {
      secrets = mapAttrs (
        name: secret:
        {
          inherit name;
          path = "/run/agenix/${name}";
          mode = "0400";
          owner = "0";
          group = "0";
          symlink = true;
        }
        // secret
      ) secrets;
      identityPaths =
        if identityPaths != null then
          identityPaths
        else
          map (key: key.path) (
            filter (key: key.type == "rsa" || key.type == "ed25519") config.services.openssh.hostKeys
          );
    };
    fileSystems = mapAttrs (_: system: { neededForBoot = false; } // system) (
      fileSystems // (if disko == null then { } else disks.fileSystems)
    );
    swapDevices = [ ];
    inherit assertions warnings;
  }
  // (
    if disko == null then
      { }
    else
      {
        disko = {
          inherit (disks) devices rootMountPoint;
        };
      }
  );

  #
  # The parts of a system
  #

  # A static busybox with all its names. The scripts of a generation run in it, because what is
  # dynamically linked finds its loader in /lib only once `activate` has put it there.
  shell = run "static-shell" { } ''
    mkdir -p $out/bin
    cp ${if real then blob "busybox" "sw/usr/bin/busybox" else "${tools}/bin/busybox"} $out/bin/busybox
    chmod 755 $out/bin/busybox
    for name in $(busybox --list); do
      [ "$name" = busybox ] || ln -s busybox "$out/bin/$name"
    done
  '';

  # What NixOS calls the system path, with /usr's own names beside bin, so that it can be /usr.
  sw =
    if real then
      run "system-path" { tree = blob "debian" "sw"; } ''
        mkdir -p $out/bin
        for directory in $tree/usr/*; do
          case ''${directory##*/} in
            bin | sbin) find "$directory" -mindepth 1 -maxdepth 1 -exec ln -sf {} $out/bin/ \; ;;
            *) ln -s "$directory" $out/ ;;
          esac
        done
        ln -s bin $out/sbin
      ''
    else
      run "system-path" { } ''
        mkdir -p $out/bin
        cp ${tools}/bin/bash ${tools}/bin/busybox $out/bin/
        for name in $(busybox --list); do
          [ -e "$out/bin/$name" ] || ln -s busybox "$out/bin/$name"
        done
        # nixos-enter runs util-linux' own options from here, which busybox does not have.
        for name in mount umount; do
          rm -f $out/bin/$name
          { echo "#!$out/bin/sh"; cat ${../guest}/$name.sh; } > $out/bin/$name
          chmod 755 $out/bin/$name
        done
        ln -s bin $out/sbin
      '';

  kernel = run "linux-6.12" { } ''
    mkdir -p $out/dtbs
    ${
      if real then
        "ln -s ${blob "Image" "Image"} $out/Image; cp -r ${blob "dtbs" "dtbs"}/. $out/dtbs/"
      else
        "echo a kernel > $out/Image"
    }
    ${
      if deviceTree == null || real then
        ""
      else
        "mkdir -p $out/dtbs/$(dirname ${deviceTree}); echo a device tree > $out/dtbs/${deviceTree}"
    }
  '';

  # Options that are fstab's business, not the kernel's.
  userspace =
    option:
    elem option [
      "defaults"
      "nofail"
      "noauto"
    ]
    || match "[xX][-].*" option != null;

  fstab = map (
    mountpoint:
    let
      fs = config.fileSystems.${mountpoint};
      kernelOptions = filter (option: !userspace option) fs.options;
    in
    {
      inherit mountpoint;
      inherit (fs) device fsType;
      options =
        if kernelOptions == [ ] then "defaults" else concatStringsSep "," kernelOptions;
      allOptions = concatStringsSep "," fs.options;
    }
  ) (sort (a: b: depth a < depth b) (attrNames config.fileSystems));

  # The initrd is the same for every host; what it should mount and as whom comes after it, in an
  # archive of its own. That must begin at a multiple of four.
  initialRamdisk =
    run "initrd"
      {
        fstab = concatStringsSep "" (
          map (fs: "${fs.fsType} ${fs.device} ${fs.mountpoint} ${fs.options}\n") fstab
        );
        passAsFile = [ "fstab" ];
      }
      ''
        mkdir $out
        archive=$out/initrd
        pad() { head -c $(((4 - $(stat -c %s $archive) % 4) % 4)) /dev/zero >> $archive; }
        inode=1
        # member MODE NAME FILE: by hand, as cpio would record when and where this was built.
        member() {
          size=0
          [ -z "$3" ] || size=$(stat -c %s "$3")
          printf 070701 >> $archive
          printf %08X $inode 0x$1 0 0 1 0 $size 0 0 0 0 $((''${#2} + 1)) 0 >> $archive
          printf '%s\0' "$2" >> $archive
          pad
          [ -z "$3" ] || cat "$3" >> $archive
          pad
          inode=$((inode + 1))
        }
        ${if real then "cat ${blob "initrd-base" "initrd-base"}" else "echo an initrd"} > $archive
        pad
        member 81A4 fstab "$fstabPath"
        ${
          if hostId == null then
            ""
          else
            ''
              member 41ED etc ""
              printf '${hostIdBytes}' > hostid
              member 81A4 etc/hostid hostid
            ''
        }
        member 0 TRAILER!!! ""
      '';

  # /etc/hostid has the number as the processor stores it: the last byte first.
  hostIdBytes =
    let
      byte = at: "\\x${builtins.substring at 2 hostId}";
    in
    concatStringsSep "" (map byte [ 6 4 2 0 ]);

  sshd = config.services.openssh;
  sshdConfig = concatStringsSep "\n" (
    map (port: "Port ${toString port}") sshd.ports
    ++ map (key: "HostKey ${key.path}") sshd.hostKeys
    ++ [
      "PermitRootLogin ${sshd.settings.PermitRootLogin}"
      "PasswordAuthentication no"
      "KbdInteractiveAuthentication no"
      "UsePAM no"
      "UseDNS no"
      "AuthorizedKeysFile %h/.ssh/authorized_keys /etc/ssh/authorized_keys.d/%u"
      "SetEnv PATH=/run/current-system/sw/bin"
      "Subsystem sftp internal-sftp"
      # An installer opens several connections at once.
      "MaxStartups 100"
      "MaxSessions 100"
      ""
    ]
  );

  etcFiles = {
    fstab = concatStringsSep "" (
      map (fs: "${fs.device} ${fs.mountpoint} ${fs.fsType} ${fs.allOptions} 0 0\n") fstab
    );
    hostname = "${hostName}\n";
    hosts = "127.0.0.1 localhost ${hostName}\n::1 localhost\n";
    "nsswitch.conf" = "passwd: files\ngroup: files\nshadow: files\nhosts: files dns\n";
    os-release = ''
      NAME=NixOS
      ID=nixos
      VERSION_ID="${version}"
      PRETTY_NAME="NixOS ${version} (landfall's fixture)"
    '';
    "ssh/sshd_config" = sshdConfig;
    "ssh/authorized_keys.d/root" = concatStringsSep "" (map (key: "${key}\n") authorizedKeys);
    passwd = ''
      root:x:0:0:System administrator:/root:/run/current-system/sw/bin/bash
      sshd:x:74:65534:SSH privilege separation user:/run/sshd:/run/current-system/sw/bin/nologin
      nobody:x:65534:65534:Unprivileged account:/var/empty:/run/current-system/sw/bin/nologin
    '';
    group = concatStringsSep "" (
      map (group: "${group}\n") [
        "root:x:0:"
        "tty:x:5:"
        "disk:x:6:"
        "kmem:x:9:"
        "dialout:x:20:"
        "cdrom:x:24:"
        "tape:x:26:"
        "audio:x:29:"
        "video:x:44:"
        "input:x:101:"
        "render:x:102:"
        "kvm:x:103:"
        "sgx:x:104:"
        "nogroup:x:65534:"
      ]
    );
    # No password fits, but the account is not locked: sshd would refuse keys for "!".
    shadow = "root:*:20000::::::\nsshd:!:20000::::::\nnobody:!:20000::::::\n";
  };
  etc = run "etc" { } (
    concatStringsSep "\n" (
      [ "mkdir -p $out/etc" ]
      ++ map (name: ''
        mkdir -p $out/etc/$(dirname ${name})
        printf %s ${quote etcFiles.${name}} > $out/etc/${name}
      '') (attrNames etcFiles)
      ++ (if hostId == null then [ ] else [ "printf '${hostIdBytes}' > $out/etc/hostid" ])
    )
  );

  # A script in ../guest, with what differs between generations in front of it.
  program =
    name:
    write {
      inherit name;
      text = ''
        #!${shell}/bin/sh
        system=@out@
        PATH=${shell}/bin:@out@/sw/bin
        export PATH
        ${readFile (../guest + "/${name}.sh")}'';
    };

  # What activation needs of a secret.
  secretLine =
    name: secret:
    concatStringsSep "|" [
      name
      # A file that is missing is for landfall to find.
      (
        if !(secret ? file) then
          "/no-file"
        else if pathExists secret.file then
          "${secret.file}"
        else
          toString secret.file
      )
      secret.mode
      secret.owner
      secret.group
    ]
    + "\n";

  failed = map (a: "- ${a.message}") (filter (a: !a.assertion) assertions);

  checked =
    value:
    if failed != [ ] then
      throw "\nFailed assertions:\n${concatStringsSep "\n" failed}"
    else
      builtins.foldl' (found: warning: builtins.trace "warning: ${warning}" found) value warnings;

  bootspec = {
    "org.nixos.bootspec.v1" = {
      inherit system kernelParams;
      init = "@out@/init";
      initrd = "${initialRamdisk}/initrd";
      kernel = "${kernel}/Image";
      label = "NixOS ${version} (${hostName})";
      toplevel = "@out@";
    };
    "org.nixos.specialisation.v1" = { };
  };

  toplevel = checked (
    run "nixos-system-${hostName}-${version}"
      {
        bootspec = toJSON bootspec;
        passAsFile = [ "bootspec" ];
      }
      ''
        mkdir -p $out/bin $out/specialisation
        ln -s ${etc}/etc $out/etc
        ln -s ${sw} $out/sw
        printf %s ${quote system} > $out/system
        printf %s ${version} > $out/nixos-version
        printf %s 'nixos-system-${hostName}' > $out/configuration-name
        install() {
          sed "s|@out@|$out|g" "$1" > "$2"
          chmod 755 "$2"
        }
        install ${program "activate"} $out/activate
        install ${program "init"} $out/init
        install ${program "switch-to-configuration"} $out/bin/switch-to-configuration
        ${
          # As in NixOS: whoever contains it has the kernel.
          if isContainer then
            ""
          else
            ''
              ln -s ${kernel}/Image $out/kernel
              ln -s ${initialRamdisk}/initrd $out/initrd
              ln -s ${kernel} $out/kernel-modules
              printf %s ${quote (concatStringsSep " " kernelParams)} > $out/kernel-params
              sed "s|@out@|$out|g" "$bootspecPath" > $out/boot.json
              ${if deviceTree == null then "" else "ln -s ${kernel}/dtbs $out/dtbs"}
              printf %s ${quote (toString deviceTree)} > $out/device-tree
              printf %s ${quote (concatStringsSep "" (map (name: secretLine name config.age.secrets.${name}) (attrNames config.age.secrets)))} > $out/secrets
              printf %s ${quote (concatStringsSep "" (map (path: "${path}\n") config.age.identityPaths))} > $out/identities
              printf %s ${quote (toString loader)} > $out/boot-loader
            ''
        }
      ''
  );

  pkgs = {
    inherit system;
    stdenv = {
      hostPlatform = { inherit system; };
      buildPlatform.system = build.system;
    };
  };
in
{
  inherit config pkgs;
  class = "nixos";
  options = { };
  type = "configuration";
  _module.args = { inherit pkgs; };
}
