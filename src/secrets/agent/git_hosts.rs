//! Git servers, and the host keys they are known by. The keys of three public ones are built in, as they publish them; those
//! of others are the user's to give. None is ever asked of the network: any machine that answers there would be believed.

use super::policy::Destination;
use crate::machine;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// A host and port, as known_hosts has them: `github.com`, `[git.example.org]:2222`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct HostPort {
    /// In lower case, an IPv6 address without its brackets.
    pub(crate) host: String,
    /// TCP port.
    pub(crate) port: u16,
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            22 => f.write_str(&self.host),
            port => write!(f, "[{}]:{port}", self.host),
        }
    }
}

impl HostPort {
    /// `host`, `host:port`, `[host]:port` or an IPv6 address.
    fn read(text: &str) -> Option<Self> {
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => match rest.split_once(']')? {
                (host, "") => (host, None),
                (host, port) => (host, Some(port.strip_prefix(':')?)),
            },
            None if text.matches(':').count() == 1 => {
                text.split_once(':').map(|(host, port)| (host, Some(port)))?
            }
            None => (text, None),
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_:".contains(c);
        // A port in a form of its own (`+22`) would not be the text that ssh compares.
        let is_number = |port: &str| port.chars().all(|c| c.is_ascii_digit());
        if host.is_empty() || host.starts_with('-') || !host.chars().all(is_plain) {
            return None;
        }
        let port = match port {
            None => 22,
            Some(port) if is_number(port) => port.parse().ok().filter(|port| *port != 0)?,
            Some(_) => return None,
        };
        Some(Self { host: host.to_ascii_lowercase(), port })
    }
}

/// Where a git repository is fetched from over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GitUrl {
    /// The login name, `git` with most.
    pub(crate) user: String,
    /// The server.
    pub(crate) at: HostPort,
}

impl FromStr for GitUrl {
    type Err = String;

    /// `ssh://git@host[:port]/path`, `git+ssh://…` as a flake has it, or `git@host:path`.
    fn from_str(text: &str) -> Result<Self, String> {
        let bad = || {
            format!("'{text}' is not an address of a git repository over SSH (ssh://git@host/path)")
        };
        let rest = text.strip_prefix("git+").unwrap_or(text);
        let place = match rest.strip_prefix("ssh://") {
            Some(rest) => rest.split_once('/').map_or(rest, |(place, _)| place),
            None if rest.contains("://") => return Err(bad()),
            // An IPv6 address stands in brackets here too.
            None => rest.find("]:").or_else(|| rest.find(':')).map_or(rest, |colon| {
                let colon = if rest[colon..].starts_with(']') { colon + 1 } else { colon };
                &rest[..colon]
            }),
        };
        let Some((user, place)) = place.rsplit_once('@') else {
            return Err(format!("'{text}' does not name a user (ssh://git@host/path)"));
        };
        let is_plain = |c: char| c.is_ascii_alphanumeric() || ".-_".contains(c);
        if user.is_empty() || user.starts_with('-') || !user.chars().all(is_plain) {
            return Err(bad());
        }
        let at = HostPort::read(place).ok_or_else(bad)?;
        Ok(Self { user: user.to_owned(), at })
    }
}

/// A host key that is right for a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostPin {
    /// Whose it is.
    pub(crate) at: HostPort,
    /// Its algorithm.
    kind: String,
    /// The raw public key.
    blob: Vec<u8>,
}

impl HostPin {
    /// `TYPE BASE64`, of which the type must be the one inside.
    fn read(at: HostPort, kind: &str, key: &str) -> Option<Self> {
        let blob = STANDARD.decode(key).ok()?;
        let parsed = ssh_key::PublicKey::from_bytes(&blob).ok()?;
        (parsed.algorithm().as_str() == kind).then(|| Self { at, kind: kind.to_owned(), blob })
    }

    /// The line of known_hosts, with its end.
    fn line(&self) -> String {
        format!("{} {} {}\n", self.at, self.kind, STANDARD.encode(&self.blob))
    }
}

