//! The steps of an install, each with everything it will need and what it will do, in words. How it is carried out stands in the
//! file of the same name in `steps/`.

use super::{BuildPlace, Expected, Input, Place, Readiness, host_key_plan};
use crate::facts::{DeclaredHostKey, DiskoScript};
use crate::machine::{Image, fingerprint};
use crate::nix::{Derivation, StorePath};
use crate::report::{StepName, size};

/// A step with its planned data.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Builds what was evaluated; meanwhile the kexec image goes up.
    Build(Build),
    /// Leaves the old system for the installer.
    Kexec(Kexec),
    /// Has the target evaluate the flake, in the installer's memory.
    Evaluate(Evaluate),
    /// Lays out the disks.
    Disko(Disko),
    /// Puts the system's closure onto the new disks.
    Copy(Copy),
    /// Makes the copied system the one that boots.
    Install(Install),
    /// Proves that the installed system will start, releases the disks, and restarts the machine.
    Reboot(Reboot),
    /// Sees the installed system running.
    Verify(Verify),
}

/// Does the same with whichever step it is.
macro_rules! each_step {
    ($step:expr, $planned:ident => $action:expr) => {
        match $step {
            $crate::plan::Step::Build($planned) => $action,
            $crate::plan::Step::Kexec($planned) => $action,
            $crate::plan::Step::Evaluate($planned) => $action,
            $crate::plan::Step::Disko($planned) => $action,
            $crate::plan::Step::Copy($planned) => $action,
            $crate::plan::Step::Install($planned) => $action,
            $crate::plan::Step::Reboot($planned) => $action,
            $crate::plan::Step::Verify($planned) => $action,
        }
    };
}
pub(crate) use each_step;

/// What the steps need beside the input, as [`make`](super::make) has decided it.
pub(super) struct Decided<'a> {
    pub(super) toplevel: &'a Derivation,
    pub(super) disko: &'a DiskoScript,
    pub(super) image: Option<Image>,
    pub(super) built: &'a BuildPlace,
    pub(super) expected: Expected,
}

/// The steps of an install, in the order in which they are carried out.
pub(super) fn of_an_install(input: &Input<'_>, decided: Decided<'_>) -> Vec<Step> {
    let Input { host, options, placed, .. } = input;
    let Decided { toplevel, disko, image, built, expected } = decided;
    let (mount, format) = (host.mount_script.clone(), host.kept.format_script.clone());
    let pools = host.pools.iter().flat_map(|pools| pools.keys().cloned()).collect();
    let place = built.place;
    let mut steps = vec![
        Step::Build(Build {
            toplevel: toplevel.clone(),
            disko: disko.derivation.clone(),
            others: mount.iter().chain(&format).cloned().collect(),
            image,
            built: built.clone(),
        }),
        Step::Kexec(Kexec { extra_flags: options.kexec_extra_flags.clone() }),
    ];
    if let Some(private) = input.private_inputs.map(<[String]>::to_vec) {
        let (toplevel, attribute) = (toplevel.clone(), host.drv_attribute.clone());
        // In the installer, before the disks are touched.
        steps.push(Step::Evaluate(Evaluate { toplevel, attribute, private }));
    }
    steps.extend([
        Step::Disko(Disko { script: disko.clone(), mount, format, pools, place }),
        Step::Copy(Copy { toplevel: toplevel.clone(), place }),
        Step::Install(Install {
            toplevel: toplevel.out.clone(),
            host_keys: host_key_plan(host, input.keys.supplied, options),
            authorize: options.authorize.clone(),
            files: placed.files.clone(),
        }),
        Step::Reboot(Reboot {
            toplevel: toplevel.out.clone(),
            readiness: Readiness::of(host, &options.accept),
        }),
        Step::Verify(Verify { expected: Box::new(expected) }),
    ]);
    steps
}

/// What a plan tells of a step.
trait Planned {
    const NAME: StepName;

    /// What it will do.
    fn will(&self) -> String;
}

impl Step {
    pub(crate) fn name(&self) -> StepName {
        fn name<P: Planned>(_: &P) -> StepName {
            P::NAME
        }
        each_step!(self, planned => name(planned))
    }

    /// What it will do.
    pub(crate) fn will(&self) -> String {
        each_step!(self, planned => planned.will())
    }
}

/// See [`Step::Build`].
#[derive(Debug, Clone)]
pub(crate) struct Build {
    /// The system.
    pub(crate) toplevel: Derivation,
    /// The script that lays out the disks.
    pub(crate) disko: Derivation,
    /// disko's other scripts that are needed: to mount them again, to create only what is missing.
    pub(crate) others: Vec<Derivation>,
    /// The image, where one is needed.
    pub(crate) image: Option<Image>,
    /// Where it is built.
    pub(crate) built: BuildPlace,
}

impl Planned for Build {
    const NAME: StepName = StepName::Build;

    fn will(&self) -> String {
        let sent = self.image.as_ref().map(|image| {
            let short = image.sha256.get(..16).unwrap_or_default();
            format!("; send the kexec image ({}, SHA-256 {short}…)", size(image.size))
        });
        let BuildPlace { place, why } = &self.built;
        let sent = sent.unwrap_or_default();
        format!("build {} {} ({why}){sent}", self.toplevel.out, place.name())
    }
}

/// See [`Step::Kexec`].
#[derive(Debug, Clone)]
pub(crate) struct Kexec {
    /// Options of the user's for `kexec`.
    pub(crate) extra_flags: String,
}

