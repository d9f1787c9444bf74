//! What the probe said, line by line: a pure parser. A key, then values, separated by tabs.

use super::disk::{Disk, Volume};
use super::target::{ImagePlace, ImportedPool, Link, LinkKind, TargetFacts};
use super::zfs_label::ZfsLabel;
use crate::machine::{Elevation, fingerprint};
use std::collections::{BTreeMap, BTreeSet};

impl TargetFacts {
    /// Reads the probe's lines; those it does not know are left to a newer landfall.
    pub fn parse(said: &str) -> Self {
        let mut facts = Self::default();
        let mut holders = Holders::new();
        for line in said.lines() {
            let mut fields = line.split('\t').map(str::trim);
            let key = fields.next().unwrap_or_default();
            let values: Vec<&str> = fields.collect();
            match (key, values.as_slice()) {
                ("holder", [name, holder]) => {
                    holders.entry((*name).to_owned()).or_default().insert((*holder).to_owned());
                }
                (
                    "disk" | "link" | "volume" | "health" | "stacked" | "mapped" | "unreadable",
                    values,
                ) => {
                    facts.take_disk(key, values);
                }
                ("mounted" | "swap" | "zfs", [name, values @ ..]) => {
                    facts.take_use(key, name, values);
                }
                (_, values) => facts.take(key, values),
            }
        }
        for volume in facts.disks.values_mut().flat_map(|disk| &mut disk.volumes) {
            volume.holders = on_top(&holders, &volume.name);
        }
        for (link, name) in &facts.links {
            if let Some(disk) = facts.disks.get_mut(name)
                && link.starts_with("/dev/disk/by-path/")
            {
                disk.ports.insert(link.clone());
            }
        }
        facts.drop_doubled_labels();
        facts
    }

    fn take(&mut self, key: &str, values: &[&str]) {
        let value = values.first().copied().unwrap_or_default();
        match (key, values) {
            ("kernel", _) => value.clone_into(&mut self.kernel),
            ("arch", _) => value.clone_into(&mut self.machine),
            ("boot", _) => value.clone_into(&mut self.boot),
            ("hostname", _) => value.clone_into(&mut self.host_name),
            ("os", _) => value.clone_into(&mut self.os),
            ("variant", _) => value.clone_into(&mut self.variant),
            ("home", _) => value.clone_into(&mut self.home),
            ("place", [path, free, why]) => self.places.push(ImagePlace {
                path: (*path).to_owned(),
                free: free.parse::<u64>().unwrap_or(0).saturating_mul(1024),
                why_not: (*why).to_owned(),
            }),
            ("root", _) => {
                self.elevation = match value {
                    "login" => Some(Elevation::Root),
                    "sudo" => Some(Elevation::Sudo),
                    "doas" => Some(Elevation::Doas),
                    _ => None,
                }
            }
            ("sudo", _) => value.clone_into(&mut self.sudo),
            ("memory", _) => self.memory = value.parse().ok(),
            ("available", _) => self.available = value.parse().ok(),
            ("board", _) => self.board = value.split_whitespace().map(str::to_owned).collect(),
            ("firmware", _) => self.efi = value == "efi",
            ("efi_variables", _) => self.efi_variables = yes_or_no(value),
            ("efi_bits", _) => self.efi_bits = value.parse().ok(),
            ("secure_boot", _) => self.secure_boot = value == "1",
            ("kexec_disabled", _) => self.kexec_disabled = value == "1",
            ("kexec_built", _) => self.kexec_built = yes_or_no(value),
            ("lockdown", _) => value.clone_into(&mut self.lockdown),
            ("container", _) => nothing_if_none(value).clone_into(&mut self.container),
            ("hypervisor", _) => nothing_if_none(value).clone_into(&mut self.hypervisor),
            ("policy_routes", _) => self.policy_routes = value == "yes",
            ("on_battery", _) => self.on_battery = yes_or_no(value),
            ("interface", [name, kind, driver, speed, duplex]) => {
                self.link = Some(Link {
                    name: (*name).to_owned(),
                    kind: LinkKind::of(kind),
                    driver: (*driver).to_owned(),
                    // -1 where the driver does not know.
                    speed: speed.parse().ok(),
                    full_duplex: ["full", "half"].contains(duplex).then_some(*duplex == "full"),
                });
            }
            ("host_key", [path, key]) => {
                let mut words = key.split_whitespace();
                if let (Some(kind), Some(blob)) = (words.next(), words.next()) {
                    self.host_keys.insert((*path).to_owned(), format!("{kind} {blob}"));
                }
            }
            ("handed_over", [key]) => self.handed_over.extend(fingerprint(key)),
            ("has", _) => {
                self.tools.insert(value.to_owned());
            }
            ("pool", [name, more @ ..]) => self.pools.push(ImportedPool {
                name: (*name).to_owned(),
                guid: more.first().and_then(|guid| guid.parse().ok()).unwrap_or_default(),
                members: Vec::new(),
            }),
            ("member", [pool, volume]) => {
                let pools = self.pools.iter_mut().filter(|known| known.name == *pool);
                pools.for_each(|known| known.members.push((*volume).to_owned()));
            }
            _ => {}
        }
    }

