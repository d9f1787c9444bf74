//! The plan for people, for programs (`docs/schema/plan.json`), and in one word: its digest.

use super::step::{Disko, Install};
use super::{
    Action, ERASE_FIRMWARE, HostKeyPlan, KeptDataset, KeptPool, Place, Plan, PlannedDisk,
    PlannedPool, Step, Terms,
};
use crate::findings::{Finding, Severity};
use crate::machine::fingerprint;
use crate::nix::StorePath;
use crate::report::{Document, Event, ReportedFinding, StepName, one_line, to_json};
use serde::Serialize;
use std::fmt::Write as _;

/// Version of the plan's JSON form. It grows when a field changes its meaning or goes away.
pub(crate) const PLAN_VERSION: u32 = 1;

/// The plan for programs.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PlanDocument {
    /// [`PLAN_VERSION`].
    pub version: u32,
    /// HOST as it was given.
    pub host: String,
    /// TARGET as it was given.
    pub target: String,
    /// Store path of the system.
    pub toplevel: String,
    /// Store path of the script that lays out the disks.
    pub disko_script: String,
    /// Fingerprint of the target's host key, where this is the first contact.
    pub first_contact: Option<String>,
    /// Fingerprint of the host key that is supplied.
    pub host_key: Option<String>,
    /// Codes of the findings that are accepted with `--accept`.
    pub accepted: Vec<String>,
    /// What is placed for the first boot: path, mode and owner in words.
    pub files: Vec<String>,
    /// Who builds the system.
    pub built_on: Place,
    /// The disks of the layout in its order, then the others.
    pub disks: Vec<DiskDocument>,
    /// The pools that the layout makes.
    pub pools: Vec<PlannedPool>,
    /// The pools that are kept.
    pub kept: Vec<KeptDocument>,
    /// Store path of the script that creates only what is missing, where something is kept.
    pub format_script: Option<String>,
    /// The steps, in order.
    pub steps: Vec<StepDocument>,
    /// What was found, errors first.
    pub findings: Vec<ReportedFinding>,
    /// All that is agreed to.
    pub terms: Terms,
    /// The first 128 bits of the SHA-256 of the terms' JSON text with sorted keys, in hexadecimal digits.
    pub digest: String,
}

/// A disk, and what becomes of it.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct DiskDocument {
    /// Its name in the layout.
    pub name: Option<String>,
    /// Its path in the layout; none for another disk, whose name may differ after the next boot.
    pub device: Option<String>,
    /// What becomes of it.
    pub action: Action,
    /// Model; none if the disk is not seen, empty if unknown.
    pub model: Option<String>,
    /// Serial number; none if the disk is not seen, empty if unknown.
    pub serial: Option<String>,
    /// World-wide name; none if the disk is not seen, empty if unknown.
    pub wwn: Option<String>,
    /// Bytes.
    pub size: Option<u64>,
    /// What is on it, in words; empty if nothing is recognised.
    pub holds: String,
}

/// A pool that is kept.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct KeptDocument {
    /// Its name.
    pub pool: String,
    /// Its GUID in decimal digits, as text: it has more than a number in JSON is sure to keep.
    pub guid: Option<String>,
    /// How many members it has.
    pub members: Option<usize>,
    /// How many of them are there.
    pub present: Option<usize>,
    /// The datasets that the layout declares in it.
    pub datasets: Vec<KeptDataset>,
}

/// A step.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StepDocument {
    /// Its name.
    pub step: StepName,
    /// What it will do, in words.
    pub will: String,
}

impl Document for Plan {
    fn text(&self) -> String {
        let mut text = format!("{} on {}:\n", self.host, self.target);
        if let Some(key) = &self.first_contact {
            let _ = writeln!(
                text,
                "  host key {key}\n         this is the first contact with this machine: compare the key with the one on its console"
            );
        }
        for line in self.disks.iter().flat_map(PlannedDisk::lines) {
            let _ = writeln!(text, "  {}", one_line(&line));
        }
        let is_unseen = self.wiped().any(|disk| disk.found.is_none());
        if is_unseen && self.disks.iter().any(|disk| disk.name.is_none()) {
            let _ = writeln!(
                text,
                "         one of the disks that are kept may be a disk of the layout that is not seen: --yes agrees to that, too"
            );
        }
        for pool in &self.pools {
            let _ = writeln!(text, "  {:<6} {}", "make", one_line(&pool.line()));
        }
        for line in self.kept.iter().flat_map(KeptPool::lines) {
            let _ = writeln!(text, "  {}", one_line(&line));
        }
        for step in &self.steps {
            let _ = writeln!(text, "  {:<9} {}", step.name(), one_line(&step.will()));
        }
        let _ = writeln!(text, "  digest    {}", self.digest());
        text
    }

