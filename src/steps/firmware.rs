//! Guards a board's boot loader while the disks are laid out: a part of the disko step.
//!
//! On the target: a file in /run with the SHA-256 of what lies before 16 MiB of the eMMC or SD card, without the partition
//! table. Cut in the middle: the file stays, and the next try compares with what was there before the first.

use super::World;
use crate::facts::Disk;
use crate::machine::Script;
use crate::plan::{ERASE_FIRMWARE, WipeConsent};
use anyhow::{Context, Result};

/// Notes what is there, or proves that it is still the same.
///
/// # Errors
/// Says that the boot loader is gone.
pub(super) async fn guard(world: &World, consent: &WipeConsent) -> Result<()> {
    let is_board =
        world.fixed.host.device_tree.as_deref().is_some_and(|tree| tree.contains("rockchip"));
    if !is_board || world.fixed.options.accept.iter().any(|code| code == ERASE_FIRMWARE) {
        return Ok(());
    }
    let disks = consent.devices().filter_map(|device| Some((device, world.found.disk(device)?)));
    // An emulated board has its eMMC by the name of the real one's, which is all that is the same.
    let is_card = |device: &str, disk: &Disk| {
        disk.name.starts_with("mmcblk")
            || device.rsplit('/').next().is_some_and(|name| name.contains("mmc"))
    };
    for (_, disk) in disks.filter(|(device, disk)| is_card(device, disk)) {
        let script = Script::file("firmware.sh", include_str!("firmware.sh")).arg(&disk.name);
        let said = world.target.run(&script).await.context("comparing the boot loader")?;
        for line in said.lines() {
            world.report.note(line);
        }
    }
    Ok(())
}
