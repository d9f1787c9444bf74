//! Lets go of the disks, proves it, and restarts the machine.
//!
//! On the target: /mnt unmounted, swap off, every pool exported: a pool that is not would not be imported at
//! boot. If anything holds them, it is named and the installer stays up. Cut in the middle: the installer stays
//! up, or it restarts. Tried again: what is let go of already stays so.

use super::{State, World};
use crate::machine::{CommandError, HostKeys, Script};
use anyhow::{Context, Result};

pub(super) async fn run(world: &mut World) -> Result<()> {
    let let_go = world.target.run(&Script::sh(include_str!("let-go.sh"))).await;
    for line in let_go.context("letting go of the disks")?.lines() {
        world.report.note(line);
    }
    world.situation.is_now(State::Restarting);
    match world.target.run(&Script::sh(include_str!("restart.sh"))).await {
        // It may be gone before it has answered; the next step sees what comes.
        Ok(_) | Err(CommandError::Lost { .. }) => {}
        Err(error) => return Err(error).context("restarting the machine"),
    }
    // From the next connection on, nobody else is the target.
    let keys = world.journal.record().installed_keys.clone();
    world.target.expect(Some(HostKeys::Pinned(keys)));
    Ok(())
}
