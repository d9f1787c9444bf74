//! Lays out the disks with the flake's own disko script, run in the installer as a detached job.
//!
//! On the target: everything on the disks of the layout is lost, from the moment the script starts. Cut in
//! the middle: the job continues by itself. Tried again by the same run: a job that is at work is followed, a
//! layout that is mounted stays, one that was installed before the installer was restarted is mounted again;
//! anything else is cleared away and laid out again.

use super::{Act, Explained, State, World, firmware, lay_out, trial};
use crate::facts::{DiskoScript, TargetFacts};
use crate::hex;
use crate::machine::{Job, JobFailed, Script, Standing};
use crate::nix::{Derivation, Store};
use crate::plan::step::Disko;
use crate::plan::{self, Known, Made, Place, WipeConsent};
use crate::report::{Exit, StepName};
use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};

impl Act for Disko {
    fn title(&self) -> &'static str {
        "laying out the disks"
    }

    async fn already(&self, world: &mut World) -> Result<Option<String>> {
        let is_kept = self.format.is_some();
        already(world, self.mount.as_ref(), &self.pools, self.place, is_kept).await
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { script, mount, format, pools, place } = self;
        let around = format.as_ref().zip(mount.as_ref());
        let consent = consent(world)?;
        let layout = match around {
            None => Layout::Anew(script),
            Some((format, mount)) => Layout::Around { format, mount },
        };
        let job = world.job("disko", layout.identity())?;
        match world.target.find(&job).await? {
            Standing::Foreign => bail!(
                "a job of an earlier run is still running on the target (see /run/landfall/disko/log)"
            ),
            Standing::Running => {
                world.report.note("the disko script is already running: following it");
                world.target_state.is_now(State::Erasing);
                let mut on_line = world.show_output("disko");
                let ended = world.target.follow(&job, &mut on_line).await;
                conclude(world, ended)?;
                firmware::guard(world, &consent).await?;
            }
            // It ended well, while no run was watching.
            Standing::Done if mounted(world, pools).await.is_ok() => {}
            Standing::Done | Standing::None => {
                for derivation in layout.derivations() {
                    super::copy::provide(world, derivation, *place, Store::Running)
                        .await
                        .context("copying the disko script to the installer")?;
                }
                wipe(world, &consent, layout).await?;
            }
        }
        let layout =
            mounted(world, pools).await.context("checking the result of the disko script")?;
        world.journal.keep_layout(layout)?;
        world.target_state.is_now(State::LaidOut);
        Ok(())
    }

    fn explain(&self, error: &anyhow::Error) -> Explained {
        if error.is::<NotAgreed>() {
            return Explained::new(
                Exit::Consent,
                "the disks are not what was agreed to",
                "run the same command again: it shows them as they are now, and asks. Without a terminal: --plan-digest or \
                 --erase for what they are now",
            );
        }
        Explained::new(
            Exit::Disko,
            "the disks could not be laid out",
            "read the log on the target; once the cause is fixed, run the same command again",
        )
    }
}

/// The disks are not what was agreed to.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct NotAgreed(String);

/// Without it nothing is erased.
fn consent(world: &World) -> Result<WipeConsent> {
    world.consent.clone().context("erasing a disk has not been agreed to")
}

/// How the disks are laid out.
#[derive(Clone, Copy)]
enum Layout<'a> {
    /// All of them, by the host's own script.
    Anew(&'a DiskoScript),
    /// Around what is kept, by disko's scripts that create what is missing and mount it.
    Around { format: &'a Derivation, mount: &'a Derivation },
}

impl<'a> Layout<'a> {
    /// By what a later run of the same plan knows the job again.
    fn identity(self) -> Vec<String> {
        match self {
            Self::Anew(script) => script.command.clone(),
            Self::Around { format, mount } => vec![format.out.to_string(), mount.out.to_string()],
        }
    }

    /// What must be there to run it.
    fn derivations(self) -> Vec<&'a Derivation> {
        match self {
            Self::Anew(script) => vec![&script.derivation],
            Self::Around { format, mount } => vec![format, mount],
        }
    }

    /// The words of `wipe.sh`.
    fn command(self, world: &World, consent: &WipeConsent) -> Result<Vec<String>, String> {
        match self {
            Self::Anew(script) => Ok(lay_out::anew(consent, script)),
            Self::Around { format, mount } => {
                lay_out::around(&world.fixed.host, &world.found, consent, format, mount)
            }
        }
    }
}

