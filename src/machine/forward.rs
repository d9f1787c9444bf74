//! A session of its own for the one command that may use a forwarded agent: one `ssh` process, one connection, which ends
//! with the command.
//!
//! The shared connection will not do. sshd has one agent socket for a connection, and whatever runs on it later finds that
//! socket too; so would anything that rides its control socket.

use super::command::{CommandError, Input, Output, Stdout, talk};
use super::ssh::{ConnectError, ConnectErrorKind, ended_with, login_arguments, ssh};
use super::stream::{ANSWER, Line, output};
use super::{Script, Target};
use crate::paths::socket_directory;
use anyhow::Context;
use std::io::Read as _;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// Why a command with a forwarded agent has no result.
#[derive(Debug, thiserror::Error)]
pub enum ForwardError {
    /// There is no connection.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The login went well, and the agent was not forwarded.
    #[error(
        "the target has no agent: its sshd does not allow forwarding (AllowAgentForwarding), or ssh here is told \
         to use none (IdentityAgent, SSH_AUTH_SOCK)"
    )]
    NotForwarded,
    /// The command was not seen to its end.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What `tether.sh` exits with where no agent is.
const NO_AGENT: i32 = 253;
/// What `ssh` exits with for trouble of its own.
const SSH_FAILED: i32 = 255;

impl Target {
    /// Runs a script on a new connection on which the agent at the socket `agent` (of this machine) is forwarded, and
    /// tells how it ended, good or bad. Each line of its stdout is handed on as it comes.
    ///
    /// The login is the user's own, by the same options, identities and host keys as every other of this target; only
    /// what is forwarded is another agent. The script reads nothing from stdin. When the connection ends, or the
    /// future is dropped, it is sent SIGTERM with all it has started (`tether.sh`). A script that exits with 255
    /// is said to have exited with 254.
    pub async fn attempt_forwarding(
        &self,
        script: &Script,
        agent: &Path,
        on_line: &mut (dyn FnMut(&str) + Send),
        deadline: Duration,
    ) -> Result<Output, ForwardError> {
        let other = |error: anyhow::Error| ConnectError {
            kind: ConnectErrorKind::Other,
            text: format!("{error:#}"),
        };
        knows_agent_sockets().await.map_err(other)?;
        let dir = socket_directory().map_err(other)?;
        let log = dir.path().join("log");
        let mut command = ssh();
        command.args(["-T", "-S", "none", "-o", "ControlPath=none"]);
        // What ssh itself says goes where the command's words do not.
        command.args(["-o", "LogLevel=VERBOSE", "-E"]).arg(&log);
        command.arg("-o").arg(format!("ForwardAgent={}", agent.display()));
        let patience = self.deadlines().login;
        login_arguments(&mut command, &self.login, patience, dir.path()).map_err(other)?;
        let tether = Script::sh(include_str!("tether.sh"));
        command.arg(tether.args(script.words().iter().cloned()).line());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .context("starting ssh (is OpenSSH's client installed?)")
            .map_err(other)?;
        // Open to the end: its end is how the other side knows that we are gone.
        let stdin = child.stdin.take();
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        let run = async {
            let nothing = None::<tokio::process::ChildStdin>;
            let mut hear = |line: &Line<'_>| on_line(line.text().trim_end());
            let heard = Stdout::Lines(&mut hear);
            let streams = talk(nothing, Input::Nothing, stdout, stderr, heard, &self.tally).await?;
            Ok::<_, std::io::Error>(Output { status: child.wait().await?.code(), ..streams })
        };
        let no_login = async {
            tokio::time::sleep(patience).await;
            if has_logged_in(&log) {
                std::future::pending::<()>().await;
            }
        };
        let ended = tokio::select! {
            ended = tokio::time::timeout(deadline, run) => ended,
            () = no_login => {
                return Err(ConnectError::slow(patience).into());
            }
        };
        drop(stdin);
        let logged_in = has_logged_in(&log);
        if logged_in {
            self.tally.handshake();
        }
        let Ok(ended) = ended else {
            let (command, seconds) = (script.name(), deadline.as_secs());
            return Err(CommandError::TimedOut { command, seconds }.into());
        };
        let output = ended.map_err(|error| CommandError::unheard(script, &error))?;
        match output.status {
            Some(NO_AGENT) => Err(ForwardError::NotForwarded),
            Some(SSH_FAILED) | None => {
                let error = ended_with(&format!("{}\n{}", troubles(&log), output.stderr));
                if logged_in {
                    return Err(CommandError::lost(script, error.text).into());
                }
                if error.kind.after_key_exchange() {
                    self.tally.handshake();
                }
                Err(error.into())
            }
            Some(_) => Ok(output),
        }
    }
}

/// Whether `ssh` has come past the authentication, by its own log (`sshconnect2.c`).
fn has_logged_in(log: &Path) -> bool {
    said_in(log).contains("Authenticated to ")
}

/// The beginning of a log, which a server's banner may have filled.
fn said_in(log: &Path) -> String {
    let mut said = Vec::new();
    let file = std::fs::File::open(log);
    // Of a log that cannot be read, nothing is known.
    let _ = file.and_then(|file| file.take(ANSWER as u64).read_to_end(&mut said));
    String::from_utf8_lossy(&said).into_owned()
}

/// What `ssh` says in its log beyond what it always says.
fn troubles(log: &Path) -> String {
    const ALWAYS: [&str; 3] = ["Authenticated to ", "Transferred: ", "Bytes per second: "];
    let said = said_in(log);
    let lines = said.lines().filter(|line| !ALWAYS.iter().any(|start| line.starts_with(start)));
    lines.collect::<Vec<_>>().join("\n")
}

/// `ForwardAgent` takes a path since OpenSSH 8.2; an older one would forward the user's own agent or stop at the word.
async fn knows_agent_sockets() -> anyhow::Result<()> {
    const PATIENCE: Duration = Duration::from_secs(20);
    let output = tokio::time::timeout(PATIENCE, output(ssh().arg("-V"), ANSWER)).await;
    let output = output.context("ssh -V does not end")?;
    let output = output.context("starting ssh (is OpenSSH's client installed?)")?;
    let said = String::from_utf8_lossy(&output.stderr);
    anyhow::ensure!(
        !is_too_old(&said),
        "a confined agent cannot be forwarded by {}: that takes OpenSSH 8.2",
        said.trim()
    );
    Ok(())
}

/// Of what names no version of OpenSSH, nothing is known, and it is tried.
fn is_too_old(said: &str) -> bool {
    let version = said.split_once("OpenSSH_").map(|(_, version)| version);
    let mut numbers = version.into_iter().flat_map(|version| {
        version.split(|c: char| !c.is_ascii_digit()).map_while(|number| number.parse::<u32>().ok())
    });
    match (numbers.next(), numbers.next()) {
        (Some(major), Some(minor)) => (major, minor) < (8, 2),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::is_too_old;

    #[test]
    fn an_old_openssh_is_told_from_a_new_one() {
        for (said, too_old) in [
            ("OpenSSH_9.2p1 Debian-2+deb12u10, OpenSSL 3.0.19 27 Jan 2026", false),
            ("OpenSSH_10.0p2, LibreSSL 3.3.6", false),
            ("OpenSSH_8.2p1 Ubuntu-4ubuntu0.13", false),
            ("OpenSSH_8.1p1, LibreSSL 2.7.3", true),
            ("OpenSSH_7.9p1 Debian-10+deb10u4", true),
            ("Sun_SSH_2.2", false),
            ("", false),
        ] {
            assert_eq!(is_too_old(said), too_old, "{said}");
        }
    }
}
