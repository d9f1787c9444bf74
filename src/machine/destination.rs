//! Where the target is: `[user@]host[:port]`, `ssh://…`, an IPv6 address, or an alias of
//! `~/.ssh/config`.
//!
//! The parts are handed to `ssh` one by one (`-l`, `-p`, `-- host`), never as one string: a host that
//! begins with `-` would be an option, and `ssh://root@[::1]` does not survive every caller.

use std::fmt;
use std::str::FromStr;

/// A machine to log in to. A missing user or port is `ssh`'s own business (its config may say).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// Login name, if one was given.
    pub user: Option<String>,
    /// Name, alias or address; an IPv6 address without its brackets.
    pub host: String,
    /// TCP port, if one was given.
    pub port: Option<u16>,
}

impl Destination {
    /// The same machine, logging in as root.
    #[must_use]
    pub(crate) fn as_root(&self) -> Self {
        Self { user: Some("root".to_owned()), ..self.clone() }
    }

    /// What a person types to log in there.
    pub(crate) fn by_hand(&self) -> String {
        let port = self.port.map(|port| format!("-p {port} ")).unwrap_or_default();
        let user = self.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
        format!("ssh {port}{user}{}", self.host)
    }

    /// The words after `ssh` that name this destination, the host last and behind `--`.
    pub(crate) fn ssh_arguments(&self) -> Vec<String> {
        let mut words = Vec::new();
        if let Some(user) = &self.user {
            words.extend(["-l".to_owned(), user.clone()]);
        }
        if let Some(port) = self.port {
            words.extend(["-p".to_owned(), port.to_string()]);
        }
        words.extend(["--".to_owned(), self.host.clone()]);
        words
    }
}

impl FromStr for Destination {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let url = text.strip_prefix("ssh://").map(|url| {
            // A zone's `%` is written as `%25` there (RFC 6874).
            url.trim_end_matches('/').replace("%25", "%")
        });
        let rest = url.as_deref().unwrap_or(text);
        let (user, rest) = match rest.rsplit_once('@') {
            Some((user, rest)) => (Some(user), rest),
            None => (None, rest),
        };
        // As `ssh` does, which logs in with no password that is typed beforehand.
        let user = match (url.is_some(), user) {
            (true, Some(user)) => Some(user.split(':').next().unwrap_or(user)),
            (_, user) => user,
        };
        let (host, port) = split_port(rest)?;
        for word in user.iter().chain([&host]) {
            if word.is_empty() || word.starts_with('-') || word.contains(char::is_whitespace) {
                return Err(format!(
                    "'{text}' does not name a machine: expected [user@]host[:port]"
                ));
            }
        }
        Ok(Self { user: user.map(str::to_owned), host: host.to_owned(), port })
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), String> {
    if let Some(inner) = text.strip_prefix('[') {
        let (host, after) =
            inner.split_once(']').ok_or_else(|| format!("'{text}': the bracket is not closed"))?;
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse_port(port)?))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(format!("'{text}': unexpected '{after}' after the address")),
        };
    }
    // More than one colon and no bracket: an IPv6 address, which has no port.
    match text.split_once(':') {
        Some((host, port)) if !port.contains(':') => Ok((host, Some(parse_port(port)?))),
        _ => Ok((text, None)),
    }
}

fn parse_port(text: &str) -> Result<u16, String> {
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("'{text}' is not a port")),
        Ok(port) => Ok(port),
    }
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match (self.host.contains(':'), self.port) {
            (true, Some(port)) => write!(f, "[{}]:{port}", self.host),
            (false, Some(port)) => write!(f, "{}:{port}", self.host),
            (_, None) => f.write_str(&self.host),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (Option<String>, String, Option<u16>) {
        let destination: Destination = text.parse().unwrap();
        (destination.user, destination.host, destination.port)
    }

    #[test]
    fn accepts_what_people_type() {
        let root = || Some("root".to_owned());
        assert_eq!(parsed("nas"), (None, "nas".into(), None));
        assert_eq!(parsed("root@10.0.0.5"), (root(), "10.0.0.5".into(), None));
        assert_eq!(parsed("root@10.0.0.5:2222"), (root(), "10.0.0.5".into(), Some(2222)));
        assert_eq!(parsed("ssh://root@nas:22/"), (root(), "nas".into(), Some(22)));
        assert_eq!(parsed("ssh://root:pw@nas"), (root(), "nas".into(), None));
        assert_eq!(parsed("root:x@nas"), (Some("root:x".into()), "nas".into(), None));
        assert_eq!(parsed("root@2001:db8::1"), (root(), "2001:db8::1".into(), None));
        assert_eq!(
            parsed("ssh://root@[fe80::1%eth0]:22"),
            (root(), "fe80::1%eth0".into(), Some(22))
        );
        assert_eq!(
            parsed("ssh://root@[fe80::1%25eth0]:22"),
            (root(), "fe80::1%eth0".into(), Some(22))
        );
        assert_eq!(parsed("me@corp@jump"), (Some("me@corp".into()), "jump".into(), None));
    }

    #[test]
    fn refuses_what_ssh_would_take_for_an_option() {
        for bad in [
            "",
            "-oProxyCommand=x",
            "root@-x",
            "-l@host",
            "root@",
            "a b",
            "host:0",
            "host:x",
            "[::1",
        ] {
            assert!(bad.parse::<Destination>().is_err(), "{bad}");
        }
    }

    #[test]
    fn the_line_to_type_logs_in_to_the_destination() {
        let parsed = |text: &str| text.parse::<Destination>().unwrap();
        assert_eq!(parsed("nas").by_hand(), "ssh nas");
        assert_eq!(parsed("root@[::1]:2222").by_hand(), "ssh -p 2222 root@::1");
    }

    #[test]
    fn prints_so_that_it_can_be_typed_again() {
        for text in ["nas", "root@10.0.0.5:2222", "root@[2001:db8::1]:22", "root@2001:db8::1"] {
            assert_eq!(text.parse::<Destination>().unwrap().to_string(), text);
        }
    }
}