impl FromStr for HostPin {
    type Err = String;

    /// `HOST[:PORT] TYPE BASE64`.
    fn from_str(text: &str) -> Result<Self, String> {
        let mut words = text.split_whitespace();
        let pin = match (words.next().and_then(HostPort::read), words.next(), words.next()) {
            (Some(at), Some(kind), Some(key)) => Self::read(at, kind, key),
            _ => None,
        };
        pin.ok_or_else(|| "expected 'HOST[:PORT] TYPE BASE64', as in known_hosts".to_owned())
    }
}

/// The pins in a known_hosts file (sshd(8)), for each host of a line. Hashed names, patterns and lines with a marker
/// say nothing of which host they are for, and are passed over.
pub(crate) fn read_known_hosts(text: &str) -> Vec<HostPin> {
    let unmarked = machine::read_known_hosts(text).filter(|known| known.marker.is_none());
    let pins = unmarked.flat_map(|known| {
        let hosts = known.names.split(',').filter_map(HostPort::read);
        hosts.filter_map(move |at| HostPin::read(at, known.kind, known.key))
    });
    pins.collect()
}

/// Every pin there is: what the user says of a host and port is all that is right for it, else the built-in keys are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitHosts {
    /// The user's.
    pub pins: Vec<HostPin>,
}

/// No key is known for a host, so no login to it is allowed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no host key of {0} is known (give it with --git-host-key '{0} TYPE BASE64')")]
pub struct Unpinned(pub(crate) HostPort);

impl GitHosts {
    fn keys(&self, at: &HostPort) -> Result<Vec<HostPin>, Unpinned> {
        let mut keys: Vec<_> = self.pins.iter().filter(|pin| pin.at == *at).cloned().collect();
        if keys.is_empty() {
            keys = built_in().into_iter().filter(|pin| pin.at == *at).collect();
        }
        if keys.is_empty() { Err(Unpinned(at.clone())) } else { Ok(keys) }
    }

    /// The file by which `ssh` knows these servers, and no others.
    pub fn known_hosts(&self, urls: &[GitUrl]) -> Result<String, Unpinned> {
        let mut text = String::new();
        let mut hosts: Vec<_> = urls.iter().map(|url| &url.at).collect();
        hosts.sort();
        hosts.dedup();
        for at in hosts {
            for pin in self.keys(at)? {
                let _ = write!(text, "{}", pin.line());
            }
        }
        Ok(text)
    }

    /// Where a key may log in, so that these can be fetched.
    pub fn destinations(&self, urls: &[GitUrl]) -> Result<Vec<Destination>, Unpinned> {
        let mut destinations: Vec<Destination> = Vec::new();
        for GitUrl { user, at } in urls {
            let host_keys = self.keys(at)?.into_iter().map(|pin| pin.blob).collect();
            let destination = Destination { user: user.clone(), host: at.to_string(), host_keys };
            if !destinations.contains(&destination) {
                destinations.push(destination);
            }
        }
        Ok(destinations)
    }
}

