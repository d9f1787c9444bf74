//! The layout as one graph: everything that disko makes (`disko.devices`), and on what each lies. All that follows from how disks,
//! partitions, LUKS, md, LVM and pools stand on each other is worked out here.

use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeSet;

/// What the layout makes, each after those that it lies on where it is made of one alone.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(from = "Value")]
pub(crate) struct Devices(Vec<Device>);

/// Something that disko makes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Device {
    /// Its name in the layout: of a disk, partition, array, volume, dataset …
    pub(crate) name: String,
    /// What it is, in disko's words: `disk`, `gpt`, `luks`, `lvm_vg`, `zpool`, `filesystem` …; a partition is a `partition`.
    pub(crate) kind: String,
    /// On which it lies, by their places in the list.
    on: Vec<usize>,
    /// Where it is mounted.
    pub(crate) mounts: Vec<String>,
    /// What it takes to open it, where it is encrypted.
    pub(crate) key: Option<Key>,
}

/// What it takes to open something that is encrypted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Key {
    /// Whether it is asked for on the terminal while the disks are laid out.
    pub(crate) is_asked_for: bool,
    /// Files that are read while the disks are laid out.
    pub(crate) files: Vec<String>,
    /// Whether somebody has to type it at each boot.
    pub(crate) is_asked_for_at_boot: bool,
}

/// Deeper than any layout; what refers to itself ends here.
const DEPTH: usize = 16;

impl From<Value> for Devices {
    fn from(value: Value) -> Self {
        let mut devices = Self::default();
        // What may have several members stands first, so that they find it.
        let kinds = ["mdadm", "lvm_vg", "zpool", "bcachefs_filesystems"];
        let groups = kinds.into_iter().flat_map(|kind| {
            entries(&value[kind])
                .map(move |(name, group)| (Device::group(&name, kind, group), group))
        });
        let groups: Vec<_> = groups.map(|(device, group)| (devices.add(device), group)).collect();
        for (name, disk) in entries(&value["disk"]) {
            let at = devices.add(Device::named(&name, "disk"));
            devices.walk(&disk["content"], at, 0);
        }
        for (at, group) in groups {
            devices.walk(&group["content"], at, 0);
            devices.volumes(&group["lvs"], at);
            devices.datasets(&group["datasets"], at);
        }
        for (name, system) in entries(&value["nodev"]) {
            let mounts = mounts_of(system);
            devices.add(Device { mounts, ..Device::named(&name, "nodev") });
        }
        devices
    }
}

impl Device {
    fn named(name: &str, kind: &str) -> Self {
        Self { name: name.to_owned(), kind: kind.to_owned(), ..Self::default() }
    }

    /// What may have several members.
    fn group(name: &str, kind: &str, group: &Value) -> Self {
        let (mounts, key) = match kind {
            "zpool" => (dataset_mounts(group), dataset_key(group)),
            "bcachefs_filesystems" => (mounts_of(group), password_key(group)),
            _ => (Vec::new(), None),
        };
        Self { mounts, key, ..Self::named(name, kind) }
    }
}

impl Devices {
    fn add(&mut self, device: Device) -> usize {
        self.0.push(device);
        self.0.len() - 1
    }

    fn group(&self, kind: &str, name: &str) -> Option<usize> {
        self.0.iter().position(|device| device.kind == kind && device.name == name)
    }

    /// The logical volumes of a group.
    fn volumes(&mut self, volumes: &Value, group: usize) {
        for (name, volume) in entries(volumes) {
            let at = self.add(Device { on: vec![group], ..Device::named(&name, "lvs") });
            self.walk(&volume["content"], at, 0);
        }
    }

    /// The datasets of a pool, volumes among them.
    fn datasets(&mut self, datasets: &Value, pool: usize) {
        // disko's name for the pool's own dataset.
        for (name, dataset) in entries(datasets).filter(|(name, _)| name != "__root") {
            let name = format!("{}/{name}", self.0[pool].name);
            let (mounts, key) = (dataset_mounts(dataset), dataset_key(dataset));
            let on = vec![pool];
            let at = self.add(Device { on, mounts, key, ..Device::named(&name, "datasets") });
            self.walk(&dataset["content"], at, 0);
        }
    }

    /// What stands on a device.
    fn walk(&mut self, content: &Value, on: usize, depth: usize) {
        let Some(kind) = text(&content["type"]).filter(|_| depth < DEPTH) else { return };
        if matches!(kind.as_str(), "gpt" | "table") {
            for (name, partition) in partitions(&content["partitions"]) {
                let at = self.add(Device { on: vec![on], ..Device::named(&name, "partition") });
                self.walk(&partition["content"], at, depth + 1);
            }
            return;
        }
        let (group, field) = match kind.as_str() {
            "mdraid" => ("mdadm", "name"),
            "lvm_pv" => ("lvm_vg", "vg"),
            "zfs" => ("zpool", "pool"),
            "bcachefs" => ("bcachefs_filesystems", "filesystem"),
            _ => ("", "name"),
        };
        let name = text(&content[field]).unwrap_or_default();
        let group = self.group(group, &name);
        let key = (kind == "luks").then(|| luks_key(content));
        let mounts = mounts_of(content);
        let at = self.add(Device { name, kind, on: vec![on], mounts, key });
        if let Some(group) = group {
            self.0[group].on.push(at);
        }
        self.walk(&content["content"], at, depth + 1);
    }

