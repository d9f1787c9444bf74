//! What a pool of the layout will hold, and how many of its disks may fail: said before anything is erased, because neither
//! can be changed afterwards.
//!
//! The sums are OpenZFS' own (module/zfs/vdev.c, vdev_raidz.c and spa_misc.c of 2.2), for a new pool and blocks of 128 KiB;
//! what files take in the end depends on their sizes and on compression.

use crate::facts::{DeclaredDisk, DeclaredPool, HostFacts, TargetFacts};
use crate::report::size;
use serde::Serialize;

/// A pool that the layout makes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct PlannedPool {
    /// Its name.
    pub(crate) pool: String,
    /// How its disks stand together: `mirror`, `raidz1`, `raidz2`, `raidz3`, `stripe`.
    pub(crate) mode: String,
    /// How many disks or partitions it is made of.
    pub(crate) disks: usize,
    /// How many disks may fail, whichever they are; none where members share disks, so that it is not worked out.
    pub(crate) survives: Option<usize>,
    /// About as many bytes fit into it; none as long as one of its disks is not seen, or a size is unknown.
    pub(crate) usable: Option<u64>,
}

/// A layout of disks that ZFS has: one vdev of all, or for a stripe one of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Stripe,
    Mirror,
    /// With so many disks' worth of parity.
    Raidz(u64),
}

/// Labels at the start of a member, the boot block among them, and labels at its end (`VDEV_LABEL_START_SIZE`,
/// `VDEV_LABEL_END_SIZE`).
const LABELS: u64 = (4 << 20) + (512 << 10);
/// A member counts in multiples of one label.
const LABEL: u64 = 256 << 10;
/// The size of block by which raidz counts its space.
const BLOCK: u64 = 128 << 10;
/// What ZFS keeps to itself: a 32nd of the pool, but neither more nor less than these (`spa_get_slop_space`).
const SLOP: (u64, u64) = (128 << 20, 128 << 30);

impl PlannedPool {
    /// For people: `raidz2 of 5 disks: about 11.6 TB usable, any 2 disks may fail`.
    pub(crate) fn line(&self) -> String {
        let of = match self.disks {
            1 => "1 disk".to_owned(),
            count => format!("{count} disks"),
        };
        let usable = match self.usable {
            Some(bytes) => format!("about {} usable", size(bytes)),
            None => "capacity unknown".to_owned(),
        };
        let survives = match self.survives {
            None => "how many disks may fail is not known".to_owned(),
            Some(0) => "NO disk may fail".to_owned(),
            Some(1) => "any 1 disk may fail".to_owned(),
            Some(count) => format!("any {count} disks may fail"),
        };
        format!("pool {}: {} of {of}: {usable}, {survives}", self.pool, self.mode)
    }
}

/// The pools of the layout, but for those that are kept as they are, and those of a shape that is not known here.
pub(super) fn planned_pools(host: &HostFacts, target: &TargetFacts) -> Vec<PlannedPool> {
    let made = host.pools.iter().flatten().filter(|(name, _)| !host.kept.pools.contains(name));
    made.filter_map(|(name, pool)| planned_pool(name, pool, host, target)).collect()
}

fn planned_pool(
    name: &str,
    pool: &DeclaredPool,
    host: &HostFacts,
    target: &TargetFacts,
) -> Option<PlannedPool> {
    let (mode, words) = match pool.mode.as_deref()? {
        "" => (Mode::Stripe, "stripe"),
        "mirror" => (Mode::Mirror, "mirror"),
        "raidz" | "raidz1" => (Mode::Raidz(1), "raidz1"),
        "raidz2" => (Mode::Raidz(2), "raidz2"),
        "raidz3" => (Mode::Raidz(3), "raidz3"),
        _ => return None,
    };
    let mut members = Vec::new();
    let mut on = Vec::new();
    for (disk, declared) in host.disks.iter().flatten() {
        let of_disk = members_on(declared, name, target);
        on.extend(of_disk.iter().map(|_| disk));
        members.extend(of_disk);
    }
    // How large they will be is decided by LUKS, LVM or md.
    members.extend(pool.indirect.iter().map(|_| None));
    on.extend(pool.indirect.iter().flatten());
    let count = on.len();
    on.sort();
    on.dedup();
    let has_disks_of_their_own = on.len() == count && count == members.len();
    let survives = match mode {
        Mode::Stripe => 0,
        Mode::Mirror => members.len().saturating_sub(1),
        Mode::Raidz(parity) => usize::try_from(parity).unwrap_or(0),
    };
    // A pool whose sectors ZFS chooses itself gets small ones only on old disks; the sum hardly changes.
    let shift = pool.options.get("ashift").and_then(|shift| shift.parse().ok());
    let shift = shift.filter(|shift| (9..=16).contains(shift)).unwrap_or(12);
    let sizes: Option<Vec<u64>> = members.iter().copied().collect();
    let usable = sizes.and_then(|sizes| usable(mode, &sizes, shift));
    let (pool, mode) = (name.to_owned(), words.to_owned());
    let survives = has_disks_of_their_own.then_some(survives);
    Some(PlannedPool { pool, mode, disks: members.len(), survives, usable })
}

