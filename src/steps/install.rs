//! Makes the copied system the one that boots: host keys, then `nixos-install` as a detached job.
//!
//! On the target: host keys, the system profile, the boot loader. Cut in the middle: the job goes on by itself.
//! Tried again: keys that are there stay, `nixos-install` does its work again.

use super::{State, World};
use crate::machine::{HostKeys, Input, Script};
use crate::nix::StorePath;
use crate::plan::HostKeyPlan;
use anyhow::{Context, Result, bail};

pub(super) async fn run(
    world: &mut World,
    toplevel: &StorePath,
    host_keys: &HostKeyPlan,
    authorize: &[String],
) -> Result<()> {
    let keys = place_host_keys(world, host_keys).await.context("giving the system host keys")?;
    if !authorize.is_empty() {
        let lines = authorize.join("\n") + "\n";
        let script = Script::sh(include_str!("authorize.sh"));
        world.target.run_with(&script, Input::Bytes(lines.as_bytes())).await?;
    }
    world.situation.is_now(State::Installing);
    let command = Script::sh(include_str!("nixos-install.sh")).arg(toplevel.as_str());
    let mut hear = world.hear("nixos-install");
    world
        .target
        .job("nixos-install", &command, &mut hear)
        .await
        .context("running nixos-install")?;
    world.seen.host_keys.clone_from(&keys);
    // From the next connection on, nobody else is the target.
    world.target.expect(Some(HostKeys::Pinned(keys)));
    world.situation.is_now(State::Installed);
    Ok(())
}

async fn place_host_keys(world: &World, plan: &HostKeyPlan) -> Result<Vec<String>> {
    let script = Script::sh(include_str!("host-keys.sh"));
    let script = match plan {
        HostKeyPlan::Copy => script.arg("copy"),
        HostKeyPlan::Create(key) => script.arg("create").arg(&key.kind).arg(&key.path),
    };
    let said = world.target.run(&script).await?;
    // `type base64 comment`; the comment names the machine it was made on.
    let keys = said.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    });
    let keys: Vec<String> = keys.collect();
    if keys.is_empty() {
        bail!("the target has no host key that could be handed on");
    }
    Ok(keys)
}
