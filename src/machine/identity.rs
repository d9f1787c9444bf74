//! Who the target is: host keys, their fingerprints, and the first contact with a machine nobody has met yet.

use super::ssh::{ConnectError, ConnectErrorKind, Login, connect_timeout, ended_with, ssh};
use super::stream::{ANSWER, output};
use crate::paths::socket_directory;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

/// A key exchange takes no longer, on a slow board behind a slow line; a login that is given more says that all is slower.
const PATIENCE: Duration = Duration::from_secs(60);

/// The fingerprint of a host key given as `type base64`, as `ssh-keygen -l` prints it: `SHA256:…`.
///
/// None if the second word is no base64.
pub fn fingerprint(key: &str) -> Option<String> {
    let blob = STANDARD.decode(key.split_whitespace().nth(1)?).ok()?;
    Some(format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(blob))))
}

/// The host key that a machine shows which is in no known_hosts: the key exchange is made and
/// nothing else, so whoever answers learns nothing and is sent nothing.
///
/// It is `ssh` itself that asks (jump hosts and the rest of its configuration hold), so it is the key
/// by which the later login will know the machine.
pub async fn first_contact(login: &Login) -> Result<Vec<String>, ConnectError> {
    let other = |text: String| ConnectError { kind: ConnectErrorKind::Other, text };
    let dir = socket_directory().map_err(|error| other(format!("{error:#}")))?;
    let known = dir.path().join("known_hosts");
    let mut command = ssh();
    let patience = PATIENCE.max(login.deadlines.login);
    for option in [
        "BatchMode=yes",
        "StrictHostKeyChecking=accept-new",
        "HashKnownHosts=no",
        "GlobalKnownHostsFile=/dev/null",
        "PreferredAuthentications=none",
        "PubkeyAuthentication=no",
        "ControlPath=none",
        "ClearAllForwardings=yes",
        "ForwardAgent=no",
        "PermitLocalCommand=no",
        "UpdateHostKeys=no",
        &connect_timeout(patience),
    ] {
        command.args(["-o", option]);
    }
    command.arg("-o").arg(format!("UserKnownHostsFile={}", known.display()));
    for option in &login.options {
        command.arg("-o").arg(option);
    }
    command.arg("-T").args(login.destination.ssh_arguments()).arg("true");
    command.stdin(Stdio::null());
    let ended = tokio::time::timeout(patience, output(&mut command, ANSWER)).await;
    let ended = ended.map_err(|_| ConnectError {
        kind: ConnectErrorKind::Slow,
        text: format!("no key exchange within {} s", patience.as_secs()),
    })?;
    let ended = ended.map_err(|error| other(format!("running ssh: {error}")))?;
    let keys = read_known_hosts(&known);
    if keys.is_empty() {
        // Without a key there was no key exchange: what ssh said is the reason.
        return Err(ended_with(&String::from_utf8_lossy(&ended.stderr)));
    }
    Ok(keys)
}

/// `names type base64 [comment]`, one a line (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT), as `type base64`.
fn read_known_hosts(path: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let key = |line: &str| {
        let mut words = line.split_whitespace().skip(1);
        Some(format!("{} {}", words.next()?, words.next()?))
    };
    text.lines().filter_map(key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_what_ssh_keygen_prints() {
        // GitHub's, as published: SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU.
        let key =
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        let print = "SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU";
        assert_eq!(fingerprint(key).as_deref(), Some(print));
        assert_eq!(fingerprint("ssh-ed25519"), None);
        assert_eq!(fingerprint("ssh-ed25519 *"), None);
    }
}
