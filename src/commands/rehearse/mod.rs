//! `landfall rehearse`: a whole install on an emulated board: the same evaluation, plan and steps, against disks that carry the names
//! of the host's own, booted by the firmware its boot loader needs.
//!
//! evaluate → make the disks → boot the rescue system → install → (the board restarts by itself) → verify

mod board;
mod disks;
mod firmware;
mod handover;
mod port;
mod qmp;
mod rig;

pub use disks::SpareDisk;
pub use port::Port;
pub use rig::Rig;

use super::install;
use super::options::{place, sha256, supplies};
use super::{Command, Invocation};
use crate::facts::HostFacts;
use crate::findings::Finding;
use crate::machine::ImageSource;
use crate::plan::{self, InstallOptions, Known};
use crate::prepare::{Request, Workstation, obtain_image};
use crate::report::{Exit, Failure, Report, Summary, is_interactive};
use crate::steps::TargetState;
use std::path::PathBuf;
use std::time::Duration;

/// Rehearse the whole install of HOST on an emulated board in QEMU
///
/// The board's disks have the names of the host's own, so that its disko layout is used unmodified. The board boots
/// a rescue system, the ordinary install runs against it, and the result is booted by the firmware that the
/// host's boot loader needs, and verified. No real disk is touched.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct RehearseArguments {
    #[command(flatten)]
    host: place::HostArguments,

    /// Kexec image: a tarball of nix-community/nixos-images for aarch64
    #[arg(long, value_name = "FILE|URL", alias = "kexec")]
    image: ImageSource,

    /// SHA-256 that the image must have
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    image_sha256: Option<String>,

    /// Kernel of a rescue system to start from, in place of the image itself, so that kexec is rehearsed too
    #[arg(long, value_name = "FILE", requires = "rescue_initrd")]
    rescue_kernel: Option<PathBuf>,

    /// Initrd of that rescue system
    #[arg(long, value_name = "FILE", requires = "rescue_kernel")]
    rescue_initrd: Option<PathBuf>,

    /// Memory of the board, in MiB
    #[arg(long, value_name = "MIB", default_value = "2048", value_parser = clap::value_parser!(u64).range(256..=1_048_576))]
    memory: u64,

    /// Time (UTC) that the board's clock shows whenever the board is switched on, as if the clock had no battery
    #[arg(long, value_name = "YYYY-MM-DD[THH:MM:SS]", value_parser = clock)]
    clock: Option<String>,

    /// Size of each disk, in GiB (the files are sparse)
    #[arg(long, value_name = "GIB", default_value = "8", value_parser = clap::value_parser!(u64).range(1..=65536))]
    disk_size: u64,

    /// Firmware that boots the installed system, in place of the U-Boot or UEFI that is found on this machine
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,

    /// Seconds after which the rehearsal is given up
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    timeout: u64,

    /// Leave the board running in the end, and say how to log in and how to stop it
    #[arg(long)]
    leave_running: bool,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    /// Write a report of what was planned, done and seen to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(flatten)]
    supplies: supplies::SupplyArguments,
}

impl RehearseArguments {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let (host, flake) = self.host.read()?;
        let name = host.to_string();
        let may_ask = is_interactive() && !self.json;
        let (options, sources) = self.supplies.read(InstallOptions::default(), may_ask)?;
        let request = RehearsalRequest {
            install: Request { host, flake, options, sources },
            image: self.image,
            image_sha256: self.image_sha256,
            rescue: self.rescue_kernel.zip(self.rescue_initrd),
            memory: self.memory,
            clock: self.clock,
            disk_size: self.disk_size << 30,
            spares: Vec::new(),
            firmware: self.firmware,
            timeout: Duration::from_secs(self.timeout),
            leave_running: self.leave_running,
        };
        let command = Command::Rehearse(Box::new(request));
        let target = "an emulated board".to_owned();
        Ok(Invocation { command, host: name, target, json: self.json, summary_file: self.report })
    }
}

