//! One multiplexed SSH connection, through the user's own OpenSSH.
//!
//! landfall starts the master itself, in the foreground (`ssh -M -N`), instead of letting the `openssh`
//! crate daemonise one: its exit is then the event that the connection is gone (which kexec and reboot
//! wait for), nothing authenticated outlives a killed landfall, and any `-o` can be given (`options`). There is
//! no `-F`: `~/.ssh/config` and `/etc/ssh/ssh_config` (ProxyJump, identities, Match) stay in force. Commands then ride
//! the control socket.

use super::bound_child::BoundChild;
use super::command::{CommandError, Input, Output, Stdout, Words};
use super::frame::COMMAND_LINE;
use super::login::{Login, ssh};
use super::offer::offered;
use super::options::{Use, arguments, log, settings};
use super::settings::{KnownAs, Settings};
use super::stream::{End, beginning};
use super::trouble::{ConnectError, why};
use super::{Backoff, Script};
use crate::paths::socket_directory;
use crate::report::Metrics;
use anyhow::Context;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Command;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// An open connection. Dropping it ends the master, and with it every command that rides on it.
pub struct Connection {
    session: Arc<openssh::Session>,
    dir: TempDir,
    master: JoinHandle<()>,
    gone: watch::Receiver<bool>,
    known_as: KnownAs,
    address: Option<String>,
    offered: Option<BTreeSet<String>>,
    /// Commands that are being run.
    at_work: Arc<AtomicU32>,
    metrics: Metrics,
}

/// A command's place on the connection.
pub(super) struct Channel {
    child: openssh::Child<Arc<openssh::Session>>,
    _at_work: AtWork,
}

/// Counts a command for as long as it runs.
struct AtWork(Arc<AtomicU32>);

impl AtWork {
    fn begin(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(count))
    }
}

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A login that asks the user something may take so many times longer.
const WHEN_ASKED: u32 = 20;
/// How often the control socket is tried while the master logs in.
const SOCKET_POLL: Duration = Duration::from_millis(20);
/// A server that allows so many sessions and no more (MaxSessions) refuses another while one ends; one that does so for longer,
/// without any of ours at work, allows none.
const NO_ROOM: Duration = Duration::from_secs(30);

impl Connection {
    /// Logs in, with the patience that the deadlines allow.
    pub async fn open(login: &Login, metrics: &Metrics) -> Result<Self, ConnectError> {
        Self::open_within(login, login.deadlines.login, metrics).await
    }

    /// Logs in, or gives up after so long: longer while somebody may be asked something, or where the user has configured `ssh`
    /// to be more patient.
    pub async fn open_within(
        login: &Login,
        patience: Duration,
        metrics: &Metrics,
    ) -> Result<Self, ConnectError> {
        let other = |error: anyhow::Error| ConnectError::other(&error);
        let settings = settings(login).await?;
        let dir = socket_directory().map_err(other)?;
        let mut master = start_master(login, &settings, patience, dir.path()).map_err(other)?;
        let said = drain(master.child.stderr.take());
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
        let patience = settings.patience(patience);
        match tokio::time::timeout(patience, log_in).await {
            Ok(Ok(())) => {}
            Ok(Err(_)) => {
                let error = why(&beginning(&log(dir.path())), &said.text().await, &settings);
                if error.kind.after_key_exchange() {
                    metrics.handshake();
                }
                return Err(error);
            }
            Err(_) => {
                return Err(ConnectError::slow(patience));
            }
        }
        metrics.handshake();
        let (sender, gone) = watch::channel(false);
        let master = tokio::spawn(async move {
            let _ = master.child.wait().await;
            let _ = sender.send(true);
            drop(said);
        });
        let (session, known_as) = (Arc::new(session), settings.known_as());
        let address = settings.address();
        let (at_work, metrics) = (Arc::default(), metrics.clone());
        let offered = offered(&beginning(&log(dir.path())));
        Ok(Self { session, dir, master, gone, known_as, address, offered, at_work, metrics })
    }

    /// What `ping` may be asked for.
    pub(super) fn address(&self) -> Option<&str> {
        self.address.as_deref()
    }

    /// How known_hosts has the target.
    pub(super) fn known_as(&self) -> &KnownAs {
        &self.known_as
    }

    /// The fingerprints of the keys that were offered; none if `ssh` does not say.
    pub(super) fn offered(&self) -> Option<&BTreeSet<String>> {
        self.offered.as_ref()
    }

    /// Completes when the connection is gone.
    pub async fn lost(&self) {
        let mut gone = self.gone.clone();
        // An error means that the watching task ended, which it does only when the master has.
        let _ = gone.wait_for(|gone| *gone).await;
    }

    /// The control socket, for another `ssh` (Nix' own) to ride this connection.
    pub(crate) fn control_path(&self) -> PathBuf {
        socket(self.dir.path())
    }

