//! What the user's configuration of ssh says of a destination, as `ssh -G` prints it.

use std::collections::BTreeMap;
use std::time::Duration;

/// What the configuration says of a destination: keywords in lower case, each with its value.
pub(super) struct Settings(BTreeMap<String, String>);

impl Settings {
    pub(super) fn parse(said: &str) -> Self {
        let pairs = said.lines().filter_map(|line| line.split_once(' '));
        Self(pairs.map(|(key, value)| (key.to_lowercase(), value.trim().to_owned())).collect())
    }

    /// Whether this version knows the keyword (or the user has set it; where it has no default, it is not printed).
    pub(super) fn knows(&self, keyword: &str) -> bool {
        self.0.contains_key(&keyword.to_lowercase())
    }

    /// What is set, if anything is.
    pub(super) fn get(&self, keyword: &str) -> Option<&str> {
        let value = self.0.get(keyword).map(String::as_str);
        value.filter(|value| !["none", "0", "false", "no", ""].contains(value))
    }

    /// `ssh`'s own patience with an address, where the user has set one.
    pub(super) fn connect_timeout(&self) -> Option<Duration> {
        Some(Duration::from_secs(self.get("connecttimeout")?.parse().ok()?))
    }

    /// How long a whole attempt may take: no less than the user's own patience, with as much again for the login itself.
    pub(super) fn patience(&self, patience: Duration) -> Duration {
        patience.max(self.connect_timeout().unwrap_or_default().saturating_mul(2))
    }

    /// What is in between, if anything is.
    pub(super) fn hop(&self) -> Option<String> {
        match (self.get("proxyjump"), self.get("proxycommand")) {
            (Some(hop), _) => Some(format!("the jump host {hop}")),
            (None, Some(_)) => Some("ssh's ProxyCommand".to_owned()),
            (None, None) => None,
        }
    }

    /// The name or address that is really connected to; none where something is in between, which alone may reach it.
    pub(super) fn address(&self) -> Option<String> {
        self.get("hostname").filter(|_| self.hop().is_none()).map(str::to_owned)
    }

    /// The files that hold host keys: the user's, then the machine's.
    pub(super) fn known_hosts(&self) -> Vec<&str> {
        let files = ["userknownhostsfile", "globalknownhostsfile"];
        files.into_iter().filter_map(|key| self.get(key)).flat_map(str::split_whitespace).collect()
    }

    /// Under which name they have it.
    pub(super) fn known_as(&self) -> KnownAs {
        let host = self.get("hostkeyalias").or(self.get("hostname")).unwrap_or_default();
        let name = match self.get("port") {
            Some(port) if port != "22" && self.get("hostkeyalias").is_none() => {
                format!("[{host}]:{port}")
            }
            _ => host.to_owned(),
        };
        let files = self.known_hosts();
        let file = files.first().filter(|file| !file.ends_with("/.ssh/known_hosts"));
        KnownAs { name, file: file.map(|&file| file.to_owned()) }
    }
}

/// How known_hosts has a target (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct KnownAs {
    name: String,
    /// Where it is not in `~/.ssh/known_hosts`.
    file: Option<String>,
}

impl KnownAs {
    /// What a person types to forget its host key.
    pub(crate) fn forget_by_hand(&self) -> String {
        let words = ["ssh-keygen", "-R", &self.name].into_iter();
        let file = self.file.iter().flat_map(|file| ["-f", file]);
        // A word that no shell takes has a NUL in it, and is no name.
        shlex::try_join(words.chain(file)).unwrap_or_default()
    }

    /// The line that makes it known by `key`, given as `type base64`.
    pub(crate) fn known_hosts_line(&self, key: &str) -> String {
        format!("{} {key}", self.name)
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alias_is_what_ssh_says_it_is() {
        let address = |said: &str| Settings::parse(said).address();
        assert_eq!(address("user root\nhostname 10.0.0.5\nport 22\n").unwrap(), "10.0.0.5");
        assert_eq!(address("hostname 10.0.0.5\nproxyjump jump\n"), None);
        assert_eq!(address("hostname 10.0.0.5\nproxycommand nc %h %p\n"), None);
    }
}
