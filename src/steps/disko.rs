//! Lays out the disks with the flake's own disko script, run in the installer as a detached job.
//!
//! On the target: everything on the disks of the layout is lost, from the moment the script starts. Cut in
//! the middle: the job goes on by itself. Tried again by the same run: a job that is at work is followed, a
//! layout that is mounted stays, one that was installed before the installer was restarted is mounted again;
//! anything else is cleared away and laid out anew.

use super::{State, World};
use crate::facts::{DiskoScript, TargetFacts};
use crate::machine::{Job, Script, Standing};
use crate::nix::{Derivation, Store};
use crate::plan::{self, Place, WipeConsent};
use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use std::fmt::Write as _;

pub(super) async fn run(
    world: &mut World,
    script: &DiskoScript,
    pools: &[String],
    place: Place,
) -> Result<()> {
    let job = world.job("disko", script.command.clone())?;
    match world.target.find(&job).await? {
        Standing::Foreign => bail!(
            "a job of an earlier run is still at work on the target (see /run/landfall/disko/log)"
        ),
        Standing::Running => {
            world.report.note("the disko script is at work already: following it");
            world.situation.is_now(State::Erasing);
            follow(world, &job).await?;
        }
        // It ended well, and nobody was there to see it.
        Standing::Done if mounted(world, pools).await.is_ok() => {}
        Standing::Done | Standing::None => {
            super::copy::provide(world, &script.derivation, place, Store::Running)
                .await
                .context("bringing the disko script to the installer")?;
            let consent = world.consent.clone();
            wipe(world, &consent, script).await?;
        }
    }
    let layout =
        mounted(world, pools).await.context("looking at the result of the disko script")?;
    world.journal.keep_layout(layout)?;
    world.situation.is_now(State::LaidOut);
    Ok(())
}

/// The one place where data is destroyed.
async fn wipe(world: &mut World, consent: &WipeConsent, script: &DiskoScript) -> Result<()> {
    if world.is_ours() {
        clear(world, consent).await.context("clearing what an earlier try has left")?;
    }
    // The consent may be old: building took its time, and somebody may have changed a disk.
    world.found = TargetFacts::gather(&world.target).await.context("reading the disks again")?;
    consent.still_holds(&world.found).map_err(|why| anyhow!("nothing was erased: {why}"))?;
    let findings = plan::findings(&world.host, Some(&world.found), None, None, world.is_ours());
    world.refuse(&findings)?;
    // What was compared just now is what the job must find when it begins.
    let disks = world.target.run(&Script::sh(DISKS)).await.context("reading the disks again")?;
    let guarded = Script::sh(include_str!("wipe.sh")).arg(DISKS).arg(sha256(disks.trim_end()));
    let guarded = guarded.args(script.command.iter().cloned());
    let job = Job { command: guarded, ..world.job("disko", script.command.clone())? };
    world.situation.is_now(State::Erasing);
    follow(world, &job).await
}

/// The disks as the target sees them, in the probe's own words.
const DISKS: &str = include_str!("../facts/disks.sh");

async fn follow(world: &mut World, job: &Job) -> Result<()> {
    let mut hear = world.hear("disko");
    world.target.job(job, &mut hear).await.context("running the disko script")
}

/// Takes apart what an unfinished try has left on these disks and on no others: mounts, swap, pools, arrays.
async fn clear(world: &World, consent: &WipeConsent) -> Result<()> {
    let disks = consent.devices().filter_map(|device| world.found.disk(device));
    let names = disks.map(|disk| disk.name.clone());
    let said = world.target.run(&Script::sh(include_str!("clear.sh")).args(names)).await?;
    for line in said.lines() {
        world.report.note(format!("left over: {line}"));
    }
    Ok(())
}

/// What of this run's layout is there already: observed, not believed. None if it has to be laid out.
pub(super) async fn already(
    world: &mut World,
    mount: Option<&Derivation>,
    pools: &[String],
    place: Place,
) -> Result<Option<String>> {
    let Some(layout) = world.journal.record().layout.clone() else { return Ok(None) };
    if mounted(world, pools).await.is_ok_and(|now| now == layout) {
        world.situation.is_now(State::LaidOut);
        return Ok(Some("the layout of this run is mounted".to_owned()));
    }
    // After a power cut in the middle of the copy nobody knows what is whole; after the installation, it is.
    let Some(mount) = mount.filter(|_| world.journal.record().has_finished("install")) else {
        return Ok(None);
    };
    super::copy::provide(world, mount, place, Store::Running).await?;
    let job = world.job("mount", vec![mount.out.to_string()])?;
    let mut hear = world.hear("mount");
    let ended = world.target.job(&job, &mut hear).await;
    match (ended, mounted(world, pools).await) {
        (Ok(()), Ok(now)) if now == layout => {
            world.situation.is_now(State::LaidOut);
            Ok(Some("the layout of this run was mounted again".to_owned()))
        }
        (ended, _) => {
            let why = ended.err().map(|error| format!(": {error:#}")).unwrap_or_default();
            world.report.note(format!("the layout of this run is not there any more{why}"));
            Ok(None)
        }
    }
}

/// The layout as it is mounted, each file system with what it is known by.
async fn mounted(world: &World, pools: &[String]) -> Result<String> {
    // What the configuration does not mount is not the layout's promise either.
    let declared = |point: &&String| {
        world.host.file_systems.as_ref().is_none_or(|systems| systems.contains_key(*point))
    };
    let points = world.host.layout_mounts.iter().flatten().filter(declared).cloned();
    let script = Script::sh(include_str!("mounted.sh")).arg(pools.join(" ")).args(points);
    Ok(world.target.run(&script).await?)
}

fn sha256(text: &str) -> String {
    let mut hex = String::new();
    for byte in Sha256::digest(text.as_bytes()) {
        let _ = write!(hex, "{byte:02x}");
    }
    hex
}
