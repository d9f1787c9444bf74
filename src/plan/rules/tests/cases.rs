//! The changes to a good pair, each with the code of what is found then.

use super::*;

pub(super) type Change = fn(&mut HostFacts, &mut TargetFacts);

pub(super) fn disk<'a>(host: &'a mut HostFacts, name: &str) -> &'a mut DeclaredDisk {
    host.disks.as_mut().unwrap().get_mut(name).unwrap()
}

pub(super) fn volume<'a>(target: &'a mut TargetFacts, name: &str) -> &'a mut Volume {
    &mut target.disks.get_mut(name).unwrap().volumes[0]
}

pub(super) fn link(target: &mut TargetFacts, change: fn(&mut Link)) {
    let mut link = Link { name: "end0".into(), kind: LinkKind::Ethernet, ..Link::default() };
    change(&mut link);
    target.link = Some(link);
}

/// A member of a pool of three, of which the layout's disks hold one.
pub(super) fn member(pool: &str, guid: u64) -> ZfsLabel {
    let (pool, siblings) = (pool.to_owned(), vec![1, 2, 3]);
    ZfsLabel { pool, pool_guid: 9, guid, siblings, vdevs: 1, ..ZfsLabel::default() }
}

/// Another user can log in; root, as whom landfall does, cannot.
pub(super) fn root_is_kept_out(host: &mut HostFacts, change: fn(&mut DeclaredLogins)) {
    let logins = host.logins.as_mut().unwrap();
    logins.users_with_keys = vec!["joe".into()];
    logins.root_groups = vec!["root".into()];
    change(logins);
}

