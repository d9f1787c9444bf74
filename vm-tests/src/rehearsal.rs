//! The main job on the emulated board, and what its report must say.

use crate::console;
use crate::lab::Lab;
use crate::say;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

/// How the board comes into the installer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Way {
    /// From a plain Debian rescue system, by kexec.
    Kexec,
    /// It boots the installer itself, as a Helios64 does from an SD card.
    Direct,
}

/// landfall's own memory stays below this, whatever it moves.
const PEAK_MEMORY: u64 = 100_000_000;

/// Rehearses for a person, who sees it all.
pub(crate) fn show(lab: &Lab, way: Way, options: &[&str]) -> Result<bool> {
    let name = if way == Way::Kexec { "kexec" } else { "direct" };
    let report = run(lab, name, way, options)?;
    let wrong = judge(&read(&report)?, way);
    for difference in &wrong {
        say(&format!("not as it must be: {difference}"));
    }
    say(&format!("report: {}", report.display()));
    Ok(wrong.is_empty())
}

/// How a board differs from an ordinary one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Peculiarity {
    /// So many MiB of memory are all there is, for kexec too.
    pub(crate) memory: Option<&'static str>,
    /// Whenever the board is switched on it believes that it is this day, as date(1) takes it.
    pub(crate) clock: Option<&'static str>,
}

/// Rehearses under a name on such a board, and judges the report and the console.
pub(crate) fn check(lab: &Lab, name: &str, way: Way, peculiarity: Peculiarity) -> Result<()> {
    let Peculiarity { memory, clock } = peculiarity;
    let day = clock.map(date).transpose()?;
    let mut options = Vec::new();
    options.extend(memory.iter().flat_map(|mib| ["--memory", mib]));
    options.extend(day.iter().flat_map(|day| ["--clock", day]));
    let ended = run(lab, name, way, &options).and_then(|report| read(&report));
    let apart = "to find the cause, run each by itself: `cargo xtask scenario` memory-1536, clock-1970, \
                 clock-in-ten-years, and `cargo xtask rehearse [--direct]` for an ordinary board";
    let report = ended.with_context(|| format!("with {options:?} ({apart})"))?;
    let mut wrong = judge(&report, way);
    let said = console::all(&console::state(&lab.root, name))?;
    let kib = memory.map(|mib| mib.parse::<u64>().map(|mib| mib << 10)).transpose()?;
    // The kernel says `Memory: 1436940K/1572864K available`.
    if kib.is_some_and(|kib| !said.contains(&format!("/{kib}K available"))) {
        wrong.push(format!("no kernel tells of {memory:?} MiB of memory"));
    }
    if clock.is_some() && !said.contains(r#""target-clock""#) {
        wrong.push(format!("the clock is {day:?}, and there was no warning"));
    }
    if !wrong.is_empty() {
        bail!("the report is not as it must be:\n- {}", wrong.join("\n- "));
    }
    Ok(())
}

/// A day as QEMU takes it.
fn date(text: &str) -> Result<String> {
    let output = Command::new("date").args(["-u", "+%F", "-d", text]).output()?;
    ensure!(output.status.success(), "date does not know the day {text}");
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}

/// The report's path.
fn run(lab: &Lab, name: &str, way: Way, options: &[&str]) -> Result<PathBuf> {
    let state = console::fresh_state(&lab.root, name)?;
    let directory = lab.root.join("target/rehearsal");
    let report = match name {
        "kexec" => directory.join("report.json"),
        _ => directory.join(format!("report-{name}.json")),
    };
    // What an earlier run saw must not be taken for this one's.
    if report.exists() {
        std::fs::remove_file(&report)?;
    }
    let mut landfall = lab.command(lab.landfall());
    landfall.args(["rehearse", "helios64", "--flake"]).arg(format!("path:{}", lab.fleet.display()));
    landfall.arg("--image").arg(lab.stages["installer"].join("kexec-installer.tar.gz"));
    landfall.arg("--firmware").arg(lab.stages["tools"].join("u-boot.bin"));
    landfall.arg("--report").arg(&report).env("XDG_STATE_HOME", &state);
    if way == Way::Kexec {
        landfall.arg("--rescue-kernel").arg(lab.stages["rescue"].join("kernel"));
        landfall.arg("--rescue-initrd").arg(lab.stages["rescue"].join("initrd"));
    }
    let start = Instant::now();
    let status = landfall.args(options).status().context("running landfall")?;
    say(&format!("rehearsed in {:.0} s", start.elapsed().as_secs_f64()));
    if !status.success() {
        bail!("`landfall rehearse` ended with {status}");
    }
    console::check_all(&state)?;
    Ok(report)
}

fn read(path: &std::path::Path) -> Result<Value> {
    let text =
        std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).context("reading the report")
}

