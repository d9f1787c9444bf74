//! What is replaced by what, and what speaks against it.

use super::*;
use crate::findings::{CATALOGUE, Finding};
use crate::report::Document as _;
use crate::report::StepName;
use std::collections::BTreeSet;

fn wishes(old: &str, new: &str) -> ReplacementWishes {
    let some = |text: &str| Some(text.to_owned()).filter(|text| !text.is_empty());
    ReplacementWishes { old: some(old), new: some(new) }
}

/// All that is known, to be changed by a test.
struct Known {
    host: HostFacts,
    target: TargetFacts,
    storage: StorageFacts,
    wishes: ReplacementWishes,
}

impl Known {
    fn new() -> Self {
        let wishes = ReplacementWishes::default();
        Self { host: host(), target: target(), storage: degraded(), wishes }
    }

    fn plan(&self) -> Result<Replacement, Vec<Finding>> {
        plan_replacement(&self.host, &self.target, &self.storage, &self.wishes)
    }

    fn codes(&self) -> Vec<&'static str> {
        let findings = self.plan().map_or_else(|findings| findings, |plan| plan.findings);
        findings.iter().map(|finding| finding.kind.code).collect()
    }

    fn new_disk(&mut self) -> &mut Disk {
        self.target.disks.get_mut("sdf").unwrap()
    }

    fn declared(&mut self, bay: &str) -> &mut DeclaredDisk {
        self.host.disks.as_mut().unwrap().get_mut(bay).unwrap()
    }
}

#[test]
fn a_failed_member_and_an_empty_disk_make_a_plan() {
    let plan = Known::new().plan().unwrap();
    assert_eq!(plan.findings, []);
    let old = &plan.old;
    assert_eq!((old.pool.as_str(), old.vdev.as_str()), ("tank", "raidz2-0"));
    assert_eq!((old.guid, old.bay.as_deref()), (Some(BAYS[2].2), Some("bay3")));
    assert_eq!(
        (old.serial.as_deref(), old.disk.as_deref()),
        (Some("WD-WX52E6F7A8B9"), Some("sdb"))
    );
    assert_eq!(plan.margin, 2, "one more may fail, the second loses it");
    let new = plan.new.unwrap();
    assert_eq!(new.member, format!("/dev/disk/by-id/{NEW}-part1"));
    assert_eq!(plan.layout.partitions[0].label.as_deref(), Some("disk-bay3-zfs"));
}

#[test]
fn a_member_is_known_by_all_its_names() {
    let path = format!("/dev/disk/by-id/{}-part1", BAYS[2].1);
    let guid = BAYS[2].2.to_string();
    for old in ["WD-WX52E6F7A8B9", "bay3", &guid, &path, "/dev/sdb"] {
        let mut known = Known::new();
        known.wishes = wishes(old, "");
        known.storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "");
        assert_eq!(known.plan().unwrap().old.guid, Some(BAYS[2].2), "{old}");
    }
    // The same once it is gone, and another disk is where it was.
    for old in ["WD-WX52E6F7A8B9", "bay3", &guid, &path, ""] {
        let mut known = Known::new();
        pull(&mut known.target, "sdb");
        known.wishes = wishes(old, "");
        let gone = ["ONLINE", "ONLINE", "UNAVAIL", "ONLINE", "ONLINE"];
        known.storage = pool("raidz2-0", "DEGRADED", gone, "");
        let plan = known.plan().unwrap();
        assert_eq!((plan.old.guid, plan.old.disk), (Some(BAYS[2].2), None), "{old}");
        assert_eq!(plan.old.serial.as_deref(), Some("WD-WX52E6F7A8B9"));
        assert_eq!(plan.findings, [], "{old}");
    }
}

