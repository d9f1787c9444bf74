//! Waiting for the target to come back. A reboot is a changed boot id, not a failed ping: the old system may
//! answer for a while after it was told to go, and one lost packet means nothing.

use super::{BootId, ConnectError, ConnectErrorKind, Connection, Target};
use anyhow::{Context, Result};
use std::time::{Duration, Instant};

/// How long to wait, and whom to tell.
pub struct Patience<'a> {
    /// After this the wait ends.
    pub deadline: Duration,
    /// Hears how many seconds have passed and what was last seen.
    pub on_wait: &'a mut (dyn FnMut(u64, &str) + Send),
}

/// The target did not come back; what was seen last tells the case.
#[derive(Debug, thiserror::Error)]
pub enum NotBack {
    /// The system that was to go still answers.
    #[error("after {0} s the old system still answers: it never went down")]
    OldSystem(u64),
    /// It answers, and does not let us in.
    #[error("a system answers, but refuses the login: {0}")]
    LoginRefused(String),
    /// It answers with a host key that is not the expected one.
    #[error("a system answers with another host key than expected: {0}")]
    OtherMachine(String),
    /// Nothing that could be logged in to within the deadline.
    #[error("after {seconds} s no system could be logged in to; the last attempt: {last}")]
    Silent {
        /// How long it was waited for.
        seconds: u64,
        /// What the last attempt met.
        last: String,
    },
}

/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(1);
/// A system that comes up may refuse logins before its keys are in place; so many refusals in a row are
/// an answer.
const REFUSALS: u32 = 10;
/// How long a lost connection to a machine that should still be there is tried again.
const RECONNECT: Duration = Duration::from_secs(300);

impl Target {
    /// Waits until the present system is gone and another boot lets us in, and connects to it.
    pub async fn await_new_boot(&mut self, patience: Patience<'_>) -> Result<(), NotBack> {
        let old = self.boot.clone();
        self.come_back(patience, |boot| *boot != old).await
    }

    /// Whether the present system goes down, or the connection to it, within this time.
    pub async fn goes_within(&mut self, time: Duration) -> bool {
        self.is_gone_within(time).await
    }

    /// Connects again to the same boot after the connection was lost.
    pub async fn reconnect(&mut self) -> Result<()> {
        let old = self.boot.clone();
        let patience = Patience { deadline: RECONNECT, on_wait: &mut |_, _| () };
        self.link = None;
        self.come_back(patience, |_| true).await.context("the connection was lost")?;
        if self.boot != old {
            anyhow::bail!("the target rebooted in the middle of the work (boot {})", self.boot);
        }
        Ok(())
    }

    async fn come_back(
        &mut self,
        patience: Patience<'_>,
        is_right: impl Fn(&BootId) -> bool,
    ) -> Result<(), NotBack> {
        let start = Instant::now();
        let mut refusals = 0;
        let mut last = "it has not gone down yet".to_owned();
        // As long as the old connection lives the old system does, and nothing needs to be asked.
        let mut gone = self.link.is_none();
        while start.elapsed() < patience.deadline {
            (patience.on_wait)(start.elapsed().as_secs(), &last);
            if !gone {
                gone = self.is_gone_within(PAUSE).await;
                continue;
            }
            match self.try_again(&is_right).await {
                Ok(true) => return Ok(()),
                Ok(false) => {
                    "the old system still answers".clone_into(&mut last);
                    gone = false;
                    refusals = 0;
                }
                Err(error) => {
                    refusals =
                        if error.kind == ConnectErrorKind::Denied { refusals + 1 } else { 0 };
                    match error.kind {
                        ConnectErrorKind::HostKeyChanged | ConnectErrorKind::UnknownHostKey => {
                            return Err(NotBack::OtherMachine(error.text));
                        }
                        ConnectErrorKind::Denied if refusals >= REFUSALS => {
                            return Err(NotBack::LoginRefused(error.text));
                        }
                        _ => last = error.text,
                    }
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
        let seconds = start.elapsed().as_secs();
        if gone { Err(NotBack::Silent { seconds, last }) } else { Err(NotBack::OldSystem(seconds)) }
    }

    async fn is_gone_within(&mut self, time: Duration) -> bool {
        let Some(link) = &self.link else { return true };
        let gone = tokio::time::timeout(time, link.lost()).await.is_ok();
        if gone {
            self.link = None;
        }
        gone
    }

    /// Connects; true when the boot behind the connection is the right one.
    async fn try_again(
        &mut self,
        is_right: &impl Fn(&BootId) -> bool,
    ) -> Result<bool, ConnectError> {
        let link = Connection::open(&self.login, &self.tally).await?;
        self.adopt(link).await?;
        Ok(is_right(&self.boot))
    }
}
