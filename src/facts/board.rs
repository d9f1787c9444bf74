//! Boards: how one is recognised, and what is known of it. All knowledge of boards is here, so that a
//! board is added by one entry.

use super::{HostFacts, Link, TargetFacts};

/// A board, or a family of boards. A machine can be of several.
#[derive(Debug, PartialEq, Eq)]
struct Board {
    /// What an entry of the device tree's `compatible` begins with.
    compatible: &'static [&'static str],
    /// What the name of its device tree contains (`hardware.deviceTree.name`).
    device_tree: Option<&'static str>,
    /// Where its boot loader lies on its eMMC or SD card, outside of any partition.
    firmware: Option<FirmwareRegion>,
    /// Whether its kexec is known to hang, or to come back to the old system.
    kexec_fails: bool,
    /// A network port with a known fault.
    faulty_port: Option<FaultyPort>,
}

/// The part of an eMMC or SD card that the boot ROM and the boot loader's first stage read.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FirmwareRegion {
    /// Where the stages begin, in sectors of 512 bytes.
    pub(crate) stages: &'static [u64],
    /// Nothing else may begin before this, in MiB.
    pub(crate) end: u64,
}

/// A network port with a known fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FaultyPort {
    /// The kernel driver by which it is recognised.
    driver: &'static str,
    /// What it is, and its fault.
    pub(crate) what: &'static str,
    /// What to do instead.
    pub(crate) hint: &'static str,
}

const BOARDS: &[Board] = &[
    // The Helios64 of Kobol; for its chip, an RK3399, there is an entry below.
    Board {
        compatible: &["kobol,helios64"],
        device_tree: None,
        firmware: None,
        kexec_fails: false,
        // Kobol's wiki, known issues: "2.5G Ethernet (1G speed): requires hardware fix"; it hung under load (armbian/build#2567).
        faulty_port: Some(FaultyPort {
            driver: "r8152",
            what: "its 2.5 Gbit/s port",
            hint: "plug the cable into LAN1",
        }),
    },
    // All boards with one of Rockchip's RK3xxx.
    Board {
        compatible: &["rockchip,rk3"],
        device_tree: Some("rockchip"),
        // The boot ROM reads sector 64, its loader sector 16384 (opensource.rock-chips.com, "Partitions").
        firmware: Some(FirmwareRegion { stages: &[64, 16384], end: 16 }),
        // Talos Linux switches kexec off on all its Rockchip boards (siderolabs/sbc-rockchip, `kexec_load_disabled`).
        kexec_fails: true,
        faulty_port: None,
    },
    // All Raspberry Pis.
    Board {
        compatible: &["raspberrypi,", "brcm,bcm2"],
        device_tree: None,
        firmware: None,
        // nixos-anywhere#529, of the Raspberry Pi 4.
        kexec_fails: true,
        faulty_port: None,
    },
];

impl FirmwareRegion {
    pub(crate) fn end_bytes(&self) -> u64 {
        self.end << 20
    }
}

/// Whether a disk is the eMMC or SD card that a board starts from, by its path or its kernel name. An emulated board has its
/// eMMC under the path of the real one, and under another kernel name.
pub(crate) fn is_card(device: &str, kernel: Option<&str>) -> bool {
    let name = device.rsplit('/').next().unwrap_or(device);
    name.contains("mmc") || kernel.is_some_and(|name| name.starts_with("mmcblk"))
}

impl HostFacts {
    /// Where the board's boot loader lies on its eMMC or SD card, if it lies outside of any partition.
    pub(crate) fn firmware_region(&self) -> Option<&'static FirmwareRegion> {
        let tree = self.device_tree.as_deref()?;
        let mut boards = BOARDS.iter();
        let is_it = |board: &&Board| board.device_tree.is_some_and(|part| tree.contains(part));
        boards.by_ref().filter(is_it).find_map(|board| board.firmware.as_ref())
    }
}

impl TargetFacts {
    /// What it is known to be.
    fn boards(&self) -> impl Iterator<Item = &'static Board> {
        let is_it = |board: &&Board| {
            let mut entries = self.board.iter();
            entries.any(|entry| board.compatible.iter().any(|start| entry.starts_with(start)))
        };
        BOARDS.iter().filter(is_it)
    }

    /// Whether it is a board whose kexec is known to fail.
    pub(crate) fn kexec_fails(&self) -> bool {
        self.boards().any(|board| board.kexec_fails)
    }

    /// The fault of the port it is reached over, if one is known.
    pub(crate) fn faulty_port(&self, link: &Link) -> Option<&'static FaultyPort> {
        let mut ports = self.boards().filter_map(|board| board.faulty_port.as_ref());
        ports.find(|port| port.driver == link.driver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_card_is_recognised_by_its_path_or_its_kernel_name() {
        assert!(is_card("/dev/disk/by-path/platform-fe330000.mmc", None));
        assert!(is_card("/dev/disk/by-path/platform-fe330000.mmc", Some("vdc")));
        assert!(is_card("/dev/disk/by-path/platform-fe310000", Some("mmcblk0")));
        assert!(!is_card("/dev/disk/by-id/ata-A_1", Some("sda")));
    }

    #[test]
    fn boards_are_recognised_by_both_their_names() {
        let board = |entries: &[&str]| TargetFacts {
            board: entries.iter().map(|&entry| entry.to_owned()).collect(),
            ..TargetFacts::default()
        };
        let port = Link { driver: "r8152".into(), ..Link::default() };
        for (entries, kexec_fails, has_faulty_port) in [
            (&["kobol,helios64", "rockchip,rk3399"][..], true, true),
            (&["pine64,rockpro64", "rockchip,rk3399"], true, false),
            (&["raspberrypi,4-model-b", "brcm,bcm2711"], true, false),
            (&["linux,dummy-virt"], false, false),
        ] {
            let target = board(entries);
            assert_eq!(target.kexec_fails(), kexec_fails, "{entries:?}");
            assert_eq!(target.faulty_port(&port).is_some(), has_faulty_port, "{entries:?}");
            assert_eq!(target.faulty_port(&Link::default()), None, "{entries:?}");
        }
        let mut host: HostFacts = serde_json::from_str("{}").unwrap();
        assert_eq!(host.firmware_region(), None);
        host.device_tree = Some("rockchip/rk3399-kobol-helios64.dtb".into());
        assert_eq!(host.firmware_region().map(FirmwareRegion::end_bytes), Some(16 << 20));
    }
}
