//! The confined agent: what the target is given in place of the user's `ssh-agent`, while it fetches a private input.
//!
//! It stands between the two. It shows the allowed keys alone, and signs nothing but logins of allowed users on hosts whose
//! keys are pinned, so often and no more, for as long as it lives. Every request is reported. Why it is our
//! own, and what it cannot do, is in `docs/adr/0012-confined-agent.md`.
//!
//! The order in which it is used: [`AgentWishes::confine`] before anything is done, which finds out whether it can be done
//! at all; when the time has come `Confinement::start`, and `Target::attempt_forwarding` with its socket.

mod frame;
mod git_hosts;
mod keys;
mod policy;
#[cfg(test)]
mod property;
mod proxy;
mod wire;

pub use git_hosts::{GitHosts, GitUrl, HostPin};
pub(crate) use git_hosts::{Unpinned, read_known_hosts};
pub use keys::{AgentError, KeyChoice, choose, held_keys};
pub(crate) use keys::{AgentKey, agent_socket};
pub use policy::{Connection, Destination, Policy, Verdict, judge};
pub(crate) use proxy::Confirm;
pub use proxy::{ConfinedAgent, Upstream};

use crate::report::{AgentRequest, Event, Report};
use std::path::Path;
use std::sync::Arc;

/// Signatures for one phase. Nix logs in a few times for each private input.
const BUDGET: u32 = 64;

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

/// An agent that can be forwarded: its keys are there and its hosts are known.
#[derive(Debug, Clone)]
pub struct Confinement {
    /// The keys that may be used.
    pub keys: Vec<AgentKey>,
    /// What may be done with them.
    pub policy: Policy,
    /// The file by which `ssh` on the target knows the servers, and no others.
    pub known_hosts: String,
    upstream: Upstream,
    confirm: bool,
}

/// Why no agent can be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CannotForward {
    /// The user's agent is of no use.
    #[error(transparent)]
    Agent(#[from] AgentError),
    /// A git server is not known.
    #[error(transparent)]
    Host(#[from] Unpinned),
}

impl AgentWishes {
    /// Asks the agent at `socket` (the user's: `agent_socket`) for its keys and looks up the hosts: all that can be known
    /// before these repositories are fetched.
    pub async fn confine(
        &self,
        socket: &Path,
        urls: &[GitUrl],
    ) -> Result<Confinement, CannotForward> {
        let destinations = self.git_hosts.destinations(urls)?;
        let keys = choose(&held_keys(socket).await?, &self.keys)?;
        let blobs = keys.iter().map(|key| key.blob.clone()).collect();
        Ok(Confinement {
            keys,
            policy: Policy { keys: blobs, destinations, budget: BUDGET },
            known_hosts: self.git_hosts.known_hosts(urls)?,
            upstream: Upstream::at(socket),
            confirm: self.confirm,
        })
    }
}

impl Confinement {
    /// Listens, and reports each request. Must be called within a tokio runtime.
    pub(crate) fn start(&self, report: &Report) -> anyhow::Result<ConfinedAgent> {
        let confirm = self.confirm.then(|| confirm_on_terminal(report.clone()));
        let report = report.clone();
        let on_request =
            move |request: &AgentRequest| report.emit(Event::AgentRequest(request.clone()));
        ConfinedAgent::start(self.policy.clone(), self.upstream.clone(), confirm, on_request)
    }
}

/// Asks on the terminal.
fn confirm_on_terminal(report: Report) -> Confirm {
    Arc::new(move |request| {
        let (report, question) = (report.clone(), question(request));
        Box::pin(async move {
            let answer = report.ask(question).await;
            matches!(answer.as_deref(), Some("y" | "yes"))
        })
    })
}

/// `Let the target log in as git at github.com (SHA256:…) with SHA256:…? [y/N] `
fn question(request: &AgentRequest) -> String {
    let AgentRequest { key, user, git_host: host, host_key, .. } = request;
    let part = |part: &Option<String>| part.clone().unwrap_or_default();
    format!(
        "Let the target log in as {} at {} ({}) with {}? [y/N] ",
        part(user),
        part(host),
        part(host_key),
        part(key)
    )
}
