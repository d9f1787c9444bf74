//! An emulated board in its rescue system, and the ordinary `landfall install` run against it.

use crate::console;
use crate::lab::{self, Lab};
use crate::pace::paced;
use crate::rehearsal::Way;
use anyhow::{Context, Result, anyhow, bail, ensure};
use landfall::commands::install::InstallRequest;
use landfall::commands::rehearse::{RehearsalRequest, Rig, SpareDisk};
use landfall::facts::{HostFacts, TargetFacts};
use landfall::machine::{Backoff, HostKeys, Image, ImageSource, Login, Target};
use landfall::plan::InstallOptions;
use landfall::prepare::{Flake, Request, Sources, Workstation};
use landfall::report::{CommandLine, Failure, Metrics, Report, StepName};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

/// For whatever the emulated machine does by itself, which on a busy one takes its time.
fn patience() -> Duration {
    paced(600)
}

/// Bytes of each disk of the layout.
pub(crate) const DISK: u64 = 3 << 30;

/// The host whose board it is, unless another one is asked for.
const HOST: &str = "helios64";

/// The board, and what it takes to install on it.
pub(crate) struct Board {
    rig: Rig,
    request: RehearsalRequest,
    report: Report,
    landfall: PathBuf,
    install: InstallRequest,
    /// The system that must run in the end.
    pub(crate) toplevel: String,
}

impl Board {
    /// Switches a new one on, with blank disks.
    pub(crate) async fn power_on(lab: &Lab, name: &str, way: Way) -> Result<Self> {
        Self::power_on_with(lab, name, way, |_| Ok(())).await
    }

    /// The same, with something done to its fleet before.
    pub(crate) async fn power_on_with(
        lab: &Lab,
        name: &str,
        way: Way,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        Self::power_on_as(lab, name, way, HOST, Vec::new(), prepare).await
    }

