//! What the installed system says of itself, after its first boot.

use super::zpool::{Class, PoolStatus, TopVdev};
use crate::machine::{CommandError, Script, Target};
use crate::report::{Pool, Vdev};
use std::collections::BTreeMap;

/// Properties by their names, as `-p` reports them: sizes in bytes.
pub(crate) type Properties = BTreeMap<String, String>;

/// What runs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InstalledFacts {
    /// Its boot id.
    pub boot: String,
    /// What `/run/current-system` is.
    pub(crate) toplevel: String,
    /// Its host name.
    pub host_name: String,
    /// Units that failed, where there is systemd.
    pub(crate) failed_units: Vec<String>,
    /// First line of `zpool status -x`, where there is ZFS.
    pub pool_health: Option<String>,
    /// The pools that are imported, with their data vdevs.
    pub pools: Vec<Pool>,
    /// Properties of the pools that were asked for (`zpool get`).
    pub pool_properties: BTreeMap<String, Properties>,
    /// Properties of the datasets that were asked for, if they are there (`zfs get`).
    pub dataset_properties: BTreeMap<String, Properties>,
    /// `zfs_arc_max` as the module has it, in bytes; 0 is its own choice. None without ZFS.
    pub arc_max: Option<u64>,
    /// What is mounted, in the order it was.
    pub mounts: Vec<Mount>,
    /// `/proc/cmdline`.
    pub kernel_command_line: String,
}

/// A line of `/proc/mounts`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Mount {
    /// What is mounted: a path, a dataset …
    pub(crate) source: String,
    /// Where.
    pub target: String,
    /// Its type.
    pub(crate) kind: String,
}

impl InstalledFacts {
    /// Gathers them; `zfs_names` are the pools and datasets whose properties are wanted, by their full names.
    pub(crate) async fn gather(
        target: &Target,
        zfs_names: &[String],
    ) -> Result<Self, CommandError> {
        let script = Script::file("installed.sh", include_str!("installed.sh")).args(zfs_names);
        Ok(Self::parse(&target.run(&script).await?))
    }

    /// Reads its answer.
    pub fn parse(said: &str) -> Self {
        let mut facts = Self::default();
        let mut status = String::new();
        for (key, value) in said.lines().filter_map(|line| line.split_once('\t')) {
            match key {
                "boot" => value.trim().clone_into(&mut facts.boot),
                "toplevel" => value.trim().clone_into(&mut facts.toplevel),
                "hostname" => value.trim().clone_into(&mut facts.host_name),
                "failed" => facts.failed_units.push(value.trim().to_owned()),
                "health" => facts.pool_health = Some(value.trim().to_owned()),
                "cmdline" => value.trim().clone_into(&mut facts.kernel_command_line),
                "arc-max" => facts.arc_max = value.trim().parse().ok(),
                "mount" => facts.mounts.extend(parse_mount(value)),
                "pool-property" => note_property(&mut facts.pool_properties, value),
                "dataset-property" => note_property(&mut facts.dataset_properties, value),
                "zpool" => {
                    status.push_str(value);
                    status.push('\n');
                }
                _ => {}
            }
        }
        facts.pools = parse_pools(&status);
        facts
    }

    /// Whether ZFS has nothing to complain about (zpool-status(8): `-x`).
    pub fn pools_are_healthy(&self) -> bool {
        match self.pool_health.as_deref() {
            Some(line) => line == "all pools are healthy" || line == "no pools available",
            None => true,
        }
    }
}

/// Reads a line of `/proc/mounts` (proc_pid_mounts(5)).
fn parse_mount(line: &str) -> Option<Mount> {
    let mut words = line.split(' ').map(plain);
    Some(Mount { source: words.next()?, target: words.next()?, kind: words.next()? })
}

/// Takes the place of the characters that would end a word there.
fn plain(word: &str) -> String {
    let escapes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    escapes
        .iter()
        .fold(word.to_owned(), |word, (escape, character)| word.replace(escape, character))
}

/// Reads a line of `zpool get` or `zfs get` with `-H -p -o name,property,value`.
fn note_property(properties: &mut BTreeMap<String, Properties>, line: &str) {
    let mut columns = line.splitn(3, '\t');
    if let (Some(of), Some(name), Some(value)) = (columns.next(), columns.next(), columns.next()) {
        properties.entry(of.to_owned()).or_default().insert(name.to_owned(), value.to_owned());
    }
}

