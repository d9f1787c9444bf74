//! The steps, carried out by one loop: already true? → act and prove → say so.
//!
//! Each step has its file, which opens with what it changes on the target, what happens if it is cut in the
//! middle, and how it is tried again.

mod build;
mod copy;
mod disko;
mod install;
mod kexec;
mod reboot;
mod situation;
mod verify;

pub use situation::{Situation, State};

use crate::facts::{InstalledFacts, TargetFacts};
use crate::machine::{NotBack, Patience, Target};
use crate::nix::Nix;
use crate::plan::{Plan, Step, WipeConsent};
use crate::report::{Boots, Event, Exit, Failure, Report, StepTime, Summary, Tally};
use anyhow::Result;
use std::time::{Duration, Instant};

/// What the steps work with; the only thing that changes while a plan is carried out.
pub struct World {
    /// The workstation's Nix.
    pub nix: Nix,
    /// The machine.
    pub target: Target,
    /// What was found on it, under its present boot.
    pub found: TargetFacts,
    /// Which disks may be erased.
    pub consent: WipeConsent,
    /// How long a boot may take.
    pub boot_deadline: Duration,
    /// Who is told.
    pub report: Report,
    /// What it costs.
    pub tally: Tally,
    /// In which state the target is.
    pub situation: Situation,
    seen: Seen,
}

/// What was seen on the way.
#[derive(Default)]
struct Seen {
    boots: Boots,
    host_keys: Vec<String>,
    installed: Option<InstalledFacts>,
    times: Vec<StepTime>,
}

impl World {
    /// A world in which nothing has happened yet.
    #[allow(clippy::too_many_arguments, reason = "each is one thing the steps work with")]
    pub fn new(
        nix: Nix,
        target: Target,
        found: TargetFacts,
        consent: WipeConsent,
        boot_deadline: Duration,
        report: Report,
        tally: Tally,
        situation: Situation,
    ) -> Self {
        let mut seen = Seen::default();
        let boot = Some(found.boot.clone());
        if found.is_installer() {
            seen.boots.installer = boot;
            situation.is_now(State::Installer);
        } else {
            seen.boots.rescue = boot;
        }
        Self { nix, target, found, consent, boot_deadline, report, tally, situation, seen }
    }

    /// A listener that shows a job's output as coming from `source`.
    fn hear(&self, source: &'static str) -> impl FnMut(&str) + Send + use<> {
        let report = self.report.clone();
        move |line| report.emit(Event::Output { source, text: line.to_owned() })
    }

    /// Waits until the target has booted into something else.
    async fn await_boot(&mut self, what: &str) -> Result<(), NotBack> {
        let report = self.report.clone();
        let deadline = self.boot_deadline;
        let mut on_wait = |seconds: u64, seen: &str| {
            report.emit(Event::Waiting {
                what: what.to_owned(),
                seconds,
                deadline: deadline.as_secs(),
                seen: seen.to_owned(),
            });
        };
        self.target.await_new_boot(Patience { deadline, on_wait: &mut on_wait }).await
    }
}

/// Carries the plan out.
pub async fn carry_out(plan: &Plan, mut world: World) -> Result<Summary, Failure> {
    for step in &plan.steps {
        let name = step.name();
        if let Some(why) = already_true(step, &world) {
            world.report.emit(Event::StepSkipped { step: name, why });
            continue;
        }
        world.report.emit(Event::StepStarted { step: name, title: step.title() });
        let start = Instant::now();
        let done = act(step, &mut world).await;
        if let Err(error) = done {
            let failure = explain(step, error, &world);
            return Err(failure.having_seen(summary(plan, world, false)));
        }
        let seconds = start.elapsed().as_secs_f64();
        world.seen.times.push(StepTime { name, seconds });
        world.report.emit(Event::StepFinished { step: name, seconds });
    }
    Ok(summary(plan, world, true))
}

/// Observation beats memory: what the target shows to be done is not done again.
fn already_true(step: &Step, world: &World) -> Option<String> {
    let is_there = matches!(step, Step::Kexec { .. }) && world.found.is_installer();
    is_there.then(|| "the target runs an installer already".to_owned())
}

async fn act(step: &Step, world: &mut World) -> Result<()> {
    match step {
        Step::Build { toplevel, disko, image } => {
            build::run(world, &[toplevel, disko], image.as_ref()).await
        }
        Step::Kexec { extra_flags } => kexec::run(world, extra_flags).await,
        Step::Disko { script, pools } => disko::run(world, script, pools).await,
        Step::Copy { toplevel } => copy::run(world, toplevel).await,
        Step::Install { toplevel, host_keys, authorize } => {
            install::run(world, toplevel, host_keys, authorize).await
        }
        Step::Reboot => reboot::run(world).await,
        Step::Verify { toplevel, host_name, pools } => {
            verify::run(world, toplevel, host_name.as_deref(), pools).await
        }
    }
}

/// Turns a step's error into what the user reads.
fn explain(step: &Step, error: anyhow::Error, world: &World) -> Failure {
    let (exit, what, hint) = match step {
        Step::Build { .. } => (
            Exit::Build,
            "the system could not be built, or the kexec image not be sent",
            "mend it and run the same command again",
        ),
        Step::Kexec { .. } => (
            Exit::Kexec,
            "the target did not reach the installer",
            "look at its console; some machines cannot kexec: boot them into an installer from SD card \
             or USB and run the same command again",
        ),
        Step::Disko { .. } => (
            Exit::Disko,
            "the disks could not be laid out",
            "read the log; once mended, run the same command again",
        ),
        Step::Copy { .. } => {
            (Exit::Install, "the closure could not be copied", "run the same command again")
        }
        Step::Install { .. } => (
            Exit::Install,
            "the system could not be installed",
            "read the log; once mended, run the same command again",
        ),
        Step::Reboot => (
            Exit::Install,
            "the machine was not restarted, because its disks could not be let go of",
            "end what holds them (log in to the installer), then run `zpool export -a` and `reboot` there",
        ),
        Step::Verify { .. } => {
            (Exit::NotBack, "the target did not come back as planned", "look at its console")
        }
    };
    let exit = match error.downcast_ref::<NotBack>() {
        Some(NotBack::OtherMachine(_)) => Exit::Identity,
        _ => exit,
    };
    Failure::new(exit, what).because(error).hint(hint).leaving(world.situation.now().to_string())
}

fn summary(plan: &Plan, world: World, verified: bool) -> Summary {
    let World { seen, tally, .. } = world;
    let installed = seen.installed.unwrap_or_default();
    Summary {
        host: plan.host.clone(),
        evaluations: tally.evaluations(),
        handshakes: tally.handshakes(),
        bytes_sent: tally.bytes_sent(),
        peak_memory_bytes: tally.peak_memory(),
        steps: seen.times,
        boots: seen.boots,
        planned_toplevel: plan.toplevel.to_string(),
        verified,
        running_toplevel: Some(installed.toplevel).filter(|path| !path.is_empty()),
        pools: installed.pools,
        host_keys: seen.host_keys,
        firmware_region_unchanged: None,
    }
}
