//! A disk of the target, and what is on it now.

use super::zfs_label::ZfsLabel;
use crate::report::size;
use std::collections::BTreeSet;

/// A disk of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name: `sda`.
    pub(crate) name: String,
    /// Bytes.
    pub size: u64,
    /// Model; empty if unknown.
    pub model: String,
    /// Serial number; empty if unknown.
    pub serial: String,
    /// World-wide name; empty if unknown.
    pub wwn: String,
    /// Bytes of a logical sector; 0 if unknown.
    pub sector: u32,
    /// Where it is plugged in: its names in /dev/disk/by-path.
    pub(crate) ports: BTreeSet<String>,
    /// The kernel's number of it, which no other has under the same boot (`diskseq`); 0 if it has none.
    pub sequence: u64,
    /// Whether the kernel refuses writes to it.
    pub read_only: bool,
    /// Whether it is there, and reading from it fails.
    pub unreadable: bool,
    /// What SMART says of its health; none if it cannot be asked.
    pub(crate) healthy: Option<bool>,
    /// The whole disk first (its name is the disk's), then its partitions.
    pub volumes: Vec<Volume>,
}

/// A disk as a whole, or one of its partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Kernel name: `sda1`.
    pub(crate) name: String,
    /// First byte, from the start of the disk.
    pub start: u64,
    /// Bytes.
    pub size: u64,
    /// GPT partition name; empty if it has none or it is not known.
    pub part_label: String,
    /// What it holds, in blkid's words: `ext4`, `zfs_member`, `linux_raid_member`, `LVM2_member`,
    /// `crypto_LUKS`, `swap` … For a whole disk also `gpt` or `dos`. Empty if nothing is recognised.
    pub format: String,
    /// The file system's label (for a ZFS member, its pool).
    pub label: String,
    /// The file system's UUID.
    pub uuid: String,
    /// Where it is mounted, directly.
    pub(crate) mounted: Vec<String>,
    /// Whether it is used as swap.
    pub(crate) swap: bool,
    /// Block devices on top of it: `md0`, `dm-0`.
    pub holders: Vec<String>,
    /// The ZFS label it carries.
    pub zfs: Option<ZfsLabel>,
    /// The ZFS label is at its end only: left over from an earlier life.
    pub zfs_is_stale: bool,
}

/// Whether a mount point is that of the root that an installer puts together, or lies in it.
pub(crate) fn is_in_new_root(point: &str) -> bool {
    point == "/mnt" || point.starts_with("/mnt/")
}

impl Disk {
    /// One line for people: kernel name, size, model, serial.
    pub(crate) fn label(&self) -> String {
        let known = |text: &str, what: &str| {
            if text.is_empty() { format!("{what} unknown") } else { text.to_owned() }
        };
        let (model, serial) = (known(&self.model, "model"), known(&self.serial, "serial"));
        format!("{:<8} {:>8}  {model}, {serial}", self.name, size(self.size))
    }

    /// Nothing on it is recognised, and nothing uses it.
    pub(crate) fn is_bare(&self) -> bool {
        self.volumes.len() <= 1 && self.volumes.iter().all(Volume::is_bare)
    }

    /// What is on it now, in words. A disk may hold what is not recognised.
    pub fn contents(&self) -> String {
        let Some((whole, partitions)) = self.volumes.split_first() else {
            return "contents unknown".to_owned();
        };
        if partitions.is_empty() {
            return whole.contents();
        }
        let table = match whole.format.as_str() {
            "gpt" => "a GPT",
            "dos" => "an MBR",
            _ => "a partition table",
        };
        let count = match partitions.len() {
            1 => "1 partition".to_owned(),
            count => format!("{count} partitions"),
        };
        let parts = partitions.iter().map(|part| {
            let name = &part.name;
            let label = &part.part_label;
            let label = if label.is_empty() { String::new() } else { format!(" ('{label}')") };
            format!("{name}{label} {}", part.contents())
        });
        let parts: Vec<String> = parts.collect();
        // The rest of what is known of the disk as a whole: it may be in use itself.
        let whole = Volume { format: String::new(), ..whole.clone() };
        let also = if whole.is_bare() { String::new() } else { format!("; {}", whole.contents()) };
        format!("{table} with {count}: {}{also}", parts.join("; "))
    }
}

impl Volume {
    /// Nothing is known of it.
    fn is_bare(&self) -> bool {
        self.format.is_empty()
            && self.zfs.is_none()
            && self.mounted.is_empty()
            && !self.swap
            && self.holders.is_empty()
    }

    /// What is in it and what uses it: `ext4 'nixos', mounted on /`.
    pub(crate) fn contents(&self) -> String {
        let mut words = vec![self.kind()];
        if let Some(label) = self.zfs.as_ref().filter(|_| self.zfs_is_stale) {
            words.push(format!("left-over label of pool {} at its end", label.pool));
        }
        if !self.mounted.is_empty() {
            words.push(format!("mounted on {}", self.mounted.join(" and ")));
        }
        if self.swap {
            words.push("used as swap".to_owned());
        }
        if !self.holders.is_empty() {
            words.push(format!("used by {}", self.holders.join(" and ")));
        }
        words.retain(|word| !word.is_empty());
        if words.is_empty() { "nothing recognised".to_owned() } else { words.join(", ") }
    }

    fn kind(&self) -> String {
        if let Some(label) = self.zfs.as_ref().filter(|_| !self.zfs_is_stale) {
            return label.in_words();
        }
        match self.format.as_str() {
            "zfs_member" if self.zfs_is_stale => String::new(),
            "zfs_member" if self.label.is_empty() => "member of a pool".to_owned(),
            "zfs_member" => format!("member of pool {}", self.label),
            "linux_raid_member" => "md member".to_owned(),
            "LVM2_member" => "LVM physical volume".to_owned(),
            "crypto_LUKS" => "LUKS".to_owned(),
            "gpt" => "a GPT without partitions".to_owned(),
            "dos" => "an MBR without partitions".to_owned(),
            format if self.label.is_empty() => format.to_owned(),
            format => format!("{format} '{}'", self.label),
        }
    }
}