    fn take_disk(&mut self, key: &str, values: &[&str]) {
        match (key, values) {
            ("disk", [name, size, model, serial, wwn, more @ ..]) => {
                let disk = Disk {
                    name: (*name).to_owned(),
                    size: size.parse().unwrap_or(0),
                    model: (*model).to_owned(),
                    serial: (*serial).to_owned(),
                    wwn: (*wwn).to_owned(),
                    sector: more.first().and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
                    read_only: more.get(1) == Some(&"1"),
                    sequence: more.get(2).and_then(|number| number.parse().ok()).unwrap_or(0),
                    ..Disk::default()
                };
                self.disks.insert((*name).to_owned(), disk);
            }
            ("link", [path, name]) => {
                self.links.insert((*path).to_owned(), (*name).to_owned());
            }
            ("volume", [disk, name, start, size, part_label, format, label, uuid]) => {
                let Some(disk) = self.disks.get_mut(*disk) else { return };
                disk.volumes.push(Volume {
                    name: (*name).to_owned(),
                    start: start.parse().unwrap_or(0),
                    size: size.parse().unwrap_or(0),
                    part_label: (*part_label).to_owned(),
                    format: (*format).to_owned(),
                    label: (*label).to_owned(),
                    uuid: (*uuid).to_owned(),
                    ..Volume::default()
                });
            }
            ("health", [name, health]) => {
                if let Some(disk) = self.disks.get_mut(*name) {
                    disk.healthy = Some(*health == "ok");
                }
            }
            ("unreadable", [name]) => {
                if let Some(disk) = self.disks.get_mut(*name) {
                    disk.unreadable = true;
                }
            }
            ("stacked", [name]) => {
                self.stacked.entry((*name).to_owned()).or_default();
            }
            ("mapped", [name, uuid, _]) => {
                self.mapped.insert((*name).to_owned(), (*uuid).to_owned());
            }
            _ => {}
        }
    }

    /// What stands on a volume, or on what is stacked on volumes.
    fn take_use(&mut self, key: &str, name: &str, values: &[&str]) {
        let place = values.first().map(|place| unescaped(place));
        if let Some(uses) = self.stacked.get_mut(name) {
            uses.extend(if key == "swap" { Some("[SWAP]".to_owned()) } else { place });
            return;
        }
        let mut volumes = self.disks.values_mut().flat_map(|disk| &mut disk.volumes);
        let Some(volume) = volumes.find(|volume| volume.name == name) else { return };
        match (key, values) {
            ("mounted", [_]) => volume.mounted.extend(place),
            ("swap", []) => volume.swap = true,
            ("zfs", [whence, digits]) => {
                volume.zfs = ZfsLabel::parse_hex(digits);
                volume.zfs_is_stale = volume.zfs.is_some() && *whence == "stale";
            }
            _ => {}
        }
    }

    /// A partition that reaches to the end of its disk has its last labels where the disk would have them.
    fn drop_doubled_labels(&mut self) {
        for disk in self.disks.values_mut() {
            let Some((whole, partitions)) = disk.volumes.split_first_mut() else { continue };
            let guid = |volume: &Volume| volume.zfs.as_ref().map(|label| label.guid);
            let same = |part: &Volume| part.zfs.is_some() && guid(part) == guid(whole);
            if whole.zfs_is_stale && partitions.iter().any(same) {
                (whole.zfs, whole.zfs_is_stale) = (None, false);
            }
        }
    }
}

/// Block devices, and what stands directly on each.
type Holders = BTreeMap<String, BTreeSet<String>>;

/// All that stands on a volume, directly or not.
fn on_top(holders: &Holders, name: &str) -> Vec<String> {
    let (mut found, mut next) = (BTreeSet::new(), vec![name]);
    while let Some(name) = next.pop() {
        for holder in holders.get(name).into_iter().flatten() {
            if found.insert(holder.clone()) {
                next.push(holder);
            }
        }
    }
    found.into_iter().collect()
}

/// A mount point as the kernel writes it: `\040` for a blank.
fn unescaped(place: &str) -> String {
    let codes = [("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")];
    codes.iter().fold(place.to_owned(), |place, (code, plain)| place.replace(code, plain))
}

fn yes_or_no(value: &str) -> Option<bool> {
    ["yes", "no"].contains(&value).then_some(value == "yes")
}

