//! Hosts as NixOS and disko describe them, each with what is right to say of it: `landfall check` of a small flake.

use crate::common::{Ended, Home, events, flake};

/// What every host of these tests stands on. A host is this one with a change: a function of its configuration. `ext4` is a
/// file system mounted somewhere, `layout` one disk with one on `/`.
const BOX: &str = r#"
    made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ]; };
    ext4 = mountpoint: { type = "filesystem"; format = "ext4"; inherit mountpoint; };
    layout = { type = "gpt"; partitions.root = { size = "100%"; content = ext4 "/"; }; };
    host = change: { config = let c = {
      networking = { hostName = "box"; hostId = "8a5c1b2e"; };
      nixpkgs.hostPlatform.system = "x86_64-linux";
      boot = { loader.systemd-boot.enable = true; initrd.availableKernelModules = [ "nvme" ]; };
      services.openssh = { enable = true; settings.PermitRootLogin = "prohibit-password";
        hostKeys = [ { type = "ed25519"; path = "/etc/ssh/ssh_host_ed25519_key"; } ]; };
      users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA" ];
      fileSystems."/" = { device = "/dev/disk/by-partlabel/root"; fsType = "ext4"; };
      disko.devices.disk.main = { device = "/dev/disk/by-id/nvme-A"; content = layout; };
      system.build = { toplevel = made "nixos-system-box"; diskoScript = made "disko"; };
    }; in c // change c; };
"#;

/// A flake with these hosts: the attribute set `hosts`, in Nix, with `host` and what is beside it in scope.
fn hosts(home: &Home, hosts: &str) -> String {
    flake(home, &format!("{{ outputs = _: let {BOX} in {{ nixosConfigurations = {hosts}; }}; }}"))
}

/// Checks a host of a flake; the codes of what is found, errors first.
fn check(home: &Home, flake: &str, host: &str) -> (Ended, Vec<String>) {
    let ended = home.run(&["check", host, "--flake", flake, "--json"]);
    let events = events::events(&ended.stdout);
    let findings = events.iter().filter(|event| event["event"] == "finding");
    let codes = findings.map(|event| event["code"].as_str().unwrap().to_owned()).collect();
    (ended, codes)
}

/// Checks the host of `BOX` with a change, a function in Nix: the exit code, and the codes of what is found, errors first.
fn checked(change: &str) -> (Option<i32>, Vec<String>) {
    let home = Home::new();
    let flake = hosts(&home, &format!("{{ box = host ({change}); }}"));
    let (ended, codes) = check(&home, &flake, "box");
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:#?}");
    (ended.code, codes)
}

#[test]
fn a_plain_host_has_no_findings() {
    assert_eq!(checked("c: { }"), (Some(0), vec![]));
}

/// disko's module, imported where no disk is declared, throws for its script.
#[test]
fn a_host_that_declares_no_disks_is_found_so_with_all_else_that_it_lacks() {
    let (code, codes) = checked(
        r#"c: {
          networking = { hostName = "box"; };
          boot = { supportedFilesystems.zfs = true; initrd = c.boot.initrd; };
          disko.devices.disk = { };
          system.build = c.system.build // rec {
            diskoScript = throw "no disks are declared";
            destroyFormatMount = diskoScript;
            mountScript = diskoScript;
          };
        }"#,
    );
    assert_eq!(code, Some(3));
    assert_eq!(codes, ["host-no-disko", "host-no-boot-loader", "host-no-host-id"]);
}

/// A layout of one disk, in one partition.
fn on_one_disk(content: &str, more: &str) -> String {
    format!(
        r#"c: {{
          disko.devices = {{
            disk.main = {{ device = "/dev/disk/by-id/nvme-A"; content = {{ type = "gpt";
              partitions.root = {{ size = "100%"; content = {content}; }}; }}; }};
            {more}
          }};
          fileSystems."/" = {{ device = "/dev/mapper/root"; fsType = "ext4"; }};
        }}"#
    )
}

/// disko's older partition table has a list, whose names may be null.
#[test]
fn partitions_may_be_a_list() {
    for name in ["\"root\"", "null"] {
        let partition = format!(
            r#"{{ name = {name}; start = "1MiB"; end = "100%"; content = ext4 "/"; _index = 1; }}"#
        );
        let change = format!(
            r#"c: {{ disko.devices.disk.main = {{ device = "/dev/disk/by-id/nvme-A";
                content = {{ type = "table"; format = "gpt"; partitions = [ {partition} ]; }}; }}; }}"#
        );
        assert_eq!(checked(&change), (Some(0), vec![]), "{name}");
    }
}

