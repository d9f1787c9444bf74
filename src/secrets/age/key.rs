//! Keys that open age files, and the question whether one does.

use super::{FileError, Recipient};
use crate::machine::raw_key;
use crate::secrets::Secret;
use age::DecryptError;
use age::armor::ArmoredReader;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::fmt;
use std::io::Read;
use std::str::FromStr;
use zeroize::Zeroizing;

/// By what an age file names an SSH key (`type base64 …`): the first four bytes of the digest of its blob. They are the
/// beginning of its fingerprint. None if it is no key.
pub(crate) fn tag(public: &str) -> Option<String> {
    Some(STANDARD_NO_PAD.encode(&Sha256::digest(raw_key(public)?)[..4]))
}

/// A private key that can be used as it is.
#[derive(Clone)]
pub struct PrivateKey {
    kind: Kind,
    public: Option<String>,
}

#[derive(Clone)]
enum Kind {
    Age(Vec<age::x25519::Identity>),
    Ssh(Box<age::ssh::Identity>),
}

/// An SSH key behind a passphrase.
#[derive(Clone)]
pub struct LockedKey(Box<ssh_key::PrivateKey>);

/// What a private key's file holds.
#[derive(Debug, Clone)]
pub enum Key {
    /// A key that can be used.
    Open(PrivateKey),
    /// One behind a passphrase.
    Locked(LockedKey),
}

/// Why a file is of no use as an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// It is behind a passphrase, in the old form that nothing but OpenSSL reads.
    #[error("it has a passphrase, in the old PEM format; `ssh-keygen -p -o -f FILE` converts it")]
    OldLocked,
    /// age has no use for such a key.
    #[error("age cannot use {0}")]
    Unsupported(String),
    /// It is no private key.
    #[error("it is not a private key that age knows")]
    NotAKey,
    /// The passphrase is another one.
    #[error("the passphrase is wrong")]
    WrongPassphrase,
}

impl Key {
    /// Reads a private key: OpenSSH's form, the old PEM form of RSA keys, or a file of age's own keys.
    pub fn parse(file: &[u8]) -> Result<Self, KeyError> {
        let text = std::str::from_utf8(file).map_err(|_| KeyError::NotAKey)?.trim_start();
        if text.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----") {
            let key = ssh_key::PrivateKey::from_openssh(text).map_err(|_| KeyError::NotAKey)?;
            if key.is_encrypted() {
                return Ok(Self::Locked(LockedKey(Box::new(key))));
            }
            let public = public_line(key.public_key());
            return Ok(Self::Open(PrivateKey { kind: ssh(text)?, public }));
        }
        if text.starts_with("-----BEGIN ") {
            return Ok(Self::Open(PrivateKey { kind: ssh(text)?, public: None }));
        }
        let mut keys = Vec::new();
        let is_said = |line: &&str| !line.is_empty() && !line.starts_with('#');
        for line in text.lines().map(str::trim).filter(is_said) {
            if line.starts_with("AGE-PLUGIN-") || line.starts_with("AGE-SECRET-KEY-PQ-") {
                return Err(KeyError::Unsupported("the key of a plugin without it".to_owned()));
            }
            keys.push(age::x25519::Identity::from_str(line).map_err(|_| KeyError::NotAKey)?);
        }
        if keys.is_empty() {
            return Err(KeyError::NotAKey);
        }
        Ok(Self::Open(PrivateKey { kind: Kind::Age(keys), public: None }))
    }
}

fn ssh(text: &str) -> Result<Kind, KeyError> {
    use age::ssh::{Identity, UnsupportedKey};
    match Identity::from_buffer(text.as_bytes(), None).map_err(|_| KeyError::NotAKey)? {
        Identity::Unsupported(UnsupportedKey::EncryptedPem) => Err(KeyError::OldLocked),
        Identity::Unsupported(UnsupportedKey::Hardware(kind) | UnsupportedKey::Type(kind)) => {
            Err(KeyError::Unsupported(format!("{kind} keys")))
        }
        Identity::Unsupported(UnsupportedKey::EncryptedSsh(_)) | Identity::Encrypted(_) => {
            Err(KeyError::NotAKey)
        }
        key @ Identity::Unencrypted(_) => Ok(Kind::Ssh(Box::new(key))),
    }
}