/// A disk with something encrypted on it.
pub(super) fn encrypted(host: &mut HostFacts, content: &str) {
    let layout = format!(r#"{{"disk": {{"main": {{"content": {content}}}}}}}"#);
    host.layout = Some(serde_json::from_str(&layout).unwrap());
}

/// A host that starts by GRUB, and the firmware of the target.
pub(super) fn grub(
    host: &mut HostFacts,
    target: &mut TargetFacts,
    change: fn(&mut DeclaredFirmware),
) {
    host.boot_loader = Some(BootLoader::Grub);
    (target.efi_variables, target.efi_bits) = (Some(true), Some(64));
    change(host.firmware.insert(DeclaredFirmware::default()));
}

/// A PC with EFI firmware.
pub(super) fn pc(host: &mut HostFacts, target: &mut TargetFacts) {
    (host.system, host.device_tree) = (Some("x86_64-linux".into()), None);
    host.initrd_modules = Some(vec!["ahci".into(), "mmc_block".into()]);
    (target.machine, target.efi) = ("x86_64".into(), true);
}

/// In a rescue system: what is changed, and what is found.
pub(super) const RESCUE: &[(&str, Change)] = &[
    ("host-no-toplevel", |h, _| h.toplevel = None),
    ("host-assertion", |h, _| {
        h.toplevel = None;
        h.failed_assertions = Some(vec!["ZFS requires networking.hostId to be set".into()]);
    }),
    ("host-warning", |h, _| h.warnings = Some(vec!["deprecated".into()])),
    ("host-container", |h, _| h.is_container = Some(true)),
    ("host-no-disko", |h, _| h.disko_script = None),
    ("host-no-disks", |h, _| h.disks = None),
    ("host-no-root", |h, _| h.layout_mounts = Some(vec!["/boot".into()])),
    ("host-boot-elsewhere", |h, _| h.layout_mounts = Some(vec!["/".into()])),
    ("host-no-boot-loader", |h, _| h.boot_loader = None),
    ("host-boot-loader-unread", |h, _| h.boot_loader = Some(BootLoader::External)),
    ("host-boot-loader-unread", |h, t| {
        (h.boot_loader, t.efi) = (Some(BootLoader::Other), true);
    }),
    ("host-boot-elsewhere", |h, t| {
        grub(h, t, |has| has.bios = true);
        let second = DeclaredMirror { path: "/boot2".into(), ..DeclaredMirror::default() };
        h.boot_places.mirrors = Some(vec![second]);
        h.file_systems.as_mut().unwrap().insert("/boot2".into(), DeclaredFileSystem::default());
    }),
    ("host-no-esp", |h, t| {
        t.efi = true;
        grub(h, t, |has| has.efi = true);
        h.boot_places.esp = Some("/efi".into());
    }),
    ("host-no-login", |h, _| h.logins.as_mut().unwrap().root_keys = 0),
    ("host-no-login", |h, _| h.logins.as_mut().unwrap().sshd = false),
    ("host-no-login", |h, _| {
        h.logins.as_mut().unwrap().permit_root_login = Some("no".into());
    }),
    ("host-no-login", |h, _| {
        let logins = h.logins.as_mut().unwrap();
        (logins.root_keys, logins.password_authentication) = (0, Some(false));
        logins.users_with_password = vec!["root".into()];
    }),
    ("host-no-login", |h, _| {
        root_is_kept_out(h, |logins| logins.permit_root_login = Some("no".into()));
    }),
    ("host-no-login", |h, _| root_is_kept_out(h, |logins| logins.root_keys = 0)),
    ("host-no-login", |h, _| {
        root_is_kept_out(h, |logins| logins.allow_users = Some(vec!["ro".into(), "joe@*".into()]));
    }),
    ("host-no-login", |h, _| {
        root_is_kept_out(h, |logins| logins.deny_users = Some(vec!["joe".into(), "r*t".into()]));
    }),
    ("host-no-login", |h, _| {
        root_is_kept_out(h, |logins| logins.allow_groups = Some(vec!["wheel".into()]));
    }),
    ("host-no-login", |h, _| {
        root_is_kept_out(h, |logins| logins.deny_groups = Some(vec!["ro?t".into()]));
    }),
    ("host-no-login", |h, _| {
        root_is_kept_out(h, |logins| logins.public_key_authentication = Some(false));
    }),
    ("host-no-login", |h, _| {
        let both = Some(vec!["publickey,keyboard-interactive".into()]);
        h.logins.as_mut().unwrap().authentication_methods = both;
    }),
    ("host-no-login", |h, _| {
        let logins = h.logins.as_mut().unwrap();
        (logins.root_keys, logins.password_authentication) = (0, Some(false));
        (logins.permit_root_login, logins.users_with_password) =
            (Some("yes".into()), vec!["root".into()]);
    }),
    ("host-no-host-id", |h, _| h.host_id = None),
    ("host-no-initrd-modules", |h, _| h.initrd_modules = Some(vec![])),
    ("host-no-initrd-modules", |h, t| {
        pc(h, t);
        h.boot_loader = Some(BootLoader::SystemdBoot);
        h.initrd_modules = Some(vec!["ext4".into(), "sd_mod".into()]);
    }),
    ("host-disk-driver", |h, t| {
        pc(h, t);
        h.boot_loader = Some(BootLoader::SystemdBoot);
        h.initrd_modules = Some(vec!["ahci".into()]);
    }),
    ("host-dirty-tree", |h, _| h.dirty = vec!["/etc/nixos".into()]),
    ("host-namesake", |h, _| h.namesakes = Some(vec!["nas".into()])),
    ("host-unstable-disk", |h, _| {
        let root = DeclaredDisk {
            device: "/dev/nvme0n1".into(),
            destroy: true,
            ..DeclaredDisk::default()
        };
        h.disks.as_mut().unwrap().insert("root".into(), root);
    }),
    ("host-topology", |h, _| {
        h.pools.as_mut().unwrap().get_mut("tank").unwrap().mode = Some("raidz2".into());
    }),
    ("disk-key-asked", |h, _| {
        encrypted(h, r#"{"type": "luks", "name": "crypted", "initrdUnlock": false}"#);
    }),
    ("disk-key-missing", |h, _| {
        encrypted(
            h,
            r#"{"type": "luks", "name": "crypted", "settings": {"keyFile": "/tmp/a.key"}}"#,
        );
    }),
    ("disk-key-missing", |h, _| {
        let keys = r#"{"type": "luks", "settings": {"keyFile": "/dev/sdx"}, "additionalKeyFiles": ["/tmp/a.key"]}"#;
        encrypted(h, keys);
    }),
    ("host-unlock", |h, _| encrypted(h, r#"{"type": "luks", "passwordFile": "/nix/store/a-key"}"#)),
    ("host-key-volatile", |h, _| {
        h.file_systems.as_mut().unwrap().get_mut("/").unwrap().fs_type = "tmpfs".into();
    }),
    ("host-no-redundancy", |h, _| {
        h.pools.as_mut().unwrap().get_mut("tank").unwrap().mode = Some(String::new());
    }),
    ("host-firmware-region", |h, _| disk(h, "emmc").partitions[0].start = Some("8M".into())),
    ("host-firmware-region", |h, _| disk(h, "emmc").partitions[0].start = None),
    ("host-open-secret", |h, _| {
        let (path, mode) = ("/etc/nixos/secrets/smb".to_owned(), "0400".to_owned());
        h.secrets = Some(vec![DeclaredSecret { path, mode, ..DeclaredSecret::default() }]);
    }),
    ("host-open-secret", |h, _| {
        let (path, mode) = ("/run/agenix/smb".to_owned(), "0444".to_owned());
        h.secrets =
            Some(vec![DeclaredSecret { path, mode, symlink: true, ..DeclaredSecret::default() }]);
    }),
    ("device-tree-other-board", |_, t| {
        t.board = vec!["pine64,rockpro64".into(), "acme,rk9999".into()];
    }),
    ("firmware-mismatch", |h, _| h.boot_loader = Some(BootLoader::SystemdBoot)),
    ("firmware-mismatch", |_, t| t.efi = true),
    ("firmware-mismatch", |h, t| grub(h, t, |has| (has.efi, has.variables) = (true, true))),
    ("firmware-mismatch", |h, t| {
        t.efi = true;
        grub(h, t, |has| has.bios = true);
    }),
    ("firmware-bits", |h, t| {
        pc(h, t);
        grub(h, t, |has| (has.efi, has.variables) = (true, true));
        t.efi_bits = Some(32);
    }),
    ("firmware-bits", |h, t| {
        pc(h, t);
        (h.boot_loader, t.efi_bits) = (Some(BootLoader::SystemdBoot), Some(32));
    }),
    ("firmware-bits", |h, t| {
        pc(h, t);
        grub(h, t, |has| (has.efi, has.ia32) = (true, true));
    }),
    ("firmware-mismatch", |h, t| {
        grub(h, t, |has| has.efi = true);
        h.boot_loader = Some(BootLoader::Limine);
    }),
    ("firmware-mismatch", |h, _| h.boot_loader = Some(BootLoader::Lanzaboote)),
    ("firmware-mismatch", |h, _| h.boot_loader = Some(BootLoader::Refind)),
    ("firmware-variables", |h, t| {
        t.efi = true;
        grub(h, t, |has| (has.efi, has.variables) = (true, true));
        t.efi_variables = Some(false);
    }),
    ("firmware-variables", |h, t| {
        t.efi = true;
        grub(h, t, |has| has.variables = true);
        (h.boot_loader, t.efi_variables) = (Some(BootLoader::SystemdBoot), Some(false));
    }),
    ("arc-uncapped", |h, _| h.kernel_params = Some(vec![])),
    ("target-not-linux", |_, t| t.kernel = "FreeBSD".into()),
    ("target-architecture", |_, t| t.machine = "x86_64".into()),
    ("target-no-root", |_, t| t.elevation = None),
    ("target-tool", |_, t| {
        t.tools.remove("cpio");
    }),
    ("target-memory", |_, t| t.memory = Some(300 << 20)),
    ("target-clock", |_, t| t.clock_ahead = Some(-1_700_000_000)),
    ("target-clock", |_, t| t.clock_ahead = Some(10 * 365 * 86_400)),
    ("target-battery", |_, t| t.on_battery = Some(true)),
    ("target-link", |_, t| link(t, |link| link.speed = Some(100))),
    ("target-link", |_, t| link(t, |link| link.full_duplex = Some(false))),
    ("kexec-disabled", |_, t| t.kexec_disabled = true),
    ("kexec-not-built", |_, t| t.kexec_built = Some(false)),
    ("kexec-locked-down", |_, t| t.lockdown = "integrity".into()),
    ("kexec-locked-down", |_, t| t.secure_boot = true),
    ("kexec-container", |_, t| t.container = "docker".into()),
    ("kexec-hypervisor", |_, t| t.hypervisor = "xen".into()),
    ("kexec-board", |_, t| t.board = vec!["kobol,helios64".into(), "rockchip,rk3399".into()]),
    ("kexec-network", |_, t| link(t, |link| link.kind = LinkKind::Bond)),
    ("kexec-network", |_, t| link(t, |link| link.kind = LinkKind::Wireless)),
    ("kexec-network", |_, t| t.policy_routes = true),
    ("kexec-no-key", |_, t| t.offered = Some([].into())),
    ("kexec-no-key", |_, t| {
        t.offered = Some(["SHA256:mine".to_owned()].into());
        t.handed_over = ["SHA256:another".to_owned()].into();
    }),
    ("kexec-no-place", |_, t| {
        let place = |path: &str, free, why: &str| ImagePlace {
            path: path.into(),
            free,
            why_not: why.into(),
        };
        t.places = vec![place("/root", 1 << 40, "noexec"), place("/tmp", 1, "")];
    }),
    ("disk-twice", |_, t| {
        t.links.insert("/dev/disk/by-id/ata-A_2".into(), "sda".into());
    }),
    ("disk-serial-twice", |_, t| t.disks.get_mut("sdb").unwrap().serial = "serial of sda".into()),
    ("disk-serial-twice", |_, t| {
        for name in ["sda", "sdb"] {
            t.disks.get_mut(name).unwrap().wwn = "0x5000c500a1b2c3d4".into();
        }
    }),
    ("disk-not-plain", |_, t| {
        t.stacked.insert("md126".into(), vec![]);
        t.links.insert("/dev/disk/by-id/ata-A_2".into(), "md126".into());
        volume(t, "sdb").holders = vec!["md126".into()];
    }),
    ("disk-multipath", |_, t| {
        t.stacked.insert("dm-0".into(), vec![]);
        t.mapped.insert("dm-0".into(), "mpath-3600508b4".into());
        volume(t, "sda").holders = vec!["dm-0".into()];
        volume(t, "sdz").holders = vec!["dm-0".into()];
    }),
    ("disk-firmware-raid", |_, t| volume(t, "sda").format = "isw_raid_member".into()),
    ("disk-too-small", |_, t| t.disks.get_mut("mmcblk1").unwrap().size = 2 << 30),
    ("disk-unreadable", |_, t| t.disks.get_mut("sda").unwrap().unreadable = true),
    ("disk-read-only", |_, t| t.disks.get_mut("sda").unwrap().read_only = true),
    ("disk-smart", |_, t| t.disks.get_mut("sda").unwrap().healthy = Some(false)),
    ("disk-foreign-pool", |_, t| volume(t, "sda").zfs = Some(member("photos", 1))),
    ("disk-pool-name", |_, t| volume(t, "sdz").zfs = Some(member("tank", 1))),
    ("disk-part-label", |_, t| volume(t, "sdz").part_label = "disk-emmc-boot".into()),
    ("disk-stale-label", |_, t| {
        let volume = volume(t, "sda");
        (volume.zfs, volume.zfs_is_stale) = (Some(member("old", 1)), true);
    }),
    ("disk-sectors", |h, t| {
        h.pools.as_mut().unwrap().get_mut("tank").unwrap().options.clear();
        t.disks.get_mut("sda").unwrap().sector = 4096;
    }),
];

/// The same in an installer.
pub(super) const INSTALLER: &[(&str, Change)] = &[
    ("installer-not-root", |_, t| t.elevation = Some(Elevation::Sudo)),
    ("target-tool", |_, t| {
        t.tools.remove("nix");
    }),
    ("disk-missing", |_, t| {
        t.links.remove("/dev/disk/by-id/ata-A_2");
    }),
    ("disk-mounted", |_, t| volume(t, "sda").mounted = vec!["/mnt".into()]),
    ("disk-swap", |_, t| volume(t, "sda").swap = true),
    ("disk-held", |_, t| {
        t.stacked.insert("md0".into(), vec!["/srv".into()]);
        volume(t, "sda").holders = vec!["md0".into()];
    }),
    ("disk-held", |_, t| {
        // LVM has put it together by itself, but not of these disks alone.
        t.stacked.insert("dm-0".into(), vec![]);
        volume(t, "sda").holders = vec!["dm-0".into()];
        volume(t, "sdz").holders = vec!["dm-0".into()];
    }),
    ("disk-held", |_, t| {
        // Somebody has given a key.
        t.stacked.insert("dm-0".into(), vec![]);
        t.mapped.insert("dm-0".into(), "CRYPT-LUKS2-1".into());
        volume(t, "sda").holders = vec!["dm-0".into()];
    }),
    ("disk-imported", |_, t| {
        let members = vec!["sda".to_owned()];
        t.pools = vec![ImportedPool { name: "tank".into(), members, ..ImportedPool::default() }];
    }),
];

/// Two at once by their nature, or with no image.
pub(super) const OTHERS: [&str; 7] = [
    "kexec-image-architecture",
    "kexec-no-image",
    "host-same-disk",
    "target-port-2500",
    "device-tree-missing",
    "build-nowhere",
    "host-file-owner",
];