#[test]
fn a_pool_may_lie_on_luks_lvm_or_md() {
    let luks = r#"{ type = "luks"; name = "crypted"; settings.keyFile = "/dev/disk/by-id/usb-key"; content = { type = "zfs"; pool = "zroot"; }; }"#;
    let pool = r#"zpool.zroot = { mode = ""; datasets.root = { mountpoint = "/"; options.mountpoint = "legacy"; }; };"#;
    assert_eq!(checked(&on_one_disk(luks, pool)), (Some(0), vec![]));
    let physical = r#"{ type = "lvm_pv"; vg = "group"; }"#;
    let volume = r#"lvm_vg.group.lvs.pool = { size = "100%FREE"; content = { type = "zfs"; pool = "zroot"; }; };"#;
    assert_eq!(checked(&on_one_disk(physical, &format!("{volume} {pool}"))), (Some(0), vec![]));
    let array = r#"mdadm.raid = { level = 1; content = { type = "zfs"; pool = "zroot"; }; };"#;
    let member = r#"{ type = "mdraid"; name = "raid"; }"#;
    assert_eq!(checked(&on_one_disk(member, &format!("{array} {pool}"))), (Some(0), vec![]));
    let (code, codes) = checked(&on_one_disk(luks, &pool.replace("\"\"", "\"mirror\"")));
    assert_eq!((code, codes), (Some(3), vec!["host-topology".to_owned()]));
}

#[test]
fn raidz_needs_one_member_more_than_its_parity() {
    let of = |mode: &str, count: usize| {
        let member = r#"content = { type = "zfs"; pool = "zroot"; };"#;
        let disks = (0..count).fold(String::new(), |disks, at| {
            disks + &format!(r#"d{at} = {{ device = "/dev/disk/by-id/nvme-{at}"; {member} }};"#)
        });
        checked(&format!(
            r#"c: {{ disko.devices = {{ disk = {{ {disks} }};
                zpool.zroot = {{ mode = "{mode}"; datasets.root = {{ mountpoint = "/"; options.mountpoint = "legacy"; }}; }}; }};
              fileSystems."/" = {{ device = "zroot/root"; fsType = "zfs"; }}; }}"#
        ))
    };
    for (mode, least) in [("mirror", 2), ("raidz1", 2), ("raidz2", 3), ("raidz3", 4)] {
        assert_eq!(of(mode, least), (Some(0), vec![]), "{mode}");
        assert_eq!(of(mode, least - 1), (Some(3), vec!["host-topology".to_owned()]), "{mode}");
    }
}

#[test]
fn bcachefs_is_mounted_from_its_subvolumes() {
    let pair = r#"bcachefs_filesystems.pair = { type = "bcachefs_filesystem";
      subvolumes = { "subvolumes/root".mountpoint = "/"; "subvolumes/home".mountpoint = "/home"; }; };"#;
    let member = r#"{ type = "bcachefs"; filesystem = "pair"; }"#;
    assert_eq!(checked(&on_one_disk(member, pair)), (Some(0), vec![]));
}

#[test]
fn a_host_key_in_memory_is_lost_with_the_next_boot() {
    let host = |path: &str| {
        format!(
            r#"c: {{
              disko.devices = {{ disk.main = {{ device = "/dev/disk/by-id/nvme-A";
                  content = {{ type = "gpt"; partitions.nix = {{ size = "100%"; content = ext4 "/nix"; }}; }}; }};
                nodev."/" = {{ fsType = "tmpfs"; mountpoint = "/"; }}; }};
              fileSystems = {{ "/" = {{ device = "tmpfs"; fsType = "tmpfs"; }};
                "/nix" = {{ device = "/dev/disk/by-partlabel/nix"; fsType = "ext4"; }}; }};
              services.openssh = c.services.openssh // {{ hostKeys = [ {{ type = "ed25519"; path = "{path}"; }} ]; }};
            }}"#
        )
    };
    let (code, codes) = checked(&host("/etc/ssh/ssh_host_ed25519_key"));
    assert_eq!((code, codes), (Some(3), vec!["host-key-volatile".to_owned()]));
    assert_eq!(checked(&host("/nix/persist/ssh_host_ed25519_key")), (Some(0), vec![]));
}

/// disko's job has no terminal.
#[test]
fn a_passphrase_that_is_asked_for_or_not_supplied_is_an_error_before_anything_is_erased() {
    let luks = |more: &str| {
        let content =
            format!(r#"{{ type = "luks"; name = "crypted"; {more} content = ext4 "/"; }}"#);
        checked(&on_one_disk(&content, "")).1
    };
    assert_eq!(luks(""), ["disk-key-asked", "host-unlock"]);
    assert_eq!(luks("askPassword = true; settings = { };"), ["disk-key-asked", "host-unlock"]);
    let file = r#"passwordFile = "/tmp/disk.key"; askPassword = false;"#;
    assert_eq!(luks(file), ["disk-key-missing", "host-unlock"]);
    let key = r#"settings.keyFile = "/tmp/disk.key";"#;
    assert_eq!(luks(key), ["disk-key-missing"]);
    let pool = |options: &str| {
        let pool = format!(
            r#"zpool.zroot = {{ mode = ""; rootFsOptions = {{ encryption = "on"; keyformat = "passphrase"; {options} }};
                datasets.root = {{ mountpoint = "/"; options.mountpoint = "legacy"; }}; }};"#
        );
        checked(&on_one_disk(r#"{ type = "zfs"; pool = "zroot"; }"#, &pool)).1
    };
    assert_eq!(pool(""), ["disk-key-asked", "host-unlock"]);
    assert_eq!(pool("keylocation = \"prompt\";"), ["disk-key-asked", "host-unlock"]);
    assert_eq!(pool("keylocation = \"file:///tmp/zroot.key\";"), ["disk-key-missing"]);
}
