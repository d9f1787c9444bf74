//! `landfall rehearse`.

use crate::commands::options::{flake, provisions};
use crate::commands::rehearse::RehearsalRequest;
use crate::commands::{Command, Invocation, usage};
use crate::facts::HostRef;
use crate::machine::ImageSource;
use crate::report::is_interactive;
use std::path::PathBuf;
use std::time::Duration;

/// Rehearse the whole install of HOST on an emulated board in QEMU
///
/// The board has disks with the names of the host's own, so that its disko layout is used unmodified. It boots
/// a rescue system, the ordinary install runs against it, and the result is booted by the firmware the
/// host's boot loader needs, and verified. No real disk is touched.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct RehearseArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Kexec image: a tarball of nix-community/nixos-images for aarch64
    #[arg(long, value_name = "FILE|URL", alias = "kexec")]
    image: ImageSource,

    /// SHA-256 the image must have
    #[arg(long, value_name = "HEX", value_parser = crate::commands::options::sha256)]
    image_sha256: Option<String>,

    /// Kernel of another rescue system than the image itself, so that kexec is rehearsed too
    #[arg(long, value_name = "FILE", requires = "rescue_initrd")]
    rescue_kernel: Option<PathBuf>,

    /// Initrd of that rescue system
    #[arg(long, value_name = "FILE", requires = "rescue_kernel")]
    rescue_initrd: Option<PathBuf>,

    /// MiB of the board's memory
    #[arg(long, value_name = "MIB", default_value = "2048", value_parser = clap::value_parser!(u64).range(256..=1_048_576))]
    memory: u64,

    /// What the board's clock says whenever it is switched on, in UTC, as if it had no battery
    #[arg(long, value_name = "YYYY-MM-DD[THH:MM:SS]", value_parser = clock)]
    clock: Option<String>,

    /// GiB of each disk (the files are sparse)
    #[arg(long, value_name = "GIB", default_value = "8", value_parser = clap::value_parser!(u64).range(1..=65536))]
    disk_size: u64,

    /// Firmware that boots the installed system, instead of U-Boot or UEFI as found on this machine
    #[arg(long, value_name = "FILE")]
    firmware: Option<PathBuf>,

    /// Seconds after which the rehearsal is given up
    #[arg(long, value_name = "SECONDS", default_value = "3600", value_parser = clap::value_parser!(u64).range(1..=604_800))]
    timeout: u64,

    /// Leave the board running, and say how to log in
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    provisions: provisions::ProvisionArguments,

    /// Say what happens as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    /// Write the report as JSON to this file
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

impl RehearseArguments {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let host: HostRef = self.host.parse().map_err(usage)?;
        let overrides = self.flake.overrides()?;
        let request = RehearsalRequest {
            overrides,
            host,
            flake: self.flake.flake,
            provisions: self.provisions.provisions(is_interactive() && !self.json)?,
            image: self.image,
            image_sha256: self.image_sha256,
            rescue: self.rescue_kernel.zip(self.rescue_initrd),
            memory: self.memory,
            clock: self.clock,
            disk_size: self.disk_size << 30,
            spares: Vec::new(),
            firmware: self.firmware,
            timeout: Duration::from_secs(self.timeout),
            keep: self.keep,
        };
        let command = Command::Rehearse(Box::new(request));
        let target = "an emulated board".to_owned();
        Ok(Invocation {
            command,
            host: self.host,
            target,
            json: self.json,
            summary_file: self.report,
        })
    }
}

/// QEMU reads the date itself and says what it does not like; here only what is no date at all is refused.
fn clock(text: &str) -> Result<String, String> {
    let is_date = text.len() >= 10
        && text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'T'));
    if is_date { Ok(text.to_owned()) } else { Err("this is no date like 1970-01-01".to_owned()) }
}
