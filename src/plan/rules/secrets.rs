//! What the proof of decryptability has found, and whether the host key that is supplied has a place.

use super::Keys;
use crate::facts::HostFacts;
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use crate::secrets::age::{Answer, EncryptedSecret, HostIdentity, Proof, Trouble, Verdict};
use crate::secrets::host_key;
use std::fmt::Write as _;

pub(super) fn findings(host: &HostFacts, keys: Keys<'_>) -> Vec<Finding> {
    let mut found = Vec::new();
    let supplied = keys.supplied.map(host_key::kind);
    if let Some(supplied) = supplied.filter(|kind| host.host_key(Some(kind)).is_none()) {
        found.push(kind::HOST_KEY_NO_PLACE.seen(
            format!("'{}' has no host key of the kind {supplied}", host.attribute),
            format!("add a key with type = \"{supplied}\" to services.openssh.hostKeys, or supply another key"),
        ));
    }
    found.extend(keys.proof.secrets.iter().filter_map(|said| secret(said, keys.proof)));
    found.extend(keys.proof.identities.iter().filter_map(identity));
    found
}

fn secret(secret: &EncryptedSecret, proof: &Proof) -> Option<Finding> {
    let EncryptedSecret { name, file, .. } = secret;
    Some(match secret.verdict {
        Verdict::Opened => return None,
        Verdict::Missing => kind::SECRET_MISSING.seen(
            format!("the secret '{name}' is to be decrypted from {file}, which is not there"),
            "check the name; a new file must be added to git, and the flake's input updated",
        ),
        Verdict::Broken => kind::SECRET_BROKEN.seen(
            format!("the secret '{name}' ({file}) cannot be read: {}", secret.trouble),
            "encrypt it again, or look whether git holds its real content (LFS, git-crypt)",
        ),
        Verdict::NotOpened => kind::SECRET_NOT_OPENED.seen(
            format!("no identity of the machine opens the secret '{name}': {}", why(secret, proof)),
            "make the machine a key with `landfall keys create`, add it to secrets.nix, and run `agenix --rekey`",
        ),
        Verdict::Unknown => kind::SECRET_UNKNOWN.seen(
            format!("whether the machine opens the secret '{name}' is not known: {}", why(secret, proof)),
            "use the machine's SSH host key as a recipient (`landfall keys create`), which can be proven",
        ),
    })
}

/// Whom it is for, and what each identity said.
fn why(secret: &EncryptedSecret, proof: &Proof) -> String {
    let mut text = format!("it is for {}", secret.recipients.join(", "));
    if proof.identities.is_empty() {
        text.push_str("; age.identityPaths names no identity");
    }
    for (identity, answer) in proof.identities.iter().zip(&secret.answers) {
        if let Answer::No { why } | Answer::Unknown { why } = answer {
            let _ = write!(text, "; {}: {why}", identity.path);
        }
    }
    text
}

fn identity(identity: &HostIdentity) -> Option<Finding> {
    let path = &identity.path;
    Some(match identity.trouble.as_ref()? {
        Trouble::NotProvided => kind::SECRET_IDENTITY_MISSING.seen(
            format!("age.identityPaths names {path}, and nothing is placed there"),
            "name the SSH host key instead, which landfall places: services.openssh.hostKeys",
        ),
        Trouble::NotMounted(point) => kind::SECRET_IDENTITY_NOT_MOUNTED.seen(
            format!("the identity {path} lies on {point}"),
            format!("set fileSystems.\"{point}\".neededForBoot = true"),
        ),
        Trouble::Passphrase => kind::SECRET_IDENTITY_LOCKED.seen(
            format!("the identity {path} has a passphrase"),
            "use a key without one: the machine's SSH host key",
        ),
        Trouble::Unusable(why) => kind::SECRET_IDENTITY_UNUSABLE.seen(
            format!("the identity {path} cannot be used: {why}"),
            "use an SSH key of type ed25519 or rsa, or a file of age's own keys",
        ),
    })
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// All that is found here.
    pub(in crate::plan::rules) const CODES: [&str; 9] = [
        "host-key-no-place",
        "secret-missing",
        "secret-broken",
        "secret-not-opened",
        "secret-unknown",
        "secret-identity-missing",
        "secret-identity-not-mounted",
        "secret-identity-locked",
        "secret-identity-unusable",
    ];

    /// What is found of a host with one secret and one identity.
    fn codes(supplied: Option<&str>, verdict: Verdict, trouble: Option<Trouble>) -> Vec<Finding> {
        let host: HostFacts = serde_json::from_str(
            r#"{"hostKeys": [{"path": "/etc/ssh/ssh_host_rsa_key", "type": "rsa"}]}"#,
        )
        .unwrap();
        let secret = EncryptedSecret {
            name: "token".into(),
            file: "/nix/store/x/token.age".into(),
            recipients: vec!["ssh-ed25519 6dPNYg".into(), "an age key".into()],
            verdict,
            trouble: "it is cut short".into(),
            answers: vec![Answer::No { why: "it is not encrypted to this key".into() }],
        };
        let identity = HostIdentity {
            path: "/persist/key".into(),
            origin: "not provided",
            fingerprint: None,
            trouble,
        };
        let proof = Proof { identities: vec![identity], secrets: vec![secret] };
        findings(&host, Keys { supplied, proof: &proof })
    }

    #[test]
    fn each_is_found_by_its_name_and_nothing_else_is() {
        let of = |verdict| codes(None, verdict, None);
        let with = |trouble| codes(None, Verdict::Opened, Some(trouble));
        let found = [
            codes(Some("ssh-ed25519 AAAA"), Verdict::Opened, None),
            of(Verdict::Missing),
            of(Verdict::Broken),
            of(Verdict::NotOpened),
            of(Verdict::Unknown),
            with(Trouble::NotProvided),
            with(Trouble::NotMounted("/persist".into())),
            with(Trouble::Passphrase),
            with(Trouble::Unusable("it is not a private key".into())),
        ];
        for (found, code) in found.iter().zip(CODES) {
            let seen: Vec<_> = found.iter().map(|found| found.kind.code).collect();
            assert_eq!(seen, [code]);
        }
        assert_eq!(of(Verdict::Opened), []);
        assert_eq!(codes(Some("ssh-rsa AAAA"), Verdict::Opened, None), []);
    }

    #[test]
    fn it_says_whom_a_secret_is_for_and_why_it_stays_shut() {
        let found = codes(None, Verdict::NotOpened, None);
        assert_eq!(
            found[0].what,
            "no identity of the machine opens the secret 'token': it is for ssh-ed25519 6dPNYg, an age key; \
             /persist/key: it is not encrypted to this key"
        );
    }
}