    /// The same with another host of the fleet, and with disks that its layout does not name.
    pub(crate) async fn power_on_as(
        lab: &Lab,
        name: &str,
        way: Way,
        host: &str,
        spares: Vec<SpareDisk>,
        prepare: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<Self> {
        let landfall = lab.landfall().to_owned();
        // A fleet of its own: the key of this board goes into it.
        let fleet = lab.root.join("target/rehearsal").join(name).join("fleet");
        if fleet.exists() {
            std::fs::remove_dir_all(&fleet)?;
        }
        lab::copy(&lab.fleet, &fleet)?;
        prepare(&fleet)?;
        let request = RehearsalRequest { spares, ..request(lab, &fleet, way, host)? };
        let report = Report::new(false, name, Some(CommandLine::of(std::env::args_os())));
        let workstation = Workstation::find(&request.install.flake).map_err(in_words)?;
        let host = HostFacts::gather(
            &workstation.nix,
            &request.install.host,
            &request.install.flake.reference,
        )
        .await;
        let host = host.map_err(in_words)?;
        let image = Image::obtain(&request.image, None, &report).await?;
        let rig = Rig::power_on(&request, &host, &image, &report).await.map_err(in_words)?;
        let install = rig.install_request(&request);
        // A user's configuration says who may log in; there is no option for it.
        std::fs::write(
            fleet.join("authorized_keys"),
            install.install.options.authorize.join("\n") + "\n",
        )?;
        let host = HostFacts::gather(
            &workstation.nix,
            &request.install.host,
            &request.install.flake.reference,
        )
        .await;
        let host = host.map_err(in_words)?;
        let toplevel = host.toplevel.as_ref().context("the host has no toplevel")?.out.to_string();
        Ok(Self { rig, request, report, landfall, install, toplevel })
    }

    /// Changes its fleet, as somebody who edits the flake does; the disks in the machine stay those that are in it.
    pub(crate) async fn redeclare(
        &mut self,
        change: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let fleet = self
            .request
            .install
            .flake
            .reference
            .strip_prefix("path:")
            .context("the flake is no path")?;
        change(Path::new(fleet))?;
        let workstation = Workstation::find(&self.request.install.flake).map_err(in_words)?;
        let host = HostFacts::gather(
            &workstation.nix,
            &self.request.install.host,
            &self.request.install.flake.reference,
        );
        let toplevel = host.await.map_err(in_words)?.toplevel;
        self.toplevel = toplevel.context("the host has no toplevel")?.out.to_string();
        Ok(())
    }

    /// Exchanges a disk, by its name in the layout, for an empty one with the same names: from when the board is switched on
    /// the next time.
    pub(crate) fn exchange_disk(&self, name: &str) -> Result<()> {
        let (_, file) = self.disk(name)?;
        // Another file: whoever has the old one open goes on with that.
        std::fs::remove_file(file)?;
        Ok(std::fs::File::create(file)?.set_len(self.request.disk_size)?)
    }

    /// Cuts the power; a moment later the rescue system is up again.
    pub(crate) async fn power_cycle(&self) -> Result<()> {
        self.rig.power_cycle(&self.request, &self.report).await.map_err(in_words)
    }

    /// The machine itself.
    pub(crate) fn rig(&self) -> &Rig {
        &self.rig
    }

    /// A disk by its name in the layout, or a spare one by its own: its path, and the file that has its bytes.
    pub(crate) fn disk(&self, name: &str) -> Result<(&str, &Path)> {
        let found = self.rig.disks().find(|(disk, ..)| *disk == name);
        let (_, device, file) = found.with_context(|| format!("there is no disk {name}"))?;
        Ok((device, file))
    }

    /// Fails if the serial console tells of trouble, apart from lines that say one of `expected`.
    pub(crate) fn check_console(&self, expected: &[String]) -> Result<()> {
        console::check(self.rig.console(), expected)
    }

    /// Logs in. This prepares the system too: its disks get their names.
    pub(crate) async fn connect(&self) -> Result<Target> {
        self.log_in(self.install.target.login.clone()).await
    }

    /// Tries until the board lets us in: it may have been switched on a moment ago, and is slow beside other work.
    async fn log_in(&self, login: Login) -> Result<Target> {
        let start = Instant::now();
        let patience = login.deadlines.first_login;
        let mut pause = Backoff::pause();
        loop {
            let prepare = self.install.target.prepare.clone();
            match Target::connect(login.clone(), prepare, Metrics::default()).await {
                Err(error) if !error.kind.is_final() && start.elapsed() < patience => {
                    pause.sleep().await;
                }
                ended => return Ok(ended?),
            }
        }
    }

    /// What the machine is now.
    pub(crate) async fn look(&self) -> Result<TargetFacts> {
        Ok(TargetFacts::gather(&self.connect().await?).await?)
    }

    /// The system that was installed on it, logged in to by the host key it was given. Its disks get their names, too.
    pub(crate) async fn connect_installed(&self, key: &str) -> Result<Target> {
        self.log_in(self.login_by(key)).await
    }

    fn login_by(&self, key: &str) -> Login {
        let host_keys = HostKeys::Pinned(vec![key.to_owned()]);
        Login { host_keys, ..self.install.target.login.clone() }
    }

    /// Where its fleet lies.
    pub(crate) fn fleet(&self) -> Result<&Path> {
        let path = self
            .request
            .install
            .flake
            .reference
            .strip_prefix("path:")
            .context("the flake is no path")?;
        Ok(Path::new(path))
    }

    /// Files that may tell of what was done on it, with what they are: the run's logs, the console, the disks.
    pub(crate) fn traces(&self) -> Result<Vec<(&'static str, PathBuf)>> {
        let mut traces = vec![("console", self.rig.console().to_owned())];
        traces.extend(self.rig.disks().map(|(_, _, file)| ("disk", file.to_owned())));
        let log = self.report.log_path().context("no log is kept")?;
        let logs = std::fs::read_dir(log.parent().context("the log lies nowhere")?)?;
        for log in logs {
            let path = log?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                traces.push(("log", path));
            }
        }
        Ok(traces)
    }

    /// Starts the ordinary command, as a user types it; always the same one.
    pub(crate) fn start(&self) -> Result<Run> {
        self.start_with(&[])
    }

