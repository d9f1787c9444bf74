//! `landfall status`: the runs there were, from their journals.

use super::{Command, Invocation};
use crate::journal::{self, Invoked, Record, Replacing, Run};
use crate::report::{Event, Exit, Failure, Report, StepName};
use std::fmt::Write as _;

/// List the runs from this machine: how far each one got, and the command that continues it
#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,
}

impl StatusArguments {
    pub(super) fn invocation(self) -> Invocation {
        let (host, target) = (String::new(), String::new());
        let (command, json) = (Command::Status, self.json);
        Invocation { command, host, target, json, summary_file: None }
    }
}

/// Lists them, the latest first.
pub fn status(report: &Report) -> Result<(), Failure> {
    let (runs, unreadable) = journal::runs()
        .map_err(|error| Failure::new(Exit::Other, "the journals cannot be read").because(error))?;
    if runs.is_empty() && unreadable.is_empty() {
        report.note("no install has been begun from this machine yet");
    }
    for Run { record, at_work } in runs {
        if let Some(replacing) = &record.replacing {
            tell_replacement(&record, replacing, at_work, report);
            if record.agreed.is_none() {
                continue;
            }
        }
        let last = |done: bool| {
            let is_so = |step: &StepName| {
                if done { record.has_finished(*step) } else { record.has_begun(*step) }
            };
            StepName::OF_AN_INSTALL.into_iter().rev().find(is_so)
        };
        let (begun, finished) = (last(false), last(true));
        let state = match &record.ended {
            _ if at_work => "at work",
            Some(ended) if ended.exit == 0 => "done",
            Some(_) => "failed",
            None if record.agreed.is_none() => "not begun",
            None => "cut off",
        };
        let Invoked { command, log } = record.invoked;
        let (exit, why) = record.ended.map(|ended| (ended.exit, ended.what)).unzip();
        report.emit(Event::Run {
            host: record.host,
            target: record.target,
            state,
            began: record.began,
            changed: record.changed,
            begun,
            finished,
            exit,
            why: why.filter(|what| !what.is_empty()),
            log,
            command,
        });
    }
    for text in unreadable {
        report.note(text);
    }
    Ok(())
}

fn tell_replacement(record: &Record, replacing: &Replacing, at_work: bool, report: &Report) {
    let Record { host, target, .. } = record;
    let Replacing { who, pool, invoked: Invoked { command, log }, .. } = replacing;
    let how = match replacing.finished {
        Some(_) => "was replaced",
        None if at_work => "is being replaced",
        None => "is to be replaced: the same command continues",
    };
    let mut text = format!("{host} on {target}: {who} of the pool {pool} {how}");
    if let Some(command) = command.as_ref().filter(|_| replacing.finished.is_none() && !at_work) {
        let _ = write!(text, ":\n  {command}");
    }
    if let Some(log) = log {
        let _ = write!(text, "\nlog: {log}");
    }
    report.note(text);
}
