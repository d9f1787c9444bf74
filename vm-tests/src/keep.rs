//! Pools that survive a reinstall: somebody's data is written into the pool of an installed board; the power goes, so that the pool was
//! never exported; something happens to the machine; the host is installed anew with `--keep`. The data, the pool's GUID, the
//! partitions' GUIDs and the data sets must be the same afterwards, and a scrub must find nothing.

use crate::board::{Board, Ended, Installed, Moment};
use crate::digest::sha256;
use crate::faults::{Loss, device, lose, power_cut};
use crate::lab::Lab;
use crate::rehearsal::Way;
use crate::say;
use anyhow::{Context, Result, ensure};
use landfall::machine::Script;
use landfall::report::{Exit, StepName};
use std::path::Path;

/// What happens to the machine.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Case {
    /// Nothing. The system is in the pool, too.
    SystemInPool,
    /// The eMMC is another, empty one; a disk of another machine is plugged in, with a pool of the same name; and the power goes
    /// at each of these moments of the second install.
    FreshEmmc(&'static [Moment]),
    /// One disk of five is pulled.
    DiskPulled,
    /// The eMMC is another, empty one; the system was on it alone, and some of the pool's data is encrypted.
    DataPool,
}

/// The scenario.
pub(crate) async fn scenario(
    lab: &Lab,
    name: &str,
    case: Case,
    before: Option<Installed>,
) -> Result<()> {
    match case {
        Case::SystemInPool => {
            let sets = ["tank/data/media", "tank/backups"];
            let nas = match before {
                Some(Installed { board, .. }) => Nas::used(board, &sets).await?,
                None => Nas::installed(lab, name, &sets).await?,
            };
            nas.install_anew(&["--keep", "tank"]).await?;
            nas.is_whole_beside_the_old_system().await?;
            nas.board.check_console(&[])
        }
        Case::FreshEmmc(moments) => Box::pin(fresh_emmc(lab, name, moments)).await,
        Case::DiskPulled => Box::pin(disk_pulled(lab, name)).await,
        Case::DataPool => Box::pin(data_pool(lab, name)).await,
    }
}

/// A board that was installed once, with somebody's data in its pool. It is in its rescue system, and nobody has imported the pool.
struct Nas {
    board: Board,
    /// The data sets with data in them.
    sets: String,
    /// What there is to be kept, a line each.
    before: String,
}

/// The key of encrypted data, and where the layout says that it is.
const KEY: (&str, &str) = ("/tmp/secret.key", "correct horse battery staple");

impl Nas {
    async fn installed(lab: &Lab, name: &str, sets: &[&str]) -> Result<Self> {
        let board = Board::power_on(lab, name, Way::Direct).await?;
        Self::with_data(board, sets, &[]).await
    }

    async fn with_data(board: Board, sets: &[&str], options: &[&str]) -> Result<Self> {
        board.look().await?;
        board.start_with(options)?.ends_well(&board.toplevel).await?;
        Self::used(board, sets).await
    }

    /// Of one whose installed system runs.
    async fn used(board: Board, sets: &[&str]) -> Result<Self> {
        say("   installed; writing somebody's data into its pool");
        board.power_cycle().await?;
        let mut nas = Self { board, sets: sets.join(" "), before: String::new() };
        nas.before = nas.look_at_pool("fill").await?;
        // Not exported, as after a crash.
        nas.board.power_cycle().await?;
        Ok(nas)
    }

    async fn install_anew(&self, options: &[&str]) -> Result<()> {
        self.board.look().await?;
        self.board.start_with(options)?.ends_well(&self.board.toplevel).await.map(drop)
    }

    /// What there is to be kept, a line each.
    async fn look_at_pool(&self, then: &str) -> Result<String> {
        let target = self.board.connect().await?;
        let script = Script::sh(include_str!("keep.sh")).arg(then).arg(&self.sets).arg(KEY.0);
        Ok(target.run(&script.arg(KEY.1)).await?)
    }

    /// Nothing of it was lost, but for what is excepted. What there is now.
    async fn is_whole_but(&self, excepted: &str) -> Result<String> {
        say("   installed anew; looking at the data");
        self.board.power_cycle().await?;
        let after = self.look_at_pool("scrub").await?;
        let lost = |line: &&str| *line != excepted && !after.lines().any(|is| is == *line);
        let lost: Vec<&str> = self.before.lines().filter(lost).collect();
        ensure!(lost.is_empty(), "these are not as they were:\n{}\nbut:\n{after}", lost.join("\n"));
        Ok(after)
    }

    async fn is_whole_beside_the_old_system(&self) -> Result<()> {
        is_beside_the_old_system(&self.is_whole_but("").await?)
    }

    /// The run is refused, by this finding among others, with nothing written to any disk.
    async fn refuses(&self, options: &[&str], code: &str) -> Result<()> {
        self.board.look().await?;
        let Ended { status, last, findings, .. } = self.board.start_with(options)?.end().await?;
        ensure!(status.code() == Some(Exit::Refused as i32), "it ended with {status}: {last}");
        let is_told = findings.iter().any(|finding| finding["code"] == code);
        ensure!(is_told, "{code} is not among what it has found: {findings:?}");
        say(&format!("   {} was refused: {code}", options.join(" ")));
        Ok(())
    }
}

