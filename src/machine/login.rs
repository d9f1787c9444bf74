//! How to log in, and the program that does.

use super::{Deadlines, Destination};
use std::path::PathBuf;
use tokio::process::Command;

/// Which host keys are right.
#[derive(Debug, Clone)]
pub enum HostKeys {
    /// Those in the user's own known_hosts.
    Known,
    /// Exactly these, each `type base64`.
    Pinned(Vec<String>),
}

/// How to log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Where.
    pub destination: Destination,
    /// Private key files besides the agent and what ssh's config says.
    pub identities: Vec<PathBuf>,
    /// Further `-o` options of the user's, each `Key=value`.
    pub options: Vec<String>,
    /// Which host keys are right.
    pub host_keys: HostKeys,
    /// Whether `ssh` may ask on the terminal (passphrase, password).
    pub may_ask: bool,
    /// How long anything may take.
    pub deadlines: Deadlines,
}

/// The user's own `ssh`, which ends with the process that waits for it.
#[allow(clippy::disallowed_methods, reason = "this is where ssh is started")]
pub(super) fn ssh() -> Command {
    let mut command = Command::new("ssh");
    command.kill_on_drop(true);
    command
}
