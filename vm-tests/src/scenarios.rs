//! Faults that only a whole machine has: the power goes, a disk goes, the clock is wrong, memory is short. Each
//! scenario is an ordinary install on the emulated board, with one of them.

use crate::board::{Board, Ended, Moment};
use crate::digest::digests;
use crate::faults::{Loss, device, lose, power_cut};
use crate::lab::Lab;
use crate::layouts::{self, Layout};
use crate::rehearsal::{self, Way};
use crate::{console, interrupt, keep, replace, say, secrets};
use anyhow::{Context, Result, bail, ensure};
use landfall::machine::{Input, Script};
use landfall::report::Exit;
use serde_json::Value;
use std::process::Command;
use std::time::Instant;

/// A scenario, by the name it is run by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// As in `cargo xtask scenario NAME`.
    pub(crate) name: &'static str,
    /// Whether it is part of `cargo xtask test`; the others take long, or are in one of these already.
    pub(crate) in_test: bool,
    fault: Fault,
}

/// What goes wrong, or is wrong from the start.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing but a user who presses Ctrl-C.
    Interruptions,
    /// Whatever may happen to data that must outlive a reinstall.
    Keep(keep::Case),
    /// Disks that fail once all is installed, and are replaced.
    Replace,
    /// Nothing but another layout than the usual one.
    Layout(Layout),
    /// Nothing but secrets, which must be where they belong and nowhere else.
    Secrets,
    /// The power goes at each of these moments, and comes back to the rescue system.
    PowerCuts(&'static [Moment]),
    /// After the plan was made and agreed to, a disk of it is gone.
    DiskPulled,
    /// After the plan was made and agreed to, a disk of it is there and cannot be read any more.
    DiskFails,
    /// The network loses and delays packets, both ways, as tc-netem(8) takes it.
    BadNetwork(&'static [&'static str]),
    /// Whenever the board is switched on it believes that it is this day, as date(1) takes it.
    Clock(&'static str),
    /// So many MiB of memory are all there is, for kexec too.
    Memory(&'static str),
}

const IN_DISKO: Moment = Moment::Output("disko", "zpool create");
/// One of the old system's data sets is renamed already, the next one is about to be.
const IN_KEEP: Moment = Moment::Output("disko", "zfs rename -u tank/root");
const IN_COPY: Moment = Moment::Sent("closure", 50);
const IN_NIXOS_INSTALL: Moment = Moment::Output("nixos-install", "activating");
const IN_REBOOT: Moment = Moment::Begin("reboot");

/// All of them.
pub(crate) const ALL: [Scenario; 23] = [
    tested("interrupt", Fault::Interruptions),
    tested("secrets", Fault::Secrets),
    tested("keep-pool", Fault::Keep(keep::Case::SystemInPool)),
    further("keep-fresh-emmc", Fault::Keep(keep::Case::FreshEmmc(&[IN_KEEP, IN_COPY]))),
    further("keep-degraded", Fault::Keep(keep::Case::DiskPulled)),
    further("keep-data-pool", Fault::Keep(keep::Case::DataPool)),
    tested("power-cuts", Fault::PowerCuts(&[IN_DISKO, IN_COPY, IN_NIXOS_INSTALL, IN_REBOOT])),
    further("power-cut-in-disko", Fault::PowerCuts(&[IN_DISKO])),
    further("power-cut-in-copy", Fault::PowerCuts(&[IN_COPY])),
    further("power-cut-in-nixos-install", Fault::PowerCuts(&[IN_NIXOS_INSTALL])),
    further("power-cut-in-reboot", Fault::PowerCuts(&[IN_REBOOT])),
    tested("disk-pulled", Fault::DiskPulled),
    tested("disk-fails", Fault::DiskFails),
    tested("disk-replace", Fault::Replace),
    layout("layout-mirror", "helios64-mirror", "mirror", 2, 1),
    layout("layout-raidz1-3", "helios64-raidz1-3", "raidz1", 3, 1),
    layout("layout-raidz1-5", "helios64", "raidz1", 5, 1),
    layout("layout-raidz2-4", "helios64-raidz2-4", "raidz2", 4, 2),
    layout("layout-raidz2", "helios64-raidz2", "raidz2", 5, 2),
    further(
        "loss-1",
        Fault::BadNetwork(&["loss", "1%", "delay", "15ms", "5ms", "rate", "100mbit"]),
    ),
    tested("clock-1970", Fault::Clock("1970-01-01")),
    tested("clock-in-ten-years", Fault::Clock("+10 years")),
    tested("memory-1536", Fault::Memory("1536")),
];

const fn tested(name: &'static str, fault: Fault) -> Scenario {
    Scenario { name, in_test: true, fault }
}

const fn further(name: &'static str, fault: Fault) -> Scenario {
    Scenario { name, in_test: false, fault }
}

const fn layout(
    name: &'static str,
    host: &'static str,
    mode: &'static str,
    disks: usize,
    survives: usize,
) -> Scenario {
    further(name, Fault::Layout(Layout { host, mode, disks, survives }))
}

/// The command of the process that runs a scenario.
pub(crate) const INSIDE: &str = "scenario-inside";

/// The scenario of this name.
pub(crate) fn find(name: &str) -> Result<Scenario> {
    let names = || ALL.map(|scenario| scenario.name).join(", ");
    let found = ALL.into_iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("there is no scenario `{name}`, only {}", names()))
}

