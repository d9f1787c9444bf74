//! What is kept: which pools those are, and what becomes of their datasets.
//!
//! A kept pool is found by what its members say, on the disks that the layout gives it; it is known by its GUID. Its datasets
//! stay as they are, but for those that are the system itself: they are archived and created again.

use crate::facts::{HostFacts, SeenPool, TargetFacts, pools};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Where a dataset is mounted that is the system itself: what an installation creates again. These are the mount points that
/// NixOS cannot start without (`pathsNeededForBoot`), and those of the boot loader. A dataset that only
/// `neededForBoot` puts among them (`/persist`) holds what somebody wants to keep, and is none.
const SYSTEM: [&str; 14] = [
    "/",
    "/boot",
    "/boot/efi",
    "/efi",
    "/etc",
    "/nix",
    "/nix/store",
    "/nix/var",
    "/usr",
    "/var",
    "/var/lib",
    "/var/lib/nixos",
    "/var/log",
    "/var/tmp",
];

/// Below the parent of each dataset that is archived; it is never mounted.
pub(super) const ARCHIVE: &str = "landfall-archived";

/// A pool of the layout that is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KeptPool {
    pub(crate) name: String,
    /// The one pool that it is; none if it cannot be seen, or several could be meant.
    pub(crate) seen: Option<SeenPool>,
    /// The datasets that the layout declares in it, a parent before its children.
    pub(crate) datasets: Vec<KeptDataset>,
    /// The encrypted ones of them, and the pool's own, with their `keylocation`.
    pub(crate) encrypted: Vec<(String, String)>,
}

/// A dataset that the layout declares in a kept pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct KeptDataset {
    /// Its full name: `tank/root`.
    pub(crate) name: String,
    /// What becomes of it.
    pub(crate) becomes: Becomes,
    /// Where the configuration mounts it.
    pub(crate) mounted: Vec<String>,
}

/// What becomes of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub(crate) enum Becomes {
    /// It stays with all below it, or is created if it is not there.
    Keep,
    /// It is renamed with all below it, if it is there, and created again.
    Archive,
}

impl Becomes {
    /// As the plan has it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Keep => "keep",
            Self::Archive => "archive",
        }
    }
}

/// The pools that are kept, in the order of their names.
pub(crate) fn kept_pools(host: &HostFacts, target: &TargetFacts) -> Vec<KeptPool> {
    let names: BTreeSet<&String> = host.kept.pools.iter().collect();
    let kept = |name: &String| {
        let mut seen = candidates(host, target, name);
        let seen = if seen.len() == 1 { seen.pop() } else { None };
        let (datasets, encrypted) = (datasets(host, name), encrypted(host, name));
        KeptPool { name: name.clone(), seen, datasets, encrypted }
    };
    names.into_iter().map(kept).collect()
}

/// Kernel names of the disks that are kept by wish, as far as they are there.
pub(super) fn kept_disks<'a>(host: &'a HostFacts, target: &'a TargetFacts) -> BTreeSet<&'a str> {
    let disks = host.disks.iter().flatten().filter(|(name, _)| host.kept.disks.contains(*name));
    disks.filter_map(|(_, disk)| Some(target.disk(&disk.device)?.name.as_str())).collect()
}

/// The pools of that name on the kept disks. One that was destroyed is none.
pub(super) fn candidates(host: &HostFacts, target: &TargetFacts, name: &str) -> Vec<SeenPool> {
    let disks = kept_disks(host, target);
    let is_it =
        |pool: &SeenPool| pool.name == name && pool.state != 2 && pool.members_on(&disks) > 0;
    pools(target).into_iter().filter(is_it).collect()
}

/// What becomes of each declared dataset of a pool.
pub(super) fn datasets(host: &HostFacts, pool: &str) -> Vec<KeptDataset> {
    let declared = host.pools.iter().flatten().filter(|(name, _)| *name == pool);
    let names = declared.flat_map(|(_, declared)| declared.datasets.keys());
    let dataset = |name: &String| {
        let name = format!("{pool}/{name}");
        let mounted = mounts_of(host, &name);
        let is_system = mounted.iter().any(|point| SYSTEM.contains(&point.as_str()));
        let becomes = if is_system { Becomes::Archive } else { Becomes::Keep };
        KeptDataset { name, becomes, mounted }
    };
    names.map(dataset).collect()
}

/// The datasets of a pool that have a key of their own, with the `keylocation` that the layout gives them.
pub(super) fn encrypted(host: &HostFacts, pool: &str) -> Vec<(String, String)> {
    let declared = host.pools.iter().flatten().filter(|(name, _)| *name == pool);
    let sets = declared.flat_map(|(_, declared)| {
        let own = (pool.to_owned(), &declared.root_fs_options);
        let below = declared.datasets.iter();
        std::iter::once(own).chain(below.map(|(name, given)| (format!("{pool}/{name}"), given)))
    });
    let is_encrypted = |given: &BTreeMap<String, String>| {
        given.get("encryption").is_some_and(|value| value != "off")
    };
    sets.filter(|(_, given)| is_encrypted(given))
        .map(|(name, given)| (name, given.get("keylocation").cloned().unwrap_or_default()))
        .collect()
}

/// Where the configuration mounts a dataset.
pub(super) fn mounts_of(host: &HostFacts, dataset: &str) -> Vec<String> {
    let systems = host.file_systems.iter().flatten();
    let is_it = systems.filter(|(_, system)| system.device.as_deref() == Some(dataset));
    is_it.map(|(point, _)| point.clone()).collect()
}

