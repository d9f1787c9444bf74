//! The machine's SSH host key: made on the workstation, kept encrypted to the user's own key, placed by the install.
//!
//! It never lies anywhere in plain text but on the machine it is for.

use super::age::{Identity, Key, PrivateKey, Recipient, tag};
use super::{Secret, read};
use crate::atomic::{self, Existing};
use crate::machine::fingerprint;
use crate::paths;
use crate::report::{Exit, Failure, Report};
use anyhow::{Context, Result, anyhow, bail};
use ssh_key::rand_core::OsRng;
use std::io::Write as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// A host key, whole.
#[derive(Debug, Clone)]
pub struct HostKey {
    /// `type base64`.
    pub public: String,
    /// The private key in OpenSSH's form.
    pub private: Secret,
}

/// Which host key the user wants the machine to have, and what opens it.
#[derive(Debug, Clone, Default)]
pub struct KeySource {
    /// The key's file, plain or an age file, if not the one that landfall keeps for the host.
    pub(crate) file: Option<PathBuf>,
    /// Private keys of the user's that may open it; the usual ones, if none is given.
    pub(crate) identities: Vec<PathBuf>,
    /// Whether somebody is there to type a passphrase.
    pub(crate) may_ask: bool,
}

/// A host key that is supplied, as far as it is known.
#[derive(Debug, Clone)]
pub(crate) struct Supplied {
    /// `type base64`.
    pub(crate) public: String,
    /// What age can do with it.
    pub(crate) identity: Identity,
    /// The key itself, where it could be opened.
    pub(crate) key: Option<HostKey>,
}

/// A host key as it was found.
#[derive(Debug, Clone)]
pub(crate) struct Stored {
    /// Where.
    pub(crate) path: PathBuf,
    /// Its public half, `type base64`, if that lies beside it.
    pub(crate) public: Option<String>,
    content: Secret,
}

/// The kind of a public key in the words of `services.openssh.hostKeys`: `ed25519`, `rsa`, `ecdsa`.
pub(crate) fn kind(public: &str) -> &str {
    let name = public.split_whitespace().next().unwrap_or_default();
    let name = name.strip_prefix("ssh-").unwrap_or(name);
    if name.starts_with("ecdsa-") { "ecdsa" } else { name }
}

impl HostKey {
    /// Makes an Ed25519 key in memory.
    pub fn create(comment: &str) -> Result<Self> {
        let mut key = ssh_key::PrivateKey::random(&mut OsRng, ssh_key::Algorithm::Ed25519)?;
        key.set_comment(comment);
        let text = key.to_openssh(ssh_key::LineEnding::LF)?;
        Self::read(Secret::new(text.as_bytes().to_vec()))
    }

    /// Reads a private key, which must have no passphrase: sshd cannot ask for it.
    fn read(private: Secret) -> Result<Self> {
        let key = ssh_key::PrivateKey::from_openssh(private.expose()).context(
            "it is not a private key in OpenSSH's format (`ssh-keygen -p -o -f FILE` converts it)",
        )?;
        if key.is_encrypted() {
            bail!("it has a passphrase, which sshd cannot ask for");
        }
        let line = key.public_key().to_openssh()?;
        let mut words = line.split(' ');
        let (kind, blob) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        Ok(Self { public: format!("{kind} {blob}"), private })
    }

    /// The key in a file that the user has placed as it is.
    ///
    /// # Errors
    /// sshd could not use it.
    pub(crate) fn placed(private: Secret) -> Result<Self> {
        Self::read(private)
    }

    /// The fingerprint, `SHA256:…`.
    pub(crate) fn fingerprint(&self) -> String {
        fingerprint(&self.public).unwrap_or_default()
    }

    /// The key as the proof takes it.
    pub(crate) fn supplied(&self) -> Supplied {
        let identity = match Key::parse(self.private.expose()) {
            Ok(Key::Open(key)) => Identity::Held(key),
            _ => Identity::Nothing("age cannot use host keys of this kind".to_owned()),
        };
        Supplied { public: self.public.clone(), identity, key: Some(self.clone()) }
    }

    /// Encrypts the private key to these recipients (`age1…` or `ssh-…`).
    pub fn encrypt(&self, recipients: &[String]) -> Result<Vec<u8>> {
        let recipients = recipients.iter().map(|text| recipient(text));
        let recipients = recipients.collect::<Result<Vec<_>>>()?;
        let encryptor =
            age::Encryptor::with_recipients(recipients.iter().map(|recipient| &**recipient as _))?;
        let mut encrypted = Vec::new();
        let mut writer = encryptor.wrap_output(&mut encrypted)?;
        writer.write_all(self.private.expose())?;
        writer.finish()?;
        Ok(encrypted)
    }
}