    fn json(&self) -> serde_json::Value {
        to_json(&self.document())
    }
}

impl Plan {
    /// The plan for programs.
    pub(crate) fn document(&self) -> PlanDocument {
        PlanDocument {
            version: PLAN_VERSION,
            host: self.host.clone(),
            target: self.target.to_string(),
            toplevel: self.toplevel.to_string(),
            disko_script: self.disko.to_string(),
            first_contact: self.first_contact.clone(),
            host_key: self.supplied_key().and_then(fingerprint),
            accepted: self.accepted.clone(),
            files: self.files.clone(),
            built_on: self.built.place,
            disks: self.disks.iter().map(DiskDocument::of).collect(),
            pools: self.pools.clone(),
            kept: self.kept.iter().map(KeptDocument::of).collect(),
            format_script: self.format_script().map(ToString::to_string),
            steps: self.steps.iter().map(StepDocument::of).collect(),
            findings: self.findings.iter().map(Finding::reported).collect(),
            terms: self.terms().lasting(),
            digest: self.digest(),
        }
    }

    /// The script that creates only what is missing, where something is kept.
    fn format_script(&self) -> Option<&StorePath> {
        self.steps.iter().find_map(|step| match step {
            Step::Disko(Disko { format, .. }) => format.as_ref().map(|format| &format.out),
            _ => None,
        })
    }

    /// The public half of the host key that is supplied, `type base64`.
    fn supplied_key(&self) -> Option<&str> {
        self.steps.iter().find_map(|step| match step {
            Step::Install(Install { host_keys: HostKeyPlan::Place { public, .. }, .. }) => {
                Some(&**public)
            }
            _ => None,
        })
    }
}

impl DiskDocument {
    fn of(disk: &PlannedDisk) -> Self {
        let found = disk.found.as_ref();
        Self {
            name: disk.name.clone(),
            device: disk.name.as_ref().map(|_| disk.device.clone()),
            action: disk.action,
            model: found.map(|disk| disk.model.clone()),
            serial: found.map(|disk| disk.serial.clone()),
            wwn: found.map(|disk| disk.wwn.clone()),
            size: found.map(|disk| disk.size),
            holds: disk.holds.clone(),
        }
    }
}

impl KeptDocument {
    fn of(pool: &KeptPool) -> Self {
        let seen = pool.seen.as_ref();
        Self {
            pool: pool.name.clone(),
            guid: seen.map(|seen| seen.guid.to_string()),
            members: seen.map(|seen| seen.expected.len()),
            present: seen.map(|seen| seen.present.len()),
            datasets: pool.datasets.clone(),
        }
    }
}

impl StepDocument {
    fn of(step: &Step) -> Self {
        Self { step: step.name(), will: step.will() }
    }
}

impl Severity {
    /// Its name, in events and in the documentation.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Finding {
    /// The finding as an event.
    pub(crate) fn event(&self) -> Event {
        Event::Finding(self.reported())
    }

    /// The finding as events and plans have it.
    pub(crate) fn reported(&self) -> ReportedFinding {
        let Self { kind, what, hint } = self;
        ReportedFinding {
            code: kind.code,
            severity: kind.severity.name(),
            what: what.clone(),
            why: kind.why,
            hint: hint.clone(),
        }
    }

    /// Whether it stands in the way: an error that is not accepted.
    pub(crate) fn refuses(&self, accepted: &[String]) -> bool {
        let may_be = self.kind.acceptable || self.kind.code == ERASE_FIRMWARE;
        let is_accepted = may_be && accepted.iter().any(|code| code == self.kind.code);
        self.kind.severity == Severity::Error && !is_accepted
    }
}
