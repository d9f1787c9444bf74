//! What happens to a whole machine: its power goes, a disk of it is pulled, or fails.

use crate::board::{Board, Ended, Moment, Run};
use crate::say;
use anyhow::{Context, Result, ensure};
use landfall::machine::{Input, Script, Target};
use std::time::Instant;

/// The power goes at the moment, and comes back to the rescue system; the run tells so.
pub(crate) async fn power_cut(board: &Board, mut run: Run, moment: Moment) -> Result<()> {
    run.reaches(moment).await?;
    say(&format!("   the power goes at {moment:?}"));
    let cut = Instant::now();
    board.power_cycle().await?;
    let Ended { status, last, .. } = run.end().await?;
    let (what, state) = (&last["what"], &last["state"]);
    let seconds = cut.elapsed().as_secs_f64();
    say(&format!("   it ended with {status} within {seconds:.0} s: {what}; target: {state}"));
    ensure!(!status.success(), "it ended well, on a machine without power");
    ensure!(state.is_string(), "it does not say in which state the target is: {last}");
    Ok(())
}

/// How a disk is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Loss {
    /// It cannot be read, and the kernel has seen it go.
    Pulled,
    /// It cannot be read; to the kernel it is still there.
    Failed,
}

/// A disk, by its name in the layout, is lost from now on; what the kernel calls it and its port.
pub(crate) async fn lose(
    board: &Board,
    target: &Target,
    name: &str,
    loss: Loss,
) -> Result<Vec<String>> {
    let names = fail(board, target, name).await?;
    if loss == Loss::Pulled {
        // QEMU's AHCI cannot tell of a pulled disk, so the kernel is told by other means.
        target.run(&Script::sh(GONE).arg(&names[0])).await.context("telling the kernel")?;
    }
    Ok(names)
}

/// The path of a disk, by its name in the layout.
pub(crate) fn device(board: &Board, name: &str) -> Result<String> {
    Ok(board.disk(name)?.0.to_owned())
}

/// Lets a disk of the running system answer with errors; by which words the console tells of it.
pub(crate) async fn fail(board: &Board, target: &Target, name: &str) -> Result<Vec<String>> {
    let rig = board.rig();
    let (device, _) = board.disk(name)?;
    let names = target.attempt(&Script::sh(NAMES).arg(device), Input::Nothing).await?;
    let names: Vec<String> = names.stdout.split_whitespace().map(str::to_owned).collect();
    ensure!(names.len() == 2, "the kernel name and port of {name} are not known: {names:?}");
    rig.fail_disk(name).await?;
    say(&format!("   {name} fails: {device} ({})", names.join(", ")));
    Ok(names)
}

/// What the kernel calls the disk `$1`, and its port, in its messages.
pub(crate) const NAMES: &str = r#"
name=$(readlink -f "$1")
name=${name#/dev/}
echo "$name"
readlink -f "/sys/block/$name" | grep -o '/ata[0-9]*/' | tr -d /
"#;

/// Makes the kernel forget the disk that it calls `$1`, as when its link goes down.
const GONE: &str = r#"
echo 1 > "/sys/block/$1/device/delete"
udevadm settle --timeout=60
"#;
