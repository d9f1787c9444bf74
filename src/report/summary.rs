//! What a finished run has seen: the `finished` event, `rehearse --report`, and the last lines on the
//! screen.

use super::StepName;
use super::size;
use serde::Serialize;
use std::fmt::Write as _;

/// One step that ran.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct StepTime {
    /// Its name.
    pub(crate) name: StepName,
    /// How long it took.
    pub(crate) seconds: f64,
}

/// Boot ids (`/proc/sys/kernel/random/boot_id`) of the systems that were met, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Boots {
    /// The system that answered first; none if that was the installer itself.
    pub(crate) rescue: Option<String>,
    /// The installer.
    pub(crate) installer: Option<String>,
    /// The installed system.
    pub(crate) installed: Option<String>,
}

/// A pool as the installed system sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Pool {
    /// Its name.
    pub(crate) name: String,
    /// Its state: `ONLINE`, `DEGRADED` …
    pub(crate) state: String,
    /// Its top-level vdevs.
    pub vdevs: Vec<Vdev>,
}

/// A top-level vdev.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Vdev {
    /// `raidz1`, `mirror`, `disk` …
    #[serde(rename = "type")]
    pub(crate) kind: String,
    /// Its members, as `zpool status` names them.
    pub disks: Vec<String>,
}

/// Everything that was planned and seen, with what it cost.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Summary {
    /// The host's attribute in the flake.
    pub(crate) host: String,
    /// Evaluations of the flake.
    pub(crate) evaluations: u32,
    /// SSH connections that came as far as the key exchange.
    pub(crate) handshakes: u32,
    /// Payload sent to the target: image, closures.
    pub(crate) bytes_sent: u64,
    /// landfall's own peak resident memory in bytes, where the system tells it (Linux).
    pub(crate) peak_memory_bytes: Option<u64>,
    /// The steps that ran, with their times.
    pub(crate) steps: Vec<StepTime>,
    /// The boots that were met.
    pub(crate) boots: Boots,
    /// The toplevel that was to be installed.
    pub(crate) planned_toplevel: String,
    /// What `/run/current-system` was seen to be.
    pub(crate) running_toplevel: Option<String>,
    /// The installed system's pools.
    pub(crate) pools: Vec<Pool>,
    /// The installed system's host keys, each `type base64`.
    pub(crate) host_keys: Vec<String>,
    /// In a rehearsal: whether the regions of the boot loader (sectors 64 and 16384) are as before.
    /// `None` where there is no such region to guard.
    pub(crate) firmware_region_unchanged: Option<bool>,
    /// What of the run was found to have stayed where it must not: "installer: …".
    pub(crate) residue: Vec<String>,
    /// Whether everything planned was seen.
    pub(crate) verified: bool,
}

impl Summary {
    /// The last lines on the screen.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |label: &str, value: &str| {
            let _ = writeln!(text, "  {label:<10} {value}");
        };
        line("toplevel", self.running_toplevel.as_deref().unwrap_or("not seen"));
        for pool in &self.pools {
            let vdevs = pool.vdevs.iter().map(|v| format!("{} of {}", v.kind, v.disks.len()));
            let vdevs = vdevs.collect::<Vec<_>>().join(" + ");
            line("pool", &format!("{} {}, {vdevs} disks", pool.name, pool.state));
        }
        for key in &self.host_keys {
            line("host key", key);
        }
        if let Some(unchanged) = self.firmware_region_unchanged {
            line("firmware", if unchanged { "untouched" } else { "OVERWRITTEN" });
        }
        let counted =
            |count: u32, what| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
        line(
            "cost",
            &format!(
                "{}, {}, {} sent",
                counted(self.evaluations, "evaluation"),
                counted(self.handshakes, "SSH handshake"),
                size(self.bytes_sent)
            ),
        );
        let steps = self.steps.iter().map(|s| format!("{} {:.0} s", s.name, s.seconds));
        line("time", &steps.collect::<Vec<_>>().join(", "));
        text
    }
}

/// What `--report` writes: how a run has ended, and what it saw.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunReport<'a> {
    /// The exit code; none as long as the run has not ended.
    pub exit: Option<u8>,
    /// What failed, or why there is no end; empty after success.
    pub what: &'a str,
    /// What was seen.
    #[serde(flatten)]
    pub seen: Seen<'a>,
}

/// What a run that is reported has seen.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum Seen<'a> {
    /// As far as it came.
    Run(&'a Summary),
    /// It came to nothing that could be seen.
    Nothing {
        /// HOST as it was given.
        host: &'a str,
        /// False.
        verified: bool,
    },
}
