//! A word with a running QEMU, by its machine protocol on standard input and output
//! (qemu.org/docs/master/interop/qmp-spec.html): one JSON object a line, each way.

use crate::machine::Lines;
use anyhow::{Context, Result, bail};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, ChildStdin, ChildStdout};

/// It answers at once, or hangs.
const PATIENCE: Duration = Duration::from_secs(30);

/// No answer is longer.
const LINE: usize = 1 << 20;

/// The way to speak to one QEMU.
pub(super) struct Monitor {
    input: ChildStdin,
    output: Lines<ChildStdout>,
    negotiated: bool,
}

impl Monitor {
    /// Takes the child's pipes.
    pub(super) fn of(qemu: &mut Child) -> Result<Self> {
        let input = qemu.stdin.take().context("QEMU has no standard input")?;
        let output = qemu.stdout.take().context("QEMU has no standard output")?;
        Ok(Self { input, output: Lines::of(output, LINE), negotiated: false })
    }

    /// Takes a drive's file away: whatever is asked of the device from now on ends in an I/O error.
    pub(super) async fn remove_drive(&mut self, drive: &str) -> Result<()> {
        if !self.negotiated {
            self.ask(&json!({ "execute": "qmp_capabilities" })).await?;
            self.negotiated = true;
        }
        // `drive_del` was never taken over from the human monitor into the protocol.
        let line = format!("drive_del {drive}");
        let arguments = json!({ "command-line": line });
        let command = json!({ "execute": "human-monitor-command", "arguments": arguments });
        let said = self.ask(&command).await?;
        match said.as_str() {
            // The human monitor says something only if it did not work.
            Some("") => Ok(()),
            _ => bail!("QEMU answers to `{line}`: {said}"),
        }
    }

    /// What a command returns.
    async fn ask(&mut self, command: &Value) -> Result<Value> {
        self.input.write_all(format!("{command}\n").as_bytes()).await.context("asking QEMU")?;
        tokio::time::timeout(PATIENCE, self.answer()).await.context("QEMU does not answer")?
    }

    async fn answer(&mut self) -> Result<Value> {
        loop {
            let line = self.output.next().await?.context("QEMU has ended")?;
            let mut said: Value =
                serde_json::from_str(&line.text()).context("QEMU speaks no JSON")?;
            if let Some(error) = said.get("error") {
                bail!("QEMU refuses: {error}");
            }
            // Anything else is its greeting, or an event.
            if let Some(value) = said.get_mut("return") {
                return Ok(value.take());
            }
        }
    }
}
