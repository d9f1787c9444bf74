//! A replacement for people and for programs: what goes, what comes, and by which commands.

use super::incoming::NewDisk;
use super::partition::sfdisk;
use super::replacement::{OldMember, Replacement, forbids_new_disk};
use crate::facts::Extent;
use crate::machine::Script;
use crate::report::{Document, StepName, size, to_json};
use serde::Serialize;
use std::fmt::Write as _;

/// A replacement for programs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ReplacementDocument {
    /// The member that goes.
    pub old: OldDocument,
    /// The disk that comes; none as long as it is not there.
    pub new: Option<NewDisk>,
    /// How many more disks must fail, at the least, until the pool is lost, once the member is out.
    pub failures_to_lose: usize,
    /// Bytes that the new member must have.
    pub least_bytes: Option<u64>,
    /// Bytes of a sector of the new disk, at the most.
    pub largest_sector: Option<u64>,
    /// What is to be done, in its order.
    pub tasks: Vec<Task>,
}

/// The member that goes.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OldDocument {
    /// Its pool.
    pub pool: String,
    /// The top-level vdev it belongs to: `raidz1-0`; its own name where it is one itself.
    pub vdev: String,
    /// Its GUID in decimal digits, as text: it has more than a number in JSON can hold.
    pub guid: Option<String>,
    /// Its state.
    pub state: String,
    /// Its path, now or when it was last there.
    pub path: Option<String>,
    /// Its name in the layout.
    pub bay: Option<String>,
    /// Its serial number.
    pub serial: Option<String>,
    /// Kernel name of the disk, if it is there.
    pub disk: Option<String>,
}

/// One thing to be done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Task {
    /// In a word.
    #[serde(rename = "task")]
    pub name: StepName,
    /// In words.
    pub(crate) will: String,
    /// What root runs on the target, each a line for its shell; empty for what a person does.
    pub(crate) commands: Vec<String>,
}

impl Replacement {
    /// Everything that is to be done, in its order. What needs the new disk is left out as long as that is not known.
    pub(crate) fn tasks(&self) -> Vec<Task> {
        let (pool, member) = (self.old.pool.as_str(), self.member());
        let mut tasks = Vec::new();
        let mut add = |name, will: String, commands| tasks.push(Task { name, will, commands });
        let Some(new) = self.new.as_ref().filter(|_| self.is_ready()) else {
            if matches!(self.old.state.as_str(), "ONLINE" | "DEGRADED") {
                let will = format!("{} is not read or written any more", self.who());
                add(StepName::Offline, will, vec![line(&["zpool", "offline", pool, &member])]);
            }
            let will = format!("take out {}, and put in {}", self.who(), self.asks_for());
            add(StepName::Swap, will, Vec::new());
            return tasks;
        };
        let will = format!("{} ({}) is laid out as the flake says", new.device, new.serial);
        add(StepName::Partition, will, self.partition(new));
        let will = format!("{} takes the place of {}", new.serial, self.who());
        add(StepName::Replace, will, vec![line(&["zpool", "replace", pool, &member, &new.member])]);
        let will = "the resilver continues on its own, watched or not".to_owned();
        add(StepName::Follow, will, vec![line(&["zpool", "wait", "-t", "resilver", pool])]);
        let will = format!("{pool} must be ONLINE, without errors");
        add(StepName::Prove, will, vec![line(&["zpool", "status", "-P", pool])]);
        tasks
    }

    /// How ZFS knows the member that goes, whatever stands at its path: its GUID.
    fn member(&self) -> String {
        let guid = self.old.guid.map(|guid| guid.to_string());
        guid.or_else(|| self.old.path.clone()).unwrap_or_default()
    }

