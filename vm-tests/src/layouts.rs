//! The layouts of `disko-specs/` over real ZFS: each is installed, must hold as much as the plan said, and must live on with as
//! many failed disks as the plan said. With one more it does not, which needs no proof here.

use crate::board::{Board, Ended};
use crate::faults::fail;
use crate::lab::Lab;
use crate::rehearsal::Way;
use crate::say;
use anyhow::{Context, Result, ensure};
use landfall::machine::Script;
use landfall::report::size;
use serde_json::{Value, json};

/// A layout, as a host of the fleet has it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Layout {
    /// The host.
    pub(crate) host: &'static str,
    /// How its disks stand together.
    pub(crate) mode: &'static str,
    /// How many there are.
    pub(crate) disks: usize,
    /// How many of them may fail.
    pub(crate) survives: usize,
}

/// The plan's word may differ from the pool's own by so many hundredths.
const TOLERANCE: u64 = 2;

/// The scenario.
pub(crate) async fn scenario(lab: &Lab, name: &str, layout: Layout) -> Result<()> {
    let Layout { host, mode, disks, survives } = layout;
    let board = Board::power_on_as(lab, name, Way::Direct, host, Vec::new(), |_| Ok(())).await?;
    board.look().await?;
    let ended = board.start()?.end().await?;
    let key = installed(&ended)?;
    let planned = &ended.plan["pools"][0];
    let usable = planned["usable"].as_u64().context("the plan does not say what is usable")?;
    let said = json!({"pool": "tank", "mode": mode, "disks": disks, "survives": survives, "usable": usable});
    ensure!(*planned == said, "the plan says {planned}, not {said}");
    let vdev = &ended.last["summary"]["pools"][0]["vdevs"][0];
    let members = vdev["disks"].as_array().map_or(0, Vec::len);
    ensure!(vdev["type"] == mode && members == disks, "the pool is {vdev}");

    let target = board.connect_installed(&key).await?;
    let real = target.run(&Script::sh(SPACE)).await?;
    let real: u64 = real.lines().filter_map(|line| line.parse::<u64>().ok()).sum();
    say(&format!("   planned {}, and it is {}", size(usable), size(real)));
    ensure!(
        usable.abs_diff(real) * 100 <= real * TOLERANCE,
        "the plan says {usable} bytes, and it is {real}"
    );

    let before = target.run(&Script::sh(include_str!("layouts.sh")).arg("fill")).await?;
    let mut expected = Vec::new();
    for bay in (1..=survives).map(|bay| format!("bay{bay}")) {
        expected.extend(fail(&board, &target, &bay).await?);
    }
    let after = target.run(&Script::sh(include_str!("layouts.sh")).arg("scrub")).await?;
    ensure!(before.lines().count() > 1, "no data was written: {before}");
    ensure!(after.starts_with(&before), "the data is not what it was:\n{before}\nbut:\n{after}");
    let state = after.strip_prefix(&before).unwrap_or_default().trim();
    ensure!(state == "DEGRADED", "with {survives} failed disks the pool is {state}");
    say(&format!("   with {survives} failed disks it is {state}, and the data is the same"));
    board.check_console(&expected)
}

/// What the pool's root data set has taken and can take still.
const SPACE: &str = "zfs get -Hp -o value used,available tank";

/// The host key of what was installed, which has ended well.
fn installed(ended: &Ended) -> Result<String> {
    let Ended { status, last, .. } = ended;
    ensure!(status.success(), "the install ended with {status}: {last}");
    let summary = &last["summary"];
    ensure!(summary["verified"] == true, "it is not verified: {summary}");
    let state: &Value = &summary["pools"][0]["state"];
    ensure!(*state == "ONLINE", "the pool is {state}");
    let key = summary["host_keys"][0].as_str();
    Ok(key.context("the summary has no host key")?.to_owned())
}
