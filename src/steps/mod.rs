//! The steps, carried out by one loop: already true? → act and prove → say so.
//!
//! Each step has its file, which opens with what it changes on the target, what happens if it is cut in the
//! middle, and how it is tried again.

mod build;
mod copy;
mod disko;
mod evaluate;
mod firmware;
mod install;
mod kexec;
mod lay_out;
mod reboot;
mod residue;
mod situation;
mod trial;
mod verify;

pub use situation::{Situation, State};

use crate::facts::{HostFacts, InstalledFacts, TargetFacts};
use crate::findings::Finding;
use crate::journal::Journal;
use crate::machine::{HostKeys, Job, NotBack, Script, Target};
use crate::nix::Nix;
use crate::plan::{self, Made, Place, Plan, Step, Unfinished, WipeConsent};
use crate::prepare::{Contact, Inputs, Prepared, Workstation};
use crate::report::{Boots, Event, Exit, Failure, Report, StepTime, Summary, Tally};
use crate::secrets::{DiskKeys, Files, HostKey};
use anyhow::{Context, Result, anyhow};
use std::time::Instant;

/// What the steps work with; the only thing that changes while a plan is carried out.
pub struct World {
    /// The workstation's Nix.
    pub nix: Nix,
    /// What the flake declares.
    pub host: HostFacts,
    /// The machine.
    pub target: Target,
    /// What was found on it, under its present boot.
    pub found: TargetFacts,
    /// Whether what answers is the installed system already.
    pub installed: bool,
    /// Which disks may be erased.
    pub consent: WipeConsent,
    /// Codes of errors that the user takes upon themselves.
    pub accept: Vec<String>,
    /// The host key that is supplied, if one is.
    pub host_key: Option<HostKey>,
    /// Keys of encrypted disks and pools.
    pub disk_keys: DiskKeys,
    /// Public keys that may log in as root, beyond the configuration.
    pub authorized: Vec<String>,
    /// What evaluating on the target takes, where it does.
    pub inputs: Option<Inputs>,
    /// Files that are placed for the first boot.
    pub files: Files,
    /// What must be remembered.
    pub journal: Journal,
    /// Who is told.
    pub report: Report,
    /// What it costs.
    pub tally: Tally,
    /// In which state the target is.
    pub situation: Situation,
    /// What was seen on the way.
    pub seen: Seen,
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub struct Seen {
    boots: Boots,
    host_keys: Vec<String>,
    /// Where the kexec image lies.
    image_directory: Option<String>,
    old_keys: Option<HostKeys>,
    installed: Option<InstalledFacts>,
    times: Vec<StepTime>,
    /// Sockets of a forwarded agent on the target.
    agent_sockets: Vec<String>,
    residue: Vec<String>,
}

/// The disks are not what was agreed on.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotAgreed(String);

/// What was found on the way forbids the install; with what to do.
#[derive(Debug, thiserror::Error)]
#[error("nothing was erased")]
struct Refused(String);

impl World {
    /// What was prepared, with whoever answers.
    pub fn new(
        prepared: Prepared,
        contact: Contact,
        installed: bool,
        consent: WipeConsent,
        journal: Journal,
        report: &Report,
        situation: &Situation,
    ) -> Self {
        let Prepared { workstation, host, host_key, files, disk_keys, inputs, options, .. } =
            prepared;
        let Workstation { nix, tally } = workstation;
        Self {
            nix,
            host,
            target: contact.target,
            found: contact.found,
            installed,
            consent,
            accept: options.accept,
            host_key: host_key.and_then(|supplied| supplied.key),
            disk_keys,
            authorized: options.authorize,
            inputs,
            files,
            journal,
            report: report.clone(),
            tally,
            situation: situation.clone(),
            seen: Seen::default(),
        }
    }

    /// Notes which system answers.
    fn look_around(&mut self) {
        let boot = Some(self.found.boot.clone());
        if self.installed {
            self.seen.boots.installed = boot;
            self.situation.is_now(State::Running);
        } else if self.found.is_installer() {
            self.seen.boots.installer = boot;
            self.situation.is_now(State::Installer);
        } else {
            self.seen.boots.rescue = boot;
        }
    }

