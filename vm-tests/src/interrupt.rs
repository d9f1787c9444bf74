//! Ctrl-C in every step of an install on the emulated board: it ends within five seconds, says in which state
//! the target is, and the same command run again goes on, to the end.

use crate::board::{Board, Ended, Installed, Moment, until};
use crate::digest::sha256;
use crate::lab::Lab;
use crate::pace::promised;
use crate::rehearsal::Way;
use crate::{replace, say};
use anyhow::{Result, ensure};
use landfall::machine::{Input, Script};
use landfall::report::StepName;
use std::time::Instant;

/// The promise: so many seconds after Ctrl-C it is over, on a machine that has nothing else to do.
const PROMPT: u64 = 5;

/// The scenario, on a machine whose disks can be replaced afterwards.
pub(crate) async fn scenario(lab: &Lab) -> Result<Installed> {
    let board = replace::machine(lab, "interrupt", Way::Kexec).await?;
    let said = |source| Moment::Output(source, "");

    press(&board, Moment::Begin(StepName::Build), &["as it was", "still the old system"]).await?;
    press(&board, said("kexec"), &["on its way"]).await?;
    until("the installer is up", async || Ok(board.look().await?.is_installer())).await?;
    let stranger = Stranger::plug_in(&board).await?;
    press(&board, said("disko"), &["being laid out"]).await?;
    // The next ones follow the job that is at work, or find what it has done.
    press(&board, Moment::Begin(StepName::Copy), &["laid out, mounted"]).await?;
    press(&board, said("nixos-install"), &["nixos-install continues"]).await?;
    press(&board, Moment::Begin(StepName::Reboot), &["was not restarted", "restarting"]).await?;
    until("nothing lets go of disks", || nothing_lets_go(&board)).await?;
    press(&board, Moment::Begin(StepName::Verify), &["restarting"]).await?;
    let key = board.start()?.ends_well(&board.toplevel).await?;
    stranger.leaves_as_it_was(&board, &key).await?;
    board.check_console(&[])?;
    Ok(Installed { board, key })
}

/// A disk that the layout does not name, with a pool called as the old one on the layout's disks is. disko clears the labels of
/// the old one by that name, which leads to either.
struct Stranger {
    before: Vec<u8>,
}

impl Stranger {
    async fn plug_in(board: &Board) -> Result<Self> {
        let target = board.connect().await?;
        let script = Script::sh(include_str!("stranger.sh")).arg("make");
        let [one, other] = ["bay1", "bay2"].map(|bay| board.disk(bay));
        let (stranger, file) = board.disk(replace::OTHER)?;
        let script = script.arg(one?.0).arg(other?.0).arg(stranger);
        target.run(&script).await?;
        say("   bay1 and bay2 have an old pool called rust, and so has a disk of somebody else's");
        Ok(Self { before: sha256(file)? })
    }

    /// Not a byte of it has changed; then it is taken away, for whoever uses the board next.
    async fn leaves_as_it_was(self, board: &Board, key: &str) -> Result<()> {
        let (stranger, file) = board.disk(replace::OTHER)?;
        ensure!(
            sha256(file)? == self.before,
            "the disk that the layout does not name was written to"
        );
        say("   it is as it was, byte by byte");
        let target = board.connect_installed(key).await?;
        let script = Script::sh(include_str!("stranger.sh")).arg("unmake");
        target.run(&script.arg(stranger)).await?;
        Ok(())
    }
}

/// Presses Ctrl-C at the moment, and looks how it ends.
async fn press(board: &Board, moment: Moment, states: &[&str]) -> Result<()> {
    say(&format!("   Ctrl-C at {moment:?}"));
    let mut run = board.start()?;
    run.reaches(moment).await?;
    let pressed = Instant::now();
    run.signal("INT").await?;
    let Ended { status, last, .. } = run.end().await?;
    let took = pressed.elapsed();
    ensure!(took < promised(PROMPT), "it took {:.1} s to end", took.as_secs_f64());
    ensure!(status.code() == Some(130), "it ended with {status}: {last}");
    let state = last["state"].as_str().unwrap_or_default();
    ensure!(
        states.iter().any(|expected| state.contains(expected)),
        "it says of the target '{state}', which is none of {states:?}"
    );
    say(&format!("   ended after {:.2} s; target: {state}", took.as_secs_f64()));
    Ok(())
}

/// True when no process carries the script that lets go of the disks. (The brackets keep it from finding
/// itself.)
const LET_GO_ENDED: &str = "! grep -qsl '[L]ets go of the new disks' /proc/[0-9]*/cmdline";

async fn nothing_lets_go(board: &Board) -> Result<bool> {
    let target = board.connect().await?;
    let output = target.attempt(&Script::sh(LET_GO_ENDED), Input::Nothing).await?;
    Ok(output.status == Some(0))
}
