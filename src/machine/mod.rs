//! The wire: the target as landfall reaches it. One connection per boot, commands quoted by construction,
//! long work as detached jobs, and waiting for a machine to come back as another boot.

mod backoff;
mod bound_child;
mod command;
mod deadlines;
mod destination;
mod forward;
mod frame;
mod identity;
mod image;
mod job;
mod local;
mod login;
mod offer;
mod options;
mod ping;
mod public_key;
mod script;
mod settings;
mod ssh;
mod stream;
mod trouble;
mod wait;

pub use backoff::Backoff;
pub(crate) use command::last_lines;
pub use command::{CommandError, Input, Output};
pub use deadlines::Deadlines;
pub use destination::Destination;
pub use forward::ForwardError;
pub(crate) use identity::first_contact;
#[cfg(test)]
pub(crate) use image::Compression;
pub use image::{Image, ImageSource};
pub(crate) use job::JobFailed;
pub use job::{Job, Standing};
pub(crate) use local::output_of;
pub use login::{HostKeys, Login};
pub(crate) use options::for_nix;
pub use public_key::{fingerprint, raw_fingerprint};
pub(crate) use public_key::{raw_key, read_known_hosts};
pub(crate) use script::Elevation;
pub use script::Script;
pub(crate) use settings::KnownAs;
pub use ssh::Connection;
pub(crate) use stream::{ANSWER, End, Lines, output};
pub use trouble::{ConnectError, ConnectErrorKind};
pub use wait::NotBack;
pub(crate) use wait::REFUSALS;

use crate::report::Metrics;
use command::Stdout;
use ssh::Channel;
use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A boot of a Linux system: `/proc/sys/kernel/random/boot_id` (random(4)).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootId(String);

impl BootId {
    /// Takes the kernel's own text.
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}

impl fmt::Display for BootId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The machine being installed, over whatever it runs at the moment.
pub struct Target {
    login: Login,
    link: Option<Connection>,
    known_as: KnownAs,
    /// What `ping` may be asked for: the name or address behind an alias of `~/.ssh/config`.
    address: Option<String>,
    boot: BootId,
    metrics: Metrics,
    prepare: Vec<Script>,
    on_wait: OnWait,
}

/// When something last moved.
struct Moved {
    start: Instant,
    /// Seconds after the start.
    last: AtomicU64,
}

impl Moved {
    fn on(&self, bytes: u64, on_progress: &mut (dyn FnMut(u64) + Send)) {
        self.last.store(self.start.elapsed().as_secs(), Ordering::Relaxed);
        on_progress(bytes);
    }

    fn seconds_ago(&self) -> u64 {
        self.start.elapsed().as_secs().saturating_sub(self.last.load(Ordering::Relaxed))
    }
}

/// Gets what is waited for, the seconds so far, those after which it is given up, and what was last seen.
pub(crate) type OnWait = Box<dyn FnMut(&str, u64, u64, &str) + Send>;

impl Target {
    /// Logs in for the first time.
    ///
    /// `prepare` is run after each login to a system that is not yet the installed one, before
    /// anything is read from it.
    pub async fn connect(
        login: Login,
        prepare: Vec<Script>,
        metrics: Metrics,
    ) -> Result<Self, ConnectError> {
        let patience = login.deadlines.login;
        Self::connect_within(login, patience, prepare, metrics).await
    }

    /// The same with another patience than the deadlines have, for this attempt.
    pub(crate) async fn connect_within(
        login: Login,
        patience: Duration,
        prepare: Vec<Script>,
        metrics: Metrics,
    ) -> Result<Self, ConnectError> {
        let mut link = Connection::open_within(&login, patience, &metrics).await?;
        let on_wait: OnWait = Box::new(|_, _, _, _| ());
        let (known_as, boot) = (link.known_as().clone(), BootId::new(""));
        let address = None;
        let mut target =
            Self { login, link: None, known_as, address, boot, metrics, prepare, on_wait };
        // Nobody sits there to answer once the run is under way; so it must work without, and that is
        // proven while nothing has happened yet.
        if std::mem::replace(&mut target.login.may_ask, false) {
            let again = Connection::open_within(&target.login, patience, &target.metrics);
            link = again.await.map_err(|error| match error.kind {
                ConnectErrorKind::Denied => {
                    ConnectError { kind: ConnectErrorKind::NeedsAnswers, ..error }
                }
                _ => error,
            })?;
        }
        target.adopt(link).await?;
        Ok(target)
    }

    /// From now on reports each wait.
    pub fn report_waits(&mut self, on_wait: OnWait) {
        self.on_wait = on_wait;
    }

    /// Which host keys are right at the moment.
    pub fn host_keys(&self) -> &HostKeys {
        &self.login.host_keys
    }

    /// Whether what answers now is a system with these host keys.
    pub async fn answers_as(&self, host_keys: HostKeys) -> bool {
        let login = Login { host_keys, ..self.login.clone() };
        Connection::open(&login, &self.metrics).await.is_ok()
    }

