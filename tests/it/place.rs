//! Where the system is evaluated and built: by the target, by a builder or not at all, with other inputs than the
//! flake names.

use crate::common::scratch::Scratch;
use crate::common::{Home, fleet};
use std::fs;

#[test]
fn the_target_builds() {
    let machine = Scratch::new();
    let ended = machine.install(&["--yes", "--build-on", "target"]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(machine.boots(), ["rescue", "installer", "installed"]);
    for said in [
        "on the target (--build-on target)",
        "build | building '/nix/store/",
        "-nixos-system-scratch-25.11.drv'",
        "-disko.drv'",
    ] {
        assert!(ended.stderr.contains(said), "no '{said}' in\n{}", ended.stderr);
    }
    let again = machine.install(&["--yes", "--build-on", "target"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn a_build_that_was_left_continues() {
    let machine = Scratch::new();
    // The installer has no nix-store but one that fails, as if the machine were too small.
    let pretend = machine.dir().join("pretend");
    fs::create_dir_all(&pretend).unwrap();
    let broken = pretend.join("nix-store");
    fs::write(&broken, "#!/bin/sh\necho too small >&2\nexit 1\n").unwrap();
    std::process::Command::new("chmod").arg("755").arg(&broken).status().unwrap();
    let before = machine.disk_hashes();
    let ended = machine.install(&["--yes", "--build-on", "target"]);
    ended.failed(9, &["too small", "building on the target"]);
    assert_eq!(machine.disk_hashes(), before, "the script is built before the disks are touched");
    fs::remove_file(&broken).unwrap();
    let again = machine.install(&["--yes", "--build-on", "target"]);
    assert_eq!(again.code, Some(0), "{}", again.stderr);
}

#[test]
fn a_system_that_cannot_be_built_anywhere_is_refused() {
    let machine = Scratch::new();
    let before = machine.disk_hashes();
    for (more, word) in [
        (["--build-on", "builder"], "none of this workstation's builders builds for x86_64-linux"),
        (["--build-on", "moon"], "invalid value 'moon'"),
    ] {
        let ended = machine.install(&[&["--yes"][..], &more].concat());
        assert!(matches!(ended.code, Some(2 | 3)), "{ended:#?}");
        assert!(ended.stderr.contains(word), "{ended:#?}");
    }
    assert_eq!((machine.disk_hashes(), machine.calls()), (before, String::new()));
}

#[test]
fn an_input_is_replaced() {
    let home = Home::new();
    let flake = home.path("flake");
    fs::create_dir_all(&flake).unwrap();
    let text = format!(
        r#"{{
  inputs.fleet.url = "{}";
  inputs.secrets = {{ url = "path:/no/such/directory"; flake = false; }};
  outputs = {{ self, fleet, secrets }}: {{
    nixosConfigurations.nas =
      let host = fleet.nixosConfigurations.stub; in host // {{
        config = host.config // {{ warnings = [ (builtins.readFile "${{secrets}}/motto") ]; }};
      }};
  }};
}}
"#,
        fleet()
    );
    fs::write(flake.join("flake.nix"), text).unwrap();
    let secrets = home.path("secrets");
    fs::create_dir(&secrets).unwrap();
    fs::write(secrets.join("motto"), "from the other input").unwrap();
    let (flake, secrets) =
        (format!("path:{}", flake.display()), format!("path:{}", secrets.display()));
    let check =
        |more: &[&str]| home.run(&[&["check", "nas", "--flake", &flake][..], more].concat());
    let without = check(&[]);
    assert_eq!(without.code, Some(7), "{without:#?}");
    let with = check(&["--override-input", "secrets", &secrets]);
    assert_eq!(with.code, Some(3), "{with:#?}");
    assert!(with.stdout.contains("from the other input"), "{with:#?}");
    assert!(!home.path("flake/flake.lock").exists(), "a check writes nothing");
    let half = check(&["--override-input", "secrets"]);
    assert_eq!(half.code, Some(2), "{half:#?}");
}
