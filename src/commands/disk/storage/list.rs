//! What is where: every disk of the machine and of its layout, and in what they differ.

use super::{bay_of, volume_of};
use crate::facts::{
    DeclaredDisk, Disk, HostFacts, PoolStatus, StorageFacts, TargetFacts, VdevStatus,
};
use crate::report::{Document, size, to_json};
use serde::Serialize;
use std::fmt::Write as _;

/// Everything that `landfall disk list` shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Listing {
    /// The disks: those of the layout in its order, then the others.
    pub(crate) disks: Vec<ListedDisk>,
    /// The pools that are imported.
    pub(crate) pools: Vec<ListedPool>,
    /// Members of pools that are on none of the disks.
    pub(crate) gone: Vec<ListedMember>,
}

/// A disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedDisk {
    /// Its name in the layout; none for one that the layout does not name.
    pub(crate) name: Option<String>,
    /// Its path: the layout's, else a stable one, else the kernel's.
    pub(crate) device: String,
    /// Kernel name; none if it is not there.
    pub(crate) kernel: Option<String>,
    /// Model; none if unknown.
    pub(crate) model: Option<String>,
    /// Serial number; none if unknown.
    pub(crate) serial: Option<String>,
    /// World-wide name; none if unknown.
    pub(crate) wwn: Option<String>,
    /// Bytes.
    pub(crate) size: Option<u64>,
    /// Hours it has been powered on, where SMART tells.
    pub(crate) hours: Option<u64>,
    /// Degrees Celsius, where SMART tells.
    pub(crate) celsius: Option<i64>,
    /// What it says of its own health, where it can be asked.
    pub(crate) healthy: Option<bool>,
    /// What it is for by the layout: `pool tank`, `boot` …
    pub(crate) role: Vec<String>,
    /// What it is in pools.
    pub(crate) members: Vec<ListedMember>,
    /// What is on it, in words; empty if it is not there.
    pub(crate) holds: String,
    /// In what it differs from the layout.
    pub(crate) differs: Vec<Difference>,
}

/// A member of a pool.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedMember {
    /// The pool.
    pub(crate) pool: String,
    /// The top-level vdev it belongs to.
    pub(crate) vdev: String,
    /// Its GUID, in decimal digits: it has more than a number in JSON can hold.
    pub(crate) guid: Option<String>,
    /// Its path, now or when it was last there.
    pub(crate) path: Option<String>,
    /// Its state.
    pub(crate) state: String,
    /// Errors of reading.
    pub(crate) read: u64,
    /// Errors of writing.
    pub(crate) write: u64,
    /// What was read, and was not what had been written.
    pub(crate) checksum: u64,
    /// What ZFS says beside it.
    pub(crate) note: String,
}

/// A pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ListedPool {
    /// Its name.
    pub(crate) name: String,
    /// Its state.
    pub(crate) state: String,
    /// What ZFS says is wrong with it; empty if nothing is.
    pub(crate) status: String,
    /// Scrubs and resilvers, in ZFS' own words.
    pub(crate) scans: Vec<String>,
    /// Data errors, in ZFS' own words.
    pub(crate) errors: String,
    /// How many more disks must fail, at the least, until it is lost.
    pub(crate) failures_to_lose: usize,
}

/// In what a disk differs from the layout.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Difference {
    /// `missing`, `extra`, `other-serial`, `smaller` or `not-a-member`.
    pub(crate) kind: &'static str,
    /// In words.
    pub(crate) what: String,
}

