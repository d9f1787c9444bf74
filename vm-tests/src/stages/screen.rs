//! What the user sees while stages are made: on a terminal a line for each that runs, with a bar, and one for the
//! whole, redrawn in place; elsewhere a line whenever something begins, and at least every half minute.

use super::Stage;
use super::progress::{self, Progress, Said};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use std::collections::BTreeMap;
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// So often something is said in a log, at least.
const QUIET: Duration = Duration::from_secs(30);

/// The screen, or the log.
pub(super) struct Screen {
    began: Instant,
    last_line: Instant,
    /// Thousandths of the seconds that all stages take on a quiet machine: what there is, and what is done.
    all: u64,
    done: u64,
    running: BTreeMap<&'static str, Running>,
    bars: Option<(MultiProgress, ProgressBar)>,
}

struct Running {
    seconds: u64,
    began: Instant,
    progress: Progress,
    bar: Option<ProgressBar>,
}

impl Screen {
    /// A screen for these stages.
    pub(super) fn new(stages: &[&Stage]) -> Self {
        let bars = std::io::stderr().is_terminal().then(|| {
            let bars = MultiProgress::new();
            let whole = bars.add(ProgressBar::new(1).with_style(style("{wide_msg}")));
            (bars, whole)
        });
        let now = Instant::now();
        let all = stages.iter().map(|stage| stage.seconds * 1000).sum();
        Self { began: now, last_line: now, all, done: 0, running: BTreeMap::new(), bars }
    }

    /// A stage begins.
    pub(super) fn started(&mut self, stage: &Stage) {
        let bar = self.bars.as_ref().map(|(bars, whole)| {
            let bar = ProgressBar::new(1000).with_prefix(stage.name);
            bars.insert_before(
                whole,
                bar.with_style(style("{prefix:9} {bar:12} {percent:>3} % {wide_msg}")),
            )
        });
        let (began, progress) = (Instant::now(), Progress::default());
        self.running.insert(stage.name, Running { seconds: stage.seconds, began, progress, bar });
        self.draw();
    }

    /// Its script says something.
    pub(super) fn said(&mut self, name: &str, said: Said) {
        let begins = matches!(said, Said::Step(_));
        if let Some(running) = self.running.get_mut(name) {
            running.progress.take_in(said);
        }
        if begins && self.bars.is_none() {
            self.line(name);
        }
        self.draw();
    }

    /// A stage has ended, well or not.
    pub(super) fn ended(&mut self, name: &str, well: bool) {
        let Some(running) = self.running.remove(name) else { return };
        if let Some(bar) = running.bar {
            bar.finish_and_clear();
        }
        if well {
            self.done += running.seconds * 1000;
            self.say(&format!("{name}: done in {} s", running.began.elapsed().as_secs()));
        }
        self.draw();
    }

    /// Time has passed.
    pub(super) fn tick(&mut self) {
        if self.bars.is_none() && self.last_line.elapsed() >= QUIET {
            let names: Vec<_> = self.running.keys().copied().collect();
            for name in names {
                self.line(name);
            }
        }
        self.draw();
    }

    /// A line that stays.
    pub(super) fn say(&mut self, text: &str) {
        match &self.bars {
            Some((bars, _)) => bars.suspend(|| crate::say(text)),
            None => crate::say(text),
        }
        self.last_line = Instant::now();
    }

    fn line(&mut self, name: &str) {
        let Some(running) = self.running.get(name) else { return };
        let text = format!("{name}: {} ({})", running.progress.text(), self.whole());
        self.say(&text);
    }

    fn draw(&self) {
        let Some((_, whole)) = &self.bars else { return };
        for running in self.running.values() {
            if let Some(bar) = &running.bar {
                bar.set_message(running.progress.text());
                bar.set_position(running.progress.per_mille().into());
            }
        }
        whole.set_message(format!("images: {}", self.whole()));
    }

    /// How far all stages together are.
    fn whole(&self) -> String {
        let under_way =
            |running: &Running| running.seconds * u64::from(running.progress.per_mille());
        let done = self.done + self.running.values().map(under_way).sum::<u64>();
        let percent = done * 100 / self.all.max(1);
        match progress::time_to_go(self.began.elapsed(), done, self.all) {
            Some(left) => format!("{percent} %, about {} to go", progress::roughly(left)),
            None => format!("{percent} %"),
        }
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        if let Some((bars, _)) = &self.bars {
            let _ = bars.clear();
        }
    }
}

fn style(template: &str) -> ProgressStyle {
    // The templates are constants; one that does not parse falls back to indicatif's own.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
