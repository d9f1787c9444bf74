//! Leaves the old system for the installer, by the kexec image's own `kexec/run` (the contract of
//! nix-community/nixos-images: it hands over root's authorized keys, the host keys and the network, says
//! "machine will boot into nixos", and jumps some seconds later).
//!
//! On the target: the running system is replaced, nothing is written to a disk; a power cycle brings it
//! back. Cut in the middle: the jump happens all the same. Tried again: an installer is found and the step
//! has nothing to do.

use super::{Act, Explained, State, World};
use crate::facts::TargetFacts;
use crate::machine::{CommandError, Elevation, Input, NotBack, Script, last_lines};
use crate::plan::step::Kexec;
use crate::report::{Event, Exit};
use anyhow::{Context, Result, bail};

/// What `kexec/run` says when all went well; nixos-anywhere relies on it too.
const SUCCESS: &str = "machine will boot into nixos";

impl Act for Kexec {
    fn title(&self) -> &'static str {
        "leaving the old system for the installer"
    }

    async fn already(&self, world: &mut World) -> Result<Option<String>> {
        let is_there = world.found.is_installer();
        Ok(is_there.then(|| "the target already runs an installer".to_owned()))
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { extra_flags } = self;
        let directory = world.seen.image_directory.clone().context("no kexec image was sent")?;
        let elevation = world.found.elevation.unwrap_or(Elevation::Root);
        let run = Script::file("kexec-run.sh", include_str!("kexec-run.sh"))
            .arg(directory)
            .arg(extra_flags);
        world.target_state.is_now(State::Leaving);
        match world.target.attempt(&run.elevated(elevation), Input::Nothing).await {
            Ok(output) if output.stdout.contains(SUCCESS) => {
                let text = last_lines(&output.stdout, 1);
                world.report.emit(Event::Output { source: "kexec", text });
            }
            Ok(output) => {
                world.target_state.is_now(State::ImageSent);
                let said = format!("{}\n{}", output.stdout, output.stderr);
                bail!("kexec/run failed; its last output:\n{}", last_lines(&said, 20));
            }
            // It may jump before it has said everything; the new boot id is the proof.
            Err(CommandError::Lost { .. }) => {}
            Err(error) => {
                world.target_state.is_now(State::ImageSent);
                return Err(error.into());
            }
        }
        world.target.expect(None);
        if let Err(why) = world.target.await_new_boot("the installer").await {
            if matches!(why, NotBack::LoginRefused(_)) {
                world.target_state.is_now(State::Locked);
            }
            return Err(why.into());
        }
        world.found =
            TargetFacts::gather(&world.target).await.context("looking at the installer")?;
        if !world.found.is_installer() {
            world.target_state.is_now(State::Untouched);
            return Err(NotBack::OldSystemAgain(format!("it runs {}", world.found.os)).into());
        }
        world.seen.boots.installer = Some(world.found.boot.clone());
        world.target_state.is_now(State::Installer);
        Ok(())
    }

    fn explain(&self, _: &anyhow::Error) -> Explained {
        Explained::new(
            Exit::Kexec,
            "the target did not reach the installer",
            "look at its console; some machines cannot kexec: boot them into an installer from SD card \
             or USB and run the same command again",
        )
    }
}
