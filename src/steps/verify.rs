//! Waits for the installed system and sees whether it is the planned one: another boot, the host key it was
//! given, the planned toplevel and kernel parameters, the host's name, pools and data sets as the layout has them,
//! the file systems mounted, no failed units.
//!
//! Changes nothing on the target.

use super::{State, World};
use crate::facts::InstalledFacts;
use crate::plan::Expected;
use anyhow::{Context, Result, bail};

pub(super) async fn run(world: &mut World, expected: &Expected) -> Result<()> {
    if !world.installed {
        world.await_boot("the installed system").await?;
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
    world.situation.is_now(State::Running);
    Ok(())
}
