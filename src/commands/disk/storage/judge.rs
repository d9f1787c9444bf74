//! Whether a disk may take a member's place.

use crate::facts::{DeclaredDisk, Disk, TargetFacts, TopVdev, ZfsLabel};
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use crate::report::size;

/// What the place of a member asks of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Need {
    /// Bytes that its partition must have, at the least; none if no other member's label tells.
    pub(crate) bytes: Option<u64>,
    /// Bytes of the smallest sector that the vdev writes; none likewise.
    pub(crate) sector: Option<u64>,
}

impl Need {
    /// By the labels of the other members that are here.
    pub(super) fn of(target: &TargetFacts, top: &TopVdev) -> Self {
        let guids: Vec<u64> = top.vdev.leaves().iter().filter_map(|leaf| leaf.guid).collect();
        let volumes = target.disks.values().flat_map(|disk| &disk.volumes);
        let labels = volumes.filter(|volume| !volume.zfs_is_stale).filter_map(|v| v.zfs.as_ref());
        let siblings = labels.filter(|label| guids.contains(&label.guid));
        // A member that was away knows less.
        let Some(label) = siblings.max_by_key(|label| label.txg) else { return Self::default() };
        let ZfsLabel { vdev, .. } = label;
        let shift = u32::try_from(vdev.ashift).ok().filter(|shift| (9..=16).contains(shift));
        Self { bytes: vdev.least_member(), sector: shift.map(|shift| 1 << shift) }
    }
}

/// What speaks against the disk. `declared`: how it will be partitioned. `pool`: whose member it is to be.
pub(super) fn judge(
    need: &Need,
    declared: &DeclaredDisk,
    pool: &str,
    disk: &Disk,
    target: &TargetFacts,
) -> Vec<Finding> {
    let label = disk.label();
    let mut found = Vec::new();
    // Of a layout that cannot be read, there is a finding of its own.
    let is_too_small = |room: &u64| *room == 0 || need.bytes.is_some_and(|bytes| *room < bytes);
    if let Some(room) = room(declared, pool, disk).filter(is_too_small) {
        found.push(kind::REPLACE_NEW_SMALL.seen(
            format!(
                "the new disk leaves {} for the pool, which needs {}: {label}",
                exact(room),
                need.bytes.map_or("more".to_owned(), exact)
            ),
            "take a disk of the same size or a larger one",
        ));
    }
    if let Some(sector) = need.sector.filter(|sector| u64::from(disk.sector) > *sector) {
        found.push(kind::REPLACE_NEW_SECTORS.seen(
            format!(
                "the new disk has sectors of {} bytes, the vdev writes {sector}: {label}",
                disk.sector
            ),
            "take a disk with smaller sectors, or create the pool again with ashift=12 and restore it",
        ));
    }
    let broken = [
        (disk.unreadable, "cannot be read"),
        (disk.read_only, "is read-only"),
        (disk.healthy == Some(false), "is failing, by its own account"),
    ];
    for (_, what) in broken.into_iter().filter(|(is_so, _)| *is_so) {
        found.push(kind::REPLACE_NEW_BROKEN.seen(
            format!("the new disk {what}: {label}"),
            "look at cable and power (`dmesg`, `smartctl -a`), or take another disk",
        ));
    }
    contents(disk, target, &mut found);
    found
}

/// What is on it, the gravest first.
fn contents(disk: &Disk, target: &TargetFacts, found: &mut Vec<Finding>) {
    let (label, holds) = (disk.label(), disk.contents());
    let is_part = |member: &String| disk.volumes.iter().any(|volume| volume.name == *member);
    let imported = target.pools.iter().find(|pool| pool.members.iter().any(is_part));
    let used = disk
        .volumes
        .iter()
        .any(|volume| !volume.mounted.is_empty() || volume.swap || !volume.holders.is_empty());
    let of_pool = |stale| {
        let mut volumes = disk.volumes.iter().filter(move |volume| volume.zfs_is_stale == stale);
        volumes.find_map(|volume| volume.zfs.as_ref())
    };
    if let Some(pool) = imported {
        found.push(kind::REPLACE_NEW_IN_USE.seen(
            format!(
                "the new disk is a member of the pool {}, which is imported: {label}",
                pool.name
            ),
            "take another disk",
        ));
    } else if used {
        found.push(kind::REPLACE_NEW_IN_USE.seen(
            format!("the new disk is in use: {label}\n{holds}"),
            "unmount it and end what uses it, or take another disk",
        ));
    } else if of_pool(false).or(of_pool(true)).is_some() {
        found.push(kind::REPLACE_NEW_POOL.seen(
            format!("the new disk holds {holds}: {label}"),
            "take an empty disk; if that pool is gone for good, accept this",
        ));
    } else if !disk.is_bare() {
        found.push(kind::REPLACE_NEW_HOLDS.seen(
            format!("the new disk holds {holds}: {label}"),
            "take an empty disk; if what it holds may be lost, accept this",
        ));
    }
}

/// Bytes that the layout leaves for the pool on this disk, 0 if its partitions do not fit; none if they cannot be told.
pub(super) fn room(declared: &DeclaredDisk, pool: &str, disk: &Disk) -> Option<u64> {
    if declared.pool.as_deref() == Some(pool) {
        return Some(disk.size);
    }
    let Ok(extents) = declared.extents(Some(disk.size), disk.sector) else { return Some(0) };
    let mut places = declared.partitions.iter().zip(extents);
    let member = places.find(|(part, _)| part.pool.as_deref() == Some(pool));
    member.map_or(Some(0), |(_, extent)| extent.length())
}

/// Whether the layout puts anything beside the pool on the disk.
pub(super) fn has_more(declared: &DeclaredDisk) -> bool {
    declared.partitions.len() > declared.pools().count()
}

/// For amounts that differ by little: `4.0 TB (4000787030016 bytes)`.
fn exact(bytes: u64) -> String {
    format!("{} ({bytes} bytes)", size(bytes))
}