    /// Everything that is made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Device> {
        self.0.iter()
    }

    /// Every mount point that the layout provides.
    pub(crate) fn mounts(&self) -> Vec<String> {
        self.0.iter().flat_map(|device| device.mounts.iter().cloned()).collect()
    }

    /// The members of a pool that are no disk or partition themselves, but lie on LUKS, LVM or md: of each, the names of the disks
    /// that it lies on in the end.
    pub(crate) fn indirect_members(&self, pool: &str) -> Vec<BTreeSet<String>> {
        let members = self.group("zpool", pool).into_iter().flat_map(|at| &self.0[at].on);
        let below = members.filter_map(|member| self.0[*member].on.first().copied());
        let is_direct = |at: &usize| matches!(self.0[*at].kind.as_str(), "disk" | "partition");
        let disks = |at| {
            let mut disks = BTreeSet::new();
            self.disks_below(at, &mut BTreeSet::new(), &mut disks);
            disks
        };
        below.filter(|at| !is_direct(at)).map(disks).collect()
    }

    fn disks_below(&self, at: usize, seen: &mut BTreeSet<usize>, disks: &mut BTreeSet<String>) {
        if !seen.insert(at) {
            return;
        }
        let device = &self.0[at];
        if device.kind == "disk" {
            disks.insert(device.name.clone());
        }
        device.on.iter().for_each(|below| self.disks_below(*below, seen, disks));
    }
}

impl Device {
    /// Whether it is a pool or one of its datasets.
    pub(crate) fn is_of_a_pool(&self) -> bool {
        matches!(self.kind.as_str(), "zpool" | "datasets")
    }

    /// What it is, for people: `the LUKS volume crypted`.
    pub(crate) fn words(&self) -> String {
        let kind = match self.kind.as_str() {
            "luks" => "the LUKS volume",
            "mdadm" => "the md array",
            "lvs" => "the logical volume",
            "lvm_vg" => "the volume group",
            "zpool" => "the pool",
            "datasets" => "the dataset",
            "bcachefs_filesystems" => "the bcachefs file system",
            other => return format!("{other} {}", self.name),
        };
        format!("{kind} {}", self.name)
    }
}

/// The entries of an attribute set.
fn entries(value: &Value) -> impl Iterator<Item = (String, &Value)> {
    value.as_object().into_iter().flatten().map(|(name, value)| (name.clone(), value))
}

/// The partitions of a table: an attribute set, or in disko's older form a list. Names may be missing in a list.
fn partitions(value: &Value) -> Vec<(String, &Value)> {
    let listed = value.as_array().into_iter().flatten().zip(1..);
    let listed = listed
        .map(|(part, number)| (text(&part["name"]).unwrap_or_else(|| number.to_string()), part));
    entries(value).chain(listed).collect()
}

fn text(value: &Value) -> Option<String> {
    value.as_str().map(str::to_owned)
}

/// Where a file system and its subvolumes are mounted.
fn mounts_of(content: &Value) -> Vec<String> {
    let below = entries(&content["subvolumes"]).flat_map(|(_, volume)| mounts_of(volume));
    mount(&content["mountpoint"]).into_iter().chain(below).collect()
}

fn mount(value: &Value) -> Option<String> {
    text(value).filter(|point| point.starts_with('/'))
}

/// A dataset is mounted by its mount point, unless its properties keep it from that.
fn dataset_mounts(dataset: &Value) -> Vec<String> {
    let options = options_of(dataset);
    if options["mountpoint"] == "none" || options["canmount"] == "off" {
        return Vec::new();
    }
    mount(&dataset["mountpoint"]).into_iter().collect()
}

/// The properties of a dataset; of a pool, those of its own dataset.
fn options_of(dataset: &Value) -> &Value {
    let of_pool = &dataset["rootFsOptions"];
    if of_pool.is_object() { of_pool } else { &dataset["options"] }
}

fn dataset_key(dataset: &Value) -> Option<Key> {
    let options = options_of(dataset);
    let option = |name: &str| options[name].as_str();
    if option("encryption").is_none_or(|cipher| cipher == "off") {
        return None;
    }
    // zfsprops(7): a key is asked for where nothing else is said.
    let location = option("keylocation").unwrap_or("prompt");
    let file = location.strip_prefix("file://");
    Some(Key {
        is_asked_for: location == "prompt",
        files: file.into_iter().map(str::to_owned).collect(),
        is_asked_for_at_boot: location == "prompt",
    })
}

/// disko encrypts a bcachefs with the passphrase in a file; each boot asks for it.
fn password_key(system: &Value) -> Option<Key> {
    let file = text(&system["passwordFile"])?;
    Some(Key { is_asked_for: false, files: vec![file], is_asked_for_at_boot: true })
}

/// disko's luks type formats and opens with `settings.keyFile`, else with a passphrase that is asked for, else with that in a file.
fn luks_key(content: &Value) -> Key {
    let opens_at_boot = text(&content["settings"]["keyFile"]);
    let own = text(&content["passwordFile"]).or_else(|| text(&content["keyFile"]));
    let asks = content["askPassword"].as_bool().unwrap_or(own.is_none());
    let is_asked_for = opens_at_boot.is_none() && asks;
    let first = opens_at_boot.clone().or(own.filter(|_| !asks));
    let more = content["additionalKeyFiles"].as_array().into_iter().flatten().filter_map(text);
    let unlocks = content["initrdUnlock"].as_bool().unwrap_or(true);
    Key {
        is_asked_for,
        files: first.into_iter().chain(more).collect(),
        is_asked_for_at_boot: unlocks && opens_at_boot.is_none(),
    }
}
