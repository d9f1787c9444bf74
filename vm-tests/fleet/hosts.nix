# What a real fleet has, good and bad. The README says what each host is for.
{ nixosSystem }:
let
  inherit (builtins)
    attrNames
    filter
    isString
    listToAttrs
    pathExists
    readFile
    split
    ;

  # The public key of whoever runs the test, if the runner has put it here.
  keys =
    if pathExists ./authorized_keys then
      filter (line: isString line && line != "") (split "\n" (readFile ./authorized_keys))
    else
      [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f nobody@fixture" ];

  # One disk, as on most virtual machines.
  simpleDisk = {
    disk.main = {
      type = "disk";
      device = "/dev/disk/by-id/ata-QEMU_HARDDISK_FIXTURE-X86";
      content = {
        type = "gpt";
        partitions = {
          ESP = {
            type = "EF00";
            size = "512M";
            content = {
              type = "filesystem";
              format = "vfat";
              mountpoint = "/boot";
              mountOptions = [ "umask=0077" ];
            };
          };
          root = {
            size = "100%";
            content = {
              type = "filesystem";
              format = "ext4";
              mountpoint = "/";
            };
          };
        };
      };
    };
  };

  simple = {
    system = "x86_64-linux";
    loader = "systemd-boot";
    kernelParams = [ "console=ttyS0" ];
    authorizedKeys = keys;
    disko = simpleDisk;
  };

  # A Helios64 with one of the layouts of disko-specs/ over these bays of hosts/.
  board =
    {
      mode ? "raidz1",
      hostName ? if mode == "raidz1" then "helios64" else "helios64-${mode}",
      bays ? attrNames (import ./hosts/helios64/disks.nix).sata,
    }:
    let
      disks = import ./hosts/helios64/disks.nix;
      sata = listToAttrs (
        map (name: {
          inherit name;
          value = disks.sata.${name};
        }) bays
      );
    in
    nixosSystem {
      inherit hostName;
      hostId = "4e110564";
      system = "aarch64-linux";
      loader = "generic-extlinux-compatible";
      deviceTree = "rockchip/rk3399-kobol-helios64.dtb";
      kernelParams = [
        "console=ttyS2,1500000n8"
        "zfs.zfs_arc_max=1073741824"
        # The emulated board's serial port; the last console is /dev/console.
        "console=ttyAMA0"
        # A kernel that panics ends QEMU (which runs with -no-reboot) instead of hanging.
        "panic=-1"
      ];
      authorizedKeys = keys;
      # Whoever wants it to open secrets puts them here.
      secrets =
        if hostName == "helios64" && pathExists ./secrets/helios64.age then
          {
            canary = {
              file = ./secrets/helios64.age;
              owner = "nobody";
              group = "kvm";
              mode = "0440";
            };
          }
        else
          { };
      disko = (import (./disko-specs + "/helios64-${mode}.nix") (disks // { inherit sata; })).disko.devices;
    };
in
{
  # The host of the scratch machines in tests/.
  scratch = import ./scratch.nix { inherit nixosSystem keys; };

  # The same with secrets, which a test puts there.
  encrypted = import ./scratch.nix {
    inherit nixosSystem keys;
    hostName = "encrypted";
    secrets = {
      token.file = ./secrets/token.age;
      wireguard.file = ./secrets/wireguard.age;
    };
  };

  # The host of disko-specs/ and hosts/, with the same disks, on an emulated board.
  helios64 = board { };

  # The other layouts, over some of those disks.
  helios64-mirror = board {
    mode = "mirror";
    bays = [
      "bay1"
      "bay2"
    ];
  };
  helios64-raidz1-3 = board {
    hostName = "helios64-raidz1-3";
    bays = [
      "bay1"
      "bay2"
      "bay3"
    ];
  };
  helios64-raidz2 = board { mode = "raidz2"; };
  helios64-raidz2-4 = board {
    hostName = "helios64-raidz2-4";
    mode = "raidz2";
    bays = [
      "bay1"
      "bay2"
      "bay3"
      "bay4"
    ];
  };

  # Keyed by system, as generated with genAttrs: neither `nixos` nor the machine's name finds it.
  x86_64-linux = nixosSystem (simple // { hostName = "nixos"; });

  # Its file systems are written by hand: there is no disko script to run.
  bare = nixosSystem (
    removeAttrs simple [ "disko" ]
    // {
      hostName = "bare";
      fileSystems."/" = {
        device = "/dev/disk/by-label/nixos";
        fsType = "ext4";
        options = [ "defaults" ];
      };
      warnings = [ "The option `services.fixture.enable' is deprecated." ];
    }
  );

  broken = nixosSystem (
    simple
    // {
      hostName = "broken";
      assertions = [
        {
          assertion = true;
          message = "This one holds.";
        }
        {
          assertion = false;
          message = "ZFS requires networking.hostId to be set";
        }
      ];
    }
  );

  throws = nixosSystem (
    simple
    // {
      hostName = "throws";
      kernelParams = throw "The option `boot.kernelParams' has a broken definition.";
    }
  );

  # What a fleet has before its NAS is thought through: a container that evaluates, builds, and can never boot.
  stub = nixosSystem {
    hostName = "stub";
    system = "aarch64-linux";
    isContainer = true;
    zfs = true;
    initrdModules = [ ];
  };

  # Two attributes with one hostName: whoever is meant by it is not to be told.
  namesake = nixosSystem (simple // { hostName = "throws"; });

  # One thing wrong with each; the first four can be asked for together.
  careless = nixosSystem (
    simple
    // {
      hostName = "careless";
      # Without a cap, and without an owner.
      zfs = true;
      secrets.token = {
        path = "/etc/token";
        mode = "0444";
        symlink = false;
      };
      disko = {
        disk = listToAttrs (
          map
            (letter: {
              name = letter;
              value = {
                type = "disk";
                # It is another disk after the next boot.
                device = "/dev/sd${letter}";
                content = {
                  type = "gpt";
                  partitions.zfs = {
                    type = "BF01";
                    size = "100%";
                    content = {
                      type = "zfs";
                      pool = "tank";
                    };
                  };
                };
              };
            })
            [
              "a"
              "b"
              "c"
            ]
        );
        # For three disks that may fail, four are needed.
        zpool.tank = {
          type = "zpool";
          mode = "raidz3";
          rootFsOptions.mountpoint = "none";
          datasets.root = {
            type = "zfs_fs";
            mountpoint = "/";
            options.mountpoint = "legacy";
          };
        };
      };
      # Nothing makes it.
      fileSystems."/boot" = {
        device = "/dev/disk/by-label/boot";
        fsType = "vfat";
        options = [ "defaults" ];
      };
    }
  );

  # Its first partition lies over the boot loader of the board.
  overwritten = nixosSystem (
    simple
    // {
      hostName = "overwritten";
      system = "aarch64-linux";
      loader = "generic-extlinux-compatible";
      deviceTree = "rockchip/rk3399-kobol-helios64.dtb";
      disko.disk.emmc = simpleDisk.disk.main // {
        device = "/dev/disk/by-path/platform-fe330000.mmc";
      };
    }
  );
}
