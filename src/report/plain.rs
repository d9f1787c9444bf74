//! Plain lines, for logs and pipes: one a step, output as it comes, progress now and then.
//!
//! What a command was run for goes to stdout, everything else to stderr.

use super::redact::{LEFT_OUT, without_secrets};
use super::terminal::columns;
use super::{
    AgentRequest, Event, Origin, Render, ReportedFinding, one_line, size, visible, wrapped,
};
use crate::clock::now;
use std::fmt::Write as _;
use std::io::Write as _;
use std::time::{Duration, Instant};

/// Progress and waiting are repeated this often at most.
const PACE: Duration = Duration::from_secs(5);

/// Writes lines.
#[derive(Default)]
pub(super) struct Plain {
    last_moving: Option<Instant>,
    lines: Lines,
}

impl Render for Plain {
    fn event(&mut self, _origin: &Origin, event: &Event) {
        if event.is_moving() {
            if self.last_moving.is_some_and(|last| last.elapsed() < PACE) {
                return;
            }
            self.last_moving = Some(Instant::now());
        }
        self.lines.write(event);
    }
}

/// Writes events as lines that stay: results to stdout, all else to stderr.
#[derive(Default)]
pub(super) struct Lines {
    /// The subcommand, once it is known.
    command: &'static str,
}

impl Lines {
    pub(super) fn write(&mut self, event: &Event) {
        if let Event::Started { command, .. } = event {
            self.command = command;
        }
        let is_result = is_result(event, self.command);
        let columns =
            if is_result { columns(std::io::stdout()) } else { columns(std::io::stderr()) };
        let Some(screen) = screen(event, columns) else { return };
        // A reader that went away is nobody to tell.
        let _ = if is_result {
            let mut out = std::io::stdout().lock();
            writeln!(out, "{screen}").and_then(|()| out.flush())
        } else {
            writeln!(std::io::stderr().lock(), "{screen}")
        };
    }
}

/// The event as it stands on a terminal of so many columns; in a pipe or a file, a line is as long as it is. So is what others
/// have written: a line of a build, and the disk file.
pub(crate) fn screen(event: &Event, columns: Option<usize>) -> Option<String> {
    let shown = shown(event)?;
    Some(match (event, columns) {
        (Event::Output { .. } | Event::DiskFile { .. }, _) | (_, None) => shown,
        (_, Some(columns)) => wrapped(&shown, columns).into_owned(),
    })
}

/// Whether the event is what the command was run for.
fn is_result(event: &Event, command: &str) -> bool {
    match event {
        Event::Checked { .. }
        | Event::KeysChecked { .. }
        | Event::Verified { .. }
        | Event::Disks { .. }
        | Event::DiskFile { path: None, .. }
        | Event::Run { .. } => true,
        // A check is run for what it finds; an install shows the same beside its progress, and asks.
        Event::Finding(_) | Event::Proof { .. } | Event::Plan { .. } => {
            matches!(command, "check" | "keys")
        }
        Event::Note { .. } => command == "status",
        _ => false,
    }
}

/// The event as one line (or, at the end of a run, some), as it may go to a terminal. Both renderers for people use these words.
pub(super) fn shown(event: &Event) -> Option<String> {
    line(event).map(|line| without_secrets(&visible(&line)).into_owned())
}

