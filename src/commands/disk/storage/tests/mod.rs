//! The recorded helios64 of a rehearsal (its disks, labels and GUIDs), with its pool in all states that `zpool status` knows.

mod listing;
mod replacing;

use super::*;
use crate::facts::StorageFacts;
use std::fmt::Write as _;

const PROBE: &str = include_str!("../../../../../tests/data/probe-nixos-pool.txt");

/// The bays: kernel name, by-id name, GUID of the member.
const BAYS: [(&str, &str, u64); 5] = [
    ("sda", "ata-ST4000VN006-3CW104_ZW60A1B2", 0x32fb_a85f_b374_b6cf),
    ("sdd", "ata-ST4000VN006-3CW104_ZW60C3D4", 0x8bcb_17d7_c433_cad4),
    ("sdb", "ata-WDC_WD40EFPX-68C6CN0_WD-WX52E6F7A8B9", 0x0ff0_6f9b_3fd0_0e56),
    ("sdc", "ata-WDC_WD40EFPX-68C6CN0_WD-WX52G1H2J3K4", 0xe1aa_3359_2d36_b118),
    ("sde", "ata-TOSHIBA_HDWG440_Y3L5K6M7FZ0G", 0x8bba_e0f5_9e99_8b67),
];
const NEW: &str = "ata-ST4000VN006-3CW104_ZW60NEW1";
const NEW_GUID: u64 = 77;

fn host() -> HostFacts {
    let member = |(at, (_, id, _)): (usize, &(&str, &str, u64))| {
        format!(
            r#""bay{}": {{"device": "/dev/disk/by-id/{id}", "destroy": true, "content": "gpt", "partitions":
               [{{"name": "zfs", "label": "disk-bay{}-zfs", "start": "0", "size": "100%", "type": "BF01",
                  "pool": "tank"}}]}}"#,
            at + 1,
            at + 1
        )
    };
    let members: Vec<String> = BAYS.iter().enumerate().map(member).collect();
    let json = format!(
        r#"{{"hostName": "helios64", "disks": {{{}, "emmc": {{"device": "/dev/disk/by-id/virtio-landfall-disk5",
            "destroy": true, "content": "gpt", "partitions": [{{"name": "boot", "label": "disk-emmc-boot",
            "start": "32M", "size": "2G"}}]}}}}, "pools": {{"tank": {{"mode": "raidz2"}}}}}}"#,
        members.join(", ")
    );
    HostFacts { attribute: "helios64".into(), ..serde_json::from_str(&json).unwrap() }
}

/// The machine, with a new disk.
fn target() -> TargetFacts {
    let mut target = TargetFacts::parse(PROBE);
    let whole = Volume { name: "sdf".into(), size: 8 << 30, ..Volume::default() };
    let new = Disk {
        name: "sdf".into(),
        size: 8 << 30,
        serial: "ZW60NEW1".into(),
        sector: 512,
        volumes: vec![whole],
        ..Disk::default()
    };
    target.disks.insert("sdf".into(), new);
    for path in ["/dev/sdf".to_owned(), format!("/dev/disk/by-id/{NEW}")] {
        target.links.insert(path, "sdf".into());
    }
    target
}

/// Takes a disk out of the machine.
fn pull(target: &mut TargetFacts, disk: &str) {
    target.disks.remove(disk);
    target.links.retain(|_, name| name != disk);
}

/// Bay 3 has failed, in a raidz2.
const FAILED: [&str; 5] = ["ONLINE", "ONLINE", "FAULTED", "ONLINE", "ONLINE"];
const ALL_ONLINE: [&str; 5] = ["ONLINE"; 5];

/// `zpool status`, with each member's state and what follows it; both without and with `-g`.
fn pool(vdev: &str, state: &str, members: [&str; 5], scan: &str) -> StorageFacts {
    let mut said = String::new();
    for (key, by_guid) in [("status", false), ("guids", true)] {
        let mut table = format!(
            "  pool: tank\n state: {state}\n{scan}config:\n\n\tNAME  STATE     READ WRITE CKSUM\n\
             \ttank  {state}     0     0     0\n"
        );
        let vdev = if by_guid { "1" } else { vdev };
        let _ = writeln!(table, "\t  {vdev}  {state}     0     0     0");
        for ((_, id, guid), member) in BAYS.iter().zip(members) {
            let (state, note) = member.split_once(' ').unwrap_or((member, "0 0 0"));
            let gone = matches!(state, "UNAVAIL" | "REMOVED");
            let path = format!("/dev/disk/by-id/{id}-part1");
            let name = if by_guid || gone { guid.to_string() } else { path.clone() };
            let was = if gone { format!("  was {path}") } else { String::new() };
            let _ = writeln!(table, "\t    {name}  {state}  {note}{was}");
        }
        table.push_str("\nerrors: No known data errors\n");
        for line in table.lines() {
            let _ = writeln!(said, "{key}\t{line}");
        }
    }
    StorageFacts::parse(&said)
}

fn degraded() -> StorageFacts {
    pool("raidz2-0", "DEGRADED", FAILED, "")
}

const RESILVERING: &str = "  scan: resilver in progress since Mon Apr 22 10:50:35 2024\n\
     \t59.1T / 238T scanned at 712M/s, 18.4T / 198T issued at 222M/s\n\
     \t1.47T resilvered, 9.30% done, 9 days 20:04:31 to go\n";
