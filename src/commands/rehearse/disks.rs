//! The host's own disk paths, as disks of an emulated board.
//!
//! The layout is used unmodified, so its `/dev/disk/by-id/…` names must come true: a SATA disk gets the model
//! and serial from its name and udev makes the link as on the real board. Paths that no QEMU device can have
//! (eMMC, NVMe of a certain model, by-path of a SoC) become virtio disks with an alias, which a udev rule
//! makes at run time.

use crate::facts::HostFacts;

/// One emulated disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EmulatedDisk {
    /// Its name in the layout.
    pub(super) name: String,
    /// Its path in the layout.
    pub(super) device: String,
    /// How it is attached.
    pub(super) kind: Kind,
}

/// How a disk is attached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// On an AHCI controller, as `ata-MODEL_SERIAL`.
    Sata {
        /// At most 40 characters.
        model: String,
        /// At most 20 characters.
        serial: String,
    },
    /// As a virtio disk that udev calls `virtio-SERIAL`.
    Virtio {
        /// At most 20 characters.
        serial: String,
        /// The path it must have besides.
        alias: Option<String>,
    },
}

/// A SATA disk that no layout names, to take the place of another, or to be in its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpareDisk {
    /// What it is called beside the disks of the layout.
    pub name: String,
    /// At most 40 characters, without blanks.
    pub model: String,
    /// At most 20 characters.
    pub serial: String,
    /// Bytes.
    pub size: u64,
}

impl SpareDisk {
    /// The path that udev gives it.
    pub(crate) fn device(&self) -> String {
        format!("/dev/disk/by-id/ata-{}_{}", self.model, self.serial)
    }

    /// It as a disk of the board.
    pub(super) fn emulate(&self) -> EmulatedDisk {
        let kind = Kind::Sata { model: self.model.clone(), serial: self.serial.clone() };
        EmulatedDisk { name: self.name.clone(), device: self.device(), kind }
    }
}

/// Limits of the ATA standard's IDENTIFY data, which QEMU enforces; virtio-blk's serial has 20 bytes too.
const MODEL_LENGTH: usize = 40;
const SERIAL_LENGTH: usize = 20;

/// The board's disks, in the order of the layout's names.
pub(super) fn emulate(host: &HostFacts) -> Vec<EmulatedDisk> {
    let declared = host.disks.iter().flatten().enumerate();
    let disk =
        |(index, (name, disk)): (usize, (&String, &crate::facts::DeclaredDisk))| EmulatedDisk {
            name: name.clone(),
            device: disk.device.clone(),
            kind: kind(&disk.device, index),
        };
    declared.map(disk).collect()
}

fn kind(device: &str, index: usize) -> Kind {
    let by_id = device.strip_prefix("/dev/disk/by-id/");
    // udev joins model and serial with an underscore, and puts one for every blank inside them.
    let sata = by_id.and_then(|id| id.strip_prefix("ata-")).and_then(|id| id.rsplit_once('_'));
    if let Some((model, serial)) = sata
        && model.len() <= MODEL_LENGTH
        && !serial.is_empty()
        && serial.len() <= SERIAL_LENGTH
    {
        return Kind::Sata { model: model.to_owned(), serial: serial.to_owned() };
    }
    match by_id.and_then(|id| id.strip_prefix("virtio-")) {
        Some(serial) if serial.len() <= SERIAL_LENGTH => {
            Kind::Virtio { serial: serial.to_owned(), alias: None }
        }
        _ => {
            let serial = format!("landfall-disk{index}");
            Kind::Virtio { serial, alias: Some(device.to_owned()) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_spare_disk_gets_the_path_that_its_device_will_have() {
        let text = |text: &str| text.to_owned();
        let (name, model, serial) = (text("spare"), text("WDC_WD40EFRX"), text("WD-1"));
        let disk = SpareDisk { name, model, serial, size: 1 }.emulate();
        assert_eq!(kind(&disk.device, 0), disk.kind);
    }

    #[test]
    fn paths_become_devices() {
        let sata = Kind::Sata { model: "ST4000VN008-2DR166".into(), serial: "ZGY0A1B2".into() };
        assert_eq!(kind("/dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY0A1B2", 0), sata);
        let several =
            Kind::Sata { model: "WDC_WD40EFRX-68N32N0".into(), serial: "WD-WCC7K".into() };
        assert_eq!(kind("/dev/disk/by-id/ata-WDC_WD40EFRX-68N32N0_WD-WCC7K", 0), several);
        let virtio = Kind::Virtio { serial: "root".into(), alias: None };
        assert_eq!(kind("/dev/disk/by-id/virtio-root", 0), virtio);
        let long = format!("/dev/disk/by-id/ata-{}_S", "M".repeat(41));
        for path in ["/dev/disk/by-path/platform-fe330000.mmc", "/dev/nvme0n1", &long] {
            let alias = Some(path.to_owned());
            let aliased = Kind::Virtio { serial: "landfall-disk3".into(), alias };
            assert_eq!(kind(path, 3), aliased);
        }
    }
}