fn public_line(key: &ssh_key::PublicKey) -> Option<String> {
    let line = key.to_openssh().ok()?;
    let mut words = line.split(' ');
    Some(format!("{} {}", words.next()?, words.next()?))
}

impl LockedKey {
    /// Its public half, `type base64`, which is not locked away.
    pub fn public(&self) -> Option<String> {
        public_line(self.0.public_key())
    }

    /// The key without its passphrase, in OpenSSH's form.
    pub fn unlock(&self, passphrase: &Secret) -> Result<Secret, KeyError> {
        let key = self.0.decrypt(passphrase.expose()).map_err(|_| KeyError::WrongPassphrase)?;
        let text = key.to_openssh(ssh_key::LineEnding::LF).map_err(|_| KeyError::NotAKey)?;
        Ok(Secret::new(text.as_bytes().to_vec()))
    }
}

impl PrivateKey {
    /// Decrypts a file and hands its content on piece by piece; nothing of it is kept here.
    ///
    /// # Errors
    /// [`DecryptError::NoMatchingKeys`] if the file is not encrypted to this key.
    pub fn decrypt(&self, file: &[u8], mut take: impl FnMut(&[u8])) -> Result<(), DecryptError> {
        let decryptor = age::Decryptor::new_buffered(ArmoredReader::new(file))?;
        let identities: Vec<&dyn age::Identity> = match &self.kind {
            Kind::Age(keys) => keys.iter().map(|key| key as &dyn age::Identity).collect(),
            Kind::Ssh(key) => vec![key.as_ref()],
        };
        let mut reader = decryptor.decrypt(identities.into_iter())?;
        let mut buffer = Zeroizing::new([0; 4096]);
        loop {
            match reader.read(buffer.as_mut()).map_err(DecryptError::Io)? {
                0 => return Ok(()),
                length => take(&buffer[..length]),
            }
        }
    }

    /// Its public half, `type base64`, for an SSH key in OpenSSH's form.
    pub(crate) fn public(&self) -> Option<&str> {
        self.public.as_deref()
    }
}

/// An identity that the host may have when it decrypts its secrets.
#[derive(Debug, Clone)]
pub enum Identity {
    /// landfall holds the private key.
    Held(PrivateKey),
    /// landfall knows the public key, `type base64`.
    Public(String),
    /// There will be none, or one that nothing can be encrypted to yet; with why.
    Nothing(String),
    /// It cannot be known; with why.
    Unknown(String),
}

/// Whether an identity opens a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "answer", rename_all = "lowercase")]
pub enum Answer {
    /// It does.
    Yes {
        /// How that is known: `decrypted`, or `tag` (the header names the key).
        by: &'static str,
    },
    /// It does not.
    No {
        /// Why not.
        why: String,
    },
    /// It cannot be determined.
    Unknown {
        /// The reason, as a part of a sentence.
        why: String,
    },
}

impl Identity {
    /// Whether it opens this age file: by opening it, where the private key is at hand.
    ///
    /// # Errors
    /// The file is no age file, or what is in it is broken.
    pub fn opens(&self, file: &[u8]) -> Result<Answer, FileError> {
        let recipients = Recipient::all(file)?;
        let no = |why: &str| Ok(Answer::No { why: why.to_owned() });
        match self {
            Self::Held(key) => match key.decrypt(file, |_| ()) {
                Ok(()) => Ok(Answer::Yes { by: "decrypted" }),
                Err(DecryptError::NoMatchingKeys) => no("it is not encrypted to this key"),
                Err(DecryptError::Io(error))
                    if error.kind() == std::io::ErrorKind::UnexpectedEof =>
                {
                    Err(FileError::Cut)
                }
                Err(error) => no(&format!("it cannot be decrypted: {error}")),
            },
            Self::Public(public) => match tag(public) {
                Some(tag) if recipients.iter().any(|recipient| recipient.has_tag(&tag)) => {
                    Ok(Answer::Yes { by: "tag" })
                }
                Some(_) => no("it is not encrypted to this key"),
                None => Ok(Answer::Unknown { why: "the public key cannot be read".to_owned() }),
            },
            Self::Nothing(why) => no(why),
            Self::Unknown(why) => Ok(Answer::Unknown { why: why.clone() }),
        }
    }

