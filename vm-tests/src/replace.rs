//! A disk of an installed raidz2 fails while it is written to, and is replaced as a person does it: what is there is
//! listed, a disk that is too small and one of another pool are offered and refused, a good one comes in, Ctrl-C is
//! pressed while it is filled, and a second disk fails. In the end the pool is whole, and all that was written is as it
//! was.
//!
//! QEMU's AHCI has no hotplug: a disk that is pulled is taken from the guest's kernel, and one that is put in is looked
//! for by it. From there on all is as on real hardware: udev's events, new kernel names, ZFS' own words.

use crate::board::{Board, DISK, Ended, Installed, Moment, Run, until};
use crate::digest::sha256;
use crate::faults::fail;
use crate::lab::Lab;
use crate::rehearsal::Way;
use crate::say;
use anyhow::{Context, Result, ensure};
use landfall::commands::rehearse::SpareDisk;
use landfall::machine::{Input, Script, Target};
use landfall::report::Exit;
use std::collections::BTreeMap;

/// Five disks, two of which may fail.
const HOST: &str = "helios64-raidz2";

/// The spare disks, by name, which is also the serial number. On the second controller those that take a place are on the
/// port with its number, as on the board.
const SMALL: &str = "SMALL001";
/// This one has a pool of its own.
pub(crate) const OTHER: &str = "OTHER002";
const GOOD: &str = "GOOD0003";
const SECOND: &str = "GOOD0004";

/// A machine with the disks that will come in, which nobody has installed anything on yet.
pub(crate) async fn machine(lab: &Lab, name: &str, way: Way) -> Result<Board> {
    let spares = [(SMALL, DISK * 2 / 3), (OTHER, DISK), (GOOD, DISK), (SECOND, DISK)];
    let spares = spares.map(|(name, size)| spare(name, size)).to_vec();
    Board::power_on_as(lab, name, way, HOST, spares, |_| Ok(())).await
}

/// The scenario, on such a machine that is installed, or on a new one.
pub(crate) async fn scenario(lab: &Lab, before: Option<Installed>) -> Result<()> {
    let Installed { board, key } = if let Some(installed) = before {
        installed
    } else {
        let board = machine(lab, "disk-replace", Way::Direct).await?;
        board.look().await?;
        let key = board.start()?.ends_well(&board.toplevel).await?;
        Installed { board, key }
    };
    let target = board.connect_installed(&key).await?;
    let bench = Bench { board, key, target };
    bench.run().await
}

fn spare(name: &str, size: u64) -> SpareDisk {
    let (name, serial, model) = (name.to_owned(), name.to_owned(), "SPARE_DISK".to_owned());
    SpareDisk { name, model, serial, size }
}

/// The installed machine, and what is needed to work at it.
struct Bench {
    board: Board,
    key: String,
    target: Target,
}

impl Bench {
    async fn run(&self) -> Result<()> {
        self.hand(&["other-pool", &self.path(OTHER)?]).await?;
        let mut ports = BTreeMap::new();
        for name in [SMALL, OTHER, GOOD, SECOND] {
            let port = self.hand(&["unplug", &self.path(name)?]).await?;
            ports.insert(name, port.trim().to_owned());
        }
        let filled = self.hand(&["fill"]).await?;
        let guid = self.ask(GUID).await?;
        self.is_as_declared().await?;
        say(&format!("   installed; {} files of known data in its pool", filled.trim()));

        self.hand(&["load"]).await?;
        let mut expected = self.loses("bay2").await?;
        let missing = self.differences().await?;
        let is_told = missing.len() == 1 && missing[0].starts_with("bay2:");
        ensure!(is_told, "bay2 is not there, and disk list says {missing:?}");
        self.refuses(SMALL, &ports[SMALL], "replace-new-small").await?;
        self.refuses(OTHER, &ports[OTHER], "replace-new-pool").await?;
        self.plug(GOOD, &ports[GOOD]).await?;
        self.comes_in(&mut expected).await?;
        self.plug(SECOND, &ports[SECOND]).await?;
        self.heals().await?;

        self.hand(&["enough"]).await?;
        let ended = async || self.is_so("test -e /run/ended").await;
        until("nothing is written any more", ended).await?;
        let kept = self.hand(&["look"]).await?;
        let (health, now) = (self.ask(HEALTH).await?, self.ask(GUID).await?);
        ensure!(health == "ONLINE" && now == guid, "the pool is {health}, {now} and not {guid}");
        say(&format!("   the pool is {health}; {} are as they were written", kept.trim()));
        self.knows_the_new_disks().await?;
        self.board.check_console(&expected)
    }
}

