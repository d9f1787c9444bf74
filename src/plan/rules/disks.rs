//! What can be found in the target's disks, against the layout.

use super::Unfinished;
use crate::facts::{DeclaredDisk, Disk, HostFacts, TargetFacts, Volume, is_in_new_root, pools};
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use crate::plan::Terms;
use crate::plan::compare::spelled;
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

pub(super) fn findings(
    host: &HostFacts,
    target: &TargetFacts,
    Unfinished { left, terms }: Unfinished<'_>,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let wiped = host.wiped_disks().filter_map(|(name, declared)| {
        Some((name.as_str(), declared, target.disk(&declared.device)?))
    });
    let declared = host.disks.iter().flatten().map(|(_, disk)| disk);
    let named = declared.filter_map(|disk| Some(target.disk(&disk.device)?.name.as_str()));
    let layout = Layout { host, target, wiped: wiped.collect(), named: named.collect() };
    if target.is_installer() {
        missing(&layout, &mut found);
        in_use(&layout, left, &mut found);
    }
    twice(&layout, &mut found);
    not_plain(&layout, &mut found);
    for (name, declared, disk) in &layout.wiped {
        each(&layout, name, declared, disk, &mut found);
    }
    foreign_pools(&layout, terms, &mut found);
    doubles(&layout, &mut found);
    found
}

/// Disks of the layout that an installer does not see. (A rescue system may lack their drivers or
/// links, so there it means nothing yet; the disko step looks again.)
fn missing(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    let there: Vec<_> = layout.target.disks.values().map(Disk::label).collect();
    for (name, disk) in layout.host.wiped_disks() {
        let device = &disk.device;
        if layout.target.disk(device).is_none() && layout.target.stacked_at(device).is_none() {
            found.push(kind::DISK_MISSING.seen(
                format!("the disk '{name}' of the layout, {device}, is not there"),
                format!("the target has:\n{}", there.join("\n")),
            ));
        }
    }
}

/// In an installer somebody has put to use what is to be erased. (In the old system it is normal: kexec leaves it.) What the
/// installer has assembled by itself is idle as long as nothing uses it; what an unfinished run has left is taken
/// apart.
fn in_use(layout: &Layout<'_>, left: bool, found: &mut Vec<Finding>) {
    for (name, _, disk) in &layout.wiped {
        for Volume { name: volume, mounted, swap, holders, .. } in &disk.volumes {
            let of = format!("{volume} on the disk '{name}'");
            let mounted: Vec<&str> = foreign_mounts(mounted, left).collect();
            if let Some(first) = mounted.first() {
                let what = format!("{of} is mounted on {}", mounted.join(" and "));
                found.push(kind::DISK_MOUNTED.seen(what, format!("umount -R {first}")));
            }
            if *swap && !left {
                let what = format!("{of} is used as swap");
                found.push(kind::DISK_SWAP.seen(what, format!("swapoff /dev/{volume}")));
            }
            let held = holders.iter().filter(|holder| !layout.is_idle(holder, left));
            let held: Vec<&str> = held.map(String::as_str).collect();
            if !held.is_empty() && (volume != &disk.name || disk.volumes.len() == 1) {
                let what = format!("{of} is part of {}", held.join(" and "));
                let hint = "stop it: mdadm --stop, vgchange -an, cryptsetup close";
                found.push(kind::DISK_HELD.seen(what, hint));
            }
        }
    }
    for pool in layout.target.pools.iter().filter(|_| !left) {
        if pool.members.iter().any(|member| layout.is_wiped(member)) {
            found.push(kind::DISK_IMPORTED.seen(
                format!("the pool {} is imported, with {}", pool.name, pool.members.join(", ")),
                format!("zpool export {}", pool.name),
            ));
        }
    }
}

/// Where something is mounted, but for what an unfinished run has mounted: all of that is below /mnt.
fn foreign_mounts(mounted: &[String], left: bool) -> impl Iterator<Item = &str> {
    mounted.iter().map(String::as_str).filter(move |point| !(left && is_in_new_root(point)))
}

