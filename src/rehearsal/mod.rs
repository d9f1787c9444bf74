//! A whole install on an emulated board: the same evaluation, plan and steps, against disks that carry the names
//! of the host's own, booted by the firmware its boot loader needs.
//!
//! evaluate → make the disks → boot the rescue system → install → (the board restarts by itself) → verify

mod board;
mod disks;
mod firmware;
mod handover;

use crate::facts::{HostFacts, HostRef};
use crate::install::{Request, Workstation, install_declared};
use crate::machine::{Destination, HostKeys, Image, ImageSource, Login, Script};
use crate::plan::Wishes;
use crate::report::{Event, Exit, Failure, Report, Summary};
use crate::steps::Situation;
use anyhow::{Context, Result};
use board::{Board, Parts};
use disks::{EmulatedDisk, Kind};
use handover::Keys;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct RehearsalRequest {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: String,
    /// The kexec image.
    pub image: ImageSource,
    /// The digest it must have, in hexadecimal.
    pub image_sha256: Option<String>,
    /// Kernel and initrd of another rescue system than the image itself.
    pub rescue: Option<(PathBuf, PathBuf)>,
    /// MiB of the board's memory.
    pub memory: u64,
    /// Bytes of each disk.
    pub disk_size: u64,
    /// Firmware that starts the installed system, if not to be found.
    pub firmware: Option<PathBuf>,
    /// After this the rehearsal is given up.
    pub timeout: Duration,
    /// Whether the board is left running.
    pub keep: bool,
}

/// Rehearses, within the time allowed.
pub async fn rehearse(
    request: &RehearsalRequest,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let timeout = request.timeout;
    tokio::time::timeout(timeout, run(request, report, situation)).await.unwrap_or_else(|_| {
        let what = format!("the rehearsal was not over within {} s", timeout.as_secs());
        Err(Failure::new(Exit::Other, what).hint("give it more with --timeout"))
    })
}

async fn run(
    request: &RehearsalRequest,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let cannot = |error: anyhow::Error| {
        Failure::new(Exit::Other, "the emulated board cannot be set up").because(error)
    };
    let workstation = Workstation::find()?;
    board::check_qemu().await.map_err(|error| {
        cannot(error).hint("install QEMU for arm (Debian: qemu-system-arm; nixpkgs: qemu)")
    })?;
    report.doing(format!("evaluating {}", request.host));
    let gather = HostFacts::gather(&workstation.nix, &request.host, &request.flake);
    let obtain = async {
        Image::obtain(&request.image, request.image_sha256.as_deref(), report).await.map_err(
            |error| Failure::new(Exit::Refused, "the kexec image cannot be used").because(error),
        )
    };
    let (host, image) = tokio::try_join!(gather, obtain)?;
    if let Some(system) = host.system.as_deref().filter(|system| *system != "aarch64-linux") {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "'{}' is built for {system}; the emulated board is aarch64-linux",
                host.attribute
            ),
        ));
    }
    let bench = Bench::prepare(request, &host, &image, report).await.map_err(cannot)?;
    let board = Board::switch_on(bench.parts()).await.map_err(cannot)?;
    let ended = on_the_board(request, &bench, &board, workstation, host, report, situation).await;
    let ended = ended.map_err(|failure| with_console(failure, &bench, &board));
    if request.keep {
        bench.leave(board, report).await;
    }
    ended
}

async fn on_the_board(
    request: &RehearsalRequest,
    bench: &Bench,
    board: &Board,
    workstation: Workstation,
    host: HostFacts,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let deadline = request.timeout.as_secs();
    let on_wait = |seconds| {
        let (what, seen) = ("the rescue system".to_owned(), "no sshd yet".to_owned());
        report.emit(Event::Waiting { what, seconds, deadline, seen });
    };
    board.answers_within(request.timeout, on_wait).await.map_err(|error| {
        Failure::new(Exit::Connect, "the rescue system did not come up").because(error)
    })?;
    let install = bench.request(request);
    let mut summary = install_declared(&install, workstation, host, report, situation).await?;
    summary.firmware_region_unchanged = bench.firmware_unchanged().map_err(|error| {
        Failure::new(Exit::Other, "the guarded regions cannot be read").because(error)
    })?;
    if summary.firmware_region_unchanged == Some(false) {
        summary.verified = false;
        return Err(Failure::new(
            Exit::NotBack,
            "the layout overwrote the board's own boot loader",
        )
        .hint("let the first partition of the eMMC start at 16 MiB or later"));
    }
    Ok(summary)
}

