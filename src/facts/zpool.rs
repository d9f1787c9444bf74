//! The pools that are imported, as `zpool status` reports them: a pure parser.
//!
//! In the `config:` table, indentation shows what belongs to what: a tab for the pool and for the headings of
//! classes (`logs`, `cache`, `spares` …), two blanks more for a top-level vdev, two more for each level in it.

use super::amount::zfs_amount;
use super::scan::Scan;

/// A pool that is imported.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PoolStatus {
    pub(crate) name: String,
    /// Its state: `ONLINE`, `DEGRADED`, `SUSPENDED` …
    pub(crate) state: String,
    /// What ZFS says is wrong with it; empty if nothing is.
    pub(crate) status: String,
    /// Scrubs and resilvers, at work or ended.
    pub(crate) scans: Vec<Scan>,
    /// `No known data errors`, or how many there are.
    pub errors: String,
    /// Its top-level vdevs.
    pub(crate) vdevs: Vec<TopVdev>,
}

/// A top-level vdev of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopVdev {
    /// What it is for.
    pub(crate) class: Class,
    /// The vdev itself.
    pub(crate) vdev: VdevStatus,
}

/// What a top-level vdev is for (zpoolconcepts(7)).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Class {
    #[default]
    Data,
    /// Metadata and small blocks: as dear as data.
    Special,
    /// The table of deduplication: as dear as data.
    Dedup,
    /// The intent log.
    Log,
    /// A cache, which may be lost at any time.
    Cache,
    Spare,
}

/// A vdev: a group (`raidz1-0`, `mirror-0`, `replacing-1`, `spare-2`), or a leaf without children: a disk or partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VdevStatus {
    /// As `zpool status -P` names it. A leaf that is not there is named by its GUID.
    pub(crate) name: String,
    /// Its GUID, where it was asked for.
    pub guid: Option<u64>,
    /// Its state: `ONLINE`, `DEGRADED`, `FAULTED`, `OFFLINE`, `REMOVED`, `UNAVAIL`; of a spare `AVAIL` or `INUSE`.
    pub(crate) state: String,
    /// Errors of reading since the last `zpool clear`.
    pub(crate) read: u64,
    /// Errors of writing.
    pub(crate) write: u64,
    /// What was read, and was not what had been written.
    pub checksum: u64,
    /// What ZFS says beside it: `too many errors`, `(resilvering)`, `was /dev/…`.
    pub(crate) note: String,
    /// What it is made of.
    pub(crate) children: Vec<VdevStatus>,
}

impl Class {
    /// By the heading in the table.
    fn of(heading: &str) -> Self {
        match heading {
            "special" => Self::Special,
            "dedup" => Self::Dedup,
            "logs" => Self::Log,
            "cache" => Self::Cache,
            "spares" => Self::Spare,
            _ => Self::Data,
        }
    }
}

impl VdevStatus {
    /// Whether it is a disk or partition.
    pub(crate) fn is_leaf(&self) -> bool {
        self.children.is_empty()
    }

    /// `raidz1`, `mirror`, `replacing` …; of a leaf `disk`.
    pub(crate) fn kind(&self) -> &str {
        match self.name.rsplit_once('-') {
            Some((kind, _)) if !self.is_leaf() => kind,
            _ if self.is_leaf() => "disk",
            _ => &self.name,
        }
    }

    /// Its path, now or when it was last there; none for a leaf that is not named.
    pub(crate) fn path(&self) -> Option<&str> {
        let was = || {
            let (_, path) = self.note.split_once("was ")?;
            path.split_whitespace().next()
        };
        Some(self.name.as_str()).filter(|name| name.starts_with('/')).or_else(was)
    }

    /// Whether it is being filled, and not yet whole.
    pub(crate) fn is_resilvering(&self) -> bool {
        self.note.contains("resilver")
    }

    /// Errors of all kinds.
    pub(crate) fn errors(&self) -> u64 {
        self.read.saturating_add(self.write).saturating_add(self.checksum)
    }

    /// All leaves in it, from the first to the last.
    pub(crate) fn leaves(&self) -> Vec<&VdevStatus> {
        if self.is_leaf() {
            return vec![self];
        }
        self.children.iter().flat_map(VdevStatus::leaves).collect()
    }

    /// Takes the GUIDs from what `-g` printed, where that is of the same shape.
    fn take_guids(&mut self, by_guid: &VdevStatus) {
        self.guid = by_guid.name.parse().ok();
        if self.children.len() == by_guid.children.len() {
            for (vdev, by_guid) in self.children.iter_mut().zip(&by_guid.children) {
                vdev.take_guids(by_guid);
            }
        }
    }
}

