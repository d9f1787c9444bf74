# The storage of a Helios64: /boot on the eMMC, everything else in one ZFS pool on the SATA bays.
#
#   import ./helios64.nix { mode = "raidz1"; disks = { min = 3; max = 5; }; }
#
# is a function of the devices, as the three files beside this one have it:
#
#   { emmc, sata }: { disko.devices = …; }
#
# `emmc` is a device path, `sata` names the bays: { bay1 = "/dev/disk/by-id/ata-MODEL_SERIAL"; … }.
{ mode, disks }:
{ emmc, sata }:
let
  inherit (builtins)
    attrNames
    attrValues
    filter
    head
    length
    listToAttrs
    mapAttrs
    match
    toString
    ;

  layout = "helios64-${mode}";

  # /dev/sdX moves when a bay is empty or a disk is slow to spin up, and /dev/mmcblkN differs between
  # the mainline device tree and Armbian's: only names that follow the hardware may be erased.
  stable = device: match "/dev/disk/by-(id|path)/[^/]+" device != null;
  unstable = filter (device: !stable device) ([ emmc ] ++ attrValues sata);

  bays = attrNames sata;
  count = length bays;
  distinct = attrNames (
    listToAttrs (
      map (device: {
        name = device;
        value = null;
      }) ([ emmc ] ++ attrValues sata)
    )
  );

  checked =
    if count < disks.min || count > disks.max then
      throw "${layout}: ${toString count} SATA disks given, it takes ${
        if disks.min == disks.max then toString disks.min else "${toString disks.min} to ${toString disks.max}"
      }"
    else if unstable != [ ] then
      throw "${layout}: ${head unstable} is not a stable name, use /dev/disk/by-id/… or /dev/disk/by-path/…"
    else if length distinct != count + 1 then
      throw "${layout}: the same device is named twice"
    else
      devices: devices;

  # Members are named by the disk's own id, not by disko's default /dev/disk/by-partlabel/…: with a
  # label used twice (a disk from another Helios64 in a spare bay) udev lets the last one seen win.
  member = _: device: {
    type = "disk";
    inherit device;
    content = {
      type = "gpt";
      partitions.zfs = {
        device = "${device}-part1";
        # Apple ZFS/Solaris /usr, the code OpenZFS itself gives its partitions.
        type = "BF01";
        size = "100%";
        content = {
          type = "zfs";
          pool = "tank";
        };
      };
    };
  };

  # Legacy mountpoints: fstab alone says what is mounted where, in the initrd as well as later, and an
  # imported pool never mounts over a running system (`zpool import` in a rescue system).
  dataset = mountpoint: {
    type = "zfs_fs";
    inherit mountpoint;
    options.mountpoint = "legacy";
  };

  # Bulk data must not keep the machine from booting: a NAS that stops in emergency mode has no SSH.
  share =
    mountpoint: options:
    dataset mountpoint
    // {
      mountOptions = [
        "defaults"
        "nofail"
      ];
      options = options // {
        mountpoint = "legacy";
      };
    };

  container = {
    type = "zfs_fs";
    options.mountpoint = "none";
  };
in
{
  disko.devices = checked {
    disk = mapAttrs member sata // {
      emmc = {
        type = "disk";
        device = emmc;
        content = {
          type = "gpt";
          partitions.boot = {
            # The boot ROM reads its loader at sector 64 and U-Boot at sector 16384 (8 MiB); Kobol's
            # own recipe for erasing the boot loader clears 32 MiB. Nothing of ours starts before that.
            start = "32M";
            # Several generations of kernel (60 MB), initrd and device trees. The rest of the eMMC
            # stays free for a rescue system.
            size = "2G";
            # Bit 2, "legacy BIOS bootable": U-Boot's distro boot searches the partitions so marked
            # for extlinux.conf, and partition 1 only where none is.
            attributes = [ 2 ];
            content = {
              type = "filesystem";
              # U-Boot reads neither ZFS with zstd nor LVM.
              format = "ext4";
              mountpoint = "/boot";
              mountOptions = [
                "defaults"
                "noatime"
              ];
            };
          };
        };
      };
    };

    zpool.tank = {
      type = "zpool";
      inherit mode;
      options = {
        # 4 KiB sectors, also where a disk claims 512 bytes; it cannot be changed later.
        ashift = "12";
        autotrim = "on";
        # The installer's ZFS may be newer than the installed system's: without this the pool could
        # get features that the system it was made for cannot import.
        compatibility = "openzfs-2.2-linux";
      };
      rootFsOptions = {
        acltype = "posixacl";
        atime = "off";
        compression = "zstd";
        mountpoint = "none";
        xattr = "sa";
      };
      datasets = {
        root = dataset "/";
        nix = dataset "/nix";
        var = dataset "/var";
        data = container;
        "data/shares" = share "/srv/shares" { };
        # Large files read from end to end: fewer, larger records compress and resilver better.
        "data/media" = share "/srv/media" { recordsize = "1M"; };
        backups = share "/srv/backups" { recordsize = "1M"; };
      };
    };
  };
}