/// The job's own script: it compares the disks, and lays them out.
const WIPE: &str = concat!(include_str!("wipe.sh"), "\n", include_str!("lay-out.sh"));
/// Its second part alone.
const LAY_OUT: &str = include_str!("lay-out.sh");

/// The one place where data is destroyed: first looked at, then made ready, then looked at a last time, by the reading that the
/// job itself must find unchanged.
async fn wipe(world: &mut World, consent: &WipeConsent, layout: Layout<'_>) -> Result<()> {
    // The consent may be old: building took its time, and somebody may have changed a disk.
    world.found = TargetFacts::gather(&world.target).await.context("reading the disks again")?;
    look(world, consent)?;
    clear(world, consent).await.context("taking apart what lies on the disks")?;
    prepare(world).await.context("preparing the installer")?;
    if world.fixed.host.zfs == Some(true) {
        trial::pools(world).await?;
    }
    let disks = world
        .target
        .run(&Script::file("disks.sh", DISKS))
        .await
        .context("reading the disks again")?;
    world.found = std::mem::take(&mut world.found).with_disks(&disks);
    look(world, consent)?;
    let command = layout.command(world, consent);
    let command = command.map_err(|why| anyhow!("nothing was erased: {why}"))?;
    let guarded =
        Script::file("lay-out.sh", WIPE).arg(DISKS).arg(hex(&Sha256::digest(disks.trim_end())));
    let job = Job { command: guarded.args(command), ..world.job("disko", layout.identity())? };
    firmware::guard(world, consent).await?;
    let boot = world.found.boot.clone();
    world.journal.begin_wiping(&boot)?;
    world.target_state.is_now(State::Erasing);
    let mut on_line = world.show_output("disko");
    let ended = world.target.job(&job, &mut on_line).await;
    let ended = conclude(world, ended);
    // Also of a layout that has failed: then most of all it matters.
    firmware::guard(world, consent).await?;
    ended
}

/// `wipe.sh` has found other disks than were looked at.
const OTHER_DISKS: i32 = 65;
/// `lay-out.sh` has stopped before its first write.
const NOTHING_ERASED: i32 = 64;

/// What the end of the job means for the target's state. Of a job that could not be followed to its end nothing is known but
/// that it was begun.
fn conclude(world: &World, ended: Result<()>) -> Result<()> {
    let Err(error) = ended else { return Ok(()) };
    if let Some(failed) = error.downcast_ref::<JobFailed>() {
        let is_untouched = matches!(failed.status, Some(OTHER_DISKS | NOTHING_ERASED));
        let state = if is_untouched { State::Installer } else { State::HalfErased };
        world.target_state.is_now(state);
        if failed.status == Some(OTHER_DISKS) {
            return Err(NotAgreed(failed.said.clone()).into());
        }
    }
    Err(error.context("running the disko script"))
}

/// Refuses unless the disks are what was agreed on, and nothing about them forbids to lay them out.
fn look(world: &World, consent: &WipeConsent) -> Result<()> {
    // First what can be said best: of a disk that is missing, that it is, and which are there.
    let (target, disk_keys) = (Some(&world.found), world.fixed.disk_keys.paths());
    let unfinished = world.unfinished();
    let known = Known { target, disk_keys: &disk_keys, unfinished, ..Known::of(&world.fixed.host) };
    world.refuse(&plan::findings(known))?;
    let record = world.journal.record();
    let layout = record.layout.as_deref();
    let made = record.wiping.then_some(Made { host: &world.fixed.host, layout });
    consent
        .still_holds(&world.fixed.host, &world.found, made)
        .map_err(|why| anyhow!(NotAgreed(format!("nothing was erased: {why}"))))
}

/// Below this much memory (8 GiB), the cache of the installer's ZFS is limited.
const SMALL: u64 = 8 << 30;
/// To this much (512 MiB): the closure is written once, and little of it read again.
const SMALL_CACHE: u64 = 512 << 20;

