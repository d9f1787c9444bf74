//! Guards a board's boot loader while the disks are laid out: a part of the disko step.
//!
//! On the target: a file in /run with the SHA-256 of what lies before the end of its region (`FirmwareRegion`) on the eMMC or SD card, without the partition
//! table. Cut in the middle: the file stays, and the next try compares with what was there before the first.

use super::World;
use crate::facts::is_card;
use crate::machine::Script;
use crate::plan::{ERASE_FIRMWARE, WipeConsent};
use anyhow::{Context, Result};

/// Notes what is there, or proves that it is still the same.
///
/// # Errors
/// Says that the boot loader is gone.
pub(super) async fn guard(world: &World, consent: &WipeConsent) -> Result<()> {
    let Some(region) = world.fixed.host.firmware_region() else { return Ok(()) };
    if world.fixed.options.accept.iter().any(|code| code == ERASE_FIRMWARE) {
        return Ok(());
    }
    let disks = consent.devices().filter_map(|device| Some((device, world.found.disk(device)?)));
    for (_, disk) in disks.filter(|(device, disk)| is_card(device, Some(&disk.name))) {
        let script = Script::file("firmware.sh", include_str!("firmware.sh")).arg(&disk.name);
        let script = script.arg(region.end.to_string());
        let said = world.target.run(&script).await.context("comparing the boot loader")?;
        for line in said.lines() {
            world.report.note(line);
        }
    }
    Ok(())
}
