//! A Helios64 with five disks, as the flake declares it and as it is found: the recorded machine of a rehearsal, with disks of the
//! usual size.

use crate::facts::{HostFacts, TargetFacts, WorkstationFacts};
use crate::machine::{Compression, Image};
use serde_json::{Value, json};
use std::fmt::Write as _;

const PROBE: &str = include_str!("../../tests/data/probe-nixos-pool.txt");

/// The bays' names in /dev/disk/by-id.
const BAYS: [&str; 5] = [
    "ata-ST4000VN006-3CW104_ZW60A1B2",
    "ata-ST4000VN006-3CW104_ZW60C3D4",
    "ata-WDC_WD40EFPX-68C6CN0_WD-WX52E6F7A8B9",
    "ata-WDC_WD40EFPX-68C6CN0_WD-WX52G1H2J3K4",
    "ata-TOSHIBA_HDWG440_Y3L5K6M7FZ0G",
];

/// The toplevel.
pub(super) const TOPLEVEL: &str =
    "/nix/store/8m4x2kqv7d1hprz3c9w5yfnb6sj0gail-nixos-system-helios64-26.05";
/// A host key's fingerprint.
pub(super) const FINGERPRINT: &str = "SHA256:uNiVztksCsDhcc0u9e8BrZBbmgi4qpDBpTStTfQ5Jgc";
/// A host key.
pub(super) const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIG9vKyXcKeBGTyLfGIS2vMZ3fFpV3kzO7uJ8B5r1vXqT";

fn derivation(name: &str) -> Value {
    let path = format!("/nix/store/1c9w5yfnb6sj0gail8m4x2kqv7d1hprz-{name}");
    json!({ "drv": format!("{path}.drv"), "out": path, "system": "aarch64-linux" })
}

/// The host, with this pool mode; `keeps` the pool and the disks it is on.
pub(super) fn host(mode: &str, keeps: bool) -> HostFacts {
    let bay = |(at, id): (usize, &&str)| {
        let partition = json!({
            "name": "zfs", "label": format!("disk-bay{}-zfs", at + 1), "start": "0", "size": "100%",
            "type": "BF01", "content": "zfs", "pool": "tank",
        });
        let disk = json!({
            "device": format!("/dev/disk/by-id/{id}"), "destroy": !keeps, "content": "gpt",
            "partitions": [partition],
        });
        (format!("bay{}", at + 1), disk)
    };
    let mut disks: serde_json::Map<_, _> = BAYS.iter().enumerate().map(bay).collect();
    let emmc = json!({
        "device": "/dev/disk/by-path/platform-fe330000.mmc", "destroy": true, "content": "gpt",
        "partitions": [{
            "name": "boot", "label": "disk-emmc-boot", "start": "32M", "size": "2G", "content": "filesystem",
        }],
    });
    disks.insert("emmc".to_owned(), emmc);
    let mut host = json!({
        "hostName": "helios64", "system": "aarch64-linux", "zfs": true, "hostId": "4e110564",
        "toplevel": { "drv": format!("{TOPLEVEL}.drv"), "out": TOPLEVEL, "system": "aarch64-linux" },
        "diskoScript": derivation("disko"), "mountScript": derivation("disko-mount"),
        "disks": disks, "zfsVersion": "2.2.4",
        "pools": { "tank": {
            "mode": mode, "options": { "ashift": "12" },
            "datasets": { "root": {}, "nix": {}, "var": {}, "data": {}, "data/media": {} },
        } },
        "layoutMounts": ["/", "/boot", "/nix", "/var"],
        "fileSystems": {
            "/": { "device": "tank/root", "fsType": "zfs" },
            "/nix": { "device": "tank/nix", "fsType": "zfs" },
            "/var": { "device": "tank/var", "fsType": "zfs" },
            "/srv/media": { "device": "tank/data/media", "fsType": "zfs" },
            "/boot": { "device": "/dev/disk/by-partlabel/disk-emmc-boot", "fsType": "ext4" },
        },
        "kernelParams": ["zfs.zfs_arc_max=1073741824"], "initrdModules": ["ahci"], "isContainer": false,
        "bootLoader": "extlinux", "deviceTree": "rockchip/rk3399-kobol-helios64.dtb",
        "failedAssertions": [],
        "hostKeys": [{ "path": "/etc/ssh/ssh_host_ed25519_key", "type": "ed25519" }],
        "logins": { "sshd": true, "rootKeys": 1, "permitRootLogin": "prohibit-password" },
    });
    if keeps {
        host["kept"] = json!({
            "pools": ["tank"], "disks": ["bay1", "bay2", "bay3", "bay4", "bay5"],
            "formatScript": derivation("disko-format"),
        });
    }
    HostFacts { attribute: "helios64".into(), ..serde_json::from_value(host).unwrap() }
}

/// The machine, with an old system on its pool, in this rescue system or installer.
pub(super) fn used(variant: &str) -> TargetFacts {
    let mut probe = PROBE.to_owned();
    for (recorded, usual) in [
        ("disk\tvda\t8589934592\t\tlandfall-disk5", "disk\tmmcblk1\t15758000128\t\t0x5a2c7d1e"),
        ("volume\tvda\tvda\t0\t8589934592", "volume\tmmcblk1\tmmcblk1\t0\t15758000128"),
        ("by-id/virtio-landfall-disk5", "by-path/platform-fe330000.mmc"),
        ("vda1", "mmcblk1p1"),
        ("\tvda", "\tmmcblk1"),
        ("/dev/vda", "/dev/mmcblk1"),
        ("8589934592", "4000787030016"),
        ("8587837440", "4000784932864"),
    ] {
        probe = probe.replace(recorded, usual);
    }
    // Nobody has imported the pool or mounted what is on the eMMC.
    let lines = probe.lines().filter(|line| {
        !["pool\t", "member\t", "mounted\t"].iter().any(|key| line.starts_with(key))
    });
    let mut said = lines.collect::<Vec<_>>().join("\n");
    said += "\nkernel\tLinux\narch\taarch64\nos\tDebian GNU/Linux 13\nroot\tlogin\nmemory\t4000000000\nboot\tfirst";
    for tool in ["tar", "cpio", "gzip", "nix", "nixos-install", "git", "ssh"] {
        let _ = write!(said, "\nhas\t{tool}");
    }
    let mut target = TargetFacts::parse(&format!("{said}\nvariant\t{variant}\n"));
    let volumes = target.disks.values_mut().flat_map(|disk| &mut disk.volumes);
    for label in volumes.filter_map(|volume| volume.zfs.as_mut()) {
        label.vdev.asize = 19_998_000_000_000;
    }
    target
}

/// The same with disks that nobody has written to.
pub(super) fn fresh(variant: &str) -> TargetFacts {
    let mut target = used(variant);
    for disk in target.disks.values_mut() {
        disk.volumes.truncate(1);
        disk.volumes[0].format = String::new();
    }
    target
}

pub(super) fn image() -> Image {
    Image {
        path: "nixos-kexec-installer-noninteractive-aarch64-linux.tar.gz".into(),
        size: 387_000_000,
        sha256: "2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae".into(),
        compression: Compression::Gzip,
        processors: ["aarch64"].into(),
    }
}

/// A workstation that has a builder for the board.
pub(super) fn workstation() -> WorkstationFacts {
    WorkstationFacts {
        system: "x86_64-linux".into(),
        extra_platforms: vec!["aarch64-linux".into()],
        ..WorkstationFacts::default()
    }
}
