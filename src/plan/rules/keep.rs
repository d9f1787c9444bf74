//! What can be found about that which is kept: whether it is there, whole, this host's, and can be kept at all.

use crate::facts::{HostFacts, SeenPool, TargetFacts, pools};
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use crate::plan::feature::lacking_of;
use crate::plan::keep::{
    Becomes, KeptPool, candidates, datasets, encrypted, kept_disks, kept_pools, mounts_of,
};
use std::collections::BTreeSet;

/// What the host alone shows.
///
/// `disk_keys`: where in the installer keys will be.
pub(super) fn host_findings(host: &HostFacts, disk_keys: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    for wish in &host.kept.unknown {
        let names = |names: Vec<&String>| {
            names.iter().map(|name| name.as_str()).collect::<Vec<_>>().join(", ")
        };
        let pools = names(host.pools.iter().flatten().map(|(name, _)| name).collect());
        let disks = names(host.disks.iter().flatten().map(|(name, _)| name).collect());
        found.push(kind::KEEP_UNKNOWN.seen(
            format!("'{wish}' is neither a pool nor a disk of the layout of '{}'", host.attribute),
            format!("its pools: {pools}; its disks: {disks}"),
        ));
    }
    let is_kept = !host.kept.pools.is_empty() || !host.kept.disks.is_empty();
    if is_kept && (host.kept.format_script.is_none() || host.mount_script.is_none()) {
        found.push(kind::KEEP_NO_SCRIPT.seen(
            format!("'{}' has no scripts that create only what is missing, and mount it", host.attribute),
            "name the host as an attribute of nixosConfigurations (a bare config cannot be extended), and use a \
             version of disko that has system.build.formatScript and mountScript",
        ));
    }
    for pool in &host.kept.pools {
        pool_of_the_layout(host, pool, disk_keys, &mut found);
    }
    found
}

/// What stands in the way of archiving the system within a pool.
fn pool_of_the_layout(
    host: &HostFacts,
    pool: &str,
    disk_keys: &[String],
    found: &mut Vec<Finding>,
) {
    let sets = datasets(host, pool);
    if let Some(point) = mounts_of(host, pool).first() {
        found.push(kind::KEEP_NESTED.seen(
            format!("the pool's own dataset {pool} is mounted at {point}"),
            "it cannot be renamed: give the layout a dataset below it for what is mounted there",
        ));
    }
    for system in sets.iter().filter(|set| set.becomes == Becomes::Archive) {
        let below = format!("{}/", system.name);
        let data = sets.iter().filter(|set| {
            set.name.starts_with(&below) && set.becomes == Becomes::Keep && !set.mounted.is_empty()
        });
        for data in data {
            found.push(kind::KEEP_NESTED.seen(
                format!("{} lies below {}, which is archived", data.name, system.name),
                "move it out first (zfs rename), and change the layout: data beside the system, not below it",
            ));
        }
    }
    let has_key = |location: &str| {
        location.strip_prefix("file://").is_some_and(|path| disk_keys.iter().any(|key| key == path))
    };
    for (name, location) in encrypted(host, pool).iter().filter(|(_, at)| !has_key(at)) {
        let location = if location.is_empty() { "prompt" } else { location };
        let path = location.strip_prefix("file://").unwrap_or("/tmp/secret.key");
        found.push(kind::KEEP_ENCRYPTED.seen(
            format!("{name} is encrypted, and its key ({location}) is not given"),
            format!("set keylocation = \"file://{path}\" in the layout, and give --disk-encryption-keys {path} LOCAL"),
        ));
    }
}

/// What the target's disks show.
pub(super) fn findings(host: &HostFacts, target: &TargetFacts, left: bool) -> Vec<Finding> {
    let mut found = Vec::new();
    for kept in kept_pools(host, target) {
        match &kept.seen {
            Some(seen) => pool(host, target, &kept, seen, left, &mut found),
            None => not_found(host, target, &kept, &mut found),
        }
    }
    found
}

