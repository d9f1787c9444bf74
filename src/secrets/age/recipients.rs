//! The recipients of an age file, as far as its header names them. (<https://age-encryption.org/v1>)
//!
//! age shows the stanzas of a header only to identities that try to open the file. So one is offered that notes the
//! recipients and opens nothing. Whether the header is genuine shows only when the file is decrypted.

use age::armor::ArmoredReader;
use age::{DecryptError, Decryptor};
use age_core::format::{FileKey, Stanza};
use std::cell::RefCell;
use std::fmt;
use std::io::{self, ErrorKind, Read as _};

/// How a file begins that is, or may be, an age file: binary, or armored.
const MAGIC: [&[u8]; 2] = [b"age-encryption.org/v1\n", b"-----BEGIN AGE ENCRYPTED FILE-----"];
/// Bytes that a header may have: enough for hundreds of recipients. age reads a header from its beginning again for every
/// line, so that the time it takes grows with the square of this.
const LIMIT: u64 = 1 << 16;
/// Bytes after the header and the nonce of the shortest file: the tag of an empty chunk.
const LEAST_PAYLOAD: u64 = 16;

/// Somebody an age file is encrypted to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Recipient {
    /// An SSH key.
    Ssh {
        /// `ssh-ed25519` or `ssh-rsa`.
        kind: String,
        /// What names the key: four bytes of its digest, in Base64 (see `super::tag`).
        tag: String,
    },
    /// A native age key. The header does not name it, by design.
    X25519,
    /// Anyone who knows a passphrase.
    Passphrase,
    /// A plugin's recipient, or one of a newer age; the type of its stanza.
    Other(String),
}

/// Why the recipients of a file cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FileError {
    /// It does not begin like an age file, or is one of a newer format.
    #[error("it is no age file")]
    NotAge,
    /// It ends too early.
    #[error("it is cut short")]
    Cut,
    /// The header is longer than `LIMIT`.
    #[error("its header has no end")]
    TooLong,
    /// The header is against the format.
    #[error("its header is broken")]
    Header,
    /// The Base64 of an armored file is against the format, or its end is missing.
    #[error("its armor is broken or cut short")]
    Armor,
}

impl Recipient {
    /// The recipients of a whole age file, binary or armored, in the order of its header.
    pub fn all(file: &[u8]) -> Result<Vec<Self>, FileError> {
        let recorder = Recorder::default();
        let mut reader = ArmoredReader::new(file).take(LIMIT);
        let read = Decryptor::new_buffered(&mut reader)
            .and_then(|decryptor| decryptor.decrypt(std::iter::once(&recorder as _)).map(|_| ()));
        let is_too_long = reader.limit() == 0;
        match read {
            // This is how it ends: the recorder matches nothing.
            Err(DecryptError::NoMatchingKeys) | Ok(()) => {}
            _ if !MAGIC.iter().any(|magic| begins(file, magic)) => return Err(FileError::NotAge),
            Err(_) if is_too_long => return Err(FileError::TooLong),
            Err(DecryptError::Io(error)) => return Err(FileError::of(&error)),
            Err(_) => return Err(FileError::Header),
        }
        // Whether the payload is all there shows only when it is decrypted; whether the armor is, here.
        reader.set_limit(u64::MAX);
        let payload = io::copy(&mut reader, &mut io::sink());
        if payload.map_err(|error| FileError::of(&error))? < LEAST_PAYLOAD {
            return Err(FileError::Cut);
        }
        Ok(recorder.0.into_inner())
    }

    /// Whether it is the SSH key with this tag.
    pub(crate) fn has_tag(&self, wanted: &str) -> bool {
        matches!(self, Self::Ssh { tag, .. } if tag == wanted)
    }