/// What is changed, and what must be found then, and nothing else.
type Case = (&'static str, fn(&mut Known));

const CASES: &[Case] = &[
    ("replace-no-pool", |known| known.storage.pools.clear()),
    ("replace-pool-down", |known| known.storage.pools[0].state = "SUSPENDED".into()),
    ("replace-which", |known| known.storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "")),
    ("replace-which", |known| known.wishes = wishes("NOBODY", "")),
    ("replace-which", |known| {
        let two = ["OFFLINE", "ONLINE", "FAULTED", "ONLINE", "ONLINE"];
        known.storage = pool("raidz2-0", "DEGRADED", two, "");
    }),
    ("replace-pool-lost", |known| {
        known.target.disks.remove("sdf");
        known.wishes = wishes("bay1", "");
        known.storage = pool("raidz1-0", "DEGRADED", FAILED, "");
    }),
    ("replace-resilvering", |known| {
        known.wishes = wishes("bay1", "");
        known.storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, RESILVERING);
    }),
    ("replace-no-layout", |known| known.host.disks.as_mut().unwrap().clear()),
    ("replace-new-which", |known| {
        let second = Disk { name: "sdg".into(), ..known.target.disks["sdf"].clone() };
        known.target.disks.insert("sdg".into(), second);
    }),
    ("replace-new-small", |known| known.new_disk().size = 8_000_000_000),
    ("replace-new-sectors", |known| known.new_disk().sector = 8192),
    ("replace-new-in-use", |known| {
        known.wishes.new = Some("ZW60NEW1".into());
        known.new_disk().volumes[0].mounted.push("/mnt".into());
    }),
    ("replace-new-in-use", |known| known.wishes.new = Some("ZW60A1B2".into())),
    ("replace-new-broken", |known| known.new_disk().unreadable = true),
    ("replace-new-broken", |known| known.new_disk().healthy = Some(false)),
    ("replace-new-unnamed", |known| known.target.links.retain(|path, _| !path.ends_with(NEW))),
    ("replace-new-pool", |known| {
        let mut label = known.target.disks["sda"].volumes[1].zfs.clone().unwrap();
        (label.guid, label.pool_guid) = (5, 6);
        known.wishes.new = Some("ZW60NEW1".into());
        known.new_disk().volumes[0].zfs = Some(label);
    }),
    ("replace-new-holds", |known| {
        known.wishes.new = Some("ZW60NEW1".into());
        known.new_disk().volumes[0].format = "ext4".into();
    }),
    ("replace-no-margin", |known| {
        known.storage = pool("raidz1-0", "DEGRADED", FAILED, "");
    }),
    ("replace-other-errors", |known| {
        let errors =
            ["ONLINE", "ONLINE 0 0 3", "FAULTED 9 9 9 too many errors", "ONLINE", "ONLINE"];
        known.storage = pool("raidz2-0", "DEGRADED", errors, "");
    }),
    ("replace-data-errors", |known| {
        known.storage.pools[0].errors = "3 data errors, use '-v' for a list".into();
    }),
    ("replace-layout-more", |known| {
        let first = known.host.disks.as_ref().unwrap()["emmc"].partitions[0].clone();
        let small = crate::facts::DeclaredPartition { size: Some("1M".into()), ..first };
        let small = crate::facts::DeclaredPartition { start: None, ..small };
        known.declared("bay3").partitions.insert(0, small);
    }),
    ("replace-under-way", |known| {
        known.wishes = wishes("bay3", "");
        known.storage = replacing();
    }),
];

#[test]
fn every_kind_is_tried() {
    let tried: BTreeSet<&str> = CASES.iter().map(|(code, _)| *code).collect();
    let all = CATALOGUE.iter().map(|kind| kind.code);
    let all: BTreeSet<&str> = all.filter(|code| code.starts_with("replace-")).collect();
    assert_eq!(all, tried);
}

#[test]
fn what_speaks_against_it_is_found() {
    for (at, (code, change)) in CASES.iter().enumerate() {
        let mut known = Known::new();
        change(&mut known);
        assert!(known.codes().contains(code), "{at}: {code} is not in {:?}", known.codes());
        // What has further consequences is not counted; all else stands alone.
        let alone =
            !matches!(*code, "replace-no-layout" | "replace-under-way" | "replace-resilvering");
        assert!(!alone || known.codes() == [*code], "{at}: {:?}", known.codes());
    }
}

