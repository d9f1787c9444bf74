//! The header of an age file: whom it is encrypted to, as far as it says so. (<https://age-encryption.org/v1>)
//!
//! A pure and bounded reader. It takes whatever age itself takes, and is no stricter than it needs to be to tell the
//! recipients: whether the header is genuine shows only when the file is decrypted.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use std::borrow::Cow;
use std::fmt;

/// The first line of every age file.
const VERSION: &str = "age-encryption.org/v1";
/// Around the Base64 of an armored file.
const ARMOR: [&str; 2] = ["-----BEGIN AGE ENCRYPTED FILE-----", "-----END AGE ENCRYPTED FILE-----"];
/// Bytes that a header may have: enough for hundreds of recipients of the largest kind.
const LIMIT: usize = 1 << 20;
/// Characters of a line of a stanza's body.
const COLUMNS: usize = 64;
/// Bytes that follow every header: a nonce, and the tag of an empty last chunk.
const LEAST_PAYLOAD: usize = 16 + 16;

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Whom the file is encrypted to, in its order.
    pub recipients: Vec<Recipient>,
    /// Whether the file is armored (text).
    pub armored: bool,
}

/// Somebody the file is encrypted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// An SSH key.
    Ssh {
        /// `ssh-ed25519` or `ssh-rsa`.
        kind: String,
        /// What names the key: four bytes of its digest, in Base64 (see [`super::tag`]).
        tag: String,
    },
    /// A native age key. It is not named, by design.
    X25519,
    /// Whoever knows a passphrase.
    Passphrase,
    /// A plugin's recipient, or one of a newer age.
    Other(String),
}

/// Why it is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// It does not begin like one.
    #[error("it is no age file")]
    NotAge,
    /// It ends too early.
    #[error("it is cut short")]
    Cut,
    /// It has more bytes than any header.
    #[error("its header has no end")]
    TooLong,
    /// Something in it is against the format.
    #[error("its header is broken")]
    Broken,
}

impl Header {
    /// Reads it from a whole age file, binary or armored.
    pub fn parse(file: &[u8]) -> Result<Self, HeaderError> {
        let armored = file.trim_ascii_start().starts_with(ARMOR[0].as_bytes());
        let bytes = if armored { Cow::Owned(dearmored(file)?) } else { Cow::Borrowed(file) };
        let mut rest: &[u8] = &bytes;
        if line(&mut rest)? != VERSION {
            return Err(HeaderError::NotAge);
        }
        let mut recipients = Vec::new();
        let mut stanzas = 0_u32;
        loop {
            let line = line(&mut rest)?;
            if let Some(mac) = line.strip_prefix("--- ") {
                // A file for nobody is no file.
                if stanzas == 0 || !is_base64(mac) {
                    return Err(HeaderError::Broken);
                }
                break;
            }
            if let Some(words) = line.strip_prefix("-> ") {
                stanzas += 1;
                recipients.extend(recipient(words)?);
            } else if stanzas == 0 || line.len() > COLUMNS || !is_base64(line) {
                return Err(HeaderError::Broken);
            }
            if bytes.len() - rest.len() > LIMIT {
                return Err(HeaderError::TooLong);
            }
        }
        if rest.len() < LEAST_PAYLOAD {
            return Err(HeaderError::Cut);
        }
        Ok(Self { recipients, armored })
    }

    /// Whether it is encrypted to the SSH key with this tag.
    pub fn names(&self, wanted: &str) -> bool {
        let is_it = |recipient: &Recipient| matches!(recipient, Recipient::Ssh { tag, .. } if tag == wanted);
        self.recipients.iter().any(is_it)
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssh { kind, tag } => write!(f, "{kind} {tag}"),
            Self::X25519 => f.write_str("an age key"),
            Self::Passphrase => f.write_str("a passphrase"),
            Self::Other(kind) => f.write_str(kind),
        }
    }
}

/// The first words of a stanza. None for grease, which is there so that nobody relies on its absence.
fn recipient(words: &str) -> Result<Option<Recipient>, HeaderError> {
    let is_word =
        |word: &str| !word.is_empty() && word.bytes().all(|byte| (33..=126).contains(&byte));
    if !words.split(' ').all(is_word) {
        return Err(HeaderError::Broken);
    }
    let mut words = words.split(' ');
    let kind = words.next().unwrap_or_default();
    Ok(match kind {
        "ssh-ed25519" | "ssh-rsa" => {
            let tag = words.next().unwrap_or_default().to_owned();
            Some(Recipient::Ssh { kind: kind.to_owned(), tag })
        }
        "X25519" => Some(Recipient::X25519),
        "scrypt" => Some(Recipient::Passphrase),
        kind if kind.ends_with("-grease") => None,
        kind => Some(Recipient::Other(kind.to_owned())),
    })
}

/// The next line, without its end.
fn line<'a>(rest: &mut &'a [u8]) -> Result<&'a str, HeaderError> {
    let within = &rest[..rest.len().min(LIMIT)];
    let Some(end) = within.iter().position(|byte| *byte == b'\n') else {
        return Err(if within.len() == LIMIT { HeaderError::TooLong } else { HeaderError::Cut });
    };
    let line = std::str::from_utf8(&rest[..end]).map_err(|_| HeaderError::NotAge)?;
    *rest = &rest[end + 1..];
    Ok(line)
}

