//! What replacing a disk will do, and what speaks against it. Nothing is done here.

use super::Known;
use crate::commands::disk::storage::{Replacement, ReplacementWishes, plan_replacement};
use crate::findings::Finding;
use crate::report::{Event, Exit, Failure, Report};
use std::time::Duration;

/// What the user asked for, understood.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReplaceWishes {
    /// Which disk goes, which comes.
    pub(crate) disks: ReplacementWishes,
    /// Codes of errors that the user takes upon themselves.
    pub(crate) accept: Vec<String>,
    /// Whether what the plan says is agreed to.
    pub(crate) yes: bool,
    /// How long a new disk is waited for.
    pub(crate) wait: Duration,
    /// Whether everything is read once more in the end.
    pub(crate) scrub: bool,
}

/// Shows the plan; refuses where a finding does.
pub(super) fn plan(known: &Known, wishes: &ReplaceWishes, report: &Report) -> Result<(), Failure> {
    let planned = decide(known, &wishes.disks, report)?;
    refuse(&planned.findings, &wishes.accept)
}

/// Decides, and says what was decided and what speaks against it. Without a member to take out it fails.
pub(super) fn decide(
    known: &Known,
    disks: &ReplacementWishes,
    report: &Report,
) -> Result<Replacement, Failure> {
    let Known { host, found, storage } = known;
    match plan_replacement(host, found, storage, disks) {
        Ok(planned) => {
            report.emit_all(planned.findings.iter().map(Finding::event));
            report.emit(Event::DiskReplacement { replacement: planned.clone().into() });
            Ok(planned)
        }
        Err(findings) => {
            report.emit_all(findings.iter().map(Finding::event));
            refuse(&findings, &[])?;
            Err(Failure::new(Exit::Refused, "there is no member to take out"))
        }
    }
}

/// Refuses where an error does that was not accepted.
pub(super) fn refuse(findings: &[Finding], accept: &[String]) -> Result<(), Failure> {
    let refusing: Vec<&Finding> =
        findings.iter().filter(|finding| finding.refuses(accept)).collect();
    if refusing.is_empty() {
        return Ok(());
    }
    let codes: Vec<String> =
        refusing.iter().map(|finding| format!("[{}]", finding.kind.code)).collect();
    let what = format!("the disk cannot be replaced because of {}", codes.join(" "));
    let mut hint = "fix what is listed above, and run the same command again".to_owned();
    if refusing.iter().all(|finding| finding.kind.acceptable) {
        let codes: Vec<&str> = refusing.iter().map(|finding| finding.kind.code).collect();
        hint = format!("{hint}; or accept it with --accept {}", codes.join(","));
    }
    Err(Failure::new(Exit::Refused, what).hint(hint))
}
