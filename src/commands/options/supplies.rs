//! Options for what a machine is made with beside its flake: the same for an install, its check and its rehearsal.

use super::{agent, build, files, identity};
use crate::plan::InstallOptions;
use crate::prepare::Sources;

/// Who builds, what may be used of the agent, the host key, files.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct SupplyArguments {
    #[command(flatten)]
    build: build::BuildArguments,

    #[command(flatten)]
    agent: agent::AgentArguments,

    #[command(flatten)]
    host_key: identity::IdentityArguments,

    #[command(flatten)]
    files: files::FileArguments,
}

impl SupplyArguments {
    /// The options with them, and where that which is supplied comes from; `may_ask`: somebody is there to type a passphrase.
    pub(in crate::commands) fn read(
        self,
        options: InstallOptions,
        may_ask: bool,
    ) -> Result<(InstallOptions, Sources), clap::Error> {
        let agent = self.agent.wishes()?;
        let sources = Sources {
            // Only a real machine has disks that it keeps.
            disk_keys: Vec::new(),
            evaluate_there: self.build.evaluates_there().then_some(agent),
            host_key: self.host_key.source(may_ask),
            extra: self.files.extra()?,
        };
        Ok((InstallOptions { build_on: self.build.build_on()?, ..options }, sources))
    }
}
