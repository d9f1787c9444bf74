//! `landfall status`.

use super::{Command, Invocation};

/// List the runs there were: how far each came, and how to go on
#[derive(Debug, clap::Args)]
pub(super) struct StatusArguments {
    /// Say it as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,
}

impl StatusArguments {
    pub(super) fn invocation(self) -> Invocation {
        let (host, target) = (String::new(), String::new());
        let (command, json) = (Command::Status, self.json);
        Invocation { command, host, target, json, summary_file: None }
    }
}
