//! What a plan asks somebody to agree to, as one value: all that is shown, and all that will be done. Its JSON text is what
//! the digest is made of and what the journal keeps; `compare` says whether what is planned or found later is still that.

use super::disk::planned_disks;
use super::step::{Disko, Evaluate, Install, Kexec};
use super::{Action, HostKeyPlan, KeptDataset, KeptPool, Place, Plan, PlannedDisk, Step};
use crate::facts::{Disk, HostFacts, TargetFacts, Volume};
use crate::hex;
use crate::machine::fingerprint;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeSet;

/// Hexadecimal digits of a digest: 128 bits are enough to tell plans apart, and still fit a command line.
const DIGITS: usize = 32;

/// What somebody agrees to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Terms {
    /// Version of the plan's form.
    pub(crate) version: u32,
    /// HOST, as it was given.
    pub(crate) host: String,
    /// TARGET, as it was given.
    pub(crate) target: String,
    /// The system.
    pub(crate) toplevel: String,
    /// The script that lays out the disks.
    pub(crate) disko_script: String,
    /// The script that creates only what is missing, where something is kept.
    pub(crate) format_script: Option<String>,
    /// The fingerprint of the target's host key, where it was not known before.
    pub(crate) first_contact: Option<String>,
    /// The kexec image, where one will be sent: its SHA-256, or that of the URL of one whose own was not
    /// given.
    pub(crate) image: Option<String>,
    /// Options for `kexec`.
    pub(crate) kexec_flags: String,
    /// Where the installed system's host keys come from.
    pub(crate) host_keys: String,
    /// Keys that may log in as root beyond the configuration, by their fingerprints.
    pub(crate) authorized: Vec<String>,
    /// The codes of accepted findings.
    pub(crate) accepted: BTreeSet<String>,
    /// Files that are placed: path, mode and owner in words.
    pub(crate) files: Vec<String>,
    /// Where keys of disks are placed in the installer.
    pub(crate) disk_keys: Vec<String>,
    /// Stands for the content of all that is placed; none if nothing is. ([`crate::secrets::content_digest`])
    pub(crate) content: Option<String>,
    /// Who builds the system.
    pub(crate) built_on: Place,
    /// Where private inputs are fetched from by a target that evaluates the flake itself.
    pub(crate) fetched_there: Option<Vec<String>>,
    /// Every disk: those of the layout in its order, then the others.
    pub(crate) disks: Vec<AgreedDisk>,
    /// The pools that are kept.
    pub(crate) kept: Vec<AgreedPool>,
}

/// A disk, and what becomes of it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AgreedDisk {
    /// Its name in the layout.
    pub(crate) name: Option<String>,
    /// Its path in the layout; a disk that the layout does not name has none, because the kernel's name may change.
    pub(crate) device: Option<String>,
    /// What becomes of it.
    pub(crate) action: Action,
    /// What was seen of it; none if it could not be seen.
    pub(crate) seen: Option<SeenDisk>,
}

/// What was seen of a disk.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct SeenDisk {
    /// Serial number; empty if unknown.
    pub(crate) serial: String,
    /// World-wide name; empty if unknown.
    pub(crate) wwn: String,
    /// Model; empty if unknown.
    pub(crate) model: String,
    /// Bytes.
    pub(crate) size: u64,
    /// Bytes of a logical sector; 0 if unknown.
    pub(crate) sector: u32,
    /// Where it is plugged in: its names in /dev/disk/by-path.
    pub(crate) ports: BTreeSet<String>,
    /// What it holds: the disk as a whole, then its partitions.
    pub(crate) volumes: Vec<Content>,
    /// Under which boot and by which name of the kernel's it was seen. It is no part of the digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) place: Option<Sighting>,
}

/// Under which boot, and as what, a disk was seen.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Sighting {
    /// The boot.
    pub(crate) boot: String,
    /// The kernel's name of the disk.
    pub(crate) name: String,
    /// The kernel's number of the disk, which no other has under that boot (`diskseq`); 0 if it has none.
    pub(crate) sequence: u64,
}

/// What a disk or a partition holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Content {
    /// First byte, from the start of the disk.
    pub(crate) start: u64,
    /// Bytes.
    pub(crate) size: u64,
    /// GPT partition name; empty if it has none.
    pub(crate) name: String,
    /// What it is, in blkid's words; empty if nothing is recognised.
    pub(crate) format: String,
    /// The label of the file system (blkid(8), `LABEL`).
    pub(crate) label: String,
    /// The UUID of the file system (blkid(8), `UUID`).
    pub(crate) uuid: String,
    /// GUIDs of the pool and the member that it says to be, as text.
    pub(crate) member: Option<(String, String)>,
    /// Where it is mounted.
    pub(crate) mounted: Vec<String>,
}

/// A pool that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AgreedPool {
    /// Its name.
    pub(crate) pool: String,
    /// Its GUID, as text; none if it could not be seen.
    pub(crate) guid: Option<String>,
    /// What becomes of its datasets.
    pub(crate) datasets: Vec<KeptDataset>,
}

impl Plan {
    /// All that somebody agrees to who agrees to this plan.
    pub(crate) fn terms(&self) -> Terms {
        let mut terms = Terms {
            version: super::PLAN_VERSION,
            host: self.host.clone(),
            target: self.target.to_string(),
            toplevel: self.toplevel.to_string(),
            disko_script: self.disko.to_string(),
            format_script: None,
            first_contact: self.first_contact.clone(),
            image: self.image.clone(),
            kexec_flags: String::new(),
            host_keys: String::new(),
            authorized: Vec::new(),
            accepted: self.accepted.iter().cloned().collect(),
            files: self.files.clone(),
            disk_keys: self.disk_keys.clone(),
            content: self.content.clone(),
            built_on: self.built.place,
            fetched_there: None,
            disks: agreed_disks(&self.disks, &self.boot),
            kept: self.kept.iter().map(AgreedPool::of).collect(),
        };
        self.steps.iter().for_each(|step| terms.take(step));
        terms
    }

