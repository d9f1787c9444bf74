//! What can be found in the target's disks, against the layout.

use super::Finding;
use super::catalogue as kind;
use super::host::bytes;
use crate::facts::{DeclaredDisk, Disk, HostFacts, TargetFacts, Volume, pools};
use crate::plan::keep::kept_pools;
use crate::report::size;
use std::collections::{BTreeMap, BTreeSet};

/// The layout's disks as the target sees them.
struct Layout<'a> {
    host: &'a HostFacts,
    target: &'a TargetFacts,
    /// Those that the layout wipes and the target has: name in the layout, declaration, disk.
    wiped: Vec<(&'a str, &'a DeclaredDisk, &'a Disk)>,
    /// Kernel names of all that the layout names, wiped or not.
    named: BTreeSet<&'a str>,
}

pub(super) fn findings(host: &HostFacts, target: &TargetFacts, ours: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    let wiped = host.wiped_disks().filter_map(|(name, declared)| {
        Some((name.as_str(), declared, target.disk(&declared.device)?))
    });
    let declared = host.disks.iter().flatten().map(|(_, disk)| disk);
    let named = declared.filter_map(|disk| Some(target.disk(&disk.device)?.name.as_str()));
    let layout = Layout { host, target, wiped: wiped.collect(), named: named.collect() };
    if target.is_installer() {
        missing(&layout, &mut found);
        if !ours {
            in_use(&layout, &mut found);
        }
    }
    twice(&layout, &mut found);
    for (name, declared, disk) in &layout.wiped {
        each(&layout, name, declared, disk, &mut found);
    }
    foreign_pools(&layout, &mut found);
    if !ours {
        doubles(&layout, &mut found);
    }
    found
}

/// Disks of the layout that an installer does not see. (A rescue system may lack their drivers or
/// links, so there it means nothing yet; the disko step looks again.)
fn missing(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    let there: Vec<_> = layout.target.disks.values().map(Disk::label).collect();
    for (name, disk) in layout.host.wiped_disks() {
        if layout.target.disk(&disk.device).is_none() {
            found.push(kind::DISK_MISSING.seen(
                format!("the disk '{name}' of the layout, {}, is not there", disk.device),
                format!("the target has:\n{}", there.join("\n")),
            ));
        }
    }
}

/// In an installer somebody has put to use what is to be erased. (In the old system it is normal: kexec leaves it.)
fn in_use(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    for (name, _, disk) in &layout.wiped {
        for Volume { name: volume, mounted, swap, holders, .. } in &disk.volumes {
            let of = format!("{volume} on the disk '{name}'");
            if !mounted.is_empty() {
                let what = format!("{of} is mounted on {}", mounted.join(" and "));
                found.push(kind::DISK_MOUNTED.seen(what, format!("umount -R {}", mounted[0])));
            }
            if *swap {
                let what = format!("{of} is swapped to");
                found.push(kind::DISK_SWAP.seen(what, format!("swapoff /dev/{volume}")));
            }
            if !holders.is_empty() && volume != &disk.name
                || disk.volumes.len() == 1 && !holders.is_empty()
            {
                let what = format!("{of} is part of {}", holders.join(" and "));
                let hint = "stop it: mdadm --stop, vgchange -an, cryptsetup close";
                found.push(kind::DISK_HELD.seen(what, hint));
            }
        }
    }
    for pool in &layout.target.pools {
        let is_wiped = |member: &String| {
            let has = |disk: &Disk| disk.volumes.iter().any(|volume| volume.name == *member);
            layout.wiped.iter().any(|(_, _, disk)| has(disk))
        };
        if pool.members.iter().any(is_wiped) {
            found.push(kind::DISK_IMPORTED.seen(
                format!("the pool {} is imported, with {}", pool.name, pool.members.join(", ")),
                format!("zpool export {}", pool.name),
            ));
        }
    }
}

fn twice(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    let mut names: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, _, disk) in &layout.wiped {
        names.entry(&disk.name).or_default().push(name);
    }
    for (disk, names) in names.into_iter().filter(|(_, names)| names.len() > 1) {
        found.push(kind::DISK_TWICE.seen(
            format!("the disks '{}' of the layout are both /dev/{disk}", names.join("' and '")),
            "give each its own device",
        ));
    }
    let mut serials: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for disk in layout.target.disks.values().filter(|disk| !disk.serial.is_empty()) {
        serials.entry(&disk.serial).or_default().push(&disk.name);
    }
    let is_named = |disks: &Vec<&str>| disks.iter().any(|disk| layout.named.contains(disk));
    for (serial, disks) in
        serials.into_iter().filter(|(_, disks)| disks.len() > 1 && is_named(disks))
    {
        found.push(kind::DISK_SERIAL_TWICE.seen(
            format!("{} have one serial number, {serial}", disks.join(" and ")),
            "name them by /dev/disk/by-path; some USB bridges tell one number for all of their disks",
        ));
    }
}

