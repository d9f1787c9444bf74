//! A target, a git server that one key opens, and the user's agent, which holds that key and two others.

use super::git::GitServer;
use super::pace::patience;
use super::{Agent, Home, Sshd, keygen_as, login};
use landfall::machine::{ForwardError, Login, Output, Script, Target};
use landfall::report::{AgentRequest, Metrics};
use landfall::secrets::agent::{AgentWishes, ConfinedAgent, GitHosts, KeyChoice, Policy, Upstream};
use std::path::PathBuf;

pub struct Lab {
    pub home: Home,
    pub sshd: Sshd,
    pub git: GitServer,
    pub agent: Agent,
}

/// Fetches from `$2`, with the hosts in `$1` known, and perhaps a further option for ssh. Of all the keys on this machine
/// only the agent's count.
pub const FETCH: &str = r#"
    options='-F none -o BatchMode=yes -o IdentityFile=/dev/null -o GlobalKnownHostsFile=/dev/null'
    export GIT_SSH_COMMAND="ssh $options -o UserKnownHostsFile=$1 ${3:-}"
    git ls-remote "$2"
"#;

impl Lab {
    pub fn new() -> Self {
        let home = Home::new();
        let sshd = Sshd::start(&home, "");
        Self::of(home, sshd, GitServer::start(), &[])
    }

    /// `arguments` are for the `ssh-add` that adds the key which opens the git server.
    pub fn of(home: Home, sshd: Sshd, git: GitServer, arguments: &[&str]) -> Self {
        for name in ["first", "third"] {
            keygen_as(&home.path(name), "ed25519", name);
        }
        let agent = Agent::start(&home, &home.path("first"));
        for arguments in [
            [arguments, &[git.key().to_str().unwrap()]].concat(),
            vec![home.path("third").to_str().unwrap()],
        ] {
            assert!(agent.add().arg("-q").args(arguments).status().unwrap().success());
        }
        Self { home, sshd, git, agent }
    }

    /// Logins on the git server with the key for it, by its ed25519 host key.
    pub async fn policy(&self) -> Policy {
        // The test's keys are called `test`.
        let wishes = AgentWishes {
            keys: vec![KeyChoice::Comment("test".into())],
            git_hosts: self.git.known_by("ed25519"),
            confirm: false,
        };
        wishes.confine(self.agent.socket(), &[self.git.git_url()]).await.unwrap().policy
    }

    pub fn confine(&self, policy: Policy) -> ConfinedAgent {
        let upstream = Upstream::at(self.agent.socket());
        ConfinedAgent::start(policy, upstream, None, |_| ()).unwrap()
    }

    /// The target, logged in to with a key in a file; for `ssh` there is an agent all the same.
    pub async fn target(&self) -> Target {
        let agent = format!("IdentityAgent={}", self.agent.socket().display());
        let options = vec!["IdentitiesOnly=yes".to_owned(), agent];
        let login = Login { options, ..login(&self.home, &self.sshd) };
        Target::connect(login, Vec::new(), Metrics::default()).await.unwrap()
    }

    /// Runs a script on the target, with the agent.
    pub async fn run(
        &self,
        agent: &ConfinedAgent,
        script: &Script,
    ) -> Result<Output, ForwardError> {
        let target = self.target().await;
        target.attempt_forwarding(script, agent.socket(), &mut |_| (), patience()).await
    }

    /// What fetches the repository, with its host known by the key of this type.
    pub fn fetch(&self, kind: &str) -> Script {
        let hosts = self.known_hosts(&self.git.known_by(kind), "known_hosts");
        Script::sh(FETCH).arg(hosts.to_str().unwrap()).arg(self.git.url())
    }

    pub fn known_hosts(&self, hosts: &GitHosts, name: &str) -> PathBuf {
        let path = self.home.path(name);
        std::fs::write(&path, hosts.known_hosts(&[self.git.git_url()]).unwrap()).unwrap();
        path
    }
}

/// The requests of this kind: how each was answered, and why.
pub fn answers(agent: &ConfinedAgent, asked: &str) -> Vec<(&'static str, String)> {
    let is_meant = |request: &AgentRequest| request.asked == asked;
    let requests = agent.requests().into_iter().filter(is_meant);
    requests.map(|request| (request.answer, request.why.unwrap_or_default())).collect()
}