    /// Empties the new disk, and makes the partitions of the layout on it. sfdisk and wipefs are on every NixOS, as sgdisk,
    /// which disko uses, is not.
    fn partition(&self, new: &NewDisk) -> Vec<String> {
        // A label that a later partition brings to light again would keep ZFS from taking it.
        let clear = |volume: &String| line(&["zpool", "labelclear", "-f", volume]);
        let mut commands: Vec<String> = new.labelled.iter().map(clear).collect();
        if self.layout.partitions.is_empty() {
            commands.push(line(&["wipefs", "--all", &new.device]));
            return commands;
        }
        let partitions = &self.layout.partitions;
        // Where they do not fit, a finding forbids it.
        let extents = self.layout.extents(Some(new.size), new.sector);
        let extents = extents.unwrap_or_else(|_| vec![Extent::default(); partitions.len()]);
        let wanted = partitions.iter().zip(extents).map(|(part, extent)| sfdisk(part, extent));
        let table = std::iter::once("label: gpt".to_owned()).chain(wanted);
        let table: Vec<String> = table.map(|row| line(&[&row])).collect();
        let sfdisk = ["sfdisk", "--wipe", "always", "--wipe-partitions", "always", &new.device];
        commands.push(format!(r"printf '%s\n' {} | {}", table.join(" "), line(&sfdisk)));
        let there = format!("--exit-if-exists={}", new.member);
        commands.push(line(&["udevadm", "settle", "--timeout=60", &there]));
        commands
    }

    /// The member that goes, for people: `bay3 (serial WD-…)`.
    pub(crate) fn who(&self) -> String {
        let old = &self.old;
        let serial = old.serial.as_ref().map(|serial| format!("serial {serial}"));
        let path = || old.path.clone().unwrap_or_else(|| "an unknown disk".to_owned());
        match (&old.bay, serial) {
            (Some(bay), Some(serial)) => format!("{bay} ({serial})"),
            (Some(bay), None) => bay.clone(),
            (None, Some(serial)) => format!("the disk with the {serial}"),
            (None, None) => path(),
        }
    }

    /// All names of the member that goes: its GUID, its serial number, its name in the layout, its path.
    pub(crate) fn names(&self) -> Vec<String> {
        let old = &self.old;
        let guid = old.guid.map(|guid| guid.to_string());
        [guid, old.serial.clone(), old.bay.clone(), old.path.clone()]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether a disk is there that can take the place, if what it holds may be lost.
    pub(crate) fn is_ready(&self) -> bool {
        self.new.is_some() && !self.findings.iter().any(forbids_new_disk)
    }

    /// The question. `host`: what is to be typed.
    pub(crate) fn question(&self, host: &str) -> String {
        let OldMember { pool, .. } = &self.old;
        let comes = match &self.new {
            Some(new) if self.is_ready() => {
                format!("that the disk with the serial number {} loses what is on it", new.serial)
            }
            _ => "that an empty disk which is put in takes its place".to_owned(),
        };
        format!(
            "You agree that {} leaves the pool {pool}, and {comes}.\n\
             Type the host's name ({host}) to continue: ",
            self.who()
        )
    }

    /// What the place asks of a disk: `a disk of at least 4.0 TB, with sectors of up to 4096 bytes`.
    pub(crate) fn asks_for(&self) -> String {
        let bytes = self.need.bytes.map(|bytes| {
            // Tables and alignment come on top.
            let bytes = bytes.saturating_add(2 << 20);
            format!(" of at least {} ({bytes} bytes)", size(bytes))
        });
        let sector = self.need.sector.map(|bytes| format!(", with sectors of up to {bytes} bytes"));
        format!("a disk{}{}", bytes.unwrap_or_default(), sector.unwrap_or_default())
    }

    /// For programs.
    pub(crate) fn document(&self) -> ReplacementDocument {
        let old = &self.old;
        ReplacementDocument {
            old: OldDocument {
                pool: old.pool.clone(),
                vdev: old.vdev.clone(),
                guid: old.guid.map(|guid| guid.to_string()),
                state: old.state.clone(),
                path: old.path.clone(),
                bay: old.bay.clone(),
                serial: old.serial.clone(),
                disk: old.disk.clone(),
            },
            new: self.new.clone(),
            failures_to_lose: self.margin,
            least_bytes: self.need.bytes,
            largest_sector: self.need.sector,
            tasks: self.tasks(),
        }
    }
}

impl Document for Replacement {
    fn text(&self) -> String {
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
            2 => "until it is resilvered, one more disk may fail".to_owned(),
            count => format!("until it is resilvered, {} more disks may fail", count - 1),
        };
        let _ = writeln!(text, "           {left}");
        for Task { name, will, commands } in self.tasks() {
            let _ = writeln!(text, "  {name:<8} {will}");
            for command in commands {
                let _ = writeln!(text, "           # {command}");
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.document())
    }
}

/// A line for a shell.
fn line(words: &[&str]) -> String {
    let (program, rest) = words.split_first().unwrap_or((&"true", &[]));
    Script::command(program).args(rest.iter().copied()).line()
}
