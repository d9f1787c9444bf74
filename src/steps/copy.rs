//! Copies the system's closure into the store on the new disks.
//!
//! On the target: store paths under /mnt/nix/store. Cut in the middle: each path is registered as it arrives
//! whole. Tried again: only what is missing is sent.

use super::{State, World};
use crate::nix::{Store, StorePath};
use crate::report::Event;
use anyhow::Result;

pub(super) async fn run(world: &World, toplevel: &StorePath) -> Result<()> {
    send(world, toplevel, Store::Mounted).await?;
    world.situation.is_now(State::Copied);
    Ok(())
}

/// Copies a closure, with its progress.
pub(super) async fn send(world: &World, path: &StorePath, store: Store) -> Result<()> {
    let report = &world.report;
    let mut on_progress = |bytes, total| {
        report.emit(Event::Progress { what: "closure", bytes, total });
    };
    world.nix.copy(path, store, world.target.control()?, &mut on_progress).await
}