/// Bay 3 is being replaced by the new disk.
fn replacing() -> StorageFacts {
    let mut storage = pool("raidz2-0", "DEGRADED", FAILED, RESILVERING);
    let members = &mut storage.pools[0].vdevs[0].vdev.children;
    let new = VdevStatus {
        name: format!("/dev/disk/by-id/{NEW}-part1"),
        guid: Some(NEW_GUID),
        state: "ONLINE".into(),
        note: "(resilvering)".into(),
        ..VdevStatus::default()
    };
    let group = VdevStatus {
        name: "replacing-2".into(),
        state: "DEGRADED".into(),
        children: vec![members[2].clone(), new],
        ..VdevStatus::default()
    };
    members[2] = group;
    storage
}

#[test]
fn a_disk_that_is_being_replaced_is_not_replaced_again() {
    let mut known = Known::new();
    known.storage = replacing();
    assert_eq!(known.codes(), ["replace-which"], "nothing else has failed");
    assert_eq!(failures_to_lose(&known.storage.pools[0]), 2);
    // The new one has failed as well: now it is that one's turn, or the old one's.
    let group = &mut known.storage.pools[0].vdevs[0].vdev.children[2];
    group.children[1].state = "FAULTED".into();
    assert_eq!(known.codes(), ["replace-which"]);
    known.wishes = wishes(&NEW_GUID.to_string(), "");
    assert!(!known.codes().contains(&"replace-under-way"));
}

#[test]
fn a_resilver_that_has_only_begun_makes_no_member_whole() {
    let mut storage = replacing();
    // Nothing is written to it yet, and ZFS says nothing beside it.
    storage.pools[0].vdevs[0].vdev.children[2].children[1].note.clear();
    assert_eq!(failures_to_lose(&storage.pools[0]), 2);
    storage.pools[0].scans.clear();
    assert_eq!(failures_to_lose(&storage.pools[0]), 3, "it has ended");
}

#[test]
fn the_plan_names_the_commands() {
    let known = Known::new();
    let plan = known.plan().unwrap();
    let (guid, new) = (BAYS[2].2, format!("/dev/disk/by-id/{NEW}"));
    let lines: Vec<String> = plan.tasks().into_iter().flat_map(|task| task.commands).collect();
    assert_eq!(
        lines,
        [
            format!(
                "printf '%s\\n' 'label: gpt' \
                 'type=6A898CC3-1DD2-11B2-99A6-080020736631, name=\"disk-bay3-zfs\"' | \
                 sfdisk --wipe always --wipe-partitions always {new}"
            ),
            format!("udevadm settle '--timeout=60' '--exit-if-exists={new}-part1'"),
            format!("zpool replace tank {guid} {new}-part1"),
            "zpool wait -t resilver tank".to_owned(),
            "zpool status -P tank".to_owned(),
        ],
        "a member that has failed needs not be taken offline"
    );
    assert!(
        plan.text().contains("out      bay3 (serial WD-WX52E6F7A8B9): FAULTED"),
        "{}",
        plan.text()
    );
    assert_eq!(plan.document().old.guid, Some(guid.to_string()));
    assert_eq!(plan.document().new.unwrap().serial, "ZW60NEW1");
}

#[test]
fn without_a_new_disk_the_plan_says_what_is_wanted() {
    let mut known = Known::new();
    known.target.disks.remove("sdf");
    known.wishes = wishes("bay1", "");
    known.storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "");
    let plan = known.plan().unwrap();
    let names: Vec<_> = plan.tasks().iter().map(|task| task.name).collect();
    assert_eq!(names, [StepName::Offline, StepName::Swap]);
    let offline = format!("zpool offline tank {}", BAYS[0].2);
    assert_eq!(plan.tasks()[0].commands[0], offline);
    // What five disks of 8 GiB need, down to the last metaslab, and not more than such a disk has.
    let bytes = plan.need.bytes.unwrap();
    assert!((8_400_000_000..8_587_837_440).contains(&bytes), "{bytes}");
    assert!(plan.text().contains("put in a disk of at least 8.5 GB"), "{}", plan.text());
}

