//! A program of this machine that ends with landfall, however that ends. Killed, landfall can end nothing any more; and whatever
//! finds the control socket of an `ssh -M` that has outlived it is root on the target.

use std::fs::File;
use std::io::{self, Write as _};
use std::process::Stdio;
use tokio::process::{Child, ChildStdin, Command};

/// A child, and its stdin, whose end ends it.
pub(super) struct BoundChild {
    pub(super) child: Child,
    lifeline: Option<ChildStdin>,
}

impl BoundChild {
    /// Starts a command, which reads nothing. Dropped, it is killed.
    #[allow(clippy::disallowed_methods, reason = "it becomes the command that was asked for")]
    pub(super) fn spawn(command: &Command) -> io::Result<Self> {
        let command = command.as_std();
        let mut shell = Command::new("sh");
        shell.args(["-euc", include_str!("bound-child.sh"), "sh"]);
        shell.arg(command.get_program()).args(command.get_args());
        // It inherits its own surroundings as that command would.
        for (name, value) in command.get_envs() {
            match value {
                Some(value) => shell.env(name, value),
                None => shell.env_remove(name),
            };
        }
        shell.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = shell.kill_on_drop(true).spawn()?;
        // Waiting for a child closes its stdin.
        let lifeline = child.stdin.take();
        Ok(Self { child, lifeline })
    }
}

impl Drop for BoundChild {
    fn drop(&mut self) {
        // The word by which no other process is sent a signal, should the process id have been reused.
        if let Some(lifeline) =
            self.lifeline.take().and_then(|lifeline| lifeline.into_owned_fd().ok())
        {
            // Who does not listen any more has ended.
            let _ = File::from(lifeline).write_all(b"\n");
        }
    }
}
