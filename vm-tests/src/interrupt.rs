//! Ctrl-C in every step of an install on the emulated board: it ends within five seconds, says in which state
//! the target is, and the same command can be run again.

use crate::lab::Lab;
use crate::say;
use anyhow::{Context, Result, anyhow, bail, ensure};
use landfall::facts::{HostFacts, TargetFacts};
use landfall::install::{Request, Workstation};
use landfall::machine::{HostKeys, Image, ImageSource, Input, Script, Target};
use landfall::rehearsal::{RehearsalRequest, Rig};
use landfall::report::{Failure, Report, Tally};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The promise: so long after Ctrl-C it is over.
const PROMPT: Duration = Duration::from_secs(5);
/// For whatever the emulated machine does by itself.
const PATIENCE: Duration = Duration::from_secs(600);

/// The command of the process that runs the scenario.
pub(crate) const INSIDE: &str = "interrupt-inside";

/// Runs the scenario in a process of its own, which has Nix and QEMU in its PATH.
pub(crate) fn check(lab: &Lab) -> Result<()> {
    let status = lab.command(std::env::current_exe()?).arg(INSIDE).status()?;
    ensure!(status.success(), "the scenario failed");
    Ok(())
}

/// The scenario itself.
pub(crate) fn run(lab: &Lab) -> Result<bool> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(scenario(lab))?;
    Ok(true)
}

