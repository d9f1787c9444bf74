//! What the installed system must be, and how what runs differs from it: after an install, and at any later time.

use super::property;
use crate::facts::{DeclaredFileSystem, DeclaredPool, HostFacts, InstalledFacts};
use crate::nix::StorePath;
use crate::report::Pool;
use std::collections::{BTreeMap, BTreeSet};

/// What the installed system must be. What the flake does not say is empty, and not asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Expected {
    /// What must run.
    pub(crate) toplevel: StorePath,
    /// What it must be called.
    pub(crate) host_name: Option<String>,
    /// The pools it must have, by their names.
    pub(crate) pools: BTreeMap<String, DeclaredPool>,
    /// Pools that were kept with members missing, and may lack them still.
    pub(crate) degraded: BTreeSet<String>,
    /// How many disks each pool is made of, by the pools' names.
    pub(crate) members: BTreeMap<String, usize>,
    /// What must be mounted, by its mount points.
    pub(crate) file_systems: BTreeMap<String, DeclaredFileSystem>,
    /// What the kernel must have been started with.
    pub(crate) kernel_params: Vec<String>,
    /// How much memory ZFS may take for its cache (`zfs_arc_max`), in bytes.
    pub(crate) arc_max: Option<u64>,
}

impl Expected {
    /// What the flake declares. None for something that is not a NixOS configuration.
    pub(crate) fn of(host: &HostFacts) -> Option<Self> {
        let kernel_params = host.kernel_params.clone().unwrap_or_default();
        Some(Self {
            toplevel: host.toplevel.as_ref()?.out.clone(),
            host_name: host.host_name.clone().filter(|name| !name.is_empty()),
            pools: host.pools.clone().unwrap_or_default(),
            degraded: BTreeSet::new(),
            members: members(host),
            file_systems: host.file_systems.clone().unwrap_or_default(),
            arc_max: arc_max(&kernel_params, host.modprobe_config.as_deref().unwrap_or_default()),
            kernel_params,
        })
    }

    /// The pools and datasets whose properties are to be asked, by their full names.
    pub(crate) fn zfs_names(&self) -> Vec<String> {
        let of_pool = |(pool, declared): (&String, &DeclaredPool)| {
            let datasets: Vec<_> =
                declared.datasets.keys().map(|name| full_name(pool, name)).collect();
            std::iter::once(pool.clone()).chain(datasets)
        };
        let names: BTreeSet<String> = self.pools.iter().flat_map(of_pool).collect();
        names.into_iter().collect()
    }

    /// What is not as expected, a sentence each.
    pub(crate) fn differences(&self, seen: &InstalledFacts) -> Vec<String> {
        let mut found = Vec::new();
        if seen.toplevel != self.toplevel.as_str() {
            found.push(format!("it runs {}, not {}", seen.toplevel, self.toplevel));
        }
        if let Some(name) = self.host_name.as_ref().filter(|name| **name != seen.host_name) {
            found.push(format!("it is called {}, not {name}", seen.host_name));
        }
        self.kernel(seen, &mut found);
        for (name, declared) in &self.pools {
            match seen.pools.iter().find(|pool| pool.name == *name) {
                None => found.push(format!("the pool {name} is not imported")),
                Some(pool) => self.pool(pool, declared, seen, &mut found),
            }
        }
        if !seen.pools_are_healthy() && !self.explains(seen) {
            let health = seen.pool_health.as_deref().unwrap_or_default();
            found.push(format!("`zpool status -x` complains: {health}"));
        }
        for (mount_point, declared) in &self.file_systems {
            found.extend(mounted(mount_point, declared, seen));
        }
        if !seen.failed_units.is_empty() {
            found.push(format!("failed units: {}", seen.failed_units.join(", ")));
        }
        found
    }

    /// Whether it lacks members only because it did so when it was kept.
    fn may_lack(&self, pool: &Pool) -> bool {
        pool.state == "DEGRADED" && self.degraded.contains(&pool.name)
    }

