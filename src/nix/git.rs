//! The workstation's own `git`, to prove that a private input can be fetched as the target will fetch it.

use crate::machine::{ANSWER, output};
use crate::paths::socket_directory;
use anyhow::{Context, Result, anyhow, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tokio::process::Command;

/// Fetches one revision into a repository of its own, which is thrown away, with an agent and nothing else to log in
/// with: no key file and no configuration of the user's could help the target either.
///
/// # Errors
/// In git's own words: no login, no such revision, another host key.
pub(crate) async fn fetch_revision(
    url: &str,
    revision: &str,
    agent: &Path,
    known_hosts: &str,
    deadline: Duration,
) -> Result<()> {
    which::which("git").context("there is no `git` in PATH")?;
    let dir = socket_directory()?;
    let hosts = dir.path().join("known_hosts");
    std::fs::write(&hosts, known_hosts)?;
    let repository = dir.path().join("repository");
    let ssh = format!(
        "ssh -F none -o BatchMode=yes -o IdentityFile=/dev/null -o IdentityAgent={} \
         -o StrictHostKeyChecking=yes -o UpdateHostKeys=no -o GlobalKnownHostsFile=/dev/null \
         -o UserKnownHostsFile={}",
        agent.display(),
        hosts.display()
    );
    let at = repository.to_string_lossy();
    git(&["init", "--quiet", "--bare", &at], &ssh, deadline).await?;
    let fetch = ["-C", &at, "fetch", "--quiet", "--no-tags", "--depth=1", "--", url, revision];
    git(&fetch, &ssh, deadline).await
}

async fn git(arguments: &[&str], ssh: &str, deadline: Duration) -> Result<()> {
    #[allow(clippy::disallowed_methods, reason = "this is where git is started")]
    let mut git = Command::new("git");
    git.args(arguments).env("GIT_SSH_COMMAND", ssh).env("GIT_TERMINAL_PROMPT", "0");
    git.env("GIT_CONFIG_GLOBAL", "/dev/null").env("GIT_CONFIG_NOSYSTEM", "1");
    git.stdin(Stdio::null()).kill_on_drop(true);
    let ended = tokio::time::timeout(deadline, output(&mut git, ANSWER)).await;
    let ended = ended.map_err(|_| anyhow!("git did not finish within {} s", deadline.as_secs()))?;
    let ended = ended.context("running git")?;
    if !ended.status.success() {
        bail!("{}", crate::machine::last_lines(&String::from_utf8_lossy(&ended.stderr), 6));
    }
    Ok(())
}