/// The public servers' own.
fn built_in() -> Vec<HostPin> {
    read_known_hosts(include_str!("known_hosts"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::raw_fingerprint;

    /// As their owners publish them, on the pages that the file names.
    #[test]
    fn built_in_keys_have_the_published_fingerprints() {
        let published = [
            ("github.com", "ssh-ed25519", "+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU"),
            ("github.com", "ecdsa-sha2-nistp256", "p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM"),
            ("github.com", "ssh-rsa", "uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s"),
            ("gitlab.com", "ssh-ed25519", "eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8"),
            ("gitlab.com", "ecdsa-sha2-nistp256", "HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw"),
            ("gitlab.com", "ssh-rsa", "ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ"),
            ("codeberg.org", "ssh-ed25519", "mIlxA9k46MmM6qdJOdMnAQpzGxF4WIVVL+fj+wZbw0g"),
            ("codeberg.org", "ecdsa-sha2-nistp256", "T9FYDEHELhVkulEKKwge5aVhVTbqCW0MIRwAfpARs/E"),
            ("codeberg.org", "ssh-rsa", "6QQmYi4ppFS4/+zSZ5S4IU+4sa6rwvQ4PbhCtPEBekQ"),
        ];
        let ours: Vec<_> = built_in()
            .iter()
            .map(|pin| (pin.at.to_string(), pin.kind.clone(), raw_fingerprint(&pin.blob)))
            .collect();
        let published = published.map(|(host, kind, print)| {
            (host.to_owned(), kind.to_owned(), format!("SHA256:{print}"))
        });
        assert_eq!(ours, published);
    }

    fn url(text: &str) -> GitUrl {
        text.parse().unwrap()
    }

    #[test]
    fn addresses_are_read_as_git_and_nix_write_them() {
        for (text, user, at) in [
            ("ssh://git@github.com/me/secrets", "git", "github.com"),
            ("git+ssh://git@GitHub.com/me/secrets?ref=main&rev=0", "git", "github.com"),
            ("ssh://me@git.example.org:2222/srv/a:b@c.git", "me", "[git.example.org]:2222"),
            ("ssh://git@[2001:db8::1]:22/x", "git", "2001:db8::1"),
            ("git@github.com:me/secrets.git", "git", "github.com"),
            ("git@[::1]:me/secrets.git", "git", "::1"),
        ] {
            let url = url(text);
            assert_eq!((url.user.as_str(), url.at.to_string().as_str()), (user, at), "{text}");
        }
        for text in [
            "https://github.com/me/secrets",
            "ssh://github.com/me/secrets",
            "git+file:///srv/x",
            "ssh://git@/x",
            "ssh://git@-oProxyCommand=x/y",
            "ssh://-oX@host/y",
            "ssh://git@host:0/y",
            "ssh://git@host:+22/y",
            "ssh://git@host:99999/y",
            "ssh://a%40b@host/y",
            "/srv/repository",
            "",
        ] {
            assert!(text.parse::<GitUrl>().is_err(), "{text}");
        }
    }

    const KEY: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";

    #[test]
    fn a_user_s_pin_takes_the_place_of_the_built_in_ones_for_that_port() {
        let mine = format!("gitlab.com ssh-ed25519 {KEY} a comment");
        let hosts = GitHosts { pins: vec![mine.parse().unwrap()] };
        let [known] = &hosts.destinations(&[url("git@gitlab.com:x")]).unwrap()[..] else {
            panic!("one destination")
        };
        assert_eq!((known.user.as_str(), known.host.as_str()), ("git", "gitlab.com"));
        assert_eq!(known.host_keys, [STANDARD.decode(KEY).unwrap()]);
        let text = hosts.known_hosts(&[url("git@gitlab.com:x"), url("git@gitlab.com:y")]).unwrap();
        assert_eq!(text, format!("gitlab.com ssh-ed25519 {KEY}\n"));
        // GitHub's own are untouched; of another port nothing is known.
        assert_eq!(hosts.known_hosts(&[url("git@github.com:x")]).unwrap().lines().count(), 3);
        let error = hosts.destinations(&[url("ssh://git@github.com:2222/x")]).unwrap_err();
        assert!(error.to_string().contains("[github.com]:2222"), "{error}");
    }

    #[test]
    fn known_hosts_files_give_the_names_they_say() {
        let text = format!(
            "# a comment\n\n\
             |1|abc|def ssh-ed25519 {KEY}\n\
             @revoked bad.org ssh-ed25519 {KEY}\n\
             *.example.org,!x.org ssh-ed25519 {KEY}\n\
             a.org,[b.org]:2222,192.0.2.1 ssh-ed25519 {KEY} comment\n\
             wrong.org ssh-rsa {KEY}\n\
             short.org ssh-ed25519\n"
        );
        let names: Vec<_> = read_known_hosts(&text).iter().map(|pin| pin.at.to_string()).collect();
        assert_eq!(names, ["a.org", "[b.org]:2222", "192.0.2.1"]);
    }
}
