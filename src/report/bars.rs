//! The terminal: lines that stay, and below them, on stderr, one moving line for what is going on now.

use super::{Event, Origin, Render, one_line, plain};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::Duration;

/// Owns the terminal while a run goes on.
pub(super) struct Bars {
    lines: plain::Lines,
    moving: ProgressBar,
    counting: bool,
    /// A question stands on the last line.
    asking: bool,
}

impl Bars {
    pub(super) fn new() -> Self {
        let moving = ProgressBar::hidden();
        moving.finish_and_clear();
        Self { lines: plain::Lines::default(), moving, counting: false, asking: false }
    }

    /// A moving line without numbers.
    fn spin(&mut self, message: &str) {
        if self.asking {
            return;
        }
        if self.counting || self.moving.is_finished() {
            self.replace(ProgressBar::new_spinner(), "  {spinner} {wide_msg} {elapsed}");
            self.counting = false;
        }
        self.moving.set_message(one_line(message.trim_start()).into_owned());
    }

    /// A bar with bytes and rate.
    fn count(&mut self, what: &'static str, bytes: u64, total: Option<u64>) {
        if self.asking {
            return;
        }
        if !self.counting || self.moving.is_finished() {
            let template = "  {spinner} {msg} {wide_bar} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}";
            let (bar, template) = match total {
                Some(total) => (ProgressBar::new(total), template),
                None => (
                    ProgressBar::no_length(),
                    "  {spinner} {msg} {decimal_bytes} {decimal_bytes_per_sec}",
                ),
            };
            self.replace(bar, template);
            self.counting = true;
        }
        if let Some(total) = total {
            self.moving.set_length(total);
        }
        self.moving.set_message(what);
        self.moving.set_position(bytes);
    }

    fn replace(&mut self, bar: ProgressBar, template: &str) {
        self.moving.finish_and_clear();
        // The templates are constants; one that does not parse falls back to indicatif's own.
        let style = ProgressStyle::with_template(template);
        self.moving = bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        self.moving.enable_steady_tick(Duration::from_millis(120));
    }
}

impl Render for Bars {
    fn event(&mut self, _origin: &Origin, event: &Event) {
        match event {
            Event::Progress { what, bytes, total } => self.count(what, *bytes, *total),
            // While bytes are counted, the bar says more than another child's words.
            Event::Output { .. } if self.counting && !self.moving.is_finished() => {}
            Event::Output { .. }
            | Event::Doing { .. }
            | Event::Waiting { .. }
            | Event::Scan { .. } => {
                self.spin(&plain::shown(event).unwrap_or_default());
            }
            Event::AgentRequest(request) if request.is_routine() => {
                if !self.counting || self.moving.is_finished() {
                    self.spin(&plain::shown(event).unwrap_or_default());
                }
            }
            _ => {
                self.pause();
                self.lines.write(event);
                if let Event::StepStarted { title, .. } = event {
                    self.spin(title);
                }
            }
        }
    }

    fn pause(&mut self) {
        self.moving.finish_and_clear();
    }

    fn asking(&mut self, asking: bool) {
        self.pause();
        self.asking = asking;
    }
}
