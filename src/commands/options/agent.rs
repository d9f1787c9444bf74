//! Options for the agent that the target is given to fetch private inputs with; flattened into the subcommands that
//! may forward one.

use crate::commands::usage;
use crate::report::is_interactive;
use crate::secrets::agent::{AgentWishes, GitHosts, HostPin, KeyChoice, read_known_hosts};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// What of the user's SSH agent may be used, and where.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Private inputs")]
pub(in crate::commands) struct AgentArguments {
    /// Key of your SSH agent that the target may use to fetch private inputs, by its fingerprint (SHA256:…), comment or .pub
    /// file; needed if the agent holds several
    #[arg(long = "forward-agent-key", value_name = "KEY|FILE")]
    keys: Vec<String>,

    /// Host key of a git server: "HOST[:PORT] TYPE BASE64", or a known_hosts file
    ///
    /// Those of github.com, gitlab.com and codeberg.org are built in.
    #[arg(long = "git-host-key", value_name = "KEY|FILE")]
    git_host_keys: Vec<String>,

    /// Ask you each time before your agent signs a login for the target
    #[arg(long)]
    confirm_signatures: bool,
}

impl AgentArguments {
    /// Reads the files that are named.
    pub(in crate::commands) fn wishes(&self) -> Result<AgentWishes, clap::Error> {
        if self.confirm_signatures && !is_interactive() {
            return Err(usage("--confirm-signatures: there is no terminal to ask on"));
        }
        let keys = self.keys.iter().map(|text| key_choice(text)).collect::<Result<_, _>>()?;
        let mut pins = Vec::new();
        for text in &self.git_host_keys {
            pins.extend(host_pins(text)?);
        }
        Ok(AgentWishes { keys, git_hosts: GitHosts { pins }, confirm: self.confirm_signatures })
    }
}

fn key_choice(text: &str) -> Result<KeyChoice, clap::Error> {
    let has_ending = std::path::Path::new(text).extension().is_some_and(|ending| ending == "pub");
    if !has_ending {
        let is_fingerprint = text.starts_with("SHA256:");
        let choice = if is_fingerprint { KeyChoice::Fingerprint } else { KeyChoice::Comment };
        return Ok(choice(text.to_owned()));
    }
    let bad = |why: String| usage(format!("--forward-agent-key {text}: {why}"));
    let line = std::fs::read_to_string(text).map_err(|error| bad(error.to_string()))?;
    let key = line.split_whitespace().nth(1).and_then(|key| STANDARD.decode(key).ok());
    let key = key.filter(|key| ssh_key::PublicKey::from_bytes(key).is_ok());
    key.map(KeyChoice::Key).ok_or_else(|| bad("not a public key".to_owned()))
}

/// One pin, or a file of them.
fn host_pins(text: &str) -> Result<Vec<HostPin>, clap::Error> {
    let bad = |why: String| usage(format!("--git-host-key {text}: {why}"));
    if text.contains(char::is_whitespace) {
        return text.parse().map(|pin| vec![pin]).map_err(bad);
    }
    let file = std::fs::read_to_string(text).map_err(|error| bad(error.to_string()))?;
    let pins = read_known_hosts(&file);
    if pins.is_empty() {
        return Err(bad(
            "no host is named in it (of hashed names, `ssh-keygen -F HOST -f FILE` finds the key)"
                .to_owned(),
        ));
    }
    Ok(pins)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        agent: AgentArguments,
    }

    fn wishes(words: &[&str]) -> Result<AgentWishes, clap::Error> {
        Line::try_parse_from([&["landfall"], words].concat())?.agent.wishes()
    }

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn keys_are_named_in_three_ways() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("id.pub");
        std::fs::write(&file, format!("ssh-ed25519 {KEY} me@home\n")).unwrap();
        let file = file.to_str().unwrap();
        let option = "--forward-agent-key";
        let wishes = wishes(&[option, "SHA256:abc", option, "me@home", option, file]).unwrap();
        let blob = STANDARD.decode(KEY).unwrap();
        assert_eq!(
            wishes.keys,
            [
                KeyChoice::Fingerprint("SHA256:abc".into()),
                KeyChoice::Comment("me@home".into()),
                KeyChoice::Key(blob)
            ]
        );
        assert_eq!(self::wishes(&[option, "/no/such.pub"]).unwrap_err().exit_code(), 2);
    }

    #[test]
    fn git_hosts_are_pinned_in_two_ways() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("known_hosts");
        std::fs::write(&file, format!("a.org,b.org ssh-ed25519 {KEY}\n")).unwrap();
        let option = "--git-host-key";
        let line = format!("git.org:2222 ssh-ed25519 {KEY}");
        let wishes = wishes(&[option, &line, option, file.to_str().unwrap()]).unwrap();
        let names: Vec<_> = wishes.git_hosts.pins.iter().map(|pin| pin.at.to_string()).collect();
        assert_eq!(names, ["[git.org]:2222", "a.org", "b.org"]);
        std::fs::write(&file, format!("|1|a|b ssh-ed25519 {KEY}\n")).unwrap();
        for bad in [file.to_str().unwrap(), "/no/such/file", "git.org ssh-rsa AAAA"] {
            assert_eq!(self::wishes(&[option, bad]).unwrap_err().exit_code(), 2, "{bad}");
        }
    }
}