    /// Opens a channel for a command. A server that allows only so many is waited for, as long as others of ours are at work.
    pub(super) async fn channel(&self, script: &Script) -> Result<Channel, CommandError> {
        let mut pause = Backoff::pause();
        let mut since = Instant::now();
        loop {
            let at_work = AtWork::begin(&self.at_work);
            let session = Arc::clone(&self.session);
            let mut command = session.arc_raw_command(COMMAND_LINE);
            command.stdin(openssh::Stdio::piped());
            command.stdout(openssh::Stdio::piped()).stderr(openssh::Stdio::piped());
            let error = match command.spawn().await {
                Ok(child) => return Ok(Channel { child, _at_work: at_work }),
                Err(error) => error,
            };
            drop(at_work);
            if self.session.check().await.is_err() {
                return Err(CommandError::lost(script, error));
            }
            if self.at_work.load(Ordering::Relaxed) > 0 {
                since = Instant::now();
            } else if since.elapsed() > NO_ROOM {
                return Err(CommandError::not_run(script, "the server opens no session for it"));
            }
            pause.sleep().await;
        }
    }

    /// Runs a script, feeding it `input`.
    pub(super) async fn execute(
        &self,
        script: &Script,
        input: Input<'_>,
        sink: Stdout<'_>,
    ) -> Result<Output, CommandError> {
        let channel = self.channel(script).await?;
        self.execute_on(channel, script, input, sink).await
    }

    /// The same on a channel that is open.
    pub(super) async fn execute_on(
        &self,
        mut channel: Channel,
        script: &Script,
        input: Input<'_>,
        sink: Stdout<'_>,
    ) -> Result<Output, CommandError> {
        let child = &mut channel.child;
        let (stdin, stdout, stderr) =
            (child.stdin().take(), child.stdout().take(), child.stderr().take());
        let talk = super::command::talk(script, stdin, input, stdout, stderr, sink, &self.metrics);
        let words = tokio::select! {
            words = talk => words,
            () = self.lost() => return Err(CommandError::lost(script, "the connection was lost")),
        };
        let words: Words = words.map_err(|error| CommandError::unheard(script, &error))?;
        let ended = channel.child.wait().await;
        if words.status.is_none() && ended.is_err() && self.session.check().await.is_err() {
            return Err(CommandError::lost(script, "the connection was lost"));
        }
        if !words.begun {
            return Err(CommandError::not_run(script, &words.noise));
        }
        // A shell adds 128 to the number of the signal (there are 64) that has ended what it ran.
        let status = words.status.filter(|status| !(129..=192).contains(status));
        Ok(Output { status, stdout: words.stdout, stderr: words.stderr })
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

fn start_master(
    login: &Login,
    settings: &Settings,
    patience: Duration,
    dir: &Path,
) -> anyhow::Result<BoundChild> {
    let socket = socket(dir);
    let mut command = ssh();
    command.args(arguments(login, settings, Use::Shared(&socket), patience, dir)?);
    if !login.may_ask {
        ask_nobody(&mut command);
    }
    // The prompts, if any, go to /dev/tty; stderr is for others: the target before the login, a jump host.
    which::which("ssh").context("starting ssh (is OpenSSH's client installed?)")?;
    BoundChild::spawn(&command).context("starting ssh")
}

/// `BatchMode` is not for the `ssh` of a jump host, which would ask on the terminal: it is given a program to ask that
/// always declines (ssh(1), ENVIRONMENT).
pub(super) fn ask_nobody(command: &mut Command) {
    command.env("SSH_ASKPASS", "false").env("SSH_ASKPASS_REQUIRE", "force");
}

/// What is written to a stream that is not waited for: it is read to its end, so that the writer is never held up.
pub(super) struct Drained {
    kept: Arc<Mutex<End>>,
    reading: JoinHandle<()>,
}

/// A jump host's `ssh`, or whatever else `ssh` has started, may outlive it, and holds the other end.
const LAST_WORDS: Duration = Duration::from_secs(2);

pub(super) fn drain(stream: Option<impl AsyncRead + Send + Unpin + 'static>) -> Drained {
    let kept = Arc::new(Mutex::new(End::default()));
    let to = Arc::clone(&kept);
    let reading = tokio::spawn(async move {
        let Some(mut stream) = stream else { return };
        let mut buffer = vec![0; 4096];
        // An error is an end.
        while let Ok(length @ 1..) = stream.read(&mut buffer).await {
            let mut kept = to.lock().unwrap_or_else(PoisonError::into_inner);
            kept.push(&buffer[..length]);
        }
    });
    Drained { kept, reading }
}

impl Drained {
    /// The last of what was said.
    pub(super) async fn text(mut self) -> String {
        // A jump host's connection may be shared, and stay open.
        let _ = tokio::time::timeout(LAST_WORDS, &mut self.reading).await;
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.text().into_owned()
    }
}

impl Drop for Drained {
    fn drop(&mut self) {
        self.reading.abort();
    }
}
