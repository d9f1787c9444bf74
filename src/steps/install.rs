//! Makes the copied system the one that boots: host keys and files, then `nixos-install` as a detached job, then the
//! files' owners.
//!
//! On the target: host keys, the user's files, the system profile, the boot loader. Cut in the middle: the job goes
//! on by itself. Tried again: keys that are there stay (one that is supplied takes its place again), files are
//! placed again, `nixos-install` does its work again.

use super::{Act, Explained, State, World};
use crate::facts::DeclaredHostKey;
use crate::machine::{Elevation, Input, JobFailed, Script};
use crate::nix::StorePath;
use crate::plan::HostKeyPlan;
use crate::plan::step::Install;
use crate::report::{Event, Exit, StepName};
use crate::secrets;
use crate::secrets::place::{Place, Placed};
use anyhow::{Context, Result, bail};

impl Act for Install {
    fn title(&self) -> &'static str {
        "running nixos-install, so that the system boots"
    }

    async fn already(&self, world: &mut World) -> Result<Option<String>> {
        already(world, &self.toplevel, &self.host_keys).await
    }

    async fn act(&self, world: &mut World) -> Result<()> {
        let Self { toplevel, host_keys, authorize, .. } = self;
        let keys =
            place_host_keys(world, host_keys).await.context("giving the system host keys")?;
        if !authorize.is_empty() {
            let lines = authorize.join("\n") + "\n";
            let script = Script::file("authorize.sh", include_str!("authorize.sh"));
            world.target.run_with(&script, Input::Bytes(lines.as_bytes())).await?;
        }
        place_files(world).await.context("placing files for the first boot")?;
        // Before it could answer by them: a run that continues later must know the machine again.
        world.journal.keep_keys(&keys)?;
        world.target_state.is_now(State::Installing);
        let command = Script::file("nixos-install.sh", include_str!("nixos-install.sh"))
            .arg(toplevel.as_str());
        let job = world.job("nixos-install", command.words().to_vec())?;
        let mut on_line = world.show_output("nixos-install");
        if let Err(error) = world.target.job(&job, &mut on_line).await {
            if error.is::<JobFailed>() {
                world.target_state.is_now(State::NotInstalled);
            }
            return Err(error.context("running nixos-install"));
        }
        // Its users are known only now.
        let owners = world.fixed.files.ownership();
        if !owners.is_empty() {
            let script = Script::file("owners.sh", include_str!("owners.sh")).args(owners);
            world.target.run(&script).await.context("giving files their owners")?;
        }
        world.target_state.is_now(State::Installed);
        Ok(())
    }

    fn explain(&self, _: &anyhow::Error) -> Explained {
        Explained::new(
            Exit::Install,
            "the system could not be installed",
            "read the log on the target; once the cause is fixed, run the same command again",
        )
    }
}

/// Whether this run has installed the system that is mounted: its profile and host keys are there. None if
/// `nixos-install` has to be run.
async fn already(
    world: &World,
    toplevel: &StorePath,
    host_keys: &HostKeyPlan,
) -> Result<Option<String>> {
    let record = world.journal.record();
    // Whether files are still as the user has them today is not asked: they are placed again.
    if !record.has_finished(StepName::Install) || !world.fixed.files.is_empty() {
        return Ok(None);
    }
    let path = match host_keys {
        HostKeyPlan::Copy => "",
        HostKeyPlan::Create(key) | HostKeyPlan::Place { key, .. } => &key.path,
    };
    let script = Script::file("installed-already.sh", include_str!("installed-already.sh"));
    let script = script.arg(toplevel.as_str()).arg(path);
    let said = world.target.attempt(&script, Input::Nothing).await?;
    let keys = public_keys(&said.stdout);
    let supplied = match host_keys {
        HostKeyPlan::Place { public, .. } => Some(public),
        _ => None,
    };
    if supplied.is_some_and(|public| !keys.contains(public)) {
        return Ok(None);
    }
    if said.status != Some(0) || !record.installed_keys.iter().all(|key| keys.contains(key)) {
        return Ok(None);
    }
    world.target_state.is_now(State::Installed);
    Ok(Some(format!("{toplevel} is installed, with the host keys of this run")))
}

/// `type base64 comment`, one a line; the comment names the machine it was made on.
fn public_keys(said: &str) -> Vec<String> {
    let key = |line: &str| {
        let mut words = line.split_whitespace();
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    said.lines().filter_map(key).collect()
}

/// Streams the user's files to their places, once it is proven that no link leads any of them elsewhere.
async fn place_files(world: &World) -> Result<()> {
    let places = world.fixed.files.places();
    if places.is_empty() {
        return Ok(());
    }
    let script = Script::file("places.sh", include_str!("places.sh"));
    let there = world.target.run_with(&script, Input::Bytes(&places)).await?;
    let there: Vec<usize> = there.lines().filter_map(|number| number.parse().ok()).collect();
    let mut archive = world.fixed.files.archive(&there)?;
    let report = &world.report;
    let mut on_progress = |bytes| {
        report.emit(Event::Progress { what: "files", bytes, total: None });
    };
    let script = Script::file("place.sh", include_str!("place.sh"));
    let sent =
        world.target.run_with(&script, Input::Stream(&mut archive.bytes, &mut on_progress)).await;
    match (sent, archive.finish().await) {
        (Ok(_), whole) => whole,
        // If the archive broke off here, that is the reason for what the target says; if the target stopped
        // reading, it is the other way round.
        (Err(_), Err(broken)) if !is_broken_pipe(&broken) => Err(broken),
        (Err(error), _) => Err(error.into()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let kind = error.downcast_ref::<std::io::Error>().map(std::io::Error::kind);
    kind == Some(std::io::ErrorKind::BrokenPipe)
}

async fn place_host_keys(world: &World, plan: &HostKeyPlan) -> Result<Vec<String>> {
    let script = Script::file("host-keys.sh", include_str!("host-keys.sh"));
    let script = match plan {
        HostKeyPlan::Copy => script.arg("copy"),
        HostKeyPlan::Create(key) => script.arg("create").arg(&key.kind).arg(&key.path),
        HostKeyPlan::Place { key, public } => return supply(world, key, public).await,
    };
    let said = world.target.run(&script).await?;
    let keys = public_keys(&said);
    if keys.is_empty() {
        bail!("the target has no host key that could be kept");
    }
    Ok(keys)
}

/// Places the host key that is supplied; what is there of an earlier try gives way to it.
async fn supply(world: &World, key: &DeclaredHostKey, public: &str) -> Result<Vec<String>> {
    let supplied = world.host_key().filter(|supplied| supplied.public == public);
    let supplied = supplied.context("the planned host key is not available")?;
    let comment = format!("root@{}", world.fixed.host.host_name.as_deref().unwrap_or_default());
    let place = Place { root: "/mnt", path: &key.path, comment: &comment, replace: true };
    match secrets::place::place(&world.target, Elevation::Root, place, supplied).await? {
        Placed::There(there) if there == public => Ok(vec![there]),
        Placed::There(other) => bail!("the host key that was placed is read back as {other}"),
        Placed::Other(said) => bail!("the host key could not be placed: {said}"),
    }
}
