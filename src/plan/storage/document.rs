//! A replacement for people and for programs: what goes, what comes, and by which commands.

use super::replacement::Replacement;
use crate::facts::DeclaredPartition;
use crate::machine::Script;
use crate::report::size;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// In a word: `offline`, `swap`, `wait`, `partition`, `replace`, `follow`, `prove`.
    pub name: &'static str,
    /// In words.
    pub will: String,
    /// What root runs on the target; empty for what a person does.
    pub commands: Vec<Script>,
}

impl Replacement {
    /// Everything that is to be done, in its order. What needs the new disk is left out as long as that is not known.
    pub fn tasks(&self) -> Vec<Task> {
        let old = &self.old;
        let guid = old.guid.map(|guid| guid.to_string());
        let member = guid.or_else(|| old.path.clone()).unwrap_or_default();
        let pool = old.pool.as_str();
        let zpool = |words: &[&str]| vec![Script::command("zpool").args(words.iter().copied())];
        let mut tasks = Vec::new();
        let mut add = |name, will: String, commands| tasks.push(Task { name, will, commands });
        if matches!(old.state.as_str(), "ONLINE" | "DEGRADED") {
            let will = format!("{} is not read or written any more", self.who());
            add("offline", will, zpool(&["offline", pool, &member]));
        }
        let Some(new) = &self.new else {
            let will = format!("take out {}, and put in {}", self.who(), self.asks_for());
            add("swap", will, Vec::new());
            return tasks;
        };
        let partition = |(at, part): (usize, &DeclaredPartition)| {
            Script::command("sgdisk").args(sgdisk(at + 1, part)).arg(new.device.clone())
        };
        if !self.layout.partitions.is_empty() {
            let clear = Script::command("sgdisk").args(["--zap-all", &new.device]);
            let each = self.layout.partitions.iter().enumerate().map(partition);
            let will = format!("{} ({}) is laid out as the flake says", new.device, new.serial);
            add("partition", will, std::iter::once(clear).chain(each).collect());
        }
        let will = format!("{} takes the place of {}", new.serial, self.who());
        add("replace", will, zpool(&["replace", pool, &member, &new.member]));
        let will = "the resilver goes on by itself, whoever watches".to_owned();
        add("follow", will, zpool(&["wait", "-t", "resilver", pool]));
        let will = format!("{pool} must be ONLINE, without errors");
        add("prove", will, zpool(&["status", "-P", pool]));
        tasks
    }

    /// The member that goes, for people: `bay3 (serial WD-…)`.
    fn who(&self) -> String {
        let old = &self.old;
        let serial = old.serial.as_ref().map(|serial| format!("serial {serial}"));
        let path = || old.path.clone().unwrap_or_else(|| "a disk that nobody knows".to_owned());
        match (&old.bay, serial) {
            (Some(bay), Some(serial)) => format!("{bay} ({serial})"),
            (Some(bay), None) => bay.clone(),
            (None, Some(serial)) => format!("the disk with the {serial}"),
            (None, None) => path(),
        }
    }

    /// What the place asks of a disk: `a disk of at least 4.0 TB, with sectors of up to 4096 bytes`.
    fn asks_for(&self) -> String {
        let bytes = self.need.bytes.map(|bytes| {
            // Tables and alignment come on top.
            let bytes = bytes.saturating_add(2 << 20);
            format!(" of at least {} ({bytes} bytes)", size(bytes))
        });
        let sector = self.need.sector.map(|bytes| format!(", with sectors of up to {bytes} bytes"));
        format!("a disk{}{}", bytes.unwrap_or_default(), sector.unwrap_or_default())
    }

    /// For people.
    pub fn text(&self) -> String {
        let old = &self.old;
        let mut text = format!("pool {}, {}:\n", old.pool, old.vdev);
        let path = old.path.as_deref().unwrap_or("path unknown");
        let _ = writeln!(text, "  out      {}: {}, {path}", self.who(), old.state);
        if let Some(new) = &self.new {
            let (serial, bytes) = (&new.serial, size(new.size));
            let _ = writeln!(text, "  in       serial {serial}: {bytes}, {}", new.device);
            let _ = writeln!(text, "           {}", new.holds);
        } else {
            let _ = writeln!(text, "  in       not there yet: {}", self.asks_for());
            for disk in &self.full {
                let _ =
                    writeln!(text, "           not empty, and meant only if you say --new: {disk}");
            }
        }
        let left = match self.margin {
            0 => "the pool does not stand without it".to_owned(),
            1 => "until it is resilvered, no other disk may fail".to_owned(),
            count => format!("until it is resilvered, {} more may fail", count - 1),
        };
        let _ = writeln!(text, "           {left}");
        for Task { name, will, commands } in self.tasks() {
            let _ = writeln!(text, "  {name:<8} {will}");
            for command in commands {
                let _ = writeln!(text, "           # {}", command.line());
            }
        }
        text
    }

    /// For programs.
    pub fn document(&self) -> Value {
        let task = |task: Task| {
            let commands: Vec<String> = task.commands.iter().map(Script::line).collect();
            json!({ "task": task.name, "will": task.will, "commands": commands })
        };
        let old = &self.old;
        json!({
            "old": {
                "pool": old.pool,
                "vdev": old.vdev,
                // It has more digits than a number in JSON can hold.
                "guid": old.guid.map(|guid| guid.to_string()),
                "state": old.state,
                "path": old.path,
                "bay": old.bay,
                "serial": old.serial,
                "disk": old.disk,
            },
            "new": self.new,
            "failures_to_lose": self.margin,
            "least_bytes": self.need.bytes,
            "largest_sector": self.need.sector,
            "tasks": self.tasks().into_iter().map(task).collect::<Value>(),
        })
    }
}

/// The words by which disko makes a partition (sgdisk(8)).
fn sgdisk(number: usize, part: &DeclaredPartition) -> Vec<String> {
    let start = part.start.as_deref().unwrap_or("0");
    let end = match part.size.as_deref() {
        None | Some("0" | "100%") => "-0".to_owned(),
        Some(size) => format!("+{size}"),
    };
    let mut words = vec![
        "--align-end".to_owned(),
        format!("--new={number}:{start}:{end}"),
        format!("--partition-guid={number}:R"),
    ];
    words.extend(part.label.as_ref().map(|label| format!("--change-name={number}:{label}")));
    words.extend(part.kind.as_ref().map(|kind| format!("--typecode={number}:{kind}")));
    words
}
