//! What is remembered, and what becomes of a file that cannot be read.

use super::*;
use std::collections::BTreeSet;

#[test]
fn names_differ_where_pairs_do() {
    let name = |host: &str, target: &str| file_name(host, target, DIGEST);
    assert_ne!(name("a", "b-c"), name("a", "b.c"));
    assert_ne!(name("a#b", "c"), name("a", "b#c"));
    assert!(name("helios64", "root@nas").starts_with("helios64--root-nas-"));
}

/// Targets whose names read the same where they can be read.
#[test]
fn no_pair_has_the_journal_of_another() {
    let names = |bytes| -> BTreeSet<String> {
        let target = |number| format!("{}{number}", "x".repeat(70));
        (0..2000).map(|number| file_name("nas", &target(number), bytes)).collect()
    };
    assert_eq!(names(DIGEST).len(), 2000);
    assert!(names(2).len() < 2000, "as it was before");
}

#[test]
fn a_journal_of_the_shorter_name_is_found_by_its_pair_alone() {
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join(file_name("nas", "root@nas", 2));
    let record = |target: &str| {
        let record = Record {
            version: VERSION,
            host: "nas".into(),
            target: target.into(),
            installed_keys: vec!["ssh-ed25519 AAAA".into()],
            ..Record::default()
        };
        std::fs::write(&before, serde_json::to_string(&record).unwrap()).unwrap();
    };
    record("root@other");
    assert!(Journal::open(dir.path(), "nas", "root@nas").unwrap().record.installed_keys.is_empty());
    record("root@nas");
    let mut journal = Journal::open(dir.path(), "nas", "root@nas").unwrap();
    assert_eq!(journal.record.installed_keys.len(), 1);
    journal.end(0, "").unwrap();
    assert!(journal.path == before, "whoever holds its lock is heard");
}

#[test]
fn what_cannot_be_read_is_told_and_can_be_put_aside() {
    for (text, why) in [
        ("{", "is broken"),
        ("", "is broken"),
        (r#"{"version":2}"#, "is broken"),
        (r#"{"version":1}"#, "is of an older landfall"),
        (r#"{"version":9,"agreed":5}"#, "is of a newer landfall"),
    ] {
        for bytes in [DIGEST, 2] {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join(file_name("nas", "root@nas", bytes));
            std::fs::write(&path, text).unwrap();
            let error = Journal::open(dir.path(), "nas", "root@nas").unwrap_err();
            let said = format!("{error:#}");
            assert!(said.contains(why) && said.contains(path.to_str().unwrap()), "{said}");
            let journal = Journal::open_anew(dir.path(), "nas", "root@nas").unwrap();
            assert_eq!(journal.record().target, "root@nas");
            let kept = std::fs::read_dir(dir.path()).unwrap().flatten();
            let kept = kept.filter(|entry| std::fs::read(entry.path()).unwrap() == text.as_bytes());
            assert!(kept.filter(|entry| !entry.path().ends_with(".lock")).count() >= 1);
        }
    }
}

#[test]
fn a_run_is_unfinished_until_it_has_ended_well() {
    let mut record = Record::default();
    assert!(!record.is_unfinished(), "nobody has agreed to anything");
    record.agreed = Some(crate::plan::worlds::agreed());
    assert!(record.is_unfinished());
    let entry = Entry { boot: "b1".into(), began: 1, finished: None };
    record.steps.insert(StepName::Kexec, entry);
    assert!(record.is_leaving("b1") && !record.is_leaving("b2"));
    record.ended = Some(Ended { exit: 8, what: "it cannot kexec".into() });
    assert!(record.is_unfinished() && !record.is_leaving("b1"), "it was seen not to go");
    record.ended = Some(Ended { exit: 0, what: String::new() });
    assert!(!record.is_unfinished() && record.is_done() && !record.is_leaving("b1"));
}