impl Planned for Kexec {
    const NAME: StepName = StepName::Kexec;

    fn will(&self) -> String {
        "leave the running system for an installer in memory, if none runs yet".to_owned()
    }
}

/// See [`Step::Evaluate`].
#[derive(Debug, Clone)]
pub(crate) struct Evaluate {
    /// The system it must come to.
    pub(crate) toplevel: Derivation,
    /// The flake's attribute for the path of its derivation.
    pub(crate) attribute: String,
    /// Where private inputs are fetched from, with the forwarded agent.
    pub(crate) private: Vec<String>,
}

impl Planned for Evaluate {
    const NAME: StepName = StepName::Evaluate;

    fn will(&self) -> String {
        if self.private.is_empty() {
            return "have the target evaluate the flake; the result must be the same system"
                .to_owned();
        }
        format!(
            "let the target use your agent, confined, to fetch {}, and evaluate the flake; the result must be the same \
             system",
            self.private.join(", ")
        )
    }
}

/// See [`Step::Disko`].
#[derive(Debug, Clone)]
pub(crate) struct Disko {
    /// What to run.
    pub(crate) script: DiskoScript,
    /// What to run to find an earlier layout again after the installer was restarted.
    pub(crate) mount: Option<Derivation>,
    /// Where something is kept: what to run to create only what is missing, instead of `script`.
    pub(crate) format: Option<Derivation>,
    /// The pools it is to make.
    pub(crate) pools: Vec<String>,
    /// Where the script is built.
    pub(crate) place: Place,
}

impl Planned for Disko {
    const NAME: StepName = StepName::Disko;

    fn will(&self) -> String {
        if let Some(format) = &self.format {
            return format!(
                "import the kept pools by GUID, wipe the other disks, archive the old system, create what is \
                 missing with {}",
                format.out
            );
        }
        let pools = if self.pools.is_empty() {
            String::new()
        } else {
            let pools = if self.pools.len() == 1 { "pool" } else { "pools" };
            format!(", make the {pools} {}", self.pools.join(", "))
        };
        format!("lay out the disks with {}{pools}", self.script.derivation.out)
    }
}

/// See [`Step::Copy`].
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    /// The system.
    pub(crate) toplevel: Derivation,
    /// Where it is built.
    pub(crate) place: Place,
}

impl Planned for Copy {
    const NAME: StepName = StepName::Copy;

    fn will(&self) -> String {
        if self.place == Place::Target {
            return "build the system there, in the store on the new disks; if that fails, they have been erased already"
                .to_owned();
        }
        format!("copy the closure of {} to the new disks", self.toplevel.out)
    }
}

/// See [`Step::Install`].
#[derive(Debug, Clone)]
pub(crate) struct Install {
    /// The system.
    pub(crate) toplevel: StorePath,
    /// The host keys it will have.
    pub(crate) host_keys: HostKeyPlan,
    /// Public keys that may log in as root, beyond what the configuration says.
    pub(crate) authorize: Vec<String>,
    /// Files that are placed before: path, mode and owner in words.
    pub(crate) files: Vec<String>,
}

impl Planned for Install {
    const NAME: StepName = StepName::Install;

    fn will(&self) -> String {
        let keys = match &self.host_keys {
            HostKeyPlan::Copy => "keep the host keys".to_owned(),
            HostKeyPlan::Create(key) => format!("generate the host key {}", key.path),
            HostKeyPlan::Place { key, public } => {
                let print = fingerprint(public).unwrap_or_default();
                format!("place the host key {} ({print})", key.path)
            }
        };
        format!("{keys}, {}run nixos-install", placing(&self.files))
    }
}

/// See [`Step::Reboot`].
#[derive(Debug, Clone)]
pub(crate) struct Reboot {
    /// The system.
    pub(crate) toplevel: StorePath,
    /// What is proven.
    pub(crate) readiness: Readiness,
}

impl Planned for Reboot {
    const NAME: StepName = StepName::Reboot;

    fn will(&self) -> String {
        let accepted = match &self.readiness.accepted[..] {
            [] => String::new(),
            codes => format!(" (restart even if that finds {})", codes.join(", ")),
        };
        format!("prove that the system will boot{accepted}, export the pools, restart the machine")
    }
}

/// See [`Step::Verify`].
#[derive(Debug, Clone)]
pub(crate) struct Verify {
    /// What it must be.
    pub(crate) expected: Box<Expected>,
}

impl Planned for Verify {
    const NAME: StepName = StepName::Verify;

    fn will(&self) -> String {
        format!("see the machine running {}", self.expected.toplevel)
    }
}

/// Where the installed system's host keys come from; they are known before it boots.
#[derive(Debug, Clone)]
pub(crate) enum HostKeyPlan {
    /// The installer's own, which are those the target had before.
    Copy,
    /// A new one, made on the target: type and path.
    Create(DeclaredHostKey),
    /// One that is supplied; the code that carries it out has the private half.
    Place {
        /// Its type and path.
        key: DeclaredHostKey,
        /// Its public half, `type base64`.
        public: String,
    },
}

/// Few files are named, of many the number is given; the plan's JSON form has them all.
fn placing(files: &[String]) -> String {
    match files {
        [] => String::new(),
        few if few.len() <= 6 => format!("place {}, ", few.join(", ")),
        many => format!("place {} files, ", many.len()),
    }
}
