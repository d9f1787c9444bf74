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
pub(crate) mod rules;
mod step;
mod terms;
#[cfg(test)]
pub(crate) mod worlds;

pub use capacity::PlannedPool;
pub use compare::Made;
pub use consent::{Agreed, Agreement, How, WipeConsent};
pub use disk::{Action, PlannedDisk};
pub use document::PLAN_VERSION;
pub use expected::Expected;
pub use keep::{Becomes, KeptDataset, KeptPool, kept_pools};
pub use place::{BuildOn, BuildPlace, Place};
pub use rules::{
    Built, ERASE_FIRMWARE, Keys, Unfinished, built_findings, findings, host_findings, key_findings,
};
pub use step::{HostKeyPlan, Step};
pub use terms::{AgreedDisk, AgreedPool, Content, SeenDisk, Sighting, Terms};

use crate::facts::{HostFacts, TargetFacts, WorkstationFacts};
use crate::findings::{Finding, sort};
use crate::machine::{Destination, Image};
use crate::nix::StorePath;
use crate::report::{Exit, Failure};
use crate::secrets::{Owner, host_key};
use std::fmt::Write as _;

/// Everything that will be done. It leaves no meaningful choice to be made while it is carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The host, as the user named it.
    pub host: String,
    /// Where it will be installed.
    pub target: Destination,
    /// The fingerprint of the target's host key, where nobody has met it before.
    pub first_contact: Option<String>,
    /// The system it will run.
    pub toplevel: StorePath,
    /// The script that lays out its disks.
    pub disko: StorePath,
    /// What becomes of each disk.
    pub disks: Vec<PlannedDisk>,
    /// The pools that the layout makes, with what they will hold.
    pub pools: Vec<PlannedPool>,
    /// The pools that are kept.
    pub kept: Vec<KeptPool>,
    /// What was found, errors first.
    pub findings: Vec<Finding>,
    /// Codes of errors that the user takes upon themselves.
    pub accepted: Vec<String>,
    /// Files that are placed for the first boot: path, mode and owner in words.
    pub files: Vec<String>,
    /// Where keys of disks are placed in the installer.
    pub disk_keys: Vec<String>,
    /// Stands for the content of all that is placed.
    pub content: Option<String>,
    /// By what the kexec image is agreed to, where one is needed: its SHA-256, or else where it comes from.
    pub image: Option<String>,
    /// The boot under which the disks were seen.
    pub boot: String,
    /// Where the system is built.
    pub built: BuildPlace,
    /// The steps, in order; always all of them, wherever the target happens to be.
    pub steps: Vec<Step>,
}

/// What the user decided about an install, beyond host and target.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Who builds the system.
    pub build_on: BuildOn,
    /// Where private inputs are fetched from by a target that evaluates the flake itself; none if it does not.
    pub fetched_there: Option<Vec<String>>,
    /// By what the kexec image is agreed to, if not by its own digest.
    pub image_named: Option<String>,
    /// Options for `kexec` itself.
    pub kexec_extra_flags: String,
    /// Whether the installed system keeps the host keys the target has now.
    pub copy_host_keys: bool,
    /// Public keys that may log in to the installed system as root, beyond its configuration.
    pub authorize: Vec<String>,
    /// Codes of errors that the user takes upon themselves.
    pub accept: Vec<String>,
    /// Files that are placed for the first boot: path, mode and owner in words.
    pub files: Vec<String>,
    /// Who is to own some of them.
    pub owners: Vec<Owner>,
    /// Stands for the content of all that is placed, keys of disks included; none if nothing is.
    pub content: Option<String>,
}

/// The target, as it was met.
#[derive(Debug, Clone, Copy)]
pub struct Met<'a> {
    /// Where it is.
    pub destination: &'a Destination,
    /// What it is.
    pub found: &'a TargetFacts,
    /// The fingerprint of its host key, where nobody has met it before.
    pub first_contact: Option<&'a str>,
    /// What an unfinished run has done to its disks.
    pub unfinished: Unfinished<'a>,
}

