//! Which member of which pool goes, which disk comes, and what speaks against it.

use super::incoming::{NewDisk, ReplacementWishes, candidates, choose, named};
use super::judge::{Need, has_more, judge};
use super::partition::type_guid;
use super::redundancy::{failures_to_lose, failures_to_lose_without, is_resilvering};
use super::{bay_of, serial_in, volume_of};
use crate::facts::{
    DeclaredDisk, Disk, HostFacts, PoolStatus, StorageFacts, TargetFacts, TopVdev, VdevStatus,
};
use crate::findings::catalogue as kind;
use crate::findings::sort;
use crate::findings::{Finding, Severity};

/// The member that goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct OldMember {
    /// Its pool.
    pub(crate) pool: String,
    /// The top-level vdev it belongs to: `raidz1-0`; its own name where it is one itself.
    pub(crate) vdev: String,
    /// Its GUID, by which ZFS knows it, whatever its path.
    pub(crate) guid: Option<u64>,
    /// Its state.
    pub(crate) state: String,
    /// Its path, now or when it was last there.
    pub(crate) path: Option<String>,
    /// Its name in the layout.
    pub(crate) bay: Option<String>,
    /// Its serial number.
    pub(crate) serial: Option<String>,
    /// Kernel name of the disk, if it is there.
    pub(crate) disk: Option<String>,
}

/// What will be done, as far as it is known; its findings may forbid it.
#[derive(Debug, Clone)]
pub(crate) struct Replacement {
    /// The member that goes.
    pub(crate) old: OldMember,
    /// How many more disks must fail until the pool is lost, once it is out.
    pub(crate) margin: usize,
    /// What its place asks of a disk.
    pub(crate) need: Need,
    /// How the new disk is partitioned.
    pub(crate) layout: DeclaredDisk,
    /// The disk that comes; none as long as none is there that could be meant.
    pub(crate) new: Option<NewDisk>,
    /// Disks that nobody uses and that are not empty, as long as none is meant: one of them can be named.
    pub(crate) full: Vec<String>,
    /// What was found, errors first.
    pub(crate) findings: Vec<Finding>,
}

/// A member in its place.
#[derive(Clone, Copy)]
struct Place<'a> {
    pool: &'a PoolStatus,
    top: &'a TopVdev,
    leaf: &'a VdevStatus,
}

/// The codes of findings about what the new disk holds.
pub(crate) fn codes_of_contents() -> [String; 2] {
    [kind::REPLACE_NEW_HOLDS.code, kind::REPLACE_NEW_POOL.code].map(str::to_owned)
}

/// Whether it is the new disk that speaks against it, so that another disk helps.
pub(crate) fn is_about_new_disk(finding: &Finding) -> bool {
    finding.kind.code.starts_with("replace-new-")
}

/// Whether no accepting makes that disk fit.
pub(super) fn forbids_new_disk(finding: &Finding) -> bool {
    is_about_new_disk(finding)
        && finding.kind.severity == Severity::Error
        && !finding.kind.acceptable
}

/// Decides. Without a member to take out there is no plan, and the findings say why.
pub(crate) fn plan_replacement(
    host: &HostFacts,
    target: &TargetFacts,
    storage: &StorageFacts,
    wishes: &ReplacementWishes,
) -> Result<Replacement, Vec<Finding>> {
    let place = find_old(host, target, storage, wishes).map_err(|finding| vec![finding])?;
    let Place { pool, top, leaf } = place;
    let mut findings = Vec::new();
    let found = volume_of(target, leaf).map(|(disk, _)| disk);
    let bay = bay_of(host, leaf);
    let layout = bay.map(|(_, declared)| declared).or_else(|| any_member(host, &pool.name));
    if layout.is_none() {
        findings.push(kind::REPLACE_NO_LAYOUT.seen(
            format!("no disk of the layout is a member of the pool {}", pool.name),
            "add the pool to the flake's disko layout",
        ));
    }
    let layout = layout.cloned().unwrap_or_default();
    for code in layout.partitions.iter().filter_map(|part| part.kind.as_deref()) {
        if type_guid(code).is_none() {
            findings.push(kind::REPLACE_NO_LAYOUT.seen(
                format!("the layout gives a partition the type {code}, which is not known here"),
                "name the type by its GUID in the layout",
            ));
        }
    }
    for part in layout.partitions.iter().filter(|part| !part.is_understood()) {
        findings.push(kind::REPLACE_NO_LAYOUT.seen(
            format!("where the layout's partition '{}' lies cannot be told", part.name),
            "give its start, end or size as a number with K, M, G or T behind it",
        ));
    }
    if has_more(&layout) {
        findings.push(kind::REPLACE_LAYOUT_MORE.seen(
            "the layout has more on the disk than the pool's partition",
            "fill them by hand, as they were made at the install",
        ));
    }
    let need = Need::of(target, top);
    let serial = found.map(|disk| disk.serial.clone()).filter(|serial| !serial.is_empty());
    let old = OldMember {
        pool: pool.name.clone(),
        vdev: top.vdev.name.clone(),
        guid: leaf.guid,
        state: leaf.state.clone(),
        path: leaf.path().map(str::to_owned),
        bay: bay.map(|(name, _)| name.to_owned()),
        serial: serial.or_else(|| leaf.path().and_then(serial_in).map(str::to_owned)),
        disk: found.map(|disk| disk.name.clone()),
    };
    let candidates = candidates(host, target, storage, wishes);
    let fits = |disk: &Disk| judge(&need, &layout, &pool.name, disk, target).is_empty();
    let incoming = choose(&candidates, wishes, fits, &mut findings);
    let full = candidates.iter().filter(|disk| incoming.is_none() && !disk.is_bare());
    let full: Vec<String> = full.map(|disk| disk.label()).collect();
    if let Some(disk) = incoming {
        findings.extend(judge(&need, &layout, &pool.name, disk, target));
    }
    let new = incoming.and_then(|disk| named(disk, &layout, &pool.name, target, &mut findings));
    // With both there, the old one is read until the new one is whole: nothing is taken out.
    let comes = new.is_some() && !findings.iter().any(forbids_new_disk);
    let margin = survival(place, !comes || !is_read(leaf), &mut findings);
    sort(&mut findings);
    Ok(Replacement { old, margin, need, layout, new, full, findings })
}

