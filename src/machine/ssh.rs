//! One multiplexed SSH connection, through the user's own OpenSSH.
//!
//! landfall starts the master itself, in the foreground (`ssh -M -N`), instead of letting the `openssh`
//! crate daemonise one: its exit is then the event that the connection is gone (which kexec and reboot
//! wait for), nothing authenticated outlives a killed landfall, and any `-o` can be given. There is
//! no `-F`: `~/.ssh/config` and `/etc/ssh/ssh_config` (ProxyJump, identities, Match) stay in force and ours wins
//! where we insist. Commands then ride the control socket.

use super::command::{CommandError, Input, Output, Stdout};
use super::stream::complaint;
use super::tethered::Tethered;
use super::{Deadlines, Destination, Script};
use crate::paths::socket_directory;
use crate::report::Tally;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tempfile::TempDir;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Which host keys are right.
#[derive(Debug, Clone)]
pub enum HostKeys {
    /// Those in the user's own known_hosts.
    Known,
    /// Exactly these, each `type base64`.
    Pinned(Vec<String>),
}

/// How to log in.
#[derive(Debug, Clone)]
pub struct Login {
    /// Where.
    pub destination: Destination,
    /// Private key files besides the agent and what ssh's config says.
    pub identities: Vec<PathBuf>,
    /// Further `-o` options of the user's, each `Key=value`.
    pub options: Vec<String>,
    /// Which host keys are right.
    pub host_keys: HostKeys,
    /// Whether `ssh` may ask on the terminal (passphrase, password).
    pub may_ask: bool,
    /// How long anything may take.
    pub deadlines: Deadlines,
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    /// What kind of trouble it is.
    pub kind: ConnectErrorKind,
    /// What `ssh` said, or what we did.
    pub text: String,
}

impl ConnectError {
    /// No login came of a whole attempt.
    pub(super) fn slow(patience: Duration) -> Self {
        let text = format!("no login within {} s", patience.as_secs());
        Self { kind: ConnectErrorKind::Slow, text }
    }
}

/// Kinds of connection trouble, as far as anybody decides by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// The name has no address.
    Unresolved,
    /// Nothing listens on the port.
    Refused,
    /// No answer in time, or no route.
    Unreachable,
    /// Somebody takes the connection, and no login comes of it in time: a machine that is busy, or not up yet.
    Slow,
    /// Somebody answered and hung up: a machine that is going down or coming up.
    Dropped,
    /// The machine answers, and does not let us in.
    Denied,
    /// It lets us in when the user answers something, and not otherwise.
    NeedsAnswers,
    /// The host key is not in known_hosts.
    UnknownHostKey,
    /// The host key is another one than before.
    HostKeyChanged,
    /// Anything else `ssh` said.
    Other,
}

impl ConnectErrorKind {
    /// Whether the machine that answers is not the one expected, as far as its host key tells.
    pub fn is_about_host_keys(self) -> bool {
        matches!(self, Self::UnknownHostKey | Self::HostKeyChanged)
    }

    /// Whether trying again later is of no use.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Unresolved | Self::NeedsAnswers | Self::Other)
            || self.is_about_host_keys()
    }

    /// Whether the server has proven (or failed to prove) who it is, which takes a key exchange.
    pub fn after_key_exchange(self) -> bool {
        matches!(self, Self::Denied | Self::UnknownHostKey | Self::HostKeyChanged)
    }
}

/// An open connection. Dropping it ends the master, and with it every command that rides on it.
pub struct Connection {
    session: openssh::Session,
    dir: TempDir,
    master: JoinHandle<()>,
    gone: watch::Receiver<bool>,
    tally: Tally,
}

/// Whoever is asked something may take so many times longer.
const WHEN_ASKED: u32 = 20;
/// So long `ssh`'s last words are waited for when it has ended.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// How often the control socket is tried while the master logs in.
const SOCKET_POLL: Duration = Duration::from_millis(20);

impl Connection {
    /// Logs in, with the patience that the deadlines allow.
    pub async fn open(login: &Login, tally: &Tally) -> Result<Self, ConnectError> {
        Self::open_within(login, login.deadlines.login, tally).await
    }