fn is_beside_the_old_system(after: &str) -> Result<()> {
    let archived = |name: &str| after.contains(&format!("set tank/landfall-archived/{name}-"));
    for name in ["root", "nix", "var"] {
        ensure!(archived(name), "the old {name} was not archived:\n{after}");
    }
    ensure!(!archived("backups") && !archived("data"), "data was archived:\n{after}");
    Ok(())
}

/// With a disk that is none of the layout's, on which another machine has a pool called tank.
async fn fresh_emmc(lab: &Lab, name: &str, moments: &[Moment]) -> Result<()> {
    const STRANGER: &str = "bay5";
    let mut board = Board::power_on(lab, name, Way::Direct).await?;
    let without = |fleet: &Path| {
        let disks = fleet.join("hosts/helios64/disks.nix");
        let text = std::fs::read_to_string(&disks)?;
        let left = text.lines().filter(|line| !line.contains(STRANGER));
        Ok(std::fs::write(&disks, left.collect::<Vec<_>>().join("\n"))?)
    };
    board.redeclare(without).await?;
    let nas = Nas::with_data(board, &["tank/data/media", "tank/backups"], &[]).await?;
    let board = &nas.board;

    let target = board.connect().await?;
    let stranger = device(board, STRANGER)?;
    let script = Script::sh(include_str!("keep-stranger.sh")).arg(stranger);
    target.run(&script).await.context("making another machine's pool")?;
    board.exchange_disk("emmc")?;
    board.power_cycle().await?;
    // By another name it stays when it is unplugged.
    let file = board.rig().disks().find(|(disk, ..)| *disk == STRANGER).map(|(.., file)| file);
    let (file, aside) = (file.context("no such disk")?, "stranger");
    let aside = file.with_file_name(aside);
    std::fs::hard_link(file, &aside)?;
    let before = sha256(&aside)?;
    let untouched = || Ok::<_, anyhow::Error>(sha256(&aside)? == before);

    // With two pools of that name the installed system could not import its own.
    nas.refuses(&["--keep", "tank"], "disk-pool-name").await?;
    ensure!(untouched()?, "the other machine's pool was written to by a run that was refused");
    let accepting = ["--keep", "tank", "--accept", "disk-pool-name"];
    for moment in moments {
        board.look().await?;
        power_cut(board, board.start_with(&accepting)?, *moment).await?;
        ensure!(untouched()?, "the other machine's pool was written to, until {moment:?}");
    }
    board.look().await?;
    let mut run = board.start_with(&accepting)?;
    run.reaches(Moment::Begin(StepName::Copy)).await?;
    say("   laid out; the other machine's disk is unplugged before the restart");
    board.exchange_disk(STRANGER)?;
    run.ends_well(&board.toplevel).await?;
    ensure!(untouched()?, "the other machine's pool was written to");
    nas.is_whole_beside_the_old_system().await?;
    nas.board.check_console(&[])
}

async fn disk_pulled(lab: &Lab, name: &str) -> Result<()> {
    const PULLED: &str = "bay3";
    let nas = Nas::installed(lab, name, &["tank/data/media", "tank/backups"]).await?;
    let board = &nas.board;
    let target = board.connect().await?;
    let device = device(board, PULLED)?;
    let partition = target.run(&Script::sh(PARTITION).arg(&device)).await?;
    let names = lose(board, &target, PULLED, Loss::Pulled).await?;
    // After the restart an empty disk is in its bay.
    board.exchange_disk(PULLED)?;
    nas.refuses(&["--keep", "tank"], "keep-degraded").await?;
    let run = board.start_with(&["--keep", "tank", "--accept", "keep-degraded"])?;
    run.ends_well_with(&board.toplevel, "DEGRADED").await?;
    is_beside_the_old_system(&nas.is_whole_but(partition.trim_end()).await?)?;
    board.check_console(&names)
}

/// As `keep.sh` tells of it.
const PARTITION: &str = r#"echo "partition $(blkid -p -s PART_ENTRY_UUID -o value "$1-part1")""#;

async fn data_pool(lab: &Lab, name: &str) -> Result<()> {
    let layout = |fleet: &Path| {
        let path = fleet.join("disko-specs/helios64-raidz1.nix");
        Ok(std::fs::write(path, include_str!("keep-data-pool.nix"))?)
    };
    let board = Board::power_on_with(lab, name, Way::Direct, layout).await?;
    let key = lab.root.join("target/rehearsal").join(name).join("key");
    std::fs::write(&key, KEY.1)?;
    let key = key.to_str().context("the lab's path is no UTF-8")?;
    let with_key = ["--disk-encryption-keys", KEY.0, key];
    let nas = Nas::with_data(board, &["tank/media", "tank/vault"], &with_key).await?;
    nas.board.exchange_disk("emmc")?;
    nas.board.power_cycle().await?;
    nas.refuses(&["--keep", "tank"], "keep-encrypted").await?;
    nas.install_anew(&[&["--keep", "tank"], &with_key[..]].concat()).await?;
    let after = nas.is_whole_but("").await?;
    ensure!(!after.contains("landfall-archived"), "data was archived:\n{after}");
    nas.board.check_console(&[])
}
