//! A session of its own for the one command that may use a forwarded agent: one `ssh` process, one connection, which ends
//! with the command.
//!
//! The shared connection will not do. sshd has one agent socket for a connection, and whatever runs on it later finds that
//! socket too; so would anything that rides its control socket.

use super::command::{CommandError, Input, Output, Stdout, talk};
use super::frame::COMMAND_LINE;
use super::login::ssh;
use super::options::{Use, arguments, log, settings};
use super::ssh::ask_nobody;
use super::stream::{ANSWER, Line, beginning, output};
use super::trouble::{ConnectError, on_one_line, why};
use super::{Script, Target};
use crate::paths::socket_directory;
use anyhow::Context;
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
        "the target has no agent: its sshd does not allow forwarding (AllowAgentForwarding), or ssh here is configured to \
         use none (IdentityAgent, SSH_AUTH_SOCK)"
    )]
    NotForwarded,
    /// The command was not seen to its end.
    #[error(transparent)]
    Command(#[from] CommandError),
}

/// What `run-with-agent.sh` exits with where no agent is.
const NO_AGENT: i32 = 253;
/// What `ssh` exits with for trouble of its own.
const SSH_FAILED: i32 = 255;

impl Target {
    /// Runs a script on a new connection on which the agent at the socket `agent` (of this machine) is forwarded, and
    /// returns how it ended, good or bad. Each line of its stdout is handed on as it comes.
    ///
    /// The login is the user's own, by the same options, identities and host keys as every other of this target; only
    /// what is forwarded is another agent. The script reads nothing from stdin. When the connection ends, or the
    /// future is dropped, it is sent SIGTERM with all it has started (`run-with-agent.sh`). A script that exits with 255
    /// is said to have exited with 254.
    pub async fn attempt_forwarding(
        &self,
        script: &Script,
        agent: &Path,
        on_line: &mut (dyn FnMut(&str) + Send),
        deadline: Duration,
    ) -> Result<Output, ForwardError> {
        let other = |error: anyhow::Error| ConnectError::other(&error);
        let settings = settings(&self.login).await?;
        knows_agent_sockets().await.map_err(other)?;
        let dir = socket_directory().map_err(other)?;
        let (mut command, patience) = (ssh(), self.deadlines().login);
        let words = arguments(&self.login, &settings, Use::Command(agent), patience, dir.path());
        command.args(words.map_err(|error| other(error.into()))?).arg(COMMAND_LINE);
        ask_nobody(&mut command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .context("starting ssh (is OpenSSH's client installed?)")
            .map_err(other)?;
        let (stdin, stdout, stderr) =
            (child.stdin.take(), child.stdout.take(), child.stderr.take());
        let command = Script::file("run-with-agent.sh", include_str!("run-with-agent.sh"))
            .args(script.words().iter().cloned());
        let run = async {
            // Open to the end: its end is how the other side knows that we are gone.
            let (mut silence, _held) = tokio::io::duplex(1);
            let mut ignore = |_| ();
            let input = Input::Stream(&mut silence, &mut ignore);
            let mut on_output = |line: &Line<'_>| on_line(line.text().trim_end());
            let sink = Stdout::Lines(&mut on_output);
            let words = talk(&command, stdin, input, stdout, stderr, sink, &self.metrics).await?;
            Ok::<_, std::io::Error>((child.wait().await?.code(), words))
        };
        let log = log(dir.path());
        let patience = settings.patience(patience);
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
        let logged_in = has_logged_in(&log);
        if logged_in {
            self.metrics.handshake();
        }
        let Ok(ended) = ended else {
            let (command, seconds) = (script.name(), deadline.as_secs());
            return Err(CommandError::TimedOut { command, seconds }.into());
        };
        let (code, words) = ended.map_err(|error| CommandError::unheard(script, &error))?;
        match words.status {
            Some(NO_AGENT) => return Err(ForwardError::NotForwarded),
            Some(status) => {
                let (stdout, stderr) = (words.stdout, words.stderr);
                return Ok(Output { status: Some(status), stdout, stderr });
            }
            None => {}
        }
        let error = why(&beginning(&log), &words.noise, &settings);
        if !logged_in {
            if error.kind.after_key_exchange() {
                self.metrics.handshake();
            }
            return Err(error.into());
        }
        if !words.begun && code != Some(SSH_FAILED) {
            return Err(CommandError::not_run(script, &words.noise).into());
        }
        let said = on_one_line(&words.stderr);
        let text = if said.is_empty() { error.text } else { format!("{} ({said})", error.text) };
        Err(CommandError::lost(script, text).into())
    }
}

/// Whether `ssh` has come past the authentication, by its own log (`sshconnect2.c`).
fn has_logged_in(log: &Path) -> bool {
    beginning(log).contains("Authenticated to ")
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
        "{} cannot forward a confined agent: that requires OpenSSH 8.2",
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
    fn an_openssh_before_8_2_is_recognised() {
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
