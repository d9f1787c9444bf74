//! Everything landfall says.
//!
//! Whoever acts emits an [`Event`]; one renderer, chosen once, owns the terminal: bars on a TTY, plain
//! lines in a log, one JSON object a line with `--json`. What a command was run for goes to stdout, the rest to stderr. All of it
//! also goes to a log file per run. Nothing else in the program prints (clippy's `print_stdout` and `print_stderr` see to it), and all of it passes the filter for
//! foreign text (`foreign`).

mod bars;
mod command_line;
mod document;
mod event;
mod failure;
mod foreign;
mod json;
mod logfile;
mod metrics;
mod plain;
mod redact;
mod step_name;
mod summary;
mod terminal;
mod wrap;

pub use command_line::CommandLine;
pub(crate) use command_line::installing;
pub use document::to_json;
pub(crate) use document::{Document, Shown};
pub(crate) use event::ReportedFinding;
pub use event::{AgentRequest, EVENTS_VERSION, Event};
pub use failure::{Exit, Failure};
pub(crate) use foreign::one_line;
pub use foreign::{json as json_for_terminals, visible};
pub use metrics::Metrics;
pub use redact::without_secrets;
pub use step_name::StepName;
pub(crate) use summary::{Boots, Pool, StepTime, Vdev};
pub use summary::{RunReport, Seen, Summary};
pub(crate) use terminal::is_interactive;
#[cfg(test)]
pub(crate) use {json::line as json_line, plain::screen};

use crate::clock::now;
use crate::secret::Secret;
use logfile::LogFile;
use serde::Serialize;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
pub(crate) use wrap::wrapped;

/// Which run an event is of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Origin {
    /// The run's id: seconds since 1970 and the process' id, as in the name of its log file.
    pub(crate) run: String,
    /// HOST as it was given; empty where the command has none.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) host: String,
}

/// How a run is shown.
trait Render: Send {
    /// Shows one event.
    fn event(&mut self, origin: &Origin, event: &Event);

    /// Nothing may move over a question that is asked while the run goes on.
    fn asking(&mut self, _asking: bool) {}
}

/// A cheap handle on the one renderer and the run's log file.
#[derive(Clone)]
pub struct Report {
    sinks: Arc<Mutex<Sinks>>,
    origin: Arc<Origin>,
    command: Option<Arc<CommandLine>>,
    json: bool,
}

struct Sinks {
    renderer: Box<dyn Render>,
    log: Option<LogFile>,
    /// When something that moves was last told.
    last_moving: Option<Instant>,
}

/// What moves is told so often at most; of more nobody has anything.
const PACE: Duration = Duration::from_millis(100);

impl Report {
    /// Chooses the renderer: `--json`, else bars when stderr is a terminal, else plain lines.
    ///
    /// The log file, if one is to be kept, is opened under the XDG state directory, and begins with the command line; that it
    /// cannot be is no reason to stop, and is said in a note.
    pub fn new(json: bool, host: &str, logged: Option<CommandLine>) -> Self {
        let renderer: Box<dyn Render> = if json {
            Box::new(json::Json)
        } else if std::io::stderr().is_terminal() {
            Box::new(bars::Bars::new())
        } else {
            Box::new(plain::Plain::default())
        };
        let run = format!("{}-{}", now(), std::process::id());
        let log = logged.as_ref().map(|line| LogFile::create(host, &run, &line.given)).transpose();
        let missing = log.as_ref().err().map(|error| format!("no log file is kept: {error:#}"));
        let sinks = Sinks { renderer, log: log.ok().flatten(), last_moving: None };
        let origin = Arc::new(Origin { run, host: host.to_owned() });
        let command = logged.map(Arc::new);
        let report = Self { sinks: Arc::new(Mutex::new(sinks)), origin, command, json };
        if let Some(text) = missing {
            report.emit(Event::Note { text });
        }
        report
    }

    /// One that shows nothing, and what was emitted to it.
    #[cfg(test)]
    pub(crate) fn recording() -> (Self, Arc<Mutex<Vec<Event>>>) {
        struct Recorder(Arc<Mutex<Vec<Event>>>);
        impl Render for Recorder {
            fn event(&mut self, _origin: &Origin, event: &Event) {
                self.0.lock().unwrap().push(event.clone());
            }
        }
        let events = Arc::default();
        let renderer = Box::new(Recorder(Arc::clone(&events)));
        let sinks = Sinks { renderer, log: None, last_moving: None };
        let origin = Arc::new(Origin { run: String::new(), host: String::new() });
        (Self { sinks: Arc::new(Mutex::new(sinks)), origin, command: None, json: false }, events)
    }

