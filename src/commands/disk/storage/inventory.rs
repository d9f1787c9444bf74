//! A host's disk file, written from the disks that are there: names that follow the hardware, and beside each what it is.

use super::volume_of;
use crate::facts::{Disk, HostFacts, StorageFacts, TargetFacts};
use crate::nix::quoted;
use crate::report::{one_line, size};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

/// The text of the file: an attribute set, as `hosts/helios64/disks.nix` has it where the names in the layout are `emmc` and
/// `bay1`, `bay2` …, and flat otherwise.
///
/// A disk that is where the layout says keeps its name and path. Of the others, a disk takes the name of the port it is
/// on, or the only name that is left in its pool. What finds no name is told in comments.
pub(crate) fn disk_file(host: &HostFacts, target: &TargetFacts, storage: &StorageFacts) -> String {
    let mut names = Names::default();
    names.keep(host, target);
    names.by_port(host, target);
    names.by_pool(host, target, storage);
    let mut text = String::from("# The disks of this host, as they were found on it.\n{\n");
    let declared: Vec<&String> = host.disks.iter().flatten().map(|(name, _)| name).collect();
    let is_board = |name: &str| name == "emmc" || bay_number(name).is_some();
    let nested = declared.iter().all(|name| is_board(name));
    let lines = |text: &mut String, indent: &str, bays: bool| {
        for (name, (path, disk)) in &names.taken {
            if !nested || bays == bay_number(name).is_some() {
                let _ =
                    writeln!(text, "{indent}{} = {}; # {}", key(name), quoted(path), label(disk));
            }
        }
        for name in declared.iter().filter(|name| !names.taken.contains_key(name.as_str())) {
            if !nested || bays == bay_number(name).is_some() {
                let _ = writeln!(text, "{indent}# {}: not there", one_line(name));
            }
        }
    };
    lines(&mut text, "  ", false);
    if nested {
        text.push_str("\n  sata = {\n");
        lines(&mut text, "    ", true);
        text.push_str("  };\n");
    }
    let others: Vec<&Disk> = target.disks.values().filter(|disk| !names.has(disk)).collect();
    if !others.is_empty() {
        text.push_str("\n  # Not in the layout:\n");
        for disk in others {
            let path = target.stable_path(disk).unwrap_or_else(|| format!("/dev/{}", disk.name));
            let _ = writeln!(text, "  # {} # {}", one_line(&path), label(disk));
        }
    }
    text.push_str("}\n");
    text
}

/// Names in the layout that have found their disk, with its path.
#[derive(Default)]
struct Names<'a> {
    taken: BTreeMap<String, (String, &'a Disk)>,
}

impl<'a> Names<'a> {
    fn has(&self, disk: &Disk) -> bool {
        self.taken.values().any(|(_, taken)| taken.name == disk.name)
    }

    fn take(&mut self, name: &str, path: String, disk: &'a Disk) {
        if !self.taken.contains_key(name) && !self.has(disk) {
            self.taken.insert(name.to_owned(), (path, disk));
        }
    }

    /// Those that are where the layout says.
    fn keep(&mut self, host: &HostFacts, target: &'a TargetFacts) {
        for (name, declared) in host.disks.iter().flatten() {
            if let Some(disk) = target.disk(&declared.device) {
                self.take(name, declared.device.clone(), disk);
            }
        }
    }

    /// SATA port 1 is bay 1; the eMMC is named by its place on the board. Only where the layout has such names, or none.
    fn by_port(&mut self, host: &HostFacts, target: &'a TargetFacts) {
        let wanted = |name: &str| match &host.disks {
            Some(disks) if !disks.is_empty() => disks.contains_key(name),
            _ => true,
        };
        let mut boards = BTreeSet::new();
        for (path, disk) in target.links.iter().filter_map(|(path, name)| {
            Some((path.strip_prefix("/dev/disk/by-path/")?, target.disks.get(name)?))
        }) {
            if let Some((_, port)) = path.rsplit_once("-ata-") {
                let port = port.split('.').next().unwrap_or_default();
                let name = format!("bay{port}");
                if let Some(stable) = target.stable_path(disk).filter(|_| wanted(&name)) {
                    self.take(&name, stable, disk);
                }
            } else if disk.name.starts_with("mmcblk") && path.contains("mmc") {
                boards.insert((format!("/dev/disk/by-path/{path}"), disk.name.clone()));
            }
        }
        // The eMMC has boot partitions of its own, a card in the slot has none.
        let emmc = boards.iter().find_map(|(path, name)| Some((path, target.disks.get(name)?)));
        if let Some((path, disk)) = emmc.filter(|_| wanted("emmc") && boards.len() == 1) {
            self.take("emmc", path.clone(), disk);
        }
    }

    /// If one name of a pool's disks is left, and one disk in that pool has no name, they belong together.
    fn by_pool(&mut self, host: &HostFacts, target: &'a TargetFacts, storage: &StorageFacts) {
        for pool in &storage.pools {
            let disks = host.disks.iter().flatten();
            let free: Vec<&String> = disks
                .filter(|(_, disk)| disk.is_member(&pool.name))
                .map(|(name, _)| name)
                .filter(|name| !self.taken.contains_key(*name))
                .collect();
            let members = pool.members().filter_map(|(_, leaf)| volume_of(target, leaf));
            let members: BTreeMap<&str, &Disk> =
                members.map(|(disk, _)| (disk.name.as_str(), disk)).collect();
            let nameless: Vec<&Disk> =
                members.into_values().filter(|disk| !self.has(disk)).collect();
            if let ([name], [disk]) = (free.as_slice(), nameless.as_slice())
                && let Some(path) = target.stable_path(disk)
                && let Some(disk) = target.disks.get(&disk.name)
            {
                self.take(name, path, disk);
            }
        }
    }
}

/// The number of `bay3`.
fn bay_number(name: &str) -> Option<u32> {
    name.strip_prefix("bay")?.parse().ok()
}

/// What the disk is, for a comment.
fn label(disk: &Disk) -> String {
    let known = |what: &str, text: &str| match text {
        "" => format!("{what} unknown"),
        text => format!("{what} {}", one_line(text)),
    };
    let wwn =
        if disk.wwn.is_empty() { String::new() } else { format!(", WWN {}", one_line(&disk.wwn)) };
    let (model, serial) = (known("model", &disk.model), known("serial", &disk.serial));
    format!("{model}, {serial}{wwn}, {} ({} bytes)", size(disk.size), disk.size)
}

/// An attribute's name: as it is where Nix takes it so.
fn key(name: &str) -> String {
    const WORDS: [&str; 9] =
        ["if", "then", "else", "assert", "with", "let", "in", "rec", "inherit"];
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-');
    let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
    let is_plain = begins && name.chars().all(plain) && !WORDS.contains(&name);
    if is_plain { name.to_owned() } else { quoted(name) }
}