    /// The same with further options.
    pub(crate) fn start_with(&self, more: &[&str]) -> Result<Run> {
        let Some(ImageSource::File(image)) = &self.install.target.image else {
            bail!("the image is no file")
        };
        let image = image.to_string_lossy();
        let patience = self.install.target.login.deadlines.login.as_secs().to_string();
        let always = ["--yes", "--kexec", &*image, "--login-timeout", &patience];
        let options: Vec<&str> = always.iter().chain(more).copied().collect();
        self.run(&["install"], &self.install.target.login, &options)
    }

    /// Starts another command of the program against whatever runs on the board, whose host key is this.
    pub(crate) fn start_command(&self, words: &[&str], key: &str, more: &[&str]) -> Result<Run> {
        self.run(words, &self.login_by(key), more)
    }

    fn run(&self, words: &[&str], login: &Login, more: &[&str]) -> Result<Run> {
        let HostKeys::Pinned(keys) = &login.host_keys else { bail!("the host key is not pinned") };
        let mut command = Command::new(&self.landfall);
        command.args(words).arg(&self.request.install.host.attribute);
        command.args([
            &login.destination.to_string(),
            "--json",
            "--flake",
            &self.install.install.flake.reference,
        ]);
        for key in keys {
            command.args(["--host-key", key]);
        }
        for option in &login.options {
            command.args(["--ssh-option", option]);
        }
        for identity in &login.identities {
            command.arg("-i").arg(identity);
        }
        command.args(more).stdout(Stdio::piped()).stdin(Stdio::null()).kill_on_drop(true);
        let mut child = command.spawn().context("starting landfall")?;
        let stdout = child.stdout.take().context("landfall has no stdout")?;
        Ok(Run {
            child,
            events: BufReader::new(stdout).lines(),
            findings: Vec::new(),
            plan: Value::Null,
            last: Value::Null,
        })
    }
}

fn request(lab: &Lab, fleet: &Path, way: Way, host: &str) -> Result<RehearsalRequest> {
    let rescue = &lab.stages["rescue"];
    Ok(RehearsalRequest {
        install: Request {
            host: host.parse().map_err(|error: String| anyhow!(error))?,
            flake: Flake { reference: format!("path:{}", fleet.display()), overrides: Vec::new() },
            options: InstallOptions::default(),
            sources: Sources::default(),
        },
        image: ImageSource::File(lab.stages["installer"].join("kexec-installer.tar.gz")),
        image_sha256: None,
        rescue: (way == Way::Kexec).then(|| (rescue.join("kernel"), rescue.join("initrd"))),
        memory: 2048,
        clock: None,
        // Room for the layout and a system; they are read from end to end.
        disk_size: DISK,
        spares: Vec::new(),
        firmware: Some(lab.stages["tools"].join("u-boot.bin")),
        timeout: patience(),
        leave_running: false,
    })
}

