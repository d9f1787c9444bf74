//! The emulated board: QEMU, restarted when the guest reboots, as a power supply would.
//!
//! The first boot is that of the rescue system, by kernel and initrd; after it the firmware looks for what is
//! on the disks, as on the real board.

use super::disks::{EmulatedDisk, Kind};
use super::qmp::Monitor;
use crate::machine::{Backoff, last_lines};
use anyhow::{Context, Result, bail};
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot};
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
    /// What its clock says whenever the board is switched on, as QEMU's `-rtc base=` takes it; none is the right
    /// time.
    pub(super) clock: Option<String>,
    /// The disks and their files.
    pub(super) disks: Vec<(EmulatedDisk, PathBuf)>,
    /// Where the serial console is written.
    pub(super) console: PathBuf,
    /// Loopback port that leads to the board's port 22.
    pub(super) port: u16,
}

/// A running board. Dropping it pulls the plug.
pub(super) struct Board {
    supply: JoinHandle<()>,
    orders: mpsc::Sender<Order>,
    console: PathBuf,
    port: u16,
}

/// What the power supply is asked to do, and where it answers.
enum Order {
    /// Cut the power, and switch on again into the rescue system.
    PowerCycle(oneshot::Sender<Result<()>>),
    /// Take away what the disk of this number is read from and written to.
    FailDisk(usize, oneshot::Sender<Result<()>>),
    /// Let the machine run on without us; its process id.
    LetGo(oneshot::Sender<Option<u32>>),
}

/// How long one login may take: emulated, and beside other work, a board may need minutes for what a real one does in a
/// second.
pub(super) const LOGIN: Duration = Duration::from_secs(120);
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
        let ended = tokio::time::timeout(Duration::from_millis(500), first.child.wait());
        if let Ok(status) = ended.await {
            let mut said = String::new();
            if let Some(stderr) = first.child.stderr.as_mut() {
                let _ = stderr.take(END).read_to_string(&mut said).await;
            }
            bail!("{QEMU} ended with {}: {}", status?, last_lines(&said, 5));
        }
        let (orders, taken) = mpsc::channel(1);
        let supply = tokio::spawn(supply(parts, first, taken));
        Ok(Self { supply, orders, console, port })
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
        let (mut pause, mut patience) = (Backoff::pause(), Backoff::patience(LOGIN));
        while start.elapsed() < deadline {
            on_wait(start.elapsed().as_secs());
            if self.supply.is_finished() {
                bail!("{QEMU} does not run any more; the console's end:\n{}", self.console_end());
            }
            match tokio::time::timeout(patience.now(), self.greeting()).await {
                Ok(Ok(true)) => return Ok(()),
                Ok(_) => {}
                Err(_) => patience.grow(),
            }
            pause.sleep().await;
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
        // Of a console that cannot be read, there is nothing to show.
        let end = end_of(&self.console).unwrap_or_default();
        last_lines(&String::from_utf8_lossy(&end).replace('\r', ""), 12)
    }

    /// Lets the machine run on without us; its process id.
    pub(super) async fn leave_running(self) -> Option<u32> {
        self.order(Order::LetGo).await.ok().flatten()
    }

    /// Cuts the power at once, as pulling the plug does, and switches on again into the rescue system.
    ///
    /// What QEMU had taken from the guest stays, so this is not the loss of a disk's own cache.
    pub(super) async fn power_cycle(&self) -> Result<()> {
        self.order(Order::PowerCycle).await?
    }

    /// From now on the disk of this number answers with errors only.
    pub(super) async fn fail_disk(&self, number: usize) -> Result<()> {
        self.order(|answer| Order::FailDisk(number, answer)).await?
    }

    async fn order<A>(&self, order: impl FnOnce(oneshot::Sender<A>) -> Order) -> Result<A> {
        let (answer, answered) = oneshot::channel();
        let sent = self.orders.send(order(answer)).await;
        sent.ok().with_context(|| format!("{QEMU} does not run any more"))?;
        answered.await.with_context(|| format!("{QEMU} does not run any more"))
    }
}

impl Drop for Board {
    fn drop(&mut self) {
        self.supply.abort();
    }
}