/// Puts together what was declared and found.
pub(crate) fn list(host: &HostFacts, target: &TargetFacts, storage: &StorageFacts) -> Listing {
    let mut disks = Vec::new();
    let mut named = Vec::new();
    for (name, declared) in host.disks.iter().flatten() {
        let found = target.disk(&declared.device);
        named.extend(found.map(|disk| disk.name.as_str()));
        let mut listed = found.map(|disk| seen(disk, target, storage)).unwrap_or_default();
        listed.name = Some(name.clone());
        listed.device.clone_from(&declared.device);
        listed.role = role(declared);
        listed.differs = differences(declared, found, &listed, storage);
        disks.push(listed);
    }
    for disk in target.disks.values().filter(|disk| !named.contains(&disk.name.as_str())) {
        let mut listed = seen(disk, target, storage);
        let what = match listed.members.first() {
            Some(member) => {
                format!("the layout does not name it, and the pool {} has it", member.pool)
            }
            None => "the layout does not name it".to_owned(),
        };
        listed.differs.push(Difference { kind: "extra", what });
        disks.push(listed);
    }
    let mut gone = Vec::new();
    for pool in &storage.pools {
        let lost = pool.members().filter(|(_, leaf)| volume_of(target, leaf).is_none());
        for (top, leaf) in lost {
            let member = member(pool, &top.vdev, leaf);
            let bay = bay_of(host, leaf).map(|(name, _)| name);
            let absent =
                |disk: &&mut ListedDisk| disk.name.as_deref() == bay && disk.kernel.is_none();
            match disks.iter_mut().find(absent).filter(|_| bay.is_some()) {
                Some(disk) => disk.members.push(member),
                None => gone.push(member),
            }
        }
    }
    stand_ins(host, &mut disks);
    let pools = storage.pools.iter().map(pool_of).collect();
    Listing { disks, pools, gone }
}

/// What is known of a disk that is there.
fn seen(disk: &Disk, target: &TargetFacts, storage: &StorageFacts) -> ListedDisk {
    let known = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    let smart = storage.smart.get(&disk.name).copied().unwrap_or_default();
    let in_pool = |pool: &PoolStatus| {
        let own = pool.members().filter(|(_, leaf)| {
            volume_of(target, leaf).is_some_and(|(found, _)| found.name == disk.name)
        });
        own.map(|(top, leaf)| member(pool, &top.vdev, leaf)).collect::<Vec<_>>()
    };
    ListedDisk {
        device: target.stable_path(disk).unwrap_or_else(|| format!("/dev/{}", disk.name)),
        kernel: Some(disk.name.clone()),
        model: known(&disk.model),
        serial: known(&disk.serial),
        wwn: known(&disk.wwn),
        size: Some(disk.size),
        hours: smart.hours,
        celsius: smart.celsius,
        healthy: smart.passed.or(disk.healthy),
        members: storage.pools.iter().flat_map(in_pool).collect(),
        holds: disk.contents(),
        ..ListedDisk::default()
    }
}

fn member(pool: &PoolStatus, top: &VdevStatus, leaf: &VdevStatus) -> ListedMember {
    ListedMember {
        pool: pool.name.clone(),
        vdev: top.name.clone(),
        guid: leaf.guid.map(|guid| guid.to_string()),
        path: leaf.path().map(str::to_owned),
        state: leaf.state.clone(),
        read: leaf.read,
        write: leaf.write,
        checksum: leaf.checksum,
        note: leaf.note.clone(),
    }
}

fn pool_of(pool: &PoolStatus) -> ListedPool {
    ListedPool {
        name: pool.name.clone(),
        state: pool.state.clone(),
        status: pool.status.clone(),
        scans: pool.scans.iter().map(|scan| scan.text.clone()).collect(),
        errors: pool.errors.clone(),
        failures_to_lose: super::failures_to_lose(pool),
    }
}

/// What the layout wants of a disk, partition by partition.
fn role(declared: &DeclaredDisk) -> Vec<String> {
    let whole = declared.pool.iter().map(|pool| format!("pool {pool}"));
    let parts = declared.partitions.iter().map(|part| match &part.pool {
        Some(pool) => format!("pool {pool}"),
        None => part.name.clone(),
    });
    whole.chain(parts).collect()
}

fn differences(
    declared: &DeclaredDisk,
    found: Option<&Disk>,
    listed: &ListedDisk,
    storage: &StorageFacts,
) -> Vec<Difference> {
    let Some(disk) = found else {
        return vec![Difference { kind: "missing", what: "it is not there".to_owned() }];
    };
    let mut differs = Vec::new();
    if declared.extents(Some(disk.size), disk.sector).is_err() {
        let need = declared.least_size(disk.sector);
        let what = format!("it is smaller than the layout's partitions, which take {}", size(need));
        differs.push(Difference { kind: "smaller", what });
    }
    let imported = |pool: &&String| storage.pools.iter().any(|known| known.name == **pool);
    for pool in declared.pools().filter(imported) {
        if !listed.members.iter().any(|member| member.pool == *pool) {
            let what = format!("it is no member of the pool {pool}");
            differs.push(Difference { kind: "not-a-member", what });
        }
    }
    differs
}

