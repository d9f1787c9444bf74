//! Lays out the disks with the flake's own disko script, run in the installer as a detached job.
//!
//! On the target: everything on the disks of the layout is lost, from the moment the script starts. Cut in
//! the middle: the job goes on by itself, and a second run refuses to start another beside it. Tried again:
//! the script begins anew.

use super::{State, World};
use crate::facts::{DiskoScript, TargetFacts};
use crate::machine::Script;
use crate::nix::Store;
use crate::plan::WipeConsent;
use anyhow::{Context, Result, anyhow};

pub(super) async fn run(world: &mut World, script: &DiskoScript, pools: &[String]) -> Result<()> {
    super::copy::send(world, &script.derivation.out, Store::Running)
        .await
        .context("copying the disko script to the installer")?;
    let consent = world.consent.clone();
    wipe(world, &consent, script).await?;
    let mounted = Script::sh(include_str!("mounted.sh")).args(pools.iter().cloned());
    world.target.run(&mounted).await.context("looking at the result of the disko script")?;
    world.situation.is_now(State::LaidOut);
    Ok(())
}

/// The one place where data is destroyed.
async fn wipe(world: &mut World, consent: &WipeConsent, script: &DiskoScript) -> Result<()> {
    // The consent may be old: building took its time, and somebody may have changed a disk.
    world.found = TargetFacts::gather(&world.target).await.context("reading the disks again")?;
    consent.still_holds(&world.found).map_err(|why| anyhow!("nothing was erased: {why}"))?;
    let mut words = script.command.iter().cloned();
    let program = words.next().context("the disko script has no program")?;
    let command = Script::command(&program).args(words);
    world.situation.is_now(State::Erasing);
    let mut hear = world.hear("disko");
    world.target.job("disko", &command, &mut hear).await.context("running the disko script")
}