/// Switches the board on again whenever it restarts, and does as it is told. Ends when QEMU does not start any
/// more, which whoever waits for the board sees in time, or when the board is let go of.
async fn supply(parts: Parts, first: Running, mut orders: mpsc::Receiver<Order>) {
    let mut running = first;
    loop {
        let order = tokio::select! {
            order = orders.recv() => order,
            _ = running.child.wait() => {
                let Ok(next) = start(&parts, Boot::Firmware) else { return };
                running = next;
                continue;
            }
        };
        match order {
            Some(Order::PowerCycle(answer)) => {
                // It must be gone: the next one takes over its disks and its port.
                let cut = running.child.kill().await.context("cutting the power");
                let on = cut.and_then(|()| start(&parts, Boot::Rescue));
                let _ = answer.send(on.map(|next| running = next));
            }
            Some(Order::FailDisk(number, answer)) => {
                let _ = answer.send(running.monitor.remove_drive(&drive(number)).await);
            }
            Some(Order::LetGo(answer)) => {
                let _ = answer.send(running.child.id());
                // Dropping it would pull the plug.
                std::mem::forget(running);
                return;
            }
            None => return,
        }
    }
}

/// A QEMU at work.
struct Running {
    child: Child,
    monitor: Monitor,
}

/// So much of what a guest or QEMU says is looked at.
const END: u64 = 64 << 10;

/// The end of a file that grows as long as the board runs.
fn end_of(path: &Path) -> std::io::Result<Vec<u8>> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = std::fs::File::open(path)?;
    let size = file.metadata()?.len();
    file.seek(SeekFrom::Start(size.saturating_sub(END)))?;
    let mut end = Vec::new();
    file.take(END).read_to_end(&mut end)?;
    Ok(end)
}

/// The name that QEMU knows a disk's file by.
fn drive(number: usize) -> String {
    format!("disk{number}")
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
fn start(parts: &Parts, boot: Boot) -> Result<Running> {
    let mut command = Command::new(QEMU);
    command.args(arguments(parts, boot)?);
    // Standard input and output carry the machine protocol.
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
    // A Ctrl-C at the terminal is for landfall, which then pulls the plug itself.
    command.process_group(0);
    let mut child = command.spawn().with_context(|| format!("starting {QEMU}"))?;
    let monitor = Monitor::of(&mut child)?;
    Ok(Running { child, monitor })
}

fn arguments(parts: &Parts, boot: Boot) -> Result<Vec<OsString>> {
    let mut words: Vec<OsString> = Vec::new();
    let mut add = |option: &str, value: &str| words.extend([option.into(), value.into()]);
    if kvm_works() {
        add("-machine", "virt");
        add("-accel", "kvm");
        add("-cpu", "host");
    } else {
        // A GIC of version 2 and a core without pointer authentication are the fastest to emulate. Without a seed there is no
        // KASLR, and without that the kernel needs no page tables of its own: otherwise each system call would empty the
        // emulator's translation cache.
        add("-machine", "virt,gic-version=2,dtb-randomness=off");
        add("-accel", "tcg,thread=multi");
        add("-cpu", "cortex-a72");
    }
    add("-smp", "2");
    add("-m", &parts.memory.to_string());
    if let Some(clock) = &parts.clock {
        add("-rtc", &format!("base={clock}"));
    }
    add("-display", "none");
    add("-monitor", "none");
    add("-qmp", "stdio");
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
        let id = drive(index);
        options.push((
            "-drive",
            format!("if=none,id={id},format=raw,cache=unsafe,discard=unmap,file={file}"),
        ));
        let device = match &disk.kind {
            Kind::Sata { model, serial } => {
                let (controller, port) = (sata / PORTS, sata % PORTS);
                if port == 0 {
                    options.push(("-device", format!("ich9-ahci,id=ahci{controller}")));
                }
                sata += 1;
                let (model, serial) = (model.replace(',', ",,"), serial.replace(',', ",,"));
                format!(
                    "ide-hd,drive={id},bus=ahci{controller}.{port},model={model},serial={serial}"
                )
            }
            Kind::Virtio { serial, .. } => {
                format!("virtio-blk-pci,drive={id},serial={}", serial.replace(',', ",,"))
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
