//! The disks of a machine that is installed: what is where, the host's disk file, and what replacing
//! one of them takes. Nothing is written to the target.

mod inventory;
mod replace;

pub use inventory::Destination as InventoryDestination;
pub use replace::ReplaceWishes;

use crate::facts::{HostFacts, HostRef, StorageFacts, TargetFacts};
use crate::install::Workstation;
use crate::keys::Flake;
use crate::machine::{Login, Target};
use crate::meet::not_connected;
use crate::plan::storage;
use crate::report::{Event, Exit, Failure, Report};

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
}

/// What was declared and found.
struct Known {
    host: HostFacts,
    found: TargetFacts,
    storage: StorageFacts,
}

/// Does one of them.
pub async fn disk(request: &DiskRequest, report: &Report) -> Result<(), Failure> {
    // A file that cannot be written is told before anybody waits for an evaluation.
    if let DiskTask::Inventory(destination) = &request.task {
        destination.prove()?;
    }
    let known = look(request, report).await?;
    let Known { host, found, storage } = &known;
    match &request.task {
        DiskTask::List => {
            let listing = storage::list(host, found, storage);
            let value = serde_json::to_value(&listing).map_err(|error| {
                Failure::new(Exit::Other, "the list cannot be written").because(error)
            })?;
            report.emit(Event::Disks { text: listing.text(), listing: Box::new(value) });
        }
        DiskTask::Inventory(destination) => {
            let text = storage::disk_file(host, found, storage);
            let path = destination.write(&text)?;
            report.emit(Event::DiskFile { text, path });
        }
        DiskTask::PlanReplacement(wishes) => replace::plan(&known, wishes, report)?,
    }
    Ok(())
}

/// Evaluates the flake and looks at the target, both at once.
async fn look(request: &DiskRequest, report: &Report) -> Result<Known, Failure> {
    let DiskRequest { host, flake, login, .. } = request;
    let workstation = Workstation::find()?.overriding(&flake.overrides);
    let nix = workstation.nix.read_only();
    let declared = HostFacts::gather(&nix, host, &flake.reference);
    let destination = &login.destination;
    let looked_at = async {
        let target = Target::connect(login.clone(), Vec::new(), workstation.tally.clone()).await;
        let target = target.map_err(|error| not_connected(login, error))?;
        report.doing(format!("looking at {destination}"));
        let cannot = |error| {
            let what = format!("{destination} could not be looked at");
            Failure::new(Exit::Connect, what).because(error)
        };
        let found = TargetFacts::gather(&target).await.map_err(cannot)?;
        if found.elevation.is_none() {
            let what = format!("root cannot be had on {destination}");
            return Err(Failure::new(Exit::Refused, what)
                .hint("log in as root, or let the user become root without a password"));
        }
        let storage = StorageFacts::gather(&target, &found).await.map_err(cannot)?;
        Ok((found, storage))
    };
    let (host, (found, storage)) = tokio::try_join!(declared, looked_at)?;
    Ok(Known { host, found, storage })
}
