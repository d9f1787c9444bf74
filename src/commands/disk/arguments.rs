//! `landfall disk`.

use crate::commands::disk::storage::ReplacementWishes;
use crate::commands::disk::{DiskRequest, DiskTask, InventoryDestination, ReplaceWishes};
use crate::commands::options::{deadlines, flake, login};
use crate::commands::{Command, Invocation, usage};
use crate::facts::HostRef;
use crate::machine::{Deadlines, Destination};
use crate::report::is_interactive;
use std::path::PathBuf;
use std::time::Duration;

/// See which disk is where, write the host's disk file, replace a disk that has failed
#[derive(Debug, clap::Subcommand)]
pub(in crate::commands) enum DiskCommands {
    List(ListArguments),
    Inventory(InventoryArguments),
    Replace(ReplaceArguments),
}

/// Where the host is, and how to get there.
#[derive(Debug, clap::Args)]
struct Whereabouts {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Destination,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Say what is found as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    login: login::LoginArguments,
}

/// Show every disk of TARGET and of the layout of HOST: what it is, what it is for, how its pool is
///
/// Nothing is changed, and no disk that sleeps is woken. Age and temperature are shown where smartctl is installed. What
/// differs from the flake's layout is marked.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ListArguments {
    #[command(flatten)]
    at: Whereabouts,
}

/// Write the disk file of HOST from the disks of TARGET, by names that follow the hardware
///
/// Disks that are where the layout says keep their names. Without --out it is shown on stdout.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct InventoryArguments {
    /// Write it to this file
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Write over a file that is there
    #[arg(long, requires = "out")]
    replace: bool,

    #[command(flatten)]
    at: Whereabouts,
}

/// Replace a disk of TARGET: take the old one out, wait for the new one, fill it, and prove the pool whole
///
/// Without --old, the one member that has failed is meant; without --new, the one empty disk that nobody uses, or that is
/// put in. It is proven first that the pool survives. Where the new disk is there beside a working old one, the old one is
/// read until the new one is whole. Cut at any moment, the same command goes on; Ctrl-C while the new disk is filled stops
/// the watching only.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ReplaceArguments {
    /// The disk that goes: its serial number, its name in the layout, or the GUID of the member
    #[arg(long, value_name = "SERIAL|GUID")]
    old: Option<String>,

    /// Serial number of the disk that comes
    #[arg(long, value_name = "SERIAL")]
    new: Option<String>,

    /// Go on in spite of these findings
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = crate::commands::options::acceptable)]
    accept: Vec<String>,

    /// Show what is to be done, and do nothing; the exit code is 3 if something speaks against it
    #[arg(long)]
    plan: bool,

    /// Agree to what the plan says, without a question
    #[arg(short, long, conflicts_with = "plan")]
    yes: bool,

    /// Seconds the new disk is waited for
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = deadlines::seconds)]
    wait: Duration,

    /// Have everything in the pool read once more in the end
    #[arg(long, conflicts_with = "plan")]
    scrub: bool,

    #[command(flatten)]
    at: Whereabouts,
}

impl DiskCommands {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let (at, task) = match self {
            Self::List(ListArguments { at }) => (at, DiskTask::List),
            Self::Inventory(InventoryArguments { at, out, replace }) => {
                (at, DiskTask::Inventory(InventoryDestination { out, replace }))
            }
            Self::Replace(ReplaceArguments { at, old, new, accept, plan, yes, wait, scrub }) => {
                let disks = ReplacementWishes { old, new };
                let wishes = ReplaceWishes { disks, accept, yes, wait, scrub };
                let task = if plan {
                    DiskTask::PlanReplacement(wishes)
                } else {
                    DiskTask::Replace(wishes)
                };
                (at, task)
            }
        };
        let Whereabouts { host, target, flake, json, login } = at;
        let reference: HostRef = host.parse().map_err(usage)?;
        let may_ask = is_interactive() && !json;
        let words = target.to_string();
        let request = DiskRequest {
            host: reference,
            flake: flake.flake()?,
            login: login.login(target, may_ask, Deadlines::default())?,
            task,
        };
        let command = Command::Disk(Box::new(request));
        Ok(Invocation { command, host, target: words, json, summary_file: None })
    }
}