/// A moment in a run, by the events it has said so far.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Moment {
    /// The step has begun.
    Begin(StepName),
    /// Such an event is told.
    Event(&'static str),
    /// The job has said a line with this in it, so that it surely runs.
    Output(&'static str, &'static str),
    /// So many hundredths of this have been sent.
    Sent(&'static str, u64),
}

impl Moment {
    fn is_now(self, event: &Value) -> bool {
        let text = |field: &str| event[field].as_str().unwrap_or_default();
        let number = |field: &str| event[field].as_u64().unwrap_or_default();
        match self {
            Self::Begin(step) => text("event") == "step_started" && text("step") == step.as_str(),
            Self::Event(name) => text("event") == name,
            Self::Output(source, words) => {
                text("event") == "output"
                    && text("source") == source
                    && text("text").contains(words)
            }
            Self::Sent(what, hundredths) => {
                // The disko script travels as a closure too; it is nothing beside a system.
                const SYSTEM: u64 = 1 << 20;
                let (bytes, total) = (number("bytes"), number("total"));
                text("event") == "progress"
                    && text("what") == what
                    && total > SYSTEM
                    && bytes * 100 >= total * hundredths
            }
        }
    }
}

/// A board whose installed system runs, and the host key that this was given.
pub(crate) struct Installed {
    /// The board.
    pub(crate) board: Board,
    /// `type base64` of the host key.
    pub(crate) key: String,
}

/// A running `landfall install`.
pub(crate) struct Run {
    child: Child,
    events: Lines<BufReader<ChildStdout>>,
    findings: Vec<Value>,
    plan: Value,
    last: Value,
}

/// How a run ended.
pub(crate) struct Ended {
    /// Its exit status.
    pub(crate) status: ExitStatus,
    /// The findings it has told of.
    pub(crate) findings: Vec<Value>,
    /// The plan that it has told of; null without one.
    pub(crate) plan: Value,
    /// Its last event.
    pub(crate) last: Value,
}

impl Run {
    /// Reads on to the moment.
    pub(crate) async fn reaches(&mut self, moment: Moment) -> Result<()> {
        while self.next().await? {
            if moment.is_now(&self.last) {
                return Ok(());
            }
        }
        bail!("it ended before {moment:?}: {}", self.last)
    }

    /// Reads on to the end, which must come in time.
    pub(crate) async fn end(mut self) -> Result<Ended> {
        while self.next().await? {}
        let status = tokio::time::timeout(patience(), self.child.wait()).await;
        let status = status.context("it does not end")??;
        let Self { findings, plan, last, .. } = self;
        Ok(Ended { status, findings, plan, last })
    }

    /// The same, and it must have done all that an install has to do. The host key of what was installed.
    pub(crate) async fn ends_well(self, toplevel: &str) -> Result<String> {
        self.ends_well_with(toplevel, "ONLINE").await
    }

    /// The same, with the pool in another state.
    pub(crate) async fn ends_well_with(self, toplevel: &str, pool_is: &str) -> Result<String> {
        let Ended { status, last, .. } = self.end().await?;
        ensure!(status.success(), "it ended with {status}: {last}");
        let summary = &last["summary"];
        ensure!(summary["verified"] == true, "it is not verified: {summary}");
        for field in ["planned_toplevel", "running_toplevel"] {
            ensure!(summary[field] == toplevel, "{field} is not {toplevel}: {summary}");
        }
        let mut pools = summary["pools"].as_array().into_iter().flatten();
        let tank = pools.find(|pool| pool["name"] == "tank");
        ensure!(tank.is_some_and(|tank| tank["state"] == pool_is), "the pool: {summary}");
        let key = summary["host_keys"][0].as_str();
        Ok(key.context("the summary has no host key")?.to_owned())
    }

    async fn next(&mut self) -> Result<bool> {
        let line = tokio::time::timeout(patience(), self.events.next_line()).await;
        match line.with_context(|| format!("it hangs after {}", self.last))?? {
            Some(line) => self.last = serde_json::from_str(&line).context("an event is no JSON")?,
            None => return Ok(false),
        }
        match self.last["event"].as_str() {
            Some("finding") => self.findings.push(self.last.clone()),
            Some("plan") => self.plan = self.last["plan"].clone(),
            _ => {}
        }
        Ok(true)
    }

    /// Sends it a signal, by name.
    pub(crate) async fn signal(&self, name: &str) -> Result<()> {
        let id = self.child.id().context("it has ended already")?.to_string();
        let status = Command::new("kill").args(["-s", name, &id]).status().await?;
        ensure!(status.success(), "the signal {name} was not sent: {status}");
        Ok(())
    }
}

/// Asks again until it is so; an error (the machine is between two boots) is no answer.
pub(crate) async fn until<F: Future<Output = Result<bool>>>(
    what: &str,
    ask: impl Fn() -> F,
) -> Result<()> {
    let (start, patience) = (Instant::now(), patience());
    let mut last = String::new();
    while start.elapsed() < patience {
        match ask().await {
            Ok(true) => return Ok(()),
            Ok(false) => "not yet".clone_into(&mut last),
            Err(error) => last = format!("{error:#}"),
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    bail!("waited {} s in vain until {what}: {last}", patience.as_secs())
}

/// A failure as an error.
fn in_words(failure: Failure) -> anyhow::Error {
    match failure.why {
        Some(why) => why.context(failure.what),
        None => anyhow!(failure.what),
    }
}
