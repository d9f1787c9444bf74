//! The story of a run: read the command line, do the work until it ends or is interrupted, say how it ended.

use landfall::commands::{self, Invocation};
use landfall::report::{
    CommandLine, EVENTS_VERSION, Event, Exit, Failure, Report, RunReport, Seen, Summary,
    json_for_terminals, to_json, without_secrets,
};
use landfall::secrets::forbid_core_dumps;
use landfall::steps::TargetState;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};

fn main() -> ExitCode {
    forbid_core_dumps();
    let words: Vec<OsString> = std::env::args_os().collect();
    let invocation = match commands::parse(words.clone()) {
        Ok(invocation) => invocation,
        Err(error) => {
            // Help goes to stdout, errors to stderr; on a terminal that is gone neither can be shown.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    // A command that changes nothing writes no log either.
    let logged = invocation.command.acts().then(|| CommandLine::of(words));
    let report = Report::new(invocation.json, &invocation.host, logged);
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(&report, &Failure::new(Exit::Other, "no async runtime").because(error));
        }
    };
    let ended = runtime.block_on(run(&invocation, &report));
    // A thread that still waits for an answer on the terminal must not keep the program alive.
    runtime.shutdown_background();
    let written = write_summary_file(&invocation, Some(ended.as_ref().map(Option::as_ref)));
    match ended.and_then(|summary| written.map(|()| summary)) {
        Ok(summary) => {
            if let Some(summary) = summary {
                report.emit(Event::Finished { summary: Box::new(summary) });
            }
            report.say_log();
            ExitCode::SUCCESS
        }
        Err(failure) => end(&report, &failure),
    }
}

/// How long an interrupted run may take to remove what must not stay on the target.
const TIDYING: Duration = Duration::from_secs(20);

/// Does what was asked for, until it ends or a signal interrupts it. Where something was installed, what was seen is returned.
async fn run(invocation: &Invocation, report: &Report) -> Result<Option<Summary>, Failure> {
    report.emit(Event::Started {
        version: EVENTS_VERSION,
        command: invocation.command.name(),
        target: invocation.target.clone(),
        log: report.log_path().map(|path| path.display().to_string()),
    });
    write_summary_file(invocation, None)?;
    let target_state = TargetState::default();
    // Dropping the work ends what it started on this machine: connections, nix, an emulated board.
    let mut work = Box::pin(invocation.command.run(report, &target_state));
    let ended = tokio::select! {
        ended = &mut work => ended,
        name = interruption() => {
            target_state.interrupt();
            if target_state.is_untidy() {
                // What must not stay on the target is removed first; a second signal cuts that short.
                tokio::select! {
                    _ = &mut work => {}
                    _ = interruption() => {}
                    () = tokio::time::sleep(TIDYING) => {}
                }
            }
            Err(Failure::new(Exit::Interrupted, format!("interrupted by {name}")))
        }
    };
    drop(work);
    ended.map_err(|failure| invocation.command.explain(failure, &target_state))
}

/// Completes with the name of the first signal that asks us to end.
async fn interruption() -> &'static str {
    let wait = async |kind, name| match signal(kind) {
        Ok(mut signal) => {
            signal.recv().await;
            name
        }
        // Without a handler the signal ends the process by itself.
        Err(_) => std::future::pending().await,
    };
    tokio::select! {
        name = wait(SignalKind::interrupt(), "Ctrl-C") => name,
        name = wait(SignalKind::terminate(), "SIGTERM") => name,
        name = wait(SignalKind::hangup(), "SIGHUP") => name,
    }
}

/// Writes the file of `--report`: how the run has ended, and what was seen. It is written once before the run as well, to say that the
/// run has not ended: a path that cannot be written to fails before anything is done, and no report of an earlier run is left.
fn write_summary_file(
    invocation: &Invocation,
    ended: Option<Result<Option<&Summary>, &Failure>>,
) -> Result<(), Failure> {
    let Some(path) = &invocation.summary_file else { return Ok(()) };
    let (seen, exit, what) = match ended {
        None => (None, None, "it has not ended, or was cut off"),
        Some(Ok(summary)) => (summary, Some(0), ""),
        Some(Err(failure)) => (failure.seen.as_deref(), Some(failure.exit as u8), &*failure.what),
    };
    let cannot = |error| cannot_write(path, error);
    let nothing = Seen::Nothing { host: &invocation.host, verified: false };
    let seen = seen.map_or(nothing, Seen::Run);
    let text = format!("{:#}\n", to_json(&RunReport { exit, what, seen }));
    let text = json_for_terminals(&text);
    std::fs::write(path, &*without_secrets(&text)).map_err(cannot)
}

fn cannot_write(path: &Path, error: std::io::Error) -> Failure {
    Failure::new(Exit::Other, format!("the report {} cannot be written", path.display()))
        .because(error)
}

fn end(report: &Report, failure: &Failure) -> ExitCode {
    report.emit(failure.event());
    report.say_log();
    ExitCode::from(failure.exit as u8)
}
