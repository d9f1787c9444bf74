//! Has the target evaluate the flake itself, with its private inputs fetched through the confined agent, and compares:
//! it must be the very system that was planned. The disks are untouched.
//!
//! On the target: one directory, memory of its own, with the flake's source, the inputs and the derivations. Cut in
//! the middle: with the connection the fetch ends, and removes the directory; else the next run does. Tried
//! again: from the beginning. The directory goes when the system is built.

use super::residue::{self, FETCH};
use super::{Act, Explained, State, World};
use crate::machine::{Input, Script, last_lines};
use crate::nix::{Closure, Store};
use crate::plan::step::Evaluate;
use crate::prepare::Inputs;
use crate::report::{Event, Exit};
use anyhow::{Context, Result, bail};

/// The root of the store in that directory.
const STORE: &str = "/run/landfall-fetch/root";

impl Act for Evaluate {
    fn title(&self) -> &'static str {
        "having the target fetch and evaluate the flake"
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { toplevel, attribute, .. } = self;
        let inputs =
            world.fixed.inputs.clone().context("nothing is known of the flake's inputs")?;
        world.target_state.is_now(State::Installer);
        world.target_state.set_untidy(true);
        residue::clear(world).await.context("removing what an earlier attempt has left")?;
        world
            .target
            .run(&Script::file("evaluate-begin.sh", include_str!("evaluate-begin.sh")).arg(FETCH))
            .await?;
        for path in inputs.flake.staged() {
            super::copy::send(world, Closure::Built(path), Store::Below(STORE))
                .await
                .context("staging")?;
        }
        let flake = format!("path:{STORE}{}{}", inputs.flake.source, inputs.flake.query);
        // A lock file may be longer than an argument can be.
        write(world, "flake.lock", &inputs.flake.lock).await?;
        write(world, "known_hosts", inputs.known_hosts()).await?;
        fetch(world, &inputs, &flake).await.context("fetching the inputs on the target")?;
        let script = Script::file("evaluate.sh", include_str!("evaluate.sh"))
            .arg(FETCH)
            .arg(&flake)
            .arg(attribute);
        let job = world.job("evaluate", script.words().to_vec())?;
        let mut on_line = world.show_output("evaluate");
        world.target.job(&job, &mut on_line).await.context("evaluating on the target")?;
        let drv = world.target.run(&Script::command("cat").arg(format!("{FETCH}/drv"))).await?;
        if drv.trim() != toplevel.drv.as_str() {
            bail!(
                "the target and this workstation evaluate different systems: {} and {}",
                drv.trim(),
                toplevel.drv
            );
        }
        world.report.note(format!("the target evaluates the same system: {}", toplevel.drv));
        Ok(())
    }

    fn explain(&self, _: &anyhow::Error) -> Explained {
        Explained::new(
            Exit::Build,
            "the target could not evaluate the system",
            "fix what is named above, and run the same command again; or leave out --evaluate-on",
        )
    }
}

/// Writes a file in the one directory.
async fn write(world: &World, name: &str, text: &str) -> Result<()> {
    let script = Script::sh(r#"umask 077; cat >"$1""#).arg(format!("{FETCH}/{name}"));
    world.target.run_with(&script, Input::Bytes(text.as_bytes())).await?;
    Ok(())
}

/// The one command that may use the agent, on a connection of its own.
async fn fetch(world: &mut World, inputs: &Inputs, flake: &str) -> Result<()> {
    let script = Script::file("fetch.sh", include_str!("fetch.sh")).arg(FETCH).arg(flake);
    let Some(agent) = inputs.agent(&world.report)? else {
        let job = world.job("fetch", script.words().to_vec())?;
        let mut on_line = world.show_output("fetch");
        return world.target.job(&job, &mut on_line).await;
    };
    let mut sockets = Vec::new();
    let report = world.report.clone();
    let mut on_line = |line: &str| {
        if let Some(socket) = line.strip_prefix("agent ") {
            sockets.push(socket.to_owned());
        } else {
            report.emit(Event::Output { source: "fetch", text: line.to_owned() });
        }
    };
    let deadline = world.target.deadlines().job;
    let run = world.target.attempt_forwarding(&script, agent.socket(), &mut on_line, deadline);
    let ended = run.await;
    world.seen.agent_sockets.extend(sockets);
    let ended = ended?;
    if ended.status != Some(0) {
        bail!("{}", last_lines(&format!("{}\n{}", ended.stdout, ended.stderr), 12));
    }
    Ok(())
}
