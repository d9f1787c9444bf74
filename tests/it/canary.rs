//! Canaries: bytes that are nowhere by chance, in every secret of a run. While it is at work and when it is over they are looked for in
//! all that anybody could see, and found in the one place each is meant for.

use crate::common::scratch::Scratch;
use crate::common::{Ended, encrypted_fleet, keygen};
use landfall::secrets::HostKey;
use landfall::secrets::host_key::recipient;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

const SECRET: &str = "canary-9d41e0-of-an-age-file";
const FROM_FILE: &str = "canary-27bb5c-of-a-file";
const FROM_STDIN: &str = "canary-c0ffee-of-stdin";
const FROM_TREE: &str = "canary-1badb0-of-a-tree";

/// Arguments and environment of every process of this machine, looked at again and again until it is over. What is found is
/// reported once for each canary and process.
fn watch(canaries: &[Vec<u8>], over: &AtomicBool, looks: &AtomicUsize) -> Vec<String> {
    let mut found = Vec::new();
    while !over.load(Ordering::Relaxed) {
        for process in fs::read_dir("/proc").unwrap().flatten() {
            for part in ["cmdline", "environ"] {
                let text = fs::read(process.path().join(part)).unwrap_or_default();
                for canary in canaries {
                    if text.windows(canary.len()).any(|place| place == canary.as_slice()) {
                        let name = fs::read_to_string(process.path().join("comm"));
                        let name = name.unwrap_or_default();
                        let told = format!("{part} of {}", name.trim());
                        if !found.contains(&told) {
                            found.push(told);
                        }
                    }
                }
            }
        }
        looks.fetch_add(1, Ordering::Relaxed);
        std::thread::yield_now();
    }
    found
}

/// The files below these directories that have a canary.
fn with(canary: &[u8], places: &[&Path]) -> String {
    let mut grep = Command::new("grep");
    grep.args(["-r", "-l", "-a", "-F", "-f", "-", "--"]).args(places);
    let mut child = grep.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(canary).unwrap();
    let output = child.wait_with_output().unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// How often a disk has a canary, wherever: in files, in their remains, in its journal.
fn on_disk(machine: &Scratch, canary: &[u8]) -> usize {
    let image = ["sda", "sdb"].map(|name| fs::read(machine.disk(name)).unwrap());
    let times =
        |bytes: &Vec<u8>| bytes.windows(canary.len()).filter(|place| *place == canary).count();
    image.iter().map(times).sum()
}

#[test]
fn no_secret_is_anywhere_but_in_its_place() {
    let machine = Scratch::new();
    let home = &machine.home;
    // The key is opened with the user's, and the secrets are encrypted to it.
    fs::create_dir(home.path(".ssh")).unwrap();
    keygen(&home.path(".ssh/id_ed25519"));
    let user = fs::read_to_string(home.path(".ssh/id_ed25519.pub")).unwrap();
    let key = HostKey::create("root@encrypted").unwrap();
    let kept = home.path("host-key.age");
    fs::write(&kept, key.encrypt(&[user]).unwrap()).unwrap();
    let encrypted = {
        let recipient = recipient(&key.public).unwrap();
        let encryptor = age::Encryptor::with_recipients(std::iter::once(&*recipient as _)).unwrap();
        let mut encrypted = Vec::new();
        let mut writer = encryptor.wrap_output(&mut encrypted).unwrap();
        writer.write_all(SECRET.as_bytes()).unwrap();
        writer.finish().unwrap();
        encrypted
    };
    let flake = encrypted_fleet(home, &[("token.age", &encrypted), ("wireguard.age", &encrypted)]);
    let tree = home.path("tree");
    fs::create_dir_all(tree.join("etc/tree")).unwrap();
    fs::write(tree.join("etc/tree/file"), FROM_TREE).unwrap();
    fs::write(home.path("file"), FROM_FILE).unwrap();
    let file = format!("{}:/etc/from-file", home.path("file").display());

    // Of the private key, a line in the middle.
    let private = String::from_utf8(key.private.expose().to_vec()).unwrap();
    let private = private.lines().nth(2).unwrap().to_owned();
    let all =
        [SECRET, FROM_FILE, FROM_STDIN, FROM_TREE, &private].map(|text| text.as_bytes().to_vec());
    let (over, looks) = (AtomicBool::new(false), AtomicUsize::new(0));
    let more = [
        "--yes",
        "--flake",
        &flake,
        "--host-key-file",
        kept.to_str().unwrap(),
        "--extra-files",
        tree.to_str().unwrap(),
        "--secret-file",
        &file,
        "--secret-file",
        "-:/etc/from-stdin",
    ];
    let (ended, seen) = std::thread::scope(|scope| {
        let watching = scope.spawn(|| watch(&all, &over, &looks));
        let mut install = machine.command("install", "encrypted", &more);
        install.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = install.spawn().unwrap();
        child.stdin.take().unwrap().write_all(FROM_STDIN.as_bytes()).unwrap();
        let ended = Ended::of(&child.wait_with_output().unwrap());
        over.store(true, Ordering::Relaxed);
        (ended, watching.join().unwrap())
    });
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(seen, [""; 0], "in {} looks at all processes", looks.load(Ordering::Relaxed));
    assert!(looks.load(Ordering::Relaxed) > 20, "nobody has looked");

    // What anybody could read later: what was said, logs, journal, caches, sockets, the installer's jobs, the temporary directory.
    let said = format!("{}{}", ended.stdout, ended.stderr);
    for canary in &all {
        let name = String::from_utf8_lossy(canary);
        assert!(!said.contains(&*name), "{name} was said");
        let places = ["state", "cache", "run", "machine/home"].map(|place| home.path(place));
        let places: Vec<&Path> = places.iter().map(PathBuf::as_path).collect();
        assert_eq!(with(canary, &places), "", "{name}");
    }
    // On the disks each is once, in its own file; the age file's content is nowhere, since this machine has no agenix.
    let times = all.each_ref().map(|canary| on_disk(&machine, canary));
    assert_eq!(times, [0, 1, 1, 1, 1]);
    let files = "cd /; for file in etc/from-file etc/from-stdin etc/tree/file; do stat -c '%a %u:%g %n' $file; cat $file; echo; done";
    let expected = format!(
        "600 0:0 etc/from-file\n{FROM_FILE}\n600 0:0 etc/from-stdin\n{FROM_STDIN}\n644 0:0 etc/tree/file\n{FROM_TREE}\n"
    );
    assert_eq!(machine.inside(files), expected);
}
