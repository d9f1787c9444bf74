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
