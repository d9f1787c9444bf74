//! What the forwarded agent may be used for: one pure decision for each request. It shows the allowed keys, and signs
//! logins of allowed users on hosts whose keys are pinned. Whatever is anything else, or cannot be read to its
//! end, is refused.
//!
//! Where a login goes is said in one of two ways, both in the signed bytes: by the method
//! `publickey-hostbound-v00@openssh.com`, which carries the host key, or by the session id, which a
//! `session-bind@openssh.com` has connected with a host key before. That the host key stands behind that session is
//! verified here and not left to the agent, since not every agent knows the extension. Both
//! need OpenSSH 8.9 where the login begins.

use super::frame::{Binding, LoginRequest, Request, name};
use super::wire::Reader;
use crate::machine::raw_fingerprint;
use crate::report::AgentRequest;
use signature::Verifier as _;
use ssh_key::{PublicKey, Signature};

/// What is allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// The keys that are shown and may sign: raw public keys (RFC 4253, section 6.6).
    pub keys: Vec<Vec<u8>>,
    /// Where they may log in.
    pub destinations: Vec<Destination>,
    /// Signatures in all, those that the agent itself denied included.
    pub budget: u32,
}

/// A host, by its keys, and a user on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Destination {
    /// The login name.
    pub user: String,
    /// What it is called in messages: `github.com`, `[git.example.org]:2222`.
    pub host: String,
    /// Its pinned host keys, raw.
    pub host_keys: Vec<Vec<u8>>,
}

/// What is known of one connection to the agent from the requests so far.
#[derive(Debug, Default)]
pub struct Connection {
    /// Sessions whose host is proven, with its key.
    sessions: Vec<(Vec<u8>, Vec<u8>)>,
    bindings: usize,
}

/// More sessions than OpenSSH's agent keeps on one connection.
const BINDING_LIMIT: usize = 16;

/// What is to be done with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The agent is asked; of its list, only the allowed keys are handed on.
    List,
    /// The agent is asked for a signature, and its answer handed on as it is.
    Sign,
    /// The agent is informed as well.
    Bind,
    /// The answer is no; the request's `why` says the reason.
    Refuse,
}

/// Decides on one frame (without its length), and says what it asks for. `spent` is how many signatures have been asked
/// of the agent so far, over all connections.
pub fn judge(
    policy: &Policy,
    connection: &mut Connection,
    spent: u32,
    frame: &[u8],
) -> (Verdict, AgentRequest) {
    let mut record = AgentRequest { asked: "unreadable", ..AgentRequest::default() };
    if let Some(number) = frame.first() {
        record.asked = name(*number);
    }
    let judged = match Request::read(frame) {
        Ok(Request::List) => Ok(Verdict::List),
        Ok(Request::Sign { key, data }) => {
            record.key = Some(raw_fingerprint(key));
            judge_signature(policy, connection, spent, (key, data), &mut record)
        }
        Ok(Request::Bind(binding)) => {
            record.asked = "bind";
            record.host_key = Some(raw_fingerprint(binding.host_key));
            record.git_host = policy.host_of(binding.host_key);
            connection.bind(policy, &binding)
        }
        Ok(Request::Other(_, Some(extension))) => {
            Err(format!("extension {}", printable(extension)))
        }
        Ok(Request::Other(number, None)) => Err(format!("request {number} is never passed on")),
        Err(_) => Err("it is malformed".to_owned()),
    };
    let verdict = judged.unwrap_or_else(|why| {
        record.answer = "refused";
        record.why = Some(why);
        Verdict::Refuse
    });
    (verdict, record)
}

/// The rules for a signature, from who may sign to how often.
fn judge_signature(
    policy: &Policy,
    connection: &Connection,
    spent: u32,
    (key, data): (&[u8], &[u8]),
    record: &mut AgentRequest,
) -> Result<Verdict, String> {
    if !policy.keys.iter().any(|allowed| allowed == key) {
        return Err("the key is not one of those allowed".to_owned());
    }
    let login = LoginRequest::read(data).map_err(|_| "it is not an SSH login")?;
    record.user = Some(printable(login.user));
    if login.key != key {
        return Err("the login is for another key".to_owned());
    }
    let bound = connection.sessions.iter().find(|(session, _)| session == login.session);
    let bound = bound.map(|(_, host_key)| host_key.as_slice());
    let host_key = match (login.host_key, bound) {
        (Some(said), Some(bound)) if said != bound => {
            return Err("the login names another host key than its session has".to_owned());
        }
        (said, bound) => said.or(bound),
    };
    let Some(host_key) = host_key else {
        return Err("the host it logs in to is not named, or is not pinned (naming it requires OpenSSH 8.9 or later on the \
            target)"
            .to_owned());
    };
    record.host_key = Some(raw_fingerprint(host_key));
    record.git_host = policy.host_of(host_key);
    if record.git_host.is_none() {
        return Err("the host key is not pinned".to_owned());
    }
    if !policy.allows(login.user, host_key) {
        return Err("the user is not the allowed one there".to_owned());
    }
    if spent >= policy.budget {
        return Err(format!("all of the {} signatures are used up", policy.budget));
    }
    Ok(Verdict::Sign)
}

impl Policy {
    fn host_of(&self, host_key: &[u8]) -> Option<String> {
        let host = self.destinations.iter().find(|destination| destination.has(host_key));
        host.map(|destination| destination.host.clone())
    }

    fn allows(&self, user: &str, host_key: &[u8]) -> bool {
        let mut here = self.destinations.iter().filter(|destination| destination.has(host_key));
        here.any(|destination| destination.user == user)
    }
}

impl Destination {
    fn has(&self, host_key: &[u8]) -> bool {
        self.host_keys.iter().any(|pinned| pinned == host_key)
    }
}

impl Connection {
    /// Notes which host a session is with. The agent is informed in any case: its own constraints rest on it.
    fn bind(&mut self, policy: &Policy, binding: &Binding<'_>) -> Result<Verdict, String> {
        self.bindings += 1;
        if self.bindings > BINDING_LIMIT {
            return Err(format!("more than {BINDING_LIMIT} sessions on one connection"));
        }
        // Signatures of strangers are not even looked at.
        let is_destination = !binding.is_forwarding && policy.host_of(binding.host_key).is_some();
        if is_destination {
            if !is_signed(binding) {
                return Err("the host key has not signed the session".to_owned());
            }
            self.sessions.push((binding.session.to_owned(), binding.host_key.to_owned()));
        }
        Ok(Verdict::Bind)
    }
}

/// Whether the host key stands behind the session id, with an algorithm that ssh-key knows (SHA-1 is none).
fn is_signed(binding: &Binding<'_>) -> bool {
    let mut signature = Reader::new(binding.signature);
    // Algorithm, signature, and nothing else: a host key of a security key would have more, and none is known.
    let whole = signature.text().and_then(|_| signature.string()).and_then(|_| signature.end());
    if whole.is_err() {
        return false;
    }
    let (Ok(key), Ok(signature)) =
        (PublicKey::from_bytes(binding.host_key), Signature::try_from(binding.signature))
    else {
        return false;
    };
    key.key_data().verify(binding.session, &signature).is_ok()
}

/// What the other side chose, fit for a terminal and a log.
fn printable(text: &str) -> String {
    const LENGTH: usize = 64;
    let mut shown: String = text.chars().take(LENGTH).flat_map(char::escape_debug).collect();
    if text.chars().nth(LENGTH).is_some() {
        shown.push('…');
    }
    shown
}