fn line(event: &Event) -> Option<String> {
    Some(match event {
        Event::Started { .. } => return None,
        Event::Doing { what } => format!("… {what}"),
        Event::Note { text } => format!("  {}", text.trim_end().replace('\n', "\n  ")),
        Event::Finding(found) => finding(found),
        Event::HostKey { what, path, public, fingerprint, next } => {
            format!("the host key was {what}: {path}\n  {fingerprint}\n  {public}\n{next}")
                .trim_end()
                .to_owned()
        }
        Event::Proof { proof: shown }
        | Event::Plan { plan: shown }
        | Event::Disks { listing: shown }
        | Event::DiskReplacement { replacement: shown } => shown.text().trim_end().to_owned(),
        Event::DiskFile { path: None, text } => text.trim_end().to_owned(),
        Event::StepStarted { step, title } => format!("→ {step}: {}", one_line(title)),
        Event::StepFinished { step, seconds } => format!("✓ {step} ({seconds:.1} s)"),
        Event::StepSkipped { step, why } => format!("✓ {step}: nothing to do, {}", one_line(why)),
        Event::Progress { what, bytes, total } => match total {
            Some(total) => format!("  {what}: {} of {}", size(*bytes), size(*total)),
            None => format!("  {what}: {}", size(*bytes)),
        },
        Event::Waiting { what, seconds, deadline, seen } => {
            let (what, seen) = (one_line(what), one_line(seen));
            format!("  {seconds} s of {deadline} s: waiting for {what}: {seen}")
        }
        Event::Output { source, text } => format!("  {source} | {}", one_line(text)),
        Event::Residue { place, asked, found } => residue(place, asked, found),
        Event::AgentRequest(request) => agent_request(request),
        Event::Failed { what, why, hint, state, .. } => {
            failed(what, why, hint.as_ref(), state.as_ref())
        }
        Event::Checked { accepted, warnings, digest, command } => {
            checked(*accepted, *warnings, digest.as_ref(), command.as_ref())
        }
        Event::KeysChecked { secrets: 0, .. } => "the host declares no secrets".to_owned(),
        Event::KeysChecked { secrets, warnings } => {
            let but = match warnings {
                0 => String::new(),
                _ => format!(" ({})", counted(*warnings, "warning")),
            };
            format!(
                "{}: nothing keeps the machine from opening them{but}",
                counted(*secrets, "secret")
            )
        }
        Event::Verified { toplevel, pools } => {
            let mut text = format!("the machine is what the flake declares.\n  {toplevel}");
            for pool in pools {
                let _ = write!(text, "\n  pool {} {}", pool.name, pool.state);
            }
            text
        }
        Event::DiskFile { path: Some(path), .. } => format!("the disk file was written: {path}"),
        Event::Scan { .. } => scan(event),
        Event::DiskReplaced { .. } => replaced(event),
        Event::Run { .. } => run(event),
        Event::Finished { summary } => {
            format!("{} is installed and was seen running.\n{}", summary.host, summary.text())
                .trim_end()
                .to_owned()
        }
    })
}

/// Text of several lines that begins in the middle of one: what somebody else has written stays recognisable as a part of it.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n         ")
}

/// `agent: sign a login of git at github.com with SHA256:…: done`
fn agent_request(request: &AgentRequest) -> String {
    let AgentRequest { asked, key, user, git_host: host, host_key, answer, why } = request;
    let mut text = format!("  agent: {asked}");
    if let Some(user) = user {
        let _ = write!(text, " a login of {user}");
    }
    // A host that is pinned is known by its name, any other by its key.
    if let Some(host) = host.as_ref().or(host_key.as_ref()) {
        let _ = write!(text, " at {host}");
    }
    if let Some(key) = key {
        let _ = write!(text, " with {key}");
    }
    let _ = write!(text, ": {answer}");
    if let Some(why) = why {
        let _ = write!(text, ", {why}");
    }
    text
}

fn residue(place: &str, asked: &[String], found: &[String]) -> String {
    if found.is_empty() {
        return format!("  nothing left on the {place}; looked for {}", asked.join(", "));
    }
    found.iter().fold(format!("  LEFT on the {place}:"), |text, left| format!("{text}\n  - {left}"))
}

fn checked(
    accepted: usize,
    warnings: usize,
    digest: Option<&String>,
    command: Option<&String>,
) -> String {
    let mut text = "nothing forbids the install".to_owned();
    if accepted + warnings > 0 {
        let warnings = counted(warnings, "warning");
        let _ = write!(text, " ({warnings}, {} accepted)", counted(accepted, "error"));
    }
    let _ = match digest {
        Some(digest) => {
            let install = command.map_or("landfall install …", String::as_str);
            write!(
                text,
                "\nto install exactly this:\n  {install} --plan-digest {digest}{}",
                left_out(install)
            )
        }
        None => write!(
            text,
            "\nno target was looked at: give TARGET too, and its disks, its way into the installer and the plan are shown"
        ),
    };
    text
}

