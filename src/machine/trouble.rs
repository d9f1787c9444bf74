//! Why there is no connection: OpenSSH's own words, read line by line.
//!
//! ssh(1) has no exit codes for it; the texts are in its `ssh.c`, `sshconnect.c` and `misc.c`, and have been stable for many
//! years. They are read from the log that `ssh -E` writes. Whatever else comes out of its stderr is said by others, the
//! target before the login or the `ssh` of a jump host, and decides nothing about the target.

use super::offer;
use super::settings::{KnownAs, Settings};
use std::time::Duration;

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text}")]
pub struct ConnectError {
    /// What kind of trouble it is.
    pub kind: ConnectErrorKind,
    /// What `ssh` said, or what we did.
    pub text: String,
    /// How known_hosts has the target, where it was asked.
    pub(crate) known_as: Option<KnownAs>,
}

impl ConnectError {
    pub(super) fn new(kind: ConnectErrorKind, text: impl Into<String>) -> Self {
        Self { kind, text: text.into(), known_as: None }
    }

    /// Trouble on this machine.
    pub(super) fn other(error: &anyhow::Error) -> Self {
        Self::new(ConnectErrorKind::Other, format!("{error:#}"))
    }

    /// No login came of a whole attempt.
    pub(super) fn slow(patience: Duration) -> Self {
        Self::new(ConnectErrorKind::Slow, format!("no login within {} s", patience.as_secs()))
    }
}

/// Kinds of connection trouble, as far as anybody decides by them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectErrorKind {
    /// The name has no address.
    Unresolved,
    /// Nothing listens on the port.
    Refused,
    /// No answer in time, or no route.
    Unreachable,
    /// Somebody takes the connection, and no login comes of it in time: a machine that is busy, or not up yet.
    Slow,
    /// Somebody answered and hung up: a machine that is going down or coming up.
    Dropped,
    /// The machine answers, and refuses the login.
    Denied,
    /// It accepts the login only if the user answers a question (a password, a passphrase).
    NeedsAnswers,
    /// It accepts the login, and runs no commands.
    NoCommands,
    /// The host key is not in known_hosts.
    UnknownHostKey,
    /// The host key is another one than before.
    HostKeyChanged,
    /// The host key, or the authority that has signed it, is marked as revoked.
    HostKeyRevoked,
    /// `ssh` has another reason not to accept the host key: its address is known by another, a certificate is not valid.
    HostKeyRejected,
    /// The way there ends at a jump host.
    JumpHost,
    /// The way there ends at a jump host, whose host key is not known or another one than before.
    JumpHostKey,
    /// Anything else `ssh` said.
    Other,
}

impl ConnectErrorKind {
    /// Whether the machine that answers is not the one expected, as far as its host key shows.
    pub(crate) fn is_about_host_keys(self) -> bool {
        matches!(
            self,
            Self::UnknownHostKey
                | Self::HostKeyChanged
                | Self::HostKeyRevoked
                | Self::HostKeyRejected
        )
    }

    /// Whether trying again later is of no use.
    pub fn is_final(self) -> bool {
        matches!(
            self,
            Self::Unresolved
                | Self::NeedsAnswers
                | Self::JumpHost
                | Self::JumpHostKey
                | Self::Other
        ) || self.is_about_host_keys()
    }

    /// Whether the server has proven (or failed to prove) who it is, which takes a key exchange.
    pub(crate) fn after_key_exchange(self) -> bool {
        self == Self::Denied || self.is_about_host_keys()
    }
}

/// What `ssh` always says at this log level.
const ALWAYS: [&str; 4] =
    ["Authenticated to ", "Authenticated using ", "Transferred: ", "Bytes per second: "];

