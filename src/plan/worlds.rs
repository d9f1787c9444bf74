//! Random machines that change between the consent and the last look: whatever would be erased then was agreed to as it is
//! then; and what has only been put in other words, or into another order, does not stop a run.

use super::{Agreed, Agreement, How, Plan, PlannedDisk, WipeConsent};
use crate::facts::{HostFacts, TargetFacts};
use crate::plan::disk::planned_disks;
use crate::plan::{BuildPlace, Place};
use std::collections::BTreeSet;
use std::fmt::Write as _;

/// A pseudo-random sequence (xorshift64*).
struct Chance(u64);

impl Chance {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let number = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(number).unwrap() % bound
    }

    fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }
}

/// A disk as it really is.
#[derive(Debug, Clone)]
struct Real {
    /// Which it is: no reading shows it.
    id: usize,
    /// The kernel's name.
    name: String,
    size: u64,
    model: &'static str,
    serial: String,
    wwn: String,
    port: String,
    sequence: usize,
    /// Its file systems, by number; each on a partition of its own, whose place is the second number.
    holds: Vec<(usize, u64)>,
}

/// A machine.
#[derive(Debug, Clone)]
struct Machine {
    boot: &'static str,
    disks: Vec<Real>,
    /// How a layout names its disks.
    devices: Vec<String>,
}

/// What a reading can show.
#[derive(Debug, Clone, Copy)]
struct Eyes {
    serials: bool,
    ports: bool,
    contents: bool,
    /// In udev's spelling.
    udev: bool,
}

/// An installer has udev, and tools for all that is there.
const INSTALLER: Eyes = Eyes { serials: true, ports: true, contents: true, udev: true };

const NAMES: [&str; 6] = ["sda", "sdb", "sdc", "sdd", "sde", "sdf"];

impl Machine {
    fn random(chance: &mut Chance) -> Self {
        let anonymous = chance.one_in(3);
        let disks: Vec<Real> = (0..2 + chance.below(4))
            .map(|id| Real {
                id,
                name: NAMES[id].to_owned(),
                size: [64_000_000_000, 4_000_000_000_000][usize::from(chance.one_in(3))],
                model: ["QEMU HARDDISK", "ST4000VN008-2DR166"][usize::from(chance.one_in(3))],
                serial: match chance.below(6) {
                    _ if anonymous => String::new(),
                    0 => "THE SAME  FOR ALL".to_owned(),
                    1 => String::new(),
                    _ => format!("S {id:04}"),
                },
                wwn: if anonymous || chance.one_in(2) {
                    String::new()
                } else {
                    format!("0x5000{id}")
                },
                port: if chance.one_in(3) { String::new() } else { format!("pci-{id}") },
                sequence: id + 1,
                holds: if chance.one_in(2) { vec![(100 + id, 1 << 20)] } else { vec![] },
            })
            .collect();
        let wiped = 1 + chance.below(disks.len());
        let device = |disk: &Real, chance: &mut Chance| match chance.below(3) {
            0 if !disk.serial.is_empty() => format!("/dev/disk/by-id/ata-{}", spell(&disk.serial)),
            1 if !disk.port.is_empty() => format!("/dev/disk/by-path/{}", disk.port),
            _ => format!("/dev/{}", disk.name),
        };
        let devices = disks[..wiped].iter().map(|disk| device(disk, chance)).collect();
        Self { boot: "first", disks, devices }
    }

    /// The probe's lines.
    fn look(&self, eyes: Eyes) -> TargetFacts {
        let mut said = format!("kernel\tLinux\nboot\t{}\nvariant\tinstaller\n", self.boot);
        for disk in &self.disks {
            let Real { name, size, model, sequence, .. } = disk;
            let serial = match (eyes.serials, eyes.udev) {
                (false, _) => String::new(),
                (true, false) => disk.serial.clone(),
                (true, true) => spell(&disk.serial),
            };
            let wwn = if eyes.udev { disk.wwn.as_str() } else { "" };
            let model = if eyes.udev { spell(model) } else { model.chars().take(16).collect() };
            let _ = writeln!(
                said,
                "disk\t{name}\t{size}\t{model}\t{serial}\t{wwn}\t512\t0\t{sequence}"
            );
            let _ = writeln!(
                said,
                "link\t/dev/{name}\t{name}\nvolume\t{name}\t{name}\t0\t{size}\t\t\t\t"
            );
            if !disk.serial.is_empty() {
                let _ = writeln!(said, "link\t/dev/disk/by-id/ata-{}\t{name}", spell(&disk.serial));
            }
            if eyes.ports && !disk.port.is_empty() {
                let _ = writeln!(said, "link\t/dev/disk/by-path/{}\t{name}", disk.port);
            }
            for (at, (system, start)) in disk.holds.iter().enumerate() {
                let kind = if eyes.contents {
                    format!("ext4\t\tuuid-{system}")
                } else {
                    "\t\t".to_owned()
                };
                let _ = writeln!(said, "volume\t{name}\t{name}{}\t{start}\t1000\t\t{kind}", at + 1);
            }
        }
        TargetFacts::parse(&said)
    }