/// What a command line that cannot be typed as it is needs to be told.
fn left_out(command: &str) -> String {
    if command.contains(LEFT_OUT) {
        format!("\n  ({LEFT_OUT} stands for a password or a token, which landfall does not keep)")
    } else {
        String::new()
    }
}

/// `1 warning`, `2 warnings`.
fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

fn scan(event: &Event) -> String {
    let Event::Scan { what, pool, bytes, total, rate, to_go, errors } = event else {
        return String::new();
    };
    let mut text = format!("  {what} of {pool}");
    match (bytes, total) {
        (Some(bytes), Some(total)) => {
            let _ = write!(text, ": {} of {}", size(*bytes), size(*total));
        }
        _ => text.push_str(": at work"),
    }
    if let Some(rate) = rate {
        let _ = write!(text, ", {}/s", size(*rate));
    }
    if let Some(seconds) = to_go {
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let _ = write!(text, ", {hours}:{minutes:02}:{seconds:02} to go");
    }
    let _ = match errors {
        0 => write!(text, ", no errors"),
        count => write!(text, ", {count} errors"),
    };
    text
}

fn finding(found: &ReportedFinding) -> String {
    let ReportedFinding { code, severity, what, why, hint } = found;
    let mut text = format!("{severity}: {} [{code}]", indented(what));
    for (label, part) in [("because", *why), ("hint", hint.as_str())] {
        let _ = write!(text, "\n{label:>7}: {}", indented(part));
    }
    text
}

fn replaced(event: &Event) -> String {
    let Event::DiskReplaced { pool, old, new, device, bay, before } = event else {
        return String::new();
    };
    let mut text = format!("{new} has taken the place of {old}; the pool {pool} is whole.");
    let name = bay.as_deref().unwrap_or("its place");
    if let Some(before) = before {
        let _ = write!(
            text,
            "\nThe flake still names the old disk. In the host's disk file, change {name}:\n  - \"{before}\"\n  + \"{device}\""
        );
    }
    text
}

fn run(event: &Event) -> String {
    let Event::Run { host, target, state, changed, begun, finished, why, log, command, .. } = event
    else {
        return String::new();
    };
    let mut text = format!("{host} on {target}: {state}, {}", ago(*changed));
    let mut line = |label: &str, value: Option<&String>| {
        if let Some(value) = value {
            let _ = write!(text, "\n  {label:<9} {value}");
        }
    };
    line("last done", finished.map(|step| step.to_string()).as_ref());
    let then = begun.filter(|begun| Some(begun) != finished.as_ref());
    line(
        if *state == "at work" { "now in" } else { "ended in" },
        then.map(|step| step.to_string()).as_ref(),
    );
    line("because", why.as_ref());
    line("log", log.as_ref());
    if matches!(*state, "failed" | "cut off") {
        text.push_str("\n  the same command continues where it stopped; --restart starts over");
        if let Some(command) = command {
            let _ = write!(text, ":\n    {command}{}", left_out(command));
        }
    }
    text
}

/// How long ago a time (seconds since 1970) was.
fn ago(then: u64) -> String {
    match now().saturating_sub(then) {
        seconds @ 0..=119 => format!("{seconds} s ago"),
        seconds @ 120..=7199 => format!("{} min ago", seconds / 60),
        seconds @ 7200..=172_799 => format!("{} h ago", seconds / 3600),
        seconds => format!("{} days ago", seconds / 86400),
    }
}

