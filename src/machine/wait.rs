//! Waiting for the target to come back. A reboot is a changed boot id, not a failed ping: the old system may
//! answer for a while after it was asked to restart, and one lost packet means nothing.

use super::{Backoff, BootId, ConnectError, ConnectErrorKind, Connection, Target};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// The target did not come back; what was seen last decides which case it is.
#[derive(Debug, thiserror::Error)]
pub enum NotBack {
    /// The system that was to go still answers.
    #[error("after {0} s the old system still answers: it never went down")]
    OldSystem(u64),
    /// It has restarted, and into the system that was there before.
    #[error("it restarted into the old system, not into the new one: {0}")]
    OldSystemAgain(String),
    /// It answers, and refuses the login.
    #[error("a system answers, but refuses the login: {0}")]
    LoginRefused(String),
    /// It answers with a host key that is not the expected one.
    #[error("another machine answers, by its host key: {0}")]
    OtherMachine(String),
    /// It answers ping, and nothing that could be logged in to within the deadline.
    #[error(
        "after {seconds} s the machine answers ping, but every login fails; the last attempt: {last}"
    )]
    NoLogin {
        /// How long it was waited for.
        seconds: u64,
        /// What the last attempt met.
        last: String,
    },
    /// Nothing at all within the deadline.
    #[error("after {seconds} s nothing answers; the last attempt: {last}")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
        /// What the last attempt met.
        last: String,
    },
}

impl NotBack {
    /// What to do about it.
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            Self::OldSystem(_) => "restart it by hand; its console shows what keeps it up",
            Self::OldSystemAgain(_) => {
                "look at its console and its boot order: is an SD card or USB stick still in, or another disk \
                 first?"
            }
            Self::LoginRefused(_) => {
                "it is up: log in another way and check its sshd and authorized keys"
            }
            Self::OtherMachine(_) => {
                "nothing was sent to it: does another machine have its address now, or is someone in between?"
            }
            Self::NoLogin { .. } => {
                "its kernel is up: look at its console for why sshd is not; or allow more time with --boot-timeout"
            }
            Self::Silent { .. } => {
                "look at its console: it may hang, have another address now, or need more time (--boot-timeout)"
            }
        }
    }
}

/// Between two looks whether the old system has gone.
const LOOK: Duration = Duration::from_secs(1);
/// A system that was asked to restart and has not answered for so long is down.
const SILENCE: Duration = Duration::from_secs(10);
/// A system that comes up may refuse logins before its keys are in place; so many refusals, with the longest pause after
/// each, are an answer. (To ask faster is no use: sshd blocks a client for a while after a few refused logins.)
pub(crate) const REFUSALS: u32 = 10;

impl Target {
    /// Waits until the present system is gone and another boot accepts the login, and connects to it.
    pub async fn await_new_boot(&mut self, what: &str) -> Result<(), NotBack> {
        let old = self.boot.clone();
        let deadline = self.deadlines().boot;
        self.come_back(what, deadline, |boot| *boot != old).await
    }

    /// Whether the present system goes down, or the connection to it, within this time.
    pub(crate) async fn goes_within(&mut self, time: Duration) -> bool {
        self.is_gone_within(time).await
    }

    /// Connects again to the same boot after the connection was lost.
    pub async fn reconnect(&mut self) -> Result<()> {
        let old = self.boot.clone();
        let deadline = self.deadlines().reconnect;
        self.link = None;
        let back = self.come_back("the connection, which was lost", deadline, |_| true).await;
        back.context("the connection was lost")?;
        if self.boot != old {
            anyhow::bail!("the target rebooted in the middle of the work (boot {})", self.boot);
        }
        Ok(())
    }

    async fn come_back(
        &mut self,
        what: &str,
        deadline: Duration,
        is_right: impl Fn(&BootId) -> bool,
    ) -> Result<(), NotBack> {
        let start = Instant::now();
        let (mut pause, mut patience) =
            (Backoff::pause(), Backoff::patience(self.deadlines().login));
        let mut refusals = 0;
        let mut pings = None;
        let mut last = "it has not gone down yet".to_owned();
        // As long as the old connection lives the old system does, and nothing needs to be asked.
        let mut gone = self.link.is_none();
        while start.elapsed() < deadline {
            let seen = match pings {
                Some(true) => format!("host answers ping, {last}"),
                Some(false) => format!("no answer to ping, {last}"),
                None => last.clone(),
            };
            (self.on_wait)(what, start.elapsed().as_secs(), deadline.as_secs(), &seen);
            if !gone {
                gone = self.is_gone_within(LOOK).await;
                continue;
            }
            // The user may have configured `ssh` to be more patient.
            let left = deadline.saturating_sub(start.elapsed());
            let attempt = self.try_again(patience.now().min(left), &is_right);
            let attempt = tokio::time::timeout(left, attempt).await;
            match attempt.unwrap_or_else(|_| Err(ConnectError::slow(left))) {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    "the old system still answers".clone_into(&mut last);
                    (gone, refusals, pings) = (false, 0, None);
                }
                Err(error) => {
                    match error.kind {
                        kind if kind.is_about_host_keys() => {
                            return Err(NotBack::OtherMachine(error.text));
                        }
                        ConnectErrorKind::Denied => {
                            refusals += 1;
                            if refusals >= REFUSALS {
                                return Err(NotBack::LoginRefused(error.text));
                            }
                            pause.grow_to_longest();
                        }
                        // sshd blocks a client for a while after a few refused logins.
                        ConnectErrorKind::Dropped => {}
                        ConnectErrorKind::Slow | ConnectErrorKind::Unreachable => {
                            refusals = 0;
                            patience.grow();
                        }
                        _ => refusals = 0,
                    }
                    last = error.text;
                    let ping = async {
                        match &self.address {
                            Some(host) => super::ping::answers(host).await,
                            None => None,
                        }
                    };
                    (pings, ()) = tokio::join!(ping, pause.sleep());
                }
            }
        }
        let seconds = start.elapsed().as_secs();
        Err(match (gone, pings) {
            (false, _) => NotBack::OldSystem(seconds),
            (true, Some(true)) => NotBack::NoLogin { seconds, last },
            (true, _) => NotBack::Silent { seconds, last },
        })
    }

    async fn is_gone_within(&mut self, time: Duration) -> bool {
        let Some(link) = &self.link else { return true };
        let gone = tokio::time::timeout(time, link.lost()).await.is_ok();
        // A machine that has lost its power says no goodbye.
        let gone = gone || tokio::time::timeout(SILENCE, self.is_gone()).await.unwrap_or(true);
        if gone {
            self.link = None;
        }
        gone
    }

    /// Connects; true when the boot behind the connection is the right one.
    async fn try_again(
        &mut self,
        patience: Duration,
        is_right: &impl Fn(&BootId) -> bool,
    ) -> Result<bool, ConnectError> {
        let link = Connection::open_within(&self.login, patience, &self.metrics).await?;
        self.adopt(link).await?;
        Ok(is_right(&self.boot))
    }
}
