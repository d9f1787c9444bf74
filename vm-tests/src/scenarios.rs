//! Faults that only a whole machine has: the power goes, a disk goes, the clock is wrong, memory is short. Each
//! scenario is an ordinary install on the emulated board, with one of them.

use crate::board::{Board, Ended, Installed, Moment};
use crate::digest::digests;
use crate::faults::{Loss, device, lose, power_cut};
use crate::lab::Lab;
use crate::layouts::{self, Layout};
use crate::rehearsal::{self, Peculiarity, Way};
use crate::tally::Tally;
use crate::{interrupt, keep, replace, say, secrets};
use anyhow::{Context, Result, bail, ensure};
use landfall::machine::{Input, Script};
use landfall::report::{Exit, StepName};
use serde_json::Value;
use std::collections::BTreeMap;
use std::time::Instant;

/// A scenario, by the name it is run by.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scenario {
    /// As in `cargo xtask scenario NAME`.
    pub(crate) name: &'static str,
    /// Why it is not part of `cargo xtask test`; none if it is.
    pub(crate) left_out: Option<&'static str>,
    fault: Fault,
}

/// What goes wrong, or is wrong from the start.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Nothing but what the board is.
    Rehearsal(Way, Peculiarity),
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
    /// After the plan was made and agreed to, a disk of it is lost; in each of these ways, one after the other.
    DiskLost(&'static [Loss]),
    /// The network loses and delays packets, both ways, as tc-netem(8) takes it.
    BadNetwork(&'static [&'static str]),
}

const IN_DISKO: Moment = Moment::Output("disko", "zpool create");
/// One of the old system's data sets is renamed already, the next one is about to be.
const IN_KEEP: Moment = Moment::Output("disko", "zfs rename -u tank/root");
const IN_COPY: Moment = Moment::Sent("closure", 50);
const IN_NIXOS_INSTALL: Moment = Moment::Output("nixos-install", "activating");
const IN_REBOOT: Moment = Moment::Begin(StepName::Reboot);

const PLAIN: Peculiarity = Peculiarity { memory: None, clock: None };
const SMALL: Peculiarity = Peculiarity { memory: Some("1536"), ..PLAIN };
const OLD: Peculiarity = Peculiarity { clock: Some("1970-01-01"), ..PLAIN };
const AHEAD: Peculiarity = Peculiarity { clock: Some("+10 years"), ..PLAIN };
const SMALL_AND_AHEAD: Peculiarity = Peculiarity { clock: AHEAD.clock, ..SMALL };

const ONE_OF_POWER_CUTS: &str = "one of the moments of power-cuts";
const LIKE_KEEP_POOL: &str = "keep-pool keeps a pool already, and this takes 8 to 20 minutes";
const INSTALLED_ELSEWHERE: &str =
    "raidz1 and raidz2 over five disks are installed in the test run already";

/// All of them.
pub(crate) const ALL: [Scenario; 26] = [
    tested("rehearsal-kexec", Fault::Rehearsal(Way::Kexec, SMALL_AND_AHEAD)),
    tested("rehearsal-direct", Fault::Rehearsal(Way::Direct, OLD)),
    further("clock-1970", Fault::Rehearsal(Way::Direct, OLD), "it is what rehearsal-direct does"),
    further("clock-in-ten-years", Fault::Rehearsal(Way::Direct, AHEAD), "in rehearsal-kexec"),
    further("memory-1536", Fault::Rehearsal(Way::Kexec, SMALL), "in rehearsal-kexec"),
    tested("interrupt", Fault::Interruptions),
    tested("secrets", Fault::Secrets),
    tested("keep-pool", Fault::Keep(keep::Case::SystemInPool)),
    further(
        "keep-fresh-emmc",
        Fault::Keep(keep::Case::FreshEmmc(&[IN_KEEP, IN_COPY])),
        LIKE_KEEP_POOL,
    ),
    further("keep-degraded", Fault::Keep(keep::Case::DiskPulled), LIKE_KEEP_POOL),
    further("keep-data-pool", Fault::Keep(keep::Case::DataPool), LIKE_KEEP_POOL),
    tested("power-cuts", Fault::PowerCuts(&[IN_DISKO, IN_COPY, IN_NIXOS_INSTALL, IN_REBOOT])),
    further("power-cut-in-disko", Fault::PowerCuts(&[IN_DISKO]), ONE_OF_POWER_CUTS),
    further("power-cut-in-copy", Fault::PowerCuts(&[IN_COPY]), ONE_OF_POWER_CUTS),
    further("power-cut-in-nixos-install", Fault::PowerCuts(&[IN_NIXOS_INSTALL]), ONE_OF_POWER_CUTS),
    further("power-cut-in-reboot", Fault::PowerCuts(&[IN_REBOOT]), ONE_OF_POWER_CUTS),
    tested("disk-lost", Fault::DiskLost(&[Loss::Failed, Loss::Pulled])),
    further("disk-fails", Fault::DiskLost(&[Loss::Failed]), "in disk-lost"),
    further("disk-pulled", Fault::DiskLost(&[Loss::Pulled]), "in disk-lost"),
    tested("disk-replace", Fault::Replace),
    layout("layout-mirror", "helios64-mirror", "mirror", 2, 1),
    layout("layout-raidz1-3", "helios64-raidz1-3", "raidz1", 3, 1),
    layout("layout-raidz1-5", "helios64", "raidz1", 5, 1),
    layout("layout-raidz2-4", "helios64-raidz2-4", "raidz2", 4, 2),
    layout("layout-raidz2", "helios64-raidz2", "raidz2", 5, 2),
    further(
        "loss-1",
        Fault::BadNetwork(&["loss", "1%", "delay", "15ms", "5ms", "rate", "100mbit"]),
        "through QEMU's own network it takes half an hour",
    ),
];

