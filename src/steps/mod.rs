//! The steps of a plan, carried out by one loop: already true? → begin in the journal → act and prove → finish in the journal.
//!
//! Each step has its file, which opens with what it changes on the target, what an interruption in the middle leaves, and how it
//! is tried again.

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
mod target_state;
mod trial;
mod verify;

pub(crate) use target_state::State;
pub use target_state::TargetState;

use crate::facts::{InstalledFacts, TargetFacts};
use crate::findings::Finding;
use crate::journal::Journal;
use crate::machine::{HostKeys, Job, NotBack, Script, Target};
use crate::plan::step::each_step;
use crate::plan::{self, Plan, Step, Unfinished, WipeConsent};
use crate::prepare::{Contact, Prepared, Workstation};
use crate::report::{Boots, Event, Exit, Failure, Metrics, Report, StepTime, Summary};
use crate::secrets::HostKey;
use anyhow::{Context, Result, anyhow};
use std::borrow::Cow;
use std::time::Instant;

/// What the steps work with.
pub(crate) struct World {
    /// What is fixed while a plan is carried out.
    fixed: Prepared,
    /// The connection to the machine.
    target: Target,
    /// What was found on it, under its present boot.
    found: TargetFacts,
    /// Whether what answers is the installed system already.
    installed: bool,
    /// Which disks may be erased; only the disko step takes it, and without it nothing is.
    consent: Option<WipeConsent>,
    /// What cannot be observed on the target, and must be remembered.
    journal: Journal,
    /// Where events go.
    report: Report,
    /// In which state the target is.
    target_state: TargetState,
    /// What was seen on the way.
    seen: Seen,
}

/// What was seen on the way.
#[derive(Debug, Default)]
pub(crate) struct Seen {
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

/// A finding that was made on the way, in the installer, forbids the install. Holds what to do about it.
#[derive(Debug, thiserror::Error)]
#[error("nothing was erased")]
struct Refused(String);

impl World {
    /// What was prepared, with the machine that answers.
    pub(crate) fn new(
        prepared: Prepared,
        contact: Contact,
        installed: bool,
        consent: Option<WipeConsent>,
        journal: Journal,
        report: &Report,
        target_state: &TargetState,
    ) -> Self {
        let Contact { target, found, .. } = contact;
        let (report, target_state, seen) = (report.clone(), target_state.clone(), Seen::default());
        let fixed = prepared;
        Self { fixed, target, found, installed, consent, journal, report, target_state, seen }
    }

    /// The host key that is supplied, if one is.
    fn host_key(&self) -> Option<&HostKey> {
        self.fixed.host_key.as_ref()?.key.as_ref()
    }

    /// Notes which system answers.
    fn look_around(&mut self) {
        let boot = Some(self.found.boot.clone());
        if self.installed {
            self.seen.boots.installed = boot;
            self.target_state.is_now(State::Running);
        } else if self.found.is_installer() {
            self.seen.boots.installer = boot;
            self.target_state.is_now(State::Installer);
        } else {
            self.seen.boots.rescue = boot;
        }
    }

    /// What this run, or the one that it continues, has done to the disks.
    fn unfinished(&self) -> Unfinished<'_> {
        self.journal.record().unfinished(&self.found.boot)
    }

    /// Shows the findings, and refuses if one of them forbids the install.
    fn refuse(&self, findings: &[Finding]) -> Result<()> {
        plan::refuse(findings, &self.fixed.options.accept).map_err(|refused| {
            self.report.emit_all(findings.iter().map(Finding::event));
            anyhow!(refused.what).context(Refused(refused.hint.unwrap_or_default()))
        })
    }

    /// A job of this run. Its id has the run's id in it, by which a later run of the same plan finds it again.
    fn job(&self, name: &'static str, command: Vec<String>) -> Result<Job> {
        let id = format!("{} {}", self.journal.record().run, command.join(" "));
        let mut words = command.into_iter();
        let program = words.next().context("the job has no program")?;
        Ok(Job { name, id, command: Script::command(&program).args(words) })
    }

    /// A listener that shows a job's output as coming from `source`.
    fn show_output(&self, source: &'static str) -> impl FnMut(&str) + Send + use<> {
        let report = self.report.clone();
        move |line| report.emit(Event::Output { source, text: line.to_owned() })
    }
}

