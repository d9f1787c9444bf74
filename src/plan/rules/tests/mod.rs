//! Each finding by its name: a good pair has none; each change to it is found, and nothing else is.

mod cases;

use super::*;
use crate::facts::{
    BootLoader, DeclaredDisk, DeclaredFileSystem, DeclaredFirmware, DeclaredLogins, DeclaredMirror,
    DeclaredSecret, Disk, ImagePlace, ImportedPool, Link, LinkKind, Volume, ZfsLabel,
};
use crate::findings::CATALOGUE;
use crate::machine::{Compression, Elevation};
use crate::secrets::Owner;
use cases::*;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A Helios64 with its eMMC and two of its disks in a mirror.
fn host() -> HostFacts {
    let script = r#"{"drv": "/nix/store/a.drv", "out": "/nix/store/a"}"#;
    let member = |n: u32| {
        format!(
            r#""sata{n}": {{"device": "/dev/disk/by-id/ata-A_{n}", "destroy": true, "content": "gpt", "partitions":
               [{{"name": "zfs", "label": "disk-sata{n}-zfs", "start": "0", "size": "100%", "pool": "tank"}}]}}"#
        )
    };
    let json = format!(
        r#"{{"hostName": "helios64", "system": "aarch64-linux", "toplevel": {script}, "diskoScript": {script},
            "disks": {{{}, {}, "emmc": {{"device": "/dev/disk/by-path/platform-fe330000.mmc", "destroy": true,
                "content": "gpt", "partitions": [{{"name": "boot", "label": "disk-emmc-boot", "start": "32M",
                "size": "2G"}}]}}}},
            "pools": {{"tank": {{"mode": "mirror", "options": {{"ashift": "12"}}}}}},
            "layoutMounts": ["/", "/boot"],
            "fileSystems": {{"/": {{"device": "tank/root", "fsType": "zfs"}}, "/boot": {{"fsType": "ext4"}}}},
            "hostId": "4e110564", "zfs": true, "kernelParams": ["zfs.zfs_arc_max=1073741824"],
            "initrdModules": ["ahci"], "isContainer": false, "bootLoader": "extlinux",
            "deviceTree": "rockchip/rk3399-kobol-helios64.dtb", "failedAssertions": [],
            "logins": {{"sshd": true, "rootKeys": 1, "permitRootLogin": "prohibit-password"}}}}"#,
        member(1),
        member(2)
    );
    HostFacts { attribute: "helios64".into(), ..serde_json::from_str(&json).unwrap() }
}

fn rescue() -> TargetFacts {
    let said = "kernel\tLinux\narch\taarch64\nos\tDebian\nroot\tlogin\nmemory\t4000000000\n\
                has\ttar\nhas\tcpio\nhas\tgzip\n";
    let mut target = TargetFacts::parse(said);
    for (name, link, size) in [
        ("sda", "by-id/ata-A_1", 4_000_000_000_000),
        ("sdb", "by-id/ata-A_2", 4_000_000_000_000),
        ("mmcblk1", "by-path/platform-fe330000.mmc", 15_000_000_000),
        ("sdz", "by-id/usb-stick", 8_000_000_000),
    ] {
        let volumes = vec![Volume { name: name.into(), size, ..Volume::default() }];
        let serial = format!("serial of {name}");
        let disk =
            Disk { name: name.into(), size, serial, sector: 512, volumes, ..Disk::default() };
        target.disks.insert(name.into(), disk);
        target.links.insert(format!("/dev/disk/{link}"), name.into());
    }
    target
}

fn installer() -> TargetFacts {
    let tools = ["nix", "nixos-install"].map(str::to_owned).into();
    TargetFacts { variant: "installer".into(), tools, ..rescue() }
}

fn image() -> Image {
    let (path, sha256) = (PathBuf::new(), String::new());
    let (compression, processors) = (Compression::Gzip, BTreeSet::new());
    Image { path, size: 60_000_000, sha256, compression, processors }
}

fn codes(host: &HostFacts, target: &TargetFacts) -> Vec<&'static str> {
    findings(Known { target: Some(target), image: Some(&image()), ..Known::of(host) })
        .iter()
        .map(|found| found.kind.code)
        .collect()
}

#[test]
fn a_good_host_and_target_have_no_findings() {
    assert_eq!(codes(&host(), &rescue()), [""; 0]);
    assert_eq!(codes(&host(), &installer()), [""; 0]);
}

