//! The pools whose members lie on the target's disks, put together from what each member says.

use super::target::TargetFacts;
use super::zfs_label::{ZfsLabel, history};
use std::collections::{BTreeMap, BTreeSet};

/// A pool, as far as it can be seen.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeenPool {
    pub(crate) name: String,
    pub(crate) guid: u64,
    /// Name of the machine that last imported it; empty if no member says.
    pub(crate) host_name: String,
    /// Host id of that machine; 0 where it has none.
    pub(crate) host_id: u64,
    /// Features that a reader must support (zpool-features(7)).
    pub(crate) features: Vec<String>,
    /// `POOL_STATE_*`, as in [`ZfsLabel::state`]; of the member written last.
    pub(crate) state: u64,
    /// GUIDs of the members that those present know of.
    pub(crate) expected: BTreeSet<u64>,
    /// Whether top-level vdevs are missing altogether: there are more members than `expected`, of unknown number.
    pub(crate) has_unknown: bool,
    /// The members that are here: by GUID, the disk and the volume, in kernel names.
    pub(crate) present: BTreeMap<u64, (String, String)>,
}

/// All pools with members on the target's disks, by their GUIDs. Left-over labels, spares and caches are no
/// members.
pub fn pools(target: &TargetFacts) -> Vec<SeenPool> {
    let mut by_guid: BTreeMap<u64, Vec<(&ZfsLabel, &str, &str)>> = BTreeMap::new();
    for disk in target.disks.values() {
        for volume in disk.volumes.iter().filter(|volume| !volume.zfs_is_stale) {
            let Some(label) = volume.zfs.as_ref().filter(|label| label.pool_guid != 0) else {
                continue;
            };
            by_guid.entry(label.pool_guid).or_default().push((label, &disk.name, &volume.name));
        }
    }
    by_guid.into_iter().filter_map(|(guid, members)| SeenPool::of(guid, &members)).collect()
}

impl SeenPool {
    fn of(guid: u64, members: &[(&ZfsLabel, &str, &str)]) -> Option<Self> {
        // A member that was away while the pool was renamed or imported elsewhere knows less.
        let (latest, ..) = members.iter().max_by_key(|(label, ..)| label.txg)?;
        let siblings: BTreeSet<BTreeSet<u64>> =
            members.iter().map(|(label, ..)| label.siblings.iter().copied().collect()).collect();
        let present = members
            .iter()
            .map(|(label, disk, volume)| (label.guid, ((*disk).to_owned(), (*volume).to_owned())));
        Some(Self {
            name: latest.pool.clone(),
            guid,
            host_name: latest.host_name.clone(),
            host_id: latest.host_id,
            features: latest.features.clone(),
            state: latest.state,
            has_unknown: u64::try_from(siblings.len()).is_ok_and(|seen| seen < latest.vdevs),
            expected: siblings.into_iter().flatten().collect(),
            present: present.collect(),
        })
    }

    /// Names of the disks with members of it.
    pub(crate) fn disks(&self) -> BTreeSet<&str> {
        self.present.values().map(|(disk, _)| disk.as_str()).collect()
    }

    /// How many of its members lie on these disks.
    pub(crate) fn members_on(&self, disks: &BTreeSet<&str>) -> usize {
        self.present.values().filter(|(disk, _)| disks.contains(disk.as_str())).count()
    }

    /// `2 of 5 members of pool tank, last imported by nas`, of those on these disks.
    pub fn in_words(&self, disks: &BTreeSet<&str>) -> String {
        let (here, all) = (self.members_on(disks), self.expected.len());
        let at_least = if self.has_unknown { "at least " } else { "" };
        let members = if all == 1 && !self.has_unknown { "member" } else { "members" };
        let mut words = format!("{here} of {at_least}{all} {members} of pool {}", self.name);
        words.push_str(&history(self.state, &self.host_name));
        words
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The installed helios64 of a rehearsal: its pool is imported.
    const NIXOS: &str = include_str!("../../tests/data/probe-nixos-pool.txt");

    #[test]
    fn a_recorded_pool_is_put_together_from_its_members() {
        let facts = TargetFacts::parse(NIXOS);
        let seen = pools(&facts);
        let [tank] = seen.as_slice() else { panic!("{seen:?}") };
        assert_eq!((tank.name.as_str(), tank.guid), ("tank", 3_817_793_585_060_740_247));
        assert!(tank.expected.iter().eq(tank.present.keys()), "all members are here: {tank:?}");
        let some: BTreeSet<&str> = ["sdb", "sdd", "vda"].into();
        assert_eq!(tank.in_words(&some), "2 of 5 members of pool tank, last imported by helios64");
        assert_eq!(tank.members_on(&tank.disks()), 5);

        let [imported] = facts.pools.as_slice() else { panic!("{:?}", facts.pools) };
        assert_eq!((&imported.name, imported.guid), (&tank.name, tank.guid));
        assert_eq!(imported.members, ["sda1", "sdb1", "sdc1", "sdd1", "sde1"]);
        assert_eq!(
            facts.disks["sdc"].contents(),
            "a GPT with 1 partition: sdc1 ('disk-bay4-zfs') member of pool tank (5 members, last imported by \
             helios64)"
        );
        assert_eq!(
            facts.disks["vda"].contents(),
            "a GPT with 1 partition: vda1 ('disk-emmc-boot') ext4, mounted on /boot"
        );
    }

    #[test]
    fn members_that_are_missing_are_counted_and_left_overs_are_not() {
        let only = |disks: &[&str]| {
            let mut facts = TargetFacts::parse(NIXOS);
            facts.disks.retain(|name, _| disks.contains(&name.as_str()));
            facts
        };
        let mut facts = only(&["sda", "sdb"]);
        assert_eq!((pools(&facts)[0].present.len(), pools(&facts)[0].expected.len()), (2, 5));
        let volume = |facts: &mut TargetFacts, disk, change: fn(&mut ZfsLabel)| {
            let disk: &mut crate::facts::Disk = facts.disks.get_mut(disk).unwrap();
            change(disk.volumes[1].zfs.as_mut().unwrap());
        };
        // The one written last is right.
        volume(&mut facts, "sdb", |label| {
            label.txg += 1;
            label.vdevs = 2;
            label.state = 1;
            label.host_name = "nas".to_owned();
        });
        let words = pools(&facts)[0].in_words(&["sda"].into());
        assert_eq!(words, "1 of at least 5 members of pool tank, last imported by nas, exported");

        facts.disks.get_mut("sda").unwrap().volumes[1].zfs_is_stale = true;
        assert_eq!(pools(&facts)[0].present.len(), 1);
        volume(&mut facts, "sdb", |label| label.pool_guid = 0);
        assert_eq!(pools(&facts), []);
    }
}
