//! Waits for the installed system and sees whether it is the planned one: another boot, the host key it was
//! given, the planned toplevel and kernel parameters, the host's name, pools and datasets as the layout has them,
//! the file systems mounted, no failed units.
//!
//! Changes nothing on the target.

use super::residue::Root;
use super::{Act, Explained, State, World};
use crate::facts::InstalledFacts;
use crate::machine::NotBack;
use crate::plan::step::Verify;
use crate::report::Exit;
use anyhow::{Context, Result, bail};

impl Act for Verify {
    fn title(&self) -> &'static str {
        "waiting for the installed system, and comparing it with the plan"
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { expected } = self;
        if !world.installed {
            await_installed(world).await?;
        }
        let facts = InstalledFacts::gather(&world.target, &expected.zfs_names()).await;
        let facts = facts.context("looking at the installed system")?;
        world.seen.boots.installed = Some(facts.boot.clone());
        world.seen.host_keys.clone_from(&world.journal.record().installed_keys);
        let differences = expected.differences(&facts);
        world.seen.installed = Some(facts);
        if !differences.is_empty() {
            bail!("it is not what was planned:\n- {}", differences.join("\n- "));
        }
        world.target_state.is_now(State::Running);
        super::residue::audit(world, Root::Installed).await
    }

    fn explain(&self, _: &anyhow::Error) -> Explained {
        Explained::new(
            Exit::NotBack,
            "the target did not come back as planned",
            "look at its console",
        )
    }
}

/// Waits for it. The old system, by its host key, is no stranger: the machine has started from something else.
async fn await_installed(world: &mut World) -> Result<(), NotBack> {
    let Err(why) = world.target.await_new_boot("the installed system").await else { return Ok(()) };
    match (why, world.seen.old_keys.clone()) {
        (NotBack::OtherMachine(text), Some(old)) if world.target.answers_as(old.clone()).await => {
            Err(NotBack::OldSystemAgain(text))
        }
        (why, _) => Err(why),
    }
}
