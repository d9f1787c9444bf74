//! Whether a machine answers ping: it distinguishes a kernel that is up from a machine that is not, while sshd is silent.

use std::process::Stdio;
use tokio::process::Command;

/// Sends one packet and waits a second for its answer. None where it cannot be told: there is no `ping`, or the name
/// has no address here.
#[allow(clippy::disallowed_methods, reason = "the workstation's own ping; a raw socket takes root")]
pub(super) async fn answers(host: &str) -> Option<bool> {
    let mut ping = Command::new("ping");
    // `-W` is in seconds on Linux (ping(8), iputils) and in milliseconds on macOS, where `-t` ends it after so
    // many seconds.
    let patience = if cfg!(target_os = "macos") { "-t1" } else { "-W1" };
    ping.args(["-n", "-q", "-c1", patience, "--", host]).kill_on_drop(true);
    ping.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = tokio::time::timeout(std::time::Duration::from_secs(5), ping.status()).await;
    match status.ok()?.ok()?.code() {
        Some(0) => Some(true),
        // No answer; anything else is about ping itself.
        Some(1) if !cfg!(target_os = "macos") => Some(false),
        Some(2) if cfg!(target_os = "macos") => Some(false),
        _ => None,
    }
}