impl PoolStatus {
    /// Reads `zpool status -P -p`.
    pub(crate) fn parse(status: &str) -> Vec<Self> {
        let mut reader = Reader::default();
        status.lines().for_each(|line| reader.line(line));
        reader.pools
    }

    /// Reads it together with `zpool status -P -p -g`, which names vdevs by their GUIDs.
    pub(crate) fn parse_with_guids(status: &str, guids: &str) -> Vec<Self> {
        let mut pools = Self::parse(status);
        let by_guid = Self::parse(guids);
        for pool in &mut pools {
            let Some(by_guid) = by_guid.iter().find(|by_guid| by_guid.name == pool.name) else {
                continue;
            };
            if by_guid.vdevs.len() == pool.vdevs.len() {
                for (top, by_guid) in pool.vdevs.iter_mut().zip(&by_guid.vdevs) {
                    top.vdev.take_guids(&by_guid.vdev);
                }
            }
        }
        pools
    }

    /// The disks and partitions that it is made of, each with its top-level vdev. Spares and caches are left out.
    pub fn members(&self) -> impl Iterator<Item = (&TopVdev, &VdevStatus)> {
        let counts = |top: &&TopVdev| !matches!(top.class, Class::Cache | Class::Spare);
        let tops = self.vdevs.iter().filter(counts);
        tops.flat_map(|top| top.vdev.leaves().into_iter().map(move |leaf| (top, leaf)))
    }

    /// Whether it has lost data: files, or its own.
    pub(crate) fn has_data_errors(&self) -> bool {
        !self.errors.is_empty() && !self.errors.starts_with("No known data errors")
    }
}

/// Where in the text the parser is.
#[derive(Default)]
struct Reader {
    pools: Vec<PoolStatus>,
    /// The field that lines with a tab continue: `status`, `scan`, `config`.
    field: String,
    class: Class,
}

impl Reader {
    fn line(&mut self, line: &str) {
        if line.trim().is_empty() {
            return;
        }
        if let Some(row) = line.strip_prefix('\t') {
            return if self.field == "config" { self.row(row) } else { self.more(row.trim()) };
        }
        let Some((field, value)) = line.trim_start().split_once(':') else { return };
        let value = value.trim();
        field.clone_into(&mut self.field);
        if field == "pool" {
            self.class = Class::Data;
            self.pools.push(PoolStatus { name: value.to_owned(), ..PoolStatus::default() });
        }
        let Some(pool) = self.pools.last_mut() else { return };
        match field {
            "state" => value.clone_into(&mut pool.state),
            "status" => value.clone_into(&mut pool.status),
            "errors" => value.clone_into(&mut pool.errors),
            "scan" => pool.scans.extend(Scan::begin(value)),
            _ => {}
        }
    }

    /// A line that continues its field.
    fn more(&mut self, text: &str) {
        let Some(pool) = self.pools.last_mut() else { return };
        match self.field.as_str() {
            "status" => {
                pool.status.push(' ');
                pool.status.push_str(text);
            }
            "scan" => pool.scans.last_mut().into_iter().for_each(|scan| scan.more(text)),
            _ => {}
        }
    }

    /// A line of the table.
    fn row(&mut self, row: &str) {
        let Some(pool) = self.pools.last_mut() else { return };
        let depth = (row.len() - row.trim_start().len()) / 2;
        let mut columns = row.split_whitespace();
        let (Some(name), state) = (columns.next(), columns.next().unwrap_or_default()) else {
            return;
        };
        let mut count = || columns.next().and_then(zfs_amount).unwrap_or(0);
        let vdev = VdevStatus {
            name: name.to_owned(),
            state: state.to_owned(),
            read: count(),
            write: count(),
            checksum: count(),
            ..VdevStatus::default()
        };
        let vdev = VdevStatus { note: columns.collect::<Vec<_>>().join(" "), ..vdev };
        match depth {
            0 if name == "NAME" => {}
            // The heading of a class stands beside the pool, without a state.
            0 if state.is_empty() => self.class = Class::of(name),
            0 => state.clone_into(&mut pool.state),
            1 => pool.vdevs.push(TopVdev { class: self.class, vdev }),
            _ => {
                let mut parent = pool.vdevs.last_mut().map(|top| &mut top.vdev);
                for _ in 2..depth {
                    parent = parent.and_then(|vdev| vdev.children.last_mut());
                }
                if let Some(parent) = parent {
                    parent.children.push(vdev);
                }
            }
        }
    }
}

#[cfg(test)]
#[path = "zpool_tests.rs"]
mod tests;