/// What differs from what the report must say.
fn judge(report: &Value, way: Way) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut must = |holds: bool, what: &str, seen: &Value| {
        if !holds {
            wrong.push(format!("{what}: {seen}"));
        }
    };
    must(report["evaluations"] == 1, "one evaluation", &report["evaluations"]);
    let handshakes = &report["handshakes"];
    must(
        handshakes.as_u64().is_some_and(|n| (1..=8).contains(&n)),
        "handshakes 1 to 8",
        handshakes,
    );
    let (planned, running) = (&report["planned_toplevel"], &report["running_toplevel"]);
    must(planned.is_string() && planned == running, "the planned toplevel runs", running);
    must(report["verified"] == true, "verified", &report["verified"]);
    let region = &report["firmware_region_unchanged"];
    must(*region == true, "the boot loader's regions are unchanged", region);
    let bytes = &report["bytes_sent"];
    must(bytes.as_u64().is_some_and(|n| n > 10_000_000), "bytes were sent and counted", bytes);
    let memory = &report["peak_memory_bytes"];
    must(memory.as_u64().is_some_and(|n| n < PEAK_MEMORY), "peak memory below 100 MB", memory);

    let boots = &report["boots"];
    let ids = ["rescue", "installer", "installed"].map(|name| boots[name].as_str());
    let (first, count) = if way == Way::Kexec { (0, 3) } else { (1, 2) };
    let mut seen: Vec<_> = ids[first..].iter().flatten().collect();
    seen.sort_unstable();
    seen.dedup();
    must(seen.len() == count, "each system is another boot", boots);
    must(way == Way::Kexec || ids[0].is_none(), "no rescue system was met", boots);

    let steps = report["steps"].as_array().map_or(&[][..], Vec::as_slice);
    let names: Vec<_> = steps.iter().filter_map(|step| step["name"].as_str()).collect();
    let all = ["build", "kexec", "disko", "copy", "install", "reboot", "verify"];
    let expected: Vec<_> =
        all.into_iter().filter(|name| way == Way::Kexec || *name != "kexec").collect();
    must(names == expected, "the steps that ran", &report["steps"]);

    let pools = &report["pools"];
    let vdevs = &pools[0]["vdevs"];
    must(pools.as_array().is_some_and(|all| all.len() == 1), "one pool", pools);
    must(pools[0]["name"] == "tank" && pools[0]["state"] == "ONLINE", "tank is ONLINE", pools);
    must(vdevs[0]["type"] == "raidz1", "tank is raidz1", vdevs);
    let disks = vdevs[0]["disks"].as_array();
    // By the names of the layout, which the emulated disks must have had everywhere.
    let named =
        |disk: &Value| disk.as_str().is_some_and(|path| path.starts_with("/dev/disk/by-id/ata-"));
    let five = disks.is_some_and(|disks| disks.len() == 5 && disks.iter().all(named));
    must(five, "over five disks by id", vdevs);
    wrong
}

#[cfg(test)]
mod tests {
    use super::{Way, judge};
    use serde_json::json;

    #[test]
    fn an_empty_report_is_wrong_in_everything() {
        assert!(judge(&json!({}), Way::Kexec).len() >= 12);
    }

    #[test]
    fn a_report_as_it_must_be_passes_and_each_lie_is_caught() {
        let step = |name: &str| json!({"name": name, "seconds": 1.0});
        let names = ["build", "kexec", "disko", "copy", "install", "reboot", "verify"];
        let disks = [1, 2, 3, 4, 5].map(|n| format!("/dev/disk/by-id/ata-M_{n}-part1"));
        let good = json!({
            "evaluations": 1, "handshakes": 3, "bytes_sent": 100_000_000, "peak_memory_bytes": 9_000_000,
            "planned_toplevel": "/nix/store/a", "running_toplevel": "/nix/store/a", "verified": true,
            "firmware_region_unchanged": true, "steps": names.map(step),
            "boots": {"rescue": "1", "installer": "2", "installed": "3"},
            "pools": [{"name": "tank", "state": "ONLINE",
                       "vdevs": [{"type": "raidz1", "disks": disks}]}],
        });
        assert_eq!(judge(&good, Way::Kexec), [""; 0]);
        for (pointer, lie) in [
            ("/evaluations", json!(2)),
            ("/handshakes", json!(9)),
            ("/running_toplevel", json!("/nix/store/b")),
            ("/boots/installer", json!("1")),
            ("/pools/0/vdevs/0/type", json!("mirror")),
            ("/pools/0/vdevs/0/disks/4", json!("/dev/sde1")),
            ("/firmware_region_unchanged", json!(null)),
            ("/peak_memory_bytes", json!(200_000_000)),
        ] {
            let mut report = good.clone();
            *report.pointer_mut(pointer).unwrap() = lie;
            assert_eq!(judge(&report, Way::Kexec).len(), 1, "{pointer}");
        }
    }
}