fn failed(what: &str, why: &[String], hint: Option<&String>, state: Option<&String>) -> String {
    let mut text = format!("error: {}", indented(what));
    let causes = why.iter().map(|cause| ("because", cause));
    let rest = state.into_iter().map(|state| ("target", state));
    for (label, part) in causes.chain(rest).chain(hint.into_iter().map(|hint| ("hint", hint))) {
        let part = indented(part);
        let _ = write!(text, "\n{label:>7}: {part}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::Document;
    use super::*;

    #[test]
    fn a_request_to_the_agent_is_one_line() {
        let mut request = AgentRequest {
            asked: "sign",
            key: Some("SHA256:abc".into()),
            user: Some("git".into()),
            git_host: Some("github.com".into()),
            host_key: Some("SHA256:def".into()),
            answer: "done",
            why: None,
        };
        let said = "  agent: sign a login of git at github.com with SHA256:abc: done";
        assert_eq!(line(&Event::AgentRequest(request.clone())).unwrap(), said);
        request =
            AgentRequest { git_host: None, answer: "refused", why: Some("x".into()), ..request };
        let said = "  agent: sign a login of git at SHA256:def with SHA256:abc: refused, x";
        assert_eq!(line(&Event::AgentRequest(request)).unwrap(), said);
    }

    #[test]
    fn a_run_that_failed_shows_its_log_and_the_command_that_continues_it() {
        let event = |state| Event::Run {
            host: "nas".into(),
            target: "root@nas".into(),
            state,
            began: now(),
            changed: now(),
            begun: None,
            finished: None,
            exit: None,
            why: None,
            log: Some("/logs/nas.log".into()),
            command: Some("cd /x && landfall install nas root@nas".into()),
        };
        let shown = line(&event("failed")).unwrap();
        let end = "\n  log       /logs/nas.log\n  the same command continues where it stopped; \
                   --restart starts over:\n    cd /x && landfall install nas root@nas";
        assert!(shown.ends_with(end), "{shown}");
        assert!(line(&event("done")).unwrap().ends_with("\n  log       /logs/nas.log"));
    }

    #[test]
    fn a_wait_begins_with_its_time() {
        let event = Event::Waiting {
            what: "the installer".into(),
            seconds: 5,
            deadline: 3600,
            seen: "it has not gone down yet".into(),
        };
        let shown = "  5 s of 3600 s: waiting for the installer: it has not gone down yet";
        assert_eq!(line(&event).unwrap(), shown);
    }

    #[test]
    fn a_check_says_what_it_has_counted_and_not_looked_at() {
        let shown = checked(
            0,
            1,
            Some(&"abc".to_owned()),
            Some(&"landfall install nas root@nas".to_owned()),
        );
        assert!(shown.starts_with("nothing forbids the install (1 warning, 0 errors accepted)\n"));
        assert!(shown.ends_with("\n  landfall install nas root@nas --plan-digest abc"), "{shown}");
        assert!(!shown.contains("looked at"), "{shown}");
        assert!(
            checked(1, 2, None, None)
                .contains("(2 warnings, 1 error accepted)\nno target was looked")
        );
    }

    #[derive(Debug)]
    struct Plan;

    impl Document for Plan {
        fn text(&self) -> String {
            "x".to_owned()
        }

        fn json(&self) -> serde_json::Value {
            serde_json::json!({})
        }
    }

    #[test]
    fn a_result_is_what_the_command_was_run_for() {
        let note = Event::Note { text: "x".into() };
        let plan = Event::Plan { plan: Plan.into() };
        let checked = Event::Checked { accepted: 0, warnings: 0, digest: None, command: None };
        let shown = Event::DiskFile { text: "x".into(), path: None };
        let written = Event::DiskFile { text: "x".into(), path: Some("/x".into()) };
        for (event, command, expected) in [
            (&plan, "check", true),
            // The question on stderr is about it.
            (&plan, "install", false),
            (&note, "check", false),
            (&note, "status", true),
            (&checked, "check", true),
            (&shown, "disk", true),
            (&written, "disk", false),
        ] {
            assert_eq!(is_result(event, command), expected, "{event:?} of {command}");
        }
    }

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
