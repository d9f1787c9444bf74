//! Every screen that a user sees, and every line of `--json`, as it stands in `snapshots/`; and the documentation's examples, which
//! are held against them. How they are renewed: `docs/testing.md`.

mod docs;
mod events;
mod failures;
mod fleet;
mod help;
mod plans;
mod samples;

use crate::report::{Event, screen};

/// Holds a screen against its snapshot.
fn pinned(name: &str, screen: &str) {
    let mut settings = insta::Settings::clone_current();
    settings.set_prepend_module_to_snapshot(false);
    settings.set_omit_expression(true);
    settings.bind(|| insta::assert_snapshot!(name, screen));
}

/// What such events leave on a terminal.
fn shown(events: &[Event], columns: usize) -> String {
    let screens = events.iter().filter_map(|event| screen(event, Some(columns)));
    screens.collect::<Vec<_>>().join("\n")
}
