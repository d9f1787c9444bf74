//! Each event as a line of `--json`, and as lines on a terminal of 80 columns.

use super::plans::every_step;
use super::samples::{of_a_run, samples};
use super::{pinned, shown};
use crate::clock::now;
use crate::report::{Event, Origin, StepName, json_line};
use crate::steps::started;
use std::collections::BTreeSet;

/// The kinds, as `--json` names them.
const KINDS: [&str; 26] = [
    "agent_request",
    "checked",
    "disk_file",
    "disk_replaced",
    "disk_replacement",
    "disks",
    "doing",
    "failed",
    "finding",
    "finished",
    "host_key",
    "keys_checked",
    "note",
    "output",
    "plan",
    "progress",
    "proof",
    "residue",
    "run",
    "scan",
    "started",
    "step_finished",
    "step_skipped",
    "step_started",
    "verified",
    "waiting",
];

/// The kind of an event. The compiler asks for a new one here; it belongs among `KINDS` and the samples, too.
fn kind(event: &Event) -> &'static str {
    match event {
        Event::Started { .. } => "started",
        Event::Doing { .. } => "doing",
        Event::Note { .. } => "note",
        Event::Finding { .. } => "finding",
        Event::Proof { .. } => "proof",
        Event::HostKey { .. } => "host_key",
        Event::Plan { .. } => "plan",
        Event::StepStarted { .. } => "step_started",
        Event::StepFinished { .. } => "step_finished",
        Event::StepSkipped { .. } => "step_skipped",
        Event::Progress { .. } => "progress",
        Event::Waiting { .. } => "waiting",
        Event::Output { .. } => "output",
        Event::Residue { .. } => "residue",
        Event::AgentRequest(_) => "agent_request",
        Event::Failed { .. } => "failed",
        Event::Checked { .. } => "checked",
        Event::KeysChecked { .. } => "keys_checked",
        Event::Verified { .. } => "verified",
        Event::Disks { .. } => "disks",
        Event::DiskFile { .. } => "disk_file",
        Event::DiskReplacement { .. } => "disk_replacement",
        Event::Scan { .. } => "scan",
        Event::DiskReplaced { .. } => "disk_replaced",
        Event::Run { .. } => "run",
        Event::Finished { .. } => "finished",
    }
}

#[test]
fn each_event_as_json_and_on_the_screen() {
    let origin = |host: &str| Origin { run: "1795236364-9022".into(), host: host.into() };
    let schema = serde_json::from_str(include_str!("../../docs/schema/event.json")).unwrap();
    let schema = jsonschema::validator_for(&schema).unwrap();
    let mut kinds = BTreeSet::new();
    for event in samples() {
        let name = kind(&event);
        assert!(kinds.insert(name), "{name} twice");
        // `status` is of no host itself, and each of its events is of one.
        let host = if name == "run" { "" } else { "helios64" };
        let line = json_line(&origin(host), &event).unwrap();
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["event"], name);
        let against = schema.iter_errors(&value).map(|error| error.to_string());
        assert_eq!(against.collect::<Vec<_>>(), Vec::<String>::new(), "{line}");
        pinned(&format!("json-{name}"), &line);
        pinned(&format!("event-{name}"), &shown(&[recent(event)], 80));
    }
    assert_eq!(kinds, BTreeSet::from(KINDS));
}

#[test]
fn a_run_as_json() {
    let origin = Origin { run: "1795236364-9022".into(), host: "helios64".into() };
    let is_of_it = |event: &Event| !matches!(event, Event::Failed { .. } | Event::Finding { .. });
    let events = of_a_run().into_iter().filter(is_of_it);
    let lines: Vec<_> = events.filter_map(|event| json_line(&origin, &event)).collect();
    pinned("json-of-a-run", &lines.join("\n"));
}

#[test]
fn the_lines_of_a_replacement() {
    let waiting = Event::Waiting {
        what: "the new disk".into(),
        seconds: 35,
        deadline: 3600,
        seen: "no new disk yet".into(),
    };
    let begins = Event::StepStarted {
        step: StepName::Resilver,
        title: "resilver of tank; Ctrl-C stops the watching, not the resilver".into(),
    };
    let scan = samples().into_iter().find(|event| kind(event) == "scan").unwrap();
    pinned("replacement-waits", &shown(&[waiting], 100));
    pinned("replacement-resilvers", &shown(&[begins, scan], 100));
}

/// A run is shown with how long ago it was.
fn recent(event: Event) -> Event {
    let mut event = event;
    if let Event::Run { changed, .. } = &mut event {
        *changed = now() - 310;
    }
    event
}

#[test]
fn the_lines_of_each_step() {
    let mut events = Vec::new();
    for (step, seconds) in
        every_step().steps.iter().zip([9.7, 26.3, 12.5, 62.9, 118.2, 31.0, 8.4, 41.7])
    {
        events.extend([started(step), Event::StepFinished { step: step.name(), seconds }]);
    }
    let why = "the installed system runs".to_owned();
    events.push(Event::StepSkipped { step: StepName::Reboot, why });
    let asked = Vec::new();
    let found = vec!["/run/landfall-fetch/agent".to_owned()];
    events.push(Event::Residue { place: "installer", asked, found });
    events.push(Event::Progress { what: "closure", bytes: 1 << 30, total: None });
    pinned("steps", &shown(&events, 80));
}