    /// Records and shows one event.
    #[allow(clippy::needless_pass_by_value, reason = "an event is made to be emitted")]
    pub fn emit(&self, event: Event) {
        let mut sinks = self.lock();
        if event.is_moving() {
            if sinks.last_moving.is_some_and(|last| last.elapsed() < PACE) {
                return;
            }
            sinks.last_moving = Some(Instant::now());
        }
        if let Some(log) = &mut sinks.log {
            log.event(&event);
        }
        sinks.renderer.event(&self.origin, &event);
    }

    /// Several, in their order.
    pub(crate) fn emit_all(&self, events: impl IntoIterator<Item = Event>) {
        events.into_iter().for_each(|event| self.emit(event));
    }

    /// A fact worth knowing.
    pub(crate) fn note(&self, text: impl Into<String>) {
        self.emit(Event::Note { text: text.into() });
    }

    /// Something is being found out or prepared.
    pub(crate) fn doing(&self, what: impl Into<String>) {
        self.emit(Event::Doing { what: what.into() });
    }

    /// Shows `text` on the terminal and reads one line of an answer; `None` at the end of input. Nothing moves meanwhile.
    pub async fn ask(&self, text: impl Into<String>) -> Option<String> {
        self.answer(text.into(), terminal::ask).await
    }

    /// The same, and what is typed is not shown. Only where `is_interactive`.
    pub async fn ask_secret(&self, text: impl Into<String>) -> Option<Secret> {
        self.answer(text.into(), terminal::ask_secret).await
    }

    /// On a thread of its own, so that Ctrl-C is heard while it waits: one that still waits for a line on stdin must not keep the
    /// program from ending either, as a runtime's own would.
    async fn answer<A: Send + 'static>(
        &self,
        text: String,
        ask: fn(&str) -> Option<A>,
    ) -> Option<A> {
        let _question = Question::begin(self);
        let (sender, receiver) = tokio::sync::oneshot::channel();
        std::thread::spawn(move || sender.send(ask(&text)));
        receiver.await.ok().flatten()
    }

    /// Says where everything that was said can be read again; programs heard it at the start.
    pub fn say_log(&self) {
        if let Some(path) = self.log_path()
            && !self.json
        {
            self.note(format!("log: {}", path.display()));
        }
    }

    /// The command line that continues this run; none of one that is not logged.
    pub fn continued_by(&self) -> Option<&str> {
        self.command.as_ref().map(|line| line.again.as_str())
    }

    /// Path of this run's log file.
    pub fn log_path(&self) -> Option<PathBuf> {
        self.lock().log.as_ref().map(|log| log.path().to_owned())
    }

    /// A panic while the lock was held must not silence the failure that follows it.
    fn lock(&self) -> MutexGuard<'_, Sinks> {
        self.sinks.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question that stands on the terminal, until it is answered or given up.
struct Question<'a>(&'a Report);

impl<'a> Question<'a> {
    fn begin(report: &'a Report) -> Self {
        report.lock().renderer.asking(true);
        Self(report)
    }
}

impl Drop for Question<'_> {
    fn drop(&mut self) {
        terminal::end_question();
        self.0.lock().renderer.asking(false);
    }
}

/// Bytes for people: `72.4 MB`, decimal as disks and links are sold.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    #[allow(clippy::cast_precision_loss, reason = "three digits are shown")]
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < UNITS.len() {
        value /= 1000.0;
        unit += 1;
    }
    match (unit, value < 100.0) {
        (0, _) => format!("{bytes} B"),
        (_, true) => format!("{value:.1} {}", UNITS[unit]),
        (_, false) => format!("{value:.0} {}", UNITS[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_are_readable() {
        for (bytes, text) in
            [(0, "0 B"), (999, "999 B"), (72_400_000, "72.4 MB"), (16_000_900_661_248, "16.0 TB")]
        {
            assert_eq!(size(bytes), text);
        }
    }
}
