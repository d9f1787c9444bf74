//! The private inputs of a flake that the target is to evaluate: what it will be given to fetch them with, and the
//! proof, before anything is touched, that it can.

use crate::nix::{LockedFlake, Nix, PrivateInput, fetch_revision};
use crate::report::{Exit, Failure, Report};
use crate::secrets::agent::{
    AgentWishes, CannotForward, ConfinedAgent, Confinement, GitUrl, agent_socket,
};
use std::time::Duration;

/// Everything that evaluating on the target takes.
#[derive(Debug, Clone)]
pub(crate) struct Inputs {
    pub(crate) flake: LockedFlake,
    /// What the target may do with the agent; none if no input is private.
    agent: Option<Confinement>,
}

/// A revision of a repository that holds secrets is small.
const FETCH: Duration = Duration::from_secs(180);

impl Inputs {
    /// Locks the flake, chooses the key, and fetches each private input's locked revision with that key alone, known
    /// hosts alone, through the same confined agent.
    pub(crate) async fn prove(
        nix: &Nix,
        flake: &str,
        wishes: &AgentWishes,
        report: &Report,
    ) -> Result<Self, Failure> {
        let flake = nix.lock(flake).await.map_err(|error| {
            Failure::new(Exit::Build, "the flake's inputs cannot be locked").because(error)
        })?;
        let agent = if flake.private.is_empty() {
            report.note("the flake has no private inputs: no agent is forwarded");
            None
        } else {
            Some(confine(&flake.private, wishes).await?)
        };
        let inputs = Self { flake, agent };
        inputs.fetch(report).await?;
        Ok(inputs)
    }

    /// The agent for one phase; none if no input is private.
    pub(crate) fn agent(&self, report: &Report) -> anyhow::Result<Option<ConfinedAgent>> {
        self.agent.as_ref().map(|confinement| confinement.start(report)).transpose()
    }

    /// The host keys of the git servers, as a known_hosts file.
    pub(crate) fn known_hosts(&self) -> &str {
        self.agent.as_ref().map_or("", |confinement| &confinement.known_hosts)
    }

    async fn fetch(&self, report: &Report) -> Result<(), Failure> {
        let agent = self.agent(report).map_err(|error| {
            Failure::new(Exit::Other, "the confined agent cannot be started").because(error)
        })?;
        let Some(agent) = agent else { return Ok(()) };
        for input in &self.flake.private {
            let PrivateInput { name, url, revision } = input;
            report.doing(format!("proving that {name} can be fetched from {url}"));
            let socket = agent.socket();
            let fetched = fetch_revision(url, revision, socket, self.known_hosts(), FETCH).await;
            fetched.map_err(|error| {
                let what = format!("the private input {name} cannot be fetched ({url}, {revision})");
                Failure::new(Exit::Refused, what).because(error).hint(
                    "the key must open the repository (--forward-agent-key), its host must show the key that is \
                     known (--git-host-key), and the locked revision must be there (`nix flake update`)",
                )
            })?;
        }
        Ok(())
    }
}

/// Which key may log in where.
async fn confine(inputs: &[PrivateInput], wishes: &AgentWishes) -> Result<Confinement, Failure> {
    let refuse =
        |what: &str, error: anyhow::Error| Failure::new(Exit::Refused, what).because(error);
    let urls = inputs.iter().map(|input| input.url.parse::<GitUrl>());
    let urls = urls.collect::<Result<Vec<_>, _>>().map_err(|error| {
        refuse("the address of a private input cannot be read", anyhow::anyhow!("{error}"))
    })?;
    let confined = match agent_socket() {
        Ok(socket) => wishes.confine(&socket, &urls).await,
        Err(error) => Err(error.into()),
    };
    confined.map_err(|error| match error {
        CannotForward::Agent(error) => refuse("your SSH agent cannot be forwarded", error.into())
            .hint(
                "`ssh-add -l` shows what your agent holds; name the key with --forward-agent-key",
            ),
        CannotForward::Host(error) => refuse("the host key of a git server is unknown", error.into()).hint(
            "host keys are never fetched over the network: get it from the server's owner, and give it with --git-host-key",
        ),
    })
}