#[test]
fn the_least_that_is_taken_is_exact() {
    let mut known = Known::new();
    let need = known.plan().unwrap().need.bytes.unwrap();
    // The first MiB comes on top, partitions end with a whole MiB, and behind them there are 33 sectors with the second table.
    let least = (need + (1 << 20)).next_multiple_of(1 << 20) + 33 * 512;
    known.new_disk().size = least;
    assert_eq!(known.codes(), [""; 0]);
    known.new_disk().size = least - 512;
    assert_eq!(known.codes(), ["replace-new-small"]);
}

#[test]
fn a_disk_that_is_not_empty_is_meant_only_if_it_is_named() {
    let mut known = Known::new();
    known.new_disk().volumes[0].format = "vfat".into();
    let plan = known.plan().unwrap();
    assert_eq!((plan.new, plan.findings.len(), plan.full.len()), (None, 0, 1));
    known.wishes = wishes("", "ZW60NEW1");
    assert_eq!(known.codes(), ["replace-new-holds"]);
    assert!(known.plan().unwrap().full.is_empty());
}

#[test]
fn with_both_there_nothing_is_taken_out() {
    let mut known = Known::new();
    known.wishes = wishes("bay1", "");
    known.storage = pool("raidz1-0", "ONLINE", ALL_ONLINE, "");
    let plan = known.plan().unwrap();
    assert_eq!((plan.margin, plan.findings.len()), (2, 0));
    assert_eq!(plan.tasks()[0].name, StepName::Partition, "it is read until the new one is whole");
    // Also where the pool would be lost without it.
    known.storage = pool("raidz1-0", "DEGRADED", FAILED, "");
    assert_eq!(known.codes(), ["replace-no-margin"]);
}

#[test]
fn what_is_under_a_label_is_cleared_first() {
    let mut known = Known::new();
    known.wishes = wishes("", "ZW60NEW1");
    let label = known.target.disks["sda"].volumes[1].zfs.clone();
    let part = Volume { name: "sdf1".into(), zfs: label, ..Volume::default() };
    known.new_disk().volumes.push(part);
    let plan = known.plan().unwrap();
    let first = &plan.tasks()[0].commands[0];
    assert_eq!(*first, format!("zpool labelclear -f /dev/disk/by-id/{NEW}-part1"));
}

#[test]
fn how_far_it_has_come_is_seen_by_the_guid() {
    let [old, new] = [BAYS[2].2, NEW_GUID];
    let status = replacing();
    assert_eq!(standing(&status, "tank", old), Standing::UnderWay);
    assert_eq!(standing(&status, "tank", 4711), Standing::Done);
    let known = Known::new();
    assert_eq!(standing(&known.storage, "tank", old), Standing::NotBegun);
    assert_eq!(standing(&known.storage, "tank", new), Standing::Done);
    assert_eq!(standing(&known.storage, "other", old), Standing::NotBegun, "it is not imported");
}

#[test]
fn a_disk_that_does_not_fit_is_as_good_as_none() {
    let mut known = Known::new();
    known.wishes = wishes("bay1", "");
    known.new_disk().size = 1 << 30;
    known.storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "");
    let plan = known.plan().unwrap();
    let names: Vec<_> = plan.tasks().iter().map(|task| task.name).collect();
    assert_eq!(names, [StepName::Offline, StepName::Swap], "another one will come");
    assert!(plan.question("nas").contains("an empty disk which is put in"));
    known.storage = pool("raidz1-0", "DEGRADED", FAILED, "");
    assert_eq!(known.codes(), ["replace-pool-lost", "replace-new-small"]);
}