#[test]
fn each_is_found_by_its_name_and_nothing_else_is() {
    for (start, table) in [(rescue(), RESCUE), (installer(), INSTALLER)] {
        for (code, change) in table {
            let (mut host, mut target) = (host(), start.clone());
            change(&mut host, &mut target);
            assert_eq!(codes(&host, &target), [*code]);
        }
    }
}

#[test]
fn every_kind_is_tried() {
    let tried = RESCUE.iter().chain(INSTALLER).map(|(code, _)| *code).chain(OTHERS);
    let tried: BTreeSet<&str> =
        tried.chain(super::secrets::tests::CODES).chain(super::keep::tests::CODES).collect();
    let all = CATALOGUE.iter().map(|kind| kind.code);
    // `disk replace` and the proof before the restart have rules of their own.
    let has_other_rules = |code: &&str| code.starts_with("replace-") || code.starts_with("ready-");
    let all: BTreeSet<&str> = all.filter(|code| !has_other_rules(code)).collect();
    assert_eq!(all.difference(&tried).collect::<Vec<_>>(), [&""; 0]);
    assert_eq!(tried.difference(&all).collect::<Vec<_>>(), [&""; 0]);
}

#[test]
fn owners_must_be_declared() {
    let mut host = host();
    let owner = |user: &str, group: &str| Owner::new(user, group).unwrap();
    let wanted = [owner("nas", "media"), owner("0", "7"), owner("root", "root")];
    assert_eq!(owners(&host, &wanted), [], "of an unknown list nothing is said");
    host.users = Some(vec!["root".into()]);
    host.groups = Some(vec!["root".into(), "media".into()]);
    let found = owners(&host, &wanted);
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind.code, "host-file-owner");
    assert!(found[0].what.ends_with("declares no user 'nas'"), "{}", found[0].what);
    assert_eq!(build_nowhere("why").kind.code, "build-nowhere");
}

#[test]
fn the_others_are_found_too() {
    let found = findings(Known { target: Some(&rescue()), ..Known::of(&host()) });
    assert_eq!(found[0].kind.code, "kexec-no-image");
    let mut other = image();
    other.processors.insert("aarch64");
    assert_eq!(
        findings(Known { target: Some(&rescue()), image: Some(&other), ..Known::of(&host()) }),
        []
    );
    other.processors.insert("x86_64");
    let found =
        findings(Known { target: Some(&rescue()), image: Some(&other), ..Known::of(&host()) });
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].kind.code, "kexec-image-architecture");
    assert_eq!(found[0].what, "the kexec image is for x86_64, the target is aarch64-linux");
    let mut twice = host();
    disk(&mut twice, "sata2").device = "/dev/disk/by-id/ata-A_1".into();
    assert_eq!(codes(&twice, &rescue()), ["host-same-disk", "disk-twice"]);
    let mut port = rescue();
    port.board = vec!["kobol,helios64".into(), "rockchip,rk3399".into()];
    link(&mut port, |link| link.driver = "r8152".into());
    assert_eq!(codes(&host(), &port), ["target-port-2500", "kexec-board"]);
    let built = |has_device_tree, disko_closure| {
        let built = Built { has_device_tree, disko_closure };
        let found = built_findings(&host(), &rescue(), Some(&image()), built);
        found.iter().map(|found| found.kind.code).collect::<Vec<_>>()
    };
    assert_eq!(built(true, 500_000_000), [""; 0]);
    assert_eq!(built(false, 500_000_000), ["device-tree-missing"]);
    assert_eq!(built(true, 4_000_000_000), ["target-memory"]);
}

/// A power cut in the middle of the wipe: one of two members of the old pool is gone.
#[test]
fn a_pool_that_an_unfinished_run_has_half_wiped_is_not_foreign() {
    let mut target = installer();
    let half = ZfsLabel { siblings: vec![1, 2], ..member("old", 1) };
    volume(&mut target, "sda").zfs = Some(half);
    assert_eq!(codes(&host(), &target), ["disk-foreign-pool"]);
    let mut terms = crate::plan::worlds::agreed().terms;
    let content = crate::plan::Content {
        member: Some((member("old", 1).pool_guid.to_string(), "2".into())),
        ..crate::plan::Content::default()
    };
    let wiped = terms.disks.iter_mut().find(|disk| disk.action != crate::plan::Action::Keep);
    wiped.unwrap().seen.get_or_insert_default().volumes.push(content);
    let unfinished = Unfinished { left: false, terms: Some(&terms) };
    assert_eq!(findings(Known { target: Some(&target), unfinished, ..Known::of(&host()) }), []);
}

