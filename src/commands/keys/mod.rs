//! `landfall keys`: the life of a machine's host key: made here, proven, placed. (`docs/guide/secrets.md` tells it from the user's side.)

mod copy;
mod create;

pub(crate) use copy::CopyRequest;
pub(crate) use create::CreateRequest;

use super::options::{identity, login, place};
use super::{Command, Invocation};
use crate::facts::{HostFacts, HostRef};
use crate::findings::{Finding, Severity};
use crate::machine::Deadlines;
use crate::plan::{self, Keys};
use crate::prepare::{Flake, Workstation, prove, show_proof, supplied};
use crate::report::{Event, Exit, Failure, Report, is_interactive};
use crate::secrets::{Files, KeySource};
use std::path::PathBuf;

/// Create, check and copy the SSH host keys with which machines decrypt their secrets
#[derive(Debug, clap::Subcommand)]
pub(in crate::commands) enum KeysCommands {
    Create(CreateArguments),
    Check(CheckArguments),
    Copy(CopyArguments),
}

/// Create the SSH host key of HOST on this workstation, encrypted to your own key
///
/// It is kept in landfall's state directory, and the install places it. What has to be added to secrets.nix is
/// shown, with the command that encrypts the secrets again. An existing key is never overwritten.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct CreateArguments {
    #[command(flatten)]
    host: place::HostArguments,

    /// Encrypt it to this key, or those in a file (age1…, ssh-ed25519 …, ssh-rsa …); by default your own
    /// ~/.ssh/id_ed25519.pub or ~/.ssh/id_rsa.pub
    #[arg(long, value_name = "RECIPIENT|FILE")]
    to: Vec<String>,

    /// Keep it in this file, and not in the state directory
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,
}

/// Prove which secrets of HOST its host key decrypts
///
/// Each secret is really decrypted, in memory, with the key that `landfall keys create` has made or
/// --host-key-file names. The exit code is 3 if the machine would not open one of them.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct CheckArguments {
    #[command(flatten)]
    host: place::HostArguments,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    host_key: identity::IdentityArguments,
}

/// Copy the host key of HOST to TARGET: to an installed system, or to one that an installer has mounted on /mnt
///
/// The key goes to the path that the configuration names, readable only by root. A different key that is there is left
/// alone, unless --replace is given.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct CopyArguments {
    #[command(flatten)]
    place: place::PlaceArguments,

    /// Copy it to this path, and not to the one that the configuration names
    #[arg(long, value_name = "PATH", value_parser = absolute)]
    path: Option<String>,

    /// Overwrite a different key that is there
    #[arg(long)]
    replace: bool,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    host_key: identity::IdentityArguments,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl KeysCommands {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let mut at = String::new();
        let (host, json, request) = match self {
            Self::Create(CreateArguments { host, to, out, json }) => {
                let (host, flake) = host.read()?;
                let name = host.to_string();
                (name, json, KeysRequest::Create(CreateRequest { host, flake, to, out }))
            }
            Self::Check(CheckArguments { host, host_key, json }) => {
                let host_key = host_key.source(is_interactive() && !json);
                let (host, flake) = host.read()?;
                (host.to_string(), json, KeysRequest::Check { host, flake, host_key })
            }
            Self::Copy(arguments) => {
                let CopyArguments { place, path, replace, host_key, json, login } = arguments;
                let (host, flake, target) = place.read()?;
                let may_ask = is_interactive() && !json;
                let name = host.to_string();
                at = target.to_string();
                let copy = CopyRequest {
                    host,
                    flake,
                    login: login.login(target, may_ask, Deadlines::default())?,
                    path,
                    replace,
                    host_key: host_key.source(may_ask),
                };
                (name, json, KeysRequest::Copy(Box::new(copy)))
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

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub enum KeysRequest {
    /// `landfall keys create`.
    Create(CreateRequest),
    /// `landfall keys check`.
    Check {
        /// Which host.
        host: HostRef,
        /// The flake, for a host that names none.
        flake: Flake,
        /// The host key, and what opens it.
        host_key: KeySource,
    },
    /// `landfall keys copy`.
    Copy(Box<CopyRequest>),
}

/// Does one of the three.
pub async fn keys(request: &KeysRequest, report: &Report) -> Result<(), Failure> {
    match request {
        KeysRequest::Create(request) => create::create(request, report).await,
        KeysRequest::Check { host, flake, host_key } => check(host, flake, host_key, report).await,
        KeysRequest::Copy(request) => copy::copy(request, report).await,
    }
}

/// Evaluates the flake.
async fn declared(host: &HostRef, flake: &Flake, report: &Report) -> Result<HostFacts, Failure> {
    let workstation = Workstation::find(flake)?;
    report.doing(format!("evaluating {host}"));
    HostFacts::gather(&workstation.nix, host, &flake.reference).await
}

/// Proves which secrets the host will open.
async fn check(
    host: &HostRef,
    flake: &Flake,
    source: &KeySource,
    report: &Report,
) -> Result<(), Failure> {
    let facts = declared(host, flake, report).await?;
    let supplied = supplied(source, host, report).await?;
    if supplied.is_none() {
        report.note(format!("no host key is kept for {host}: `landfall keys create` makes one"));
    }
    let proof = prove(&facts, supplied.as_ref(), false, &Files::default(), None);
    show_proof(&proof, report);
    let keys = Keys { supplied: supplied.as_ref().map(|key| &*key.public), proof: &proof };
    let findings = plan::key_findings(&facts, keys);
    report.emit_all(findings.iter().map(Finding::event));
    let count = |severity| findings.iter().filter(|f| f.kind.severity == severity).count();
    if count(Severity::Error) > 0 {
        return Err(Failure::new(Exit::Refused, "the machine would not open all of its secrets")
            .hint("fix what is listed above"));
    }
    report.emit(Event::KeysChecked {
        secrets: proof.secrets.len(),
        warnings: count(Severity::Warning),
    });
    Ok(())
}