fn is_base64(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/'))
}

/// The bytes behind the armor.
fn dearmored(file: &[u8]) -> Result<Vec<u8>, HeaderError> {
    let text = std::str::from_utf8(file).map_err(|_| HeaderError::Broken)?;
    let mut lines = text.trim_ascii_start().lines().skip(1);
    let mut body = String::new();
    loop {
        match lines.next() {
            None => return Err(HeaderError::Cut),
            Some(line) if line.trim_ascii_end() == ARMOR[1] => break,
            Some(line) => body.push_str(line.trim_ascii_end()),
        }
    }
    STANDARD.decode(body).map_err(|_| HeaderError::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As agenix' own example repository has them: one SSH recipient, and grease.
    fn golden() -> Vec<u8> {
        let mac = "a".repeat(43);
        let head = format!(
            "age-encryption.org/v1\n-> ssh-ed25519 6dPNYg {mac}\n{mac}\n-> h=-grease q\nAbC\n--- {mac}\n"
        );
        [head.as_bytes(), &[7; 40]].concat()
    }

    #[test]
    fn reads_whom_a_file_is_for() {
        let header = Header::parse(&golden()).unwrap();
        let tag = "6dPNYg".to_owned();
        assert_eq!(header.recipients, [Recipient::Ssh { kind: "ssh-ed25519".into(), tag }]);
        assert!(header.names("6dPNYg") && !header.names("6dPNYh") && !header.armored);
    }

    #[test]
    fn every_kind_of_recipient() {
        let mac = "a".repeat(43);
        let stanzas = format!(
            "-> X25519 {mac}\n{mac}\n-> scrypt salt 18\n{mac}\n-> ssh-rsa AbCd+/\n\n-> yubikey a b\nQQ\n"
        );
        let file = format!("{VERSION}\n{stanzas}--- {mac}\n{}", "x".repeat(32));
        let header = Header::parse(file.as_bytes()).unwrap();
        let said: Vec<_> = header.recipients.iter().map(ToString::to_string).collect();
        assert_eq!(said, ["an age key", "a passphrase", "ssh-rsa AbCd+/", "yubikey"]);
    }

    #[test]
    fn says_what_is_wrong() {
        let golden = golden();
        let said = |file: &[u8]| Header::parse(file).unwrap_err();
        assert_eq!(said(b""), HeaderError::Cut);
        assert_eq!(said(b"version https://git-lfs.github.com/spec/v1\n"), HeaderError::NotAge);
        assert_eq!(said(b"\x00GITCRYPT\x00\xff\n"), HeaderError::NotAge);
        assert_eq!(said(b"age-encryption.org/v2\n"), HeaderError::NotAge);
        assert_eq!(said(b"age-encryption.org/v1\n--- aaaa\n"), HeaderError::Broken);
        assert_eq!(said(b"age-encryption.org/v1\nabc\n"), HeaderError::Broken);
        for end in [10, 50, 100, golden.len() - 10] {
            assert_eq!(said(&golden[..end]), HeaderError::Cut, "{end}");
        }
        let endless = [b"age-encryption.org/v1\n-> ".as_slice(), &vec![b'a'; LIMIT + 1]].concat();
        assert_eq!(said(&endless), HeaderError::TooLong);
        let stanzas =
            [b"age-encryption.org/v1\n".as_slice(), &b"-> a\n\n".repeat(LIMIT / 4)].concat();
        assert_eq!(said(&stanzas), HeaderError::TooLong);
    }

    #[test]
    fn armor_is_taken_off() {
        let lines = |text: &str| {
            let chunks = text.as_bytes().chunks(COLUMNS).map(String::from_utf8_lossy);
            chunks.collect::<Vec<_>>().join("\n")
        };
        let body = lines(&STANDARD.encode(golden()));
        let armored = format!("{}\n{body}\n{}\n", ARMOR[0], ARMOR[1]);
        let header = Header::parse(armored.as_bytes()).unwrap();
        assert!(header.armored && header.names("6dPNYg"));
        assert!(Header::parse(armored.replace('\n', "\r\n").as_bytes()).is_ok());
        let (cut, _) = armored.split_at(armored.len() - 20);
        assert_eq!(Header::parse(cut.as_bytes()), Err(HeaderError::Cut));
    }

    proptest! {
        /// Whatever it is given, it answers.
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Header::parse(&bytes);
            let _ = Header::parse(&[VERSION.as_bytes(), b"\n-> ", &bytes].concat());
            let _ = Header::parse(&[ARMOR[0].as_bytes(), b"\n", &bytes].concat());
        }

        /// Whatever age takes, it takes: bytes of a real file are changed here and there.
        #[test]
        fn takes_whatever_age_takes(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
            let key = age::x25519::Identity::generate();
            let mut file = age::encrypt(&key.to_public(), b"").unwrap();
            for (at, byte) in changes {
                let at = at.index(file.len());
                file[at] = byte;
            }
            if age::Decryptor::new(file.as_slice()).is_ok() {
                prop_assert!(Header::parse(&file).is_ok());
            }
        }
    }
}
