//! `landfall verify`.

use super::{Command, Invocation, flake, login, usage};
use crate::facts::HostRef;
use crate::machine::{Deadlines, Destination};
use crate::report::is_interactive;
use crate::verify::VerifyRequest;

/// See whether TARGET runs what the flake declares for HOST
///
/// Evaluates the flake, looks at the machine and compares: the system, the host's name, pools and their properties,
/// file systems, failed units. Nothing is built or changed. The exit code is 11 if anything differs.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Destination,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Say what is seen as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl VerifyArguments {
    pub(super) fn invocation(self) -> Result<Invocation, clap::Error> {
        let host: HostRef = self.host.parse().map_err(usage)?;
        let target = self.target.to_string();
        let may_ask = is_interactive() && !self.json;
        let login = self.login.login(self.target, may_ask, Deadlines::default())?;
        let overrides = self.flake.overrides()?;
        let request = VerifyRequest { host, flake: self.flake.flake, overrides, login };
        let command = Command::Verify(Box::new(request));
        Ok(Invocation { command, host: self.host, target, json: self.json, summary_file: None })
    }
}