/// The bytes of each member of the pool on this disk: none where they are unknown.
fn members_on(disk: &DeclaredDisk, pool: &str, target: &TargetFacts) -> Vec<Option<u64>> {
    let found = target.disk(&disk.device);
    let size = found.map(|disk| disk.size);
    if disk.pool.as_deref() == Some(pool) {
        return vec![size];
    }
    // One that does not fit has a finding of its own.
    let extents = disk.extents(size, found.map_or(0, |disk| disk.sector)).ok();
    let members = disk.partitions.iter().enumerate();
    let members = members.filter(|(_, partition)| partition.pool.as_deref() == Some(pool));
    members.map(|(at, _)| extents.as_ref()?.get(at)?.length()).collect()
}

/// What fits into a pool over members of these sizes, with sectors of 2^`shift` bytes; none if it is too small for a pool.
fn usable(mode: Mode, members: &[u64], shift: u32) -> Option<u64> {
    let space = |member: &u64| Some(member.checked_sub(LABELS)? / LABEL * LABEL);
    let spaces: Vec<u64> = members.iter().map(space).collect::<Option<_>>()?;
    let smallest = *spaces.iter().min()?;
    let count = u64::try_from(spaces.len()).ok()?;
    let total: u64 = match mode {
        Mode::Stripe => spaces.iter().map(|space| in_metaslabs(*space)).sum(),
        Mode::Mirror => in_metaslabs(smallest),
        Mode::Raidz(parity) => {
            let data = count.checked_sub(parity).filter(|data| *data > 0)?;
            // With parity beside each row, and filled up so that nothing too small to be used is left.
            let sectors = BLOCK >> shift;
            let taken = sectors + parity * sectors.div_ceil(data);
            let taken = taken.div_ceil(parity + 1) * (parity + 1);
            // OpenZFS' deflate ratio: 512ths of a byte that a byte on the disks is good for.
            let ratio = BLOCK / ((taken << shift) >> 9);
            in_metaslabs(smallest.checked_mul(count)?) / 512 * ratio
        }
    };
    let slop = (total / 32).clamp(SLOP.0.min(total / 2), SLOP.1);
    Some(total - slop)
}

