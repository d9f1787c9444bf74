//! `landfall check`.

use super::{Command, Invocation, flake, keep, login, provisions, usage};
use crate::check::CheckRequest;
use crate::facts::HostRef;
use crate::machine::{Deadlines, Destination, ImageSource};
use crate::plan::{Agreement, Wishes};
use crate::report::is_interactive;
use crate::request::Request;

/// Prove all that can be known before an install of HOST, without changing anything
///
/// Evaluates the flake and, with TARGET, looks at the machine: shows what forbids the install or is worth
/// knowing, and the plan with its digest. Nothing is built, sent or written, on neither side. The exit code
/// is 3 if an install would be refused.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Option<Destination>,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Image that would take the target into the installer (a URL is not downloaded for a check)
    #[arg(long, value_name = "FILE|URL")]
    kexec: Option<ImageSource>,

    /// SHA-256 the image must have
    #[arg(long, value_name = "HEX", value_parser = super::install::sha256)]
    kexec_sha256: Option<String>,

    /// Check for an install that keeps the host keys the target has now
    #[arg(long, conflicts_with = "host_key_file")]
    copy_host_keys: bool,

    /// Take a finding upon yourself, by its code (only for findings that say so)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = super::acceptable)]
    accept: Vec<String>,

    /// Say what is found as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keep: keep::KeepArguments,

    #[command(flatten)]
    provisions: provisions::ProvisionArguments,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl CheckArguments {
    pub(super) fn invocation(self) -> Result<Invocation, clap::Error> {
        let host: HostRef = self.host.parse().map_err(usage)?;
        let target = self.target.as_ref().map(Destination::to_string).unwrap_or_default();
        let overrides = self.flake.overrides()?;
        let wishes = Wishes {
            copy_host_keys: self.copy_host_keys,
            accept: self.keep.accepting(self.accept),
            ..Wishes::default()
        };
        let may_ask = is_interactive() && !self.json;
        let provisions = self.keep.provisions(self.provisions.provisions(may_ask)?)?;
        let login = self
            .target
            .map(|target| self.login.login(target, may_ask, Deadlines::default()))
            .transpose()?;
        let install = login.map(|login| Request {
            host: host.clone(),
            flake: self.flake.flake.clone(),
            login,
            may_meet: true,
            image: self.kexec,
            image_sha256: self.kexec_sha256,
            overrides: overrides.clone(),
            wishes: wishes.clone(),
            provisions: provisions.clone(),
            agreement: Agreement::Ask,
            restart: false,
            journals: None,
            prepare: Vec::new(),
        });
        let request =
            CheckRequest { host, flake: self.flake.flake, overrides, wishes, provisions, install };
        let command = Command::Check(Box::new(request));
        Ok(Invocation { command, host: self.host, target, json: self.json, summary_file: None })
    }
}
