//! Which keys the user's agent holds, and which of them is meant.

use super::frame::{FRAME_LIMIT, Listed, read_list};
use crate::machine::raw_fingerprint;
use ssh_agent_client_rs::{Client, Error, Identity};
use ssh_key::PublicKey;
use std::fmt;
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// An agent lists its keys at once; one that asks its user first may take this long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A key that the agent holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AgentKey {
    /// Its algorithm: `ssh-ed25519`.
    pub kind: String,
    /// The raw public key; of a certificate, all of it.
    pub blob: Vec<u8>,
    /// `SHA256:…`; of a certificate, that of the key it certifies, as `ssh-add -l` has it.
    pub fingerprint: String,
    /// Its comment, often a file's name or a mail address.
    pub comment: String,
}

impl fmt::Display for AgentKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} ({})", self.fingerprint, self.comment.escape_debug(), self.kind)
    }
}

/// How the user names a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KeyChoice {
    /// `SHA256:…`.
    Fingerprint(String),
    /// By its comment in the agent.
    Comment(String),
    /// By the public key itself, raw.
    Key(Vec<u8>),
}

impl fmt::Display for KeyChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Fingerprint(text) | Self::Comment(text) => f.write_str(text),
            Self::Key(blob) => f.write_str(&raw_fingerprint(blob)),
        }
    }
}

/// Why no key can be forwarded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AgentError {
    /// There is none.
    #[error("no SSH agent is known: SSH_AUTH_SOCK is not set")]
    NoAgent,
    /// Nothing answers at its socket.
    #[error("the SSH agent at {} cannot be reached: {why}", socket.display())]
    Unreachable {
        /// `$SSH_AUTH_SOCK`.
        socket: PathBuf,
        /// What was seen.
        why: String,
    },
    /// It answers, and the answer is of no use.
    #[error("the SSH agent's keys cannot be read: {0}")]
    Unreadable(String),
    /// It shows no key. A locked one shows none either.
    #[error("the SSH agent holds no key, or is locked (`ssh-add` adds one, `ssh-add -X` unlocks)")]
    Empty,
    /// Not the key that was asked for.
    #[error("the SSH agent does not hold {wanted}; it holds {}", list(held))]
    Missing {
        /// The key, as the user named it.
        wanted: KeyChoice,
        /// What it holds instead.
        held: Vec<AgentKey>,
    },
    /// None was chosen, or a comment says it of several.
    #[error(
        "which key is meant? The SSH agent holds {} (choose with --forward-agent-key)",
        list(held)
    )]
    Ambiguous {
        /// All it could be.
        held: Vec<AgentKey>,
    },
}

fn list(keys: &[AgentKey]) -> String {
    keys.iter().map(AgentKey::to_string).collect::<Vec<_>>().join(", ")
}

/// The socket of the user's agent: `$SSH_AUTH_SOCK`.
pub(crate) fn agent_socket() -> Result<PathBuf, AgentError> {
    let socket = std::env::var_os("SSH_AUTH_SOCK").filter(|socket| !socket.is_empty());
    socket.map(PathBuf::from).ok_or(AgentError::NoAgent)
}

/// The keys that the agent holds, certificates included where they can be read; at least one.
pub async fn held_keys(socket: &Path) -> Result<Vec<AgentKey>, AgentError> {
    let at = socket.to_owned();
    // What follows blocks. Its thread ends by the socket's own timeouts.
    let listing = tokio::task::spawn_blocking(move || {
        let connect = || -> io::Result<UnixStream> {
            let stream = UnixStream::connect(&at)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.set_write_timeout(Some(PATIENCE))?;
            Ok(stream)
        };
        let stream = connect().map_err(|error| AgentError::Unreachable {
            socket: at.clone(),
            why: error.to_string(),
        })?;
        let unreadable = |error: Error| AgentError::Unreadable(chain(error));
        match Client::with_read_write(Box::new(stream)).list_all_identities() {
            Ok(identities) => {
                let keys: Result<Vec<_>, _> = identities.iter().map(agent_key).collect();
                keys.map_err(|error| AgentError::Unreadable(error.to_string()))
            }
            // One key that the crate does not know (a certificate that never ends) must not hide the others.
            Err(error @ (Error::SSHKey(_) | Error::SSHEncoding(_))) => {
                let keys = connect().ok().and_then(|stream| readable_keys(stream).ok());
                keys.ok_or_else(|| unreadable(error))
            }
            Err(error) => Err(unreadable(error)),
        }
    });
    let keys = listing.await.map_err(|error| AgentError::Unreadable(error.to_string()))??;
    if keys.is_empty() { Err(AgentError::Empty) } else { Ok(keys) }
}

/// The error with its causes.
fn chain(error: Error) -> String {
    format!("{:#}", anyhow::Error::from(error))
}

