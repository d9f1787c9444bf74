use super::*;
use crate::facts::ScanKind;
use proptest::prelude::*;

/// As OpenZFS 2.2 reports a disk that is being replaced, with every class of vdev.
const STATUS: &str = "  pool: fspool\n state: DEGRADED\nstatus: One or more devices is currently being resilvered.  The pool will\n\
    \tcontinue to function, possibly in a degraded state.\naction: Wait for the resilver to complete.\n\
    \x20 scan: resilver in progress since Mon Apr 22 10:50:35 2024\n\
    \t59.1T / 238T scanned at 712M/s, 18.4T / 198T issued at 222M/s\n\
    \t1.47T resilvered, 9.30% done, 9 days 20:04:31 to go\nconfig:\n\n\
    \tNAME                                         STATE     READ WRITE CKSUM\n\
    \tfspool                                       DEGRADED     0     0     0\n\
    \t  raidz2-0                                   DEGRADED     0     0     0\n\
    \t    /dev/disk/by-id/ata-A_1-part1            ONLINE       0     0     0\n\
    \t    replacing-1                              DEGRADED     0     0     2\n\
    \t      127286639182292558                     UNAVAIL      0     0     0  was /dev/disk/by-id/ata-A_2-part1\n\
    \t      /dev/disk/by-id/ata-A_9-part1          ONLINE       0     0     0  (resilvering)\n\
    \t    /dev/disk/by-id/ata-A_3-part1            FAULTED     12     0  1048576  too many errors\n\
    \tspecial\t\n\
    \t  mirror-1                                   ONLINE       0     0     0\n\
    \t    /dev/sdx1                                ONLINE       0     0     0\n\
    \t    /dev/sdy1                                ONLINE       0     0     0\n\
    \tlogs\t\n\t  /dev/nvme0n1p1                             ONLINE       0     0     0\n\
    \tcache\n\t  /dev/nvme0n1p2                             ONLINE       0     0     0\n\
    \tspares\n\t  /dev/sdz1                                  AVAIL   \n\nerrors: No known data errors\n\n\
    \x20 pool: other\n state: ONLINE\n  scan: scrub repaired 0B in 00:10:31 with 0 errors on Sun Apr 14 00:34:32 2024\n\
    config:\n\n\tNAME         STATE     READ WRITE CKSUM\n\tother        ONLINE       0     0     0\n\
    \t  /dev/sdb1  ONLINE       0     0     0\n\nerrors: 3 data errors, use '-v' for a list\n";

#[test]
fn reads_a_replacement_and_every_class() {
    let pools = PoolStatus::parse(STATUS);
    let [pool, other] = pools.as_slice() else { panic!("{pools:?}") };
    assert_eq!((pool.name.as_str(), pool.state.as_str()), ("fspool", "DEGRADED"));
    assert!(pool.status.ends_with(
        "resilvered.  The pool will continue to function, possibly in a degraded state."
    ));
    let classes: Vec<Class> = pool.vdevs.iter().map(|top| top.class).collect();
    assert_eq!(classes, [Class::Data, Class::Special, Class::Log, Class::Cache, Class::Spare]);
    assert_eq!(pool.members().count(), 7, "without cache and spare");

    let raidz = &pool.vdevs[0].vdev;
    assert_eq!((raidz.kind(), raidz.children.len()), ("raidz2", 3));
    let [old, new] = raidz.children[1].children.as_slice() else { panic!("{raidz:?}") };
    assert_eq!(old.path(), Some("/dev/disk/by-id/ata-A_2-part1"));
    assert!(new.is_resilvering() && !old.is_resilvering());
    let faulted = &raidz.children[2];
    assert_eq!((faulted.read, faulted.write, faulted.checksum), (12, 0, 1 << 20));
    assert_eq!(faulted.note, "too many errors");

    assert!(!pool.has_data_errors() && other.has_data_errors());
    assert_eq!(other.vdevs[0].vdev.kind(), "disk");
    assert_eq!(other.vdevs[0].class, Class::Data, "the classes of one pool are not the next one's");
}

