//! A whole install on an emulated board: the same evaluation, plan and steps, against disks that carry the names
//! of the host's own, booted by the firmware its boot loader needs.
//!
//! evaluate → make the disks → boot the rescue system → install → (the board restarts by itself) → verify

mod arguments;
mod board;
mod disks;
mod firmware;
mod handover;
mod port;
mod qmp;
mod rig;

pub(super) use arguments::RehearseArguments;
pub use disks::SpareDisk;
pub use port::Port;
pub use rig::Rig;

use crate::commands::install::{Workstation, install_declared};
use crate::facts::{HostFacts, HostRef};
use crate::findings::Finding;
use crate::machine::ImageSource;
use crate::plan::{self};
use crate::prepare::contact::obtain_image;
use crate::prepare::request::Provisions;
use crate::report::{Exit, Failure, Report, Summary};
use crate::steps::Situation;
use std::path::PathBuf;
use std::time::Duration;

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct RehearsalRequest {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: String,
    /// What takes the place of its inputs: name and reference.
    pub overrides: Vec<(String, String)>,
    /// What the machine is made with, beside its flake.
    pub provisions: Provisions,
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
    pub keep: bool,
}

/// Rehearses, within the time allowed.
pub async fn rehearse(
    request: &RehearsalRequest,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let timeout = request.timeout;
    let work = Box::pin(run(request, report, situation));
    tokio::time::timeout(timeout, work).await.unwrap_or_else(|_| {
        let what = format!("the rehearsal was not over within {} s", timeout.as_secs());
        Err(Failure::new(Exit::Other, what).hint("give it more with --timeout"))
    })
}

async fn run(
    request: &RehearsalRequest,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let workstation = Workstation::find()?.overriding(&request.overrides);
    board::check_qemu().await.map_err(|error| {
        cannot_set_up(error).hint("install QEMU for arm (Debian: qemu-system-arm; nixpkgs: qemu)")
    })?;
    report.doing(format!("evaluating {}", request.host));
    let gather = HostFacts::gather(&workstation.nix, &request.host, &request.flake);
    let obtain = obtain_image(&request.image, request.image_sha256.as_deref(), report);
    let (host, image) = tokio::try_join!(gather, obtain)?;
    let findings = plan::host_findings(&host);
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
    let work = Box::pin(on_the_rig(request, &rig, workstation, host, report, situation));
    let ended = work.await;
    let ended = ended.map_err(|failure| rig.with_console(failure));
    if request.keep {
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
    situation: &Situation,
) -> Result<Summary, Failure> {
    let install = rig.install_request(request);
    let work = Box::pin(install_declared(&install, workstation, host, report, situation));
    let ended = work.await;
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
