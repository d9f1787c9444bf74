//! What becomes of each disk of the target.

use super::Agreed;
use crate::facts::{DeclaredDisk, Disk, HostFacts, TargetFacts, Volume};
use crate::report::size;
use serde::Serialize;

/// What becomes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// What is on it is lost.
    Erase,
    /// Nothing on it is recognised; it will be laid out.
    Create,
    /// Nothing is written to it.
    Keep,
}

/// A disk of the layout, or one that only the target has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlannedDisk {
    /// Its name in the layout; none for one the layout does not know.
    pub name: Option<String>,
    /// Its path: the layout's, or else the kernel's.
    pub device: String,
    /// What becomes of it.
    pub action: Action,
    /// The disk itself, if it can be seen already.
    pub found: Option<Disk>,
    /// What it holds now, in words; empty if nothing is recognised, or it cannot be seen.
    pub holds: String,
}

impl PlannedDisk {
    /// Whether the layout writes to it.
    pub fn is_wiped(&self) -> bool {
        self.action != Action::Keep
    }

    /// Its serial number, if it has one that is known.
    pub fn serial(&self) -> Option<&str> {
        self.found.as_ref().map(|disk| disk.serial.as_str()).filter(|serial| !serial.is_empty())
    }

    /// Two lines for people: what becomes of which disk, and what it is and holds.
    pub fn lines(&self) -> [String; 2] {
        let action = match self.action {
            Action::Erase => "ERASE",
            Action::Create => "create",
            Action::Keep => "keep",
        };
        let first = match &self.name {
            Some(name) => format!("{action:<6} {name:<8} {}", self.device),
            None => format!("{action:<6} {}", self.device),
        };
        let second = match &self.found {
            None => "not seen from the present system; looked at again in the installer".to_owned(),
            Some(disk) => {
                let known = |what: &str, text: &str| match text {
                    "" => format!("{what} unknown"),
                    text => format!("{what} {text}"),
                };
                let holds = if self.holds.is_empty() { "nothing recognised" } else { &self.holds };
                let (serial, wwn) = (known("serial", &disk.serial), &disk.wwn);
                let wwn = if wwn.is_empty() { String::new() } else { format!(", WWN {wwn}") };
                let model = if disk.model.is_empty() { "model unknown" } else { &disk.model };
                format!("{} {model}, {serial}{wwn}: {holds}", size(disk.size))
            }
        };
        [first, format!("       {second}")]
    }
}

/// Every disk: those of the layout in its order, then the target's others.
pub(super) fn planned_disks(host: &HostFacts, target: &TargetFacts) -> Vec<PlannedDisk> {
    let mut planned = Vec::new();
    let mut named = Vec::new();
    for (name, declared) in host.disks.iter().flatten() {
        let found = target.disk(&declared.device).cloned();
        named.extend(found.iter().map(|disk| disk.name.clone()));
        let holds = found.as_ref().map(holds).unwrap_or_default();
        let action = match (declared.destroy, &found) {
            (false, _) => Action::Keep,
            (true, Some(_)) if holds.is_empty() => Action::Create,
            (true, _) => Action::Erase,
        };
        let (name, device) = (Some(name.clone()), declared.device.clone());
        planned.push(PlannedDisk { name, device, action, found, holds });
    }
    for disk in target.disks.values().filter(|disk| !named.contains(&disk.name)) {
        planned.push(PlannedDisk {
            name: None,
            device: format!("/dev/{}", disk.name),
            action: Action::Keep,
            holds: holds(disk),
            found: Some(disk.clone()),
        });
    }
    planned
}

/// Whether the disks of the layout hold nothing but what they held when somebody agreed, or what the layout itself
/// makes of them: then an earlier try has put it there.
pub fn is_explained_by(host: &HostFacts, target: &TargetFacts, agreed: &Agreed) -> bool {
    let held = |disk: &PlannedDisk| {
        agreed.disks.iter().any(|then| then.device == disk.device && then.holds == disk.holds)
    };
    // What nobody had agreed to erase cannot have been made by that run: it may have been kept.
    let agreed_to = |disk: &PlannedDisk| agreed.disks.iter().any(|then| then.device == disk.device);
    let explained = |disk: &PlannedDisk| {
        let declared = disk.name.as_ref().and_then(|name| host.disks.as_ref()?.get(name));
        match (declared, &disk.found) {
            (Some(declared), Some(found)) => is_made_by(declared, found, host),
            _ => true,
        }
    };
    let planned = planned_disks(host, target);
    planned
        .iter()
        .filter(|disk| disk.is_wiped())
        .all(|disk| held(disk) || agreed_to(disk) && explained(disk))
}

/// Whether nothing on the disk is foreign to the layout: a partition has a name of the layout's or none yet, a pool
/// is one of its pools.
fn is_made_by(declared: &DeclaredDisk, disk: &Disk, host: &HostFacts) -> bool {
    let label = |volume: &Volume| {
        let mut labels = declared.partitions.iter().filter_map(|part| part.label.as_ref());
        volume.part_label.is_empty() || labels.any(|label| *label == volume.part_label)
    };
    let pool = |volume: &Volume| {
        let pool = volume.zfs.as_ref().map(|label| &label.pool);
        pool.is_none_or(|pool| host.pools.iter().flatten().any(|(name, _)| name == pool))
    };
    disk.volumes.iter().all(|volume| label(volume) && pool(volume))
}

/// What the disk holds; empty if nothing is recognised.
fn holds(disk: &Disk) -> String {
    if disk.is_bare() { String::new() } else { disk.contents() }
}
