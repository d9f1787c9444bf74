//! `landfall check` of the fixture's hosts, good and bad: with real nix, and one evaluation for each.

use crate::common::{Ended, Home, flake, fleet};
use landfall::facts::HostFacts;
use landfall::nix::Nix;
use landfall::report::Metrics;

/// Checks the host alone; the codes of what is found, errors first.
fn checked(flake: &str, host: &str, more: &[&str]) -> (Ended, Vec<String>) {
    let home = Home::new();
    let ended = home.run(&[&["check", host, "--flake", flake, "--json"], more].concat());
    let codes = crate::common::events::codes(&ended.stdout);
    (ended, codes)
}

#[test]
fn a_good_host_has_no_findings() {
    let (ended, codes) = checked(&fleet(), "helios64", &[]);
    assert_eq!((ended.code, codes.len()), (Some(0), 0), "{ended:#?}");
}

#[test]
fn each_fault_of_a_host_is_named() {
    for (host, expected) in [
        ("bare", &["host-no-disko", "host-warning"][..]),
        ("broken", &["host-assertion"]),
        (
            "stub",
            &[
                "host-container",
                "host-no-disko",
                "host-no-boot-loader",
                "host-no-login",
                "host-no-host-id",
                "host-no-initrd-modules",
            ],
        ),
        (
            "careless",
            &[
                "host-boot-elsewhere",
                "host-no-host-id",
                "host-unstable-disk",
                "host-unstable-disk",
                "host-unstable-disk",
                "host-topology",
                "host-open-secret",
            ],
        ),
        ("overwritten", &["host-firmware-region"]),
    ] {
        let (ended, codes) = checked(&fleet(), host, &[]);
        assert_eq!(ended.code, Some(3), "{host}: {ended:#?}");
        assert_eq!(codes, expected, "{host}");
    }
    // It is in no one's way, and is looked for where that is asked for.
    let (ended, codes) = checked(&fleet(), "namesake", &[]);
    assert_eq!((ended.code, codes.len()), (Some(0), 0), "{ended:#?}");
    let (ended, codes) = checked(&fleet(), "namesake", &["--namesakes"]);
    assert_eq!((ended.code, codes.as_slice()), (Some(0), &["host-namesake".to_owned()][..]));
    assert!(ended.stdout.contains("'namesake' and 'throws' are both called throws"));
}

#[test]
fn only_what_can_be_accepted_is() {
    let home = Home::new();
    let accept = |code| home.run(&["check", "careless", "--flake", &fleet(), "--accept", code]);
    let final_one = accept("host-topology");
    assert_eq!(final_one.code, Some(2), "{final_one:#?}");
    assert!(final_one.stderr.contains("this finding cannot be accepted"));
    assert!(accept("no-such-code").stderr.contains("docs/reference/findings.md"));
    let rest = accept("host-unstable-disk,host-boot-elsewhere");
    assert_eq!(rest.code, Some(3), "{rest:#?}");
    let refused = "because of 2 findings: [host-no-host-id] [host-topology]";
    assert!(rest.stderr.contains(refused), "{}", rest.stderr);
    assert!(!rest.stderr.contains("log: "), "what changes nothing keeps no log: {}", rest.stderr);
}

/// A host that is broken in a way Nix cannot catch is not looked at, and where it is, it must not hide the others.
#[test]
fn a_broken_neighbour_does_not_fail_the_check() {
    let home = Home::new();
    let text = r#"{
      outputs = _: {
        nixosConfigurations = {
          good.config.networking.hostName = "good";
          bad.config.networking.hostName = abort "no more";
        };
      };
    }"#;
    let flake = flake(&home, text);
    for more in [&[][..], &["--namesakes"]] {
        let (ended, codes) = checked(&flake, "good", more);
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        assert!(codes.contains(&"host-no-toplevel".to_owned()), "{codes:?}");
        let said = ended.stdout.contains("the names of the flake's other hosts cannot be read: ");
        assert_eq!(said, !more.is_empty(), "{ended:#?}");
    }
}

