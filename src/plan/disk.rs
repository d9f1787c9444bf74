//! What becomes of each disk of the target.

use crate::facts::{Disk, HostFacts, TargetFacts};
use crate::report::size;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What becomes of a disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Action {
    /// What is on it is lost.
    Erase,
    /// Nothing on it is recognised; it will be laid out.
    Create,
    /// Nothing is written to it.
    Keep,
}

/// A disk of the layout, or one that only the target has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlannedDisk {
    /// Its name in the layout; none for one the layout does not know.
    pub(crate) name: Option<String>,
    /// Its path: the layout's, or else the kernel's.
    pub(crate) device: String,
    /// What becomes of it.
    pub(crate) action: Action,
    /// The disk itself, if it can be seen already.
    pub(crate) found: Option<Disk>,
    /// What it holds now, in words; empty if nothing is recognised, or it cannot be seen.
    pub(crate) holds: String,
}

impl PlannedDisk {
    /// Whether the layout writes to it.
    pub(crate) fn is_wiped(&self) -> bool {
        self.action != Action::Keep
    }

    /// Its serial number, if it has one that is known.
    pub(crate) fn serial(&self) -> Option<&str> {
        self.found.as_ref().map(|disk| disk.serial.as_str()).filter(|serial| !serial.is_empty())
    }

    /// Two lines for people: what becomes of which disk, and what it is and holds.
    pub(crate) fn lines(&self) -> [String; 2] {
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
            None => {
                "not visible from the current system; checked again in the installer".to_owned()
            }
            Some(disk) => {
                let known = |what: &str, text: &str| match text {
                    "" => format!("{what} unknown"),
                    text => format!("{what} {text}"),
                };
                let holds = if self.holds.is_empty() { "nothing recognised" } else { &self.holds };
                let (serial, wwn) = (known("serial", &disk.serial), &disk.wwn);
                let wwn = if wwn.is_empty() { String::new() } else { format!(", WWN {wwn}") };
                let model = if disk.model.is_empty() { "model unknown" } else { &disk.model };
                // By what it is compared later.
                let known_by = match (disk.serial.as_str(), disk.wwn.as_str()) {
                    ("", "") if disk.ports.is_empty() => {
                        " (known by what it holds, until a restart by its name)"
                    }
                    ("", "") => " (known by where it is plugged in)",
                    _ => "",
                };
                format!("{} {model}, {serial}{wwn}{known_by}: {holds}", size(disk.size))
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
    let legs = legs(host, target, &named);
    let others = target.disks.values().filter(|disk| !named.contains(&disk.name));
    for disk in others.filter(|disk| !legs.contains(&disk.name)) {
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

/// What is built on the disk.
fn holders(disk: &Disk) -> impl Iterator<Item = &String> {
    disk.volumes.iter().flat_map(|volume| &volume.holders)
}

/// Disks that are neither kept nor erased by themselves: they are the legs of an array or a multipath map that the layout
/// names, or further paths to one of its disks. (Findings refuse such a layout.)
fn legs<'a>(host: &HostFacts, target: &'a TargetFacts, named: &[String]) -> BTreeSet<&'a String> {
    let layout = host.disks.iter().flatten().map(|(_, disk)| &disk.device);
    let mut maps: BTreeSet<&str> = layout.filter_map(|device| target.stacked_at(device)).collect();
    let is_multipath =
        |map: &&String| target.mapped.get(*map).is_some_and(|uuid| uuid.starts_with("mpath-"));
    let disks = target.disks.values();
    let of_named = disks.filter(|disk| named.contains(&disk.name)).flat_map(holders);
    maps.extend(of_named.filter(is_multipath).map(String::as_str));
    let is_leg = |disk: &&Disk| holders(disk).any(|holder| maps.contains(holder.as_str()));
    let legs = target.disks.values().filter(|disk| !named.contains(&disk.name)).filter(is_leg);
    legs.map(|disk| &disk.name).collect()
}

/// What the disk holds; empty if nothing is recognised.
fn holds(disk: &Disk) -> String {
    if disk.is_bare() { String::new() } else { disk.contents() }
}