/// Reads one recipient.
///
/// # Errors
/// It is none, or one that only a plugin can encrypt to.
pub fn recipient(text: &str) -> Result<Box<dyn age::Recipient>> {
    let text = text.trim();
    if text.starts_with("ssh-") {
        let recipient = age::ssh::Recipient::from_str(text);
        return Ok(Box::new(recipient.map_err(|error| {
            anyhow!("{text}: no SSH key that age can encrypt to ({error:?})")
        })?));
    }
    match age::x25519::Recipient::from_str(text) {
        Ok(recipient) => Ok(Box::new(recipient)),
        Err(_) if text.starts_with("age1") => {
            bail!(
                "{text}: only plain age keys (age1…) and SSH keys can be recipients, not a plugin's"
            )
        }
        Err(_) => bail!("{text}: not a recipient; expected age1… or ssh-…"),
    }
}

/// Where landfall keeps the key of a host.
pub(crate) fn kept_at(host: &str) -> Result<PathBuf> {
    let name: String = host
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') { c } else { '-' })
        .collect();
    Ok(paths::host_keys()?.join(name.trim_start_matches('.')).join("ssh_host_ed25519_key.age"))
}

/// Where the public half of a kept key lies.
pub(crate) fn public_beside(path: &Path) -> PathBuf {
    if path.extension().is_some_and(|extension| extension == "age") {
        path.with_extension("pub")
    } else {
        let mut name = path.as_os_str().to_owned();
        name.push(".pub");
        PathBuf::from(name)
    }
}

/// Writes an encrypted key and its public half (with its comment), readable by their owner alone. What is there already
/// is never written over: whichever of two comes first, stays.
pub(crate) fn store(path: &Path, encrypted: &[u8], public: &str) -> Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let directory = directory.unwrap_or(Path::new("."));
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(directory)
        .with_context(|| format!("creating {}", directory.display()))?;
    let beside = public_beside(path);
    if beside.exists() {
        bail!("{} already exists", beside.display());
    }
    let write = |path: &Path, bytes: &[u8]| atomic::write(path, bytes, 0o600, Existing::Kept);
    let written =
        write(path, encrypted).and_then(|()| write(&beside, format!("{public}\n").as_bytes()));
    written.with_context(|| format!("writing {}", path.display()))
}

impl KeySource {
    /// The key that was named, or the one that is kept for the host; none if there is neither.
    pub(crate) async fn find(&self, host: &str) -> Result<Option<Stored>, Failure> {
        let cannot = |path: &Path, error: anyhow::Error| {
            Failure::new(Exit::Refused, format!("the host key {} cannot be used", path.display()))
                .because(error)
        };
        let is_named = self.file.is_some();
        // Where no home is known, nothing is kept.
        let Some(path) = self.file.clone().or_else(|| kept_at(host).ok()) else { return Ok(None) };
        let content = match read::file(&path).await {
            Ok(content) => content,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !is_named => {
                return Ok(None);
            }
            Err(error) => return Err(cannot(&path, error.into())),
        };
        let beside = std::fs::read_to_string(public_beside(&path)).unwrap_or_default();
        let mut words = beside.split_whitespace();
        let public = words.next().zip(words.next()).map(|(kind, key)| format!("{kind} {key}"));
        Ok(Some(Stored { path, public, content }))
    }

    /// Opens a key that was found.
    pub(crate) async fn open(&self, stored: &Stored, report: &Report) -> Result<HostKey, Failure> {
        let path = stored.path.display();
        let refused = |error: anyhow::Error| {
            Failure::new(Exit::Refused, format!("the host key {path} cannot be used"))
                .because(error)
                .hint(format!(
                    "give the key that opens it with --age-identity; a key in hardware works through age \
                     itself: --host-key-file <(age -d -i IDENTITY {path})"
                ))
        };
        let private = match Recipient::all(stored.content.expose()) {
            Ok(recipients) => self.decrypt(stored, &recipients, report).await,
            Err(_) => self.plain(stored, report).await,
        };
        let key = private.and_then(HostKey::read).map_err(refused)?;
        if stored.public.as_ref().is_some_and(|public| *public != key.public) {
            let beside = public_beside(&stored.path);
            return Err(refused(anyhow!("{} is the public half of another key", beside.display())));
        }
        Ok(key)
    }

    /// A key that is not encrypted by age, but may have a passphrase of its own.
    async fn plain(&self, stored: &Stored, report: &Report) -> Result<Secret> {
        match Key::parse(stored.content.expose()) {
            Ok(Key::Locked(locked)) => {
                let question = format!("Passphrase of {}: ", stored.path.display());
                self.ask(question, report, |passphrase| Ok(locked.unlock(passphrase)?)).await
            }
            _ => Ok(stored.content.clone()),
        }
    }

