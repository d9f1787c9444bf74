//! The disks of a machine that is installed: which one is where, what they are to be by the flake, and whether one of
//! them can be taken out. Pure functions of what was declared and found.

mod document;
mod incoming;
mod inventory;
mod judge;
mod list;
mod partition;
mod redundancy;
mod replacement;
mod standing;
#[cfg(test)]
pub(super) mod tests;

#[cfg(test)]
pub(crate) use document::ReplacementDocument;
pub(crate) use incoming::{NewDisk, ReplacementWishes};
pub(crate) use inventory::disk_file;
#[cfg(test)]
pub(crate) use list::Listing;
pub(crate) use list::list;
pub(crate) use redundancy::failures_to_lose;
pub(crate) use replacement::{Replacement, codes_of_contents, is_about_new_disk, plan_replacement};
pub(crate) use standing::{Standing, standing};

use crate::facts::{DeclaredDisk, Disk, HostFacts, StorageFacts, TargetFacts, VdevStatus, Volume};

/// The member of a pool that is on the disk with this serial number, and the stable path of the disk.
pub(crate) fn member_of<'a>(
    target: &TargetFacts,
    storage: &'a StorageFacts,
    pool: &str,
    serial: &str,
) -> Option<(&'a VdevStatus, String)> {
    let pool = storage.pools.iter().find(|known| known.name == pool)?;
    let mut members =
        pool.members().filter_map(|(_, leaf)| Some((leaf, volume_of(target, leaf)?.0)));
    let (leaf, disk) = members.find(|(_, disk)| disk.serial == serial)?;
    let path = target.stable_path(disk).unwrap_or_else(|| format!("/dev/{}", disk.name));
    Some((leaf, path))
}

/// The volume that a member of a pool is: by the GUID in its label; by its path only where the label tells nothing, for
/// another disk may stand where the member was.
fn volume_of<'a>(target: &'a TargetFacts, leaf: &VdevStatus) -> Option<(&'a Disk, &'a Volume)> {
    let labelled = |volume: &Volume| {
        let guid = volume.zfs.as_ref().filter(|_| !volume.zfs_is_stale).map(|label| label.guid);
        guid.is_some() && guid == leaf.guid
    };
    let at = |fits: &dyn Fn(&Disk, &Volume) -> bool| {
        let mut all = target
            .disks
            .values()
            .flat_map(|disk| disk.volumes.iter().map(move |volume| (disk, volume)));
        all.find(|(disk, volume)| fits(disk, volume))
    };
    at(&|_, volume| labelled(volume)).or_else(|| {
        let path = Some(leaf.name.as_str()).filter(|name| name.starts_with('/'))?;
        at(&|disk, volume| volume.zfs.is_none() && leads_to(path, disk, volume, target))
    })
}

/// Whether a device path is this volume's.
fn leads_to(path: &str, disk: &Disk, volume: &Volume, target: &TargetFacts) -> bool {
    if path.strip_prefix("/dev/") == Some(&volume.name) {
        return true;
    }
    if let Some(label) = path.strip_prefix("/dev/disk/by-partlabel/") {
        return label == volume.part_label;
    }
    let (whole, part) = split_part(path);
    let number = || volume.name.strip_prefix(&disk.name)?.trim_start_matches('p').parse().ok();
    target.links.get(whole) == Some(&disk.name)
        && match part {
            Some(part) => number() == Some(part),
            None => volume.name == disk.name,
        }
}

/// `…-part1` into the disk's path and the partition's number.
fn split_part(path: &str) -> (&str, Option<u32>) {
    match path.rsplit_once("-part") {
        Some((disk, number)) => match number.parse() {
            Ok(number) => (disk, Some(number)),
            Err(_) => (path, None),
        },
        None => (path, None),
    }
}

/// The disk of the layout that a member's path belongs to: its name there, and its declaration.
fn bay_of<'a>(host: &'a HostFacts, leaf: &VdevStatus) -> Option<(&'a str, &'a DeclaredDisk)> {
    let path = leaf.path()?;
    let label = path.strip_prefix("/dev/disk/by-partlabel/");
    let fits = |disk: &DeclaredDisk| {
        let mut labels = disk.partitions.iter().filter_map(|part| part.label.as_deref());
        split_part(path).0 == disk.device
            || label.is_some_and(|label| labels.any(|own| own == label))
    };
    let mut disks = host.disks.iter().flatten();
    disks.find(|(_, disk)| fits(disk)).map(|(name, disk)| (name.as_str(), disk))
}

/// The serial number that udev has put at the end of a by-id path; none where it cannot be told from the model.
fn serial_in(path: &str) -> Option<&str> {
    let name = split_part(path).0.strip_prefix("/dev/disk/by-id/")?;
    // An NVMe disk has a second name, with the number of its namespace behind.
    let namespace = |(_, last): &(&str, &str)| name.starts_with("nvme-") && last.len() <= 2;
    let parts = name.rsplit_once('_')?;
    let (_, serial) = if namespace(&parts) { parts.0.rsplit_once('_')? } else { parts };
    Some(serial).filter(|serial| !serial.is_empty())
}
