//! The rig of a rehearsal: an emulated board with the host's disks, its keys, its files, and the ordinary install
//! request that leads to it.

use super::board::{Board, LOGIN, Parts};
use super::disks::{self, EmulatedDisk, Kind};
use super::handover::{self, Keys};
use super::port::Port;
use super::{RehearsalRequest, cannot_set_up, firmware};
use crate::commands::install::InstallRequest;
use crate::facts::{FirmwareRegion, HostFacts};
use crate::machine::{Deadlines, Destination, HostKeys, Image, ImageSource, Login, Script};
use crate::plan::{Agreement, InstallOptions};
use crate::prepare::{Request, TargetRequest};
use crate::report::{Event, Exit, Failure, Report};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tempfile::TempDir;

/// An emulated board that runs its rescue system. Dropping it pulls the plug and removes its disks.
pub struct Rig {
    board: Board,
    bench: Bench,
}

impl Rig {
    /// Makes disks and keys, switches the board on, and waits until its rescue system answers.
    pub async fn power_on(
        request: &RehearsalRequest,
        host: &HostFacts,
        image: &Image,
        report: &Report,
    ) -> Result<Self, Failure> {
        let bench = Bench::prepare(request, host, image, report).await.map_err(cannot_set_up)?;
        let board = Board::switch_on(bench.parts()).await.map_err(cannot_set_up)?;
        let rig = Self { board, bench };
        rig.rescue_answers(request, report).await?;
        Ok(rig)
    }

    async fn rescue_answers(
        &self,
        request: &RehearsalRequest,
        report: &Report,
    ) -> Result<(), Failure> {
        let deadline = request.timeout.as_secs();
        let on_wait = |seconds| {
            let (what, seen) = ("the rescue system".to_owned(), "no sshd yet".to_owned());
            report.emit(Event::Waiting { what, seconds, deadline, seen });
        };
        self.board.answers_within(request.timeout, on_wait).await.map_err(|error| {
            self.with_console(
                Failure::new(Exit::Connect, "the rescue system did not come up").because(error),
            )
        })
    }

    /// Cuts the power in whatever is going on, and switches on again into the rescue system, which answers in
    /// the end. What lies on the disks stays.
    pub async fn power_cycle(
        &self,
        request: &RehearsalRequest,
        report: &Report,
    ) -> Result<(), Failure> {
        let cycled = self.board.power_cycle().await;
        cycled.map_err(|error| {
            Failure::new(Exit::Other, "the power could not be cut").because(error)
        })?;
        self.rescue_answers(request, report).await
    }

    /// From now on the disk of this name (in the layout) answers with I/O errors; to the board's system it is
    /// still there.
    pub async fn fail_disk(&self, name: &str) -> Result<()> {
        let number = self.bench.disks.iter().position(|(disk, _)| disk.name == name);
        self.board.fail_disk(number.with_context(|| format!("there is no disk {name}"))?).await
    }

    /// The file its serial console is written to.
    pub fn console(&self) -> &Path {
        &self.bench.console
    }

    /// The disks, the layout's first: name and path in the layout, or what a spare one has in their place, and the file
    /// that has its bytes.
    pub fn disks(&self) -> impl Iterator<Item = (&str, &str, &Path)> {
        let disks = self.bench.disks.iter();
        disks.map(|(disk, file)| (disk.name.as_str(), disk.device.as_str(), file.as_path()))
    }

    /// The ordinary install that is rehearsed on it.
    pub fn install_request(&self, request: &RehearsalRequest) -> InstallRequest {
        self.bench.install_request(request)
    }

    /// Whether the regions of the real board's boot loader are as they were; none if there are none to guard.
    pub(super) fn firmware_unchanged(&self) -> Result<Option<bool>> {
        let mut unchanged = None;
        for (disk, region) in &self.bench.guarded {
            let is_unchanged = firmware::is_unchanged(disk, region)?;
            unchanged = Some(unchanged.unwrap_or(true) && is_unchanged);
        }
        Ok(unchanged)
    }

    /// Lets the machine itself have a word: the end of its console.
    pub(super) fn with_console(&self, failure: Failure) -> Failure {
        let (console, end) = (self.bench.console.display(), self.board.console_end());
        let said = format!("the serial console is in {console}; its end:\n{end}");
        let hint = match &failure.hint {
            Some(before) => format!("{before}\n{said}"),
            None => said,
        };
        failure.hint(hint)
    }

    /// Leaves the machine running, with its files, and says how to reach it.
    pub(super) async fn leave(self, report: &Report) {
        let Self { board, bench } = self;
        let key = bench.login_key();
        report.note(format!(
            "the board goes on: ssh -p {} -i {} -o IdentitiesOnly=yes root@127.0.0.1",
            bench.port,
            key.display()
        ));
        let directory = bench.directory.keep();
        if let Some(pid) = board.leave_running().await {
            report.note(format!(
                "when done with it: kill {pid}; rm -r {} (console: {})",
                directory.display(),
                bench.console.display()
            ));
        }
    }
}

