//! Which kernel modules drive disks, and which of them a disk needs, as far as its path tells.

use super::board::is_card;
use Bus::{Ata, Card, Nvme, Other, Usb, Virtio};

/// How a disk is attached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bus {
    Nvme,
    Ata,
    Usb,
    /// An eMMC or SD card.
    Card,
    Virtio,
    /// SAS and RAID controllers, UFS, and what hypervisors have: their disks are named in many ways.
    Other,
}

/// The modules of Linux that drive a disk, or the controller that it is on, by their names or (`sata_*`) families. `sd_mod` is not
/// among them: it makes disks of what one of these finds. The file systems', ciphers' and keyboards' drivers are not either.
const DRIVERS: [(Bus, &[&str]); 6] = [
    (Nvme, &["nvme", "nvme_*", "apple_nvme"]),
    (Ata, &["ahci", "ahci_*", "ata_*", "sata_*", "pata_*"]),
    (Usb, &["usb_storage", "uas", "ums_*"]),
    // The host's own driver (`sdhci_pci`) does nothing without it.
    (Card, &["mmc_block"]),
    (Virtio, &["virtio_blk"]),
    (
        Other,
        &[
            "virtio_scsi",
            "xen_blkfront",
            "xen_scsifront",
            "hv_storvsc",
            "vmw_pvscsi",
            "BusLogic",
            "mpt2sas",
            "mpt3sas",
            "mpi3mr",
            "mptsas",
            "mptspi",
            "mptfc",
            "megaraid_*",
            "megaraid",
            "aacraid",
            "hpsa",
            "cciss",
            "smartpqi",
            "arcmsr",
            "3w_*",
            "pm80xx",
            "isci",
            "mvsas",
            "mvumi",
            "aic7xxx",
            "aic79xx",
            "aic94xx",
            "ips",
            "sym53c8xx",
            "esas2r",
            "hptiop",
            "stex",
            "myrb",
            "myrs",
            "hisi_sas_*",
            "qla2xxx",
            "qla4xxx",
            "lpfc",
            "bfa",
            "fnic",
            "csiostor",
            "ufshcd_*",
            "ufs_*",
            "sbp2",
            "firewire_sbp2",
            "iscsi_tcp",
            "ib_iser",
            "nbd",
            "rbd",
            "nd_pmem",
            "ps3disk",
            "dasd_*",
            "zfcp",
        ],
    ),
];

/// Whether any of the modules drives disks.
pub(crate) fn drive_disks(modules: &[String]) -> bool {
    modules.iter().any(|module| bus(module).is_some())
}

/// The modules, one of which the disk with this path needs, if none of them is there; none if that cannot be told.
///
/// Only names that follow the hardware tell it: the kernel's own (`/dev/sda`) are mostly taken from an example.
pub(crate) fn missing(device: &str, modules: &[String]) -> Option<&'static str> {
    let id = device.strip_prefix("/dev/disk/by-id/");
    let place = device.strip_prefix("/dev/disk/by-path/");
    let begins = |prefix: &str| id.is_some_and(|id| id.starts_with(prefix));
    let lies_at = |part: &str| place.is_some_and(|place| place.contains(part));
    let (buses, usual): (&[Bus], _) = if begins("nvme-") || lies_at("-nvme-") {
        (&[Nvme], "nvme")
    } else if begins("usb-") || lies_at("-usb-") {
        (&[Usb], "usb_storage or uas")
    } else if begins("virtio-") || place.is_some_and(|place| place.starts_with("virtio-")) {
        (&[Virtio], "virtio_blk")
    } else if begins("mmc-") || place.is_some() && is_card(device, None) {
        (&[Card], "mmc_block")
    } else if lies_at("-ata-") {
        (&[Ata], "ahci")
    } else if begins("ata-") {
        // SAS controllers and bridges to USB have such disks, too.
        (&[Ata, Usb, Other], "ahci")
    } else {
        return None;
    };
    let has = modules.iter().filter_map(|module| bus(module)).any(|bus| buses.contains(&bus));
    (!has).then_some(usual)
}

/// What a module drives, if it drives disks. `-` and `_` are the same in names of modules (modprobe(8)).
fn bus(module: &str) -> Option<Bus> {
    let module = module.replace('-', "_");
    let is = |name: &str| match name.strip_suffix('*') {
        Some(family) => module.starts_with(family),
        None => module == name,
    };
    DRIVERS.iter().find(|(_, names)| names.iter().any(|name| is(name))).map(|(bus, _)| *bus)
}

/// Whether NixOS' usual kernel for this platform has the drivers of disks as modules. It builds most of them in where nixpkgs
/// says `preferBuiltin` (ARM, RISC-V). A platform that is not known counts as a PC.
pub(crate) fn drivers_are_modules(system: Option<&str>) -> bool {
    system.is_none_or(|system| system.starts_with("x86_64-") || system.starts_with("i686-"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn modules(names: &str) -> Vec<String> {
        names.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn file_systems_and_what_disks_stand_on_drive_no_disk() {
        let not = "ext2 ext4 sd_mod dm_mod dm_crypt md_mod raid1 xhci_pci usbhid sdhci_pci virtio_pci mmc_core libata";
        assert!(!drive_disks(&modules(not)));
        for one in ["nvme", "ahci", "sata_nv", "usb-storage", "mmc_block", "hv_storvsc", "3w-9xxx"]
        {
            assert!(drive_disks(&modules(one)), "{one}");
        }
    }

    #[test]
    fn a_disk_needs_the_driver_that_its_name_tells() {
        // What NixOS has by default, in part.
        let usual = modules("ext4 ahci sata_nv ata_piix nvme sd_mod mmc_block xhci_pci usbhid");
        for there in [
            "by-id/nvme-A",
            "by-id/ata-A",
            "by-id/mmc-A",
            "by-id/wwn-0x5",
            "by-id/scsi-3600",
            "by-path/pci-0000:01:00.0-nvme-1",
            "by-path/pci-0000:00:17.0-ata-1",
            "by-partlabel/x",
            "by-path/platform-fe330000.mmc",
        ] {
            assert_eq!(missing(&format!("/dev/disk/{there}"), &usual), None, "{there}");
        }
        assert_eq!(missing("/dev/vda", &usual), None);
        assert_eq!(missing("/dev/disk/by-id/usb-A", &usual), Some("usb_storage or uas"));
        assert_eq!(missing("/dev/disk/by-id/virtio-A", &usual), Some("virtio_blk"));
        let sas = modules("mpt3sas sd_mod");
        assert_eq!(missing("/dev/disk/by-id/ata-A", &sas), None);
        assert_eq!(missing("/dev/disk/by-path/pci-0000:00:17.0-ata-1", &sas), Some("ahci"));
        assert_eq!(missing("/dev/disk/by-id/nvme-A", &sas), Some("nvme"));
        assert_eq!(missing("/dev/disk/by-id/mmc-A", &sas), Some("mmc_block"));
    }
}
