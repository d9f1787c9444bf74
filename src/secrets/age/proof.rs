//! The proof that a new machine will open its secrets: each secret × each identity the machine will have when it first
//! decrypts, which is at its first activation, before sshd has started once.

use super::{Answer, Identity, Key, KeyError, Recipient};
use crate::facts::{DeclaredHostKey, DeclaredSecret, HostFacts};
use crate::machine::fingerprint;
use crate::report::{Document, to_json};
use crate::secrets::{Secret, Supplied, host_key};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The keys that the new machine will have, as far as landfall decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Coming<'a> {
    /// Its SSH host keys.
    pub(crate) host_keys: HostKeys<'a>,
    /// Files that are placed before the first activation, by their paths on the new machine.
    pub(crate) placed: &'a BTreeMap<String, Secret>,
}

/// Where the SSH host keys come from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum HostKeys<'a> {
    /// A new one is made on the machine.
    Created,
    /// Those the target has now, by their paths, each `type base64`; none if no target was looked at.
    Kept(Option<&'a BTreeMap<String, String>>),
    /// This one is supplied.
    Supplied(&'a Supplied),
}

/// Which secrets the machine will open, and with what.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Proof {
    /// The identities that its configuration names, in their order.
    pub(crate) identities: Vec<HostIdentity>,
    /// The age secrets that the host declares, one by one.
    pub(crate) secrets: Vec<EncryptedSecret>,
}

/// One of `age.identityPaths`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct HostIdentity {
    /// Where it is.
    pub(crate) path: String,
    /// Where it comes from, in words.
    pub(crate) origin: &'static str,
    /// Its fingerprint, where it is an SSH key that is known.
    pub(crate) fingerprint: Option<String>,
    /// Why it will be of no use, if so.
    pub(crate) trouble: Option<Trouble>,
}

/// Why an identity will be of no use.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", content = "detail", rename_all = "kebab-case")]
pub(crate) enum Trouble {
    /// Nothing puts it there.
    NotProvided,
    /// It lies on this file system, which is mounted only later.
    NotMounted(String),
    /// It has a passphrase, which cannot be typed then.
    Passphrase,
    /// It is no key, or not of a kind that age knows.
    Unusable(String),
}

/// One secret and what each identity, in their order, can do with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct EncryptedSecret {
    /// Its name.
    pub(crate) name: String,
    /// Its age file.
    pub(crate) file: String,
    /// Whom it is encrypted to, in words.
    pub(crate) recipients: Vec<String>,
    /// What is to be said of it as a whole.
    pub(crate) verdict: Verdict,
    /// What is wrong with the file; empty if nothing is.
    pub(crate) trouble: String,
    /// An answer for each identity; none for a file that cannot be read.
    pub(crate) answers: Vec<Answer>,
}

/// Whether a secret will be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// It will.
    Opened,
    /// It will not.
    NotOpened,
    /// That cannot be known.
    Unknown,
    /// There is no such file.
    Missing,
    /// The file is no age file, or broken.
    Broken,
}

impl Proof {
    /// Asks every identity for every secret. Pure: the files were read with the facts.
    pub(crate) fn of(host: &HostFacts, coming: Coming<'_>) -> Self {
        let secrets: Vec<_> =
            host.secrets.iter().flatten().filter(|secret| secret.file.is_some()).collect();
        if secrets.is_empty() {
            return Self::default();
        }
        let paths = host.identity_paths.iter().flatten();
        let identities: Vec<_> = paths.map(|path| provided(host, coming, path)).collect();
        let secrets = secrets
            .into_iter()
            .map(|secret| ask(host, secret, identities.iter().map(|(_, identity)| identity)));
        let secrets = secrets.collect();
        Self { identities: identities.into_iter().map(|(said, _)| said).collect(), secrets }
    }

    /// Whether there is anything to prove.
    pub fn declares_secrets(&self) -> bool {
        !self.secrets.is_empty()
    }
}

impl Document for Proof {
    fn text(&self) -> String {
        let mut text = "which secrets the machine will open, and with what:\n".to_owned();
        for (index, identity) in self.identities.iter().enumerate() {
            let key = identity.fingerprint.as_deref().unwrap_or_default();
            let line = format!("  {}: {} ({}) {key}", index + 1, identity.path, identity.origin);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        let width = self.secrets.iter().map(|secret| secret.name.len()).max().unwrap_or(0);
        for secret in &self.secrets {
            let cells = secret.answers.iter().enumerate().map(|(index, answer)| {
                let word = match answer {
                    Answer::Yes { by: "tag" } => "yes (by its tag)",
                    Answer::Yes { .. } => "yes (decrypted)",
                    Answer::No { .. } => "no",
                    Answer::Unknown { .. } => "unknown",
                };
                format!("{}: {word}", index + 1)
            });
            let cells = match secret.verdict {
                Verdict::Missing => "there is no such file".to_owned(),
                Verdict::Broken => secret.trouble.clone(),
                _ if secret.answers.is_empty() => "no identity".to_owned(),
                _ => cells.collect::<Vec<_>>().join("  "),
            };
            let _ = writeln!(text, "  {:<width$}  {cells}", secret.name);
        }
        text
    }

    fn json(&self) -> serde_json::Value {
        to_json(self)
    }
}

/// What each identity says of one secret.
fn ask<'a>(
    host: &HostFacts,
    secret: &DeclaredSecret,
    identities: impl Iterator<Item = &'a Identity>,
) -> EncryptedSecret {
    let path = secret.file.clone().unwrap_or_default();
    let encrypted = host.secret_files.get(&path).and_then(Option::as_ref);
    let mut asked = EncryptedSecret {
        name: secret.name.clone(),
        file: path,
        recipients: Vec::new(),
        verdict: Verdict::Missing,
        trouble: String::new(),
        answers: Vec::new(),
    };
    let Some(encrypted) = encrypted else { return asked };
    let answers = Recipient::all(encrypted).and_then(|recipients| {
        asked.recipients = recipients.iter().map(Recipient::to_string).collect();
        identities.map(|identity| identity.opens(encrypted)).collect::<Result<Vec<_>, _>>()
    });
    match answers {
        Ok(answers) => {
            let any = |is: fn(&Answer) -> bool| answers.iter().any(is);
            asked.verdict = if any(|answer| matches!(answer, Answer::Yes { .. })) {
                Verdict::Opened
            } else if any(|answer| matches!(answer, Answer::Unknown { .. })) {
                Verdict::Unknown
            } else {
                Verdict::NotOpened
            };
            asked.answers = answers;
        }
        Err(error) => {
            asked.verdict = Verdict::Broken;
            asked.trouble = error.to_string();
        }
    }
    asked
}