/// The keys of disks, the host's own id, and a limit for the cache.
async fn prepare(world: &World) -> Result<()> {
    world.fixed.disk_keys.place(&world.target).await.context("placing the disk keys")?;
    if world.fixed.host.zfs != Some(true) {
        return Ok(());
    }
    let id = world.fixed.host.host_id.clone().unwrap_or_default();
    let script = Script::file("zfs.sh", include_str!("zfs.sh")).arg(id);
    let said = world.target.run(&script.args([SMALL.to_string(), SMALL_CACHE.to_string()])).await?;
    for line in said.lines() {
        world.report.note(format!("in the installer: {line}"));
    }
    Ok(())
}

/// The disks as the target sees them, in the probe's own words.
const DISKS: &str = include_str!("../facts/disks.sh");

/// Takes apart what lies on these disks and on no others: arrays that the installer has put together by itself; and mounts,
/// swap and pools, where an unfinished try has left them.
async fn clear(world: &World, consent: &WipeConsent) -> Result<()> {
    let kept = world.fixed.host.disks.iter().flatten();
    let kept = kept.filter(|(name, _)| world.fixed.host.kept.disks.contains(*name));
    let kept = kept.map(|(_, disk)| disk.device.as_str());
    // Those that are kept lose nothing by it: their pools are exported.
    let disks = consent.devices().chain(kept).filter_map(|device| world.found.disk(device));
    let pools = world.fixed.host.kept.pools.iter().map(|pool| format!("pool:{pool}"));
    let names = disks.map(|disk| disk.name.clone()).chain(pools);
    let what = if world.unfinished().left { "left" } else { "idle" };
    let script = Script::file("clear.sh", include_str!("clear.sh")).arg(what).args(names);
    let said = world.target.run(&script).await?;
    for line in said.lines() {
        world.report.note(format!("taken apart: {line}"));
    }
    Ok(())
}

/// What of this run's layout is there already: observed, not believed. None if it has to be laid out.
async fn already(
    world: &mut World,
    mount: Option<&Derivation>,
    pools: &[String],
    place: Place,
    is_kept: bool,
) -> Result<Option<String>> {
    let Some(layout) = world.journal.record().layout.clone() else { return Ok(None) };
    if mounted(world, pools).await.is_ok_and(|now| now == layout) {
        world.target_state.is_now(State::LaidOut);
        return Ok(Some("the layout of this run is mounted".to_owned()));
    }
    // After a power cut in the middle of the copy it is unknown what is whole; after the installation, it is.
    let Some(mount) = mount.filter(|_| world.journal.record().has_finished(StepName::Install))
    else {
        return Ok(None);
    };
    super::copy::provide(world, mount, place, Store::Running).await?;
    prepare(world).await.context("preparing the installer")?;
    let mut job = world.job("mount", vec![mount.out.to_string()])?;
    if is_kept {
        let words = lay_out::to_mount(&world.fixed.host, &world.found, &consent(world)?, mount);
        job.command = Script::file("lay-out.sh", LAY_OUT).args(words.map_err(|why| anyhow!(why))?);
    }
    let mut on_line = world.show_output("mount");
    let ended = world.target.job(&job, &mut on_line).await;
    match (ended, mounted(world, pools).await) {
        (Ok(()), Ok(now)) if now == layout => {
            world.target_state.is_now(State::LaidOut);
            Ok(Some("the layout of this run was mounted again".to_owned()))
        }
        (ended, _) => {
            let why = ended.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            world.report.note(format!("the layout of this run is no longer there{why}"));
            Ok(None)
        }
    }
}

/// The layout as it is mounted, each file system with what it is known by.
async fn mounted(world: &World, pools: &[String]) -> Result<String> {
    // What the configuration does not mount is not the layout's promise either.
    let declared = |point: &&String| {
        world.fixed.host.file_systems.as_ref().is_none_or(|systems| systems.contains_key(*point))
    };
    let points = world.fixed.host.layout_mounts.iter().flatten().filter(declared).cloned();
    let script =
        Script::file("mounted.sh", include_str!("mounted.sh")).arg(pools.join(" ")).args(points);
    Ok(world.target.run(&script).await?)
}
