//! `landfall disk`: the disks of a machine that is installed: what is where, the host's disk file, and how one of them is replaced.
//! Nothing but a replacement writes to the target.

mod follow;
mod inventory;
mod replace;
mod resume;
pub(crate) mod storage;
mod watch;
mod work;

pub(crate) use inventory::Destination as InventoryDestination;
pub(crate) use replace::ReplaceWishes;

use super::options::{acceptable, deadlines, login, place};
use super::{Command, Invocation};
use crate::facts::{HostFacts, HostRef, StorageFacts, TargetFacts};
use crate::journal::{self, Journal, Key};
use crate::machine::{Deadlines, Login};
use crate::prepare::{Flake, Workstation};
use crate::report::{Event, Failure, Report, is_interactive};
use crate::steps::TargetState;
use std::path::PathBuf;
use std::time::Duration;
use storage::ReplacementWishes;
use watch::Watch;
use work::Work;

/// Show which disk is where, write the host's disk file, replace a disk that has failed
#[derive(Debug, clap::Subcommand)]
pub(in crate::commands) enum DiskCommands {
    List(ListArguments),
    Inventory(InventoryArguments),
    Replace(ReplaceArguments),
}

/// Where the host is, and how to get there.
#[derive(Debug, clap::Args)]
struct Whereabouts {
    #[command(flatten)]
    place: place::PlaceArguments,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    login: login::LoginArguments,
}

/// Show every disk of TARGET and of the layout of HOST: what it is, what it is for, and its state in its pool
///
/// Nothing is changed, and no sleeping disk is woken. Age and temperature are shown where smartctl is installed. What
/// differs from the flake's layout is marked.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ListArguments {
    #[command(flatten)]
    at: Whereabouts,
}

/// Write the disk file of HOST from the disks of TARGET, each under a name that follows the hardware
///
/// The disk file is the Nix file that gives each disk of the layout its path below /dev/disk. Disks that are where the
/// layout says keep their names. Without --out the file is written to stdout.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct InventoryArguments {
    /// Write the disk file here
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,

    /// Overwrite the file if it exists
    #[arg(long, requires = "out")]
    replace: bool,

    #[command(flatten)]
    at: Whereabouts,
}

/// Replace a disk of TARGET: take the old one out, wait for the new one, fill it, and prove that the pool is whole
///
/// Without --old, it replaces the one member that has failed; without --new, it takes the one empty disk that is not in
/// use, or that is put in. First it is proven that the pool survives. If the new disk is there beside an old one that
/// still works, the old one is read until the new one is complete. If the command is interrupted, the same command
/// continues; Ctrl-C while the new disk is being filled only ends the watching.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct ReplaceArguments {
    /// The disk to take out: its serial number, its name in the layout, or the GUID of the pool member
    #[arg(long, value_name = "SERIAL|GUID")]
    old: Option<String>,

    /// Serial number of the disk to put in
    #[arg(long, value_name = "SERIAL")]
    new: Option<String>,

    /// Accept these findings, by their codes, and continue (only findings that allow it)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = acceptable)]
    accept: Vec<String>,

    /// Show what would be done, and do nothing; the exit code is 3 if a finding forbids it
    #[arg(long)]
    plan: bool,

    /// Agree to the plan without being asked
    #[arg(short, long, conflicts_with = "plan")]
    yes: bool,

    /// Seconds to wait for the new disk
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = deadlines::seconds)]
    wait: Duration,

    /// Scrub the pool in the end: everything in it is read once more
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
        let Whereabouts { place, json, login } = at;
        let (host, flake, target) = place.read()?;
        let may_ask = is_interactive() && !json;
        let (name, words) = (host.to_string(), target.to_string());
        let request = DiskRequest {
            host,
            flake,
            login: login.login(target, may_ask, Deadlines::default())?,
            task,
        };
        let command = Command::Disk(Box::new(request));
        Ok(Invocation { command, host: name, target: words, json, summary_file: None })
    }
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct DiskRequest {
    /// Which host.
    pub(crate) host: HostRef,
    /// The flake, for a host that names none.
    pub(crate) flake: Flake,
    /// How to log in to the target.
    pub(crate) login: Login,
    /// What is to be done.
    pub(crate) task: DiskTask,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub(crate) enum DiskTask {
    /// `landfall disk list`.
    List,
    /// `landfall disk inventory`.
    Inventory(InventoryDestination),
    /// `landfall disk replace --plan`.
    PlanReplacement(ReplaceWishes),
    /// `landfall disk replace`.
    Replace(ReplaceWishes),
}

/// What was declared and found.
struct Known {
    host: HostFacts,
    found: TargetFacts,
    storage: StorageFacts,
}

/// Does one of them.
pub async fn disk(
    request: &DiskRequest,
    report: &Report,
    target_state: &TargetState,
) -> Result<(), Failure> {
    // A file that cannot be written is told before anybody waits for an evaluation.
    if let DiskTask::Inventory(destination) = &request.task {
        destination.prove()?;
    }
    let journal = match &request.task {
        DiskTask::Replace(_) => Some(open_journal(request)?),
        _ => None,
    };
    let (known, watch) = look(request, report).await?;
    let Known { host, found, storage } = &known;
    match (&request.task, journal) {
        (DiskTask::List, _) => {
            let listing = storage::list(host, found, storage);
            report.emit(Event::Disks { listing: listing.into() });
        }
        (DiskTask::Inventory(destination), _) => {
            let text = storage::disk_file(host, found, storage);
            let path = destination.write(&text)?;
            report.emit(Event::DiskFile { text, path });
        }
        (DiskTask::Replace(wishes), Some(journal)) => {
            let work = Work::new(&request.host.attribute, known, wishes, watch, report);
            Box::pin(work.replace(journal, target_state)).await?;
        }
        (DiskTask::PlanReplacement(wishes) | DiskTask::Replace(wishes), None | Some(_)) => {
            replace::plan(&known, wishes, report)?;
        }
    }
    Ok(())
}

fn open_journal(request: &DiskRequest) -> Result<Journal, Failure> {
    let DiskRequest { host, flake, login, .. } = request;
    let key = Key::of(host, &flake.reference, &login.destination);
    let journal = journal::directory().and_then(|directory| Journal::open(&directory, &key));
    journal.map_err(|error| {
        let away =
            "a journal that cannot be read can be moved away; it remembers what was agreed to";
        journal::not_opened(error, away)
    })
}

/// Evaluates the flake and looks at the target, both at once.
async fn look<'a>(
    request: &DiskRequest,
    report: &'a Report,
) -> Result<(Known, Watch<'a>), Failure> {
    let DiskRequest { host, flake, login, .. } = request;
    let workstation = Workstation::find(flake)?;
    let declared = HostFacts::gather(&workstation.nix, host, &flake.reference);
    let looked_at = async {
        let key = Key::of(host, &flake.reference, &login.destination);
        let mut watch = Watch::connect(&key, login, workstation.metrics.clone(), report).await?;
        report.doing(format!("looking at {}", login.destination));
        let (found, storage) = watch.look().await?;
        Ok((found, storage, watch))
    };
    let (host, (found, storage, watch)) = tokio::try_join!(declared, looked_at)?;
    Ok((Known { host, found, storage }, watch))
}
