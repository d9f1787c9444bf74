//! How long anything may take. There is no wait without one of these (`docs/reference/waits.md`).

use std::time::Duration;

/// Every deadline that a run knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deadlines {
    /// For one attempt to log in, where the user is asked nothing.
    pub login: Duration,
    /// For the first login to succeed, to a machine that was switched on a moment ago. Nothing means one attempt.
    pub first_login: Duration,
    /// For a boot: until another system accepts the login.
    pub boot: Duration,
    /// For a connection that was lost to come back, to the same boot.
    pub reconnect: Duration,
    /// For a short command on the target.
    pub command: Duration,
    /// For a job on the target: disko, nixos-install.
    pub job: Duration,
    /// For a transfer in which nothing moves.
    pub stall: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            login: Duration::from_secs(30),
            first_login: Duration::ZERO,
            boot: Duration::from_secs(600),
            reconnect: Duration::from_secs(300),
            command: Duration::from_secs(180),
            job: Duration::from_secs(6 * 3600),
            stall: Duration::from_secs(300),
        }
    }
}
