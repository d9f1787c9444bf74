//! Installs of a host with secrets on scratch machines: with the key that opens them, and without.

#![allow(clippy::unwrap_used, clippy::panic, reason = "that is how a test fails")]
#![allow(clippy::disallowed_methods, reason = "tests start what they test, and its peers")]

mod common;

use common::scratch::Scratch;
use common::{Home, keygen, sealed_fleet};
use landfall::secrets::host_key::recipient;
use std::fs;
use std::process::Command;

fn sealed_to(key: &str) -> Vec<u8> {
    let recipient = recipient(key).unwrap();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&*recipient as _)).unwrap();
    let mut sealed = Vec::new();
    let mut writer = encryptor.wrap_output(&mut sealed).unwrap();
    std::io::Write::write_all(&mut writer, b"CANARY-OF-A-SECRET").unwrap();
    writer.finish().unwrap();
    sealed
}

/// Makes a host key for `sealed` with the command; its public half.
fn create(home: &Home, flake: &str) -> String {
    fs::create_dir(home.path(".ssh")).unwrap();
    keygen(&home.path(".ssh/id_ed25519"));
    let made = home.run(&["keys", "create", "sealed", "--flake", flake]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let path = home.path("state/landfall/keys/sealed/ssh_host_ed25519_key.pub");
    let line = fs::read_to_string(path).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// What lies in the first disk's file system, by debugfs: it is nobody's mount.
fn on_disk(machine: &Scratch, path: &str) -> (String, String) {
    let debugfs = |request: &str| {
        let mut command = Command::new("debugfs");
        let output = command.arg("-R").arg(request).arg(machine.disk("sda")).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    (debugfs(&format!("cat {path}")), debugfs(&format!("stat {path}")))
}

#[test]
fn the_machine_comes_back_with_exactly_the_key_that_was_made_for_it() {
    let machine = Scratch::new();
    let flake = sealed_fleet(&machine.home, &[]);
    let public = create(&machine.home, &flake);
    let sealed = sealed_to(&public);
    let flake = sealed_fleet(&machine.home, &[("token.age", &sealed), ("wireguard.age", &sealed)]);
    let report = machine.home.path("report");
    let options = ["--yes", "--flake", &flake, "--report", report.to_str().unwrap()];
    let ended = machine.run("install", "sealed", &options);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(machine.boots(), ["rescue", "installer", "installed"]);
    assert!(ended.stderr.contains("token      1: yes (decrypted)"), "{}", ended.stderr);
    let print = landfall::machine::fingerprint(&public).unwrap();
    assert!(ended.stderr.contains(&format!("ssh_host_ed25519_key ({print})")), "{}", ended.stderr);
    // The key that the machine shows now is the one that was made, and nothing else is known by it.
    let report = fs::read_to_string(report).unwrap();
    let report: serde_json::Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["host_keys"], serde_json::json!([public]));
    let verify = machine.run("verify", "sealed", &["--flake", &flake, "--host-key", &public]);
    assert_eq!(verify.code, Some(0), "{verify:#?}");
    let (line, stat) = on_disk(&machine, "/etc/ssh/ssh_host_ed25519_key.pub");
    assert_eq!(line.trim(), format!("{public} root@sealed"));
    assert!(stat.contains("Mode:  0644"), "{stat}");
    let (key, stat) = on_disk(&machine, "/etc/ssh/ssh_host_ed25519_key");
    assert!(stat.contains("Mode:  0600") && stat.contains("User:     0"), "{stat}");
    assert!(key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    // And nowhere else: not in what was said, logged or journalled.
    let needle = key.lines().nth(3).unwrap();
    assert!(!ended.stderr.contains(needle) && !ended.stdout.contains(needle));
    let mut grep = Command::new("grep");
    grep.args(["-rlF", needle]).args(["state", "cache", "run"].map(|name| machine.home.path(name)));
    let found = grep.output().unwrap();
    assert_eq!(String::from_utf8(found.stdout).unwrap(), "");
}

#[test]
fn what_the_machine_could_not_open_is_refused_before_its_disks_are_touched() {
    let machine = Scratch::new();
    let flake = sealed_fleet(&machine.home, &[]);
    let public = create(&machine.home, &flake);
    keygen(&machine.home.path("stranger"));
    let stranger = fs::read_to_string(machine.home.path("stranger.pub")).unwrap();
    let (right, wrong) = (sealed_to(&public), sealed_to(&stranger));
    let before = machine.disk_hashes();
    let install = |flake: &str, more: &[&str]| {
        machine.run("install", "sealed", &[&["--yes", "--flake", flake], more].concat())
    };
    let refused = |ended: &common::Ended, code: &str| {
        ended.failed(3, &[code]);
        assert_eq!(machine.disk_hashes(), before, "{code}");
        assert_eq!((machine.calls().as_str(), machine.boots().len()), ("", 1), "{code}");
    };
    let flake = sealed_fleet(&machine.home, &[("token.age", &right), ("wireguard.age", &wrong)]);
    refused(&install(&flake, &[]), "[secret-not-opened]");
    let flake = sealed_fleet(&machine.home, &[("token.age", &right)]);
    refused(&install(&flake, &[]), "[secret-missing]");
    let flake = sealed_fleet(&machine.home, &[("token.age", &right), ("wireguard.age", &right)]);
    // Another key than they are encrypted to, and one that would only be made on the machine.
    let stranger = machine.home.path("stranger");
    let brought = ["--host-key-file", stranger.to_str().unwrap()];
    refused(&install(&flake, &brought), "[secret-not-opened]");
    refused(&install(&flake, &["--copy-host-keys"]), "[secret-not-opened]");
    fs::remove_dir_all(machine.home.path("state/landfall/keys")).unwrap();
    refused(&install(&flake, &[]), "[secret-not-opened]");
}