fn not_found(host: &HostFacts, target: &TargetFacts, kept: &KeptPool, found: &mut Vec<Finding>) {
    let name = &kept.name;
    let disks = kept_disks(host, target);
    let several = candidates(host, target, name);
    if !several.is_empty() {
        let each: Vec<String> = several
            .iter()
            .map(|pool| format!("{}: {}", pool.guid, pool.in_words(&disks)))
            .collect();
        found.push(kind::KEEP_AMBIGUOUS.seen(
            format!("the disks of the layout carry {} pools called {name}", several.len()),
            format!("unplug the disks of the wrong one:\n{}", each.join("\n")),
        ));
        return;
    }
    // A rescue system may lack the drivers or links of these disks; the installer looks again.
    if !target.is_installer() && disks.is_empty() {
        return;
    }
    let others: Vec<SeenPool> =
        pools(target).into_iter().filter(|pool| pool.members_on(&disks) > 0).collect();
    let there: Vec<String> = others.iter().map(|pool| pool.in_words(&disks)).collect();
    let there = if there.is_empty() {
        "hold no pool".to_owned()
    } else {
        format!("hold {}", there.join(", "))
    };
    found.push(kind::KEEP_NOT_FOUND.seen(
        format!("the pool {name} is to be kept, and its disks {there}"),
        "check that the right disks are plugged in; to create the pool again, leave it out of --keep",
    ));
}

fn pool(
    host: &HostFacts,
    target: &TargetFacts,
    kept: &KeptPool,
    seen: &SeenPool,
    left: bool,
    found: &mut Vec<Finding>,
) {
    let name = &kept.name;
    let (here, all) = (seen.present.len(), seen.expected.len());
    if here < all || seen.has_unknown {
        let disks = seen.disks().into_iter().collect::<Vec<_>>().join(", ");
        found.push(kind::KEEP_DEGRADED.seen(
            format!("{here} of {all} members of the pool {name} are here, on {disks}"),
            "plug in what is missing; if it has failed, accept this and replace it afterwards",
        ));
    }
    // What an unfinished try of ours has imported is of no other machine.
    if kept.is_foreign(host) && !left {
        let who = match seen.host_name.as_str() {
            "" => String::new(),
            who => format!(" ({who})"),
        };
        found.push(kind::KEEP_FOREIGN.seen(
            format!(
                "the pool {name} was last in use by host id {:08x}{who}, and not exported",
                seen.host_id
            ),
            "make sure that no other machine uses it, and accept this; or export it there: zpool export",
        ));
    }
    let lacking = lacking_of(&seen.features, host.zfs_version.as_deref());
    if !lacking.is_empty() {
        let version = host.zfs_version.as_deref().unwrap_or_default();
        found.push(kind::KEEP_FEATURES.seen(
            format!(
                "the pool {name} uses {}, which ZFS {version} does not know",
                lacking.join(", ")
            ),
            "give the host a newer ZFS (boot.zfs.package)",
        ));
    }
    outside(host, target, kept, seen, found);
    let is_imported = target.pools.iter().any(|pool| pool.guid == seen.guid);
    if target.is_installer() && is_imported && !left {
        found.push(kind::KEEP_IMPORTED.seen(
            format!("the pool {name} is imported in the installer"),
            format!("zpool export {name}"),
        ));
    }
}

/// Members on disks that the layout does not give to the pool.
fn outside(
    host: &HostFacts,
    target: &TargetFacts,
    kept: &KeptPool,
    seen: &SeenPool,
    found: &mut Vec<Finding>,
) {
    let name = &kept.name;
    let own = kept_disks(host, target);
    let wiped = host.wiped_disks().filter_map(|(_, disk)| target.disk(&disk.device));
    let wiped: BTreeSet<&str> = wiped.map(|disk| disk.name.as_str()).collect();
    let (lost, outside): (Vec<&str>, Vec<&str>) = seen
        .disks()
        .into_iter()
        .filter(|disk| !own.contains(disk))
        .partition(|disk| wiped.contains(disk));
    if !lost.is_empty() {
        found.push(kind::KEEP_ERASED.seen(
            format!("the pool {name} has members on {}, which would be erased", lost.join(", ")),
            "the layout uses the disk for something else: keep it too, or take it out of the pool first",
        ));
    }
    if !outside.is_empty() {
        found.push(kind::KEEP_OUTSIDE.seen(
            format!(
                "the pool {name} has members on {}, which the layout does not name",
                outside.join(", ")
            ),
            "add them to disko.devices.disk, so that the configuration says what is there",
        ));
    }
}

#[cfg(test)]
pub(super) mod tests;
