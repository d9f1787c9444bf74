//! Plain lines on stderr, for logs and pipes: one a step, output as it comes, progress now and then.

use super::{Event, Render, size};
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Progress and waiting are repeated this often at most.
const PACE: Duration = Duration::from_secs(5);

/// Writes lines to stderr.
#[derive(Default)]
pub(super) struct Plain {
    last_moving: Option<Instant>,
}

impl Render for Plain {
    fn event(&mut self, event: &Event) {
        if event.is_moving() {
            if self.last_moving.is_some_and(|last| last.elapsed() < PACE) {
                return;
            }
            self.last_moving = Some(Instant::now());
        }
        if let Some(line) = line(event) {
            let _ = writeln!(std::io::stderr().lock(), "{line}");
        }
    }
}

/// The event as one line (or, at the end of a run, some). Both renderers for people use these words.
pub(super) fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { .. } => return None,
        Event::Doing { what } => format!("… {what}"),
        Event::Note { text } => format!("  {text}"),
        Event::StepStarted { step, title } => format!("→ {step}: {title}"),
        Event::StepFinished { step, seconds } => format!("✓ {step} ({seconds:.1} s)"),
        Event::StepSkipped { step, why } => format!("✓ {step}: nothing to do, {why}"),
        Event::Progress { what, bytes, total } => match total {
            Some(total) => format!("  {what}: {} of {}", size(*bytes), size(*total)),
            None => format!("  {what}: {}", size(*bytes)),
        },
        Event::Waiting { what, seconds, deadline, seen } => {
            format!("  waiting for {what}: {seen}, {seconds} s of {deadline} s")
        }
        Event::Output { source, text } => format!("  {source} | {text}"),
        Event::Failed { what, why, hint, state, .. } => {
            failed(what, why, hint.as_ref(), state.as_ref())
        }
        Event::Finished { summary } => {
            format!("{} is installed and was seen running.\n{}", summary.host, summary.text())
                .trim_end()
                .to_owned()
        }
    })
}

fn failed(what: &str, why: &[String], hint: Option<&String>, state: Option<&String>) -> String {
    let mut text = format!("error: {what}");
    let causes = why.iter().map(|cause| ("because", cause));
    let rest = state.into_iter().map(|state| ("target", state));
    for (label, part) in causes.chain(rest).chain(hint.into_iter().map(|hint| ("hint", hint))) {
        let part = part.trim_end().replace('\n', "\n         ");
        let _ = write!(text, "\n{label:>7}: {part}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_reads_from_what_to_hint() {
        let event = Event::Failed {
            what: "the disko script failed".into(),
            why: vec!["running disko".into(), "exit status 1".into()],
            hint: Some("read the log\nand run again".into()),
            state: Some("in the installer".into()),
            exit: 9,
        };
        assert_eq!(
            line(&event).unwrap(),
            "error: the disko script failed\nbecause: running disko\nbecause: exit status 1\n \
             target: in the installer\n   hint: read the log\n         and run again"
        );
    }
}