    fn host(&self) -> HostFacts {
        let disks = self.devices.iter().enumerate().map(|(at, device)| {
            let disk = serde_json::json!({ "device": device, "destroy": true });
            (format!("disk{at}"), disk)
        });
        let disks: serde_json::Map<_, _> = disks.collect();
        serde_json::from_value(serde_json::json!({ "disks": disks })).unwrap()
    }

    /// The disk that a path of the layout leads to.
    fn at(&self, device: &str, eyes: Eyes) -> Option<&Real> {
        let facts = self.look(eyes);
        let name = &facts.disk(device)?.name;
        self.disks.iter().find(|disk| disk.name == *name)
    }

    /// Something happens that loses nothing: the order of the disks is another one after a restart, where nothing hangs
    /// on it.
    fn restart(&mut self, chance: &mut Chance) {
        self.boot = "second";
        for number in 0..self.disks.len() {
            let other = chance.below(self.disks.len());
            let (a, b) = (self.disks[number].name.clone(), self.disks[other].name.clone());
            (self.disks[number].name, self.disks[other].name) = (b, a);
        }
        for (at, disk) in self.disks.iter_mut().enumerate() {
            disk.sequence = at + 1;
        }
    }

    /// Something happens that may lose something.
    fn change(&mut self, chance: &mut Chance) {
        let (one, other) = (chance.below(self.disks.len()), chance.below(self.disks.len()));
        match chance.below(7) {
            0 => self.restart(chance),
            1 => self.disks[one].holds.push((200 + one, 1 << 30)),
            2 => self.disks[one].holds = vec![(300 + one, 1 << 20)],
            3 => {
                let (a, b) = (self.disks[one].port.clone(), self.disks[other].port.clone());
                (self.disks[one].port, self.disks[other].port) = (b, a);
            }
            4 => {
                let (disks, number) = (&mut self.disks, 40 + one);
                disks[one].id = number;
                disks[one].sequence = number;
                disks[one].serial = if chance.one_in(2) { String::new() } else { "NEW".to_owned() };
                disks[one].wwn = String::new();
                disks[one].holds = if chance.one_in(2) { vec![] } else { vec![(400, 1 << 20)] };
            }
            5 => {
                // A clone of another disk, bit by bit.
                self.disks[one].holds = self.disks[other].holds.clone();
            }
            _ => {
                self.disks.remove(one);
                if self.disks.is_empty() {
                    self.restart_with_one();
                }
            }
        }
    }

    fn restart_with_one(&mut self) {
        let disk = Real {
            id: 99,
            name: "sda".into(),
            size: 1,
            model: "",
            serial: String::new(),
            wwn: String::new(),
            port: String::new(),
            sequence: 9,
            holds: vec![(500, 1 << 20)],
        };
        self.disks.push(disk);
    }
}

/// As udev does.
fn spell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join("_")
}

/// A plan for these disks, without anything else.
pub(crate) fn plan_of(disks: Vec<PlannedDisk>, boot: &str) -> Plan {
    let path = |text: &str| serde_json::from_value(text.into()).unwrap();
    Plan {
        host: "nas".into(),
        target: "root@nas".parse().unwrap(),
        first_contact: None,
        toplevel: path("/nix/store/t"),
        disko: path("/nix/store/d"),
        disks,
        pools: Vec::new(),
        kept: vec![],
        findings: vec![],
        files: Vec::new(),
        disk_keys: Vec::new(),
        content: None,
        image: None,
        boot: boot.to_owned(),
        built: BuildPlace { place: Place::Local, why: String::new() },
        accepted: vec![],
        steps: vec![],
    }
}

fn plan(host: &HostFacts, found: &TargetFacts) -> Plan {
    plan_of(planned_disks(host, found), &found.boot)
}

/// What somebody has agreed to, for tests of what becomes of it.
pub(crate) fn agreed() -> Agreed {
    let machine = Machine::random(&mut Chance(1));
    let plan = plan(&machine.host(), &machine.look(INSTALLER));
    plan.consent_given(&Agreement::Yes).unwrap().agreed().clone()
}