    /// The public half of an SSH key, `type base64`, where it is known.
    pub(crate) fn public(&self) -> Option<&str> {
        match self {
            Self::Held(key) => key.public(),
            Self::Public(public) => Some(public),
            Self::Nothing(_) | Self::Unknown(_) => None,
        }
    }
}

impl fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the private key of {}", self.public.as_deref().unwrap_or("an age recipient"))
    }
}

impl fmt::Debug for LockedKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the locked key of {}", self.public().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use ssh_key::rand_core::OsRng;

    fn ssh_key() -> ssh_key::PrivateKey {
        ssh_key::PrivateKey::random(&mut OsRng, ssh_key::Algorithm::Ed25519).unwrap()
    }

    fn text(key: &ssh_key::PrivateKey) -> String {
        key.to_openssh(ssh_key::LineEnding::LF).unwrap().to_string()
    }

    fn encrypted_to(key: &ssh_key::PrivateKey) -> Vec<u8> {
        let line = key.public_key().to_openssh().unwrap();
        age::encrypt(&age::ssh::Recipient::from_str(&line).unwrap(), b"canary").unwrap()
    }

    fn held(file: &str) -> Identity {
        match Key::parse(file.as_bytes()).unwrap() {
            Key::Open(key) => Identity::Held(key),
            Key::Locked(key) => panic!("{key:?}"),
        }
    }

    fn says_no(answer: &Answer) -> bool {
        matches!(answer, Answer::No { .. })
    }

    #[test]
    fn a_key_is_named_as_in_the_users_own_files() {
        let tag_of = |blob: &str| tag(&format!("ssh-ed25519 {blob}"));
        let github = "AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl";
        // Its fingerprint is SHA256:+DiY3wvvV6…: the tag is the beginning of that.
        assert_eq!(tag_of(github).as_deref(), Some("+DiY3w"));
        assert_eq!((tag_of("*"), tag("ssh-ed25519")), (None, None));
    }

    #[test]
    fn the_right_key_opens_and_another_does_not() {
        let (right, other) = (ssh_key(), ssh_key());
        let file = encrypted_to(&right);
        let public =
            |key: &ssh_key::PrivateKey| Identity::Public(key.public_key().to_openssh().unwrap());
        assert_eq!(held(&text(&right)).opens(&file), Ok(Answer::Yes { by: "decrypted" }));
        assert_eq!(public(&right).opens(&file), Ok(Answer::Yes { by: "tag" }));
        assert!(says_no(&held(&text(&other)).opens(&file).unwrap()));
        assert!(says_no(&public(&other).opens(&file).unwrap()));
        let unknown = Identity::Unknown("who knows".into());
        assert!(matches!(unknown.opens(&file), Ok(Answer::Unknown { .. })));
        assert!(says_no(&Identity::Nothing("none".into()).opens(&file).unwrap()));
    }

    #[test]
    fn an_age_key_opens_a_file_that_names_no_recipient() {
        use age::secrecy::ExposeSecret;
        let (right, other) = (age::x25519::Identity::generate(), age::x25519::Identity::generate());
        let file = age::encrypt_and_armor(&right.to_public(), b"canary").unwrap();
        let keys = |key: &age::x25519::Identity| {
            format!("# created: today\n# public key: …\n{}\n", key.to_string().expose_secret())
        };
        assert_eq!(held(&keys(&right)).opens(file.as_bytes()), Ok(Answer::Yes { by: "decrypted" }));
        assert!(says_no(&held(&keys(&other)).opens(file.as_bytes()).unwrap()));
        assert!(says_no(&held(&text(&ssh_key())).opens(file.as_bytes()).unwrap()));
    }

    #[test]
    fn what_is_cut_or_changed_is_not_opened() {
        let key = ssh_key();
        let file = encrypted_to(&key);
        let held = held(&text(&key));
        for end in 0..file.len() {
            let opened = held.opens(&file[..end]);
            assert!(!matches!(opened, Ok(Answer::Yes { .. })), "cut at {end}: {opened:?}");
        }
        // The tag still names the key, and only decrypting shows that the file is broken.
        let mut changed = file.clone();
        *changed.last_mut().unwrap() ^= 1;
        assert!(says_no(&held.opens(&changed).unwrap()));
        let public = Identity::Public(key.public_key().to_openssh().unwrap());
        assert_eq!(public.opens(&changed), Ok(Answer::Yes { by: "tag" }));
    }

    #[test]
    fn a_passphrase_is_seen_and_used() {
        let key = ssh_key();
        let locked = key.encrypt(&mut OsRng, "open sesame").unwrap();
        let Ok(Key::Locked(locked)) = Key::parse(text(&locked).as_bytes()) else { panic!() };
        let line = key.public_key().to_openssh().unwrap();
        assert!(line.starts_with(&locked.public().unwrap()));
        let wrong = locked.unlock(&Secret::new(b"open".to_vec())).unwrap_err();
        assert_eq!(wrong, KeyError::WrongPassphrase);
        let open = locked.unlock(&Secret::new(b"open sesame".to_vec())).unwrap();
        let opened = held(std::str::from_utf8(open.expose()).unwrap()).opens(&encrypted_to(&key));
        assert_eq!(opened, Ok(Answer::Yes { by: "decrypted" }));
    }

    #[test]
    fn files_that_are_not_keys_are_distinguished() {
        let error = |file: &[u8]| Key::parse(file).unwrap_err();
        for nothing in
            [&b""[..], b"\xff", b"# nothing\n", b"ssh-ed25519 AAAA", b"-----BEGIN X-----\n"]
        {
            assert_eq!(error(nothing), KeyError::NotAKey, "{nothing:?}");
        }
        assert!(matches!(error(b"AGE-PLUGIN-YUBIKEY-1XYZ\n"), KeyError::Unsupported(_)));
        let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nAAAA\n\
                   -----END RSA PRIVATE KEY-----\n";
        assert_eq!(error(old.as_bytes()), KeyError::OldLocked);
        let algorithm = ssh_key::Algorithm::Ecdsa { curve: ssh_key::EcdsaCurve::NistP256 };
        let ecdsa = ssh_key::PrivateKey::random(&mut OsRng, algorithm).unwrap();
        assert!(matches!(error(text(&ecdsa).as_bytes()), KeyError::Unsupported(_)));
    }

    #[test]
    fn nothing_private_is_printed() {
        let key = ssh_key();
        let text = text(&key);
        let said = format!("{:?} {:?}", Key::parse(text.as_bytes()).unwrap(), held(&text));
        let private = text.lines().nth(3).unwrap();
        assert!(said.contains("ssh-ed25519 AAAA") && !said.contains(private), "{said}");
    }

    proptest! {
        /// Whatever is in a file, it is read or refused; bytes of a real key are changed here and there.
        #[test]
        fn never_panics(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let _ = Key::parse(&bytes);
            let _ = Key::parse(&[b"-----BEGIN OPENSSH PRIVATE KEY-----\n", &bytes[..]].concat());
            let _ = Key::parse(&[b"-----BEGIN RSA PRIVATE KEY-----\n", &bytes[..]].concat());
            let mut file = text(&ssh_key()).into_bytes();
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            let _ = Key::parse(&file);
        }
    }
}