/// As NixOS has them of old and of late: lists, words with blanks between, a device beside the devices.
#[tokio::test]
async fn who_may_log_in_and_what_grub_is_for_are_read_from_the_options() {
    let home = Home::new();
    let text = r#"{
      outputs = _: {
        nixosConfigurations = {
          new.config = {
            services.openssh = {
              enable = true;
              settings = {
                PermitRootLogin = "no";
                AllowUsers = [ "joe" "ro*" ];
                DenyUsers = null;
                AuthenticationMethods = "publickey any";
                PubkeyAuthentication = false;
              };
              authorizedKeysCommand = "/bin/keys";
            };
            users.users.root = { group = "root"; extraGroups = [ "wheel" ]; };
            boot.loader = {
              grub = { enable = true; efiSupport = true; device = "nodev"; devices = [ ]; };
              efi.canTouchEfiVariables = true;
            };
          };
          old.config = {
            services.openssh = { enable = true; permitRootLogin = "yes"; };
            boot.loader.grub = {
              enable = true;
              device = "";
              mirroredBoots = [ { devices = [ "nodev" ]; } { devices = [ "/dev/sda" ]; } ];
              forcei686 = true;
            };
          };
        };
      };
    }"#;
    let flake = flake(&home, text);
    let nix = Nix::find(Metrics::default()).unwrap();
    let facts = async |host: &str| {
        let facts = HostFacts::gather(&nix, &host.parse().unwrap(), &flake).await;
        let Ok(facts) = facts else { panic!("no facts of {host}") };
        (facts.logins.unwrap(), facts.firmware.unwrap())
    };
    let (logins, firmware) = facts("new").await;
    assert_eq!(logins.permit_root_login.as_deref(), Some("no"));
    assert_eq!(logins.allow_users.unwrap(), ["joe", "ro*"]);
    assert_eq!((logins.deny_users, logins.public_key_authentication), (None, Some(false)));
    assert_eq!(logins.authentication_methods.unwrap(), ["publickey", "any"]);
    assert_eq!(logins.root_groups, ["root", "wheel"]);
    assert!(logins.keys_from_elsewhere && firmware.efi && firmware.variables);
    assert!(!firmware.bios && !firmware.removable && !firmware.ia32);
    let (logins, firmware) = facts("old").await;
    assert_eq!(logins.permit_root_login.as_deref(), Some("yes"));
    assert!(!logins.keys_from_elsewhere && firmware.bios && firmware.ia32 && !firmware.efi);
}

/// As NixOS, Lanzaboote and others have it, and where nothing says it.
#[tokio::test]
async fn which_boot_loader_it_is_and_where_it_is_put_are_read_from_the_options() {
    let home = Home::new();
    let text = r#"{
      outputs = _: {
        nixosConfigurations = {
          systemd.config.boot.loader = {
            systemd-boot = { enable = true; xbootldrMountPoint = "/xboot"; };
            efi.efiSysMountPoint = "/esp";
            grub = { enable = false; mirroredBoots = throw "not asked for"; };
          };
          mirrored.config.boot.loader.grub = {
            enable = true;
            efiSupport = true;
            mirroredBoots = [
              { path = "/boot1"; efiSysMountPoint = "/efi1"; devices = [ "nodev" ]; }
              { path = "/boot2"; efiSysMountPoint = null; devices = [ "/dev/sdb" ]; }
            ];
          };
          signed.config.boot = {
            lanzaboote = { enable = true; extraEfiSysMountPoints = [ "/efi2" ]; };
            loader.external.enable = true;
            loader.efi.efiSysMountPoint = "/efi";
          };
          limine.config.boot.loader = {
            limine = { enable = true; efiSupport = false; biosSupport = true; efiInstallAsRemovable = true; };
            grub.efiSupport = true;
          };
          hook.config.boot.loader.external.enable = true;
          odd.config.system.build.installBootLoader = { name = "install-odd.sh"; };
          none.config.system.build.installBootLoader = { name = "no-bootloader"; };
          old.config.system.build.installBootLoader =
            "echo 'Warning: do not know how to make this configuration bootable; please enable a boot loader.' 1>&2; true";
          bare.config = { };
        };
      };
    }"#;
    let flake = flake(&home, text);
    let nix = Nix::find(Metrics::default()).unwrap();
    for (host, expected) in [
        ("systemd", "SystemdBoot: /xboot (ESP /esp)"),
        ("mirrored", "Grub: /boot1 (ESP /efi1), /boot2 (ESP /boot2)"),
        ("signed", "Lanzaboote: /efi (ESP /efi), /efi2 (ESP /efi2)"),
        ("limine", "Limine: /boot"),
        ("hook", "External: "),
        ("odd", "Other: "),
        ("none", "none: "),
        ("old", "none: "),
        ("bare", "none: "),
    ] {
        let facts = HostFacts::gather(&nix, &host.parse().unwrap(), &flake).await;
        let Ok(facts) = facts else { panic!("no facts of {host}") };
        let described = facts.boot_directories().into_iter().map(|directory| {
            let esp = directory.esp.map(|esp| format!(" (ESP {esp})")).unwrap_or_default();
            format!("{}{esp}", directory.path)
        });
        let described: Vec<_> = described.collect();
        let loader = facts.boot_loader.map_or("none".to_owned(), |loader| format!("{loader:?}"));
        assert_eq!(format!("{loader}: {}", described.join(", ")), expected, "{host}");
    }
}

