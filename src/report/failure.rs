//! A failure as the user reads it: what failed, why, what to do now, in which state the target is.

use super::{Event, Summary};

/// Stable exit codes (`docs/reference/exit-codes.md`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// A failure not listed below.
    Other = 1,
    /// The command line cannot be understood.
    Usage = 2,
    /// What was found forbids the install.
    Refused = 3,
    /// Consent is missing or was declined.
    Consent = 4,
    /// The target cannot be reached or refuses the login.
    Connect = 5,
    /// The target's host key is not the expected one.
    Identity = 6,
    /// Evaluation or build failed.
    Build = 7,
    /// The target did not reach the installer.
    Kexec = 8,
    /// The disks could not be laid out.
    Disko = 9,
    /// The system could not be put on the disks.
    Install = 10,
    /// The target did not come back as planned.
    NotBack = 11,
    /// Interrupted by a signal.
    Interrupted = 130,
}

/// The end of a run that did not reach its goal.
#[derive(Debug)]
pub struct Failure {
    /// What failed, as a short sentence without a full stop.
    pub what: String,
    /// Why; the chain is printed outermost first.
    pub why: Option<anyhow::Error>,
    /// What to do now.
    pub hint: Option<String>,
    /// In which state the target is; filled in by whoever knows.
    pub state: Option<String>,
    /// The exit code.
    pub exit: Exit,
    /// What had been seen until then, where steps had begun.
    pub seen: Option<Box<Summary>>,
}

impl Failure {
    /// A failure without a cause of its own.
    pub fn new(exit: Exit, what: impl Into<String>) -> Self {
        Self { what: what.into(), why: None, hint: None, state: None, exit, seen: None }
    }

    /// Says why.
    #[must_use]
    pub fn because(mut self, why: impl Into<anyhow::Error>) -> Self {
        self.why = Some(why.into());
        self
    }

    /// Says what to do now.
    #[must_use]
    pub(crate) fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says in which state the target is, unless that was said nearer to the cause.
    #[must_use]
    pub fn leaving(mut self, state: impl Into<String>) -> Self {
        self.state.get_or_insert(state.into());
        self
    }

    /// Keeps what had been seen until then.
    #[must_use]
    pub(crate) fn having_seen(mut self, summary: Summary) -> Self {
        self.seen = Some(Box::new(summary));
        self
    }

    /// The run's last event.
    pub fn event(&self) -> Event {
        Event::Failed {
            what: self.what.clone(),
            why: self.why.iter().flat_map(anyhow::Error::chain).map(ToString::to_string).collect(),
            hint: self.hint.clone(),
            state: self.state.clone(),
            exit: self.exit as u8,
        }
    }
}
