//! What a pool survives: counted, vdev by vdev.
//!
//! Each vdev has a price: how many more of its disks must fail, at the least, until it is lost. A disk that is whole costs
//! 1, one that is not 0. All children of a mirror must go; of a raidz with parity N, the N + 1 cheapest. A pool is lost with the
//! cheapest of its vdevs.

use crate::facts::{PoolStatus, ScanKind, VdevStatus};

/// How many more disks must fail, at the least, until the pool is lost: 0 if what is whole of it is not enough already.
pub(crate) fn failures_to_lose(pool: &PoolStatus) -> usize {
    price_of_pool(pool, None)
}

/// The same once this member is taken out.
pub(crate) fn failures_to_lose_without(pool: &PoolStatus, leaf: &VdevStatus) -> usize {
    price_of_pool(pool, Some(leaf))
}

/// Whether a resilver is at work.
pub(super) fn is_resilvering(pool: &PoolStatus) -> bool {
    pool.scans.iter().any(|scan| scan.running && scan.kind == ScanKind::Resilver)
}

fn price_of_pool(pool: &PoolStatus, out: Option<&VdevStatus>) -> usize {
    let filling = is_resilvering(pool);
    // A lost log costs what was not yet written at a power cut: little, but it is data.
    let vdevs = pool.members().map(|(top, _)| &top.vdev);
    vdevs.map(|vdev| price(vdev, out, filling)).min().unwrap_or(0)
}

/// `filling`: a resilver is at work, so that what was put in place of another is not whole yet.
fn price(vdev: &VdevStatus, out: Option<&VdevStatus>, filling: bool) -> usize {
    if vdev.is_leaf() {
        let is_out = out.is_some_and(|out| std::ptr::eq(out, vdev));
        // A disk with too many errors is read still, but not relied upon.
        let whole = vdev.state == "ONLINE" && !vdev.is_resilvering() && !is_out;
        return usize::from(whole);
    }
    let mut prices: Vec<usize> =
        vdev.children.iter().map(|child| price(child, out, filling)).collect();
    let kind = vdev.kind();
    if filling && matches!(kind, "replacing" | "spare") {
        prices.truncate(1);
    }
    match parity(kind) {
        Some(parity) => {
            prices.sort_unstable();
            prices.iter().take(parity + 1).sum()
        }
        None if matches!(kind, "mirror" | "replacing" | "spare") => prices.iter().sum(),
        // Something newer: nothing is known of what it survives.
        None => 0,
    }
}

/// How many of its children a raidz or dRAID can lose.
fn parity(kind: &str) -> Option<usize> {
    let digits = kind.strip_prefix("raidz").or_else(|| kind.strip_prefix("draid"))?;
    let digits = digits.split(':').next().unwrap_or_default();
    if digits.is_empty() { Some(1) } else { digits.parse().ok() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{Class, TopVdev};
    use proptest::prelude::*;

    fn leaf(state: &str) -> VdevStatus {
        VdevStatus { name: "/dev/x".into(), state: state.into(), ..VdevStatus::default() }
    }

    fn group(name: &str, children: Vec<VdevStatus>) -> VdevStatus {
        VdevStatus { name: name.into(), state: "ONLINE".into(), children, ..VdevStatus::default() }
    }

    fn pool(vdevs: Vec<VdevStatus>) -> PoolStatus {
        let vdevs = vdevs.into_iter().map(|vdev| TopVdev { class: Class::Data, vdev });
        PoolStatus { vdevs: vdevs.collect(), ..PoolStatus::default() }
    }

    /// Any layout of up to three top-level vdevs with disks in any state.
    fn any_pool() -> impl Strategy<Value = PoolStatus> {
        let disk = || {
            let states = ["ONLINE", "ONLINE", "ONLINE", "FAULTED", "OFFLINE", "DEGRADED"];
            prop::sample::select(states.to_vec()).prop_map(leaf)
        };
        let member = prop_oneof![
            5 => disk(),
            1 => prop::collection::vec(disk(), 2..3).prop_map(|disks| group("replacing-1", disks)),
        ];
        // Enough for every parity: a raidz3 of three disks cannot be made.
        let several = prop::collection::vec(member, 4..6);
        let kinds = ["mirror-0", "raidz1-0", "raidz2-0", "raidz3-0"];
        let vdev = prop_oneof![
            1 => disk(),
            4 => (prop::sample::select(kinds.to_vec()), several)
                .prop_map(|(kind, members)| group(kind, members)),
        ];
        let vdevs = prop::collection::vec(vdev, 1..4).prop_map(pool);
        vdevs.prop_filter("all sets are tried", |pool| pool.members().count() <= 12)
    }

    /// What survives, told without counting: whether the vdev can be read when just these leaves are gone.
    fn is_readable(vdev: &VdevStatus, gone: &[*const VdevStatus]) -> bool {
        if vdev.is_leaf() {
            return vdev.state == "ONLINE" && !gone.contains(&std::ptr::from_ref(vdev));
        }
        let lost = vdev.children.iter().filter(|child| !is_readable(child, gone)).count();
        match vdev.kind() {
            "raidz1" => lost <= 1,
            "raidz2" => lost <= 2,
            "raidz3" => lost <= 3,
            _ => lost < vdev.children.len(),
        }
    }

    proptest! {
        /// The price is the size of the smallest set of disks whose loss is the pool's: found by trying all sets.
        #[test]
        fn the_price_is_what_trying_all_failures_finds(pool in any_pool()) {
            let leaves: Vec<_> = pool.members().map(|(_, leaf)| std::ptr::from_ref(leaf)).collect();
            let survives = |gone: &[*const VdevStatus]| {
                pool.vdevs.iter().all(|top| is_readable(&top.vdev, gone))
            };
            let found = (0_u32..1 << leaves.len())
                .filter(|set| {
                    let gone = leaves.iter().enumerate().filter(|(at, _)| set >> at & 1 == 1);
                    !survives(&gone.map(|(_, leaf)| *leaf).collect::<Vec<_>>())
                })
                .map(u32::count_ones)
                .min();
            prop_assert_eq!(Some(failures_to_lose(&pool)), found.map(|count| count as usize));
        }

        /// Taking a disk out never makes a pool safer, and costs one failure at most.
        #[test]
        fn what_is_taken_out_costs_at_most_one(pool in any_pool(), at in 0_usize..64) {
            let leaves: Vec<_> = pool.members().map(|(_, leaf)| leaf).collect();
            let out = leaves[at % leaves.len()];
            let (with, without) = (failures_to_lose(&pool), failures_to_lose_without(&pool, out));
            prop_assert!(without <= with && with <= without + 1);
            if out.state != "ONLINE" {
                prop_assert_eq!(with, without, "it was of no use before");
            }
        }
    }
}
