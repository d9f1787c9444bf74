//! Options for logging in to the target.

use crate::commands::usage;
use crate::machine::{Deadlines, Destination, HostKeys, Login};
use std::path::PathBuf;

/// How to log in; flattened into the subcommands that do.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Logging in")]
pub(in crate::commands) struct LoginArguments {
    /// Private key to log in with; of your agent's keys only this one, and those that your ssh configuration names, are
    /// offered
    #[arg(short, long = "identity", value_name = "FILE")]
    identities: Vec<PathBuf>,

    /// Option for ssh, as in ssh_config(5)
    #[arg(long = "ssh-option", value_name = "KEY=VALUE")]
    options: Vec<String>,

    /// Host key that the target must have, in place of those in known_hosts: "TYPE BASE64", or a .pub file
    #[arg(long = "host-key", value_name = "KEY|FILE")]
    host_keys: Vec<String>,
}

impl LoginArguments {
    pub(in crate::commands) fn login(
        self,
        destination: Destination,
        may_ask: bool,
        deadlines: Deadlines,
    ) -> Result<Login, clap::Error> {
        let keys = self.host_keys.iter().map(|text| host_key(text));
        let keys = keys.collect::<Result<Vec<_>, _>>()?;
        let host_keys = if keys.is_empty() { HostKeys::Known } else { HostKeys::Pinned(keys) };
        if let Some(bad) = self.options.iter().find(|option| !option.contains('=')) {
            return Err(usage(format!("--ssh-option {bad}: expected KEY=VALUE")));
        }
        let Self { identities, options, .. } = self;
        Ok(Login { destination, identities, options, host_keys, may_ask, deadlines })
    }
}

/// `TYPE BASE64 [COMMENT]`, or the path of a file that holds it.
fn host_key(text: &str) -> Result<String, clap::Error> {
    let line = if text.contains(' ') {
        text.to_owned()
    } else {
        std::fs::read_to_string(text)
            .map_err(|error| usage(format!("--host-key {text}: {error}")))?
    };
    let mut words = line.split_whitespace();
    match (words.next(), words.next()) {
        (Some(kind), Some(key)) if kind.contains('-') && key.starts_with("AAAA") => {
            Ok(format!("{kind} {key}"))
        }
        _ => Err(usage(format!("--host-key {text}: not a public key ('ssh-ed25519 AAAA…')"))),
    }
}

#[cfg(test)]
mod tests {
    use super::host_key;

    #[test]
    fn host_keys_are_read_without_their_comment() {
        assert_eq!(host_key("ssh-ed25519 AAAAC3 root@nas").unwrap(), "ssh-ed25519 AAAAC3");
        assert!(host_key("SHA256 abc").is_err());
        assert!(host_key("/no/such/file.pub").is_err());
    }
}
