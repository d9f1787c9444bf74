//! `landfall disk` on a scratch machine: it shows what is there, and changes nothing.

use crate::common::events::events;
use crate::common::scratch::Scratch;
use serde_json::Value;
use std::process::Command;

/// The last event of a run that has gone well.
fn last(stdout: &str) -> Value {
    events(stdout).pop().unwrap()
}

#[test]
fn the_disks_are_listed_and_nothing_is_changed() {
    let scratch = Scratch::new();
    let before = scratch.disk_hashes();
    let ended = scratch.run("disk list", "scratch", &["--json"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let event = last(&ended.stdout);
    assert_eq!(event["event"], "disks");
    let disks = event["listing"]["disks"].as_array().unwrap();
    let named = |name: &str| disks.iter().find(|disk| disk["name"] == name).unwrap();
    assert_eq!(named("a-system")["serial"], "S0001");
    assert_eq!(named("a-system")["device"], "/dev/disk/by-id/ata-SCRATCH_DISK_S0001");
    assert_eq!(named("b-boot")["serial"], "S0002");
    assert_eq!(named("b-boot")["differs"], Value::Array(Vec::new()), "{event:#}");
    assert_eq!(event["listing"]["pools"], Value::Array(Vec::new()));
    let ended = scratch.run("disk list", "scratch", &[]);
    assert!(ended.stdout.contains("S0001") && !ended.stderr.contains("S0001"), "{ended:#?}");
    assert!(ended.stderr.contains("… looking at "), "{ended:#?}");

    // There is no pool of which a disk could be replaced.
    let refused = scratch.run("disk replace", "scratch", &["--plan"]);
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    assert!(refused.stderr.contains("[replace-no-pool]"), "{}", refused.stderr);

    let path = scratch.home.path("disks.nix");
    let out = ["--out", path.to_str().unwrap()];
    let ended = scratch.run("disk inventory", "scratch", &out);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let written = std::fs::read_to_string(&path).unwrap();
    let mut eval = Command::new("nix");
    let eval = eval.args(["eval", "--json", "--file"]).arg(&path).output().unwrap();
    assert!(eval.status.success(), "it is no Nix: {eval:?}\n{written}");
    let read: Value = serde_json::from_slice(&eval.stdout).unwrap();
    assert_eq!(read["a-system"], "/dev/disk/by-id/ata-SCRATCH_DISK_S0001");
    assert_eq!(read["b-boot"], "/dev/disk/by-id/ata-SCRATCH_DISK_S0002");

    // What is there stays; without a file it is shown.
    std::fs::write(&path, "mine").unwrap();
    let refused = scratch.run("disk inventory", "scratch", &out);
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    assert!(refused.stderr.contains("is there already"), "{}", refused.stderr);
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    let shown = scratch.run("disk inventory", "scratch", &[]);
    assert_eq!(shown.stdout, written);
    let replaced = scratch.run("disk inventory", "scratch", &[out[0], out[1], "--replace"]);
    assert_eq!(replaced.code, Some(0), "{replaced:#?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), written);
    assert_eq!(scratch.disk_hashes(), before);
}
