//! What will be done, decided before anything is: pure functions of what was declared and found.

mod consent;
mod findings;

pub use consent::WipeConsent;
pub use findings::{CATALOGUE, Finding, Kind, Severity, findings, host_findings};

use crate::facts::{DeclaredHostKey, Disk, DiskoScript, HostFacts, TargetFacts};
use crate::machine::{Destination, Image};
use crate::nix::{Derivation, StorePath};
use crate::report::{Exit, Failure};

/// Everything that will be done. It leaves no meaningful choice to be made while it is carried out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The host, as the user named it.
    pub host: String,
    /// Where it will be installed.
    pub target: Destination,
    /// The system it will run.
    pub toplevel: StorePath,
    /// The disks that are erased.
    pub disks: Vec<WipedDisk>,
    /// The steps, in order; always all of them, wherever the target happens to be.
    pub steps: Vec<Step>,
}

/// A disk that the layout erases.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WipedDisk {
    /// Its name in the layout.
    pub name: String,
    /// Its path in the layout.
    pub device: String,
    /// What is there, if it can be seen already.
    pub found: Option<Disk>,
}

/// A step with its planned data. Their names are upstream's phases, where those exist.
#[derive(Debug, Clone)]
pub enum Step {
    /// Builds what was evaluated; meanwhile the kexec image goes up.
    Build {
        /// The system.
        toplevel: Derivation,
        /// The script that lays out the disks.
        disko: Derivation,
        /// The image, where one is needed.
        image: Option<Image>,
    },
    /// Leaves the old system for the installer.
    Kexec {
        /// Options of the user's for `kexec`.
        extra_flags: String,
    },
    /// Lays out the disks.
    Disko {
        /// What to run.
        script: DiskoScript,
        /// The pools it is to make.
        pools: Vec<String>,
    },
    /// Copies the system's closure onto the new disks.
    Copy {
        /// The system.
        toplevel: StorePath,
    },
    /// Makes the copied system the one that boots.
    Install {
        /// The system.
        toplevel: StorePath,
        /// The host keys it will have.
        host_keys: HostKeyPlan,
        /// Public keys that may log in as root, beyond what the configuration says.
        authorize: Vec<String>,
    },
    /// Lets go of the disks, proves it, and restarts the machine.
    Reboot,
    /// Sees the installed system running.
    Verify {
        /// What must run.
        toplevel: StorePath,
        /// What it must be called.
        host_name: Option<String>,
        /// The pools it must have.
        pools: Vec<String>,
    },
}

/// Where the installed system's host keys come from; they are known before it boots.
#[derive(Debug, Clone)]
pub enum HostKeyPlan {
    /// The installer's own, which are those the target had before.
    Copy,
    /// A new one, made on the target: type and path.
    Create(DeclaredHostKey),
}

impl Step {
    /// Its name: on the command line, in events, in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::Kexec { .. } => "kexec",
            Self::Disko { .. } => "disko",
            Self::Copy { .. } => "copy",
            Self::Install { .. } => "install",
            Self::Reboot => "reboot",
            Self::Verify { .. } => "verify",
        }
    }

    /// What it does, for people.
    pub fn title(&self) -> String {
        match self {
            Self::Build { image: None, .. } => "building the system".to_owned(),
            Self::Build { .. } => "building the system, sending the kexec image".to_owned(),
            Self::Kexec { .. } => "leaving the old system for the installer".to_owned(),
            Self::Disko { .. } => "laying out the disks".to_owned(),
            Self::Copy { .. } => "copying the system's closure to the new disks".to_owned(),
            Self::Install { .. } => "making it the system that boots".to_owned(),
            Self::Reboot => "letting go of the disks and restarting".to_owned(),
            Self::Verify { .. } => "waiting for the installed system and looking at it".to_owned(),
        }
    }
}

/// What the user decided about an install, beyond host and target.
#[derive(Debug, Clone, Default)]
pub struct Wishes {
    /// Options for `kexec` itself.
    pub kexec_extra_flags: String,
    /// Whether the installed system keeps the host keys the target has now.
    pub copy_host_keys: bool,
    /// Public keys that may log in to the installed system as root, beyond its configuration.
    pub authorize: Vec<String>,
}

/// Makes the plan, or refuses with everything that forbids it.
pub fn make(
    host: &HostFacts,
    found: &TargetFacts,
    target: &Destination,
    image: Option<Image>,
    wishes: &Wishes,
) -> Result<Plan, Failure> {
    let findings = findings(host, Some(found), image.as_ref(), false);
    let (Some(toplevel), Some(disko), []) = (&host.toplevel, host.disko(), &findings[..]) else {
        return Err(refuse(&findings));
    };
    let disks = host.wiped_disks().map(|(name, disk)| WipedDisk {
        name: name.clone(),
        device: disk.device.clone(),
        found: found.disk(&disk.device).cloned(),
    });
    let pools: Vec<String> = host.pools.iter().flat_map(|pools| pools.keys().cloned()).collect();
    let image = image.filter(|_| !found.is_installer());
    let steps = vec![
        Step::Build { toplevel: toplevel.clone(), disko: disko.derivation.clone(), image },
        Step::Kexec { extra_flags: wishes.kexec_extra_flags.clone() },
        Step::Disko { script: disko, pools: pools.clone() },
        Step::Copy { toplevel: toplevel.out.clone() },
        Step::Install {
            toplevel: toplevel.out.clone(),
            host_keys: host_key_plan(host, wishes),
            authorize: wishes.authorize.clone(),
        },
        Step::Reboot,
        Step::Verify {
            toplevel: toplevel.out.clone(),
            host_name: host.host_name.clone().filter(|name| !name.is_empty()),
            pools,
        },
    ];
    Ok(Plan {
        host: host.attribute.clone(),
        target: target.clone(),
        toplevel: toplevel.out.clone(),
        disks: disks.collect(),
        steps,
    })
}

/// One key is enough to know the machine by; an Ed25519 key is made in no time on any board. sshd makes
/// the others itself when it first starts.
fn host_key_plan(host: &HostFacts, wishes: &Wishes) -> HostKeyPlan {
    if wishes.copy_host_keys {
        return HostKeyPlan::Copy;
    }
    let declared = host.host_keys.as_deref().unwrap_or_default();
    let key = declared.iter().find(|key| key.kind == "ed25519").or(declared.first()).cloned();
    HostKeyPlan::Create(key.unwrap_or_else(|| DeclaredHostKey {
        path: "/etc/ssh/ssh_host_ed25519_key".to_owned(),
        kind: "ed25519".to_owned(),
    }))
}

/// Refuses a host that cannot be installed anywhere, before a target is looked at.
pub fn check_host(host: &HostFacts) -> Result<(), Failure> {
    match host_findings(host) {
        findings if findings.is_empty() => Ok(()),
        findings => Err(refuse(&findings)),
    }
}

fn refuse(findings: &[Finding]) -> Failure {
    let said = |finding: &Finding| format!("{} [{}]", finding.what, finding.kind.code);
    let what = match findings {
        [only] => said(only),
        several => {
            let lines: Vec<String> = several.iter().map(said).collect();
            format!("{} things forbid the install:\n- {}", several.len(), lines.join("\n- "))
        }
    };
    let mut hints: Vec<&str> = findings.iter().map(|finding| finding.hint.as_str()).collect();
    hints.dedup();
    Failure::new(Exit::Refused, what).hint(hints.join("\n"))
}