/// When Ctrl-C is pressed.
#[derive(Debug, Clone, Copy)]
enum Moment {
    /// As soon as the step has begun.
    Begin(&'static str),
    /// As soon as the job has said something, so that it surely runs.
    Output(&'static str),
}

impl Moment {
    fn is_now(self, event: &Value) -> bool {
        match self {
            Self::Begin(step) => event["event"] == "step_started" && event["step"] == step,
            Self::Output(source) => event["event"] == "output" && event["source"] == source,
        }
    }
}

async fn scenario(lab: &Lab) -> Result<()> {
    let request = rehearsal_request(lab)?;
    let landfall = &lab.landfall()?;
    let report = Report::new(false, Some("interrupt"));
    let workstation = Workstation::find().map_err(in_words)?;
    let host = HostFacts::gather(&workstation.nix, &request.host, &request.flake).await;
    let host = host.map_err(in_words)?;
    let image = Image::obtain(&request.image, None, &report).await?;
    let rig = Rig::power_on(&request, &host, &image, &report).await.map_err(in_words)?;
    let install = rig.install_request(&request);

    press(landfall, &install, Moment::Begin("build"), &["as it was", "still the old system"])?;
    press(landfall, &install, Moment::Output("kexec"), &["on its way"])?;
    until("the installer is up", || is_installer(&install)).await?;
    press(landfall, &install, Moment::Output("disko"), &["being laid out anew"])?;
    refused_beside_a_running_job(landfall, &install)?;
    until("the disko job has ended", || holds(&install, JOB_ENDED, "disko")).await?;
    press(landfall, &install, Moment::Begin("copy"), &["laid out, mounted"])?;
    press(landfall, &install, Moment::Output("nixos-install"), &["nixos-install goes on"])?;
    until("nixos-install has ended", || holds(&install, JOB_ENDED, "nixos-install")).await?;
    press(landfall, &install, Moment::Begin("reboot"), &["was not restarted", "restarting"])?;
    until("nothing lets go of disks", || holds(&install, LET_GO_ENDED, "")).await?;
    press(landfall, &install, Moment::Begin("verify"), &["restarting"])
}

fn rehearsal_request(lab: &Lab) -> Result<RehearsalRequest> {
    let rescue = &lab.stages["rescue"];
    Ok(RehearsalRequest {
        host: "helios64".parse().map_err(|error: String| anyhow!(error))?,
        flake: format!("path:{}", lab.fleet.display()),
        image: ImageSource::File(lab.stages["installer"].join("kexec-installer.tar.gz")),
        image_sha256: None,
        rescue: Some((rescue.join("kernel"), rescue.join("initrd"))),
        memory: 2048,
        clock: None,
        disk_size: 8 << 30,
        firmware: Some(lab.stages["tools"].join("u-boot.bin")),
        timeout: PATIENCE,
        keep: false,
    })
}

/// The ordinary command, as a user types it.
fn command(landfall: &Path, install: &Request) -> Result<Command> {
    let login = &install.login;
    let Some(ImageSource::File(image)) = &install.image else { bail!("the image is no file") };
    let HostKeys::Pinned(keys) = &login.host_keys else { bail!("the host key is not pinned") };
    let mut command = Command::new(landfall);
    command.args(["install", "helios64", &login.destination.to_string(), "--yes", "--json"]);
    command.arg("--flake").arg(&install.flake).arg("--kexec").arg(image);
    for key in keys {
        command.args(["--host-key", key]);
    }
    for option in &login.options {
        command.args(["--ssh-option", option]);
    }
    for identity in &login.identities {
        command.arg("-i").arg(identity);
    }
    command.stdout(Stdio::piped()).stdin(Stdio::null());
    Ok(command)
}

/// Presses Ctrl-C at the moment, and looks how it ends.
fn press(landfall: &Path, install: &Request, moment: Moment, states: &[&str]) -> Result<()> {
    say(&format!("   Ctrl-C at {moment:?}"));
    let mut child = command(landfall, install)?.spawn()?;
    let mut pressed = None;
    let last = events(&mut child, |event, child| {
        if pressed.is_none() && moment.is_now(event) {
            pressed = Some(Instant::now());
            let kill = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
            return kill.context("sending the signal").map(|_| ());
        }
        Ok(())
    })?;
    let status = child.wait()?;
    let took = pressed.with_context(|| format!("it ended before {moment:?}: {last}"))?.elapsed();
    ensure!(took < PROMPT, "it took {:.1} s to end", took.as_secs_f64());
    ensure!(status.code() == Some(130), "it ended with {status}: {last}");
    let state = last["state"].as_str().unwrap_or_default();
    ensure!(
        states.iter().any(|expected| state.contains(expected)),
        "it says of the target '{state}', which is none of {states:?}"
    );
    say(&format!("   ended after {:.2} s; target: {state}", took.as_secs_f64()));
    Ok(())
}

/// A second run must not start the layout beside the first one's.
fn refused_beside_a_running_job(landfall: &Path, install: &Request) -> Result<()> {
    let mut child = command(landfall, install)?.spawn()?;
    let last = events(&mut child, |_, _| Ok(()))?;
    let status = child.wait()?;
    ensure!(status.code() == Some(9), "beside a running job it ended with {status}: {last}");
    ensure!(last.to_string().contains("still at work"), "it does not say why: {last}");
    Ok(())
}

/// Hands on every event; the last one.
fn events(
    child: &mut Child,
    mut on_event: impl FnMut(&Value, &Child) -> Result<()>,
) -> Result<Value> {
    let stdout = child.stdout.take().context("landfall has no stdout")?;
    let mut last = Value::Null;
    for line in BufReader::new(stdout).lines() {
        last = serde_json::from_str(&line?).context("an event is no JSON")?;
        on_event(&last, child)?;
    }
    Ok(last)
}

/// True once the job named `$1` has left its status.
const JOB_ENDED: &str = r#"test -e "/run/landfall/$1/status""#;
/// True when no process carries the script that lets go of the disks. (The brackets keep it from finding
/// itself.)
const LET_GO_ENDED: &str = "! grep -qsl '[L]ets go of the new disks' /proc/[0-9]*/cmdline";

async fn holds(install: &Request, script: &'static str, argument: &'static str) -> Result<bool> {
    let target = connect(install).await?;
    let output = target.attempt(&Script::sh(script).arg(argument), Input::Nothing).await?;
    Ok(output.status == Some(0))
}

async fn is_installer(install: &Request) -> Result<bool> {
    let target = connect(install).await?;
    Ok(TargetFacts::gather(&target).await?.is_installer())
}

/// Connecting prepares the system too: its disks get their names.
async fn connect(install: &Request) -> Result<Target> {
    let (login, prepare) = (install.login.clone(), install.prepare.clone());
    Ok(Target::connect(login, prepare, Tally::default()).await?)
}

/// Asks again until it is so; an error (the machine is between two boots) is no answer.
async fn until<F: Future<Output = Result<bool>>>(what: &str, ask: impl Fn() -> F) -> Result<()> {
    let start = Instant::now();
    let mut last = String::new();
    while start.elapsed() < PATIENCE {
        match ask().await {
            Ok(true) => return Ok(()),
            Ok(false) => "not yet".clone_into(&mut last),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bail!("waited {} s in vain until {what}: {last}", PATIENCE.as_secs())
}

fn in_words(failure: Failure) -> anyhow::Error {
    match failure.why {
        Some(why) => why.context(failure.what),
        None => anyhow!(failure.what),
    }
}