impl Layout<'_> {
    /// Whether a volume lies on a disk that is erased.
    fn is_wiped(&self, volume: &str) -> bool {
        let has = |disk: &Disk| disk.volumes.iter().any(|known| known.name == volume);
        self.wiped.iter().any(|(_, _, disk)| has(disk))
    }

    /// The volumes that something is built on.
    fn below(&self, holder: &str) -> impl Iterator<Item = &Volume> {
        let volumes = self.target.disks.values().flat_map(|disk| &disk.volumes);
        volumes.filter(move |volume| volume.holders.iter().any(|other| other == holder))
    }

    /// Whether what is built on disks lies wholly on those that are erased, and nothing uses it: the kernel, udev or LVM has
    /// put it together. An open LUKS device is somebody's work, because a key was given.
    fn is_idle(&self, holder: &str, left: bool) -> bool {
        let uses = self.target.stacked.get(holder).map_or(&[][..], Vec::as_slice);
        let made_by = self.target.mapped.get(holder).map_or("", String::as_str);
        let is_used = foreign_mounts(uses, left).any(|point| !left || point != "[SWAP]");
        !is_used
            && (left || !made_by.starts_with("CRYPT-"))
            && self.below(holder).all(|volume| self.is_wiped(&volume.name))
    }
}

/// What the layout calls a disk and is none, or is one path of several to a disk, or belongs to a RAID set that the firmware
/// knows.
fn not_plain(layout: &Layout<'_>, found: &mut Vec<Finding>) {
    for (name, disk) in layout.host.wiped_disks() {
        let Some(stacked) = layout.target.stacked_at(&disk.device) else { continue };
        let kind = match layout.target.mapped.get(stacked).map_or("", String::as_str) {
            uuid if uuid.starts_with("mpath-") => "a multipath map",
            "" => "an md array",
            _ => "a device-mapper device",
        };
        let legs = layout.below(stacked).map(|volume| volume.name.as_str());
        let legs: BTreeSet<&str> = legs.collect();
        found.push(kind::DISK_NOT_PLAIN.seen(
            format!(
                "the disk '{name}' of the layout, {}, is {kind} of {}",
                disk.device,
                legs.into_iter().collect::<Vec<_>>().join(" and ")
            ),
            "name plain disks in the layout; a machine with multipath or firmware RAID must be installed by hand",
        ));
    }
    for (name, _, disk) in &layout.wiped {
        let maps = disk.volumes.iter().flat_map(|volume| &volume.holders).filter(|holder| {
            layout.target.mapped.get(*holder).is_some_and(|uuid| uuid.starts_with("mpath-"))
        });
        let maps: BTreeSet<&String> = maps.collect();
        for map in maps {
            let others = layout.below(map).filter(|volume| !layout.is_wiped(&volume.name));
            let others: Vec<&str> = others.map(|volume| volume.name.as_str()).collect();
            if !others.is_empty() {
                found.push(kind::DISK_MULTIPATH.seen(
                    format!(
                        "the disk '{name}' of the layout, {}, is reached as {}, too ({map})",
                        disk.name,
                        others.join(" and ")
                    ),
                    "leave the machine one path to it (unplug or unzone the others), or install by hand",
                ));
            }
        }
        let raid = disk.volumes.iter().find(|volume| FIRMWARE_RAID.contains(&&*volume.format));
        if let Some(Volume { name: volume, format, .. }) = raid {
            found.push(kind::DISK_FIRMWARE_RAID.seen(
                format!("{volume} of the disk '{name}' is a member of a firmware RAID set ({format})"),
                "delete the set in the firmware's own menu; or accept this, if none of it is needed",
            ));
        }
    }
}