    /// Whether that is why ZFS complains: no pool is worse, and one is so.
    fn explains(&self, seen: &InstalledFacts) -> bool {
        let lacks = |pool: &Pool| self.may_lack(pool);
        seen.pools.iter().any(lacks)
            && seen.pools.iter().all(|pool| pool.state == "ONLINE" || lacks(pool))
    }

    fn kernel(&self, seen: &InstalledFacts, found: &mut Vec<String>) {
        // A parameter may hold blanks, in quotes.
        let line = format!(" {} ", seen.kernel_command_line);
        for param in self.kernel_params.iter().filter(|param| !param.is_empty()) {
            if !line.contains(&format!(" {param} ")) {
                found.push(format!("its kernel was started without {param}"));
            }
        }
        if let (Some(declared), Some(now)) = (self.arc_max, seen.arc_max)
            && declared != now
        {
            found.push(format!("ZFS may take {now} bytes for its cache, not {declared}"));
        }
    }

    fn pool(
        &self,
        pool: &Pool,
        declared: &DeclaredPool,
        seen: &InstalledFacts,
        found: &mut Vec<String>,
    ) {
        let name = &pool.name;
        if pool.state != "ONLINE" && !self.may_lack(pool) {
            found.push(format!("the pool {name} is {}", pool.state));
        }
        if let Some(mode) = &declared.mode {
            topology(pool, mode, self.members.get(name).copied(), found);
        }
        let subject = format!("the pool {name}");
        let now = seen.pool_properties.get(name);
        properties(&subject, &declared.options, now, found);
        // disko gives the root dataset's properties twice, and each difference is said once.
        let mut datasets = BTreeMap::from([(name.clone(), declared.root_fs_options.clone())]);
        for (dataset, options) in &declared.datasets {
            datasets.entry(full_name(name, dataset)).or_default().extend(options.clone());
        }
        for (dataset, options) in &datasets {
            match seen.dataset_properties.get(dataset) {
                None => found.push(format!("the dataset {dataset} is not there")),
                now => properties(&format!("the dataset {dataset}"), options, now, found),
            }
        }
    }
}

/// How many members the layout gives each pool, where it gives it any.
fn members(host: &HostFacts) -> BTreeMap<String, usize> {
    let names = host.pools.iter().flat_map(BTreeMap::keys);
    let counted = names.map(|name| (name.clone(), host.members_of(name)));
    counted.filter(|(_, count)| *count > 0).collect()
}

/// The cap that the configuration gives: as a parameter of the kernel, which wins, or of the module.
fn arc_max(kernel_params: &[String], modprobe_config: &str) -> Option<u64> {
    let of_kernel = kernel_params.iter().rev().find_map(|p| p.strip_prefix("zfs.zfs_arc_max="));
    let of_module = || {
        let lines = modprobe_config.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let options = lines.filter(|words| words.starts_with(&["options", "zfs"])).flatten();
        options.filter_map(|word| word.strip_prefix("zfs_arc_max=")).next_back()
    };
    of_kernel.or_else(of_module)?.parse().ok()
}

/// disko calls a pool's own dataset `__root`.
fn full_name(pool: &str, dataset: &str) -> String {
    if dataset == "__root" { pool.to_owned() } else { format!("{pool}/{dataset}") }
}

/// Whether the disks stand together as `mode` (zpoolconcepts(7)) has it.
fn topology(pool: &Pool, mode: &str, members: Option<usize>, found: &mut Vec<String>) {
    let name = &pool.name;
    let wanted = match mode {
        "" => "disk",
        "raidz" => "raidz1",
        "draid" => "draid1",
        mode => mode,
    };
    // A dRAID reports more of itself: `draid2:4d:6c:1s`.
    let fits = |kind: &str| kind.split(':').next() == wanted.split(':').next();
    if let Some(vdev) = pool.vdevs.iter().find(|vdev| !fits(&vdev.kind)) {
        found.push(format!("the pool {name} is made of {}, not {wanted}", vdev.kind));
    }
    let seen: usize = pool.vdevs.iter().map(|vdev| vdev.disks.len()).sum();
    if let Some(members) = members.filter(|members| *members != seen) {
        found.push(format!("the pool {name} has {seen} disks, not {members}"));
    }
}

