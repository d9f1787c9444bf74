//! The confined agent: what the target is given in place of the user's `ssh-agent`, while it fetches a private input.
//!
//! It stands between the two. It shows the allowed keys alone, and signs nothing but logins of allowed users on hosts whose
//! keys are pinned, so often and no more, for as long as it lives. Everything that is asked of it is told. Why it is our
//! own, and what it cannot do, is in `docs/adr/0012-confined-agent.md`.
//!
//! The order in which it is used: [`held_keys`] and [`choose`] before anything is done, [`GitHosts`] for where they may log
//! in, [`ConfinedAgent::start`], and then `Target::attempt_forwarding` with its socket.

mod frame;
mod git_hosts;
mod keys;
mod policy;
#[cfg(test)]
mod property;
mod proxy;
mod wire;

pub use frame::{FAILURE, FRAME_LIMIT};
pub use git_hosts::{GitHosts, GitUrl, HostPin, HostPort, Unpinned, read_known_hosts};
pub use keys::{AgentError, AgentKey, KeyChoice, agent_socket, choose, held_keys};
pub use policy::{Connection, Destination, Policy, Verdict, judge};
pub use proxy::{ConfinedAgent, Confirm, Upstream};
pub use wire::fingerprint;

use crate::report::{AgentRequest, Report, ask};
use std::sync::Arc;

/// What the user wants of an agent that is forwarded.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AgentWishes {
    /// The keys that may be used; the agent's only one where none is named.
    pub keys: Vec<KeyChoice>,
    /// Host keys of git servers.
    pub git_hosts: GitHosts,
    /// Whether each signature is asked for.
    pub confirm: bool,
}

impl AgentWishes {
    /// How signatures are asked for, if they are.
    pub fn confirmation(&self, report: &Report) -> Option<Confirm> {
        self.confirm.then(|| confirm_on_terminal(report.clone()))
    }
}

/// Asks on the terminal.
fn confirm_on_terminal(report: Report) -> Confirm {
    Arc::new(move |request| {
        report.pause();
        let answer = ask(&question(request));
        matches!(answer.as_deref(), Some("y" | "yes"))
    })
}

/// `Let the target log in as git at github.com (SHA256:…) with SHA256:…? [y/N] `
fn question(request: &AgentRequest) -> String {
    let AgentRequest { key, user, host, host_key, .. } = request;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "Let the target log in as {} at {} ({}) with {}? [y/N] ",
        part(user),
        part(host),
        part(host_key),
        part(key)
    )
}