/// What an installer's udev, mdadm and LVM put together by themselves is not in use.
#[test]
fn idle_devices_wholly_on_erased_disks_are_not_refused() {
    let mut target = installer();
    for (holder, uuid) in [("md127", ""), ("dm-0", "LVM-x"), ("dm-1", "mpath-3600508b4")] {
        target.stacked.insert(holder.into(), vec![]);
        if !uuid.is_empty() {
            target.mapped.insert(holder.into(), uuid.into());
        }
        volume(&mut target, "sda").holders.push(holder.into());
    }
    volume(&mut target, "sdb").holders = vec!["md127".into()];
    assert_eq!(codes(&host(), &target), [""; 0]);
}

/// What lets root in, one way or the other.
#[test]
fn a_host_that_lets_root_log_in_is_not_refused() {
    let lets_in: &[fn(&mut DeclaredLogins)] = &[
        |logins| logins.allow_users = Some(vec!["joe".into(), "root@10.0.*".into()]),
        |logins| logins.deny_users = Some(vec!["root@10.0.0.9".into()]),
        |logins| logins.allow_groups = Some(vec!["*".into()]),
        |logins| logins.deny_groups = Some(vec![]),
        |logins| logins.authentication_methods = Some(vec!["any".into()]),
        |logins| {
            logins.authentication_methods = Some(vec!["hostbased".into(), "publickey".into()]);
        },
        |logins| (logins.root_keys, logins.keys_from_elsewhere) = (0, true),
        |logins| {
            logins.root_keys = 0;
            logins.users_with_password = vec!["root".into()];
            logins.permit_root_login = Some("yes".into());
        },
    ];
    for change in lets_in {
        let mut host = host();
        root_is_kept_out(&mut host, *change);
        assert_eq!(codes(&host, &rescue()), [""; 0], "{:?}", host.logins);
    }
    let mut kept_out = host();
    root_is_kept_out(&mut kept_out, |logins| logins.permit_root_login = Some("no".into()));
    let said = &findings(Known::of(&kept_out))[0].what;
    assert_eq!(said, "root cannot log in: PermitRootLogin is 'no'; others can (joe)");
}

#[test]
fn a_boot_loader_that_fits_the_firmware_is_not_refused() {
    let mut target = rescue();
    let mut host = host();
    grub(&mut host, &mut target, |has| (has.efi, has.bios, has.variables) = (true, true, true));
    assert_eq!(codes(&host, &target), [""; 0], "for BIOS and EFI, on BIOS");
    target.efi = true;
    assert_eq!(codes(&host, &target), [""; 0], "and on EFI");
    grub(&mut host, &mut target, |has| (has.efi, has.removable) = (true, true));
    target.efi_variables = Some(false);
    assert_eq!(codes(&host, &target), [""; 0], "nothing is registered");
    pc(&mut host, &mut target);
    target.efi_bits = Some(32);
    grub(&mut host, &mut target, |has| (has.efi, has.variables, has.ia32) = (true, true, true));
    target.efi_bits = Some(32);
    assert_eq!(codes(&host, &target), [""; 0], "a GRUB of 32 bits");
    host.firmware = None;
    assert_eq!(codes(&host, &target), [""; 0], "of what is not known nothing is said");
}

/// Where a mirrored ESP is mounted below another FAT file system, or only there.
#[test]
fn an_esp_that_is_mounted_is_found_wherever_it_is() {
    let (mut host, mut target) = (host(), rescue());
    target.efi = true;
    grub(&mut host, &mut target, |has| has.efi = true);
    let copy = |path: &str, esp: &str| DeclaredMirror { path: path.into(), esp: Some(esp.into()) };
    host.boot_places.mirrors = Some(vec![copy("/boot", "/boot/efi"), copy("/boot2", "/efi2")]);
    assert_eq!(codes(&host, &target), ["host-no-esp"]);
    let systems = host.file_systems.as_mut().unwrap();
    systems.insert("/efi2".into(), DeclaredFileSystem::default());
    host.layout_mounts.as_mut().unwrap().push("/efi2".into());
    assert_eq!(codes(&host, &target), [""; 0]);
}

#[test]
fn namespaces_of_one_controller_are_different_disks() {
    let mut target = rescue();
    for (name, wwn) in [("sda", "eui.1"), ("sdb", "eui.2")] {
        let disk = target.disks.get_mut(name).unwrap();
        (disk.serial, disk.wwn) = ("S64GNE0T100001".into(), wwn.into());
    }
    assert_eq!(codes(&host(), &target), [""; 0]);
}

