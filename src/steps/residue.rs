//! The audit of what is left: nothing of a run stays where it must not, and what was looked for is reported.
//!
//! On the target it is asked before the restart, of the installer and of the new root, and once more of the
//! installed system; here, when the last connection is closed. A run that fails or is interrupted takes its things
//! away, and is asked the same.

use super::World;
use crate::machine::{Input, Script};
use crate::paths::left_on_workstation;
use crate::report::{Event, Exit, Failure};
use crate::secrets::sums;
use anyhow::{Context, Result, bail};
use std::time::Duration;

/// The one directory in the installer where everything lies that must not stay.
pub(super) const FETCH: &str = "/run/landfall-fetch";

/// Which root is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Root {
    /// The installer, which runs from memory.
    Installer,
    /// The root that is being put together under /mnt.
    New,
    /// The same, once it runs.
    Installed,
}

impl Root {
    fn name(self) -> &'static str {
        match self {
            Self::Installer => "installer",
            Self::New => "new root",
            Self::Installed => "installed system",
        }
    }

    fn path(self) -> &'static str {
        if self == Self::New { "/mnt" } else { "" }
    }
}

/// Something has stayed.
#[derive(Debug, thiserror::Error)]
#[error("left on the {0}:\n- {1}")]
pub(super) struct Left(&'static str, String);

/// Looks, reports, and fails if anything is found.
pub(super) async fn audit(world: &mut World, root: Root) -> Result<()> {
    let found = look(world, root).await.context("looking for what is left")?;
    if found.is_empty() { Ok(()) } else { Err(Left(root.name(), found.join("\n- ")).into()) }
}

/// Reports what was found as an event, and keeps it for the summary.
async fn look(world: &mut World, root: Root) -> Result<Vec<String>> {
    let mut words = vec![root.path().to_owned(), root.name().to_owned(), FETCH.to_owned()];
    let hosts = world.fixed.inputs.iter().flat_map(|inputs| inputs.known_hosts().lines());
    let keys = hosts.filter_map(|line| line.split_whitespace().nth(2));
    words.extend(keys.map(|key| format!("host:{key}")));
    words.extend(world.seen.agent_sockets.iter().map(|path| format!("socket:{path}")));
    let host_keys = world.fixed.host.host_keys.iter().flatten();
    words.extend(host_keys.map(|key| format!("key:{}", key.path)));
    words.extend(world.fixed.options.authorize.iter().map(|key| format!("login:{key}")));
    words.extend(world.fixed.files.paths().into_iter().map(|path| format!("placed:{path}")));
    let script = Script::file("residue.sh", include_str!("residue.sh")).args(words);
    let supplied = world.host_key().into_iter().map(|key| &key.private);
    let sums =
        sums(world.fixed.files.contents().chain(supplied)) + &world.fixed.files.private_sums()?;
    let said = world.target.attempt(&script, Input::Bytes(sums.as_bytes())).await?;
    if said.status != Some(0) {
        bail!("{}", said.stderr.trim());
    }
    let of_kind = |kind: &str| {
        let lines = said.stdout.lines().filter_map(|line| line.split_once('\t'));
        lines.filter(|(what, _)| *what == kind).map(|(_, text)| text.to_owned()).collect::<Vec<_>>()
    };
    let (asked, found) = (of_kind("asked"), of_kind("found"));
    note(world, root.name(), asked, &found);
    Ok(found)
}

fn note(world: &mut World, place: &'static str, asked: Vec<String>, found: &[String]) {
    world.seen.residue.extend(found.iter().map(|left| format!("{place}: {left}")));
    world.report.emit(Event::Residue { place, asked, found: found.to_owned() });
}

/// How long a run that failed or was interrupted has to take its things away.
const TIDYING: Duration = Duration::from_secs(15);

/// Takes away what must not outlive the run, and looks. That it cannot is reported, and does not replace the failure.
pub(super) async fn after_failure(world: &mut World) {
    let untidy = world.target_state.is_untidy();
    if untidy || world.found.is_installer() {
        let why = match tokio::time::timeout(TIDYING, tidy(world, untidy)).await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(format!("{error:#}")),
            Err(_) => Some(format!("it did not answer within {} s", TIDYING.as_secs())),
        };
        // Where nothing was to be taken away, a machine that does not answer is reported already.
        if let Some(why) = why.filter(|_| untidy) {
            let what = format!("{FETCH} on the installer could not be removed");
            world.report.note(format!("{what}: {why}"));
        }
    }
    // What is found here is reported; the failure itself comes next.
    let _ = on_workstation(world);
}

async fn tidy(world: &mut World, untidy: bool) -> Result<()> {
    if world.target.is_gone().await {
        if !untidy {
            return Ok(());
        }
        world.target.reconnect().await?;
    }
    if untidy {
        clear(world).await?;
        world.target_state.set_untidy(false);
    }
    look(world, Root::Installer).await.map(|_| ())
}

/// Removes the directory, and proves that it is gone.
pub(super) async fn clear(world: &World) -> Result<()> {
    world
        .target
        .run(&Script::file("residue-clear.sh", include_str!("residue-clear.sh")).arg(FETCH))
        .await?;
    Ok(())
}

/// Closes the last connection and looks at this machine.
pub(super) fn on_workstation(world: &mut World) -> Result<(), Failure> {
    world.target.close();
    let found: Vec<String> =
        left_on_workstation().iter().map(|path| path.display().to_string()).collect();
    let asked = ["sockets and temporary files of this run"].map(str::to_owned).into();
    note(world, "workstation", asked, &found);
    if found.is_empty() {
        return Ok(());
    }
    let failure = Failure::new(Exit::Other, "something of this run is left on this machine");
    Err(failure.because(anyhow::anyhow!(found.join("\n"))).hint("remove it by hand"))
}