/// QEMU reads the date itself and says what it does not like; here only what is no date at all is refused.
fn clock(text: &str) -> Result<String, String> {
    let is_date = text.len() >= 10
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'T'));
    if is_date { Ok(text.to_owned()) } else { Err("this is no date like 1970-01-01".to_owned()) }
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct RehearsalRequest {
    /// What is installed.
    pub install: Request,
    /// The kexec image.
    pub image: ImageSource,
    /// The digest it must have, in hexadecimal.
    pub image_sha256: Option<String>,
    /// Kernel and initrd of another rescue system than the image itself.
    pub rescue: Option<(PathBuf, PathBuf)>,
    /// MiB of the board's memory.
    pub memory: u64,
    /// What the board's clock says whenever it is switched on (`YYYY-MM-DD` or `YYYY-MM-DDTHH:MM:SS`, UTC); none is
    /// the right time.
    pub clock: Option<String>,
    /// Bytes of each disk.
    pub disk_size: u64,
    /// SATA disks that it has besides those of the layout.
    pub spares: Vec<SpareDisk>,
    /// Firmware that starts the installed system, if not to be found.
    pub firmware: Option<PathBuf>,
    /// After this the rehearsal is given up.
    pub timeout: Duration,
    /// Whether the board is left running.
    pub leave_running: bool,
}

/// Rehearses, within the time allowed.
pub async fn rehearse(
    request: &RehearsalRequest,
    report: &Report,
    target_state: &TargetState,
) -> Result<Summary, Failure> {
    let timeout = request.timeout;
    let work = Box::pin(run(request, report, target_state));
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        let what = format!("the rehearsal was not over within {} s", timeout.as_secs());
        Err(Failure::new(Exit::Other, what).hint("give it more with --timeout"))
    })
}

async fn run(
    request: &RehearsalRequest,
    report: &Report,
    target_state: &TargetState,
) -> Result<Summary, Failure> {
    let workstation = Workstation::find(&request.install.flake)?;
    board::check_qemu().await.map_err(|error| {
        cannot_set_up(error).hint("install QEMU for arm (Debian: qemu-system-arm; nixpkgs: qemu)")
    })?;
    let Request { host: reference, flake, .. } = &request.install;
    report.doing(format!("evaluating {reference}"));
    let gather = HostFacts::gather(&workstation.nix, reference, &flake.reference);
    let obtain = obtain_image(&request.image, request.image_sha256.as_deref(), report);
    let (host, image) = tokio::try_join!(gather, obtain)?;
    let findings = plan::findings(Known::of(&host));
    report.emit_all(findings.iter().map(Finding::event));
    plan::refuse(&findings, &[])?;
    if let Some(system) = host.system.as_deref().filter(|system| *system != "aarch64-linux") {
        return Err(Failure::new(
            Exit::Refused,
            format!(
                "'{}' is built for {system}; the emulated board is aarch64-linux",
                host.attribute
            ),
        ));
    }
    let rig = Rig::power_on(request, &host, &image, report).await?;
    let work = Box::pin(on_the_rig(request, &rig, workstation, host, report, target_state));
    let ended = work.await;
    let ended = ended.map_err(|failure| rig.with_console(failure));
    if request.leave_running {
        rig.leave(report).await;
    }
    ended
}

async fn on_the_rig(
    request: &RehearsalRequest,
    rig: &Rig,
    workstation: Workstation,
    host: HostFacts,
    report: &Report,
    target_state: &TargetState,
) -> Result<Summary, Failure> {
    let install = rig.install_request(request);
    let work = Box::pin(install::run(&install, workstation, Some(host), report, target_state));
    let ended = work.await.map(|(summary, _)| summary);
    let unchanged = rig.firmware_unchanged().map_err(|error| {
        Failure::new(Exit::Other, "the guarded regions cannot be read").because(error)
    })?;
    let mut summary = match ended {
        Ok(summary) => summary,
        Err(mut failure) => {
            if let Some(seen) = &mut failure.seen {
                seen.firmware_region_unchanged = unchanged;
            }
            return Err(failure);
        }
    };
    summary.firmware_region_unchanged = unchanged;
    if unchanged == Some(false) {
        summary.verified = false;
        return Err(Failure::new(
            Exit::NotBack,
            "the layout overwrote the board's own boot loader",
        )
        .hint("let the first partition of the eMMC start at 16 MiB or later")
        .having_seen(summary));
    }
    report.note("this was a rehearsal on an emulated board; no real disk was touched:");
    Ok(summary)
}

/// Something on this machine keeps the board from being set up.
fn cannot_set_up(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Other, "the emulated board cannot be set up").because(error)
}