/// The console says what the machine itself had to say.
fn with_console(failure: Failure, bench: &Bench, board: &Board) -> Failure {
    let end = board.console_end();
    let hint = format!("the serial console is in {}; its end:\n{end}", bench.console.display());
    let hint = match &failure.hint {
        Some(before) => format!("{before}\n{hint}"),
        None => hint,
    };
    failure.hint(hint)
}

/// Everything of a rehearsal that lies on this machine.
struct Bench {
    directory: TempDir,
    console: PathBuf,
    disks: Vec<(EmulatedDisk, PathBuf)>,
    guarded: Vec<PathBuf>,
    keys: Keys,
    port: u16,
    kernel: PathBuf,
    parameters: String,
    firmware: PathBuf,
    memory: u64,
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
        for disk in disks::emulate(host) {
            let file = at(&format!("{}.raw", disks.len()));
            std::fs::File::create(&file)?.set_len(request.disk_size)?;
            if firmware::is_guarded(host, &disk.device) {
                firmware::mark(&file)?;
                guarded.push(file.clone());
            }
            report.note(format!("disk {}: {}", disk.name, disk.device));
            disks.push((disk, file));
        }
        let log = report.log_path().map(|path| path.with_extension("console.log"));
        let console = log.unwrap_or_else(|| at("console.log"));
        let port = free_port()?;
        let memory = request.memory;
        Ok(Self {
            console,
            disks,
            guarded,
            keys,
            port,
            kernel,
            parameters,
            firmware,
            memory,
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
            disks: self.disks.clone(),
            console: self.console.clone(),
            port: self.port,
        }
    }

    /// The ordinary install that is rehearsed.
    fn request(&self, request: &RehearsalRequest) -> Request {
        let destination = Destination {
            user: Some("root".into()),
            host: "127.0.0.1".into(),
            port: Some(self.port),
        };
        let login = Login {
            destination,
            identities: vec![self.directory.path().join("login")],
            options: vec!["IdentitiesOnly=yes".into(), "IdentityAgent=none".into()],
            host_keys: HostKeys::Pinned(vec![self.keys.host_public.clone()]),
            may_ask: false,
        };
        let aliases = self.disks.iter().filter_map(|(disk, _)| match &disk.kind {
            Kind::Virtio { serial, alias: Some(alias) } => Some([serial.clone(), alias.clone()]),
            _ => None,
        });
        let aliases: Vec<String> = aliases.flatten().collect();
        let prepare = Script::sh(include_str!("alias.sh")).args(aliases.clone());
        Request {
            host: request.host.clone(),
            flake: request.flake.clone(),
            login,
            image: Some(request.image.clone()),
            image_sha256: request.image_sha256.clone(),
            // The key of the rehearsal opens the installed system too: the host's own are not at hand.
            wishes: Wishes {
                authorize: vec![self.keys.login.trim().to_owned()],
                ..Wishes::default()
            },
            yes: true,
            boot_deadline: request.timeout,
            prepare: if aliases.is_empty() { Vec::new() } else { vec![prepare] },
        }
    }

    fn firmware_unchanged(&self) -> Result<Option<bool>> {
        let mut unchanged = None;
        for disk in &self.guarded {
            unchanged = Some(unchanged.unwrap_or(true) && firmware::is_unchanged(disk)?);
        }
        Ok(unchanged)
    }

    /// Leaves the machine running, with its files, and says how to reach it.
    async fn leave(self, board: Board, report: &Report) {
        let directory = self.directory.keep();
        let key = directory.join("login");
        report.note(format!(
            "the board goes on: ssh -p {} -i {} -o IdentitiesOnly=yes root@127.0.0.1",
            self.port,
            key.display()
        ));
        if let Some(pid) = board.leave_running().await {
            report.note(format!(
                "when done with it: kill {pid}; rm -r {} (console: {})",
                directory.display(),
                self.console.display()
            ));
        }
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

/// A loopback port that nobody listens on at the moment.
fn free_port() -> Result<u16> {
    let listener =
        std::net::TcpListener::bind(("127.0.0.1", 0)).context("looking for a free port")?;
    Ok(listener.local_addr()?.port())
}
