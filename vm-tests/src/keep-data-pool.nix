# In place of a layout of disko-specs: the system is in a pool on the eMMC, the bays hold nothing but data, some of it encrypted.
{ emmc, sata }:
let
  member = pool: device: {
    inherit device;
    type = "BF01";
    size = "100%";
    content = {
      type = "zfs";
      inherit pool;
    };
  };
  dataset = mountpoint: {
    type = "zfs_fs";
    inherit mountpoint;
    options.mountpoint = "legacy";
  };
  pool = given: given // {
    type = "zpool";
    options.ashift = "12";
    rootFsOptions.mountpoint = "none";
  };
in
{
  disko.devices = {
    disk =
      builtins.mapAttrs (_: device: {
        type = "disk";
        inherit device;
        content = {
          type = "gpt";
          partitions.zfs = member "tank" "${device}-part1";
        };
      }) sata
      // {
        emmc = {
          type = "disk";
          device = emmc;
          content = {
            type = "gpt";
            partitions = {
              boot = {
                start = "32M";
                size = "1G";
                attributes = [ 2 ];
                content = {
                  type = "filesystem";
                  format = "ext4";
                  mountpoint = "/boot";
                };
              };
              system = member "rpool" "${emmc}-part2";
            };
          };
        };
      };
    zpool = {
      rpool = pool { datasets.root = dataset "/"; };
      tank = pool {
        mode = "raidz1";
        datasets = {
          media = dataset "/srv/media";
          # Not mounted at boot: nobody is there to give the key.
          vault = {
            type = "zfs_fs";
            options = {
              mountpoint = "none";
              encryption = "aes-256-gcm";
              keyformat = "passphrase";
              keylocation = "file:///tmp/secret.key";
            };
          };
        };
      };
    };
  };
}