    /// What this run, or one that it goes on with, has done to the disks.
    fn unfinished(&self) -> Unfinished<'_> {
        self.journal.record().unfinished(&self.found.boot)
    }

    /// Whether the disks are still what was agreed on.
    fn compare(&self, found: &TargetFacts) -> Result<()> {
        let record = self.journal.record();
        let layout = record.layout.as_deref();
        let made = record.wiping.then_some(Made { host: &self.host, layout });
        self.consent
            .still_holds(&self.host, found, made)
            .map_err(|why| anyhow!(NotAgreed(format!("nothing was erased: {why}"))))
    }

    /// Says what was found, and refuses if any of it stands in the way.
    fn refuse(&self, findings: &[Finding]) -> Result<()> {
        plan::refuse(findings, &self.accept).map_err(|refused| {
            self.report.emit_all(findings.iter().map(Finding::event));
            anyhow!(refused.what).context(Refused(refused.hint.unwrap_or_default()))
        })
    }

    /// A job of this run: one that a later run of the same plan knows again.
    fn job(&self, name: &'static str, command: Vec<String>) -> Result<Job> {
        let id = format!("{} {}", self.journal.record().run, command.join(" "));
        let mut words = command.into_iter();
        let program = words.next().context("the job has no program")?;
        Ok(Job { name, id, command: Script::command(&program).args(words) })
    }

    /// A listener that shows a job's output as coming from `source`.
    fn hear(&self, source: &'static str) -> impl FnMut(&str) + Send + use<> {
        let report = self.report.clone();
        move |line| report.emit(Event::Output { source, text: line.to_owned() })
    }
}

/// Carries the plan out.
pub async fn carry_out(plan: &Plan, mut world: World) -> Result<Summary, Failure> {
    world.look_around();
    let report = world.report.clone();
    world.target.tell_waits(Box::new(move |what, seconds, deadline, seen| {
        let (what, seen) = (what.to_owned(), seen.to_owned());
        report.emit(Event::Waiting { what, seconds, deadline, seen });
    }));
    let situation = world.situation.clone();
    for step in &plan.steps {
        let start = Instant::now();
        let done = tokio::select! {
            done = carry_out_step(step, &mut world) => done,
            () = situation.interrupted() => Err(anyhow!("interrupted")),
        };
        if let Err(error) = done {
            residue::after_failure(&mut world).await;
            let failure = explain(step, error, &world);
            // The failure matters more than that it could not be noted.
            let _ = world.journal.end(failure.exit as u8, &failure.what);
            return Err(failure.having_seen(summary(plan, world, false)));
        }
        if done.is_ok_and(|acted| acted) {
            let (name, seconds) = (step.name(), start.elapsed().as_secs_f64());
            world.seen.times.push(StepTime { name, seconds });
            world.report.emit(Event::StepFinished { step: name, seconds });
        }
    }
    residue::on_workstation(&mut world)?;
    let ended = world.journal.end(0, "").context("the system is installed and was seen running");
    ended.map_err(|error| {
        Failure::new(Exit::Other, "the journal cannot be closed").because(error)
    })?;
    Ok(summary(plan, world, true))
}

/// Already true? → begin in the journal → act and prove → finish. False if there was nothing to do.
async fn carry_out_step(step: &Step, world: &mut World) -> Result<bool> {
    let name = step.name();
    if let Some(why) = already_true(step, world).await? {
        world.report.emit(Event::StepSkipped { step: name, why });
        return Ok(false);
    }
    world.report.emit(Event::StepStarted { step: name, title: step.title().to_owned() });
    world.journal.begin(name, &world.found.boot)?;
    act(step, world).await?;
    world.journal.finish(name)?;
    Ok(true)
}

/// Observation beats memory: what the target shows to be done is not done again.
async fn already_true(step: &Step, world: &mut World) -> Result<Option<String>> {
    if world.installed && !matches!(step, Step::Verify { .. }) {
        return Ok(Some("the installed system runs".to_owned()));
    }
    match step {
        Step::Kexec { .. } if world.found.is_installer() => {
            Ok(Some("the target runs an installer already".to_owned()))
        }
        Step::Disko { mount, format, pools, place, .. } => {
            let is_kept = format.is_some();
            disko::already(world, mount.as_ref(), pools, *place, is_kept).await
        }
        Step::Install { toplevel, host_keys, .. } => {
            install::already(world, toplevel, host_keys).await
        }
        _ => Ok(None),
    }
}