/// If one disk of a pool is missing, and one that nobody named is in that pool, it has taken the place, and the flake does
/// not know yet.
fn stand_ins(host: &HostFacts, disks: &mut [ListedDisk]) {
    for pool in host.pools.iter().flatten().map(|(name, _)| name) {
        let absent = |disk: &ListedDisk| {
            let declared = disk.name.as_ref().and_then(|name| host.disks.as_ref()?.get(name));
            disk.kernel.is_none() && declared.is_some_and(|d| d.is_member(pool))
        };
        let comes = |disk: &ListedDisk| {
            disk.name.is_none() && disk.members.iter().any(|member| member.pool == *pool)
        };
        let positions = |fits: &dyn Fn(&ListedDisk) -> bool| -> Vec<usize> {
            disks.iter().enumerate().filter(|(_, disk)| fits(disk)).map(|(at, _)| at).collect()
        };
        let (places, others) = (positions(&absent), positions(&comes));
        let (&[place], &[other]) = (places.as_slice(), others.as_slice()) else { continue };
        let serial = disks[other].serial.clone().unwrap_or_else(|| disks[other].device.clone());
        let what = format!("another disk has its place in the pool {pool}: {serial}");
        disks[place].differs.push(Difference { kind: "other-serial", what });
    }
}

impl Document for Listing {
    fn text(&self) -> String {
        let mut text = String::new();
        for disk in &self.disks {
            disk.write(&mut text);
        }
        for member in &self.gone {
            let _ = writeln!(text, "gone\n{}", member.line());
        }
        for pool in &self.pools {
            let lost = match pool.failures_to_lose {
                0 => "nothing may fail any more".to_owned(),
                1 => "the next failure may lose it".to_owned(),
                2 => "one more disk may fail".to_owned(),
                count => format!("{} more disks may fail", count - 1),
            };
            let _ = writeln!(text, "pool {}: {}; {lost}", pool.name, pool.state);
            let lines = [&pool.status].into_iter().chain(&pool.scans).chain([&pool.errors]);
            for line in lines.filter(|line| !line.is_empty()) {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

impl ListedDisk {
    fn write(&self, text: &mut String) {
        let name = self.name.as_deref().unwrap_or("-");
        let kernel = self.kernel.as_deref().map(|name| format!(" ({name})")).unwrap_or_default();
        let _ = writeln!(text, "{name:<8} {}{kernel}", self.device);
        let mut facts = Vec::new();
        facts.extend(self.model.clone());
        facts.extend(self.serial.as_ref().map(|serial| format!("serial {serial}")));
        facts.extend(self.size.map(size));
        facts.extend(self.hours.map(age));
        facts.extend(self.celsius.map(|degrees| format!("{degrees} °C")));
        facts.extend(self.healthy.filter(|healthy| !healthy).map(|_| "FAILING (SMART)".to_owned()));
        facts.extend(Some(self.role.join(", ")).filter(|role| !role.is_empty()));
        if !facts.is_empty() {
            let _ = writeln!(text, "         {}", facts.join(", "));
        }
        for member in &self.members {
            let _ = writeln!(text, "{}", member.line());
        }
        if self.members.is_empty() && self.kernel.is_some() {
            let _ = writeln!(text, "         {}", self.holds);
        }
        for difference in &self.differs {
            let _ = writeln!(text, "       ! {}", difference.what);
        }
    }
}

impl ListedMember {
    fn line(&self) -> String {
        let Self { pool, vdev, state, read, write, checksum, note, .. } = self;
        let errors = match (read, write, checksum) {
            (0, 0, 0) => "no errors".to_owned(),
            _ => format!("errors: {read} read, {write} write, {checksum} checksum"),
        };
        let note = if note.is_empty() { String::new() } else { format!(", {note}") };
        format!("         {pool} {vdev}: {state}, {errors}{note}")
    }
}

/// Hours powered on, for people.
fn age(hours: u64) -> String {
    const DAY: u64 = 24;
    const YEAR: u64 = 8766;
    match hours {
        0..DAY => format!("{hours} h old"),
        DAY..YEAR => format!("{} days old", hours / DAY),
        _ => format!("{}.{} years old", hours / YEAR, hours % YEAR * 10 / YEAR),
    }
}