/// The member that is meant.
fn find_old<'a>(
    host: &HostFacts,
    target: &TargetFacts,
    storage: &'a StorageFacts,
    wishes: &ReplacementWishes,
) -> Result<Place<'a>, Finding> {
    let in_pool =
        |pool: &'a PoolStatus| pool.members().map(move |(top, leaf)| Place { pool, top, leaf });
    let all: Vec<Place<'a>> = storage.pools.iter().flat_map(in_pool).collect();
    if all.is_empty() {
        let hint = "import the pool: `zpool import` lists what there is";
        return Err(kind::REPLACE_NO_POOL.seen("no pool is imported", hint));
    }
    let lines = |places: &[Place<'a>]| {
        let lines = places.iter().map(|place| line(*place, host, target));
        lines.collect::<Vec<_>>().join("\n")
    };
    let fits = |place: &&Place<'a>| match &wishes.old {
        Some(old) => is_called(place.leaf, old, host, target),
        None => has_failed(place.leaf) && !is_under_way(**place, place.leaf),
    };
    let meant: Vec<Place<'a>> = all.iter().filter(fits).copied().collect();
    match (meant.as_slice(), &wishes.old) {
        ([one], _) => Ok(*one),
        ([], Some(old)) => Err(kind::REPLACE_WHICH.seen(
            format!("no member of a pool is called '{old}'"),
            format!("the members are:\n{}", lines(&all)),
        )),
        ([], None) => Err(kind::REPLACE_WHICH.seen(
            "no member of a pool has failed",
            format!("say which one goes with --old SERIAL; the members are:\n{}", lines(&all)),
        )),
        (several, _) => Err(kind::REPLACE_WHICH.seen(
            format!("{} members could be meant", several.len()),
            format!(
                "say which one goes with --old SERIAL, one after the other:\n{}",
                lines(several)
            ),
        )),
    }
}

/// A member for people: state, name in the layout, serial number, path, GUID.
fn line(place: Place<'_>, host: &HostFacts, target: &TargetFacts) -> String {
    let leaf = place.leaf;
    let bay = bay_of(host, leaf).map_or("-", |(name, _)| name);
    let disk = volume_of(target, leaf).map(|(disk, _)| disk.serial.as_str());
    let serial = disk.or_else(|| leaf.path().and_then(serial_in)).unwrap_or("serial unknown");
    let guid = leaf.guid.map(|guid| format!(" (GUID {guid})")).unwrap_or_default();
    let path = leaf.path().unwrap_or(&leaf.name);
    format!("{:<8} {} {bay} {serial} {path}{guid}", leaf.state, place.pool.name)
}

/// Whether the user's word is this member's.
fn is_called(leaf: &VdevStatus, old: &str, host: &HostFacts, target: &TargetFacts) -> bool {
    let guid = || leaf.guid.is_some_and(|guid| guid.to_string() == old);
    let bay = || bay_of(host, leaf).is_some_and(|(name, _)| name == old);
    let found = volume_of(target, leaf).map(|(disk, _)| disk);
    let serial = match found {
        Some(disk) => disk.serial == old || format!("/dev/{}", disk.name) == old,
        None => leaf.path().and_then(serial_in) == Some(old),
    };
    serial || guid() || bay() || leaf.path() == Some(old)
}

