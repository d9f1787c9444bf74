//! The terminal: lines that stay, and below them, on stderr, what is going on now, which moves: the step with its clock
//! and the latest of what is heard of it, or a bar while bytes are counted.

use super::{Event, Origin, Render, one_line, plain};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Owns the terminal while a run goes on.
pub(super) struct Bars {
    lines: plain::Lines,
    moving: ProgressBar,
    shape: Shape,
    /// The step that is at work: its title, and since when.
    step: Option<(String, Instant)>,
    /// A question stands on the last line.
    asking: bool,
}

/// What moves.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    Spinner(&'static str),
    Bar,
}

/// Without a step: what is being done, and for how long.
const DOING: &str = "  {spinner} {wide_msg} {elapsed}";
/// A step, with nothing heard of it.
const STEP: &str = "  {spinner} {elapsed} {wide_msg}";
/// A step, and below it the end of what is heard of it, on one line.
const STEP_OUTPUT: &str = "  {spinner} {elapsed} {prefix}\n    {wide_msg}";
/// What is waited for is read to its end: it may take several lines.
const WAIT: &str = "  {spinner} {msg}";
const STEP_WAIT: &str = "  {spinner} {elapsed} {prefix}\n    {msg}";

impl Bars {
    pub(super) fn new() -> Self {
        let moving = ProgressBar::hidden();
        moving.finish_and_clear();
        let (lines, shape) = (plain::Lines::default(), Shape::Spinner(DOING));
        Self { lines, moving, shape, step: None, asking: false }
    }

    /// A moving line without numbers.
    fn spin(&mut self, message: &str, waits: bool) {
        if self.asking {
            return;
        }
        let template = template(self.step.is_some(), message.is_empty(), waits);
        if self.shape != Shape::Spinner(template) || self.moving.is_finished() {
            let spinner = match &self.step {
                Some((_, began)) => ProgressBar::new_spinner().with_elapsed(began.elapsed()),
                None => ProgressBar::new_spinner(),
            };
            self.replace(spinner, template);
            self.shape = Shape::Spinner(template);
        }
        let message = one_line(message.trim_start()).into_owned();
        match &self.step {
            Some((title, _)) if message.is_empty() => self.moving.set_message(title.clone()),
            Some((title, _)) => {
                self.moving.set_prefix(title.clone());
                self.moving.set_message(message);
            }
            None => self.moving.set_message(message),
        }
    }

    /// A bar with bytes and rate; one that has reached its total ends.
    fn count(&mut self, what: &'static str, bytes: u64, total: Option<u64>) {
        if self.asking {
            return;
        }
        if total.is_some_and(|total| bytes >= total) {
            return self.resume();
        }
        if !self.is_counting() {
            let template = "  {spinner} {msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
            let (bar, template) = match total {
                Some(total) => (ProgressBar::new(total), template),
                None => (
                    ProgressBar::no_length(),
                    "  {spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec}",
                ),
            };
            self.replace(bar, template);
            self.shape = Shape::Bar;
        }
        if let Some(total) = total {
            self.moving.set_length(total);
        }
        self.moving.set_message(what);
        self.moving.set_position(bytes);
    }

    fn is_counting(&self) -> bool {
        self.shape == Shape::Bar && !self.moving.is_finished()
    }

    /// The step alone, with its clock; nothing where there is none.
    fn resume(&mut self) {
        self.clear();
        if self.step.is_some() {
            self.spin("", false);
        }
    }

    fn clear(&mut self) {
        self.moving.finish_and_clear();
    }

    fn replace(&mut self, bar: ProgressBar, template: &str) {
        self.clear();
        // The templates are constants; one that does not parse falls back to indicatif's own.
        let style = ProgressStyle::with_template(template);
        self.moving = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.moving.enable_steady_tick(Duration::from_millis(120));
    }
}

/// How it is laid out.
fn template(in_step: bool, is_empty: bool, waits: bool) -> &'static str {
    match (in_step, is_empty, waits) {
        (true, true, _) => STEP,
        (true, false, true) => STEP_WAIT,
        (true, false, false) => STEP_OUTPUT,
        (false, _, true) => WAIT,
        (false, _, false) => DOING,
    }
}

