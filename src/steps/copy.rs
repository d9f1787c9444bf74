//! Puts the system's closure into the store on the new disks: copied, or built there from its derivation.
//!
//! On the target: store paths under /mnt/nix/store. Cut in the middle: each path is registered as it arrives
//! whole, and a build continues by itself. Tried again: only what is missing is sent, only what is not built is built;
//! a lost connection is waited for and opened again.

use super::residue::{self, FETCH};
use super::{Act, Explained, State, World};
use crate::machine::Script;
use crate::nix::{Closure, Derivation, Store};
use crate::plan::Place;
use crate::plan::step::Copy;
use crate::report::{Event, Exit};
use anyhow::{Context, Result};

/// A line that is lost so many times without anything having moved is of no use.
const LOSSES: u32 = 5;

impl Act for Copy {
    fn title(&self) -> &'static str {
        match self.place {
            Place::Target => "building the system on the new disks",
            _ => "copying the system's closure to the new disks",
        }
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        provide(world, &self.toplevel, self.place, Store::MOUNTED).await?;
        if world.fixed.inputs.is_some() {
            residue::clear(world).await.context("removing what the evaluation has left")?;
            world.target_state.set_untidy(false);
        }
        // Nix' database must not know of files that a power cut would take.
        let sync = world.job("sync", vec!["sync".to_owned()])?;
        world.target.job(&sync, &mut |_| ()).await.context("writing the closure to the disks")?;
        world.target_state.is_now(State::Copied);
        Ok(())
    }

    fn explain(&self, _: &anyhow::Error) -> Explained {
        match self.place {
            Place::Target => Explained::new(
                Exit::Build,
                "the system could not be built on the target",
                "read the log on the target; once the cause is fixed, run the same command again, perhaps with --build-on local",
            ),
            _ => Explained::new(
                Exit::Install,
                "the closure could not be copied",
                "run the same command again",
            ),
        }
    }
}

/// Puts the outputs of a derivation into a store of the target.
pub(super) async fn provide(
    world: &mut World,
    derivation: &Derivation,
    place: Place,
    store: Store,
) -> Result<()> {
    if place != Place::Target {
        return send(world, Closure::Built(&derivation.out), store).await;
    }
    let script =
        Script::file("realise.sh", include_str!("realise.sh")).arg(derivation.drv.as_str());
    let script = match store {
        Store::Running => script,
        Store::Below(root) => script.arg(format!("local?root={root}")),
    };
    let mut scripts = vec![script];
    if world.fixed.inputs.is_some() && matches!(store, Store::Below(_)) {
        // The target has evaluated it, and has the derivation.
        let script =
            Script::file("copy-derivation.sh", include_str!("copy-derivation.sh")).arg(FETCH);
        scripts.insert(0, script.arg(derivation.drv.as_str()));
    } else {
        send(world, Closure::Derivation(&derivation.drv), store).await?;
    }
    for script in scripts {
        let job = world.job("build", script.words().to_vec())?;
        let mut on_line = world.show_output("build");
        world.target.job(&job, &mut on_line).await.context("building on the target")?;
    }
    Ok(())
}

/// Copies a closure, with its progress, over as many connections as it takes.
pub(super) async fn send(world: &mut World, closure: Closure<'_>, store: Store) -> Result<()> {
    let mut losses = 0;
    loop {
        world.target.run(&Script::file("end-copies.sh", include_str!("end-copies.sh"))).await?;
        let report = &world.report;
        let mut moved = 0;
        let mut on_progress = |bytes, total| {
            moved = bytes;
            report.emit(Event::Progress { what: "closure", bytes, total });
        };
        let (control, stall) = (world.target.control()?, world.target.deadlines().stall);
        let Err(error) = world
            .fixed
            .workstation
            .nix
            .copy(closure, store, control, stall, &mut on_progress)
            .await
        else {
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