/// Whether ZFS still reads what it holds.
fn is_read(leaf: &VdevStatus) -> bool {
    matches!(leaf.state.as_str(), "ONLINE" | "DEGRADED")
}

/// Whether ZFS does not work with it any more, or not gladly.
fn has_failed(leaf: &VdevStatus) -> bool {
    matches!(leaf.state.as_str(), "DEGRADED" | "FAULTED" | "OFFLINE" | "REMOVED" | "UNAVAIL")
}

/// Whether another disk is on its way to take its place.
fn is_under_way(place: Place<'_>, leaf: &VdevStatus) -> bool {
    fn parent<'a>(vdev: &'a VdevStatus, leaf: &VdevStatus) -> Option<&'a VdevStatus> {
        let mut children = vdev.children.iter();
        if children.any(|child| std::ptr::eq(child, leaf)) {
            return Some(vdev);
        }
        vdev.children.iter().find_map(|child| parent(child, leaf))
    }
    let Some(group) = parent(&place.top.vdev, leaf).filter(|group| group.kind() == "replacing")
    else {
        return false;
    };
    let newest = group.children.last();
    newest.is_some_and(|newest| !std::ptr::eq(newest, leaf) && newest.state == "ONLINE")
}

/// Whether the pool lives on without the member: how many more failures it then takes to lose it. `is_out`: whether it is
/// read no more before the other is whole.
fn survival(place: Place<'_>, is_out: bool, findings: &mut Vec<Finding>) -> usize {
    let Place { pool, top, leaf } = place;
    let name = &pool.name;
    if !matches!(pool.state.as_str(), "ONLINE" | "DEGRADED") {
        findings.push(kind::REPLACE_POOL_DOWN.seen(
            format!("the pool {name} is {}", pool.state),
            "bring back what is missing (cables, power), then `zpool clear`",
        ));
    }
    if is_under_way(place, leaf) {
        findings.push(kind::REPLACE_UNDER_WAY.seen(
            format!("{} is being replaced in {}", leaf.name, top.vdev.name),
            "wait until its resilver has ended: `landfall disk list` shows how far it is",
        ));
    }
    if leaf.state == "ONLINE" && is_resilvering(pool) {
        findings.push(kind::REPLACE_RESILVERING.seen(
            format!("the pool {name} is being resilvered"),
            "wait until it has ended: `landfall disk list` shows how far it is",
        ));
    }
    let margin = if is_out { failures_to_lose_without(pool, leaf) } else { failures_to_lose(pool) };
    // A member that is not read any more is out already: its replacement is what helps.
    if margin == 0 && is_read(leaf) {
        findings.push(kind::REPLACE_POOL_LOST.seen(
            format!("{} of the pool {name} has no redundancy left to rebuild {}", top.vdev.name, leaf.name),
            "repair the other members first; or attach the new disk beside the old one, and run `zpool replace` \
             with both there",
        ));
    } else if margin <= 1 {
        findings.push(kind::REPLACE_NO_MARGIN.seen(
            format!("without {}, the pool {name} survives no further failure", leaf.name),
            "back up what matters before you continue",
        ));
    }
    let others = pool.members().map(|(_, other)| other).filter(|other| !std::ptr::eq(*other, leaf));
    for other in others.filter(|other| other.errors() > 0) {
        findings.push(kind::REPLACE_OTHER_ERRORS.seen(
            format!(
                "{} has {} read, {} write and {} checksum errors",
                other.name, other.read, other.write, other.checksum
            ),
            "look at its cable and at `smartctl -a`; back up what matters first",
        ));
    }
    if pool.has_data_errors() {
        findings.push(kind::REPLACE_DATA_ERRORS.seen(
            format!("the pool {name}: {}", pool.errors),
            "restore those files from a backup, and scrub",
        ));
    }
    margin
}

/// Some disk of the layout that is a member of the pool: they are all partitioned alike where a member's own place is not
/// known.
fn any_member<'a>(host: &'a HostFacts, pool: &str) -> Option<&'a DeclaredDisk> {
    let mut members = host.disks.iter().flatten().map(|(_, disk)| disk);
    let first = members.by_ref().find(|disk| disk.is_member(pool))?;
    let shape = |disk: &DeclaredDisk| {
        let parts = disk.partitions.iter();
        let parts =
            parts.map(|p| (p.start.clone(), p.size.clone(), p.kind.clone(), p.pool.clone()));
        (disk.pool.clone(), parts.collect::<Vec<_>>())
    };
    let mut others = members.filter(|disk| disk.is_member(pool));
    others.all(|disk| shape(disk) == shape(first)).then_some(first)
}