/// Steps, in the order in which they are taken.
impl Bench {
    /// Data is written without end, a disk of the pool fails, and somebody pulls it out; by which words the console tells
    /// of it.
    async fn loses(&self, bay: &str) -> Result<Vec<String>> {
        let names = fail(&self.board, &self.target, bay).await?;
        let path = self.path(bay)?;
        let member = format!("zpool status -P tank | grep '{path}' | grep -qvw ONLINE");
        until(&format!("the pool has lost {bay}"), async || self.is_so(&member).await).await?;
        self.hand(&["unplug", &path]).await?;
        Ok(names)
    }

    /// A disk is put in, offered, refused for this reason, left as it was, and taken out.
    async fn refuses(&self, name: &str, port: &str, code: &str) -> Result<()> {
        let (_, file) = self.board.disk(name)?;
        self.plug(name, port).await?;
        let before = sha256(file)?;
        let ended = self.replace(&["--new", name, "--yes"])?.end().await?;
        let Ended { status, last, findings, .. } = &ended;
        ensure!(status.code() == Some(Exit::Refused as i32), "it ended with {status}: {last}");
        let found = findings.iter().any(|finding| finding["code"] == code);
        ensure!(found, "{code} is not among the findings: {findings:?}");
        ensure!(sha256(file)? == before, "the disk {name} was written to");
        self.hand(&["unplug", &self.path(name)?]).await?;
        say(&format!("   {name} is refused: {code}, exit code {}", Exit::Refused as i32));
        Ok(())
    }

    /// The good disk comes in. While it is filled, Ctrl-C; the same command follows what goes on, and sees how a second
    /// disk fails; the first one's place is filled all the same.
    async fn comes_in(&self, expected: &mut Vec<String>) -> Result<()> {
        let options = ["--new", GOOD, "--yes"];
        self.hand(&["hold", "1"]).await?;
        let mut run = self.replace(&options)?;
        run.reaches(Moment::Event("scan")).await?;
        run.signal("INT").await?;
        let Ended { status, last, .. } = run.end().await?;
        ensure!(status.code() == Some(130), "after Ctrl-C it ended with {status}: {last}");
        ensure!(self.is_so(RESILVERING).await?, "nothing is resilvered any more");
        say(&format!("   Ctrl-C while it is resilvered; target: {}", last["state"]));

        let mut run = self.replace(&options)?;
        run.reaches(Moment::Event("scan")).await?;
        expected.extend(self.loses("bay3").await?);
        self.hand(&["hold", "0"]).await?;
        let Ended { status, last, .. } = run.end().await?;
        say(&format!("   the same command ended with {status}: {}: {}", last["what"], last["why"]));
        ensure!(!status.success(), "it ended well, and a disk has failed: {last}");
        let state = last["state"].as_str().unwrap_or_default();
        ensure!(
            !state.contains("resilvered"),
            "nothing is resilvered any more, and it says {state}"
        );
        let path = self.path(GOOD)?;
        let member = format!("zpool status -P tank | grep '{path}' | grep -qw ONLINE");
        ensure!(self.is_so(&member).await?, "{GOOD} is no healthy member of the pool");
        ensure!(!self.is_so(RESILVERING).await?, "it did not wait for the resilver to end");
        Ok(())
    }