    /// How long anything may take.
    pub(crate) fn deadlines(&self) -> &Deadlines {
        &self.login.deadlines
    }

    /// Where it is.
    pub(crate) fn destination(&self) -> &Destination {
        &self.login.destination
    }

    /// How known_hosts has it.
    pub(crate) fn known_as(&self) -> &KnownAs {
        &self.known_as
    }

    /// The fingerprints (`SHA256:…`) of the keys with which `ssh` has tried to log in here; none if it does not say.
    pub(crate) fn offered_keys(&self) -> Option<&BTreeSet<String>> {
        self.link.as_ref()?.offered()
    }

    /// Which boot answers.
    pub fn boot(&self) -> &BootId {
        &self.boot
    }

    /// From now on root logs in, and no other host key than these is right.
    ///
    /// Takes effect with the next connection.
    pub fn expect(&mut self, host_keys: Option<HostKeys>) {
        self.login.destination = self.login.destination.as_root();
        if let Some(host_keys) = host_keys {
            self.login.host_keys = host_keys;
            self.prepare.clear();
        }
    }

    /// The control socket of the present connection, and the destination, for Nix' own `ssh`.
    pub(crate) fn control(&self) -> Result<(PathBuf, &Destination), CommandError> {
        Ok((self.link()?.control_path(), self.destination()))
    }

    /// Runs a script and returns how it ended, good or bad.
    ///
    /// [`Input::Stream`] may take as long as it moves: a slow link is no failure.
    pub async fn attempt(&self, script: &Script, input: Input<'_>) -> Result<Output, CommandError> {
        // Whatever is at work before it has its own deadline.
        let channel = self.link()?.channel(script).await?;
        let moved = Moved { start: Instant::now(), last: AtomicU64::new(0) };
        match input {
            Input::Stream(from, on_progress) => {
                let mut watched = |bytes| moved.on(bytes, on_progress);
                let input = Input::Stream(from, &mut watched);
                self.while_it_moves(channel, script, input, &moved).await
            }
            input => {
                let run = self.link()?.execute_on(channel, script, input, Stdout::Answer);
                let deadline = self.deadlines().command;
                tokio::time::timeout(deadline, run).await.unwrap_or_else(|_| {
                    let seconds = deadline.as_secs();
                    Err(CommandError::TimedOut { command: script.name(), seconds })
                })
            }
        }
    }

    async fn while_it_moves(
        &self,
        channel: Channel,
        script: &Script,
        input: Input<'_>,
        moved: &Moved,
    ) -> Result<Output, CommandError> {
        let run = self.link()?.execute_on(channel, script, input, Stdout::Answer);
        let deadline = self.deadlines().stall.as_secs();
        let stalled = async {
            // Whatever moves in the meantime puts it off.
            while let Some(rest @ 1..) = deadline.checked_sub(moved.seconds_ago()) {
                tokio::time::sleep(Duration::from_secs(rest)).await;
            }
        };
        tokio::select! {
            output = run => output,
            () = stalled => {
                Err(CommandError::Stalled { command: script.name(), seconds: deadline })
            }
        }
    }

    /// Ends the connection.
    pub(crate) fn close(&mut self) {
        self.link = None;
    }

    /// Whether the connection is gone: asked, not guessed.
    pub(crate) async fn is_gone(&self) -> bool {
        let alive = self.run(&Script::command("true")).await;
        matches!(alive, Err(CommandError::Lost { .. } | CommandError::TimedOut { .. }))
    }

    fn link(&self) -> Result<&Connection, CommandError> {
        self.link.as_ref().ok_or_else(|| CommandError::Lost {
            command: "a command".to_owned(),
            why: "there is no connection".to_owned(),
        })
    }

    /// Takes a fresh connection: notes the boot behind it and prepares the system.
    async fn adopt(&mut self, link: Connection) -> Result<(), ConnectError> {
        self.known_as = link.known_as().clone();
        self.address = link.address().map(str::to_owned);
        self.link = Some(link);
        let trouble = |error: &CommandError| {
            let kind = match error {
                CommandError::Lost { .. } => ConnectErrorKind::Dropped,
                CommandError::NotRun { .. } => ConnectErrorKind::NoCommands,
                _ => ConnectErrorKind::Other,
            };
            match error {
                CommandError::NotRun { said, .. } => {
                    let said = command::Said(said);
                    ConnectError::new(kind, format!("the login works, but no command runs; {said}"))
                }
                _ => ConnectError::new(kind, format!("logged in, but {error}")),
            }
        };
        let boot_id = Script::command("cat").arg("/proc/sys/kernel/random/boot_id");
        let boot = self.run(&boot_id).await.map_err(|error| trouble(&error))?;
        self.boot = BootId::new(boot.trim());
        for script in &self.prepare {
            self.run(script).await.map_err(|error| trouble(&error))?;
        }
        Ok(())
    }
}
