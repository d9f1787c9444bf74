//! Whether what is planned or found now is still what was agreed to: one function, asked by a run that continues an earlier
//! one, and in the installer over the very reading that the wiping job then finds unchanged.
//!
//! Two systems see one disk differently: udev spells what sysfs reports, a small rescue system recognises less, names of the
//! kernel's change. So a disk is known by what identifies it (serial number, WWN, where it is plugged in, what it holds), and
//! what is asked of its content is whether more would be lost than was shown.

use super::terms::{AgreedDisk, AgreedPool, Content, SeenDisk, Terms, wiped};
use super::{Action, How};
use crate::facts::{DeclaredDisk, HostFacts, is_in_new_root};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// What an unfinished run is known to have made: what its layout names so, and file systems and pools that its journal knows
/// by their UUIDs.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Made<'a> {
    /// What the layout declares.
    pub(crate) host: &'a HostFacts,
    /// The file systems and pools that the disko step has made, as the journal keeps them; none if it has not ended well.
    pub(crate) layout: Option<&'a str>,
}

/// When it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Moment {
    /// A run is to continue an earlier one. What cannot be seen now is checked again in the installer.
    GoingOn,
    /// Immediately before the disks are wiped.
    LastLook,
}

impl Terms {
    /// In what these differ from those agreed to before, but for the disks.
    pub(super) fn differences_beyond_disks(&self, before: &Self) -> Vec<String> {
        let mut compared: Vec<(&str, String, String)> = Vec::new();
        let mut each = |what: &'static str, of: &dyn Fn(&Self) -> String| {
            compared.push((what, of(before), of(self)));
        };
        each("the system", &|terms| terms.toplevel.clone());
        each("the disko script", &|terms| terms.disko_script.clone());
        each("the script that creates what is missing", &|terms| {
            terms.format_script.clone().unwrap_or_default()
        });
        // In the installer none is sent any more.
        if self.image.is_some() {
            each("the kexec image", &|terms| terms.image.clone().unwrap_or_default());
            each("the options for kexec", &|terms| terms.kexec_flags.clone());
        }
        each("the host keys", &|terms| terms.host_keys.clone());
        each("the keys that may log in as root", &|terms| terms.authorized.join(", "));
        each("what is accepted", &|terms| {
            terms.accepted.iter().cloned().collect::<Vec<_>>().join(", ")
        });
        each("the files to be placed", &|terms| terms.files.join(", "));
        each("the keys of disks", &|terms| terms.disk_keys.join(", "));
        each("where it is built", &|terms| terms.built_on.name().to_owned());
        each("where it is evaluated", &|terms| match &terms.fetched_there {
            Some(urls) => format!("on the target, from {}", urls.join(", ")),
            None => "on this workstation".to_owned(),
        });
        each("what is kept", &|terms| kept(&terms.kept_as_seen_by(before)));
        let or_nothing = |text: String| if text.is_empty() { "nothing".to_owned() } else { text };
        let differing = compared.into_iter().filter(|(_, before, now)| before != now);
        let mut differences: Vec<String> = differing
            .map(|(what, before, now)| {
                format!("{what}: {}, it was {}", or_nothing(now), or_nothing(before))
            })
            .collect();
        if let Some(key) = &self.first_contact {
            differences
                .push(format!("the host key of the target: {key}; another one was agreed to"));
        }
        if before.content != self.content {
            differences.push("the content of what is to be placed has changed".to_owned());
        }
        differences
    }

    /// In what that differs which only an install puts onto a machine.
    pub(super) fn differences_in_what_is_placed(&self, before: &Self) -> Vec<String> {
        let placed = |terms: &Self| Self {
            files: terms.files.clone(),
            content: terms.content.clone(),
            host_keys: terms.host_keys.clone(),
            authorized: terms.authorized.clone(),
            ..before.clone()
        };
        placed(self).differences_beyond_disks(before)
    }

    /// The kept pools, where one that could not be seen when it was agreed to is known by its name only: nothing of it is lost.
    fn kept_as_seen_by(&self, before: &Self) -> Vec<AgreedPool> {
        let unseen = |pool: &AgreedPool| {
            before.kept.iter().any(|then| then.pool == pool.pool && then.guid.is_none())
        };
        let known = |pool: &AgreedPool| {
            let guid = pool.guid.clone().filter(|_| !unseen(pool));
            AgreedPool { guid, ..pool.clone() }
        };
        self.kept.iter().map(known).collect()
    }
}

