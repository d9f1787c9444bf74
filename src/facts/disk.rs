//! A disk of the target, and what is on it now.

use super::zfs_label::ZfsLabel;
use crate::report::size;

/// A disk of the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Disk {
    /// Kernel name: `sda`.
    pub name: String,
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
    /// Whether the kernel lets nobody write to it.
    pub read_only: bool,
    /// What SMART says of its health; none if it cannot be asked.
    pub healthy: Option<bool>,
    /// The whole disk first (its name is the disk's), then its partitions.
    pub volumes: Vec<Volume>,
}

/// A disk as a whole, or one of its partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Volume {
    /// Kernel name: `sda1`.
    pub name: String,
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
    pub mounted: Vec<String>,
    /// Whether it is swapped to.
    pub swap: bool,
    /// Block devices on top of it: `md0`, `dm-0`.
    pub holders: Vec<String>,
    /// The ZFS label it carries.
    pub zfs: Option<ZfsLabel>,
    /// The ZFS label is at its end only: left over from an earlier life.
    pub zfs_is_stale: bool,
}

impl Disk {
    /// One line for people: kernel name, size, model, serial.
    pub fn label(&self) -> String {
        let known = |text: &str, what: &str| {
            if text.is_empty() { format!("{what} unknown") } else { text.to_owned() }
        };
        let (model, serial) = (known(&self.model, "model"), known(&self.serial, "serial"));
        format!("{:<8} {:>8}  {model}, {serial}", self.name, size(self.size))
    }
}