/// Carries the plan out.
pub(crate) async fn carry_out(plan: &Plan, mut world: World) -> Result<Summary, Failure> {
    world.look_around();
    let report = world.report.clone();
    world.target.report_waits(Box::new(move |what, seconds, deadline, seen| {
        let (what, seen) = (what.to_owned(), seen.to_owned());
        report.emit(Event::Waiting { what, seconds, deadline, seen });
    }));
    let target_state = world.target_state.clone();
    for step in &plan.steps {
        let start = Instant::now();
        let done = tokio::select! {
            done = carry_out_step(step, &mut world) => done,
            () = target_state.interrupted() => Err(anyhow!("interrupted")),
        };
        if let Err(error) = done {
            residue::after_failure(&mut world).await;
            let failure = explain(step, error).leaving(world.target_state.now().to_string());
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
    world.report.emit(started(step));
    world.journal.begin(name, &world.found.boot)?;
    each_step!(step, planned => planned.act(world).await)?;
    world.journal.finish(name)?;
    Ok(true)
}

/// The event that announces a step.
pub(crate) fn started(step: &Step) -> Event {
    let title = each_step!(step, planned => planned.title()).to_owned();
    Event::StepStarted { step: step.name(), title }
}

/// Observation beats memory: what the target shows to be done is not done again.
async fn already_true(step: &Step, world: &mut World) -> Result<Option<String>> {
    if world.installed && !matches!(step, Step::Verify(_)) {
        return Ok(Some("the installed system runs".to_owned()));
    }
    each_step!(step, planned => planned.already(world).await)
}

/// A step as it is carried out; each has a file, which also says what its failures mean.
trait Act {
    /// What it is doing, while it is at work.
    fn title(&self) -> &'static str;

    /// What the target shows to be done already; none if there is something to do.
    async fn already(&self, _world: &mut World) -> Result<Option<String>> {
        Ok(None)
    }

    /// Does it, and proves it.
    async fn act(&self, world: &mut World) -> Result<()>;

    /// What a failure of it means.
    fn explain(&self, error: &anyhow::Error) -> Explained;
}

/// What a failure of a step means: the exit code, what failed, and the hint (what to do now).
struct Explained {
    exit: Exit,
    what: &'static str,
    hint: Cow<'static, str>,
}

impl Explained {
    fn new(exit: Exit, what: &'static str, hint: impl Into<Cow<'static, str>>) -> Self {
        Self { exit, what, hint: hint.into() }
    }
}

/// What to do where the installer refuses the login.
const INSTALLER_S_KEYS: &str = "it knows root's authorized keys of the old system (/root/.ssh, /etc/ssh/authorized_keys.d), and \
     no others: restart the machine, put your key there, and run the same command again";

/// Turns a step's error into what the user reads, without the state of the target, which the caller adds.
pub(crate) fn explain(step: &Step, error: anyhow::Error) -> Failure {
    let Explained { exit, what, hint } = if error.is::<residue::Left>() {
        let what = "something of this run was left where it must not stay";
        Explained::new(Exit::Other, what, "remove it by hand")
    } else {
        each_step!(step, planned => planned.explain(&error))
    };
    let (exit, hint) = match (error.downcast_ref::<NotBack>(), error.downcast_ref::<Refused>()) {
        (Some(why @ NotBack::OtherMachine(_)), _) => (Exit::Identity, why.hint().to_owned()),
        (Some(why), _) if exit == Exit::NotBack => (exit, why.hint().to_owned()),
        (Some(NotBack::LoginRefused(_)), _) => (exit, INSTALLER_S_KEYS.to_owned()),
        (_, Some(Refused(hint))) => (Exit::Refused, hint.clone()),
        _ => (exit, hint.into_owned()),
    };
    Failure::new(exit, what).because(error).hint(hint)
}

fn summary(plan: &Plan, world: World, verified: bool) -> Summary {
    let World { seen, fixed: Prepared { workstation: Workstation { metrics, .. }, .. }, .. } =
        world;
    let installed = seen.installed.unwrap_or_default();
    Summary {
        host: plan.host.clone(),
        evaluations: metrics.evaluations(),
        handshakes: metrics.handshakes(),
        bytes_sent: metrics.bytes_sent(),
        peak_memory_bytes: Metrics::peak_memory(),
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
