//! Hosts as NixOS and disko describe them, each with what is right to say of it: `landfall check` of a small flake.

use crate::common::{Ended, Home, events, flake};
use landfall::facts::HostFacts;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;
use std::process::Command;

/// What every host of these tests stands on. A host is this one with a change: a function of its configuration. `ext4` is a
/// file system mounted somewhere, `layout` one disk with one on `/`.
const BOX: &str = r#"
    made = name: derivation { inherit name; system = "x86_64-linux"; builder = "/bin/sh"; args = [ "-c" "echo 1 > $out" ]; };
    ext4 = mountpoint: { type = "filesystem"; format = "ext4"; inherit mountpoint; };
    layout = { type = "gpt"; partitions.root = { size = "100%"; content = ext4 "/"; }; };
    host = change: { config = let c = {
      networking = { hostName = "box"; hostId = "8a5c1b2e"; };
      nixpkgs.hostPlatform.system = "x86_64-linux";
      boot = { loader.grub = { enable = true; device = "/dev/disk/by-id/nvme-A"; }; initrd.availableKernelModules = [ "nvme" ]; };
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
    let codes = events::codes(&ended.stdout);
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

/// The file systems' modules are in every initrd of NixOS, and drive nothing.
#[test]
fn an_initrd_without_a_driver_of_any_disk_is_found() {
    let initrd = |modules: &str| {
        checked(&format!(
            "c: {{ boot = c.boot // {{ initrd.availableKernelModules = [ {modules} ]; }}; }}"
        ))
    };
    assert_eq!(initrd(r#""ext2" "ext4""#), (Some(3), vec!["host-no-initrd-modules".to_owned()]));
    assert_eq!(initrd(r#""ahci" "sd_mod""#), (Some(0), vec!["host-disk-driver".to_owned()]));
    let board = r#"c: {
        nixpkgs.hostPlatform.system = "aarch64-linux";
        boot = c.boot // { initrd.availableKernelModules = [ "ext4" ]; };
    }"#;
    assert_eq!(checked(board), (Some(0), vec![]), "its kernel has the drivers built in");
}

/// Both attributes have the one hostName, and the one system.
#[test]
fn of_two_attributes_with_one_host_name_that_of_its_own_system_is_meant() {
    let home = Home::new();
    let flake = hosts(
        &home,
        r#"let house = host (c: { networking = c.networking // { hostName = "house"; }; });
           in { aarch64-linux = house; x86_64-linux = house; }"#,
    );
    let (ended, _) = check(&home, &flake, "house");
    assert_eq!(ended.code, Some(2), "{ended:#?}");
    assert!(ended.stdout.contains("did you mean 'x86_64-linux'?"), "{ended:#?}");
}

/// A copied file, a text of `builtins.toFile`, a derivation that is built for it.
#[test]
fn a_flake_that_reads_back_what_it_has_put_into_the_store_is_checked() {
    let home = Home::new();
    let text = r#"let named = word: host (c: { networking = c.networking // { hostName = word; }; }); in {
      copied = named (builtins.readFile "${./note.txt}");
      text = named (import (builtins.toFile "word.nix" "\"word\""));
      built = named (builtins.readFile (made "word"));
    }"#;
    let flake = hosts(&home, text);
    std::fs::write(home.path("flake/note.txt"), "word").unwrap();
    for host in ["copied", "text", "built"] {
        let (ended, codes) = check(&home, &flake, host);
        assert_eq!((ended.code, codes), (Some(0), vec![]), "{host}: {ended:#?}");
    }
}

fn git(root: &Path, arguments: &[&str]) -> String {
    let mut git = Command::new("git");
    git.arg("-C").arg(root).args(["-c", "user.name=me", "-c", "user.email=me@x"]);
    let output = git.args(arguments).output().unwrap();
    assert!(output.status.success(), "git {arguments:?}: {output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// A repository is never written to: not the lock file that it lacks, nor git's index.
#[test]
fn an_unlocked_flake_is_evaluated_as_it_is_and_a_dirty_one_is_named() {
    let home = Home::new();
    let other = home.path("other");
    std::fs::create_dir(&other).unwrap();
    std::fs::write(other.join("flake.nix"), "{ outputs = _: { word = \"box\"; }; }").unwrap();
    let inputs = format!("inputs.other.url = \"path:{}\"", other.display());
    let text = format!(
        "{{ {inputs}; outputs = {{ other, ... }}: let {BOX} in {{ nixosConfigurations.box = \
         host (c: {{ networking = c.networking // {{ hostName = other.word; }}; }}); }}; }}"
    );
    flake(&home, &text);
    let root = home.path("flake");
    git(&root, &["init", "--quiet"]);
    git(&root, &["add", "flake.nix"]);
    git(&root, &["commit", "--quiet", "--message=first"]);
    let flake = root.to_str().unwrap();
    let (ended, codes) = check(&home, flake, "box");
    assert_eq!((ended.code, codes), (Some(0), vec![]), "{ended:#?}");
    assert_eq!(git(&root, &["status", "--porcelain"]), "");
    std::fs::write(root.join("flake.nix"), text.replace("8a5c1b2e", "8a5c1b2f")).unwrap();
    let (ended, codes) = check(&home, flake, "box");
    assert_eq!((ended.code, codes), (Some(0), vec!["host-dirty-tree".to_owned()]), "{ended:#?}");
    assert!(ended.stdout.contains(&format!("{flake} has changes that are in no commit")));
    assert_eq!(git(&root, &["status", "--porcelain"]), " M flake.nix\n");
}

/// A host with something of everything that is read.
const FULL: &str = r#"host (c: {
    networking = c.networking;
    boot = c.boot // {
      isContainer = false;
      kernelParams = [ "quiet" ];
      extraModprobeConfig = "options zfs x=1";
      supportedFilesystems.zfs = true;
      zfs.package.version = "2.3.4";
      initrd = { availableKernelModules = [ "nvme" ]; kernelModules = [ "dm_mod" ]; };
      loader = { systemd-boot.enable = true; grub.enable = false; efi.canTouchEfiVariables = true; };
    };
    services.openssh = c.services.openssh // {
      enable = false;
      ports = [ 22 ];
      authorizedKeysCommand = "none";
      settings = {
        PermitRootLogin = "yes"; PasswordAuthentication = false; PubkeyAuthentication = true;
        AuthenticationMethods = "publickey"; AllowUsers = [ "root" ]; DenyUsers = [ "joe" ];
        AllowGroups = [ "root" ]; DenyGroups = [ "no" ]; TrustedUserCAKeys = null;
      };
    };
    users = {
      users = {
        root = { group = "admin"; extraGroups = [ "wheel" ]; openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA" ]; };
        joe = { hashedPassword = "$y$x"; openssh.authorizedKeys.keyFiles = [ ./flake.nix ]; };
      };
      groups.root = { };
    };
    fileSystems."/" = { device = "/dev/disk/by-partlabel/root"; fsType = "ext4"; options = [ "noatime" ]; neededForBoot = true; };
    fileSystems."/srv" = { device = "/dev/disk/by-label/srv"; fsType = "xfs"; };
    age = { identityPaths = [ "/etc/ssh/ssh_host_ed25519_key" ];
      secrets.token = { file = ./flake.nix; path = "/run/agenix/token"; mode = "0400"; owner = "root"; group = "root"; symlink = false; }; };
    hardware.deviceTree = { enable = true; name = "a/b.dtb"; };
    warnings = [ "old" ];
    assertions = [ { assertion = true; message = "no"; } ];
    system.build = c.system.build // { destroyFormatMount = made "destroy"; mountScript = made "mount"; };
  })"#;

/// Each option, and the facts that it may cost: JSON pointers.
const COSTS: &[(&str, &[&str])] = &[
    ("networking.hostName", &["/hostName"]),
    ("networking.hostId", &["/hostId"]),
    ("nixpkgs.hostPlatform.system", &["/system"]),
    ("boot.isContainer", &["/isContainer"]),
    ("boot.kernelParams", &["/kernelParams"]),
    ("boot.extraModprobeConfig", &["/modprobeConfig"]),
    ("boot.supportedFilesystems", &["/zfs"]),
    ("boot.supportedFilesystems.zfs", &["/zfs"]),
    ("boot.zfs.package.version", &["/zfsVersion"]),
    ("boot.initrd.availableKernelModules", &["/initrdModules"]),
    ("boot.initrd.kernelModules", &["/initrdModules"]),
    ("boot.loader.systemd-boot.enable", &["/bootLoader"]),
    ("boot.loader.grub", &["/firmware", "/bootPlaces"]),
    ("boot.loader.efi.canTouchEfiVariables", &["/firmware"]),
    ("services.openssh.enable", &["/logins/sshd"]),
    ("services.openssh.ports", &["/logins/ports"]),
    ("services.openssh.hostKeys", &["/hostKeys"]),
    ("services.openssh.authorizedKeysCommand", &["/logins/keysFromElsewhere"]),
    ("services.openssh.settings.PermitRootLogin", &["/logins/permitRootLogin"]),
    ("services.openssh.settings.PasswordAuthentication", &["/logins/passwordAuthentication"]),
    ("services.openssh.settings.PubkeyAuthentication", &["/logins/publicKeyAuthentication"]),
    ("services.openssh.settings.AuthenticationMethods", &["/logins/authenticationMethods"]),
    ("services.openssh.settings.AllowUsers", &["/logins/allowUsers"]),
    ("services.openssh.settings.DenyUsers", &["/logins/denyUsers"]),
    ("services.openssh.settings.AllowGroups", &["/logins/allowGroups"]),
    ("services.openssh.settings.DenyGroups", &["/logins/denyGroups"]),
    ("services.openssh.settings.TrustedUserCAKeys", &["/logins/keysFromElsewhere"]),
    ("users.users.root.group", &["/logins/rootGroups"]),
    ("users.users.root.extraGroups", &["/logins/rootGroups"]),
    (
        "users.users.root.openssh.authorizedKeys.keys",
        &["/logins/rootKeys", "/logins/keysFromElsewhere"],
    ),
    ("users.users.joe.hashedPassword", &["/logins/usersWithPassword"]),
    ("users.users.joe.openssh.authorizedKeys.keyFiles", &["/logins/usersWithKeys"]),
    ("users.users.joe", &["/logins/usersWithPassword", "/logins/usersWithKeys"]),
    ("users.users", &["/users", "/logins"]),
    ("users.groups", &["/groups"]),
    ("fileSystems./.device", &["/fileSystems/~1/device"]),
    ("fileSystems./.fsType", &["/fileSystems/~1/fsType"]),
    ("fileSystems./.options", &["/fileSystems/~1/options"]),
    ("fileSystems./.neededForBoot", &["/fileSystems/~1/neededForBoot"]),
    ("fileSystems", &["/fileSystems"]),
    ("disko.devices", &["/disks", "/pools", "/layout"]),
    ("age.identityPaths", &["/identityPaths"]),
    ("age.secrets", &["/secrets"]),
    ("age.secrets.token.file", &["/secrets/0/file"]),
    ("age.secrets.token.path", &["/secrets/0/path"]),
    ("age.secrets.token.mode", &["/secrets/0/mode"]),
    ("age.secrets.token.owner", &["/secrets/0/owner"]),
    ("age.secrets.token.group", &["/secrets/0/group"]),
    ("age.secrets.token.symlink", &["/secrets/0/symlink"]),
    ("hardware.deviceTree.enable", &["/deviceTree"]),
    ("hardware.deviceTree.name", &["/deviceTree"]),
    ("warnings", &["/warnings"]),
    ("assertions", &["/failedAssertions"]),
    ("system.build.diskoScript", &["/diskoScript"]),
    ("system.build.destroyFormatMount", &["/destroyFormatMount"]),
    ("system.build.mountScript", &["/mountScript"]),
    ("services", &["/logins", "/hostKeys"]),
    ("hardware", &["/deviceTree"]),
    ("age", &["/secrets", "/identityPaths"]),
];

/// Where two documents differ: JSON pointers of leaves.
fn differences(one: &Value, other: &Value, at: &str, found: &mut BTreeSet<String>) {
    match (one, other) {
        (Value::Object(one), Value::Object(other)) if one.keys().eq(other.keys()) => {
            for (name, value) in one {
                let name = name.replace('/', "~1");
                differences(
                    value,
                    &other[&name.replace("~1", "/")],
                    &format!("{at}/{name}"),
                    found,
                );
            }
        }
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            for (number, value) in one.iter().enumerate() {
                differences(value, &other[number], &format!("{at}/{number}"), found);
            }
        }
        _ if one == other => {}
        _ => {
            found.insert(at.to_owned());
        }
    }
}

/// The facts of each host of a flake, all in one evaluation.
fn facts_of_all(flake: &str) -> Value {
    let facts = format!(
        "builtins.mapAttrs (_: ({}) [ {{ key = \"systemd-boot\"; option = [ \"loader\" \"systemd-boot\" ]; }} ] [ ])",
        include_str!("../../src/facts/host.nix")
    );
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command flakes", "eval", "--json", "--apply"]);
    let output = nix.args([&facts, &format!("{flake}#nixosConfigurations")]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Each option in turn throws, as one does that has no value; and each is of a type that nobody expects.
#[test]
fn a_fact_that_cannot_be_known_costs_only_itself() {
    let home = Home::new();
    let mut each = String::new();
    for (number, (option, _)) in COSTS.iter().enumerate() {
        let path = option.split('.').map(|part| format!("\"{part}\"")).collect::<Vec<_>>();
        let path = path.join(" ");
        let _ = writeln!(
            each,
            "throws-{number} = change [ {path} ] (throw \"no value\");\n\
             odd-{number} = change [ {path} ] (_: null);"
        );
    }
    let flake = hosts(
        &home,
        &format!(
            r"let
              full = {FULL};
              put = path: value: set: if path == [ ] then value else
                set // {{ ${{builtins.head path}} = put (builtins.tail path) value (set.${{builtins.head path}} or {{ }}); }};
              change = path: value: {{ config = put path value full.config; }};
            in {{ inherit full; {each} }}"
        ),
    );
    let all = facts_of_all(&flake);
    let full = &all["full"];
    for fact in full.as_object().unwrap() {
        assert!(!fact.1.is_null(), "{} is not tried", fact.0);
    }
    for (number, (option, costs)) in COSTS.iter().enumerate() {
        for kind in ["throws", "odd"] {
            let facts = &all[format!("{kind}-{number}")];
            let mut found = BTreeSet::new();
            differences(full, facts, "", &mut found);
            let is_its_own = |at: &&String| costs.iter().any(|cost| at.starts_with(cost));
            let others: Vec<_> = found.iter().filter(|at| !is_its_own(at)).collect();
            assert!(others.is_empty(), "{option} {kind}: {others:?}");
            assert!(kind == "odd" || !found.is_empty(), "{option}: nothing is lost");
            let read = serde_json::from_value::<HostFacts>(facts.clone());
            assert!(read.is_ok(), "{option} {kind}: {read:?}\n{facts:#}");
        }
    }
}