/// systemd-detect-virt(1) says `none` for nothing.
fn nothing_if_none(value: &str) -> &str {
    if value == "none" { "" } else { value }
}

impl LinkKind {
    /// In the kernel's words, but for `ethernet`.
    fn of(kind: &str) -> Self {
        match kind {
            "ethernet" => Self::Ethernet,
            "bond" => Self::Bond,
            "vlan" => Self::Vlan,
            "bridge" => Self::Bridge,
            "wlan" => Self::Wireless,
            "tun" | "wireguard" | "ppp" | "wwan" => Self::Tunnel,
            _ => Self::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_what_stands_on_disks() {
        let said = "disk\tsda\t1000\tM\tS\t\t4096\t1\nvolume\tsda\tsda\t0\t1000\t\tgpt\t\t\n\
            volume\tsda\tsda1\t10\t20\tEFI\tvfat\tBOOT\t12-34\nvolume\tsda\tsda2\t30\t20\t\tswap\t\t\n\
            volume\tsda\tsda3\t50\t20\t\tlinux_raid_member\tnas:0\t\nholder\tsda3\tmd0\n\
            volume\tsda\tsda4\t70\t20\t\tcrypto_LUKS\t\t\nvolume\tsda\tsda5\t90\t20\t\tLVM2_member\t\t\n\
            stacked\tdm-0\nstacked\tdm-1\nstacked\tmd0\nholder\tmd0\tdm-0\nswap\tdm-1\n\
            mounted\tdm-0\t/srv/my\\040data\nmounted\tsda1\t/boot\nswap\tsda2\nhealth\tsda\tfailing\n\
            disk\tsdb\t1000\tM\tS2\t\nvolume\tsdb\tsdb\t0\t1000\t\t\t\t\n\
            disk\tsdc\t1000\t\t\t\n";
        let facts = TargetFacts::parse(said);
        let disk = &facts.disks["sda"];
        assert_eq!((disk.sector, disk.read_only, disk.healthy), (4096, true, Some(false)));
        assert_eq!(
            disk.contents(),
            "a GPT with 5 partitions: sda1 ('EFI') vfat 'BOOT', mounted on /boot; sda2 swap, used as swap; \
             sda3 md member, used by dm-0 and md0; sda4 LUKS; sda5 LVM physical volume"
        );
        assert_eq!(facts.stacked["dm-0"], ["/srv/my data"]);
        assert_eq!(facts.stacked["dm-1"], ["[SWAP]"]);
        assert!(facts.stacked["md0"].is_empty());
        assert_eq!(facts.disks["sdb"].contents(), "nothing recognised");
        assert_eq!(facts.disks["sdc"].contents(), "contents unknown");
    }

    #[test]
    fn reads_what_decides_about_kexec_and_the_network() {
        let facts = TargetFacts::parse(
            "secure_boot\t1\nlockdown\tintegrity\nkexec_built\tno\ncontainer\tnone\nhypervisor\txen\n\
             interface\tend0\tethernet\tr8152\t2500\tfull\npolicy_routes\tyes\non_battery\tyes\n",
        );
        assert!(facts.secure_boot && facts.policy_routes);
        assert_eq!((facts.kexec_built, facts.on_battery), (Some(false), Some(true)));
        assert_eq!((facts.container.as_str(), facts.hypervisor.as_str()), ("", "xen"));
        let link = facts.link.unwrap();
        assert_eq!((link.kind, link.speed), (LinkKind::Ethernet, Some(2500)));
        assert_eq!((link.driver.as_str(), link.full_duplex), ("r8152", Some(true)));

        let said = "interface\teth0\tethernet\tvirtio_net\t-1\tunknown\n";
        let link = TargetFacts::parse(said).link.unwrap();
        assert_eq!((link.speed, link.full_duplex), (None, None));
        assert_eq!(TargetFacts::parse("").kexec_built, None);
    }

    #[test]
    fn a_partition_that_reaches_the_end_is_not_a_left_over_of_the_disk() {
        let hex = include_str!("../../tests/data/zfs-label-raidz.hex").trim();
        let said = |second: &str| {
            let volume = |name| format!("volume\tsda\t{name}\t0\t1\t\t\t\t\n");
            let (whole, part) = (volume("sda"), volume("sda1"));
            format!("disk\tsda\t1\t\t\t\n{whole}zfs\tsda\tstale\t{hex}\n{part}{second}")
        };
        let both = TargetFacts::parse(&said(&format!("zfs\tsda1\tlabel\t{hex}\n")));
        assert_eq!(both.disks["sda"].volumes[0].zfs, None);
        let one = TargetFacts::parse(&said(""));
        assert!(one.disks["sda"].volumes[0].zfs_is_stale);
        assert!(one.disks["sda"].contents().ends_with("; left-over label of pool tank at its end"));
    }
}
