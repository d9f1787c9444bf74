//! What is listed, and the disk file.

use super::*;
use crate::report::Document as _;

#[test]
fn what_a_healthy_machine_lists() {
    let mut target = target();
    pull(&mut target, "sdf");
    let listing = list(&host(), &target, &pool("raidz2-0", "ONLINE", ALL_ONLINE, ""));
    assert_eq!(listing.gone, []);
    assert_eq!(listing.disks.len(), 6);
    for (disk, (kernel, _, guid)) in listing.disks.iter().zip(BAYS) {
        assert_eq!(disk.kernel.as_deref(), Some(kernel));
        assert_eq!(disk.differs, []);
        assert_eq!(disk.role, ["pool tank"]);
        assert_eq!(disk.members[0].guid, Some(guid.to_string()));
        assert_eq!(disk.members[0].state, "ONLINE");
    }
    assert_eq!(
        (listing.disks[5].name.as_deref(), &*listing.disks[5].role),
        (Some("emmc"), &["boot".to_owned()][..])
    );
    assert_eq!(listing.pools[0].failures_to_lose, 3);
    assert!(
        listing
            .text()
            .ends_with("pool tank: ONLINE; 2 more disks may fail\n  No known data errors\n")
    );
}

#[test]
fn what_differs_from_the_layout_is_marked() {
    let kinds = |listing: &Listing, name: Option<&str>| -> Vec<&str> {
        let disks = listing.disks.iter().filter(|disk| disk.name.as_deref() == name);
        disks.flat_map(|disk| &disk.differs).map(|difference| difference.kind).collect()
    };
    let gone = ["ONLINE", "ONLINE", "UNAVAIL", "ONLINE", "ONLINE"];
    let mut found = target();
    pull(&mut found, "sdb");
    let listing = list(&host(), &found, &pool("raidz2-0", "DEGRADED", gone, ""));
    assert_eq!(kinds(&listing, Some("bay3")), ["missing"]);
    assert_eq!(listing.disks[2].members[0].state, "UNAVAIL", "what ZFS says of it is shown there");
    assert_eq!((kinds(&listing, None), listing.gone.len()), (vec!["extra"], 0));

    // The new disk is in the pool, and the flake does not know.
    let mut storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "");
    let member = &mut storage.pools[0].vdevs[0].vdev.children[2];
    (member.name, member.guid) = (format!("/dev/disk/by-id/{NEW}"), Some(NEW_GUID));
    let listing = list(&host(), &found, &storage);
    assert_eq!(kinds(&listing, Some("bay3")), ["missing", "other-serial"]);
    assert!(listing.text().contains("another disk has its place in the pool tank: ZW60NEW1"));

    // It is where the layout says, and nobody has told the pool.
    let mut host = host();
    host.disks.as_mut().unwrap().get_mut("bay3").unwrap().device = format!("/dev/disk/by-id/{NEW}");
    let listing = list(&host, &found, &pool("raidz2-0", "DEGRADED", gone, ""));
    assert_eq!(kinds(&listing, Some("bay3")), ["not-a-member"]);
    assert_eq!(listing.gone.len(), 1);
    host.disks.as_mut().unwrap().get_mut("emmc").unwrap().partitions[0].size = Some("9G".into());
    let listing = list(&host, &found, &pool("raidz2-0", "DEGRADED", gone, ""));
    assert_eq!(kinds(&listing, Some("emmc")), ["smaller"]);
}

#[test]
fn the_disk_file_has_the_names_of_the_layout() {
    let storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "");
    let text = disk_file(&host(), &target(), &storage);
    for (at, (_, id, _)) in BAYS.iter().enumerate() {
        assert!(
            text.contains(&format!("    bay{} = \"/dev/disk/by-id/{id}\"; # model", at + 1)),
            "{text}"
        );
    }
    assert!(text.contains("  emmc = \"/dev/disk/by-id/virtio-landfall-disk5\"; #"), "{text}");
    assert!(
        text.contains(&format!(
            "  # /dev/disk/by-id/{NEW} # model unknown, serial ZW60NEW1, 8.6 GB"
        )),
        "{text}"
    );
    // A host that has no layout yet: the ports are the bays.
    let new_host = HostFacts { disks: None, ..host() };
    let fresh = disk_file(&new_host, &target(), &StorageFacts::default());
    for (at, (_, id, _)) in BAYS.iter().enumerate() {
        assert!(
            fresh.contains(&format!("    bay{} = \"/dev/disk/by-id/{id}\";", at + 1)),
            "{fresh}"
        );
    }
}

#[test]
fn after_a_replacement_the_disk_file_has_the_new_disk() {
    let mut target = target();
    pull(&mut target, "sdb");
    let mut storage = pool("raidz2-0", "ONLINE", ALL_ONLINE, "");
    let member = &mut storage.pools[0].vdevs[0].vdev.children[2];
    (member.name, member.guid) = (format!("/dev/disk/by-id/{NEW}"), Some(NEW_GUID));
    let text = disk_file(&host(), &target, &storage);
    assert!(text.contains(&format!("    bay3 = \"/dev/disk/by-id/{NEW}\"; #")), "{text}");
    // Nobody tells where it belongs: it is not guessed.
    let text = disk_file(&host(), &target, &StorageFacts::default());
    assert!(text.contains("    # bay3: not there\n"), "{text}");
}

#[test]
fn a_disk_cannot_say_what_is_not_a_comment() {
    let mut target = target();
    let disk = target.disks.get_mut("sdf").unwrap();
    disk.model = "evil\n}; system.activationScripts.x = \"".into();
    let text = disk_file(&host(), &target, &StorageFacts::default());
    let line = text.lines().find(|line| line.contains("evil")).unwrap();
    assert!(line.trim_start().starts_with('#') && line.contains("activationScripts"), "{text}");
}
