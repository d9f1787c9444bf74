//! What is remembered, and what becomes of a file that cannot be read.

use super::*;

fn nas() -> Key {
    Key::of(&"nas".parse().unwrap(), "github:me/x", &"root@nas".parse().unwrap())
}

#[test]
fn an_unreadable_journal_is_reported_and_can_be_renamed() {
    for (text, why) in [
        ("{", "is broken"),
        ("", "is broken"),
        (r#"{"version":2}"#, "is broken"),
        (r#"{"version":1}"#, "was written by an older landfall"),
        (r#"{"version":9,"agreed":5}"#, "was written by a newer landfall"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(nas().file_name());
        std::fs::write(&path, text).unwrap();
        let error = Journal::open(dir.path(), &nas()).unwrap_err();
        let said = format!("{error:#}");
        assert!(said.contains(why) && said.contains(path.to_str().unwrap()), "{said}");
        let journal = Journal::open_anew(dir.path(), &nas()).unwrap();
        assert_eq!(journal.record().target, "root@nas");
        let kept = std::fs::read_dir(dir.path()).unwrap().flatten();
        let kept = kept.filter(|entry| std::fs::read(entry.path()).unwrap() == text.as_bytes());
        assert!(kept.filter(|entry| !entry.path().ends_with(".lock")).count() >= 1);
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