fn consent(chance: &mut Chance, plan: &Plan) -> Option<WipeConsent> {
    let serials = plan.wiped().filter_map(|disk| disk.serial().map(str::to_owned));
    match chance.below(4) {
        0 => plan.consent_typed("nas"),
        1 => plan.consent_given(&Agreement::Digest(plan.digest())).ok(),
        2 => plan.consent_given(&Agreement::Serials(serials.collect())).ok(),
        _ => plan.consent_given(&Agreement::Yes).ok(),
    }
}

/// Whether the consent to the first machine, as it was seen, includes losing what is on this disk of the second.
fn has_agreed(
    how: How,
    before: &Machine,
    eyes: Eyes,
    device: &str,
    now: &Machine,
    lost: &Real,
) -> bool {
    let wiped: BTreeSet<usize> =
        before.devices.iter().filter_map(|device| Some(before.at(device, eyes)?.id)).collect();
    let kept = before.disks.iter().any(|disk| disk.id == lost.id && !wiped.contains(&disk.id));
    let shown = before.at(device, eyes);
    let same = shown.filter(|then| then.id == lost.id);
    // It was plugged in where a disk was that reports the same: no reading can tell them apart.
    let moved = before.disks.iter().any(|disk| disk.id == lost.id && disk.port != lost.port);
    let reported = |disk: &Real| {
        let serial = if eyes.serials { disk.serial.clone() } else { String::new() };
        (disk.size, disk.model, serial, if eyes.udev { disk.wwn.clone() } else { String::new() })
    };
    let is_twin = moved && shown.is_some_and(|then| reported(then) == reported(lost));
    let kept = kept && !(is_twin && (lost.holds.is_empty() || !eyes.contents));
    match how {
        // What could not be seen may be any disk: the plan says so.
        How::Yes => !kept || shown.is_none(),
        How::Digest if shown.is_none() => lost.holds.is_empty(),
        How::Serials => {
            let has_it = |disk: &&Real| disk.serial == lost.serial;
            let alone = now.disks.iter().filter(has_it).count() == 1;
            !kept && alone && before.disks.iter().any(|disk| disk.serial == lost.serial)
        }
        How::Typed | How::Digest => match same {
            Some(then) => lost.holds.iter().all(|held| eyes.contents && then.holds.contains(held)),
            None => !kept && lost.holds.is_empty(),
        },
    }
}

#[test]
fn whatever_is_erased_was_agreed_to_as_it_is_then() {
    let (mut erased, mut refused) = (0, 0);
    for seed in 1..=10_000_u64 {
        let chance = &mut Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let before = Machine::random(chance);
        let eyes = if chance.one_in(2) {
            INSTALLER
        } else {
            let (serials, ports) = (!chance.one_in(3), !chance.one_in(3));
            Eyes { serials, ports, contents: !chance.one_in(2), udev: false }
        };
        let host = before.host();
        let plan = plan(&host, &before.look(eyes));
        let Some(consent) = consent(chance, &plan) else { continue };
        let mut now = before.clone();
        if chance.one_in(2) {
            now.restart(chance);
        }
        for _ in 0..chance.below(3) {
            now.change(chance);
        }
        if consent.still_holds(&host, &now.look(INSTALLER), None).is_err() {
            refused += 1;
            continue;
        }
        erased += 1;
        for device in consent.devices() {
            let lost = now.at(device, INSTALLER).unwrap();
            let how = consent.agreed().how;
            assert!(
                has_agreed(how, &before, eyes, device, &now, lost),
                "seed {seed}, {how:?}, {eyes:?}: {device} is {lost:?}\nbefore {before:#?}\nnow {now:#?}"
            );
        }
    }
    assert!(
        erased > 1000 && refused > 1000,
        "{erased} erased, {refused} refused: it must be seen both ways"
    );
}

#[test]
fn other_spellings_and_another_order_need_no_new_consent() {
    let mut went_on = 0;
    for seed in 1..=2_000_u64 {
        let chance = &mut Chance(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let before = Machine::random(chance);
        let distinct: BTreeSet<&str> =
            before.disks.iter().map(|disk| disk.serial.as_str()).collect();
        let by_order = before.devices.iter().any(|device| device.starts_with("/dev/sd"));
        if distinct.len() < before.disks.len() || distinct.contains("") || by_order {
            continue;
        }
        let host = before.host();
        let eyes = Eyes { udev: chance.one_in(2), ..INSTALLER };
        let plan = plan(&host, &before.look(eyes));
        let Some(consent) = consent(chance, &plan) else { panic!("seed {seed}: {before:?}") };
        let mut now = before.clone();
        now.restart(chance);
        assert_eq!(
            consent.still_holds(&host, &now.look(INSTALLER), None),
            Ok(()),
            "seed {seed}: {before:#?}"
        );
        went_on += 1;
    }
    assert!(went_on > 20, "{went_on}");
}