    /// Names exactly this plan: whatever of its terms changes, the digest does.
    pub(crate) fn digest(&self) -> String {
        self.terms().digest()
    }
}

impl Terms {
    /// What a step adds.
    fn take(&mut self, step: &Step) {
        match step {
            Step::Kexec(Kexec { extra_flags }) => self.kexec_flags.clone_from(extra_flags),
            Step::Evaluate(Evaluate { private, .. }) => self.fetched_there = Some(private.clone()),
            Step::Disko(Disko { format, .. }) => {
                self.format_script = format.as_ref().map(|format| format.out.to_string());
            }
            Step::Install(Install { host_keys, authorize, .. }) => {
                self.host_keys = match host_keys {
                    HostKeyPlan::Copy => "those of the target".to_owned(),
                    HostKeyPlan::Create(key) => format!("a new one, {}", key.path),
                    HostKeyPlan::Place { key, public } => {
                        format!("{}, {}", fingerprint(public).unwrap_or_default(), key.path)
                    }
                };
                self.authorized =
                    authorize.iter().map(|key| fingerprint(key).unwrap_or_default()).collect();
            }
            Step::Build(_) | Step::Copy(_) | Step::Reboot(_) | Step::Verify(_) => {}
        }
    }

    /// The terms as they are shown to programs, without what differs between two boots of the same machine.
    #[must_use]
    pub(crate) fn lasting(&self) -> Self {
        let mut lasting = self.clone();
        for disk in lasting.disks.iter_mut().filter_map(|disk| disk.seen.as_mut()) {
            disk.place = None;
        }
        lasting
    }

    /// Names exactly these terms.
    pub(crate) fn digest(&self) -> String {
        // serde_json sorts the keys of a value's maps, so equal terms have equal text. They have text keys and nothing
        // else: this cannot fail.
        let text = serde_json::to_value(self.lasting()).unwrap_or_default().to_string();
        hex(&Sha256::digest(text.as_bytes())[..DIGITS / 2])
    }

    /// Whether a pool has a member on a disk that the layout writes to.
    pub(crate) fn wipes_pool(&self, guid: u64) -> bool {
        let guid = guid.to_string();
        let volumes =
            self.wiped().filter_map(|disk| disk.seen.as_ref()).flat_map(|seen| &seen.volumes);
        volumes.filter_map(|volume| volume.member.as_ref()).any(|(pool, _)| *pool == guid)
    }

    /// The disks that the layout writes to.
    pub(crate) fn wiped(&self) -> impl Iterator<Item = &AgreedDisk> {
        wiped(&self.disks)
    }
}

/// Those of these disks that the layout writes to.
pub(super) fn wiped(disks: &[AgreedDisk]) -> impl Iterator<Item = &AgreedDisk> {
    disks.iter().filter(|disk| disk.action != Action::Keep)
}

/// The disks as they are now, in the form in which they are compared.
pub(super) fn disks_now(host: &HostFacts, found: &TargetFacts) -> Vec<AgreedDisk> {
    agreed_disks(&planned_disks(host, found), &found.boot)
}

fn agreed_disks(disks: &[PlannedDisk], boot: &str) -> Vec<AgreedDisk> {
    let (named, mut others): (Vec<_>, Vec<_>) = disks
        .iter()
        .map(|disk| AgreedDisk {
            name: disk.name.clone(),
            device: disk.name.as_ref().map(|_| disk.device.clone()),
            action: disk.action,
            seen: disk.found.as_ref().map(|found| SeenDisk::of(found, boot)),
        })
        .partition(|disk| disk.name.is_some());
    // Theirs is the order of the kernel's names.
    others.sort();
    named.into_iter().chain(others).collect()
}

impl SeenDisk {
    fn of(disk: &Disk, boot: &str) -> Self {
        Self {
            serial: disk.serial.clone(),
            wwn: disk.wwn.clone(),
            model: disk.model.clone(),
            size: disk.size,
            sector: disk.sector,
            ports: disk.ports.clone(),
            volumes: disk.volumes.iter().map(Content::of).collect(),
            place: Some(Sighting {
                boot: boot.to_owned(),
                name: disk.name.clone(),
                sequence: disk.sequence,
            }),
        }
    }

    /// What it is, in one line.
    pub(super) fn label(&self) -> String {
        let disk = Disk {
            model: self.model.clone(),
            serial: self.serial.clone(),
            size: self.size,
            ..Disk::default()
        };
        disk.label().trim_start().to_owned()
    }
}

impl Content {
    fn of(volume: &Volume) -> Self {
        let member =
            |label: &crate::facts::ZfsLabel| (label.pool_guid.to_string(), label.guid.to_string());
        Self {
            start: volume.start,
            size: volume.size,
            name: volume.part_label.clone(),
            format: volume.format.clone(),
            label: volume.label.clone(),
            uuid: volume.uuid.clone(),
            member: volume.zfs.as_ref().map(member),
            mounted: volume.mounted.clone(),
        }
    }
}

impl AgreedPool {
    fn of(pool: &KeptPool) -> Self {
        Self {
            pool: pool.name.clone(),
            guid: pool.seen.as_ref().map(|seen| seen.guid.to_string()),
            datasets: pool.datasets.clone(),
        }
    }
}