fn kept(pools: &[AgreedPool]) -> String {
    let described = |pool: &AgreedPool| {
        let sets = pool.datasets.iter().map(|set| format!("{} {}", set.becomes.name(), set.name));
        let sets: Vec<String> = sets.collect();
        let guid = pool.guid.as_ref().map(|guid| format!(" {guid}")).unwrap_or_default();
        let sets = if sets.is_empty() { String::new() } else { format!(" ({})", sets.join(", ")) };
        format!("{}{guid}{sets}", pool.pool)
    };
    pools.iter().map(described).collect::<Vec<_>>().join(", ")
}

/// The disks of two looks, and how the first was agreed to.
pub(super) struct Disks<'a> {
    pub(super) before: &'a [AgreedDisk],
    pub(super) now: &'a [AgreedDisk],
    pub(super) how: How,
    pub(super) moment: Moment,
    pub(super) made: Option<Made<'a>>,
}

impl Disks<'_> {
    /// In what they differ, as far as somebody must agree to it.
    pub(super) fn differences(&self) -> Vec<String> {
        let devices = |disks: &[AgreedDisk]| {
            wiped(disks).filter_map(|disk| disk.device.clone()).collect::<Vec<_>>().join(", ")
        };
        let (then, now) = (devices(self.before), devices(self.now));
        if then != now {
            return vec![format!("the disks: {now}, it was {then}")];
        }
        let pairs = wiped(self.before).zip(wiped(self.now));
        pairs.filter_map(|(then, now)| self.difference(then, now)).collect()
    }

    fn difference(&self, before: &AgreedDisk, now: &AgreedDisk) -> Option<String> {
        let device = now.device.as_deref().unwrap_or_default();
        let (then, now) = match (&before.seen, &now.seen) {
            (_, None) if self.moment == Moment::GoingOn => return None,
            (_, None) => return Some(format!("{device} is not there")),
            (None, Some(now)) => return self.unseen(device, now),
            (Some(then), Some(now)) => (then, now),
        };
        match self.same(then, now) {
            Sameness::Other(why) => {
                return Some(format!("{device} is not the disk that was agreed to: {why}"));
            }
            Sameness::Unknown if self.might_be_kept(then, now) => {
                return Some(format!(
                    "{device} cannot be identified, and may not be the disk that was agreed to: {}",
                    now.label()
                ));
            }
            Sameness::Unknown if self.how == How::Serials => {
                return Some(format!(
                    "{device} does not report its serial number: {}",
                    now.label()
                ));
            }
            Sameness::Same | Sameness::Unknown => {}
        }
        if matches!(self.how, How::Yes | How::Serials) {
            return None;
        }
        let declared = self
            .made
            .and_then(|made| Some((made, made.host.disks.as_ref()?.get(before.name.as_ref()?)?)));
        let new = now.volumes.iter().filter(|volume| {
            is_new(volume, &then.volumes, self.moment)
                && !declared.is_some_and(|(made, disk)| made.has_made(volume, disk))
        });
        let new: Vec<String> = new.map(Content::described).collect();
        (!new.is_empty()).then(|| format!("{device} holds what was not shown: {}", new.join("; ")))
    }

    /// A disk that could not be seen when somebody agreed.
    fn unseen(&self, device: &str, now: &SeenDisk) -> Option<String> {
        let is_bare = now.volumes.iter().all(|volume| !volume.is_recognised());
        match self.how {
            How::Yes => None,
            How::Digest if is_bare && now.volumes.len() <= 1 => None,
            _ => Some(format!("{device} could not be seen when you agreed; it is {}", now.label())),
        }
    }

    fn same(&self, then: &SeenDisk, now: &SeenDisk) -> Sameness {
        if let Some(why) = contradiction(then, now) {
            return Sameness::Other(why);
        }
        let tells = |what: fn(&SeenDisk) -> String| {
            let value = what(then);
            !value.is_empty() && value == what(now) && self.is_alone(what, &value)
        };
        if tells(|disk| spelled(&disk.serial)) || tells(|disk| spelled(&disk.wwn)) {
            return Sameness::Same;
        }
        if self.is_another(then, now) {
            return Sameness::Other(format!("it is a disk that was elsewhere: {}", now.label()));
        }
        if !then.serial.is_empty() && now.serial.is_empty() {
            return Sameness::Other("it no longer reports its serial number".to_owned());
        }
        if !then.ports.is_empty() && !now.ports.is_empty() {
            return if then.ports.is_disjoint(&now.ports) {
                let ports: Vec<&str> = now.ports.iter().map(String::as_str).collect();
                Sameness::Other(format!("it is plugged in at {}", ports.join(" and ")))
            } else {
                Sameness::Same
            };
        }
        if let (Some(then), Some(now)) = (&then.place, &now.place)
            && then.boot == now.boot
            && !then.boot.is_empty()
        {
            // Under one boot the kernel's names stay, unless a disk is unplugged: then its number is another.
            return if then == now {
                Sameness::Same
            } else {
                Sameness::Other(format!("it is {} now, it was {}", now.name, then.name))
            };
        }
        let marks = then.marks();
        let shares = |disk: &SeenDisk| !marks.is_disjoint(&disk.marks());
        let all = self.before.iter().chain(self.now).filter_map(|disk| disk.seen.as_ref());
        let mut others = all.filter(|seen| *seen != now && *seen != then);
        if shares(now) && !others.any(shares) {
            return Sameness::Same;
        }
        Sameness::Unknown
    }

    /// Whether it reports what another disk reported before.
    fn is_another(&self, then: &SeenDisk, now: &SeenDisk) -> bool {
        let same = |a: &str, b: &str| !a.is_empty() && spelled(a) == spelled(b);
        let (own, seen) = (then.marks(), now.marks());
        let mut others = self.before.iter().filter_map(|disk| disk.seen.as_ref());
        others.any(|other| {
            other != then
                && (same(&other.serial, &now.serial) && !same(&then.serial, &now.serial)
                    || same(&other.wwn, &now.wwn) && !same(&then.wwn, &now.wwn)
                    || !other.ports.is_disjoint(&now.ports) && then.ports.is_empty()
                    || !other.marks().is_disjoint(&seen) && own.is_disjoint(&seen))
        })
    }

    /// Whether no other disk of either look says the same.
    fn is_alone(&self, what: fn(&SeenDisk) -> String, value: &str) -> bool {
        let count = |disks: &[AgreedDisk]| {
            disks
                .iter()
                .filter_map(|disk| disk.seen.as_ref())
                .filter(|disk| what(disk) == value)
                .count()
        };
        count(self.before) <= 1 && count(self.now) <= 1
    }

    /// Whether a disk that is kept could be taken for this one.
    fn might_be_kept(&self, then: &SeenDisk, now: &SeenDisk) -> bool {
        let kept = self.before.iter().filter(|disk| disk.action == Action::Keep);
        let mut kept = kept.filter_map(|disk| disk.seen.as_ref());
        kept.any(|kept| {
            kept != then
                && contradiction(kept, now).is_none()
                && (kept.serial.is_empty() || now.serial.is_empty())
                && !self.is_elsewhere(kept)
        })
    }

    /// Whether a kept disk was found again, at a place of its own.
    fn is_elsewhere(&self, kept: &SeenDisk) -> bool {
        let key = |disk: &SeenDisk| (spelled(&disk.serial), spelled(&disk.wwn));
        let mut others = self.now.iter().filter(|disk| disk.action == Action::Keep);
        key(kept) != key(&SeenDisk::default())
            && others.any(|disk| disk.seen.as_ref().is_some_and(|seen| key(seen) == key(kept)))
    }
}

