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
    #[command(flatten)]
    place: place::PlaceArguments,

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

    /// Accept these findings, by their codes, and continue
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = acceptable)]
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
    let nix = workstation.nix.read_only();
    let declared = HostFacts::gather(&nix, host, &flake.reference);
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
