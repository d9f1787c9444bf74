//! Looking at the machine's processes (proc(5)), and sending them signals.

use super::pace::{pace, paced};
use std::process::Command;
use std::time::{Duration, Instant};

/// A process as it was seen.
#[derive(Debug, Clone)]
pub struct Process {
    pub id: u32,
    parent: u32,
    is_zombie: bool,
    /// With the id, this is the process and no later one.
    started: u64,
    pub name: String,
}

impl Process {
    fn read(id: u32) -> Option<Self> {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        // The name stands in brackets and may itself hold blanks and brackets.
        let (head, tail) = stat.rsplit_once(") ")?;
        let fields: Vec<&str> = tail.split(' ').collect();
        Some(Self {
            id,
            parent: fields.get(1)?.parse().ok()?,
            is_zombie: fields.first()? == &"Z",
            started: fields.get(19)?.parse().ok()?,
            name: head.split_once('(')?.1.to_owned(),
        })
    }

    /// Whether it still runs.
    pub fn is_alive(&self) -> bool {
        Self::read(self.id).is_some_and(|now| now.started == self.started && !now.is_zombie)
    }
}

/// The processes that `parent` has started and not yet waited for.
pub fn children(parent: u32) -> Vec<Process> {
    let entries = std::fs::read_dir("/proc").expect("these tests look into /proc: Linux only");
    let ids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    ids.filter_map(Process::read).filter(|process| process.parent == parent).collect()
}

/// The same, with the children's children.
pub fn descendants(parent: u32) -> Vec<Process> {
    let mut found = children(parent);
    let mut next = 0;
    while let Some(process) = found.get(next) {
        found.extend(children(process.id));
        next += 1;
    }
    found
}

/// Sends the signal `name` (`INT`, `KILL` …) to one process.
pub fn signal(id: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &id.to_string()]).status();
    assert!(status.unwrap().success(), "kill -s {name} {id}");
}

/// Looks again and again until `holds`; what it waited for in vain is the failure.
#[track_caller]
pub fn until(what: &str, holds: impl FnMut() -> bool) {
    until_within(120, what, holds);
}

/// The same, for what takes its time: so many seconds on an idle machine.
#[track_caller]
pub fn until_within(seconds: u64, what: &str, mut holds: impl FnMut() -> bool) {
    let (start, deadline) = (Instant::now(), paced(seconds));
    while !holds() {
        assert!(
            start.elapsed() < deadline,
            "waited {deadline:.0?} in vain until {what} (pace {:.1})",
            pace()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}