/// Whether a disk is the one agreed on.
enum Sameness {
    Same,
    Other(String),
    /// Nothing that it reports decides it.
    Unknown,
}

/// What both report, and report differently.
fn contradiction(then: &SeenDisk, now: &SeenDisk) -> Option<String> {
    let differs = |what: &str, then: &str, now: &str| {
        let differ = !then.is_empty() && !now.is_empty() && spelled(then) != spelled(now);
        differ.then(|| format!("{what} {now}, not {then}"))
    };
    let size = |disk: &SeenDisk| if disk.size == 0 { String::new() } else { disk.size.to_string() };
    // sysfs reports the first 16 letters of a SATA disk's.
    let models = [spelled(&then.model), spelled(&now.model)];
    let [a, b] = &models;
    let model =
        if a.starts_with(b.as_str()) || b.starts_with(a.as_str()) { "" } else { &then.model };
    differs("serial number", &then.serial, &now.serial)
        .or_else(|| differs("WWN", &then.wwn, &now.wwn))
        .or_else(|| differs("bytes", &size(then), &size(now)))
        .or_else(|| differs("model", model, &now.model))
}

/// As udev spells it (`util_replace_whitespace` and `util_replace_chars` of systemd): no blanks at its ends, one `_` for
/// those between, and for any other character that it does not let into a name.
pub(in crate::plan) fn spelled(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().collect();
    let allowed = |c: char| c.is_ascii_alphanumeric() || "#+-.:=@_".contains(c) || !c.is_ascii();
    let letters = words.join("_");
    letters.chars().map(|c| if allowed(c) { c.to_ascii_lowercase() } else { '_' }).collect()
}

