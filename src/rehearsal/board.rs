//! The emulated board: QEMU, restarted when the guest reboots, as a power supply would.
//!
//! The first boot is that of the rescue system, by kernel and initrd; after it the firmware looks for what is
//! on the disks, as on the real board.

use super::disks::{EmulatedDisk, Kind};
use crate::machine::last_lines;
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// The board's network card; the hand-over names it.
pub(super) const MAC: &str = "52:54:00:4c:46:01";

/// What the board is made of.
pub(super) struct Parts {
    /// Kernel of the rescue system.
    pub(super) kernel: PathBuf,
    /// Its initrd, with the hand-over.
    pub(super) initrd: PathBuf,
    /// Its kernel parameters.
    pub(super) parameters: String,
    /// What starts the installed system.
    pub(super) firmware: PathBuf,
    /// MiB of memory.
    pub(super) memory: u64,
    /// The disks and their files.
    pub(super) disks: Vec<(EmulatedDisk, PathBuf)>,
    /// Where the serial console is written.
    pub(super) console: PathBuf,
    /// Loopback port that leads to the board's port 22.
    pub(super) port: u16,
}

/// A running board. Dropping it pulls the plug.
pub(super) struct Board {
    supply: JoinHandle<Option<u32>>,
    let_go: Option<oneshot::Sender<()>>,
    console: PathBuf,
    port: u16,
}

const QEMU: &str = "qemu-system-aarch64";
/// With older versions a kernel started by kexec runs six times slower (measured with 7.2 against 10.0).
const QEMU_VERSION: u32 = 10;
/// AHCI ports of one controller.
const PORTS: usize = 6;

impl Board {
    /// Switches it on.
    pub(super) async fn switch_on(parts: Parts) -> Result<Self> {
        let (console, port) = (parts.console.clone(), parts.port);
        let mut first = start(&parts, Boot::Rescue)?;
        // QEMU tells at once what it does not like.
        if let Ok(status) = tokio::time::timeout(Duration::from_millis(500), first.wait()).await {
            let mut said = String::new();
            if let Some(stderr) = first.stderr.as_mut() {
                let _ = stderr.read_to_string(&mut said).await;
            }
            bail!("{QEMU} ended with {}: {}", status?, last_lines(&said, 5));
        }
        let (let_go, released) = oneshot::channel();
        let supply = tokio::spawn(supply(parts, first, released));
        Ok(Self { supply, let_go: Some(let_go), console, port })
    }

    /// Waits until something behind the port speaks SSH.
    ///
    /// QEMU accepts connections from the start, so only sshd's own greeting counts.
    pub(super) async fn answers_within(
        &self,
        deadline: Duration,
        mut on_wait: impl FnMut(u64),
    ) -> Result<()> {
        let start = Instant::now();
        while start.elapsed() < deadline {
            on_wait(start.elapsed().as_secs());
            if self.supply.is_finished() {
                bail!("{QEMU} does not run any more; the console's end:\n{}", self.console_end());
            }
            let greeting = tokio::time::timeout(Duration::from_secs(5), self.greeting()).await;
            if matches!(greeting, Ok(Ok(true))) {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        bail!(
            "no sshd answered within {} s; the console's end:\n{}",
            deadline.as_secs(),
            self.console_end()
        )
    }

    async fn greeting(&self) -> std::io::Result<bool> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        let mut start = [0; 4];
        stream.read_exact(&mut start).await?;
        Ok(&start == b"SSH-")
    }

    /// The last lines of the serial console.
    pub(super) fn console_end(&self) -> String {
        let text = std::fs::read(&self.console).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&text).replace('\r', ""), 12)
    }

    /// Lets the machine run on without us; its process id.
    pub(super) async fn leave_running(mut self) -> Option<u32> {
        self.let_go.take()?.send(()).ok()?;
        (&mut self.supply).await.ok().flatten()
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.supply.abort();
    }
}

/// Switches the board on again whenever it restarts. Ends when QEMU does not start any more, which whoever
/// waits for the board sees in time, or when the board is let go of.
async fn supply(parts: Parts, first: Child, mut released: oneshot::Receiver<()>) -> Option<u32> {
    let mut running = first;
    loop {
        tokio::select! {
            _ = &mut released => {
                let id = running.id();
                // Dropping it would pull the plug.
                std::mem::forget(running);
                return id;
            }
            _ = running.wait() => running = start(&parts, Boot::Firmware).ok()?,
        }
    }
}

