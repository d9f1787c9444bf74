//! A pool that survives its reinstall: somebody's data is written into the pool of an installed board, in which the system is,
//! too; the power goes, so that the pool was never exported; the host is installed anew with `--keep`. The data, the pool's GUID, the
//! partitions' GUIDs and all data sets must be the same afterwards, and a scrub must find nothing.

use crate::board::Board;
use crate::lab::Lab;
use crate::rehearsal::Way;
use crate::say;
use anyhow::{Result, ensure};
use landfall::machine::Script;

/// The scenario.
pub(crate) async fn scenario(lab: &Lab) -> Result<()> {
    let board = Board::power_on(lab, "keep-pool", Way::Direct).await?;
    board.look().await?;
    board.start()?.ends_well(&board.toplevel).await?;
    say("   installed; writing somebody's data into its pool");
    board.power_cycle().await?;
    let before = look_at_pool(&board, "fill").await?;
    // Not exported, as after a crash.
    board.power_cycle().await?;
    board.look().await?;
    board.start_with(&["--keep", "tank"])?.ends_well(&board.toplevel).await?;
    say("   installed anew; looking at the data");
    board.power_cycle().await?;
    let after = look_at_pool(&board, "scrub").await?;

    let lost: Vec<&str> =
        before.lines().filter(|line| !after.lines().any(|is| is == *line)).collect();
    ensure!(lost.is_empty(), "these are not as they were:\n{}\nbut:\n{after}", lost.join("\n"));
    let aside = |name: &str| after.contains(&format!("set tank/landfall-aside/{name}-"));
    for name in ["root", "nix", "var"] {
        ensure!(aside(name), "the old {name} was not rolled aside:\n{after}");
    }
    ensure!(!aside("backups") && !aside("data"), "data was rolled aside:\n{after}");
    board.check_console(&[])
}

/// What there is to be kept, a line each.
async fn look_at_pool(board: &Board, then: &str) -> Result<String> {
    let target = board.connect().await?;
    let devices = board.rig().disks().filter(|(name, ..)| name.starts_with("bay"));
    let devices = devices.map(|(_, device, _)| device.to_owned());
    let script = Script::sh(include_str!("keep.sh")).arg(then).args(devices);
    Ok(target.run(&script).await?)
}