    /// Decrypts with the first of the user's keys that can.
    async fn decrypt(
        &self,
        stored: &Stored,
        recipients: &[Recipient],
        report: &Report,
    ) -> Result<Secret> {
        let content = stored.content.expose();
        let mut tried = Vec::new();
        for path in self.candidates() {
            let name = path.display();
            let key = read::file(&path).await.map_err(anyhow::Error::from);
            match key.and_then(|key| Ok(Key::parse(key.expose())?)) {
                Ok(Key::Open(key)) => match decrypted(&key, content) {
                    Ok(private) => return Ok(private),
                    Err(error) => tried.push(format!("{name}: {error:#}")),
                },
                Ok(Key::Locked(locked)) => {
                    let tag = locked.public().and_then(|public| tag(&public));
                    let is_tagged =
                        |tag: String| recipients.iter().any(|recipient| recipient.has_tag(&tag));
                    if !tag.is_some_and(is_tagged) {
                        tried.push(format!("{name}: it is not encrypted to this key"));
                        continue;
                    }
                    let unlock = |passphrase: &Secret| match Key::parse(
                        locked.unlock(passphrase)?.expose(),
                    )? {
                        Key::Open(key) => decrypted(&key, content),
                        Key::Locked(_) => bail!("the key is still locked"),
                    };
                    return self.ask(format!("Passphrase of {name}: "), report, unlock).await;
                }
                Err(error) => tried.push(format!("{name}: {error:#}")),
            }
        }
        let recipients: Vec<_> = recipients.iter().map(ToString::to_string).collect();
        let tried = if tried.is_empty() { "there is none".to_owned() } else { tried.join("\n") };
        bail!("none of your keys opens it (it is for {})\n{tried}", recipients.join(", "))
    }

    /// The keys that may open it: those that were given, or those that age users have.
    fn candidates(&self) -> Vec<PathBuf> {
        if !self.identities.is_empty() {
            return self.identities.clone();
        }
        let home = std::env::home_dir().unwrap_or_default();
        let usual = [".ssh/id_ed25519", ".ssh/id_rsa", ".config/age/keys.txt"];
        usual.iter().map(|name| home.join(name)).filter(|path| path.exists()).collect()
    }

    /// Asks for a passphrase, a few times, without showing it.
    async fn ask(
        &self,
        question: String,
        report: &Report,
        take: impl Fn(&Secret) -> Result<Secret>,
    ) -> Result<Secret> {
        const TIMES: usize = 3;
        if !self.may_ask {
            bail!("a passphrase is needed, and there is no terminal to ask on");
        }
        let mut taken = Err(anyhow!("no passphrase was given"));
        for _ in 0..TIMES {
            let Some(answer) = report.ask_secret(&*question).await else { break };
            taken = take(&answer);
            if taken.is_ok() {
                break;
            }
        }
        taken
    }
}

fn decrypted(key: &PrivateKey, encrypted: &[u8]) -> Result<Secret> {
    // Room from the beginning: what grows leaves copies behind.
    let mut private = Vec::with_capacity(encrypted.len());
    let ended = key.decrypt(encrypted, |bytes| private.extend_from_slice(bytes));
    let private = Secret::new(private);
    ended.map(|()| private).map_err(|error| anyhow!("{error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    #[test]
    fn a_key_is_whole_and_encrypted_to_the_named_recipients() {
        let key = HostKey::create("root@nas").unwrap();
        assert!(key.public.starts_with("ssh-ed25519 AAAA") && key.public.split(' ').count() == 2);
        assert_eq!(
            (kind(&key.public), kind("ssh-rsa AAAA"), kind("ecdsa-sha2-nistp256 A")),
            ("ed25519", "rsa", "ecdsa")
        );
        let user = age::x25519::Identity::generate();
        let encrypted = key.encrypt(&[user.to_public().to_string()]).unwrap();
        assert_eq!(age::decrypt(&user, &encrypted).unwrap(), key.private.expose());
        for bad in ["", "age1xyz", "age1yubikey1qqq", "ssh-ed25519", "ecdsa-sha2-nistp256 AAAA"] {
            assert!(recipient(bad).is_err(), "{bad}");
        }
        assert!(key.encrypt(&[]).is_err());
    }

    #[test]
    fn what_is_stored_is_never_written_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("keys/nas/ssh_host_ed25519_key.age");
        store(&path, b"encrypted", "ssh-ed25519 AAAA root@nas").unwrap();
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!((mode(&path), mode(path.parent().unwrap())), (0o600, 0o700));
        assert_eq!(
            std::fs::read_to_string(public_beside(&path)).unwrap(),
            "ssh-ed25519 AAAA root@nas\n"
        );
        assert!(store(&path, b"other", "ssh-ed25519 BBBB").is_err());
        // The one half is enough.
        std::fs::remove_file(public_beside(&path)).unwrap();
        assert!(store(&path, b"other", "ssh-ed25519 BBBB").is_err());
        assert_eq!(std::fs::read(&path).unwrap(), b"encrypted");
        std::fs::remove_file(&path).unwrap();
        std::fs::write(public_beside(&path), "ssh-ed25519 CCCC").unwrap();
        assert!(store(&path, b"other", "ssh-ed25519 BBBB").is_err());
        assert!(!path.exists());
    }

    #[test]
    fn hosts_have_a_directory_each_and_none_leads_out_of_it() {
        for (host, name) in [
            ("helios64", "helios64"),
            ("../../etc", "-..-etc"),
            ("a/b", "a-b"),
            ("x86_64-linux", "x86_64-linux"),
        ] {
            let path = kept_at(host).unwrap();
            assert_eq!(path.parent().unwrap().file_name().unwrap(), name);
            assert!(path.parent().unwrap().parent().unwrap().ends_with("landfall/keys"));
        }
    }
}