/// Signs in the order in which they count: the first one that is found in any line decides, and that line is shown.
const SIGNS: [(&str, ConnectErrorKind); 26] = {
    use ConnectErrorKind::{
        Denied, Dropped, HostKeyChanged, HostKeyRejected, HostKeyRevoked, Refused, Slow,
        UnknownHostKey, Unreachable, Unresolved,
    };
    [
        ("is marked as revoked", HostKeyRevoked),
        ("REVOKED HOST KEY DETECTED", HostKeyRevoked),
        ("revoked by file", HostKeyRevoked),
        ("in revoked keys file", HostKeyRevoked),
        ("REMOTE HOST IDENTIFICATION HAS CHANGED", HostKeyChanged),
        ("host key is known for landfall-target", HostKeyChanged),
        ("POSSIBLE DNS SPOOFING DETECTED", HostKeyRejected),
        ("differs from the key for the IP address", HostKeyRejected),
        ("Certificate invalid", HostKeyRejected),
        ("host key is known for", UnknownHostKey),
        // For a reason that is not in this list: not one to be shown the key for.
        ("Host key verification failed", HostKeyRejected),
        ("Could not resolve hostname", Unresolved),
        ("Permission denied", Denied),
        ("Too many authentication failures", Denied),
        ("No more authentication methods", Denied),
        ("Connection refused", Refused),
        ("timed out during banner exchange", Slow),
        ("timed out", Unreachable),
        ("No route to host", Unreachable),
        ("is unreachable", Unreachable),
        ("Host is down", Unreachable),
        ("kex_exchange_identification", Dropped),
        ("Connection reset", Dropped),
        ("Connection closed", Dropped),
        ("Disconnected from", Dropped),
        ("not responding", Dropped),
    ]
};

/// The server's own words in `ssh`'s log: all that they can mean is that it hangs up, or has had enough of our keys.
const OF_THE_SERVER: &str = "Received disconnect from";

/// Classifies what an `ssh` has written to its log.
fn read_log(log: &str) -> (ConnectErrorKind, String) {
    let lines = || {
        let lines = log.lines().map(|line| line.trim_end().trim_start_matches("ssh: "));
        lines.filter(|line| {
            let is_usual = ALWAYS.iter().any(|start| line.starts_with(start));
            !line.is_empty() && !is_usual && !offer::is_added(line)
        })
    };
    // A warning about one key may be followed by a login with another.
    let refused = lines().any(|line| line.starts_with("Host key verification failed"));
    let signs = SIGNS.iter().filter(|(_, kind)| refused || !kind.is_about_host_keys());
    let found = signs.copied().find_map(|(sign, kind)| {
        let is_said = |line: &&str| {
            line.contains(sign)
                && (!line.starts_with(OF_THE_SERVER) || kind == ConnectErrorKind::Denied)
        };
        lines().find(is_said).map(|line| (kind, line))
    });
    if let Some((kind, line)) = found {
        let line = line.trim_matches(['@', ' ']);
        // The fingerprint of a key that has changed stands on a line of its own.
        let shown = lines().map(str::trim).find(|line| line.starts_with("SHA256:"));
        return match shown {
            Some(key) => (kind, format!("{line} It showed {}", key.trim_end_matches('.'))),
            None => (kind, line.to_owned()),
        };
    }
    let last = lines().next_back();
    if let Some(line) = last.filter(|line| line.starts_with(OF_THE_SERVER)) {
        return (ConnectErrorKind::Dropped, line.to_owned());
    }
    (ConnectErrorKind::Other, last.unwrap_or("ssh ended without a message").to_owned())
}

/// What `ssh` only warns of while it meets a machine: the address is known by another key (ssh_config(5), CheckHostIP).
pub(super) fn doubt(log: &str) -> Option<String> {
    let line = log.lines().find(|line| line.contains("differs from the key for the IP address"))?;
    Some(line.trim().to_owned())
}

/// Says why `ssh` has ended without a login: by its log, and by what others have said on its stderr.
pub(super) fn why(log: &str, stderr: &str, settings: &Settings) -> ConnectError {
    use ConnectErrorKind::{
        Denied, Dropped, JumpHost, JumpHostKey, Other, Refused, Slow, Unreachable,
    };
    let (mut kind, mut text) = read_log(log);
    let said = on_one_line(stderr);
    if let (Some(hop), Dropped | Other, false) = (settings.hop(), kind, said.is_empty()) {
        let (its, line) = read_log(stderr);
        kind = match its {
            its if its.is_about_host_keys() => JumpHostKey,
            Refused | Unreachable | Slow | Dropped => its,
            // A command of the user's own may say anything.
            Other if settings.get("proxyjump").is_none() => kind,
            _ => JumpHost,
        };
        text = format!("{hop}: {}", on_one_line(&line));
    } else if kind == Denied && !said.is_empty() {
        text = format!("{text}; it says: {said}");
    }
    ConnectError { kind, text, known_as: Some(settings.known_as()) }
}