/// A container in a fleet, before its NAS is thought through.
#[test]
fn a_stub_host_gets_a_finding_for_all_that_it_lacks() {
    let mut stub = host();
    (stub.is_container, stub.boot_loader, stub.host_id) = (Some(true), None, None);
    (stub.disko_script, stub.initrd_modules) = (None, Some(vec![]));
    stub.logins.as_mut().unwrap().root_keys = 0;
    let codes: Vec<_> = findings(Known::of(&stub)).iter().map(|found| found.kind.code).collect();
    assert_eq!(
        codes,
        [
            "host-container",
            "host-no-disko",
            "host-no-boot-loader",
            "host-no-login",
            "host-no-host-id",
            "host-no-initrd-modules"
        ]
    );
}

/// An unfinished try under this boot.
const LEFT: Unfinished<'_> = Unfinished { left: true, terms: None };

#[test]
fn what_an_earlier_try_of_ours_has_left_is_no_reason_to_refuse() {
    let mut target = installer();
    volume(&mut target, "sda").mounted = vec!["/mnt".into()];
    volume(&mut target, "sdb").zfs = Some(member("tank", 1));
    assert_eq!(
        findings(Known { target: Some(&target), unfinished: LEFT, ..Known::of(&host()) }).len(),
        1,
        "but a foreign member is"
    );
    volume(&mut target, "sdb").zfs = None;
    assert_eq!(
        findings(Known { target: Some(&target), unfinished: LEFT, ..Known::of(&host()) }),
        []
    );
    let whole = |disk: &mut Volume, guid| {
        disk.zfs = Some(ZfsLabel { siblings: vec![1, 2], ..member("tank", guid) });
    };
    whole(volume(&mut target, "sda"), 1);
    whole(volume(&mut target, "sdb"), 2);
    volume(&mut target, "sda").mounted.clear();
    assert_eq!(
        codes(&host(), &target),
        [""; 0],
        "a pool wholly on these disks is a plain reinstall"
    );
}

/// The line that is to be written is said where the target shows it.
#[test]
fn a_disk_that_is_named_by_a_path_that_moves_is_told_by_its_own_name() {
    let mut host = host();
    disk(&mut host, "sata1").device = "/dev/sdb".into();
    let hint = |host: &HostFacts, target: &TargetFacts| {
        let found = findings(Known { target: Some(target), ..Known::of(host) });
        let found = found.into_iter().find(|found| found.kind.code == "host-unstable-disk");
        found.unwrap().hint
    };
    let mut target = rescue();
    assert!(hint(&host, &target).starts_with("name it by /dev/disk/by-id/"));
    target.links.insert("/dev/sdb".into(), "sdb".into());
    let line = "write disko.devices.disk.sata1.device = \"/dev/disk/by-id/ata-A_2\";";
    assert!(hint(&host, &target).contains(line), "{}", hint(&host, &target));
    // The only one that there is, whatever it is called there.
    target.disks.retain(|name, _| name == "mmcblk1");
    let card = target.disks.get_mut("mmcblk1").unwrap();
    card.ports.insert("/dev/disk/by-path/platform-fe330000.mmc".into());
    let line = "device = \"/dev/disk/by-path/platform-fe330000.mmc\";";
    assert!(hint(&host, &target).contains(line), "{}", hint(&host, &target));
}

#[test]
fn codes_are_said_once_in_a_refusal() {
    let mut host = host();
    for name in ["sata1", "sata2"] {
        disk(&mut host, name).device = format!("/dev/sd{name}");
    }
    let refused = crate::plan::refuse(&findings(Known::of(&host)), &[]).unwrap_err();
    assert!(refused.what.ends_with("because of [host-unstable-disk]"), "{}", refused.what);
    assert!(refused.hint.unwrap().ends_with("--accept host-unstable-disk"));
}

#[test]
fn only_errors_refuse_and_only_some_can_be_accepted() {
    let mut warned = host();
    warned.namesakes = Some(vec!["nas".into()]);
    assert!(crate::plan::refuse(&findings(Known::of(&warned)), &[]).is_ok());
    let mut battery = rescue();
    battery.on_battery = Some(true);
    let found =
        findings(Known { target: Some(&battery), image: Some(&image()), ..Known::of(&host()) });
    let refused = crate::plan::refuse(&found, &[]).unwrap_err();
    assert!(refused.hint.unwrap().contains("--accept target-battery"));
    assert!(crate::plan::refuse(&found, &["target-battery".to_owned()]).is_ok());
    let container = HostFacts { is_container: Some(true), ..host() };
    let found = findings(Known::of(&container));
    assert!(crate::plan::refuse(&found, &["host-container".to_owned()]).is_err());
}
