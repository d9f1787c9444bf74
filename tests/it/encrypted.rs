//! Installs of a host with secrets on scratch machines: with the key that opens them, and without.

use crate::common::scratch::Scratch;
use crate::common::{Home, encrypted_fleet, keygen};
use landfall::secrets::host_key::recipient;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn encrypted_to(key: &str) -> Vec<u8> {
    let recipient = recipient(key).unwrap();
    let encryptor = age::Encryptor::with_recipients(std::iter::once(&*recipient as _)).unwrap();
    let mut encrypted = Vec::new();
    let mut writer = encryptor.wrap_output(&mut encrypted).unwrap();
    std::io::Write::write_all(&mut writer, b"CANARY-OF-A-SECRET").unwrap();
    writer.finish().unwrap();
    encrypted
}

/// Makes a host key for `encrypted` with the command; its public half.
fn create(home: &Home, flake: &str) -> String {
    fs::create_dir(home.path(".ssh")).unwrap();
    keygen(&home.path(".ssh/id_ed25519"));
    let made = home.run(&["keys", "create", "encrypted", "--flake", flake]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let path = home.path("state/landfall/keys/encrypted/ssh_host_ed25519_key.pub");
    let line = fs::read_to_string(path).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// What lies in the first disk's file system, by debugfs: it is not mounted.
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
    let flake = encrypted_fleet(&machine.home, &[]);
    let public = create(&machine.home, &flake);
    let encrypted = encrypted_to(&public);
    let flake =
        encrypted_fleet(&machine.home, &[("token.age", &encrypted), ("wireguard.age", &encrypted)]);
    let report = machine.home.path("report");
    let options = ["--yes", "--flake", &flake, "--report", report.to_str().unwrap()];
    let ended = machine.run("install", "encrypted", &options);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(machine.boots(), ["rescue", "installer", "installed"]);
    assert!(ended.stderr.contains("token      1: yes (decrypted)"), "{}", ended.stderr);
    let print = landfall::machine::fingerprint(&public).unwrap();
    assert!(ended.stderr.contains(&format!("ssh_host_ed25519_key ({print})")), "{}", ended.stderr);
    // The key that the machine shows now is the one that was made, and nothing else is known by it.
    let report = crate::common::events::report(&report);
    assert_eq!(report["host_keys"], serde_json::json!([public]));
    let verify = machine.run("verify", "encrypted", &["--flake", &flake, "--host-key", &public]);
    assert_eq!(verify.code, Some(0), "{verify:#?}");
    let (line, stat) = on_disk(&machine, "/etc/ssh/ssh_host_ed25519_key.pub");
    assert_eq!(line.trim(), format!("{public} root@encrypted"));
    assert!(stat.contains("Mode:  0644"), "{stat}");
    let (key, stat) = on_disk(&machine, "/etc/ssh/ssh_host_ed25519_key");
    assert!(stat.contains("Mode:  0600") && stat.contains("User:     0"), "{stat}");
    assert!(key.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    // The same once more has nothing to do; with another key it would be another installation, and that is refused.
    let again =
        machine.run("install", "encrypted", &[&options[..], &["--host-key", &public]].concat());
    assert_eq!(again.code, Some(0), "{again:#?}");
    keygen(&machine.home.path("other"));
    let other = machine.home.path("other");
    let brought = ["--host-key", &public, "--host-key-file", other.to_str().unwrap()];
    machine
        .run("install", "encrypted", &[&options[..], &brought].concat())
        .failed(3, &["secret-not-opened"]);
    assert_eq!(machine.boots().len(), 3);
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
    let flake = encrypted_fleet(&machine.home, &[]);
    let public = create(&machine.home, &flake);
    keygen(&machine.home.path("stranger"));
    let stranger = fs::read_to_string(machine.home.path("stranger.pub")).unwrap();
    let (right, wrong) = (encrypted_to(&public), encrypted_to(&stranger));
    let before = machine.disk_hashes();
    let install = |flake: &str, more: &[&str]| {
        machine.run("install", "encrypted", &[&["--yes", "--flake", flake], more].concat())
    };
    let refused = |ended: &crate::common::Ended, code: &str| {
        ended.failed(3, &[code]);
        assert_eq!(machine.disk_hashes(), before, "{code}");
        assert_eq!((machine.calls().as_str(), machine.boots().len()), ("", 1), "{code}");
    };
    let flake = encrypted_fleet(&machine.home, &[("token.age", &right), ("wireguard.age", &wrong)]);
    refused(&install(&flake, &[]), "[secret-not-opened]");
    let flake = encrypted_fleet(&machine.home, &[("token.age", &right)]);
    refused(&install(&flake, &[]), "[secret-missing]");
    let flake = encrypted_fleet(&machine.home, &[("token.age", &right), ("wireguard.age", &right)]);
    // Another key than they are encrypted to, and one that would only be made on the machine.
    let stranger = machine.home.path("stranger");
    let brought = ["--host-key-file", stranger.to_str().unwrap()];
    refused(&install(&flake, &brought), "[secret-not-opened]");
    refused(&install(&flake, &["--copy-host-keys"]), "[secret-not-opened]");
    fs::remove_dir_all(machine.home.path("state/landfall/keys")).unwrap();
    refused(&install(&flake, &[]), "[secret-not-opened]");
}

/// landfall is killed when the step has begun and when its job is at work; the same command continues, with the same key.
#[test]
fn a_run_that_is_cut_continues_with_the_same_key() {
    for moment in [r#""event":"step_started","step":"install""#, r#""source":"nixos-install""#] {
        let machine = Scratch::new();
        let flake = encrypted_fleet(&machine.home, &[]);
        let public = create(&machine.home, &flake);
        let encrypted = encrypted_to(&public);
        let secrets = [("token.age", &encrypted[..]), ("wireguard.age", &encrypted[..])];
        let flake = encrypted_fleet(&machine.home, &secrets);
        let options = ["--yes", "--json", "--flake", &flake];
        let mut install = machine.command("install", "encrypted", &options);
        let mut child = install.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let seen = lines.map_while(Result::ok).any(|line| line.contains(moment));
        assert!(seen, "{moment}");
        child.kill().unwrap();
        child.wait().unwrap();
        let ended = machine.run("install", "encrypted", &options);
        assert_eq!(ended.code, Some(0), "{moment}: {ended:#?}");
        assert_eq!(machine.boots(), ["rescue", "installer", "installed"], "{moment}");
        let verify =
            machine.run("verify", "encrypted", &["--flake", &flake, "--host-key", &public]);
        assert_eq!(verify.code, Some(0), "{moment}: {verify:#?}");
    }
}

/// Its present host keys are asked for by the probe, and age files name them.
#[test]
fn keys_that_the_target_has_now_are_looked_at() {
    const OWN_KEY: &str = "rm -f /etc/ssh/ssh_host_*\n\
        ssh-keygen -q -t ed25519 -N '' -C here -f /etc/ssh/ssh_host_ed25519_key\n\
        cp /etc/ssh/ssh_host_ed25519_key.pub \"$dir/present.pub\"\n";
    let machine = Scratch::with(|dir| fs::write(dir.join("hardware"), OWN_KEY).unwrap());
    let present = fs::read_to_string(machine.dir().join("present.pub")).unwrap();
    let encrypted = encrypted_to(&present);
    let flake =
        encrypted_fleet(&machine.home, &[("token.age", &encrypted), ("wireguard.age", &encrypted)]);
    let check =
        |more: &[&str]| machine.run("check", "encrypted", &[&["--flake", &flake], more].concat());
    let kept = check(&["--copy-host-keys"]);
    assert_eq!(kept.code, Some(0), "{kept:#?}");
    assert!(kept.stdout.contains("token      1: yes (by its tag)"), "{}", kept.stdout);
    let new = check(&[]);
    assert_eq!(new.code, Some(3), "{new:#?}");
    assert!(new.stdout.contains("nothing can be encrypted to it yet"), "{}", new.stdout);
}

#[test]
fn a_key_is_copied_to_a_system_that_an_installer_has_mounted() {
    let copy = |mount: &str| {
        let hardware = format!("echo installer > \"$dir/next\"\n{mount}\n");
        let machine = Scratch::with(|dir| fs::write(dir.join("hardware"), hardware).unwrap());
        let flake = encrypted_fleet(&machine.home, &[]);
        create(&machine.home, &flake);
        keygen(&machine.home.path("other"));
        let target = format!("root@127.0.0.1:{}", machine.port);
        let run = |more: &[&str]| {
            let (key, host_key) = (machine.home.path("key"), machine.host_key());
            let words = ["keys", "copy", "encrypted", &target, "--flake", &flake];
            let login = ["-i", key.to_str().unwrap(), "--host-key", &host_key];
            let options = ["--ssh-option", "IdentitiesOnly=yes"];
            machine.home.run(&[&words[..], &login, &options, more].concat())
        };
        let other = machine.home.path("other");
        (run(&[]), run(&["--host-key-file", other.to_str().unwrap()]))
    };
    let (first, other) = copy("mount -t tmpfs none /mnt");
    assert_eq!(first.code, Some(0), "{first:#?}");
    assert!(first.stderr.contains("/mnt/etc/ssh/ssh_host_ed25519_key"), "{first:#?}");
    assert_eq!(other.code, Some(3), "{other:#?}");
    assert!(other.stderr.contains("another key is there already"), "{other:#?}");
    let (nowhere, _) = copy("");
    assert_eq!(nowhere.code, Some(3), "{nowhere:#?}");
    assert!(nowhere.stderr.contains("nothing is mounted on /mnt"), "{nowhere:#?}");
}
