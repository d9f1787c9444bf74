//! Each finding about what is kept, with the labels of a real raidz1 of five disks.

use super::*;
use crate::facts::{Kept, ZfsLabel};
use crate::plan::Known;

/// What is tried here.
pub(in crate::plan::rules) const CODES: [&str; 12] = [
    "keep-ambiguous",
    "keep-degraded",
    "keep-encrypted",
    "keep-erased",
    "keep-features",
    "keep-foreign",
    "keep-imported",
    "keep-nested",
    "keep-no-script",
    "keep-not-found",
    "keep-outside",
    "keep-unknown",
];

/// The installed helios64 of a rehearsal.
const NIXOS: &str = include_str!("../../../../tests/data/probe-nixos-pool.txt");

/// The disks' names in /dev/disk/by-id, as the layout has them.
const BAYS: [&str; 5] = [
    "ST4000VN006-3CW104_ZW60A1B2",
    "ST4000VN006-3CW104_ZW60C3D4",
    "WDC_WD40EFPX-68C6CN0_WD-WX52E6F7A8B9",
    "WDC_WD40EFPX-68C6CN0_WD-WX52G1H2J3K4",
    "TOSHIBA_HDWG440_Y3L5K6M7FZ0G",
];

/// A helios64 whose pool is kept: the kept disks are not wiped.
fn host() -> HostFacts {
    let mut disks = serde_json::Map::new();
    for (at, id) in BAYS.iter().enumerate() {
        let disk = serde_json::json!({
            "device": format!("/dev/disk/by-id/ata-{id}"), "destroy": false,
            "partitions": [{"name": "zfs", "pool": "tank", "label": format!("disk-bay{}-zfs", at + 1)}],
        });
        disks.insert(format!("bay{}", at + 1), disk);
    }
    let emmc = serde_json::json!({
        "device": "/dev/disk/by-id/virtio-landfall-disk5", "destroy": true,
        "partitions": [{"name": "boot", "label": "disk-emmc-boot", "start": "32M"}],
    });
    disks.insert("emmc".to_owned(), emmc);
    let script = serde_json::json!({"drv": "/nix/store/a.drv", "out": "/nix/store/a"});
    serde_json::from_value(serde_json::json!({
        "disks": disks, "hostId": "4e110564", "zfs": true, "zfsVersion": "2.2.4", "mountScript": script,
        "pools": {"tank": {"datasets": {"root": {}, "data": {}, "data/media": {}}}},
        "fileSystems": {"/": {"device": "tank/root"}, "/srv/media": {"device": "tank/data/media"}},
        "kept": {
            "pools": ["tank"], "disks": ["bay1", "bay2", "bay3", "bay4", "bay5"], "formatScript": script
        },
    }))
    .unwrap()
}

fn installer() -> TargetFacts {
    let pools = Vec::new();
    TargetFacts { variant: "installer".into(), pools, ..TargetFacts::parse(NIXOS) }
}

fn codes(host: &HostFacts, target: &TargetFacts) -> Vec<&'static str> {
    codes_with(&[], host, target)
}

fn codes_with(disk_keys: &[String], host: &HostFacts, target: &TargetFacts) -> Vec<&'static str> {
    let mut found = host_findings(host, disk_keys);
    found.extend(findings(host, target, false));
    found.iter().map(|finding| finding.kind.code).collect()
}

/// Changes what every member says.
fn relabel(change: impl Fn(&mut ZfsLabel)) -> TargetFacts {
    let mut target = installer();
    let volumes = target.disks.values_mut().flat_map(|disk| &mut disk.volumes);
    volumes.filter_map(|volume| volume.zfs.as_mut()).for_each(change);
    target
}

#[test]
fn a_whole_pool_of_the_host_has_no_findings() {
    assert_eq!(codes(&host(), &installer()), [""; 0]);
    // The old system has it imported: kexec leaves it.
    assert_eq!(codes(&host(), &TargetFacts::parse(NIXOS)), [""; 0]);
    let kept = kept_pools(&host(), &installer());
    let seen = kept[0].seen.as_ref().unwrap();
    assert_eq!((seen.guid, seen.host_id), (3_817_793_585_060_740_247, 0x4e11_0564));
    assert_eq!(
        kept[0].lines(),
        [
            "keep   pool tank: GUID 3817793585060740247, 5 of 5 members",
            "       keep   tank/data, or create it if it is missing",
            "       keep   tank/data/media (/srv/media), or create it if it is missing",
            "       rename tank/root (/): archived below landfall-archived, and created again",
        ]
    );
    // Nor has it any as a pool on disks that are not erased.
    let (host, target) = (host(), installer());
    let known = Known { target: Some(&target), ..Known::of(&host) };
    let all = crate::plan::findings(known);
    assert!(!all.iter().any(|found| found.kind.code.starts_with("disk-")), "{all:?}");
}

#[test]
fn without_keep_nothing_is_kept() {
    let host = HostFacts { kept: Kept::default(), ..host() };
    assert_eq!(codes(&host, &installer()), [""; 0]);
    assert_eq!(kept_pools(&host, &installer()), []);
}

