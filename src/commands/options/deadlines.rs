//! Options for how long anything may take; flattened into the subcommands that wait.

use crate::machine::Deadlines;
use std::time::Duration;

/// A day is enough for anything.
pub(in crate::commands) fn seconds(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=86_400) => Ok(Duration::from_secs(seconds)),
        _ => Err("expected seconds, from 1 to 86400".to_owned()),
    }
}

/// Deadlines, in seconds.
#[derive(Debug, clap::Args)]
#[allow(clippy::struct_field_names, reason = "they are the names of the options")]
#[command(next_help_heading = "Deadlines")]
pub(in crate::commands) struct DeadlineArguments {
    /// Seconds a boot of the target may take
    #[arg(long, value_name = "SECONDS", default_value = "600", value_parser = seconds)]
    boot_timeout: Duration,

    /// Seconds one attempt to log in may take
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = seconds)]
    login_timeout: Duration,

    /// Seconds to try to restore a lost connection
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    reconnect_timeout: Duration,

    /// Seconds a short command on the target may take
    #[arg(long, value_name = "SECONDS", default_value = "180", value_parser = seconds)]
    command_timeout: Duration,

    /// Seconds disko or nixos-install may take
    #[arg(long, value_name = "SECONDS", default_value = "21600", value_parser = seconds)]
    job_timeout: Duration,

    /// Seconds without any progress after which sending an image or a closure is given up
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = seconds)]
    stall_timeout: Duration,
}

impl DeadlineArguments {
    pub(in crate::commands) fn deadlines(&self) -> Deadlines {
        Deadlines {
            login: self.login_timeout,
            first_login: Duration::ZERO,
            boot: self.boot_timeout,
            reconnect: self.reconnect_timeout,
            command: self.command_timeout,
            job: self.job_timeout,
            stall: self.stall_timeout,
        }
    }
}