/// What `cargo xtask test` does on boards, the longest first. The scenarios of a row share a board: what the first has
/// installed, the next one begins from.
pub(crate) const ROWS: [&[&str]; 6] = [
    &["power-cuts", "keep-pool"],
    &["interrupt", "disk-replace"],
    &["secrets"],
    &["disk-lost"],
    &["rehearsal-kexec"],
    &["rehearsal-direct"],
];

const fn tested(name: &'static str, fault: Fault) -> Scenario {
    Scenario { name, left_out: None, fault }
}

const fn further(name: &'static str, fault: Fault, why: &'static str) -> Scenario {
    Scenario { name, left_out: Some(why), fault }
}

const fn layout(
    name: &'static str,
    host: &'static str,
    mode: &'static str,
    disks: usize,
    survives: usize,
) -> Scenario {
    further(name, Fault::Layout(Layout { host, mode, disks, survives }), INSTALLED_ELSEWHERE)
}

/// The command of the process that runs scenarios.
pub(crate) const INSIDE: &str = "scenarios-inside";

/// The scenario of this name.
pub(crate) fn find(name: &str) -> Result<Scenario> {
    let names = || ALL.map(|scenario| scenario.name).join(", ");
    let found = ALL.into_iter().find(|scenario| scenario.name == name);
    found.with_context(|| format!("there is no scenario `{name}`, only {}", names()))
}

/// All of them, a line each: the name, and why it is not part of the test run.
pub(crate) fn list() -> String {
    let line = |Scenario { name, left_out, .. }: Scenario| {
        format!("{name:<28}{}", left_out.unwrap_or("in the test run"))
    };
    ALL.map(line).join("\n")
}

/// Runs them one after the other, each on the board that the one before has left, if it has; whatever fails, the
/// next one is run too, on a board of its own.
///
/// This is for a process that has Nix and QEMU in its PATH (see [`Lab::command`]).
pub(crate) fn run(lab: &Lab, scenarios: &[Scenario]) -> Result<Tally> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut tally = Tally::default();
        let all = async {
            let mut left = None;
            for scenario in scenarios {
                let story = Box::pin(scenario.story(lab, left.take()));
                left = timed(scenario.name, &mut tally, story).await;
            }
        };
        // Dropping the story pulls the board's plug.
        tokio::select! {
            () = all => Ok(tally),
            _ = tokio::signal::ctrl_c() => bail!("interrupted"),
        }
    })
}

async fn timed(
    name: &str,
    tally: &mut Tally,
    story: impl Future<Output = Result<Option<Installed>>>,
) -> Option<Installed> {
    say(&format!("-- {name}"));
    let start = Instant::now();
    let ended = story.await;
    let seconds = start.elapsed().as_secs();
    tally.count(ended.is_ok());
    match ended {
        Ok(left) => {
            say(&format!("-- {name}: passed ({seconds} s)"));
            left
        }
        Err(error) => {
            say(&format!("-- {name}: FAILED ({seconds} s): {error:#}"));
            None
        }
    }
}

