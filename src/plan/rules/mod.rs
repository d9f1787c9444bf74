//! When a finding applies: a file for each thing that is looked at.

mod disks;
mod host;
mod keep;
mod layout;
mod secrets;
mod target;

use crate::facts::{HostFacts, TargetFacts};
use crate::findings::{Finding, catalogue, sort};
use crate::machine::Image;
use crate::plan::Terms;
use crate::secrets::age::Proof;

/// The finding that is accepted with `--erase-firmware`, and in no other way.
pub(crate) const ERASE_FIRMWARE: &str = "host-firmware-region";

/// A pool that is kept lacks members, and may lack them afterwards, too, if somebody has accepted it.
pub(super) const KEEP_DEGRADED: &str = "keep-degraded";

/// What the rules look at, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Known<'a> {
    /// What the flake declares.
    pub(crate) host: &'a HostFacts,
    /// What was found on the target; none if it was not looked at, and then there are no findings about it.
    pub(crate) target: Option<&'a TargetFacts>,
    /// The kexec image, if one was given.
    pub(crate) image: Option<&'a Image>,
    /// Whether an image was named that was not fetched: what it is, is not known.
    pub(crate) has_named_image: bool,
    /// The machine's keys; without, secrets are not looked at.
    pub(crate) keys: Option<Keys<'a>>,
    /// Paths in the installer where keys of encrypted disks and pools will be.
    pub(crate) disk_keys: &'a [String],
    /// What a run that has not reached its end has done to the disks; that is no reason to refuse.
    pub(crate) unfinished: Unfinished<'a>,
}

impl<'a> Known<'a> {
    /// Nothing but the host.
    pub(crate) fn of(host: &'a HostFacts) -> Self {
        let unfinished = Unfinished::default();
        let (target, image, keys) = (None, None, None);
        Self { host, target, image, has_named_image: false, keys, disk_keys: &[], unfinished }
    }
}

/// All that can be found before anything is touched. Errors come first, then as in the catalogue.
pub(crate) fn findings(known: Known<'_>) -> Vec<Finding> {
    let Known { host, target, image, has_named_image, keys, disk_keys, unfinished } = known;
    let mut found = host::findings(host, target);
    if host.disko().is_some() && host.has_disks() {
        found.extend(layout::findings(host, disk_keys));
    }
    found.extend(keep::host_findings(host, disk_keys));
    found.extend(keys.into_iter().flat_map(|keys| secrets::findings(host, keys)));
    if let Some(target) = target {
        found.extend(target::findings(host, target));
        if target.kernel == "Linux" {
            found.extend(disks::findings(host, target, unfinished));
            found.extend(keep::findings(host, target, unfinished.left));
            if !target.is_installer() {
                found.extend(target::kexec(target, image, has_named_image));
            }
        }
    }
    sort(&mut found);
    found
}

/// What a run that has not reached its end has done to the disks.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Unfinished<'a> {
    /// It has laid them out under the target's present boot: what is mounted below /mnt, used as swap or imported is its own.
    pub(crate) left: bool,
    /// What it was agreed to, if it has begun to wipe them: members of pools may be gone that were there then.
    pub(crate) terms: Option<&'a Terms>,
}

/// What in the keys alone forbids an install, or is worth knowing.
pub(crate) fn key_findings(host: &HostFacts, keys: Keys<'_>) -> Vec<Finding> {
    let mut found = secrets::findings(host, keys);
    sort(&mut found);
    found
}

/// What is known of the keys that the machine will have.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keys<'a> {
    /// The public half of the host key that is supplied, `type base64`; none if there is none.
    pub(crate) supplied: Option<&'a str>,
    /// What it will open with them.
    pub(crate) proof: &'a Proof,
}

/// The system cannot be built.
pub(super) fn build_nowhere(why: &str) -> Finding {
    catalogue::BUILD_NOWHERE.seen(
        why,
        "give this workstation's Nix a builder for it (nix.conf(5), `builders`), or build elsewhere with --build-on",
    )
}

/// Owners that the installed system will not know.
pub(super) use host::owners;

/// What was built, before the old system is left for it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Built {
    /// Whether the system has the device tree that the configuration names.
    pub(crate) has_device_tree: bool,
    /// Bytes of the disko script with all it needs, which goes into the installer's memory.
    pub(crate) disko_closure: u64,
}

/// What can be found only once the system is built.
pub(crate) fn built_findings(
    host: &HostFacts,
    target: &TargetFacts,
    image: Option<&Image>,
    built: Built,
) -> Vec<Finding> {
    let mut found = Vec::new();
    if let Some(tree) = host.device_tree.as_deref().filter(|_| !built.has_device_tree) {
        found.push(catalogue::DEVICE_TREE_MISSING.seen(
            format!("the system that was built has no {tree} in its dtbs"),
            "check hardware.deviceTree.name, and hardware.deviceTree.filter, which may exclude it",
        ));
    }
    let image = image.filter(|_| !target.is_installer());
    found.extend(image.and_then(|image| target::memory(target, image, built.disko_closure)));
    found
}

#[cfg(test)]
mod tests;
