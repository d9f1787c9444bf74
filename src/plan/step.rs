//! The steps, with everything they will need.

use super::{BuildPlace, Expected, Place};
use crate::facts::{BootLoader, DeclaredFileSystem, DeclaredHostKey, DiskoScript};
use crate::machine::{Image, fingerprint};
use crate::nix::{Derivation, StorePath};
use crate::report::size;
use std::collections::BTreeMap;

/// A step with its planned data. Their names are upstream's phases, where those exist.
#[derive(Debug, Clone)]
pub enum Step {
    /// Builds what was evaluated; meanwhile the kexec image goes up.
    Build {
        /// The system.
        toplevel: Derivation,
        /// The script that lays out the disks.
        disko: Derivation,
        /// disko's other scripts that are needed: to mount them again, to create only what is missing.
        others: Vec<Derivation>,
        /// The image, where one is needed.
        image: Option<Image>,
        /// Where it is built.
        built: BuildPlace,
    },
    /// Leaves the old system for the installer.
    Kexec {
        /// Options of the user's for `kexec`.
        extra_flags: String,
    },
    /// Has the target evaluate the flake, in the installer's memory.
    Evaluate {
        /// The system it must come to.
        toplevel: Derivation,
        /// The flake's attribute for the path of its recipe.
        attribute: String,
        /// Where private inputs are fetched from, with the forwarded agent.
        private: Vec<String>,
    },
    /// Lays out the disks.
    Disko {
        /// What to run.
        script: DiskoScript,
        /// What to run to find an earlier layout again after the installer was restarted.
        mount: Option<Derivation>,
        /// Where something is kept: what to run to create only what is missing, instead of `script`.
        format: Option<Derivation>,
        /// The pools it is to make.
        pools: Vec<String>,
        /// Where the script is built.
        place: Place,
    },
    /// Brings the system's closure onto the new disks.
    Copy {
        /// The system.
        toplevel: Derivation,
        /// Where it is built.
        place: Place,
    },
    /// Makes the copied system the one that boots.
    Install {
        /// The system.
        toplevel: StorePath,
        /// The host keys it will have.
        host_keys: HostKeyPlan,
        /// Public keys that may log in as root, beyond what the configuration says.
        authorize: Vec<String>,
        /// Files that are placed before: path, mode and owner in words.
        files: Vec<String>,
    },
    /// Proves that the installed system will start, lets go of the disks, and restarts the machine.
    Reboot {
        /// The system.
        toplevel: StorePath,
        /// Who will start it, where that is known.
        boot_loader: Option<BootLoader>,
        /// What it will mount, where that is known.
        file_systems: Option<BTreeMap<String, DeclaredFileSystem>>,
    },
    /// Sees the installed system running.
    Verify {
        /// What it must be.
        expected: Box<Expected>,
    },
}

/// Where the installed system's host keys come from; they are known before it boots.
#[derive(Debug, Clone)]
pub enum HostKeyPlan {
    /// The installer's own, which are those the target had before.
    Copy,
    /// A new one, made on the target: type and path.
    Create(DeclaredHostKey),
    /// One that is supplied; whoever carries it out has the private half.
    Place {
        /// Its type and path.
        key: DeclaredHostKey,
        /// Its public half, `type base64`.
        public: String,
    },
}

impl Step {
    /// Its name: on the command line, in events, in reports.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Build { .. } => "build",
            Self::Kexec { .. } => "kexec",
            Self::Evaluate { .. } => "evaluate",
            Self::Disko { .. } => "disko",
            Self::Copy { .. } => "copy",
            Self::Install { .. } => "install",
            Self::Reboot { .. } => "reboot",
            Self::Verify { .. } => "verify",
        }
    }

    /// What it is about, while it goes on.
    pub fn title(&self) -> &'static str {
        match self {
            Self::Build { image, built, .. } => match (built.place, image) {
                (Place::Target, None) => "nothing to build here, the target will",
                (Place::Target, Some(_)) => "sending the kexec image; the target will build",
                (_, None) => "building the system",
                (_, Some(_)) => "building the system, sending the kexec image",
            },
            Self::Kexec { .. } => "leaving the old system for the installer",
            Self::Evaluate { .. } => "having the target fetch and evaluate the flake",
            Self::Disko { .. } => "laying out the disks",
            Self::Copy { place: Place::Target, .. } => "building the system on the new disks",
            Self::Copy { .. } => "copying the system's closure to the new disks",
            Self::Install { .. } => "making it the system that boots",
            Self::Reboot { .. } => {
                "proving that it will start, letting go of the disks and restarting"
            }
            Self::Verify { .. } => "waiting for the installed system and looking at it",
        }
    }

    /// What it will do, in the plan.
    pub fn will(&self) -> String {
        match self {
            Self::Build { toplevel, image, built, .. } => {
                let sent = image.as_ref().map(|image| {
                    let short = image.sha256.get(..16).unwrap_or_default();
                    format!("; send the kexec image ({}, SHA-256 {short}…)", size(image.size))
                });
                let BuildPlace { place, why } = built;
                let sent = sent.unwrap_or_default();
                format!("build {} {} ({why}){sent}", toplevel.out, place.name())
            }
            Self::Kexec { .. } => {
                "leave the running system for an installer in memory, if none runs yet".to_owned()
            }
            Self::Evaluate { private, .. } if private.is_empty() => {
                "have the target evaluate the flake; it must come to the same system".to_owned()
            }
            Self::Evaluate { private, .. } => format!(
                "lend the target your agent to fetch {}, and have it evaluate the flake; it must come \
                 to the same system",
                private.join(", ")
            ),
            Self::Disko { format: Some(format), .. } => format!(
                "import the kept pools by GUID, wipe the other disks, roll the old system aside, create what is \
                 missing with {}",
                format.out
            ),
            Self::Disko { script, pools, .. } => {
                let pools = if pools.is_empty() {
                    String::new()
                } else {
                    format!(", make the pools {}", pools.join(", "))
                };
                format!("lay out the disks with {}{pools}", script.derivation.out)
            }
            Self::Copy { place: Place::Target, .. } => {
                "build it there, in the store on the new disks: a build that fails does so when \
                 they are erased already"
                    .to_owned()
            }
            Self::Copy { toplevel, .. } => {
                format!("copy the closure of {} to the new disks", toplevel.out)
            }
            Self::Install { host_keys, files, .. } => {
                let keys = match host_keys {
                    HostKeyPlan::Copy => "keep the host keys".to_owned(),
                    HostKeyPlan::Create(key) => format!("make the host key {}", key.path),
                    HostKeyPlan::Place { key, public } => {
                        let print = fingerprint(public).unwrap_or_default();
                        format!("place the host key {} ({print})", key.path)
                    }
                };
                format!("{keys}, {}run nixos-install", placing(files))
            }
            Self::Reboot { .. } => {
                "prove that it will boot, export the pools, restart the machine".to_owned()
            }
            Self::Verify { expected } => format!("see it running {}", expected.toplevel),
        }
    }
}

/// Few files are named, of many the number is told; the plan's JSON form has them all.
fn placing(files: &[String]) -> String {
    match files {
        [] => String::new(),
        few if few.len() <= 6 => format!("place {}, ", few.join(", ")),
        many => format!("place {} files, ", many.len()),
    }
}
