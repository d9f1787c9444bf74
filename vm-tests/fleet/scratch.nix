# The host of the scratch machines (tests/scratch): two whole disks, ext4, started by extlinux. Small, so that an
# install of it takes seconds, and without ZFS, which those machines do not have.
{
  nixosSystem,
  keys,
  hostName ? "scratch",
  secrets ? { },
}:
let
  build = import ./lib/build.nix ./.;
  inherit (builtins)
    concatStringsSep
    map
    mapAttrs
    readFile
    ;

  # Disks by their names in the layout, in the order in which they are mounted.
  disk = {
    a-system = {
      device = "/dev/disk/by-id/ata-SCRATCH_DISK_S0001";
      mountpoint = "/";
    };
    b-boot = {
      device = "/dev/disk/by-id/ata-SCRATCH_DISK_S0002";
      mountpoint = "/boot";
    };
  };

  # disko's own shape of it.
  devices = {
    disk = mapAttrs (
      name:
      { device, mountpoint }:
      {
        inherit name device;
        type = "disk";
        destroy = true;
        content = {
          type = "filesystem";
          format = "ext4";
          inherit device mountpoint;
          mountOptions = [ "defaults" ];
        };
      }
    ) disk;
    zpool = { };
  };

  fileSystem =
    { device, ... }:
    {
      inherit device;
      fsType = "ext4";
      options = [ "defaults" ];
    };

  script =
    name: verbs:
    build.write {
      inherit name;
      mode = "755";
      text = concatStringsSep "\n" (
        [
          "#!/bin/sh"
          (readFile ./scratch-disko.sh)
        ]
        ++ map (
          verb:
          concatStringsSep " " [
            verb
            disk.a-system.device
            disk.b-boot.device
          ]
        ) verbs
        ++ [ "" ]
      );
    };

  system = nixosSystem {
    inherit hostName secrets;
    hostId = "5c2a7c40";
    zfs = false;
    inherit (build) system;
    loader = "generic-extlinux-compatible";
    kernelParams = [ "console=ttyS0" ];
    authorizedKeys = keys;
    fileSystems = {
      "/" = fileSystem disk.a-system;
      "/boot" = fileSystem disk.b-boot;
    };
  };
in
system
// {
  config = system.config // {
    disko = {
      inherit devices;
      rootMountPoint = "/mnt";
    };
    system = system.config.system // {
      build = system.config.system.build // {
        diskoScript = script "disko" [
          "destroy"
          "format"
          "mount_all"
        ];
        mountScript = script "disko-mount" [ "mount_all" ];
      };
    };
  };
}
