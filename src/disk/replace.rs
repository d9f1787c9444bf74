//! What replacing a disk will do, and what speaks against it. Nothing is done here.

use super::Known;
use crate::plan::Finding;
use crate::plan::storage::{ReplacementWishes, plan_replacement};
use crate::report::{Event, Exit, Failure, Report};

/// What the user asked for, understood.
#[derive(Debug, Clone, Default)]
pub struct ReplaceWishes {
    /// Which disk goes, which comes.
    pub disks: ReplacementWishes,
    /// Codes of errors that the user takes upon themselves.
    pub accept: Vec<String>,
}

/// Shows the plan; refuses where a finding does.
pub(super) fn plan(known: &Known, wishes: &ReplaceWishes, report: &Report) -> Result<(), Failure> {
    let Known { host, found, storage } = known;
    let planned = plan_replacement(host, found, storage, &wishes.disks);
    let findings = match &planned {
        Ok(replacement) => &replacement.findings,
        Err(findings) => findings,
    };
    report.emit_all(findings.iter().map(Finding::event));
    if let Ok(replacement) = &planned {
        let (text, document) = (replacement.text(), replacement.document());
        report.emit(Event::DiskReplacement { text, replacement: Box::new(document) });
    }
    let refusing = findings.iter().filter(|finding| finding.refuses(&wishes.accept));
    let codes: Vec<String> = refusing.map(|finding| format!("[{}]", finding.kind.code)).collect();
    if codes.is_empty() {
        return Ok(());
    }
    let what = format!("the disk cannot be replaced so, because of {}", codes.join(" "));
    Err(Failure::new(Exit::Refused, what).hint("mend what is said above, and run the same again"))
}