/// The pools and the data vdevs they are made of, each with its members. One that is being replaced counts as one.
fn parse_pools(status: &str) -> Vec<Pool> {
    let vdev = |top: &TopVdev| {
        let TopVdev { vdev, .. } = top;
        let members = if vdev.is_leaf() { std::slice::from_ref(vdev) } else { &vdev.children };
        let disks = members.iter().map(|member| member.name.clone()).collect();
        Vdev { kind: vdev.kind().to_owned(), disks }
    };
    let pool = |pool: PoolStatus| {
        let data = pool.vdevs.iter().filter(|top| top.class == Class::Data);
        let vdevs = data.map(vdev).collect();
        Pool { name: pool.name, state: pool.state, vdevs }
    };
    PoolStatus::parse(status).into_iter().map(pool).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STATUS: &str = "  pool: tank\n state: ONLINE\n  scan: none requested\nconfig:\n\n\
        \tNAME                                      STATE     READ WRITE CKSUM\n\
        \ttank                                      ONLINE       0     0     0\n\
        \t  raidz1-0                                ONLINE       0     0     0\n\
        \t    /dev/disk/by-id/ata-A_1-part1         ONLINE       0     0     0\n\
        \t    /dev/disk/by-id/ata-A_2-part1         ONLINE       0     0     0\n\
        \t    /dev/disk/by-id/ata-A_3-part1         ONLINE       0     0     0\n\
        \tlogs\t\n\
        \t  mirror-1                                ONLINE       0     0     0\n\
        \t    /dev/nvme0n1p1                        ONLINE       0     0     0\n\
        \nerrors: No known data errors\n\n  pool: single\n state: DEGRADED\nconfig:\n\n\
        \tNAME         STATE     READ WRITE CKSUM\n\tsingle       DEGRADED     0     0     0\n\
        \t  /dev/sdb1  ONLINE       0     0     0\n\nerrors: No known data errors\n";

    #[test]
    fn reads_recorded_pools() {
        let pools = parse_pools(STATUS);
        assert_eq!(pools.len(), 2);
        assert_eq!((pools[0].name.as_str(), pools[0].state.as_str()), ("tank", "ONLINE"));
        assert_eq!(pools[0].vdevs.len(), 1, "the log device is no data vdev");
        assert_eq!((pools[0].vdevs[0].kind.as_str(), pools[0].vdevs[0].disks.len()), ("raidz1", 3));
        assert_eq!(
            (pools[1].state.as_str(), pools[1].vdevs[0].kind.as_str()),
            ("DEGRADED", "disk")
        );
    }

    /// As OpenZFS 2.2 reports them, most left out.
    const PROPERTIES: &str = "pool-property\ttank\tsize\t15942918602752\n\
        pool-property\ttank\tashift\t12\npool-property\ttank\tcachefile\t-\n\
        pool-property\ttank\tcompatibility\topenzfs-2.2-linux\n\
        pool-property\ttank\tfeature@zstd_compress\tactive\n\
        dataset-property\ttank\tcompression\tzstd\n\
        dataset-property\ttank/data/media\trecordsize\t1048576\n\
        dataset-property\ttank/data/media\tcom.example:note\ta\tb\n";

    #[test]
    fn reads_recorded_properties() {
        let facts = InstalledFacts::parse(PROPERTIES);
        assert_eq!(facts.pool_properties["tank"]["ashift"], "12");
        assert_eq!(facts.pool_properties["tank"]["compatibility"], "openzfs-2.2-linux");
        assert_eq!(facts.dataset_properties["tank"].len(), 1);
        assert_eq!(facts.dataset_properties["tank/data/media"]["recordsize"], "1048576");
        assert_eq!(facts.dataset_properties["tank/data/media"]["com.example:note"], "a\tb");
        assert!(!facts.dataset_properties.contains_key("tank/data"));
    }

    #[test]
    fn reads_mounts_and_the_kernel() {
        let facts = InstalledFacts::parse(
            "cmdline\tinit=/nix/store/x/init quiet\narc-max\t1073741824\n\
             mount\ttank/root / zfs rw,relatime 0 0\nmount\t/dev/sda1 /a\\040b ext4 rw 0 0\nmount\tx\n",
        );
        assert_eq!(facts.kernel_command_line, "init=/nix/store/x/init quiet");
        assert_eq!(facts.arc_max, Some(1 << 30));
        assert_eq!(facts.mounts.len(), 2);
        assert_eq!(
            (facts.mounts[0].source.as_str(), facts.mounts[0].kind.as_str()),
            ("tank/root", "zfs")
        );
        assert_eq!(facts.mounts[1].target, "/a b");
    }

    #[test]
    fn reads_a_whole_answer() {
        let said = "boot\tb1\ntoplevel\t/nix/store/x-nixos-system\nhostname\thelios64\n\
                    failed\tfan.service\nhealth\tall pools are healthy\nzpool\t  pool: tank\n";
        let facts = InstalledFacts::parse(said);
        assert_eq!(facts.toplevel, "/nix/store/x-nixos-system");
        assert_eq!(facts.failed_units, ["fan.service"]);
        assert!(facts.pools_are_healthy());
        assert!(!InstalledFacts::parse("health\t  pool: tank\n").pools_are_healthy());
        assert!(InstalledFacts::parse("").pools_are_healthy(), "no ZFS, no complaint");
    }
}