async fn act(step: &Step, world: &mut World) -> Result<()> {
    match step {
        Step::Build { toplevel, disko, others, image, built } => {
            let scripts = (disko, others.as_slice());
            build::run(world, toplevel, scripts, image.as_ref(), built.place).await
        }
        Step::Evaluate { toplevel, attribute, .. } => {
            evaluate::run(world, toplevel, attribute).await
        }
        Step::Kexec { extra_flags } => kexec::run(world, extra_flags).await,
        Step::Disko { script, mount, format, pools, place } => {
            let around = format.as_ref().zip(mount.as_ref());
            disko::run(world, script, around, pools, *place).await
        }
        Step::Copy { toplevel, place } => copy::run(world, toplevel, *place).await,
        Step::Install { toplevel, host_keys, authorize, .. } => {
            install::run(world, toplevel, host_keys, authorize).await
        }
        Step::Reboot { toplevel, boot_loader, file_systems } => {
            reboot::run(world, toplevel, *boot_loader, file_systems.as_ref()).await
        }
        Step::Verify { expected } => verify::run(world, expected).await,
    }
}

/// What to do where the installer does not let us in.
const INSTALLER_S_KEYS: &str = "it knows root's authorized keys of the old system (/root/.ssh, /etc/ssh/authorized_keys.d), and \
     no others: restart the machine, put your key there, and run the same command again";

/// Turns a step's error into what the user reads.
fn explain(step: &Step, error: anyhow::Error, world: &World) -> Failure {
    let (exit, what, hint) = match step {
        _ if error.is::<NotAgreed>() => (
            Exit::Consent,
            "the disks are not what was agreed on",
            "run the same command again: it shows them as they are now, and asks. Without a terminal: --plan-digest or \
             --erase for what they are now",
        ),
        Step::Build { .. } => (
            Exit::Build,
            "the system could not be built, or the kexec image not be sent",
            "mend it and run the same command again",
        ),
        Step::Evaluate { .. } => (
            Exit::Build,
            "the target could not evaluate the system",
            "mend it and run the same command again, or evaluate on the workstation",
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
        Step::Copy { place: Place::Target, .. } => (
            Exit::Build,
            "the system could not be built on the target",
            "read the log; once mended, run the same command again, perhaps with --build-on local",
        ),
        Step::Copy { .. } => {
            (Exit::Install, "the closure could not be copied", "run the same command again")
        }
        Step::Install { .. } => (
            Exit::Install,
            "the system could not be installed",
            "read the log; once mended, run the same command again",
        ),
        _ if error.is::<residue::Left>() => (
            Exit::Other,
            "something of this run was left where it must not stay",
            "remove it by hand",
        ),
        Step::Reboot { .. } if error.is::<reboot::NotReady>() => (
            Exit::Install,
            "the machine was not restarted, because the installed system would not start",
            "mend it in the flake, or by hand under /mnt (log in to the installer), then run the same \
             command again",
        ),
        Step::Reboot { .. } => (
            Exit::Install,
            "the machine was not restarted, because its disks could not be let go of",
            "end what holds them (log in to the installer), then run `zpool export -a` and `reboot` there",
        ),
        Step::Verify { .. } => {
            (Exit::NotBack, "the target did not come back as planned", "look at its console")
        }
    };
    let (exit, hint) = match (error.downcast_ref::<NotBack>(), error.downcast_ref::<Refused>()) {
        (Some(why @ NotBack::OtherMachine(_)), _) => (Exit::Identity, why.hint().to_owned()),
        (Some(why), _) if exit == Exit::NotBack => (exit, why.hint().to_owned()),
        (Some(NotBack::LoginRefused(_)), _) => (exit, INSTALLER_S_KEYS.to_owned()),
        (_, Some(Refused(hint))) => (Exit::Refused, hint.clone()),
        _ => (exit, hint.to_owned()),
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
        residue: seen.residue,
    }
}