impl Scenario {
    /// Runs it; those that hold the board in their own hands in a process that has Nix and QEMU in its PATH.
    pub(crate) fn check(self, lab: &Lab) -> Result<()> {
        match self.fault {
            Fault::Clock(day) => {
                let day = date(day)?;
                rehearsal::check(lab, self.name, Way::Direct, &["--clock", &day])
            }
            Fault::Memory(mib) => rehearsal::check(lab, self.name, Way::Kexec, &["--memory", mib]),
            _ => {
                let state = console::fresh_state(&lab.root, self.name)?;
                let mut inside = lab.command(std::env::current_exe()?);
                inside.args([INSIDE, self.name]).env("XDG_STATE_HOME", &state);
                ensure!(inside.status()?.success(), "the scenario failed");
                Ok(())
            }
        }
    }

    /// The part inside that process.
    pub(crate) fn run(self, lab: &Lab) -> Result<()> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            // Dropping the story pulls the board's plug.
            tokio::select! {
                told = self.story(lab) => told,
                _ = tokio::signal::ctrl_c() => bail!("interrupted"),
            }
        })
    }

    async fn story(self, lab: &Lab) -> Result<()> {
        match self.fault {
            Fault::Interruptions => interrupt::scenario(lab).await,
            Fault::Secrets => secrets::scenario(lab).await,
            Fault::Keep(case) => Box::pin(keep::scenario(lab, self.name, case)).await,
            Fault::Replace => replace::scenario(lab).await,
            Fault::Layout(layout) => layouts::scenario(lab, self.name, layout).await,
            Fault::PowerCuts(moments) => power_cuts(lab, self.name, moments).await,
            Fault::DiskPulled => disk_lost(lab, self.name, Loss::Pulled).await,
            Fault::DiskFails => disk_lost(lab, self.name, Loss::Failed).await,
            Fault::BadNetwork(netem) => bad_network(lab, self.name, netem).await,
            Fault::Clock(_) | Fault::Memory(_) => bail!("it is a rehearsal"),
        }
    }
}

/// A day as QEMU takes it.
fn date(text: &str) -> Result<String> {
    let output = Command::new("date").args(["-u", "+%F", "-d", text]).output()?;
    ensure!(output.status.success(), "date does not know the day {text}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The power goes, the rescue system is booted again, and the same command goes on; at last it ends as it always
/// does.
async fn power_cuts(lab: &Lab, name: &str, moments: &[Moment]) -> Result<()> {
    let board = Board::power_on(lab, name, Way::Direct).await?;
    for moment in moments {
        board.look().await?;
        power_cut(&board, board.start()?, *moment).await?;
    }
    board.look().await?;
    let again = Instant::now();
    board.start()?.ends_well(&board.toplevel).await?;
    say(&format!("   the same command ended well after {:.0} s", again.elapsed().as_secs_f64()));
    board.check_console(&[])
}

/// An install through a network that loses packets, from the first connection to the restart.
async fn bad_network(lab: &Lab, name: &str, netem: &[&str]) -> Result<()> {
    let board = Board::power_on(lab, name, Way::Direct).await?;
    let target = board.connect().await?;
    let archive = std::fs::read(lab.stages["netem"].join("netem.tar"))?;
    let script = Script::sh(include_str!("netem.sh")).args(netem.iter().copied());
    let qdiscs = target.run_with(&script, Input::Bytes(&archive)).await?;
    let bad = qdiscs.lines().filter(|line| line.starts_with("qdisc netem")).count();
    ensure!(bad == 2, "the network is not bad in both directions:\n{qdiscs}");
    let start = Instant::now();
    board.start()?.ends_well(&board.toplevel).await?;
    say(&format!("   it ended well after {:.0} s", start.elapsed().as_secs_f64()));
    board.check_console(&[])
}

/// A disk is lost between plan and layout: the run must be refused, and not a byte be changed on any other.
async fn disk_lost(lab: &Lab, name: &str, loss: Loss) -> Result<()> {
    const LOST: &str = "bay3";
    let board = Board::power_on(lab, name, Way::Direct).await?;
    let rig = board.rig();
    let target = board.connect().await?;
    let devices: Vec<String> = rig.disks().map(|(_, device, _)| device.to_owned()).collect();
    target.run(&Script::sh(FILL).args(devices)).await.context("filling the disks")?;
    let before = digests(&board)?;
    let lost = device(&board, LOST)?;

    let mut run = board.start()?;
    run.reaches(Moment::Begin("build")).await?;
    // Held, so that it cannot be faster than whoever pulls the disk.
    run.signal("STOP").await?;
    let names = lose(&board, &target, LOST, loss).await?;
    run.signal("CONT").await?;

    let Ended { status, last, findings, .. } = run.end().await?;
    say(&format!("   it ended with {status}: {}: {}", last["what"], last["why"]));
    let refused = match loss {
        Loss::Pulled => Exit::Disko,
        Loss::Failed => Exit::Refused,
    };
    ensure!(status.code() == Some(refused as i32), "it ended with {status}: {last}");
    let why = format!("{} {}", last["why"], Value::from(findings));
    ensure!(why.contains(&lost), "it does not name the disk: {why}");
    let changed: Vec<_> = digests(&board)?
        .into_iter()
        .filter(|(name, digest)| before.get(name) != Some(digest))
        .map(|(name, _)| name)
        .collect();
    ensure!(changed.is_empty(), "these disks were changed: {}", changed.join(", "));
    board.check_console(&names)
}

/// Somebody's data at the beginning of each of these disks.
const FILL: &str = r#"
for disk; do
    yes "somebody's data on $disk" | head -c 1048576 | dd of="$disk" bs=64k conv=fsync status=none
done
"#;
