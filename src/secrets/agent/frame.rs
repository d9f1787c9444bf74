//! What is asked of an agent: draft-ietf-sshm-ssh-agent, and OpenSSH's own extensions (its PROTOCOL.agent and
//! PROTOCOL). Only what a login needs is read; everything else stays a number.

use super::wire::{Malformed, Reader, put_string};

/// The longest frame, without its length: as OpenSSH's own agent has it.
pub(crate) const FRAME_LIMIT: usize = 256 * 1024;

/// `SSH_AGENT_FAILURE`, the answer to whatever is refused.
pub(crate) const FAILURE: u8 = 5;
/// `SSH_AGENT_SUCCESS`.
pub(super) const SUCCESS: u8 = 6;
/// `SSH_AGENT_IDENTITIES_ANSWER`.
pub(super) const IDENTITIES: u8 = 12;
/// `SSH_AGENT_SIGN_RESPONSE`.
pub(super) const SIGNATURE: u8 = 14;
/// `SSH_AGENT_EXTENSION_FAILURE`.
pub(super) const EXTENSION_FAILURE: u8 = 28;

/// A request to the agent.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Request<'a> {
    /// Which keys it holds.
    List,
    /// To sign `data` with the key.
    Sign { key: &'a [u8], data: &'a [u8] },
    /// What this connection is used for, from here on.
    Bind(Binding<'a>),
    /// Something else, by its number; of an extension also the name.
    Other(u8, Option<&'a str>),
}

/// `session-bind@openssh.com`: the host key and session that the agent is used in.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Binding<'a> {
    pub(super) host_key: &'a [u8],
    pub(super) session: &'a [u8],
    /// By the host key, over the session id.
    pub(super) signature: &'a [u8],
    /// Whether the agent is only handed on there, not used.
    pub(super) is_forwarding: bool,
}

impl<'a> Request<'a> {
    /// Reads a frame, without its length.
    pub(super) fn read(frame: &'a [u8]) -> Result<Self, Malformed> {
        let mut body = Reader::new(frame);
        let request = match body.byte()? {
            11 => Self::List,
            13 => {
                let (key, data) = (body.string()?, body.string()?);
                // The algorithm for RSA: none said, SHA-256, SHA-512.
                if !matches!(body.number()?, 0 | 2 | 4) {
                    return Err(Malformed);
                }
                Self::Sign { key, data }
            }
            27 => match body.text()? {
                "session-bind@openssh.com" => Self::Bind(Binding {
                    host_key: body.string()?,
                    session: body.string()?,
                    signature: body.string()?,
                    is_forwarding: body.boolean()?,
                }),
                other => return Ok(Self::Other(27, Some(other))),
            },
            other => return Ok(Self::Other(other, None)),
        };
        body.end()?;
        Ok(request)
    }
}

/// The data that is signed for a login (RFC 4252, section 7), which says for whom and in which session.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct LoginRequest<'a> {
    pub(super) session: &'a [u8],
    pub(super) user: &'a str,
    /// The key that logs in.
    pub(super) key: &'a [u8],
    /// The host key of the server, where the method says it.
    pub(super) host_key: Option<&'a [u8]>,
}

impl<'a> LoginRequest<'a> {
    pub(super) fn read(data: &'a [u8]) -> Result<Self, Malformed> {
        const USERAUTH_REQUEST: u8 = 50;
        let mut body = Reader::new(data);
        let session = body.string()?;
        // A hash of the key exchange: SHA-1 to SHA-512.
        if !(20..=64).contains(&session.len()) || body.byte()? != USERAUTH_REQUEST {
            return Err(Malformed);
        }
        let user = body.text()?;
        if body.text()? != "ssh-connection" {
            return Err(Malformed);
        }
        let says_host = match body.text()? {
            "publickey" => false,
            "publickey-hostbound-v00@openssh.com" => true,
            _ => return Err(Malformed),
        };
        let is_signed = body.boolean()?;
        let (algorithm, key) = (body.text()?, body.string()?);
        if !is_signed || algorithm.is_empty() {
            return Err(Malformed);
        }
        let host_key = if says_host { Some(body.string()?) } else { None };
        body.end()?;
        Ok(Self { session, user, key, host_key })
    }
}

/// A raw key and its comment.
pub(super) type Listed<'a> = (&'a [u8], &'a [u8]);

/// The agent's list of keys (a frame without its length).
pub(super) fn read_list(answer: &[u8]) -> Result<Vec<Listed<'_>>, Malformed> {
    let mut body = Reader::new(answer);
    if body.byte()? != IDENTITIES {
        return Err(Malformed);
    }
    let count = body.number()?;
    let keys = (0..count).map(|_| Ok((body.string()?, body.string()?)));
    let keys = keys.collect::<Result<Vec<_>, _>>()?;
    body.end()?;
    Ok(keys)
}

/// The same with none but the `allowed` keys, and how many of how many those are.
pub(super) fn filter_list(
    answer: &[u8],
    allowed: &[Vec<u8>],
) -> Result<(Vec<u8>, usize, usize), Malformed> {
    let keys = read_list(answer)?;
    let (mut kept, mut count) = (Vec::new(), 0_u32);
    for (key, comment) in &keys {
        if allowed.iter().any(|allowed| allowed == key) {
            put_string(&mut kept, key);
            put_string(&mut kept, comment);
            count += 1;
        }
    }
    let mut filtered = vec![IDENTITIES];
    filtered.extend(count.to_be_bytes());
    filtered.extend(kept);
    Ok((filtered, count as usize, keys.len()))
}

/// What a request is called in reports.
pub(super) fn name(number: u8) -> &'static str {
    match number {
        11 => "list",
        13 => "sign",
        17 | 25 => "add",
        18 => "remove",
        19 => "remove-all",
        20 | 26 => "add-smartcard",
        21 => "remove-smartcard",
        22 => "lock",
        23 => "unlock",
        27 => "extension",
        _ => "unknown",
    }
}