/// The part of a vdev that its metaslabs cover: they are of one size, a power of two, and what is left over is not used.
fn in_metaslabs(space: u64) -> u64 {
    // zfs_vdev_default_ms_shift, _min_ms_count, _default_ms_count, SPA_MAXBLOCKSHIFT, zfs_vdev_max_ms_shift
    let (default, fewest, usual, smallest, largest) = (29, 16, 200, 24, 34);
    let bits = |value: u64| u64::BITS - value.leading_zeros();
    let shift = match space >> default {
        count if count < fewest => bits(space / fewest),
        count if count > usual => bits(space / usual),
        _ => default,
    };
    let shift = shift.clamp(smallest, largest);
    space >> shift << shift
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{DeclaredPartition, Disk};
    use std::collections::BTreeMap;

    const TB: u64 = 1_000_000_000_000;

    /// Bays with these disks, none for one that is not seen, in a pool of this mode.
    fn machine(mode: &str, disks: &[Option<u64>]) -> (HostFacts, TargetFacts) {
        let mut host: HostFacts = serde_json::from_str("{}").unwrap();
        let mut target = TargetFacts::default();
        let mut bays = BTreeMap::new();
        for (number, disk) in disks.iter().enumerate() {
            let device = format!("/dev/disk/by-id/ata-M_{number}");
            let name = format!("sd{number}");
            if let Some(size) = disk {
                target.links.insert(device.clone(), name.clone());
                target.disks.insert(name.clone(), Disk { name, size: *size, ..Disk::default() });
            }
            let member = DeclaredPartition {
                size: Some("100%".into()),
                pool: Some("tank".into()),
                ..DeclaredPartition::default()
            };
            let disk = DeclaredDisk { device, partitions: vec![member], ..DeclaredDisk::default() };
            bays.insert(format!("bay{number}"), disk);
        }
        host.disks = Some(bays);
        let options = BTreeMap::from([("ashift".to_owned(), "12".to_owned())]);
        let tank = DeclaredPool { mode: Some(mode.into()), options, ..DeclaredPool::default() };
        host.pools = Some(BTreeMap::from([("tank".to_owned(), tank)]));
        (host, target)
    }

    fn line(mode: &str, disks: &[Option<u64>]) -> String {
        let (host, target) = machine(mode, disks);
        planned_pools(&host, &target).iter().map(PlannedPool::line).collect()
    }

    #[test]
    fn the_layouts_of_a_helios64() {
        // The sizes that makers sell as 4 TB.
        let disk = Some(4_000_787_030_016);
        for (mode, disks, said) in [
            ("mirror", 2, "mirror of 2 disks: about 3.9 TB usable, any 1 disk may fail"),
            ("raidz1", 3, "raidz1 of 3 disks: about 7.8 TB usable, any 1 disk may fail"),
            ("raidz1", 4, "raidz1 of 4 disks: about 11.5 TB usable, any 1 disk may fail"),
            ("raidz1", 5, "raidz1 of 5 disks: about 15.8 TB usable, any 1 disk may fail"),
            ("raidz2", 4, "raidz2 of 4 disks: about 7.6 TB usable, any 2 disks may fail"),
            ("raidz2", 5, "raidz2 of 5 disks: about 11.7 TB usable, any 2 disks may fail"),
            ("", 1, "stripe of 1 disk: about 3.9 TB usable, NO disk may fail"),
        ] {
            assert_eq!(line(mode, &vec![disk; disks]), format!("pool tank: {said}"));
        }
    }

    #[test]
    fn the_smallest_disk_counts_and_one_that_is_not_seen_leaves_it_open() {
        let of = |disks: &[Option<u64>]| {
            let (host, target) = machine("raidz1", disks);
            planned_pools(&host, &target)[0].usable
        };
        assert_eq!(of(&[Some(4 * TB), Some(2 * TB), Some(4 * TB)]), of(&[Some(2 * TB); 3]));
        assert_eq!(of(&[Some(4 * TB), None, Some(4 * TB)]), None);
        let said = line("raidz1", &[None; 3]);
        assert_eq!(said, "pool tank: raidz1 of 3 disks: capacity unknown, any 1 disk may fail");
        assert_eq!(of(&[Some(1 << 20); 3]), None, "nothing fits between the labels");
    }

    #[test]
    fn kept_and_unknown_pools_are_left_out() {
        assert_eq!(line("draid2", &[Some(TB); 5]), "");
        let (mut host, target) = machine("mirror", &[Some(TB); 2]);
        host.kept.pools = vec!["tank".into()];
        assert_eq!(planned_pools(&host, &target), []);
    }

    #[test]
    fn partitions_share_a_disk() {
        let (mut host, target) = machine("", &[Some(100 << 30)]);
        let part = |size: &str, pool: Option<&str>| DeclaredPartition {
            size: Some(size.into()),
            pool: pool.map(str::to_owned),
            ..DeclaredPartition::default()
        };
        let bay = host.disks.as_mut().unwrap().get_mut("bay0").unwrap();
        bay.partitions =
            vec![part("20G", None), part("30G", Some("tank")), part("100%", Some("b"))];
        let disk = host.disks.as_ref().unwrap()["bay0"].clone();
        assert_eq!(members_on(&disk, "tank", &target), [Some(30 << 30)]);
        assert_eq!(members_on(&disk, "b", &target), [Some((50 << 30) - (2 << 20))]);
        let percent = DeclaredDisk { partitions: vec![part("50%", Some("tank"))], ..disk };
        assert_eq!(members_on(&percent, "tank", &target), [None], "who knows what it is a part of");
    }
}
