//! `--json`: one event a line on stdout, for programs.

use super::{Event, Render, json_for_terminals};
use std::io::Write;

/// Writes each event as one JSON object.
pub(super) struct Json;

impl Render for Json {
    fn event(&mut self, event: &Event) {
        // A reader that went away (`| head`) ends the stream, not the install.
        let Ok(text) = serde_json::to_string(event) else {
            return;
        };
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{}", json_for_terminals(&text)).and_then(|()| out.flush());
    }
}
