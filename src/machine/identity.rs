//! Who the target is: the first contact with a machine whose host key is not known yet.

use super::login::{Login, ssh};
use super::options::{Use, arguments, known_hosts, log, settings};
use super::public_key::read_known_hosts;
use super::settings::KnownAs;
use super::ssh::{ask_nobody, drain};
use super::stream::{ANSWER, beginning, output};
use super::trouble::{ConnectError, ConnectErrorKind, doubt, why};
use crate::paths::socket_directory;
use anyhow::Context;
use std::process::Stdio;
use std::time::Duration;

/// A key exchange takes no longer, on a slow board behind a slow line; a login that is given more says that all is slower.
const PATIENCE: Duration = Duration::from_secs(60);

/// The host key that a machine shows which is in no known_hosts: the key exchange is made and
/// nothing else, so the machine that answers learns nothing and is sent nothing.
///
/// It is `ssh` itself that asks (jump hosts and the rest of its configuration hold), so it is the key
/// by which the later login will know the machine. One that is revoked is none, nor is that of a machine which is known by
/// a key of another type.
pub(crate) async fn first_contact(login: &Login) -> Result<Vec<String>, ConnectError> {
    let other = |error: anyhow::Error| ConnectError::other(&error);
    let patience = PATIENCE.max(login.deadlines.login);
    let settings = settings(login).await?;
    let known_as = settings.known_as();
    for file in settings.known_hosts() {
        if is_in(file, &known_as).await {
            let kind = ConnectErrorKind::HostKeyChanged;
            let text = format!("{file} has keys of another type for it, and it shows none of them");
            return Err(ConnectError { known_as: Some(known_as), ..ConnectError::new(kind, text) });
        }
    }
    let dir = socket_directory().map_err(other)?;
    let words = arguments(login, &settings, Use::KeyExchange, patience, dir.path());
    let mut command = ssh();
    command.args(words.map_err(|error| other(error.into()))?).arg("true");
    ask_nobody(&mut command);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let child = command.spawn().context("starting ssh (is OpenSSH's client installed?)");
    let mut child = child.map_err(other)?;
    let said = drain(child.stderr.take());
    let patience = settings.patience(patience);
    let ended = tokio::time::timeout(patience, child.wait()).await;
    let ended = ended.map_err(|_| {
        let text = format!("no key exchange within {} s", patience.as_secs());
        ConnectError::new(ConnectErrorKind::Slow, text)
    })?;
    ended.context("running ssh").map_err(other)?;
    let said_by_ssh = beginning(&log(dir.path()));
    let error = why(&said_by_ssh, &said.text().await, &settings);
    let met = beginning(&known_hosts(dir.path()));
    let keys: Vec<_> = read_known_hosts(&met).map(|known| known.public()).collect();
    // Without a key there was no key exchange: what ssh said is the reason.
    if let Some(doubt) = doubt(&said_by_ssh) {
        return Err(ConnectError { kind: ConnectErrorKind::HostKeyRejected, text: doubt, ..error });
    }
    if keys.is_empty() { Err(error) } else { Ok(keys) }
}

/// Whether a file in the format of known_hosts has any key for this name (`ssh-keygen -F` knows patterns and hashes).
#[allow(clippy::disallowed_methods, reason = "OpenSSH's own tool beside ssh")]
async fn is_in(file: &str, known_as: &KnownAs) -> bool {
    let mut find = tokio::process::Command::new("ssh-keygen");
    find.args(["-F", known_as.name(), "-f", file]).stdin(Stdio::null()).kill_on_drop(true);
    // Where it is not there or has no answer, `ssh` itself has said that the key is not known.
    let Ok(Ok(found)) = tokio::time::timeout(PATIENCE, output(&mut find, ANSWER)).await else {
        return false;
    };
    let text = String::from_utf8_lossy(&found.stdout);
    read_known_hosts(&text).any(|known| known.marker.is_none())
}
