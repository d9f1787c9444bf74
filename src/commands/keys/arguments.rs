//! `landfall keys`.

use crate::commands::keys::{CopyRequest, CreateRequest, KeysRequest};
use crate::commands::options::{flake, identity, login};
use crate::commands::{Command, Invocation, usage};
use crate::facts::HostRef;
use crate::machine::{Deadlines, Destination};
use crate::report::is_interactive;
use std::path::PathBuf;

/// Make, prove and place the SSH host keys by which machines open their secrets
#[derive(Debug, clap::Subcommand)]
pub(in crate::commands) enum KeysCommands {
    Create(CreateArguments),
    Check(CheckArguments),
    Copy(CopyArguments),
}

/// Make the SSH host key of HOST on this machine, encrypted to your own key
///
/// It is kept in landfall's state directory, and the install places it. What has to be added to secrets.nix is
/// shown, with the command that encrypts the secrets anew. A key that is there already is never overwritten.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct CreateArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Encrypt it to this key, or those in a file (age1…, ssh-ed25519 …, ssh-rsa …); by default your own
    /// ~/.ssh/id_ed25519.pub or ~/.ssh/id_rsa.pub
    #[arg(long, value_name = "RECIPIENT|FILE")]
    to: Vec<String>,

    /// Keep it in this file instead
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Say what happens as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,
}

/// Prove which secrets of HOST its host key opens
///
/// Each secret is really decrypted, in memory, with the key that `landfall keys create` has made or
/// --host-key-file names. The exit code is 3 if the machine would not open one of them.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct CheckArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    #[command(flatten)]
    host_key: identity::IdentityArguments,

    /// Say what is found as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,
}

/// Place the host key of HOST on TARGET: an installed system, or one that an installer has mounted on /mnt
///
/// The key goes to the path that the configuration says, readable by root alone. Another key that is there is left,
/// unless --replace is given.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct CopyArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Destination,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Place it at this path instead
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    path: Option<String>,

    /// Write over another key that is there
    #[arg(long)]
    replace: bool,

    #[command(flatten)]
    host_key: identity::IdentityArguments,

    /// Say what happens as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl KeysCommands {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let reference = |host: &str| host.parse::<HostRef>().map_err(usage);
        let mut at = String::new();
        let (host, json, request) = match self {
            Self::Create(CreateArguments { host, flake, to, out, json }) => {
                let flake = flake.flake()?;
                let create = CreateRequest { host: reference(&host)?, flake, to, out };
                (host, json, KeysRequest::Create(create))
            }
            Self::Check(CheckArguments { host, flake, host_key, json }) => {
                let host_key = host_key.source(is_interactive() && !json);
                let flake = flake.flake()?;
                let request = KeysRequest::Check { host: reference(&host)?, flake, host_key };
                (host, json, request)
            }
            Self::Copy(arguments) => {
                let CopyArguments { host, target, flake, path, replace, host_key, json, login } =
                    arguments;
                let may_ask = is_interactive() && !json;
                at = target.to_string();
                let copy = CopyRequest {
                    host: reference(&host)?,
                    flake: flake.flake()?,
                    login: login.login(target, may_ask, Deadlines::default())?,
                    path,
                    replace,
                    host_key: host_key.source(may_ask),
                };
                (host, json, KeysRequest::Copy(Box::new(copy)))
            }
        };
        let command = Command::Keys(request);
        Ok(Invocation { command, host, target: at, json, summary_file: None })
    }
}

/// A path of the target's.
fn absolute(text: &str) -> Result<String, String> {
    if text.starts_with('/') && !text.ends_with('/') {
        Ok(text.to_owned())
    } else {
        Err("expected the absolute path of a file".to_owned())
    }
}