    /// The next disk comes into the place of the one that has failed, whichever they are: nobody says.
    async fn heals(&self) -> Result<()> {
        let Ended { status, last, .. } = self.replace(&["--yes", "--scrub"])?.end().await?;
        ensure!(status.success(), "it ended with {status}: {last}");
        ensure!(last["event"] == "disk_replaced" && last["new"] == SECOND, "it says {last}");
        say(&format!("   {SECOND} has taken the place of {}", last["old"]));
        Ok(())
    }

    /// What the flake does not know yet is told; with the disk file that `inventory` writes, there is nothing to tell.
    async fn knows_the_new_disks(&self) -> Result<()> {
        let differences = self.differences().await?;
        ensure!(!differences.is_empty(), "two disks are others, and it does not say so");
        say(&format!("   before the disk file is written: {}", differences.join("; ")));
        let file = self.board.fleet()?.join("hosts/helios64/disks.nix");
        let file = file.to_str().context("the fleet lies nowhere")?;
        let words = ["disk", "inventory"];
        let run = self.board.start_command(&words, &self.key, &["--out", file, "--replace"])?;
        let Ended { status, last, .. } = run.end().await?;
        ensure!(status.success(), "disk inventory ended with {status}: {last}");
        self.is_as_declared().await
    }
}

/// Looks and moves.
impl Bench {
    fn path(&self, name: &str) -> Result<String> {
        Ok(self.board.disk(name)?.0.to_owned())
    }

    async fn hand(&self, words: &[&str]) -> Result<String> {
        let script = Script::sh(include_str!("replace.sh")).args(words.iter().copied());
        Ok(self.target.run(&script).await?)
    }

    async fn ask(&self, question: &str) -> Result<String> {
        Ok(self.target.run(&Script::sh(EVAL).arg(question)).await?.trim().to_owned())
    }

    async fn is_so(&self, question: &str) -> Result<bool> {
        let answer = self.target.attempt(&Script::sh(EVAL).arg(question), Input::Nothing).await?;
        Ok(answer.status == Some(0))
    }

    async fn plug(&self, name: &str, port: &str) -> Result<()> {
        self.hand(&["plug", port]).await?;
        let path = self.path(name)?;
        let there = format!("test -e {path} && udevadm settle --timeout=60");
        until(&format!("{path} is there"), async || self.is_so(&there).await).await
    }

    fn replace(&self, options: &[&str]) -> Result<Run> {
        self.board.start_command(&["disk", "replace"], &self.key, options)
    }

    /// What `disk list` says of what differs from the flake.
    async fn differences(&self) -> Result<Vec<String>> {
        let run = self.board.start_command(&["disk", "list"], &self.key, &[])?;
        let Ended { status, last, .. } = run.end().await?;
        ensure!(status.success(), "disk list ended with {status}: {last}");
        let disks = last["listing"]["disks"].as_array().context("it lists no disks")?;
        let mut differences = Vec::new();
        for disk in disks {
            let said = disk["differs"].as_array().map_or(&[][..], Vec::as_slice);
            let name = disk["name"].as_str().or_else(|| disk["serial"].as_str());
            let name = name.unwrap_or("a disk without a name");
            differences.extend(said.iter().map(|said| format!("{name}: {}", said["what"])));
        }
        Ok(differences)
    }

    async fn is_as_declared(&self) -> Result<()> {
        let differences = self.differences().await?;
        ensure!(differences.is_empty(), "differs from the flake: {}", differences.join("; "));
        Ok(())
    }
}

const GUID: &str = "zpool get -H -o value guid tank";
const HEALTH: &str = "zpool list -H -o health tank";
const RESILVERING: &str = "zpool status tank | grep -q 'resilver in progress'";
/// Runs the words `$1`.
const EVAL: &str = r#"eval "$1""#;
