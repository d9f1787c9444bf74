//! What will be done, decided before anything is: pure functions of what was declared and found.

mod capacity;
mod compare;
mod consent;
mod disk;
mod document;
mod expected;
mod feature;
mod keep;
mod place;
mod property;
mod ready;
mod rules;
pub(crate) mod step;
mod terms;
#[cfg(test)]
pub(crate) mod worlds;

pub(crate) use capacity::PlannedPool;
pub(crate) use compare::Made;
pub(crate) use consent::{Agreed, Agreement, How, WipeConsent};
pub(crate) use disk::{Action, PlannedDisk};
pub(crate) use document::PLAN_VERSION;
#[cfg(test)]
pub(crate) use document::PlanDocument;
pub(crate) use expected::Expected;
pub(crate) use keep::{KeptDataset, KeptPool, kept_pools};
pub(crate) use place::{BuildOn, BuildPlace, Place};
#[cfg(test)]
pub(crate) use ready::NeededFileSystem;
pub(crate) use ready::Readiness;
pub(crate) use rules::{
    Built, ERASE_FIRMWARE, Keys, Known, Unfinished, built_findings, findings, key_findings,
};
pub(crate) use step::{HostKeyPlan, Step};
#[cfg(test)]
pub(crate) use terms::Content;
pub(crate) use terms::{AgreedPool, Terms};

use crate::facts::{HostFacts, TargetFacts, WorkstationFacts};
use crate::findings::{Finding, sort};
use crate::machine::{Destination, Image};
use crate::nix::StorePath;
use crate::report::{Exit, Failure};
use crate::secrets::{Owner, host_key};
use std::fmt::Write as _;

/// Everything that will be done. It leaves no meaningful choice to be made while it is carried out.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The host, as the user named it.
    pub(crate) host: String,
    /// Where it will be installed.
    pub(crate) target: Destination,
    /// The fingerprint of the target's host key, where it was not known before.
    pub(crate) first_contact: Option<String>,
    /// The system it will run.
    pub(crate) toplevel: StorePath,
    /// The script that lays out its disks.
    pub(crate) disko: StorePath,
    /// What becomes of each disk.
    pub(crate) disks: Vec<PlannedDisk>,
    /// The pools that the layout makes, with what they will hold.
    pub(crate) pools: Vec<PlannedPool>,
    /// The pools that are kept.
    pub(crate) kept: Vec<KeptPool>,
    /// What was found, errors first.
    pub(crate) findings: Vec<Finding>,
    /// Codes of errors that the user accepts.
    pub(crate) accepted: Vec<String>,
    /// Files that are placed for the first boot: path, mode and owner in words.
    pub(crate) files: Vec<String>,
    /// Where keys of disks are placed in the installer.
    pub(crate) disk_keys: Vec<String>,
    /// Stands for the content of all that is placed.
    pub(crate) content: Option<String>,
    /// By what the kexec image is agreed to, where one is needed: its SHA-256, or else where it comes from.
    pub(crate) image: Option<String>,
    /// The boot under which the disks were seen.
    pub(crate) boot: String,
    /// Where the system is built.
    pub(crate) built: BuildPlace,
    /// The steps, in order; always all of them, wherever the target happens to be.
    pub(crate) steps: Vec<Step>,
}

/// What the user decided about an install, beyond host and target.
#[derive(Debug, Clone, Default)]
pub struct InstallOptions {
    /// Who builds the system.
    pub(crate) build_on: BuildOn,
    /// Pools and disks of the layout that are kept: by their names in it, or a disk's path.
    pub(crate) keep: Vec<String>,
    /// Options for `kexec` itself.
    pub(crate) kexec_extra_flags: String,
    /// Whether the installed system keeps the host keys the target has now.
    pub(crate) copy_host_keys: bool,
    /// Public keys that may log in to the installed system as root, beyond its configuration.
    pub authorize: Vec<String>,
    /// Codes of errors that the user accepts.
    pub(crate) accept: Vec<String>,
}

/// What is placed on the machine for its first boot, and in the installer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Placed {
    /// Files: path, mode and owner in words.
    pub(crate) files: Vec<String>,
    /// Who is to own some of them.
    pub(crate) owners: Vec<Owner>,
    /// Paths in the installer where keys of encrypted disks and pools will be.
    pub(crate) disk_keys: Vec<String>,
    /// Stands for the content of all of it; none if nothing is placed.
    pub(crate) content: Option<String>,
}

/// All that a plan is made from. It is filled in one place: `Prepared::plan`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Input<'a> {
    /// What the flake declares.
    pub(crate) host: &'a HostFacts,
    /// What was found on the target.
    pub(crate) found: &'a TargetFacts,
    /// Where the target is.
    pub(crate) destination: &'a Destination,
    /// The fingerprint of its host key, where it is not known yet.
    pub(crate) first_contact: Option<&'a str>,
    /// The kexec image, if one is needed and was given.
    pub(crate) image: Option<&'a Image>,
    /// By what the image is agreed to, if not by its own digest.
    pub(crate) image_named: Option<&'a str>,
    /// What an unfinished run has done to the disks.
    pub(crate) unfinished: Unfinished<'a>,
    /// What is known of the machine's keys.
    pub(crate) keys: Keys<'a>,
    /// What is placed.
    pub(crate) placed: &'a Placed,
    /// URLs of the private inputs, where the target evaluates the flake itself.
    pub(crate) private_inputs: Option<&'a [String]>,
    /// What this workstation can build.
    pub(crate) workstation: &'a WorkstationFacts,
    /// What the user decided.
    pub(crate) options: &'a InstallOptions,
}