/// Makes the plan; what stands in its way is among its findings. Only of a host without a toplevel or a disko
/// script there is no plan, and the findings say so.
pub fn make(
    host: &HostFacts,
    met: Met<'_>,
    image: Option<Image>,
    keys: Keys<'_>,
    wishes: &Wishes,
    workstation: &WorkstationFacts,
) -> Result<Plan, Vec<Finding>> {
    let Met { destination, found, first_contact, unfinished } = met;
    let mut findings = findings(host, Some(found), image.as_ref(), Some(keys), unfinished);
    findings.extend(rules::owners(host, &wishes.owners));
    let built = place::decide(
        wishes.build_on,
        host.toplevel.as_ref().and_then(|toplevel| toplevel.system.as_deref()),
        Some(&found.system()),
        workstation,
    );
    findings.extend(built.as_ref().err().map(|why| rules::build_nowhere(why)));
    sort(&mut findings);
    let (Some(toplevel), Some(disko), Some(expected)) =
        (&host.toplevel, host.disko(), Expected::of(host))
    else {
        return Err(findings);
    };
    let mut expected = expected;
    if wishes.accept.iter().any(|code| code == rules::KEEP_DEGRADED) {
        expected.degraded = host.kept.pools.iter().cloned().collect();
    }
    let pools: Vec<String> = host.pools.iter().flat_map(|pools| pools.keys().cloned()).collect();
    let image = image.filter(|_| !found.is_installer());
    let named = wishes.image_named.clone().filter(|_| !found.is_installer());
    let named = named.or_else(|| image.as_ref().map(|image| image.sha256.clone()));
    let mount = host.mount_script.clone();
    let format = host.kept.format_script.clone();
    let (script, disko) = (disko.clone(), disko.derivation);
    let built = built.unwrap_or_else(|why| BuildPlace { place: Place::Local, why });
    let place = built.place;
    let mut steps = vec![
        Step::Build {
            toplevel: toplevel.clone(),
            disko: disko.clone(),
            others: mount.iter().chain(&format).cloned().collect(),
            image,
            built: built.clone(),
        },
        Step::Kexec { extra_flags: wishes.kexec_extra_flags.clone() },
        Step::Disko { script, mount, format, pools, place },
        Step::Copy { toplevel: toplevel.clone(), place },
        Step::Install {
            toplevel: toplevel.out.clone(),
            host_keys: host_key_plan(host, keys.brought, wishes),
            authorize: wishes.authorize.clone(),
            files: wishes.files.clone(),
        },
        Step::Reboot {
            toplevel: toplevel.out.clone(),
            boot_loader: host.boot_loader,
            file_systems: host.file_systems.clone(),
        },
        Step::Verify { expected: Box::new(expected) },
    ];
    if let Some(private) = wishes.fetched_there.clone() {
        let (toplevel, attribute) = (toplevel.clone(), host.recipe.clone());
        // In the installer, before the disks are touched.
        steps.insert(2, Step::Evaluate { toplevel, attribute, private });
    }
    Ok(Plan {
        host: host.attribute.clone(),
        target: destination.clone(),
        first_contact: first_contact.map(str::to_owned),
        toplevel: toplevel.out.clone(),
        disko: disko.out,
        disks: disk::planned_disks(host, found),
        pools: capacity::planned_pools(host, found),
        kept: kept_pools(host, found),
        findings,
        accepted: wishes.accept.clone(),
        files: wishes.files.clone(),
        disk_keys: host.kept.keys.clone(),
        content: wishes.content.clone(),
        image: named,
        boot: found.boot.clone(),
        built,
        steps,
    })
}

/// Features of pools that the host's ZFS does not know, by their short names.
pub fn lacking_features(host: &HostFacts) -> Vec<&'static str> {
    feature::lacking(host.zfs_version.as_deref())
}

/// One key is enough to know the machine by; an Ed25519 key is made in no time on any board. sshd makes
/// the others itself when it first starts.
fn host_key_plan(host: &HostFacts, brought: Option<&str>, wishes: &Wishes) -> HostKeyPlan {
    if wishes.copy_host_keys {
        return HostKeyPlan::Copy;
    }
    let kind = brought.map(host_key::kind);
    match (host.host_key(kind), brought) {
        (Some(key), Some(public)) => HostKeyPlan::Place { key, public: public.to_owned() },
        (Some(key), None) => HostKeyPlan::Create(key),
        // A finding refuses this plan: there is no place for the key.
        (None, _) => HostKeyPlan::Copy,
    }
}

/// Refuses if any finding stands in the way. What each of them is was said before: only the codes are repeated.
pub fn refuse(findings: &[Finding], accepted: &[String]) -> Result<(), Failure> {
    let refusing: Vec<_> = findings.iter().filter(|finding| finding.refuses(accepted)).collect();
    let codes: Vec<_> = refusing.iter().map(|finding| format!("[{}]", finding.kind.code)).collect();
    let what = match &codes[..] {
        [] => return Ok(()),
        [only] => format!("the install is refused because of {only}"),
        several => {
            format!(
                "the install is refused because of {} things: {}",
                codes.len(),
                several.join(" ")
            )
        }
    };
    let acceptable = refusing.iter().filter(|finding| finding.kind.acceptable);
    let acceptable: Vec<&str> = acceptable.map(|finding| finding.kind.code).collect();
    let mut hint = "mend what is said above, and run the same command again".to_owned();
    if acceptable.len() == refusing.len() {
        let _ = write!(hint, "; to go on all the same: --accept {}", acceptable.join(","));
    }
    Err(Failure::new(Exit::Refused, what).hint(hint))
}