/// Of the agent's list, the plain keys that can be read.
fn readable_keys(mut stream: UnixStream) -> io::Result<Vec<AgentKey>> {
    stream.write_all(&[0, 0, 0, 1, 11])?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let mut answer = Vec::new();
    let length = u64::from(u32::from_be_bytes(length)).min(FRAME_LIMIT as u64);
    stream.take(length).read_to_end(&mut answer)?;
    let keys = read_list(&answer).map_err(|_| io::ErrorKind::InvalidData)?;
    let readable = |(blob, comment): &Listed<'_>| {
        let mut key = PublicKey::from_bytes(blob).ok()?;
        key.set_comment(String::from_utf8_lossy(comment));
        agent_key(&Identity::from(key)).ok()
    };
    Ok(keys.iter().filter_map(readable).collect())
}

fn agent_key(identity: &Identity<'_>) -> Result<AgentKey, ssh_key::Error> {
    let (kind, blob, key, comment) = match identity {
        Identity::PublicKey(key) => {
            (key.algorithm().to_string(), key.to_bytes()?, key.key_data(), key.comment())
        }
        Identity::Certificate(certificate) => (
            certificate.algorithm().to_certificate_type(),
            certificate.to_bytes()?,
            certificate.public_key(),
            certificate.comment(),
        ),
    };
    let fingerprint = key.fingerprint(ssh_key::HashAlg::Sha256).to_string();
    Ok(AgentKey { kind, blob, fingerprint, comment: comment.to_owned() })
}

/// The keys that are meant: each that was named, or else the only one there is. A key and its certificate count as one.
pub fn choose(held: &[AgentKey], wanted: &[KeyChoice]) -> Result<Vec<AgentKey>, AgentError> {
    if wanted.is_empty() {
        return one(held.to_owned());
    }
    let mut chosen: Vec<AgentKey> = Vec::new();
    for choice in wanted {
        let is_meant = |key: &&AgentKey| match choice {
            KeyChoice::Fingerprint(wanted) => key.fingerprint == *wanted,
            KeyChoice::Comment(wanted) => key.comment == *wanted,
            KeyChoice::Key(blob) => key.blob == *blob || key.fingerprint == raw_fingerprint(blob),
        };
        let meant: Vec<_> = held.iter().filter(is_meant).cloned().collect();
        if meant.is_empty() {
            let held = held.to_owned();
            return Err(AgentError::Missing { wanted: choice.clone(), held });
        }
        for key in one(meant)? {
            if !chosen.contains(&key) {
                chosen.push(key);
            }
        }
    }
    Ok(chosen)
}

/// All of them, if they are one key.
fn one(keys: Vec<AgentKey>) -> Result<Vec<AgentKey>, AgentError> {
    match keys.first() {
        None => Err(AgentError::Empty),
        Some(first) if keys.iter().all(|key| key.fingerprint == first.fingerprint) => Ok(keys),
        Some(_) => Err(AgentError::Ambiguous { held: keys }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(number: u8, comment: &str) -> AgentKey {
        let blob = vec![number];
        let fingerprint = raw_fingerprint(&blob);
        AgentKey { kind: "ssh-ed25519".into(), blob, fingerprint, comment: comment.into() }
    }

    #[test]
    fn the_only_key_needs_no_name_and_several_do() {
        let (one, two) = (key(1, "me@home"), key(2, "me@work"));
        assert_eq!(choose(std::slice::from_ref(&one), &[]).unwrap(), std::slice::from_ref(&one));
        let error = choose(&[one.clone(), two.clone()], &[]).unwrap_err();
        assert!(matches!(error, AgentError::Ambiguous { .. }));
        for said in
            [&one.fingerprint, "me@home", &two.fingerprint, "me@work", "--forward-agent-key"]
        {
            assert!(error.to_string().contains(said), "{error}");
        }
    }

    #[test]
    fn a_key_is_found_by_each_of_its_names() {
        let held = [key(1, "me@home"), key(2, "me@work"), key(3, "me@work")];
        for choice in [
            KeyChoice::Fingerprint(held[0].fingerprint.clone()),
            KeyChoice::Comment("me@home".into()),
            KeyChoice::Key(vec![1]),
        ] {
            assert_eq!(choose(&held, std::slice::from_ref(&choice)).unwrap(), held[..1]);
        }
        let both = [KeyChoice::Key(vec![1]), KeyChoice::Key(vec![3]), KeyChoice::Key(vec![1])];
        assert_eq!(choose(&held, &both).unwrap(), [held[0].clone(), held[2].clone()]);
        let work = [KeyChoice::Comment("me@work".into())];
        assert!(matches!(choose(&held, &work), Err(AgentError::Ambiguous { .. })));
    }

    #[test]
    fn a_missing_key_is_answered_with_those_that_are_there() {
        let held = [key(1, "me@home")];
        let wanted = KeyChoice::Key(vec![9]);
        let error = choose(&held, std::slice::from_ref(&wanted)).unwrap_err().to_string();
        assert!(error.contains(&raw_fingerprint(&[9])) && error.contains("me@home"), "{error}");
    }
}
