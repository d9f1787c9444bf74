//! A command of the user's own on the workstation, whose output is a secret.

use super::stream::output;
use anyhow::{Context, Result, bail};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// What is held in memory has a bound.
const LARGEST: usize = 64 << 20;

/// What a shell command prints. It may ask on the terminal; what it complains of is shown if it fails.
pub(crate) async fn output_of(command: &str, deadline: Duration) -> Result<Vec<u8>> {
    #[allow(clippy::disallowed_methods, reason = "the user has asked for this very command")]
    let mut shell = Command::new("sh");
    shell.args(["-c", command]).stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(deadline, output(&mut shell, LARGEST)).await;
    let ended = ended
        .with_context(|| format!("`{command}` did not end within {} s", deadline.as_secs()))?
        .with_context(|| format!("running `{command}`"))?;
    if !ended.status.success() {
        let said = String::from_utf8_lossy(&ended.stderr);
        bail!("`{command}` failed ({}): {}", ended.status, super::last_lines(&said, 6));
    }
    Ok(ended.stdout)
}