/// What will be at one of the identity paths.
fn provided(host: &HostFacts, coming: Coming<'_>, path: &str) -> (HostIdentity, Identity) {
    let (origin, identity, mut trouble) = origin_of(host, coming, path);
    let mut identity = identity;
    if let Some(point) = late_mount(host, path) {
        identity = Identity::Nothing(format!("{point} is mounted only later"));
        trouble = Some(Trouble::NotMounted(point));
    }
    let fingerprint = identity.public().and_then(fingerprint);
    (HostIdentity { path: path.to_owned(), origin, fingerprint, trouble }, identity)
}

/// What a path will hold, by the words that say where it comes from.
fn origin_of(
    host: &HostFacts,
    coming: Coming<'_>,
    path: &str,
) -> (&'static str, Identity, Option<Trouble>) {
    if let Some(file) = coming.placed.get(path) {
        let (identity, trouble) = placed(file);
        return ("placed with the files for the first boot", identity, trouble);
    }
    if let Some((origin, identity)) = a_host_key(host, coming.host_keys, path) {
        return (origin, identity, None);
    }
    let (identity, trouble) = if path.starts_with("/nix/store/") {
        (Identity::Unknown("it is a part of the system itself".to_owned()), None)
    } else if is_made_anew(host, path) {
        (Identity::Nothing("nothing is placed there".to_owned()), Some(Trouble::NotProvided))
    } else {
        (
            Identity::Unknown(
                "it lies on a file system that this install does not create".to_owned(),
            ),
            None,
        )
    };
    ("not provided", identity, trouble)
}

/// The host key that will be at a path; none if the path is no host key's.
fn a_host_key(
    host: &HostFacts,
    coming: HostKeys<'_>,
    path: &str,
) -> Option<(&'static str, Identity)> {
    const CREATED: &str = "it is generated on the machine, and nothing can be encrypted to it yet";
    const LATER: &str =
        "sshd generates it when it first starts, which is after the secrets are decrypted";
    const UNSEEN: &str = "which keys the target has now is known only once it is examined";
    let is_at = |key: Option<DeclaredHostKey>| key.is_some_and(|key| key.path == path);
    match coming {
        HostKeys::Supplied(Supplied { public, identity, .. })
            if is_at(host.host_key(Some(host_key::kind(public)))) =>
        {
            return Some(("the supplied host key", identity.clone()));
        }
        HostKeys::Created if is_at(host.host_key(None)) => {
            return Some(("a host key made on the machine", Identity::Nothing(CREATED.to_owned())));
        }
        HostKeys::Kept(Some(keys)) if keys.contains_key(path) => {
            let identity = Identity::Public(keys[path].clone());
            return Some(("a host key that the target has now", identity));
        }
        HostKeys::Kept(None) if is_kept(path) => {
            let identity = Identity::Unknown(UNSEEN.to_owned());
            return Some(("a host key of the target, if it has it", identity));
        }
        _ => {}
    }
    let is_declared = host.host_keys.iter().flatten().any(|key| key.path == path);
    is_declared.then(|| ("a host key that sshd makes later", Identity::Nothing(LATER.to_owned())))
}

/// The paths at which `--copy-host-keys` leaves keys.
fn is_kept(path: &str) -> bool {
    path.starts_with("/etc/ssh/ssh_host_") && path.ends_with("_key")
}

fn placed(file: &Secret) -> (Identity, Option<Trouble>) {
    match Key::parse(file.expose()) {
        Ok(Key::Open(key)) => (Identity::Held(key), None),
        Ok(Key::Locked(_)) | Err(KeyError::OldLocked) => {
            (Identity::Nothing("it has a passphrase".to_owned()), Some(Trouble::Passphrase))
        }
        Err(error) => {
            (Identity::Nothing(error.to_string()), Some(Trouble::Unusable(error.to_string())))
        }
    }
}

/// The file system that a path is on, if it is not mounted yet when secrets are decrypted: only those are that the
/// initrd mounts (nixpkgs, `utils.fsNeededForBoot`).
fn late_mount(host: &HostFacts, path: &str) -> Option<String> {
    let point = host.mount_of(path)?;
    let system = host.file_systems.as_ref()?.get(point)?;
    (!system.is_needed_for_boot(point)).then(|| point.to_owned())
}

/// Whether the file system that a path is on will be empty: the layout makes it, and keeps no disk as it is.
fn is_made_anew(host: &HostFacts, path: &str) -> bool {
    let Some(mounts) = &host.layout_mounts else { return false };
    let point = host.mount_of(path).unwrap_or("/");
    let keeps = host.disks.iter().flatten().any(|(_, disk)| !disk.destroy);
    !keeps && mounts.iter().any(|mount| mount == point)
}

#[cfg(test)]
mod tests;