fn each(
    layout: &Layout<'_>,
    name: &str,
    declared: &DeclaredDisk,
    disk: &Disk,
    found: &mut Vec<Finding>,
) {
    let need = needed(declared);
    let label = disk.label();
    if disk.size < need {
        found.push(kind::DISK_TOO_SMALL.seen(
            format!("the disk '{name}' has {}, the layout needs {}", size(disk.size), size(need)),
            "make its partitions smaller, or take a larger disk",
        ));
    }
    if disk.read_only {
        found.push(kind::DISK_READ_ONLY.seen(
            format!("the disk '{name}' is read-only: {label}"),
            "look for a switch on the card, or in `dmesg` for what made the kernel refuse writes",
        ));
    }
    if disk.unreadable {
        found.push(kind::DISK_UNREADABLE.seen(
            format!("the disk '{name}', {}, cannot be read: {label}", declared.device),
            "look in `dmesg` for its errors; check cable and power, or replace it",
        ));
    }
    if disk.healthy == Some(false) {
        found.push(kind::DISK_SMART.seen(
            format!("the disk '{name}' is failing, by its own account: {label}"),
            "replace it; `smartctl -a` tells more",
        ));
    }
    if let Some(stale) = disk.volumes.iter().find(|volume| volume.zfs_is_stale) {
        let pool = stale.zfs.as_ref().map_or("", |label| &label.pool);
        found.push(kind::DISK_STALE_LABEL.seen(
            format!(
                "{} of the disk '{name}' has a label of the pool {pool} at its end only",
                stale.name
            ),
            format!("zpool labelclear -f /dev/{}", stale.name),
        ));
    }
    if disk.sector == 4096 {
        let member = |pool: &String| {
            declared.pool.as_ref() == Some(pool)
                || declared.partitions.iter().any(|part| part.pool.as_ref() == Some(pool))
        };
        let pools = layout.host.pools.iter().flatten();
        for (pool, _) in
            pools.filter(|(name, pool)| member(name) && !pool.options.contains_key("ashift"))
        {
            found.push(kind::DISK_SECTORS.seen(
                format!(
                    "the disk '{name}' has sectors of 4096 bytes, and the pool {pool} no ashift"
                ),
                "set options.ashift = \"12\" for the pool",
            ));
        }
    }
}

/// The least a disk must have: where its partitions of a fixed size end, and the two partition tables.
pub(in crate::plan) fn needed(declared: &DeclaredDisk) -> u64 {
    const TABLES: u64 = 2 << 20;
    let mut end = 0;
    for partition in &declared.partitions {
        let start = partition.start.as_deref().and_then(bytes).unwrap_or(0);
        end = start.max(end) + partition.size.as_deref().and_then(bytes).unwrap_or(0);
    }
    if end == 0 { 0 } else { end + TABLES }
}

/// Pools that reach beyond the layout. One that lies wholly on the disks to be erased is a plain reinstall, and the plan
/// shows it.
fn foreign_pools(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    let wiped: BTreeSet<&str> =
        layout.wiped.iter().map(|(_, _, disk)| disk.name.as_str()).collect();
    let kept: BTreeSet<u64> = kept_pools(layout.host, layout.target)
        .iter()
        .filter_map(|pool| Some(pool.seen.as_ref()?.guid))
        .collect();
    for pool in pools(layout.target) {
        // Destroyed on purpose; or kept, which has findings of its own.
        if pool.state == 2 || kept.contains(&pool.guid) {
            continue;
        }
        let here = pool.members_on(&wiped);
        let declared = layout.host.pools.iter().flatten().any(|(name, _)| *name == pool.name);
        if here == 0 {
            if declared {
                found.push(kind::DISK_POOL_NAME.seen(
                    format!(
                        "{}, which the layout does not name, carry a pool called {}, as the layout's own",
                        pool.disks().into_iter().collect::<Vec<_>>().join(", "),
                        pool.name
                    ),
                    "unplug them, or rename that pool: zpool import OLD NEW; zpool export NEW",
                ));
            }
        } else if here < pool.expected.len() || pool.has_unknown {
            found.push(kind::DISK_FOREIGN_POOL.seen(
                format!("the disks to be erased hold {}", pool.in_words(&wiped)),
                "if the rest of it is gone for good, accept this; if not, take the right disks",
            ));
        }
    }
}

/// Names that lead to a disk which is kept.
fn doubles(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    let labels: BTreeSet<&str> = layout
        .host
        .wiped_disks()
        .flat_map(|(_, disk)| disk.partitions.iter().filter_map(|part| part.label.as_deref()))
        .collect();
    let kept =
        layout.target.disks.values().filter(|disk| !layout.named.contains(disk.name.as_str()));
    for volume in kept.flat_map(|disk| &disk.volumes) {
        if labels.contains(volume.part_label.as_str()) {
            found.push(kind::DISK_PART_LABEL.seen(
                format!(
                    "{} is no disk of the layout, and has its partition name '{}'",
                    volume.name, volume.part_label
                ),
                "unplug that disk, or rename the partition: sgdisk -c NUMBER:NAME DEVICE",
            ));
        }
    }
}