/// The end of a program's words, as a part of a sentence. What a terminal would act upon, the renderers filter (`foreign`).
pub(super) fn on_one_line(text: &str) -> String {
    const LINES: usize = 6;
    let lines = super::last_lines(text, LINES);
    let words: Vec<_> = lines.lines().map(str::trim).collect();
    words.join(" ").chars().take(1000).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ConnectErrorKind::*;

    /// What OpenSSH 9.2 and 10.0 print.
    #[test]
    fn knows_what_openssh_says() {
        for (text, kind) in [
            ("ssh: Could not resolve hostname nas: Name or service not known\r\n", Unresolved),
            ("ssh: connect to host 10.0.0.5 port 22: Connection refused\r\n", Refused),
            ("ssh: connect to host 10.0.0.5 port 22: Connection timed out\r\n", Unreachable),
            ("Connection timed out during banner exchange\r\n", Slow),
            ("ssh: connect to host 10.0.0.5 port 22: No route to host\r\n", Unreachable),
            ("root@10.0.0.5: Permission denied (publickey,password).\r\n", Denied),
            ("kex_exchange_identification: Connection closed by remote host\r\n", Dropped),
            (
                "No ED25519 host key is known for nas and you have requested strict checking.\r\n\
              Host key verification failed.\r\n",
                UnknownHostKey,
            ),
            (
                "@@@@\r\n@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\n…\r\n\
              Host key verification failed.\r\n",
                HostKeyChanged,
            ),
            (
                "No ED25519 host key is known for landfall-target and you have requested strict \
              checking.\r\nHost key verification failed.\r\n",
                HostKeyChanged,
            ),
            (
                "@       WARNING: REVOKED HOST KEY DETECTED!               @\r\n\
              The ED25519 host key for nas is marked as revoked.\r\nHost key verification failed.\r\n",
                HostKeyRevoked,
            ),
            (
                "Host key ED25519 SHA256:PKiBV6 revoked by file /etc/ssh/revoked\r\n\
              Host key verification failed.\r\n",
                HostKeyRevoked,
            ),
            (
                "Warning: the ED25519 host key for 'nas' differs from the key for the IP address '10.0.0.5'\r\n\
              Offending key for IP in /root/.ssh/known_hosts:3\r\n\
              Exiting, you have requested strict checking.\r\nHost key verification failed.\r\n",
                HostKeyRejected,
            ),
            ("Host key verification failed.\r\n", HostKeyRejected),
            (
                "Received disconnect from 10.0.0.5 port 22:2: Too many authentication failures\r\n\
              Disconnected from 10.0.0.5 port 22\r\n",
                Denied,
            ),
            // A server that would like to be met.
            (
                "Received disconnect from 10.0.0.5 port 22:2: No host key is known for nas\r\n",
                Dropped,
            ),
            ("Bad configuration option: foo\r\n", Other),
        ] {
            assert_eq!(read_log(text).0, kind, "{text}");
        }
        assert_eq!(read_log("").1, "ssh ended without a message");
        assert_eq!(
            read_log("Authenticated to nas ([10.0.0.5]:22).\n").1,
            "ssh ended without a message"
        );
    }

    #[test]
    fn the_line_that_decides_is_shown() {
        let changed = "@    WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED!     @\r\nThe fingerprint for the \
                       ED25519 key sent by the remote host is\r\nSHA256:PKiBV6.\r\nHost key for nas has \
                       changed and you have requested strict checking.\r\nHost key verification failed.\r\n";
        assert_eq!(
            read_log(changed).1,
            "WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! It showed SHA256:PKiBV6"
        );
        let refused =
            "ssh: connect to host 10.0.0.5 port 22: Connection refused\r\nsomething later\r\n";
        assert_eq!(read_log(refused).1, "connect to host 10.0.0.5 port 22: Connection refused");
    }

    #[test]
    fn a_jump_host_is_named() {
        let settings = Settings::parse("hostname 10.0.0.5\nport 22\nproxyjump bastion\n");
        let cut = "Connection closed by UNKNOWN port 65535\n";
        let unknown = "No ED25519 host key is known for bastion and you have requested strict checking.\n\
                       Host key verification failed.\n";
        let error = why(cut, unknown, &settings);
        assert_eq!(error.kind, JumpHostKey);
        assert!(error.text.starts_with("the jump host bastion: No ED25519"), "{error}");
        let refused = "ssh: connect to host 10.0.0.9 port 22: Connection refused\n";
        let error = why(cut, refused, &settings);
        assert_eq!((error.kind, error.text.contains("bastion")), (Refused, true));
        // What the target says comes after its own host key; then ssh itself has said what it makes of that.
        let error =
            why("root@10.0.0.5: Permission denied (publickey).\n", "Go\r\n\n away\n", &settings);
        assert_eq!(error.kind, Denied);
        assert_eq!(error.text, "root@10.0.0.5: Permission denied (publickey).; it says: Go away");
    }
}