#[test]
fn a_host_that_lacks_what_keeping_needs_is_refused() {
    let mut unknown = host();
    unknown.kept.unknown = vec!["tonk".into()];
    assert_eq!(codes(&unknown, &installer()), ["keep-unknown"]);
    let mut bare = host();
    bare.kept.format_script = None;
    assert_eq!(codes(&bare, &installer()), ["keep-no-script"]);
    let bare = HostFacts { mount_script: None, ..host() };
    assert_eq!(codes(&bare, &installer()), ["keep-no-script"]);
    let mut encrypted = host();
    let pool = encrypted.pools.as_mut().unwrap().get_mut("tank").unwrap();
    pool.root_fs_options.insert("encryption".into(), "aes-256-gcm".into());
    assert_eq!(codes(&encrypted, &installer()), ["keep-encrypted"]);
    let options = [("encryption", "on"), ("keylocation", "file:///tmp/secret.key")];
    let options = options.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let pool = encrypted.pools.as_mut().unwrap().get_mut("tank").unwrap();
    pool.root_fs_options.clear();
    pool.datasets.insert("data".into(), options.into());
    assert_eq!(codes(&encrypted, &installer()), ["keep-encrypted"]);
    let disk_keys = ["/tmp/secret.key".to_owned()];
    assert_eq!(codes_with(&disk_keys, &encrypted, &installer()), [""; 0]);
    let key = ("tank/data".to_owned(), "file:///tmp/secret.key".to_owned());
    assert_eq!(kept_pools(&encrypted, &installer())[0].encrypted, [key]);
}

#[test]
fn data_below_the_system_is_refused() {
    let mut nested = host();
    let pool = nested.pools.as_mut().unwrap().get_mut("tank").unwrap();
    pool.datasets.insert("root/home".into(), std::collections::BTreeMap::new());
    // One that is mounted nowhere goes along: it holds nothing of its own.
    assert_eq!(codes(&nested, &installer()), [""; 0]);
    let mut systems = nested.file_systems.take().unwrap();
    let home = crate::facts::DeclaredFileSystem {
        device: Some("tank/root/home".into()),
        ..Default::default()
    };
    systems.insert("/home".into(), home);
    nested.file_systems = Some(systems);
    assert_eq!(codes(&nested, &installer()), ["keep-nested"]);
    let mut top = host();
    top.file_systems.as_mut().unwrap().get_mut("/").unwrap().device = Some("tank".into());
    assert_eq!(codes(&top, &installer()), ["keep-nested"]);
}

#[test]
fn a_pool_that_is_not_there_is_refused() {
    let destroyed = relabel(|label| label.state = 2);
    assert_eq!(codes(&host(), &destroyed), ["keep-not-found"]);
    let other = relabel(|label| label.pool = "rust".into());
    assert_eq!(codes(&host(), &other), ["keep-not-found"]);
    let said = findings(&host(), &other, false).remove(0).what;
    assert!(said.contains("5 of 5 members of pool rust"), "{said}");
    // A system that sees none of the disks cannot know.
    let mut blind = installer();
    blind.disks.clear();
    blind.links.clear();
    assert_eq!(codes(&host(), &blind), ["keep-not-found"]);
    blind.variant.clear();
    assert_eq!(codes(&host(), &blind), [""; 0]);
}

#[test]
fn two_pools_of_one_name_are_refused() {
    let mut target = installer();
    let label = target.disks.get_mut("sde").unwrap().volumes[1].zfs.as_mut().unwrap();
    label.pool_guid = 7;
    assert_eq!(codes(&host(), &target), ["keep-ambiguous"]);
    assert_eq!(kept_pools(&host(), &target)[0].seen, None);
    // On a disk that the layout does not name, it is not meant.
    target.links.retain(|_, name| name != "sde");
    assert_eq!(codes(&host(), &target), ["keep-degraded"]);
}

#[test]
fn members_that_are_missing_or_elsewhere_are_found() {
    let mut target = installer();
    target.disks.remove("sdc");
    assert_eq!(codes(&host(), &target), ["keep-degraded"]);
    let mut more = relabel(|label| label.vdevs = 2);
    assert_eq!(codes(&host(), &more), ["keep-degraded"]);
    more = installer();
    more.links.retain(|_, name| name != "sdc");
    assert_eq!(codes(&host(), &more), ["keep-outside"]);
    // The layout gives the disk to something else, and would erase it.
    let mut host = host();
    let disk = host.disks.as_mut().unwrap().get_mut("bay4").unwrap();
    disk.destroy = true;
    host.kept.disks.retain(|name| name != "bay4");
    assert_eq!(codes(&host, &installer()), ["keep-erased"]);
}

#[test]
fn a_pool_of_another_machine_is_refused() {
    let foreign = relabel(|label| label.host_id = 0x0000_beef);
    assert_eq!(codes(&host(), &foreign), ["keep-foreign"]);
    let said = findings(&host(), &foreign, false).remove(0).what;
    assert!(said.contains("host id 0000beef (helios64)"), "{said}");
    let exported = relabel(|label| {
        label.host_id = 0x0000_beef;
        label.state = 1;
    });
    assert_eq!(codes(&host(), &exported), [""; 0]);
    assert_eq!(findings(&host(), &foreign, true), [], "an unfinished try of ours has imported it");
}

#[test]
fn a_pool_that_is_too_new_or_in_use_is_refused() {
    let newer = relabel(|label| label.features.push("org.openzfs:raidz_expansion".into()));
    assert_eq!(codes(&host(), &newer), ["keep-features"]);
    let new = HostFacts { zfs_version: Some("2.3.0".into()), ..host() };
    assert_eq!(codes(&new, &newer), [""; 0]);
    let mut used = installer();
    used.pools = TargetFacts::parse(NIXOS).pools;
    assert_eq!(codes(&host(), &used), ["keep-imported"]);
}
