//! Options for what a machine is made with beside its flake: the same for an install, its check and its rehearsal.

use super::{agent, build, files, identity};
use crate::prepare::request::Provisions;

/// Who builds, what may be used of the agent, the host key, files.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ProvisionArguments {
    #[command(flatten)]
    build: build::BuildArguments,

    #[command(flatten)]
    agent: agent::AgentArguments,

    #[command(flatten)]
    host_key: identity::IdentityArguments,

    #[command(flatten)]
    files: files::FileArguments,
}

impl ProvisionArguments {
    /// `may_ask`: somebody is there to type a passphrase.
    pub(in crate::commands) fn provisions(self, may_ask: bool) -> Result<Provisions, clap::Error> {
        let agent = self.agent.wishes()?;
        Ok(Provisions {
            // Those that only a real machine has are told elsewhere.
            keep: Vec::new(),
            disk_keys: Vec::new(),
            build_on: self.build.build_on()?,
            evaluate_there: self.build.evaluates_there().then_some(agent),
            host_key: self.host_key.source(may_ask),
            extra: self.files.extra()?,
        })
    }
}