#[test]
fn reads_how_far_a_resilver_is() {
    let pools = PoolStatus::parse(STATUS);
    let resilver = &pools[0].scans[0];
    assert_eq!((resilver.kind, resilver.running), (ScanKind::Resilver, true));
    assert_eq!(
        (resilver.done, resilver.to_go),
        (Some(930), Some(9 * 86_400 + 20 * 3600 + 4 * 60 + 31))
    );
    assert_eq!(resilver.rate, Some(222 << 20));
    assert_eq!(resilver.total, Some(198 << 40));
    let scrub = &pools[1].scans[0];
    assert_eq!((scrub.kind, scrub.running, scrub.errors), (ScanKind::Scrub, false, Some(0)));

    // Before 2.2, and before 0.8.
    for (second, third, to_go, total) in [
        (
            "6.18T scanned at 644M/s, 4.26T issued at 444M/s, 6.42T total",
            "0 days 01:24:38 to go",
            5078,
            "6.42T",
        ),
        (
            "14.1T scanned out of 99.2T at 408M/s, 60h43m to go",
            "314G resilvered, 14.17% done",
            218_580,
            "99.2T",
        ),
    ] {
        let text = format!(
            "  pool: p\n  scan: resilver in progress since Mon\n\t{second}\n\t123G resilvered, 66.46% done, {third}\n"
        );
        let scan = &PoolStatus::parse(&text)[0].scans[0];
        assert_eq!((scan.to_go, scan.total), (Some(to_go), zfs_amount(total)), "{second}");
    }
    let slow = "  pool: p\n  scan: resilver in progress since Mon\n\t1G / 2G scanned, 1G / 2G issued\n\
        \t1G resilvered, 0.57% done, no estimated completion time\n";
    let scan = &PoolStatus::parse(slow)[0].scans[0];
    assert_eq!(
        (scan.done, scan.to_go, scan.rate, scan.total),
        (Some(57), None, None, Some(2 << 30))
    );
}

#[test]
fn guids_come_to_their_vdevs() {
    let mut number = 0;
    let mut by_guid = String::new();
    for line in STATUS.lines() {
        let name = line.split_whitespace().next().unwrap_or_default();
        let is_vdev = line.starts_with("\t  ");
        number += u64::from(is_vdev);
        by_guid.push_str(&if is_vdev {
            line.replacen(name, &number.to_string(), 1)
        } else {
            line.to_owned()
        });
        by_guid.push('\n');
    }
    let pools = PoolStatus::parse_with_guids(STATUS, &by_guid);
    let guids: Vec<_> = pools[0].members().map(|(_, leaf)| leaf.guid).collect();
    assert_eq!(guids, [2, 4, 5, 6, 8, 9, 10].map(Some));
    assert_eq!(pools[0].vdevs[0].vdev.guid, Some(1));
    // A vdev has come or gone in between: what is unknown stays so.
    let other = PoolStatus::parse_with_guids(STATUS, &by_guid.replace("\t    2 ", "\t  2 "));
    assert!(other[0].members().all(|(_, leaf)| leaf.guid.is_none()));
}

proptest! {
    #[test]
    fn never_panics(text in "(\\PC|[\t\n ]){0,200}", at in 0_usize..2000, end in 0_usize..2000) {
        let _ = PoolStatus::parse(&text);
        let at = STATUS.floor_char_boundary(at % STATUS.len());
        let damaged = format!("{}{text}{}", &STATUS[..at], &STATUS[end.min(STATUS.len())..]);
        for pool in PoolStatus::parse_with_guids(&damaged, &text) {
            for (top, leaf) in pool.members() {
                let _ = (top.vdev.kind(), leaf.path());
            }
        }
    }
}
