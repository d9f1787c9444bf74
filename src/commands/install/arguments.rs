//! `landfall install`.

use crate::commands::options::{deadlines, flake, keep, login, provisions};
use crate::commands::{Command, Invocation, usage};
use crate::facts::HostRef;
use crate::machine::{Destination, ImageSource};
use crate::plan::{Agreement, Wishes};
use crate::prepare::request::Request;
use crate::report::is_interactive;
use std::path::PathBuf;

/// Where private inputs come from, in five lines.
pub(in crate::commands) const WAYS: &str = "\
A flake with private inputs is installed in one of three ways:
  (default)              this workstation evaluates and builds; your agent stays here
  --build-on target      this workstation evaluates, the target builds; your agent stays here
  --evaluate-on target   the target does all, lent a confined agent for one command
Before a disk is touched each input is proven to be fetchable (docs/secrets.md).";

/// Install HOST on TARGET: kexec, disks, system, reboot, proof
///
/// TARGET may run anything that is Linux and answers SSH. It is taken into an installer that runs from memory,
/// the disks of the flake's own disko layout are erased and laid out, the system is installed, the machine
/// restarts, and is seen running what the flake declares.
#[derive(Debug, clap::Args)]
#[command(after_help = WAYS)]
pub(in crate::commands) struct InstallArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Destination,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    #[command(flatten)]
    consent: ConsentArguments,

    /// Begin anew, whatever an earlier run has done
    #[arg(long)]
    restart: bool,

    /// Go on in spite of a finding, by its code (only for findings that say so)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = crate::commands::options::acceptable)]
    accept: Vec<String>,

    /// Image that takes the target into the installer: a tarball of nix-community/nixos-images
    #[arg(long, value_name = "FILE|URL")]
    kexec: Option<ImageSource>,

    /// SHA-256 the image must have
    #[arg(long, value_name = "HEX", value_parser = crate::commands::options::sha256)]
    kexec_sha256: Option<String>,

    /// Options for kexec on the target
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    kexec_extra_flags: String,

    /// Let the installed system keep the host keys the target has now
    #[arg(long, conflicts_with = "host_key_file")]
    copy_host_keys: bool,

    /// Say what happens as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    /// Write the summary as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(flatten)]
    keep: keep::KeepArguments,

    #[command(flatten)]
    provisions: provisions::ProvisionArguments,

    #[command(flatten)]
    login: login::LoginArguments,

    #[command(flatten)]
    deadlines: deadlines::DeadlineArguments,
}

/// How to agree to the loss of what is on the disks; on a terminal the host's name is asked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Consent")]
#[group(multiple = false)]
struct ConsentArguments {
    /// Agree to exactly the plan with this digest, as `landfall check` shows it
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    plan_digest: Option<String>,

    /// Agree to erase exactly the disks with these serial numbers
    #[arg(long, value_name = "SERIAL", value_delimiter = ',')]
    erase: Vec<String>,

    /// Agree to erase whatever disks the layout names
    #[arg(short, long)]
    yes: bool,
}

impl ConsentArguments {
    fn agreement(self) -> Agreement {
        match self {
            Self { plan_digest: Some(digest), .. } => Agreement::Digest(digest),
            Self { yes: true, .. } => Agreement::Yes,
            Self { erase, .. } if erase.is_empty() => Agreement::Ask,
            Self { erase, .. } => Agreement::Serials(erase.into_iter().collect()),
        }
    }
}

impl InstallArguments {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let host: HostRef = self.host.parse().map_err(usage)?;
        let target = self.target.to_string();
        let may_ask = is_interactive() && !self.json;
        let agreement = self.consent.agreement();
        let overrides = self.flake.overrides()?;
        let request = Request {
            host,
            flake: self.flake.flake,
            login: self.login.login(self.target, may_ask, self.deadlines.deadlines())?,
            // Somebody must be able to agree to its host key.
            may_meet: may_ask || matches!(agreement, Agreement::Digest(_)),
            image: self.kexec,
            image_sha256: self.kexec_sha256,
            overrides,
            wishes: Wishes {
                kexec_extra_flags: self.kexec_extra_flags,
                copy_host_keys: self.copy_host_keys,
                accept: self.keep.accepting(self.accept),
                ..Wishes::default()
            },
            provisions: self.keep.provisions(self.provisions.provisions(may_ask)?)?,
            agreement,
            restart: self.restart,
            journals: None,
            prepare: Vec::new(),
        };
        let command = Command::Install(Box::new(request));
        let (json, summary_file) = (self.json, self.report);
        Ok(Invocation { command, host: self.host, target, json, summary_file })
    }
}

/// The first digits are enough for people, but not to agree to anything.
fn digest(text: &str) -> Result<String, String> {
    if text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(text.to_lowercase())
    } else {
        Err("expected 32 hexadecimal digits, as `landfall check` shows them".to_owned())
    }
}