/// Proves that QEMU is there and new enough.
#[allow(clippy::disallowed_methods, reason = "this is where QEMU is started")]
pub(super) async fn check_qemu() -> Result<()> {
    let output = Command::new(QEMU).arg("--version").stdin(Stdio::null()).output().await;
    let output = output.with_context(|| format!("there is no `{QEMU}` in PATH"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let version = said.split_whitespace().skip_while(|word| *word != "version").nth(1);
    let major =
        version.and_then(|v| v.split('.').next()).and_then(|major| major.parse::<u32>().ok());
    match major {
        Some(major) if major >= QEMU_VERSION => Ok(()),
        Some(major) => bail!("QEMU {major} is too old: {QEMU_VERSION} or newer is needed"),
        None => bail!("`{QEMU} --version` does not say its version"),
    }
}

#[derive(Clone, Copy)]
enum Boot {
    Rescue,
    Firmware,
}

#[allow(clippy::disallowed_methods, reason = "this is where QEMU is started")]
fn start(parts: &Parts, boot: Boot) -> Result<Child> {
    let mut command = Command::new(QEMU);
    command.args(arguments(parts, boot)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    // A Ctrl-C at the terminal is for landfall, which then pulls the plug itself.
    command.process_group(0);
    command.spawn().with_context(|| format!("starting {QEMU}"))
}

fn arguments(parts: &Parts, boot: Boot) -> Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: &str| words.extend([option.into(), value.into()]);
    if kvm_works() {
        add("-machine", "virt");
        add("-accel", "kvm");
        add("-cpu", "host");
    } else {
        // A GIC of version 2 and a core without pointer authentication are the fastest to emulate.
        add("-machine", "virt,gic-version=2");
        add("-accel", "tcg,thread=multi");
        add("-cpu", "cortex-a72");
    }
    add("-smp", "2");
    add("-m", &parts.memory.to_string());
    add("-display", "none");
    add("-monitor", "none");
    // The guest's reboot ends QEMU: the next boot is another one, by the firmware.
    add("-action", "reboot=shutdown");
    add("-chardev", &format!("file,id=console,append=on,path={}", escaped(&parts.console)?));
    add("-serial", "chardev:console");
    add("-netdev", &format!("user,id=net,hostfwd=tcp:127.0.0.1:{}-:22", parts.port));
    add("-device", &format!("virtio-net-pci,netdev=net,romfile=,mac={MAC}"));
    add("-device", "virtio-rng-pci");
    for option in disk_options(&parts.disks)? {
        add(option.0, &option.1);
    }
    match boot {
        Boot::Rescue => {
            words.extend(["-kernel".into(), parts.kernel.clone().into()]);
            words.extend(["-initrd".into(), parts.initrd.clone().into()]);
            words.extend(["-append".into(), parts.parameters.clone().into()]);
        }
        Boot::Firmware => words.extend(["-bios".into(), parts.firmware.clone().into()]),
    }
    Ok(words)
}

fn disk_options(disks: &[(EmulatedDisk, PathBuf)]) -> Result<Vec<(&'static str, String)>> {
    let mut options = Vec::new();
    let mut sata = 0;
    for (index, (disk, file)) in disks.iter().enumerate() {
        let file = escaped(file)?;
        // `unsafe`: the files are thrown away with the board, and nobody cuts the host's power.
        let drive =
            format!("if=none,id=disk{index},format=raw,cache=unsafe,discard=unmap,file={file}");
        options.push(("-drive", drive));
        let device = match &disk.kind {
            Kind::Sata { model, serial } => {
                let (controller, port) = (sata / PORTS, sata % PORTS);
                if port == 0 {
                    options.push(("-device", format!("ich9-ahci,id=ahci{controller}")));
                }
                sata += 1;
                let (model, serial) = (model.replace(',', ",,"), serial.replace(',', ",,"));
                format!(
                    "ide-hd,drive=disk{index},bus=ahci{controller}.{port},model={model},serial={serial}"
                )
            }
            Kind::Virtio { serial, .. } => {
                format!("virtio-blk-pci,drive=disk{index},serial={}", serial.replace(',', ",,"))
            }
        };
        options.push(("-device", device));
    }
    Ok(options)
}

/// In QEMU's options a comma is doubled.
fn escaped(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| format!("{} is not UTF-8", path.display()))?;
    Ok(text.replace(',', ",,"))
}

/// Whether this machine can run the board's instructions itself.
fn kvm_works() -> bool {
    let kvm = std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm");
    std::env::consts::ARCH == "aarch64" && kvm.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seventh_sata_disk_gets_a_second_controller() {
        let disk = |n: usize| {
            let kind = Kind::Sata { model: "M,1".into(), serial: format!("S{n}") };
            let (name, device) = (format!("sata{n}"), String::new());
            (EmulatedDisk { name, device, kind }, PathBuf::from(format!("/d/{n}")))
        };
        let disks: Vec<_> = (0..7).map(disk).collect();
        let options = disk_options(&disks).unwrap();
        let controllers =
            options.iter().filter(|(_, value)| value.starts_with("ich9-ahci")).count();
        assert_eq!(controllers, 2);
        let last = &options.last().unwrap().1;
        assert_eq!(last, "ide-hd,drive=disk6,bus=ahci1.0,model=M,,1,serial=S6");
    }
}
