# Every device an install of this host erases. Replace the names by those of your own disks
# (`ls -l /dev/disk/by-id` on the board lists them).
{
  # The soldered eMMC: the same path on every Helios64.
  emmc = "/dev/disk/by-path/platform-fe330000.mmc";

  # An M.2 SSD shares its SATA port with bay 1 and takes its place.
  sata = {
    bay1 = "/dev/disk/by-id/ata-ST4000VN006-3CW104_ZW60A1B2";
    bay2 = "/dev/disk/by-id/ata-ST4000VN006-3CW104_ZW60C3D4";
    bay3 = "/dev/disk/by-id/ata-WDC_WD40EFPX-68C6CN0_WD-WX52E6F7A8B9";
    bay4 = "/dev/disk/by-id/ata-WDC_WD40EFPX-68C6CN0_WD-WX52G1H2J3K4";
    bay5 = "/dev/disk/by-id/ata-TOSHIBA_HDWG440_Y3L5K6M7FZ0G";
  };
}
