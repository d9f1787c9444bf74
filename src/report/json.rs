//! `--json`: one event a line on stdout, for programs.

use super::{Event, Origin, Render, json_for_terminals, without_secrets};
use serde::Serialize;
use std::io::Write;

/// Writes each event as one JSON object.
pub(super) struct Json;

/// An event with the run that it is of.
#[derive(Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event,
    #[serde(flatten)]
    origin: &'a Origin,
}

impl Render for Json {
    fn event(&mut self, origin: &Origin, event: &Event) {
        let Some(line) = line(origin, event) else { return };
        // A reader that went away (`| head`) ends the stream, not the install.
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{line}").and_then(|()| out.flush());
    }
}

/// The event as it is written.
pub(crate) fn line(origin: &Origin, event: &Event) -> Option<String> {
    let text = serde_json::to_string(&Line { event, origin }).ok()?;
    Some(without_secrets(&json_for_terminals(&text)).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(host: &str, event: &Event) -> String {
        let origin = Origin { run: "1795236364-9022".to_owned(), host: host.to_owned() };
        super::line(&origin, event).unwrap()
    }

    #[test]
    fn each_line_says_of_which_run_and_host_it_is() {
        let note = Event::Note { text: "x".to_owned() };
        assert_eq!(
            line("nas", &note),
            r#"{"event":"note","text":"x","run":"1795236364-9022","host":"nas"}"#
        );
        // `status` tells of several hosts, each with its own events.
        assert_eq!(line("", &note), r#"{"event":"note","text":"x","run":"1795236364-9022"}"#);
    }
}
