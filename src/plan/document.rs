//! The plan for people, for programs (`docs/plan.md`), and in one word: its digest.

use super::step::{Disko, Install};
use super::{ERASE_FIRMWARE, HostKeyPlan, KeptPool, Plan, PlannedDisk, Step};
use crate::findings::{Finding, Severity};
use crate::machine::fingerprint;
use crate::nix::StorePath;
use crate::report::{Event, one_line};
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Version of the plan's JSON form. It grows when a field changes its meaning or goes away.
pub const PLAN_VERSION: u32 = 1;

impl Plan {
    /// The plan for programs.
    pub fn document(&self) -> Value {
        let mut document = self.core();
        document["digest"] = json!(self.digest());
        document["findings"] = self.findings.iter().map(finding).collect();
        let steps = |step: &Step| json!({ "step": step.name(), "will": step.will() });
        // What follows from the layout and the disks: nobody agrees to it besides.
        document["pools"] = json!(self.pools);
        document["steps"] = self.steps.iter().map(steps).collect();
        document["terms"] = json!(self.terms().lasting());
        document
    }

    fn core(&self) -> Value {
        json!({
            "version": PLAN_VERSION,
            "host": self.host,
            "target": self.target.to_string(),
            "toplevel": self.toplevel,
            "disko_script": self.disko,
            "first_contact": self.first_contact,
            "host_key": self.supplied_key().and_then(fingerprint),
            "accepted": self.accepted,
            "files": self.files,
            "built_on": self.built.place,
            "disks": self.disks.iter().map(disk).collect::<Value>(),
            "kept": self.kept.iter().map(kept).collect::<Value>(),
            "format_script": self.format_script(),
        })
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

    /// The plan for people, line by line.
    pub fn text(&self) -> String {
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
            let _ = writeln!(text, "  {:<8} {}", step.name(), one_line(&step.will()));
        }
        let _ = writeln!(text, "  digest   {}", self.digest());
        text
    }
}

fn disk(disk: &PlannedDisk) -> Value {
    let found = disk.found.as_ref();
    json!({
        "name": disk.name,
        // The kernel's own name may be another one after the next boot.
        "device": disk.name.as_ref().map(|_| &disk.device),
        "action": disk.action,
        "model": found.map(|disk| &disk.model),
        "serial": found.map(|disk| &disk.serial),
        "wwn": found.map(|disk| &disk.wwn),
        "size": found.map(|disk| disk.size),
        "holds": disk.holds,
    })
}

fn kept(pool: &KeptPool) -> Value {
    let seen = pool.seen.as_ref();
    json!({
        "pool": pool.name,
        // As text: it has more digits than a number in JSON is sure to keep.
        "guid": seen.map(|seen| seen.guid.to_string()),
        "members": seen.map(|seen| seen.expected.len()),
        "present": seen.map(|seen| seen.present.len()),
        "datasets": pool.datasets,
    })
}

fn finding(finding: &Finding) -> Value {
    json!({
        "code": finding.kind.code,
        "severity": finding.kind.severity,
        "what": finding.what,
        "why": finding.kind.why,
        "hint": finding.hint,
    })
}

impl Severity {
    /// Its name, in events and in the documentation.
    pub fn name(self) -> &'static str {
        match self {
            Self::Warning => "warning",
            Self::Error => "error",
        }
    }
}

impl Finding {
    /// The finding as an event.
    pub fn event(&self) -> Event {
        let Self { kind, what, hint } = self;
        let (code, severity, why) = (kind.code, kind.severity.name(), kind.why);
        Event::Finding { code, severity, what: what.clone(), why, hint: hint.clone() }
    }

    /// Whether it stands in the way: an error nobody has taken upon themselves.
    pub fn refuses(&self, accepted: &[String]) -> bool {
        let may_be = self.kind.acceptable || self.kind.code == ERASE_FIRMWARE;
        let taken = may_be && accepted.iter().any(|code| code == self.kind.code);
        self.kind.severity == Severity::Error && !taken
    }
}
