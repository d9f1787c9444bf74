//! Which disk comes: those that nobody uses, the one of them that is meant, and its names that last.

use super::volume_of;
use crate::facts::{DeclaredDisk, Disk, HostFacts, StorageFacts, TargetFacts};
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use serde::Serialize;

/// What the user says of it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ReplacementWishes {
    /// The member that goes: its serial number, GUID, name in the layout, or path.
    pub(crate) old: Option<String>,
    /// The serial number of the disk that comes.
    pub(crate) new: Option<String>,
}

/// The disk that comes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NewDisk {
    /// Kernel name, under this boot.
    pub(crate) disk: String,
    /// Its stable path.
    pub(crate) device: String,
    /// What becomes the member: its path.
    pub(crate) member: String,
    /// Its serial number.
    pub(crate) serial: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes of its logical sector; 0 if unknown.
    #[serde(skip)]
    pub(crate) sector: u32,
    /// What it holds now, in words.
    pub(crate) holds: String,
    /// Paths of whatever on it carries the label of a pool.
    #[serde(skip)]
    pub(crate) labelled: Vec<String>,
}

/// The disks that could come: those with the serial number that was named, or else those that no pool and no other part of
/// the layout has.
pub(super) fn candidates<'a>(
    host: &HostFacts,
    target: &'a TargetFacts,
    storage: &StorageFacts,
    wishes: &ReplacementWishes,
) -> Vec<&'a Disk> {
    let all = target.disks.values();
    if let Some(serial) = &wishes.new {
        return all.filter(|disk| disk.serial == *serial).collect();
    }
    let leaves = storage.pools.iter().flat_map(|pool| pool.members().map(|(_, leaf)| leaf));
    let members = leaves.filter_map(|leaf| volume_of(target, leaf)).map(|(disk, _)| disk);
    let declared = host.disks.iter().flatten().map(|(_, disk)| disk);
    let system = declared.filter(|disk| disk.pools().next().is_none());
    let system = system.filter_map(|disk| target.disk(&disk.device));
    let taken: Vec<&str> = members.chain(system).map(|disk| disk.name.as_str()).collect();
    all.filter(|disk| !taken.contains(&disk.name.as_str()) && disk.size > 0).collect()
}

/// The one of them that is meant. One that is not empty is meant only if it was named; of several, the one that fits.
pub(super) fn choose<'a>(
    candidates: &[&'a Disk],
    wishes: &ReplacementWishes,
    fits: impl Fn(&Disk) -> bool,
    findings: &mut Vec<Finding>,
) -> Option<&'a Disk> {
    let is_named = wishes.new.is_some();
    let mut meant: Vec<&Disk> =
        candidates.iter().filter(|disk| is_named || disk.is_bare()).copied().collect();
    if meant.len() > 1 && meant.iter().any(|disk| fits(disk)) {
        meant.retain(|disk| fits(disk));
    }
    match meant.as_slice() {
        [] => None,
        [one] => Some(one),
        several => {
            let lines: Vec<String> = several.iter().map(|disk| disk.label()).collect();
            findings.push(kind::REPLACE_NEW_WHICH.seen(
                format!("{} disks could take the place", several.len()),
                format!("say which one with --new SERIAL:\n{}", lines.join("\n")),
            ));
            None
        }
    }
}

/// The disk by names that last.
pub(super) fn named(
    disk: &Disk,
    layout: &DeclaredDisk,
    pool: &str,
    target: &TargetFacts,
    findings: &mut Vec<Finding>,
) -> Option<NewDisk> {
    let device = target.stable_path(disk).filter(|_| !disk.serial.is_empty());
    let Some(device) = device else {
        findings.push(kind::REPLACE_NEW_UNNAMED.seen(
            format!("the new disk has no name under /dev/disk/by-id: {}", disk.label()),
            "attach it to a controller that tells its serial number",
        ));
        return None;
    };
    let number = layout.partitions.iter().position(|part| part.pool.as_deref() == Some(pool));
    let member = match number {
        Some(at) => format!("{device}-part{}", at + 1),
        None => device.clone(),
    };
    let labelled = disk.volumes.iter().filter(|volume| volume.zfs.is_some());
    let labelled = labelled.map(|volume| {
        let number = volume.name.strip_prefix(&disk.name).unwrap_or_default();
        match number.trim_start_matches('p') {
            "" => device.clone(),
            number => format!("{device}-part{number}"),
        }
    });
    Some(NewDisk {
        labelled: labelled.collect(),
        disk: disk.name.clone(),
        member,
        serial: disk.serial.clone(),
        size: disk.size,
        sector: disk.sector,
        holds: disk.contents(),
        device,
    })
}