impl Render for Bars {
    fn event(&mut self, _origin: &Origin, event: &Event) {
        match event {
            Event::Progress { what, bytes, total } => self.count(what, *bytes, *total),
            // While bytes are counted, the bar says more than another child's words.
            Event::Output { .. } if self.is_counting() => {}
            Event::AgentRequest(request) if request.is_routine() && self.is_counting() => {}
            Event::Waiting { .. } | Event::Scan { .. } => {
                self.spin(&plain::shown(event).unwrap_or_default(), true);
            }
            Event::Output { .. } | Event::Doing { .. } => {
                self.spin(&plain::shown(event).unwrap_or_default(), false);
            }
            Event::AgentRequest(request) if request.is_routine() => {
                self.spin(&plain::shown(event).unwrap_or_default(), false);
            }
            _ => {
                self.clear();
                self.lines.write(event);
                match event {
                    Event::StepStarted { title, .. } => {
                        self.step = Some((one_line(title).into_owned(), Instant::now()));
                    }
                    Event::Note { .. }
                    | Event::Finding { .. }
                    | Event::HostKey { .. }
                    | Event::Residue { .. }
                    | Event::AgentRequest(_) => {}
                    _ => self.step = None,
                }
                self.resume();
            }
        }
    }

    fn asking(&mut self, asking: bool) {
        self.asking = asking;
        self.resume();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn show(bars: &mut Bars, event: &Event) {
        let origin = Origin { run: String::new(), host: String::new() };
        bars.event(&origin, event);
    }

    fn started() -> Event {
        let title = "laying out the disks".to_owned();
        Event::StepStarted { step: crate::report::StepName::Disko, title }
    }

    #[test]
    fn a_step_keeps_its_title_and_its_clock_after_every_line() {
        let mut bars = Bars::new();
        show(&mut bars, &started());
        let before = Instant::now().checked_sub(Duration::from_secs(60)).unwrap();
        bars.step.as_mut().unwrap().1 = before;
        show(&mut bars, &Event::Output { source: "disko", text: "wipefs".into() });
        assert_eq!(bars.moving.prefix(), "laying out the disks");
        assert_eq!(bars.moving.message(), "disko | wipefs");
        show(&mut bars, &Event::Note { text: "a fact".into() });
        assert!(!bars.moving.is_finished() && bars.moving.elapsed().as_secs() >= 60);
        assert_eq!(bars.moving.message(), "laying out the disks");
        let step = crate::report::StepName::Disko;
        show(&mut bars, &Event::StepFinished { step, seconds: 60.0 });
        assert!(bars.moving.is_finished());
    }

    #[test]
    fn a_bar_that_has_reached_its_total_ends() {
        let mut bars = Bars::new();
        show(&mut bars, &started());
        let progress = |bytes| Event::Progress { what: "closure", bytes, total: Some(10) };
        show(&mut bars, &progress(5));
        assert!(bars.is_counting());
        show(&mut bars, &progress(10));
        assert!(!bars.is_counting());
        assert_eq!(bars.moving.message(), "laying out the disks");
    }

    #[test]
    fn nothing_moves_over_a_question() {
        let mut bars = Bars::new();
        show(&mut bars, &started());
        bars.asking(true);
        show(&mut bars, &Event::Output { source: "disko", text: "wipefs".into() });
        show(&mut bars, &Event::Note { text: "a fact".into() });
        assert!(bars.moving.is_finished());
        bars.asking(false);
        assert!(!bars.moving.is_finished());
    }

    #[test]
    fn every_layout_is_one_that_indicatif_understands() {
        for [in_step, is_empty, waits] in
            (0..8).map(|bits| [bits & 1 > 0, bits & 2 > 0, bits & 4 > 0])
        {
            ProgressStyle::with_template(template(in_step, is_empty, waits)).unwrap();
        }
    }
}