impl KeptPool {
    /// The datasets that are archived, a parent before its children.
    pub(crate) fn archived(&self) -> impl Iterator<Item = &KeptDataset> {
        self.datasets.iter().filter(|dataset| dataset.becomes == Becomes::Archive)
    }

    /// Whether it must be imported by force: it was last in use by a machine with another host id, and never exported.
    pub(crate) fn is_foreign(&self, host: &HostFacts) -> bool {
        let own = host.host_id.as_deref().and_then(|id| u64::from_str_radix(id, 16).ok());
        self.seen.as_ref().is_some_and(|seen| seen.state != 1 && Some(seen.host_id) != own)
    }

    /// Lines for people: which pool it is, then each of its datasets.
    pub(crate) fn lines(&self) -> Vec<String> {
        let which = match &self.seen {
            Some(seen) => {
                let (here, all) = (seen.present.len(), seen.expected.len());
                let at_least = if seen.has_unknown { "at least " } else { "" };
                format!("GUID {}, {here} of {at_least}{all} members", seen.guid)
            }
            None => "not visible from the current system; looked for in the installer".to_owned(),
        };
        let mut lines = vec![format!("keep   pool {}: {which}", self.name)];
        for KeptDataset { name, becomes, mounted } in &self.datasets {
            let at = if mounted.is_empty() {
                String::new()
            } else {
                format!(" ({})", mounted.join(", "))
            };
            lines.push(match becomes {
                Becomes::Keep => format!("       keep   {name}{at}, or create it if it is missing"),
                Becomes::Archive => {
                    format!("       rename {name}{at}: archived below {ARCHIVE}, and created again")
                }
            });
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A host with a pool of these datasets, mounted there.
    fn host(datasets: &[(String, Option<&str>)]) -> HostFacts {
        let declared: serde_json::Map<_, _> =
            datasets.iter().map(|(name, _)| (name.clone(), serde_json::json!({}))).collect();
        let mounted = datasets.iter().filter_map(|(name, point)| Some((name, (*point)?)));
        let systems: serde_json::Map<_, _> = mounted
            .map(|(name, point)| {
                let system = serde_json::json!({
                    "device": format!("tank/{name}"), "fsType": "zfs", "neededForBoot": true
                });
                (point.to_owned(), system)
            })
            .collect();
        serde_json::from_value(serde_json::json!({
            "pools": {"tank": {"datasets": declared}}, "fileSystems": systems,
            "kept": {"pools": ["tank"]}, "hostId": "4e110564",
        }))
        .unwrap()
    }

    #[test]
    fn what_is_the_system_is_archived_and_nothing_else() {
        let given = [
            ("root", Some("/")),
            ("nix", Some("/nix")),
            ("var", Some("/var")),
            ("persist", Some("/persist")),
            ("shares", Some("/srv/shares")),
            ("data", None),
        ];
        let given = given.map(|(name, point)| (name.to_owned(), point));
        let [tank] = &kept_pools(&host(&given), &TargetFacts::default())[..] else { panic!() };
        let archived: Vec<&str> = tank.archived().map(|dataset| dataset.name.as_str()).collect();
        assert_eq!(archived, ["tank/nix", "tank/root", "tank/var"]);
        let lines = tank.lines().join("\n");
        assert!(lines.contains("keep   tank/persist (/persist), or create"), "{lines}");
        assert!(
            lines.contains("rename tank/root (/): archived below landfall-archived"),
            "{lines}"
        );
        assert!(lines.starts_with("keep   pool tank: not visible"), "{lines}");
    }

    #[test]
    fn a_pool_is_foreign_by_host_id_unless_it_was_exported() {
        let host = host(&[]);
        let pool = |host_id, state| KeptPool {
            name: "tank".into(),
            seen: Some(SeenPool { host_id, state, ..SeenPool::default() }),
            datasets: vec![],
            encrypted: vec![],
        };
        assert!(!pool(0x4e11_0564, 0).is_foreign(&host));
        assert!(pool(0x4e11_0565, 0).is_foreign(&host) && pool(0, 0).is_foreign(&host));
        assert!(!pool(0x4e11_0565, 1).is_foreign(&host));
    }

    proptest! {
        /// Whatever is declared: each dataset has one fate, and what is archived is mounted at a place of the system.
        #[test]
        fn every_dataset_has_one_fate(
            names in prop::collection::btree_set("[a-d](/[a-d]){0,2}", 0..8),
            points in prop::collection::vec(prop::option::of(prop::sample::select(
                vec!["/", "/nix", "/var", "/var/lib", "/home", "/srv", "/variety", "/nixos"])), 8),
        ) {
            let given: Vec<_> = names.iter().cloned().zip(points).collect();
            let host = host(&given);
            let found = datasets(&host, "tank");
            let full: Vec<String> = names.iter().map(|name| ["tank/", name].concat()).collect();
            let is: Vec<String> = found.iter().map(|set| set.name.clone()).collect();
            prop_assert_eq!(is, full);
            for set in &found {
                let is_system = set.mounted.iter().any(|point| SYSTEM.contains(&point.as_str()));
                prop_assert_eq!(set.becomes == Becomes::Archive, is_system);
            }
            // A parent before its children.
            for (at, set) in found.iter().enumerate() {
                let below = format!("{}/", set.name);
                prop_assert!(!found[..at].iter().any(|before| before.name.starts_with(&below)));
            }
        }
    }
}