/// Everything of a rehearsal that lies on this machine.
struct Bench {
    directory: TempDir,
    console: PathBuf,
    disks: Vec<(EmulatedDisk, PathBuf)>,
    guarded: Vec<(PathBuf, &'static FirmwareRegion)>,
    keys: Keys,
    image: Image,
    port: Port,
    kernel: PathBuf,
    parameters: String,
    firmware: PathBuf,
    memory: u64,
    clock: Option<String>,
}

impl Bench {
    async fn prepare(
        request: &RehearsalRequest,
        host: &HostFacts,
        image: &Image,
        report: &Report,
    ) -> Result<Self> {
        let firmware = firmware::choose(host, request.firmware.as_deref())?;
        firmware::check(&firmware)?;
        let parent = crate::paths::cache()?;
        std::fs::create_dir_all(&parent)?;
        // Not below /tmp, which may be memory: the disks grow to what is written to them.
        let directory = tempfile::Builder::new().prefix("rehearsal-").tempdir_in(&parent)?;
        let at = |name: &str| directory.path().join(name);
        let keys = make_keys(directory.path()).await?;
        let (kernel, initrd, parameters) = rescue_system(request, image, directory.path()).await?;
        handover::append(&initrd, &keys, &at("initrd"))?;
        let mut guarded = Vec::new();
        let mut disks = Vec::new();
        let declared = disks::emulate(host).into_iter().map(|disk| (disk, request.disk_size));
        let spares = request.spares.iter().map(|disk| (disk.emulate(), disk.size));
        for (disk, size) in declared.chain(spares) {
            let file = at(&format!("{}.raw", disks.len()));
            std::fs::File::create(&file)?.set_len(size)?;
            if let Some(region) = firmware::guarded(host, &disk.device) {
                firmware::mark(&file, region)?;
                guarded.push((file.clone(), region));
            }
            report.note(format!("disk {}: {}", disk.name, disk.device));
            disks.push((disk, file));
        }
        let log = report.log_path().map(|path| path.with_extension("console.log"));
        let console = log.unwrap_or_else(|| at("console.log"));
        let port = Port::take()?;
        Ok(Self {
            console,
            disks,
            guarded,
            keys,
            image: image.clone(),
            port,
            kernel,
            parameters,
            firmware,
            memory: request.memory,
            clock: request.clock.clone(),
            directory,
        })
    }

    fn parts(&self) -> Parts {
        Parts {
            kernel: self.kernel.clone(),
            initrd: self.directory.path().join("initrd"),
            parameters: self.parameters.clone(),
            firmware: self.firmware.clone(),
            memory: self.memory,
            clock: self.clock.clone(),
            disks: self.disks.clone(),
            console: self.console.clone(),
            port: self.port.number(),
        }
    }

    /// The ordinary install that is rehearsed.
    fn install_request(&self, request: &RehearsalRequest) -> InstallRequest {
        let destination = Destination {
            user: Some("root".into()),
            host: "127.0.0.1".into(),
            port: Some(self.port.number()),
        };
        let login = Login {
            destination,
            identities: vec![self.login_key()],
            options: vec!["IdentitiesOnly=yes".into(), "IdentityAgent=none".into()],
            host_keys: HostKeys::Pinned(vec![self.keys.host_public.clone()]),
            may_ask: false,
            deadlines: Deadlines {
                login: LOGIN,
                // Not all of it: a failure says more than the end of the rehearsal's own time.
                first_login: request.timeout / 2,
                boot: request.timeout,
                ..Deadlines::default()
            },
        };
        let aliases = self.disks.iter().filter_map(|(disk, _)| match &disk.kind {
            Kind::Virtio { serial, alias: Some(alias) } => Some([serial.clone(), alias.clone()]),
            _ => None,
        });
        let aliases: Vec<String> = aliases.flatten().collect();
        let prepare = Script::file("alias.sh", include_str!("alias.sh")).args(aliases.clone());
        // The key of the rehearsal opens the installed system too: the host's own are not at hand.
        let authorize = vec![self.keys.login.trim().to_owned()];
        let options = InstallOptions { authorize, ..request.install.options.clone() };
        InstallRequest {
            install: Request { options, ..request.install.clone() },
            target: TargetRequest {
                login,
                accepts_first_contact: false,
                // The very file that was looked into: a URL is not asked a second time.
                image: Some(ImageSource::File(self.image.path.clone())),
                image_sha256: Some(self.image.sha256.clone()),
                prepare: if aliases.is_empty() { Vec::new() } else { vec![prepare] },
            },
            agreement: Agreement::Yes,
            restart: false,
            journals: Some(self.directory.path().join("runs")),
        }
    }

    fn login_key(&self) -> PathBuf {
        self.directory.path().join("login")
    }
}

/// Kernel, initrd and parameters of what the board runs first.
async fn rescue_system(
    request: &RehearsalRequest,
    image: &Image,
    directory: &Path,
) -> Result<(PathBuf, PathBuf, String)> {
    // A kernel that panics restarts the board, as the real one would, instead of hanging.
    const ALWAYS: &str = "console=ttyAMA0 panic=-1";
    if let Some((kernel, initrd)) = &request.rescue {
        return Ok((kernel.clone(), initrd.clone(), ALWAYS.to_owned()));
    }
    image.unpack(directory).await?;
    let part = |name: &str| directory.join("kexec").join(name);
    let run = std::fs::read_to_string(part("run")).context("reading the image's kexec/run")?;
    let parameters = handover::kernel_parameters(&run)
        .context("the image's kexec/run does not say its kernel parameters (--command-line)")?;
    Ok((part("bzImage"), part("initrd"), format!("{parameters} {ALWAYS}")))
}

async fn make_keys(directory: &Path) -> Result<Keys> {
    let login = make_key(&directory.join("login")).await?;
    let host_public = make_key(&directory.join("host")).await?;
    let host = std::fs::read_to_string(directory.join("host"))?;
    Ok(Keys { login, host, host_public })
}

/// Makes a key pair; its public half.
#[allow(clippy::disallowed_methods, reason = "OpenSSH makes its own keys best")]
async fn make_key(path: &Path) -> Result<String> {
    let mut keygen = tokio::process::Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-C", "landfall-rehearsal", "-f"]).arg(path);
    let status = keygen.stdin(Stdio::null()).status().await.context("running ssh-keygen")?;
    anyhow::ensure!(status.success(), "ssh-keygen ended with {status}");
    Ok(std::fs::read_to_string(path.with_extension("pub"))?)
}
