//! The disks of a machine that is installed: what is where, the host's disk file, and how one of them is replaced.
//! Nothing but a replacement writes to the target.

mod arguments;
mod follow;
mod inventory;
mod replace;
mod resume;
pub mod storage;
mod watch;
mod work;

pub(super) use arguments::DiskCommands;
pub use inventory::Destination as InventoryDestination;
pub use replace::ReplaceWishes;

use crate::commands::install::Workstation;
use crate::commands::keys::Flake;
use crate::facts::{HostFacts, HostRef, StorageFacts, TargetFacts};
use crate::journal::{self, Journal};
use crate::machine::Login;
use crate::report::{Event, Exit, Failure, Report};
use crate::steps::Situation;
use watch::Watch;
use work::Work;

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct DiskRequest {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: Flake,
    /// How to log in to the target.
    pub login: Login,
    /// What is to be done.
    pub task: DiskTask,
}

/// What is to be done.
#[derive(Debug, Clone)]
pub enum DiskTask {
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
    situation: &Situation,
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
            let value = serde_json::to_value(&listing).map_err(|error| {
                Failure::new(Exit::Other, "the list cannot be written").because(error)
            })?;
            report.emit(Event::Disks { text: listing.text(), listing: Box::new(value) });
        }
        (DiskTask::Inventory(destination), _) => {
            let text = storage::disk_file(host, found, storage);
            let path = destination.write(&text)?;
            report.emit(Event::DiskFile { text, path });
        }
        (DiskTask::Replace(wishes), Some(journal)) => {
            let work = Work::new(&request.host.attribute, known, wishes, watch, report);
            Box::pin(work.replace(journal, situation)).await?;
        }
        (DiskTask::PlanReplacement(wishes) | DiskTask::Replace(wishes), None | Some(_)) => {
            replace::plan(&known, wishes, report)?;
        }
    }
    Ok(())
}

fn open_journal(request: &DiskRequest) -> Result<Journal, Failure> {
    let (host, target) = (request.host.to_string(), request.login.destination.to_string());
    let journal =
        journal::directory().and_then(|directory| Journal::open(&directory, &host, &target));
    journal.map_err(|error| {
        Failure::new(Exit::Other, "the journal cannot be used").because(error).hint(
            "a journal that cannot be read can be moved away; it remembers what was agreed to",
        )
    })
}

/// Evaluates the flake and looks at the target, both at once.
async fn look<'a>(
    request: &DiskRequest,
    report: &'a Report,
) -> Result<(Known, Watch<'a>), Failure> {
    let DiskRequest { host, flake, login, .. } = request;
    let workstation = Workstation::find()?.overriding(&flake.overrides);
    let nix = workstation.nix.read_only();
    let declared = HostFacts::gather(&nix, host, &flake.reference);
    let looked_at = async {
        let mut watch = Watch::connect(host, login, workstation.tally.clone(), report).await?;
        report.doing(format!("looking at {}", login.destination));
        let (found, storage) = watch.look().await?;
        Ok((found, storage, watch))
    };
    let (host, (found, storage, watch)) = tokio::try_join!(declared, looked_at)?;
    Ok((Known { host, found, storage }, watch))
}