    /// Logs in, or gives up after so long (or longer, while somebody may be asked something).
    pub async fn open_within(
        login: &Login,
        patience: Duration,
        tally: &Tally,
    ) -> Result<Self, ConnectError> {
        let other = |error: anyhow::Error| ConnectError {
            kind: ConnectErrorKind::Other,
            text: format!("{error:#}"),
        };
        let dir = socket_directory().map_err(other)?;
        let mut master = start_master(login, patience, dir.path()).map_err(other)?;
        let session = openssh::Session::resume_mux(socket(dir.path()).into(), None);
        let log_in = async {
            loop {
                tokio::select! {
                    status = master.child.wait() => return Err(status),
                    () = tokio::time::sleep(SOCKET_POLL) => {
                        if socket(dir.path()).exists() && session.check().await.is_ok() {
                            return Ok(());
                        }
                    }
                }
            }
        };
        let patience = patience * if login.may_ask { WHEN_ASKED } else { 1 };
        match tokio::time::timeout(patience, log_in).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                let error = why_it_ended(&mut master.child).await;
                if error.kind.after_key_exchange() {
                    tally.handshake();
                }
                return Err(error);
            }
            Err(_) => {
                return Err(ConnectError::slow(patience));
            }
        }
        tally.handshake();
        let (sender, gone) = watch::channel(false);
        let master = tokio::spawn(async move {
            let _ = master.child.wait().await;
            let _ = sender.send(true);
        });
        Ok(Self { session, dir, master, gone, tally: tally.clone() })
    }

    /// Completes when the connection is gone.
    pub async fn lost(&self) {
        let mut gone = self.gone.clone();
        // An error means that the watching task ended, which it does only when the master has.
        let _ = gone.wait_for(|gone| *gone).await;
    }

    /// The control socket, for another `ssh` (Nix' own) to ride this connection.
    pub fn control_path(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// Runs a script, feeding it `input`.
    pub(super) async fn execute(
        &self,
        script: &Script,
        input: Input<'_>,
        heard: Stdout<'_>,
    ) -> Result<Output, CommandError> {
        let line = script.line();
        let mut command = self.session.raw_command(&line);
        command
            .stdin(if input.is_empty() { openssh::Stdio::null() } else { openssh::Stdio::piped() })
            .stdout(openssh::Stdio::piped())
            .stderr(openssh::Stdio::piped());
        let mut child = command.spawn().await.map_err(|error| CommandError::lost(script, error))?;
        let (stdin, stdout, stderr) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let talk = super::command::talk(stdin, input, stdout, stderr, heard, &self.tally);
        let streams = tokio::select! {
            streams = talk => streams,
            () = self.lost() => return Err(CommandError::lost(script, "the connection was lost")),
        };
        let streams = streams.map_err(|error| CommandError::unheard(script, &error))?;
        match child.wait().await {
            Ok(status) => Ok(Output { status: status.code(), ..streams }),
            // Both the command's own 127 and a missing shell; the streams say which.
            Err(openssh::Error::Remote(_)) => Ok(Output { status: Some(127), ..streams }),
            // A signal ended it, or the connection did: the master knows.
            Err(error) => match self.session.check().await {
                Ok(()) => Ok(streams),
                Err(_) => Err(CommandError::lost(script, error)),
            },
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.master.abort();
    }
}

fn socket(dir: &Path) -> PathBuf {
    dir.join("m")
}

/// The user's own `ssh`, which ends with the process that waits for it.
#[allow(clippy::disallowed_methods, reason = "this is where ssh is started")]
pub(super) fn ssh() -> Command {
    let mut command = Command::new("ssh");
    command.kill_on_drop(true);
    command
}

/// `ssh`'s own patience with one address, until keys are exchanged (ssh_config(5), `ConnectTimeout`): so much of the whole
/// that there is time for a second address of the host where the first one is silent, and `ssh` says so itself.
pub(super) fn connect_timeout(patience: Duration) -> String {
    format!("ConnectTimeout={}", (patience.as_secs() / 2).saturating_sub(1).max(1))
}

/// What every login of a run has in common; `dir` takes its own known_hosts, where keys are pinned.
pub(super) fn login_arguments(
    command: &mut Command,
    login: &Login,
    patience: Duration,
    dir: &Path,
) -> anyhow::Result<()> {
    let mut options: Vec<String> = [
        // A peer that is gone is noticed after 12 x 5 s. Sooner would cut slow lines: with megabytes queued before it, an
        // answer takes its time. (Whoever waits for a boot asks by itself.)
        "ServerAliveInterval=5",
        "ServerAliveCountMax=12",
        "ForwardX11=no",
        "PermitLocalCommand=no",
        "RemoteCommand=none",
        "UpdateHostKeys=no",
        // Of ports and sockets; an agent is another matter.
        "ClearAllForwardings=yes",
        // Preference, not force: hardware AES is 1.5 times faster than the default cipher.
        "Ciphers=^aes128-gcm@openssh.com",
    ]
    .map(str::to_owned)
    .into();
    options.push(connect_timeout(patience));
    options.push(format!("BatchMode={}", if login.may_ask { "no" } else { "yes" }));
    match &login.host_keys {
        // A key that is not known is shown by landfall itself, and becomes part of the consent.
        HostKeys::Known => options.push("StrictHostKeyChecking=yes".to_owned()),
        HostKeys::Pinned(keys) => {
            let path = dir.join("known_hosts");
            let lines = keys.iter().map(|key| format!("{PINNED_NAME} {key}\n"));
            std::fs::write(&path, lines.collect::<String>())
                .with_context(|| format!("writing {}", path.display()))?;
            options.extend([
                "StrictHostKeyChecking=yes".to_owned(),
                format!("HostKeyAlias={PINNED_NAME}"),
                format!("UserKnownHostsFile={}", path.display()),
                "GlobalKnownHostsFile=/dev/null".to_owned(),
            ]);
        }
    }
    for option in options.iter().chain(&login.options) {
        command.arg("-o").arg(option);
    }
    for identity in &login.identities {
        command.arg("-i").arg(identity);
    }
    command.args(login.destination.ssh_arguments());
    Ok(())
}

fn start_master(login: &Login, patience: Duration, dir: &Path) -> anyhow::Result<Tethered> {
    let mut command = ssh();
    command.args(["-M", "-N", "-T", "-S"]).arg(socket(dir));
    // Whoever came by once could use an agent from every later command of this connection (see `forward`).
    command.args(["-o", "ControlPersist=no", "-o", "ForwardAgent=no"]);
    login_arguments(&mut command, login, patience, dir)?;
    // The prompts, if any, go to /dev/tty; stderr is ours, to say why it failed.
    which::which("ssh").context("starting ssh (is OpenSSH's client installed?)")?;
    Tethered::spawn(&command).context("starting ssh")
}

/// The name under which pinned keys stand in the run's own known_hosts.
const PINNED_NAME: &str = "landfall-target";

async fn why_it_ended(master: &mut Child) -> ConnectError {
    let Some(stderr) = master.stderr.as_mut() else { return ended_with("") };
    // What cannot be read cannot be shown; the classification then says `Other`. A program that ssh has started may outlive it,
    // and holds the other end.
    let said = tokio::time::timeout(LAST_WORDS, complaint(stderr)).await;
    ended_with(&said.ok().and_then(Result::ok).unwrap_or_default().text())
}

/// Reads OpenSSH's messages (ssh(1) has no exit codes for them; the texts are in its `ssh.c`,
/// `sshconnect.c` and `misc.c`, and have been stable for many years).
pub(super) fn ended_with(stderr: &str) -> ConnectError {
    use ConnectErrorKind::{
        Denied, Dropped, HostKeyChanged, Other, Refused, Slow, UnknownHostKey, Unreachable,
        Unresolved,
    };
    const SIGNS: [(&str, ConnectErrorKind); 16] = [
        ("REMOTE HOST IDENTIFICATION HAS CHANGED", HostKeyChanged),
        ("host key is known for landfall-target", HostKeyChanged),
        ("Host key verification failed", UnknownHostKey),
        ("Could not resolve hostname", Unresolved),
        ("Permission denied", Denied),
        ("Too many authentication failures", Denied),
        ("Connection refused", Refused),
        ("timed out during banner exchange", Slow),
        ("timed out", Unreachable),
        ("No route to host", Unreachable),
        ("is unreachable", Unreachable),
        ("Host is down", Unreachable),
        ("kex_exchange_identification", Dropped),
        ("Connection reset", Dropped),
        ("Connection closed", Dropped),
        ("not responding", Dropped),
    ];
    let kind =
        SIGNS.iter().find(|(sign, _)| stderr.contains(sign)).map_or(Other, |(_, kind)| *kind);
    let mut lines = stderr.lines().map(|line| line.trim_end().trim_start_matches("ssh: "));
    let said = lines.rfind(|line| !line.is_empty()).unwrap_or("ssh ended without a word");
    // Of a key that has changed, the fingerprint stands on a line of its own.
    let shown = stderr.lines().map(str::trim).find(|line| line.starts_with("SHA256:"));
    let text = match shown {
        Some(key) => format!("{said} It showed {}", key.trim_end_matches('.')),
        None => said.to_owned(),
    };
    ConnectError { kind, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What OpenSSH 9.2 and 10.0 print.
    #[test]
    fn knows_what_openssh_says() {
        use ConnectErrorKind::*;
        for (text, kind) in [
            ("ssh: Could not resolve hostname nas: Name or service not known\r\n", Unresolved),
            ("ssh: connect to host 10.0.0.5 port 22: Connection refused\r\n", Refused),
            ("ssh: connect to host 10.0.0.5 port 22: Connection timed out\r\n", Unreachable),
            ("Connection timed out during banner exchange\r\n", Slow),
            ("ssh: connect to host 10.0.0.5 port 22: No route to host\r\n", Unreachable),
            ("root@10.0.0.5: Permission denied (publickey,password).\r\n", Denied),
            ("kex_exchange_identification: Connection closed by remote host\r\n", Dropped),
            (
                "No ED25519 host key is known for nas and you have requested strict checking.\r\n\
              Host key verification failed.\r\n",
                UnknownHostKey,
            ),
            (
                "@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n…\r\n\
              Host key verification failed.\r\n",
                HostKeyChanged,
            ),
            (
                "No ED25519 host key is known for landfall-target and you have requested strict \
              checking.\r\nHost key verification failed.\r\n",
                HostKeyChanged,
            ),
            ("Bad configuration option: foo\r\n", Other),
        ] {
            assert_eq!(ended_with(text).kind, kind, "{text}");
        }
        assert_eq!(ended_with("").text, "ssh ended without a word");
        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nThe fingerprint for the \
                       ED25519 key sent by the remote host is\r\nSHA256:PKiBV6.\r\nHost key for nas has \
                       changed and you have requested strict checking.\r\nHost key verification failed.\r\n";
        assert_eq!(
            ended_with(changed).text,
            "Host key verification failed. It showed SHA256:PKiBV6"
        );
    }
}