/// Whether something is there that was not shown.
fn is_new(now: &Content, before: &[Content], moment: Moment) -> bool {
    let place = |volume: &&Content| (volume.start, volume.size) == (now.start, now.size);
    let Some(then) = before.iter().find(place) else {
        // A partition that was not there, whatever is in it. (The first is the disk as a whole.)
        return now.start > 0 || now.is_recognised();
    };
    if moment == Moment::GoingOn && now.mounted.iter().any(|point| !then.mounted.contains(point)) {
        return true;
    }
    if !now.is_recognised() {
        return false;
    }
    let plain = |text: &str| {
        text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
    };
    let known = |a: &str, b: &str| !a.is_empty() && !b.is_empty();
    if let (Some(then), Some(now)) = (&then.member, &now.member) {
        return then != now;
    }
    if known(&then.uuid, &now.uuid) {
        return plain(&then.uuid) != plain(&now.uuid);
    }
    !then.is_recognised() || known(&then.format, &now.format) && then.format != now.format
}

impl SeenDisk {
    /// By contents that distinguish it from everything else.
    fn marks(&self) -> BTreeSet<String> {
        self.volumes.iter().flat_map(Content::marks).collect()
    }
}

impl Content {
    /// Whether it holds something. A partition table by itself holds nothing: its partitions do.
    fn is_recognised(&self) -> bool {
        self.member.is_some() || !matches!(self.format.as_str(), "" | "gpt" | "dos" | "PMBR")
    }

    /// What distinguishes it from all others.
    fn marks(&self) -> Vec<String> {
        let uuid = (!self.uuid.is_empty()).then(|| self.uuid.to_ascii_lowercase());
        let member = self.member.as_ref().map(|(pool, member)| format!("{pool} {member}"));
        uuid.into_iter().chain(member).collect()
    }

    fn described(&self) -> String {
        let mut words = match (self.format.as_str(), &self.member) {
            (_, Some((pool, _))) => format!("a member of the pool {pool}"),
            ("", None) => "a partition".to_owned(),
            (format, None) => format.to_owned(),
        };
        for name in [&self.name, &self.label].into_iter().filter(|name| !name.is_empty()) {
            let _ = write!(words, " '{name}'");
        }
        if !self.mounted.is_empty() {
            let _ = write!(words, ", mounted on {}", self.mounted.join(" and "));
        }
        words
    }
}

impl Made<'_> {
    /// Whether the run has made it.
    fn has_made(&self, volume: &Content, disk: &DeclaredDisk) -> bool {
        if volume.mounted.iter().any(|point| !is_in_new_root(point)) {
            return false;
        }
        let is_known = |uuid: &str| {
            !uuid.is_empty()
                && self
                    .layout
                    .is_some_and(|layout| layout.split_whitespace().any(|word| word == uuid))
        };
        let pool = volume.member.as_ref().map_or("", |(pool, _)| pool);
        if is_known(&volume.uuid) || is_known(pool) {
            return true;
        }
        let labelled = disk.partitions.iter().find(|part| {
            part.label.as_ref().is_some_and(|label| !label.is_empty() && *label == volume.name)
        });
        let Some(partition) = labelled else { return false };
        let kind = partition.content.as_deref();
        match volume.format.as_str() {
            _ if !volume.is_recognised() => true,
            // What it has made and seen, it knows.
            _ if self.layout.is_some() && matches!(kind, Some("filesystem" | "btrfs" | "zfs")) => {
                false
            }
            "zfs_member" => kind == Some("zfs"),
            "swap" => kind == Some("swap"),
            "crypto_LUKS" => kind == Some("luks"),
            "LVM2_member" => kind == Some("lvm_pv"),
            "linux_raid_member" => kind == Some("mdraid"),
            "btrfs" => kind == Some("btrfs") || kind == Some("filesystem"),
            _ if volume.member.is_some() => kind == Some("zfs"),
            _ => kind == Some("filesystem"),
        }
    }
}