    /// None for grease, which is there so that programs do not rely on its absence.
    fn of(stanza: &Stanza) -> Option<Self> {
        Some(match stanza.tag.as_str() {
            kind @ ("ssh-ed25519" | "ssh-rsa") => {
                let tag = stanza.args.first().cloned().unwrap_or_default();
                Self::Ssh { kind: kind.to_owned(), tag }
            }
            "X25519" => Self::X25519,
            "scrypt" => Self::Passphrase,
            kind if kind.ends_with("-grease") => return None,
            kind => Self::Other(kind.to_owned()),
        })
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

impl FileError {
    /// What a failed read means: the reader is over bytes in memory, so only its end and the armor can fail.
    fn of(error: &io::Error) -> Self {
        if error.kind() == ErrorKind::UnexpectedEof { Self::Cut } else { Self::Armor }
    }
}

/// An identity that notes every recipient and matches none.
#[derive(Default)]
struct Recorder(RefCell<Vec<Recipient>>);

impl age::Identity for Recorder {
    fn unwrap_stanza(&self, stanza: &Stanza) -> Option<Result<FileKey, DecryptError>> {
        self.0.borrow_mut().extend(Recipient::of(stanza));
        None
    }
}

/// Whether a file, which may be cut short, begins with these bytes.
fn begins(file: &[u8], magic: &[u8]) -> bool {
    file.starts_with(magic) || magic.starts_with(file)
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use proptest::prelude::*;

    const VERSION: &str = "age-encryption.org/v1";

    /// A header of these stanzas, with a payload of 40 bytes behind it.
    fn file(stanzas: &str) -> Vec<u8> {
        let head = format!("{VERSION}\n{stanzas}--- {}\n", "A".repeat(43));
        [head.as_bytes(), &[7; 40]].concat()
    }

    /// As agenix' own example repository has them: one SSH recipient, and grease.
    fn golden() -> Vec<u8> {
        let body = "A".repeat(43);
        file(&format!("-> ssh-ed25519 6dPNYg {body}\n{body}\n-> h=-grease q\nAbA\n"))
    }

    fn names_golden(recipients: &[Recipient]) -> bool {
        let tag = "6dPNYg".to_owned();
        recipients == [Recipient::Ssh { kind: "ssh-ed25519".into(), tag }]
    }

    #[test]
    fn an_ssh_recipient_is_named_by_its_tag() {
        let recipients = Recipient::all(&golden()).unwrap();
        assert!(names_golden(&recipients), "{recipients:?}");
        assert!(recipients[0].has_tag("6dPNYg") && !recipients[0].has_tag("6dPNYh"));
    }

    #[test]
    fn every_kind_of_recipient_is_read() {
        let body = "A".repeat(43);
        let several =
            file(&format!("-> X25519 {body}\n{body}\n-> ssh-rsa AbCd+/\n\n-> yubikey a b\nQQ\n"));
        let shown = |file: &[u8]| -> Vec<_> {
            Recipient::all(file).unwrap().iter().map(ToString::to_string).collect()
        };
        assert_eq!(shown(&several), ["an age key", "ssh-rsa AbCd+/", "yubikey"]);
        // A passphrase is alone, says the format.
        let scrypt = format!("-> scrypt salt 18\n{body}\n");
        assert_eq!(shown(&file(&scrypt)), ["a passphrase"]);
        let mixed = Recipient::all(&file(&format!("{scrypt}-> yubikey a b\nQQ\n")));
        assert_eq!(mixed, Err(FileError::Header));
    }

    #[test]
    fn a_file_that_cannot_be_read_says_why() {
        let golden = golden();
        let error = |file: &[u8]| Recipient::all(file).unwrap_err();
        assert_eq!(error(b""), FileError::Cut);
        assert_eq!(error(b"version https://git-lfs.github.com/spec/v1\n"), FileError::NotAge);
        assert_eq!(error(b"\x00GITCRYPT\x00\xff\n"), FileError::NotAge);
        assert_eq!(error(b"age-encryption.org/v2\nand what is new in it\n"), FileError::NotAge);
        assert_eq!(error(&file("")), FileError::Header);
        assert_eq!(error(&file("abc\n")), FileError::Header);
        for end in [10, 50, 100, golden.len() - 10] {
            assert_eq!(error(&golden[..end]), FileError::Cut, "{end}");
        }
        let limit = usize::try_from(LIMIT).unwrap();
        let endless = [VERSION.as_bytes(), b"\n-> ", &vec![b'a'; limit]].concat();
        assert_eq!(error(&endless), FileError::TooLong);
        let stanza = format!("-> {}\n\n", "a".repeat(250));
        let stanzas = [VERSION, "\n", &stanza.repeat(limit / 250)].concat();
        assert_eq!(error(stanzas.as_bytes()), FileError::TooLong);
    }

    #[test]
    fn an_armored_file_is_read() {
        let lines = |text: &str| {
            let chunks = text.as_bytes().chunks(64).map(String::from_utf8_lossy);
            chunks.collect::<Vec<_>>().join("\n")
        };
        let body = lines(&STANDARD.encode(golden()));
        let armored = format!(
            "-----BEGIN AGE ENCRYPTED FILE-----\n{body}\n-----END AGE ENCRYPTED FILE-----\n"
        );
        for armored in [armored.clone(), armored.replace('\n', "\r\n")] {
            let recipients = Recipient::all(armored.as_bytes()).unwrap();
            assert!(names_golden(&recipients), "{recipients:?}");
        }
        let error = |end: usize| Recipient::all(&armored.as_bytes()[..end]).unwrap_err();
        assert_eq!(error(20), FileError::Cut);
        assert_eq!(error(armored.len() - 20), FileError::Armor);
        let changed = armored.replace(&body, &format!("*{}", &body[1..]));
        assert_eq!(Recipient::all(changed.as_bytes()), Err(FileError::Armor));
    }

    proptest! {
        /// Whatever it is given, it answers.
        #[test]
        fn never_panics(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            let _ = Recipient::all(&bytes);
            let _ = Recipient::all(&[VERSION.as_bytes(), b"\n-> ", &bytes].concat());
            let _ = Recipient::all(&[MAGIC[1], b"\n", &bytes].concat());
        }
    }
}