impl<'a> Input<'a> {
    fn known(&self) -> Known<'a> {
        Known {
            target: Some(self.found),
            image: self.image,
            has_named_image: self.image_named.is_some(),
            keys: Some(self.keys),
            disk_keys: &self.placed.disk_keys,
            unfinished: self.unfinished,
            ..Known::of(self.host)
        }
    }
}

/// Makes the plan; what stands in its way is among its findings. Only of a host without a toplevel or a disko
/// script there is no plan, and the findings say so.
pub(crate) fn make(input: Input<'_>) -> Result<Plan, Vec<Finding>> {
    let Input { host, found, options, placed, .. } = input;
    let mut findings = findings(input.known());
    findings.extend(rules::owners(host, &placed.owners));
    let built = place::decide(
        options.build_on,
        host.toplevel.as_ref().and_then(|toplevel| toplevel.system.as_deref()),
        Some(&found.system()),
        input.workstation,
    );
    findings.extend(built.as_ref().err().map(|why| rules::build_nowhere(why)));
    sort(&mut findings);
    let (Some(toplevel), Some(disko), Some(expected)) =
        (&host.toplevel, host.disko(), Expected::of(host))
    else {
        return Err(findings);
    };
    let mut expected = expected;
    if options.accept.iter().any(|code| code == rules::KEEP_DEGRADED) {
        expected.degraded = host.kept.pools.iter().cloned().collect();
    }
    let image = input.image.filter(|_| !found.is_installer()).cloned();
    let named = input.image_named.filter(|_| !found.is_installer()).map(str::to_owned);
    let named = named.or_else(|| image.as_ref().map(|image| image.sha256.clone()));
    let built = built.unwrap_or_else(|why| BuildPlace { place: Place::Local, why });
    let decided = step::Decided { toplevel, disko: &disko, image, built: &built, expected };
    let steps = step::of_an_install(&input, decided);
    Ok(Plan {
        host: host.attribute.clone(),
        target: input.destination.clone(),
        first_contact: input.first_contact.map(str::to_owned),
        toplevel: toplevel.out.clone(),
        disko: disko.derivation.out,
        disks: disk::planned_disks(host, found),
        pools: capacity::planned_pools(host, found),
        kept: kept_pools(host, found),
        findings,
        accepted: options.accept.clone(),
        files: placed.files.clone(),
        disk_keys: placed.disk_keys.clone(),
        content: placed.content.clone(),
        image: named,
        boot: found.boot.clone(),
        built,
        steps,
    })
}

/// Features of pools that the host's ZFS does not know, by their short names.
pub(crate) fn lacking_features(host: &HostFacts) -> Vec<&'static str> {
    feature::lacking(host.zfs_version.as_deref())
}

/// One key is enough to know the machine by; an Ed25519 key is made in no time on any board. sshd makes
/// the others itself when it first starts.
fn host_key_plan(
    host: &HostFacts,
    supplied: Option<&str>,
    options: &InstallOptions,
) -> HostKeyPlan {
    if options.copy_host_keys {
        return HostKeyPlan::Copy;
    }
    let kind = supplied.map(host_key::kind);
    match (host.host_key(kind), supplied) {
        (Some(key), Some(public)) => HostKeyPlan::Place { key, public: public.to_owned() },
        (Some(key), None) => HostKeyPlan::Create(key),
        // A finding refuses this plan: there is no place for the key.
        (None, _) => HostKeyPlan::Copy,
    }
}

/// Refuses if any finding stands in the way. What each of them is was said before: only the codes are repeated.
pub(crate) fn refuse(findings: &[Finding], accepted: &[String]) -> Result<(), Failure> {
    let refusing: Vec<_> = findings.iter().filter(|finding| finding.refuses(accepted)).collect();
    let mut codes: Vec<_> =
        refusing.iter().map(|finding| format!("[{}]", finding.kind.code)).collect();
    codes.dedup();
    let what = match &codes[..] {
        [] => return Ok(()),
        [only] => format!("the install is refused because of {only}"),
        several => {
            format!(
                "the install is refused because of {} findings: {}",
                refusing.len(),
                several.join(" ")
            )
        }
    };
    let acceptable = refusing.iter().filter(|finding| finding.kind.acceptable);
    let mut acceptable: Vec<&str> = acceptable.map(|finding| finding.kind.code).collect();
    let mut hint = "fix what is listed above, and run the same command again".to_owned();
    if acceptable.len() == refusing.len() {
        acceptable.dedup();
        let _ = write!(hint, "; to continue anyway: --accept {}", acceptable.join(","));
    }
    Err(Failure::new(Exit::Refused, what).hint(hint))
}