impl Scenario {
    /// What happens, and what is left running in the end, for the next one.
    async fn story(self, lab: &Lab, before: Option<Installed>) -> Result<Option<Installed>> {
        let done = |()| None;
        match self.fault {
            Fault::Rehearsal(way, peculiarity) => {
                rehearsal::check(lab, self.name, way, peculiarity).map(done)
            }
            Fault::Interruptions => interrupt::scenario(lab).await.map(Some),
            Fault::Secrets => secrets::scenario(lab).await.map(done),
            Fault::Keep(case) => {
                Box::pin(keep::scenario(lab, self.name, case, before)).await.map(done)
            }
            Fault::Replace => replace::scenario(lab, before).await.map(done),
            Fault::Layout(layout) => layouts::scenario(lab, self.name, layout).await.map(done),
            Fault::PowerCuts(moments) => power_cuts(lab, self.name, moments).await.map(Some),
            Fault::DiskLost(ways) => disk_lost(lab, self.name, ways).await.map(done),
            Fault::BadNetwork(netem) => bad_network(lab, self.name, netem).await.map(done),
        }
    }
}

/// The power goes, the rescue system is booted again, and the same command goes on; at last it ends as it always
/// does.
async fn power_cuts(lab: &Lab, name: &str, moments: &[Moment]) -> Result<Installed> {
    let board = Board::power_on(lab, name, Way::Direct).await?;
    for moment in moments {
        board.look().await?;
        power_cut(&board, board.start()?, *moment).await?;
    }
    board.look().await?;
    let again = Instant::now();
    let key = board.start()?.ends_well(&board.toplevel).await?;
    say(&format!("   the same command ended well after {:.0} s", again.elapsed().as_secs_f64()));
    board.check_console(&[])?;
    Ok(Installed { board, key })
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

/// A disk is lost between plan and layout: the run must be refused, and not a byte be changed on any other. Then the
/// power is cut, and the disk is there again.
async fn disk_lost(lab: &Lab, name: &str, ways: &[Loss]) -> Result<()> {
    let board = Board::power_on(lab, name, Way::Direct).await?;
    let devices: Vec<String> =
        board.rig().disks().map(|(_, device, _)| device.to_owned()).collect();
    let fill = Script::sh(FILL).args(devices);
    board.connect().await?.run(&fill).await.context("filling the disks")?;
    let before = digests(&board)?;
    let mut expected = Vec::new();
    for (number, way) in ways.iter().enumerate() {
        if number > 0 {
            board.power_cycle().await?;
        }
        let lost = lose_before_the_layout(&board, *way, &before).await;
        expected.extend(lost.with_context(|| format!("a disk is lost: {way:?}"))?);
        board.check_console(&expected)?;
    }
    Ok(())
}

/// One of these; by which words the console tells of it.
async fn lose_before_the_layout(
    board: &Board,
    way: Loss,
    before: &BTreeMap<String, Vec<u8>>,
) -> Result<Vec<String>> {
    const LOST: &str = "bay3";
    let lost = device(board, LOST)?;
    let target = board.connect().await?;
    // Not as what goes on after the loss before.
    let mut run = board.start_with(&["--restart"])?;
    run.reaches(Moment::Begin(StepName::Build)).await?;
    // Held, so that it cannot be faster than whoever pulls the disk.
    run.signal("STOP").await?;
    let names = lose(board, &target, LOST, way).await?;
    run.signal("CONT").await?;

    let Ended { status, last, findings, .. } = run.end().await?;
    say(&format!("   it ended with {status}: {}: {}", last["what"], last["why"]));
    ensure!(status.code() == Some(Exit::Refused as i32), "it ended with {status}: {last}");
    let why = format!("{} {}", last["why"], Value::from(findings));
    ensure!(why.contains(&lost), "it does not name the disk: {why}");
    let changed: Vec<_> = digests(board)?
        .into_iter()
        .filter(|(name, digest)| before.get(name) != Some(digest))
        .map(|(name, _)| name)
        .collect();
    ensure!(changed.is_empty(), "these disks were changed: {}", changed.join(", "));
    Ok(names)
}

/// Somebody's data at the beginning of each of these disks.
const FILL: &str = r#"
for disk; do
    yes "somebody's data on $disk" | head -c 1048576 | dd of="$disk" bs=64k conv=fsync status=none
done
"#;