fn properties(
    subject: &str,
    declared: &BTreeMap<String, String>,
    seen: Option<&BTreeMap<String, String>>,
    found: &mut Vec<String>,
) {
    for (given, value) in declared {
        let name = property::full_name(given);
        if property::is_lasting(name) {
            match seen.and_then(|seen| seen.get(name)) {
                None => found.push(format!("{subject} has no {name}, which was to be {value}")),
                Some(now) if property::agrees(name, value, now) => {}
                Some(now) => found.push(format!("{subject} has {name} {now}, not {value}")),
            }
        }
    }
}

/// What is wrong with one file system of the configuration.
fn mounted(
    mount_point: &str,
    declared: &DeclaredFileSystem,
    seen: &InstalledFacts,
) -> Option<String> {
    const OPTIONAL: [&str; 3] = ["noauto", "nofail", "x-systemd.automount"];
    if declared.options.iter().any(|option| OPTIONAL.contains(&option.as_str())) {
        return None;
    }
    // What was mounted last is what is seen there.
    let Some(mount) = seen.mounts.iter().rev().find(|mount| mount.target == mount_point) else {
        return Some(format!("nothing is mounted on {mount_point}"));
    };
    let device = declared.device.as_ref().filter(|_| declared.fs_type == "zfs")?;
    (*device != mount.source)
        .then(|| format!("{} is mounted on {mount_point}, not {device}", mount.source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::facts::{DeclaredDisk, DeclaredPartition, Mount};
    use crate::report::Vdev;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn zfs(device: &str, options: &[&str]) -> DeclaredFileSystem {
        DeclaredFileSystem {
            device: Some(device.into()),
            fs_type: "zfs".into(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            ..DeclaredFileSystem::default()
        }
    }

    fn expected() -> Expected {
        let tank = DeclaredPool {
            indirect: Vec::new(),
            mode: Some("raidz2".into()),
            options: map(&[("ashift", "12"), ("autotrim", "on"), ("cachefile", "none")]),
            root_fs_options: map(&[("atime", "off"), ("compression", "zstd")]),
            datasets: BTreeMap::from([
                ("__root".into(), map(&[("compression", "zstd"), ("mountpoint", "none")])),
                ("data/media".into(), map(&[("recordsize", "1M"), ("mountpoint", "legacy")])),
            ]),
        };
        Expected {
            toplevel: serde_json::from_str(r#""/nix/store/x-nixos-system""#).unwrap(),
            host_name: Some("helios64".into()),
            pools: BTreeMap::from([("tank".into(), tank)]),
            degraded: BTreeSet::new(),
            members: BTreeMap::from([("tank".into(), 2)]),
            file_systems: BTreeMap::from([
                ("/".into(), zfs("tank/root", &[])),
                ("/srv/media".into(), zfs("tank/data/media", &["defaults", "nofail"])),
                ("/boot".into(), DeclaredFileSystem::default()),
            ]),
            kernel_params: vec!["zfs.zfs_arc_max=1024".into()],
            arc_max: Some(1024),
        }
    }

    fn as_expected() -> InstalledFacts {
        let mount = |target: &str, source: &str| Mount {
            target: target.into(),
            source: source.into(),
            kind: String::new(),
        };
        let vdev = Vdev { kind: "raidz2".into(), disks: vec!["/dev/a".into(), "/dev/b".into()] };
        InstalledFacts {
            toplevel: "/nix/store/x-nixos-system".into(),
            host_name: "helios64".into(),
            pool_health: Some("all pools are healthy".into()),
            pools: vec![Pool { name: "tank".into(), state: "ONLINE".into(), vdevs: vec![vdev] }],
            pool_properties: BTreeMap::from([(
                "tank".into(),
                map(&[("ashift", "12"), ("autotrim", "on"), ("cachefile", "-")]),
            )]),
            dataset_properties: BTreeMap::from([
                (
                    "tank".into(),
                    map(&[("atime", "off"), ("compression", "zstd"), ("mountpoint", "none")]),
                ),
                (
                    "tank/data/media".into(),
                    map(&[("recordsize", "1048576"), ("mountpoint", "legacy")]),
                ),
            ]),
            mounts: vec![
                mount("/", "rootfs"),
                mount("/", "tank/root"),
                mount("/boot", "/dev/mmcblk1p1"),
            ],
            kernel_command_line: "init=/nix/store/x/init zfs.zfs_arc_max=1024".into(),
            arc_max: Some(1024),
            ..InstalledFacts::default()
        }
    }

    #[track_caller]
    fn differs(change: impl Fn(&mut InstalledFacts), sentences: &[&str]) {
        let mut seen = as_expected();
        change(&mut seen);
        assert_eq!(expected().differences(&seen), sentences);
    }

    #[test]
    fn a_system_as_planned_has_no_difference() {
        differs(|_| (), &[]);
    }

    #[test]
    fn another_system_or_name_is_a_difference() {
        differs(
            |seen| seen.toplevel = "/nix/store/y".into(),
            &["it runs /nix/store/y, not /nix/store/x-nixos-system"],
        );
        differs(|seen| seen.host_name = "nas".into(), &["it is called nas, not helios64"]);
        differs(
            |seen| seen.failed_units = vec!["a.service".into(), "b.mount".into()],
            &["failed units: a.service, b.mount"],
        );
        differs(
            |seen| seen.kernel_command_line = "zfs.zfs_arc_max=10240".into(),
            &["its kernel was started without zfs.zfs_arc_max=1024"],
        );
        differs(|seen| seen.arc_max = Some(0), &["ZFS may take 0 bytes for its cache, not 1024"]);
    }

    #[test]
    fn a_pool_that_is_missing_or_unhealthy_is_a_difference() {
        differs(|seen| seen.pools.clear(), &["the pool tank is not imported"]);
        differs(|seen| seen.pools[0].state = "DEGRADED".into(), &["the pool tank is DEGRADED"]);
        // It was kept so, and somebody had accepted that.
        let kept = Expected { degraded: ["tank".to_owned()].into(), ..expected() };
        let mut seen = as_expected();
        seen.pool_health = Some("  pool: tank".into());
        assert_eq!(kept.differences(&seen).len(), 1, "nothing explains it");
        seen.pools[0].state = "DEGRADED".into();
        assert_eq!(kept.differences(&seen), [""; 0]);
        assert_eq!(expected().differences(&seen).len(), 2);
        seen.pools[0].state = "SUSPENDED".into();
        assert_eq!(kept.differences(&seen).len(), 2);
        differs(
            |seen| seen.pool_health = Some("  pool: tank".into()),
            &["`zpool status -x` complains:   pool: tank"],
        );
        differs(
            |seen| seen.pools[0].vdevs[0].kind = "mirror".into(),
            &["the pool tank is made of mirror, not raidz2"],
        );
        differs(
            |seen| seen.pools[0].vdevs[0].disks.truncate(1),
            &["the pool tank has 1 disks, not 2"],
        );
    }

    #[test]
    fn other_properties_of_pool_and_datasets_are_differences() {
        let pool = |seen: &mut InstalledFacts, name: &str, value: &str| {
            let tank = seen.pool_properties.get_mut("tank").unwrap();
            tank.insert(name.into(), value.into());
        };
        differs(|seen| pool(seen, "ashift", "9"), &["the pool tank has ashift 9, not 12"]);
        differs(
            |seen| {
                seen.pool_properties.clear();
            },
            &[
                "the pool tank has no ashift, which was to be 12",
                "the pool tank has no autotrim, which was to be on",
            ],
        );
        let set = |seen: &mut InstalledFacts, name: &str, property: &str, value: &str| {
            let dataset = seen.dataset_properties.get_mut(name).unwrap();
            dataset.insert(property.into(), value.into());
        };
        differs(
            |seen| {
                set(seen, "tank", "compression", "lz4");
                set(seen, "tank/data/media", "recordsize", "131072");
            },
            &[
                "the dataset tank has compression lz4, not zstd",
                "the dataset tank/data/media has recordsize 131072, not 1M",
            ],
        );
        differs(
            |seen| {
                seen.dataset_properties.remove("tank/data/media");
            },
            &["the dataset tank/data/media is not there"],
        );
    }

    #[test]
    fn a_mount_that_is_missing_or_another_is_a_difference() {
        differs(
            |seen| {
                seen.mounts.pop();
            },
            &["nothing is mounted on /boot"],
        );
        differs(
            |seen| seen.mounts[1].source = "tank/old".into(),
            &["tank/old is mounted on /, not tank/root"],
        );
    }

    #[test]
    fn what_is_unknown_is_not_compared() {
        let mut unknown = expected();
        unknown.members.clear();
        unknown.pools.insert("tank".into(), DeclaredPool::default());
        let mut seen = as_expected();
        seen.arc_max = None;
        seen.pools[0].vdevs.clear();
        assert_eq!(unknown.differences(&seen), [""; 0]);
    }

    #[test]
    fn another_topology_is_a_difference() {
        let pool = |kind: &str| Pool {
            name: "p".into(),
            state: "ONLINE".into(),
            vdevs: vec![Vdev { kind: kind.into(), disks: vec!["a".into()] }],
        };
        for (mode, kind, fits) in [
            ("", "disk", true),
            ("", "mirror", false),
            ("mirror", "disk", false),
            ("raidz", "raidz1", true),
            ("raidz", "raidz2", false),
            ("draid2", "draid2:4d:6c:1s", true),
            ("draid1:4d", "draid2:4d:6c:1s", false),
        ] {
            let mut found = Vec::new();
            topology(&pool(kind), mode, Some(1), &mut found);
            assert_eq!(found.is_empty(), fits, "{mode} {kind}: {found:?}");
        }
    }

    #[test]
    fn what_is_expected_is_read_from_the_flake() {
        let member = DeclaredPartition { pool: Some("tank".into()), ..Default::default() };
        let disk = |partitions: &[DeclaredPartition], pool: Option<&str>| DeclaredDisk {
            partitions: partitions.to_vec(),
            pool: pool.map(str::to_owned),
            ..Default::default()
        };
        let disks = [
            disk(&[DeclaredPartition::default(), member.clone()], None),
            disk(&[member], None),
            disk(&[], Some("fast")),
        ];
        let mut host: HostFacts = serde_json::from_str("{}").unwrap();
        host.disks = Some((0..).map(|n: u32| n.to_string()).zip(disks).collect());
        let mut tank = DeclaredPool::default();
        // One more lies on LUKS.
        tank.indirect.push(BTreeSet::from(["9".to_owned()]));
        let pools =
            [("tank", tank), ("fast", DeclaredPool::default()), ("none", DeclaredPool::default())];
        host.pools = Some(pools.map(|(name, pool)| (name.to_owned(), pool)).into());
        let counted = BTreeMap::from([("tank".to_owned(), 3), ("fast".to_owned(), 1)]);
        assert_eq!(members(&host), counted);
        assert_eq!(expected().zfs_names(), ["tank", "tank/data/media"]);

        let params = ["quiet", "zfs.zfs_arc_max=5"].map(str::to_owned);
        let config = "# zfs_arc_max=1\noptions zfs zfs_arc_min=3 zfs_arc_max=7\noptions zfsx zfs_arc_max=9\n";
        assert_eq!(arc_max(&params, config), Some(5));
        assert_eq!(arc_max(&[], config), Some(7));
        assert_eq!(arc_max(&[], "options spl x=1"), None);
    }
}
