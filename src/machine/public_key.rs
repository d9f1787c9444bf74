//! SSH public keys as OpenSSH writes them, and the files that say whose they are.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use sha2::{Digest, Sha256};

/// The raw public key (RFC 4253, section 6.6) of one given as `type base64`. None if the second word is no base64.
pub(crate) fn raw_key(key: &str) -> Option<Vec<u8>> {
    STANDARD.decode(key.split_whitespace().nth(1)?).ok()
}

/// The fingerprint of a key given as `type base64`, as `ssh-keygen -l` prints it: `SHA256:…`. None if it is no key.
pub fn fingerprint(key: &str) -> Option<String> {
    raw_key(key).map(|raw| raw_fingerprint(&raw))
}

/// The fingerprint of a raw public key.
pub fn raw_fingerprint(raw: &[u8]) -> String {
    format!("SHA256:{}", STANDARD_NO_PAD.encode(Sha256::digest(raw)))
}

/// A line of known_hosts (sshd(8), SSH_KNOWN_HOSTS FILE FORMAT): `[@marker] names type base64 [comment]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct KnownHost<'a> {
    /// `@revoked` or `@cert-authority`.
    pub(crate) marker: Option<&'a str>,
    /// Names and patterns with commas between them, or one hashed name (`|1|…`).
    pub(crate) names: &'a str,
    /// The key's algorithm.
    pub(crate) kind: &'a str,
    /// The key, in Base64.
    pub(crate) key: &'a str,
}

impl<'a> KnownHost<'a> {
    fn parse(line: &'a str) -> Option<Self> {
        let mut words = line.split_whitespace().peekable();
        let marker = words.next_if(|word| word.starts_with('@'));
        let names = words.next().filter(|names| !names.starts_with('#'))?;
        Some(Self { marker, names, kind: words.next()?, key: words.next()? })
    }

    /// The key as `type base64`.
    pub(crate) fn public(&self) -> String {
        format!("{} {}", self.kind, self.key)
    }
}

/// The lines of a known_hosts file that have a key; comments and the rest are passed over.
pub(crate) fn read_known_hosts(text: &str) -> impl Iterator<Item = KnownHost<'_>> {
    text.lines().filter_map(KnownHost::parse)
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

    #[test]
    fn known_hosts_are_read_with_their_markers_and_without_comments() {
        let text = "# a comment of words\n\n\
                    a.org,[b.org]:2222 ssh-ed25519 AAAA a comment\r\n\
                    \t@revoked * ssh-rsa BBBB\n\
                    |1|abc|def ssh-rsa CCCC\n\
                    short.org ssh-rsa\n\
                    @revoked\n";
        let read: Vec<_> = read_known_hosts(text)
            .map(|known| (known.marker, known.names, known.public()))
            .collect();
        let expected = [
            (None, "a.org,[b.org]:2222", "ssh-ed25519 AAAA".to_owned()),
            (Some("@revoked"), "*", "ssh-rsa BBBB".to_owned()),
            (None, "|1|abc|def", "ssh-rsa CCCC".to_owned()),
        ];
        assert_eq!(read, expected);
    }
}
