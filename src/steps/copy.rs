//! Copies the system's closure into the store on the new disks.
//!
//! On the target: store paths under /mnt/nix/store. Cut in the middle: each path is registered as it arrives
//! whole. Tried again: only what is missing is sent; a lost connection is waited for and made anew.

use super::{State, World};
use crate::machine::Script;
use crate::nix::{Store, StorePath};
use crate::report::Event;
use anyhow::{Context, Result};

/// A line that is lost so many times without anything having moved is of no use.
const LOSSES: u32 = 5;

pub(super) async fn run(world: &mut World, toplevel: &StorePath) -> Result<()> {
    send(world, toplevel, Store::Mounted).await?;
    // Nix' database must not know of files that a power cut would take.
    let sync = world.job("sync", vec!["sync".to_owned()])?;
    world.target.job(&sync, &mut |_| ()).await.context("writing the closure to the disks")?;
    world.situation.is_now(State::Copied);
    Ok(())
}

/// Copies a closure, with its progress, over as many connections as it takes.
pub(super) async fn send(world: &mut World, path: &StorePath, store: Store) -> Result<()> {
    let mut losses = 0;
    loop {
        world.target.run(&Script::sh(include_str!("end-copies.sh"))).await?;
        let report = &world.report;
        let mut moved = 0;
        let mut on_progress = |bytes, total| {
            moved = bytes;
            report.emit(Event::Progress { what: "closure", bytes, total });
        };
        let (control, stall) = (world.target.control()?, world.target.deadlines().stall);
        let Err(error) = world.nix.copy(path, store, control, stall, &mut on_progress).await else {
            return Ok(());
        };
        losses = if moved > 0 { 1 } else { losses + 1 };
        if losses >= LOSSES || !world.target.is_gone().await {
            return Err(error);
        }
        world.report.note("the connection was lost; what has arrived stays");
        world.target.reconnect().await.context("copying the closure")?;
    }
}