/// What is kept takes all that it belongs to with it, and the script that creates what is missing does not touch it.
#[tokio::test]
async fn what_is_kept_is_not_laid_out() {
    let nix = Nix::find(Metrics::default()).unwrap();
    let host = "helios64".parse().unwrap();
    for (wish, kept, wiped) in [
        ("tank", vec!["bay1", "bay2", "bay3", "bay4", "bay5"], vec!["emmc"]),
        ("bay3", vec!["bay1", "bay2", "bay3", "bay4", "bay5"], vec!["emmc"]),
        ("emmc", vec!["emmc"], vec!["bay1", "bay2", "bay3", "bay4", "bay5"]),
        ("/dev/disk/by-path/platform-fe330000.mmc", vec!["emmc"], vec!["bay1"]),
    ] {
        let wish = [wish.to_owned(), "tonk\"${".to_owned()];
        let facts = HostFacts::gather_keeping(&nix, &host, &fleet(), &wish).await;
        let Ok(facts) = facts else { panic!("no facts") };
        assert_eq!(facts.kept.disks, kept, "{wish:?}");
        assert_eq!(facts.kept.unknown, ["tonk\"${"]);
        let disks = facts.disks.as_ref().unwrap();
        assert!(disks.iter().all(|(name, disk)| disk.destroy != kept.contains(&name.as_str())));
        // The partitions are reported all the same: they say which pool the disk belongs to.
        assert_eq!(disks["bay1"].partitions[0].pool.as_deref(), Some("tank"));
        let script = facts.kept.format_script.unwrap();
        nix.build(&[&script], false, &mut |_| ()).await.unwrap();
        let text = nix.read(script.out.as_str()).await.unwrap();
        let text = String::from_utf8(text.unwrap()).unwrap();
        let writes = |disk: &str| {
            let device = &disks[disk].device;
            let mut lines = text.lines().filter(|line| line.starts_with("create_partition"));
            lines.any(|line| line.contains(&format!("'{device}'")))
        };
        assert!(kept.iter().all(|disk| !writes(disk)), "{text}");
        assert!(wiped.iter().all(|disk| writes(disk)), "{text}");
        assert!(text.contains("create_dataset 'tank/root'"), "{text}");
        // Were the pool not there, it would be made of the same members as ever.
        assert!(text.contains(&format!("{}-part1", disks["bay5"].device)), "{text}");
    }
}

#[tokio::test]
async fn the_facts_of_the_real_layout_come_from_one_evaluation() {
    let metrics = Metrics::default();
    let nix = Nix::find(metrics.clone()).unwrap();
    let host = "helios64".parse().unwrap();
    let Ok(facts) = HostFacts::gather(&nix, &host, &fleet()).await else { panic!("no facts") };
    assert_eq!(metrics.evaluations(), 1);
    let disks = facts.disks.unwrap();
    let emmc = &disks["emmc"].partitions[0];
    assert_eq!((emmc.start.as_deref(), emmc.size.as_deref()), (Some("32M"), Some("2G")));
    assert_eq!(disks["bay1"].partitions[0].pool.as_deref(), Some("tank"));
    assert_eq!(disks["bay1"].partitions[0].label.as_deref(), Some("disk-bay1-zfs"));
    let tank = &facts.pools.unwrap()["tank"];
    assert_eq!(tank.mode.as_deref(), Some("raidz1"));
    assert_eq!(tank.options["ashift"], "12");
    assert_eq!(tank.root_fs_options["compression"], "zstd");
    assert_eq!(tank.datasets["data/media"]["recordsize"], "1M");
    let mut mounts = facts.layout_mounts.unwrap();
    mounts.sort();
    assert_eq!(mounts, ["/", "/boot", "/nix", "/srv/backups", "/srv/media", "/srv/shares", "/var"]);
    assert_eq!(facts.file_systems.unwrap()["/"].device.as_deref(), Some("tank/root"));
    assert_eq!(facts.host_id.as_deref(), Some("4e110564"));
    assert_eq!(facts.logins.unwrap().root_keys, 1);
    assert!(facts.mount_script.is_some() && facts.zfs == Some(true));
}

/// Its derivations must be in the store before it can be evaluated.
#[test]
fn a_flake_that_imports_what_it_builds_is_checked() {
    let home = Home::new();
    let text = r#"{
      inputs.fleet.url = "FLEET";
      outputs = { self, fleet }: {
        nixosConfigurations.scratch = import (derivation {
          name = "imported.nix";
          system = builtins.currentSystem or "x86_64-linux";
          builder = "/bin/sh";
          args = [ "-c" "echo 'x: x' > $out" ];
        }) fleet.nixosConfigurations.scratch;
      };
    }"#;
    let flake = flake(&home, &text.replace("FLEET", &fleet()));
    let (ended, codes) = checked(&flake, "scratch", &[]);
    assert_eq!((ended.code, codes.len()), (Some(0), 0), "{ended:#?}");
}