/// How blkid calls members of RAID sets that a mainboard or a controller has made.
const FIRMWARE_RAID: [&str; 9] = [
    "isw_raid_member",
    "ddf_raid_member",
    "nvidia_raid_member",
    "promise_fasttrack_raid_member",
    "silicon_medley_raid_member",
    "sil_raid_member",
    "via_raid_member",
    "jmicron_raid_member",
    "adaptec_raid_member",
];

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
    // Namespaces of one NVMe controller have its serial number, and WWNs of their own.
    let different = |disks: &[&Disk]| {
        let wwns: BTreeSet<&str> = disks.iter().map(|disk| disk.wwn.as_str()).collect();
        wwns.len() == disks.len() && !wwns.contains("")
    };
    for (what, of) in [
        ("serial number", (|disk| &disk.serial) as fn(&Disk) -> &String),
        ("WWN", |disk| &disk.wwn),
    ] {
        let mut same: BTreeMap<String, Vec<&Disk>> = BTreeMap::new();
        for disk in layout.target.disks.values().filter(|disk| !of(disk).is_empty()) {
            same.entry(spelled(of(disk))).or_default().push(disk);
        }
        for disks in same.into_values().filter(|disks| disks.len() > 1 && !different(disks)) {
            let names: Vec<&str> = disks.iter().map(|disk| disk.name.as_str()).collect();
            if names.iter().any(|name| layout.named.contains(name)) {
                found.push(kind::DISK_SERIAL_TWICE.seen(
                    format!("{} have one {what}, {}", names.join(" and "), of(disks[0])),
                    "name them by /dev/disk/by-path; some USB bridges report one number for all of their disks",
                ));
            }
        }
    }
}

fn each(
    layout: &Layout<'_>,
    name: &str,
    declared: &DeclaredDisk,
    disk: &Disk,
    found: &mut Vec<Finding>,
) {
    let label = disk.label();
    if declared.extents(Some(disk.size), disk.sector).is_err() {
        let need = declared.least_size(disk.sector);
        found.push(kind::DISK_TOO_SMALL.seen(
            format!("the disk '{name}' has {}, the layout needs {}", size(disk.size), size(need)),
            "make its partitions smaller, or use a larger disk",
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
            format!("the disk '{name}' reports that it is failing: {label}"),
            "replace it; `smartctl -a` shows more",
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
        let pools = layout.host.pools.iter().flatten();
        for (pool, _) in pools
            .filter(|(name, pool)| declared.is_member(name) && !pool.options.contains_key("ashift"))
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

/// Pools that reach beyond the layout. One that lies wholly on the disks to be erased is a plain reinstall, and the plan
/// shows it. Where an unfinished run has begun to wipe it, what it lacks is what that run has wiped.
fn foreign_pools(layout: &Layout<'_>, terms: Option<&Terms>, found: &mut Vec<Finding>) {
    let wiped: BTreeSet<&str> =
        layout.wiped.iter().map(|(_, _, disk)| disk.name.as_str()).collect();
    let kept: BTreeSet<u64> = kept_pools(layout.host, layout.target)
        .iter()
        .filter_map(|pool| Some(pool.seen.as_ref()?.guid))
        .collect();
    for pool in pools(layout.target) {
        let half_wiped = terms.is_some_and(|terms| terms.wipes_pool(pool.guid));
        // Destroyed on purpose; or kept, which has findings of its own.
        if pool.state == 2 || kept.contains(&pool.guid) || half_wiped {
            continue;
        }
        let here = pool.members_on(&wiped);
        let declared = layout.host.pools.iter().flatten().any(|(name, _)| *name == pool.name);
        if here == 0 {
            if declared {
                found.push(kind::DISK_POOL_NAME.seen(
                    format!(
                        "{}, which the layout does not name, carry a pool called {}, as is one of the layout's",
                        pool.disks().into_iter().collect::<Vec<_>>().join(", "),
                        pool.name
                    ),
                    "unplug them, or rename that pool: zpool import OLD NEW; zpool export NEW",
                ));
            }
        } else if here < pool.expected.len() || pool.has_unknown {
            found.push(kind::DISK_FOREIGN_POOL.seen(
                format!("the disks to be erased hold {}", pool.in_words(&wiped)),
                "if the rest of it is gone for good, accept this; if not, use the right disks",
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
                    "{} is not a disk of the layout, and has its partition name '{}'",
                    volume.name, volume.part_label
                ),
                "unplug that disk, or rename the partition: sgdisk -c NUMBER:NAME DEVICE",
            ));
        }
    }
}
