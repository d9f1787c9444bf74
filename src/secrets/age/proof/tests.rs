//! What the proof says of a host, for each way in which its identities come about.

use super::*;
use crate::secrets::HostKey;

const ED25519: &str = "/etc/ssh/ssh_host_ed25519_key";
const RSA: &str = "/etc/ssh/ssh_host_rsa_key";

/// A host with one secret, which is encrypted to this key, and identities at these paths.
fn host(key: &HostKey, paths: &[&str]) -> HostFacts {
    let json = format!(
        r#"{{"secrets": [{{"name": "token", "file": "/nix/store/x-source/token.age"}}],
            "identityPaths": {paths:?}, "layoutMounts": ["/", "/persist"],
            "fileSystems": {{"/": {{}}, "/persist": {{"neededForBoot": true}}, "/home": {{}}, "/data": {{}}}},
            "hostKeys": [{{"path": "{ED25519}", "type": "ed25519"}}, {{"path": "{RSA}", "type": "rsa"}}],
            "disks": {{"a": {{"device": "/dev/a", "destroy": true}}}}}}"#
    );
    let mut host: HostFacts = serde_json::from_str(&json).unwrap();
    let encrypted = key.encrypt(std::slice::from_ref(&key.public)).unwrap();
    host.secret_files.insert("/nix/store/x-source/token.age".into(), Some(encrypted));
    host
}

fn proof(host: &HostFacts, host_keys: HostKeys<'_>) -> Proof {
    Proof::of(host, Coming { host_keys, placed: &BTreeMap::new() })
}

fn verdict(host: &HostFacts, host_keys: HostKeys<'_>) -> Verdict {
    proof(host, host_keys).secrets[0].verdict
}

#[test]
fn the_verdict_depends_on_the_source_of_the_host_key() {
    let (key, other) = (HostKey::create("a").unwrap(), HostKey::create("b").unwrap());
    let host = host(&key, &[RSA, ED25519]);
    let supplied = proof(&host, HostKeys::Supplied(&key.supplied()));
    assert_eq!(supplied.secrets[0].verdict, Verdict::Opened);
    assert!(matches!(
        supplied.secrets[0].answers[..],
        [Answer::No { .. }, Answer::Yes { by: "decrypted" }]
    ));
    assert_eq!(supplied.identities[1].fingerprint.as_deref(), Some(&*key.fingerprint()));
    assert!(supplied.identities.iter().all(|identity| identity.trouble.is_none()));
    assert_eq!(verdict(&host, HostKeys::Supplied(&other.supplied())), Verdict::NotOpened);
    assert_eq!(verdict(&host, HostKeys::Created), Verdict::NotOpened);
    let present = |key: &HostKey| BTreeMap::from([(ED25519.to_owned(), key.public.clone())]);
    assert_eq!(verdict(&host, HostKeys::Kept(Some(&present(&key)))), Verdict::Opened);
    assert_eq!(verdict(&host, HostKeys::Kept(Some(&present(&other)))), Verdict::NotOpened);
    assert_eq!(verdict(&host, HostKeys::Kept(Some(&BTreeMap::new()))), Verdict::NotOpened);
    assert_eq!(verdict(&host, HostKeys::Kept(None)), Verdict::Unknown);
}

#[test]
fn an_identity_that_is_not_placed_opens_nothing() {
    let key = HostKey::create("a").unwrap();
    let trouble = |host: &HostFacts| proof(host, HostKeys::Created).identities[0].trouble.clone();
    let mut on_root = host(&key, &["/root/.ssh/id_ed25519"]);
    assert_eq!(trouble(&on_root), Some(Trouble::NotProvided));
    assert_eq!(verdict(&on_root, HostKeys::Created), Verdict::NotOpened);
    // With a disk that is left as it is, who knows what is there.
    on_root.disks.as_mut().unwrap().get_mut("a").unwrap().destroy = false;
    assert_eq!(trouble(&on_root), None);
    assert_eq!(verdict(&on_root, HostKeys::Created), Verdict::Unknown);
    let nowhere = host(&key, &[]);
    assert_eq!(verdict(&nowhere, HostKeys::Supplied(&key.supplied())), Verdict::NotOpened);
}

#[test]
fn an_identity_must_be_mounted_in_time() {
    let key = HostKey::create("a").unwrap();
    for (path, point) in
        [("/persist/key", None), ("/home/me/.ssh/key", Some("/home")), ("/homes/key", None)]
    {
        let host = host(&key, &[path]);
        let placed = BTreeMap::from([(path.to_owned(), key.private.clone())]);
        let proof = Proof::of(&host, Coming { host_keys: HostKeys::Created, placed: &placed });
        let expected = point.map(|point: &str| Trouble::NotMounted(point.to_owned()));
        assert_eq!(proof.identities[0].trouble, expected, "{path}");
        let opened = proof.secrets[0].verdict == Verdict::Opened;
        assert_eq!(opened, point.is_none(), "{path}");
    }
}

#[test]
fn a_file_that_is_placed_is_tried() {
    let key = HostKey::create("a").unwrap();
    let host = host(&key, &["/persist/key"]);
    let of = |file: &[u8]| {
        let placed = BTreeMap::from([("/persist/key".to_owned(), Secret::new(file.to_vec()))]);
        let proof = Proof::of(&host, Coming { host_keys: HostKeys::Created, placed: &placed });
        (proof.secrets[0].verdict, proof.identities[0].trouble.clone())
    };
    assert_eq!(of(key.private.expose()), (Verdict::Opened, None));
    let (verdict, trouble) = of(b"no key");
    assert_eq!(verdict, Verdict::NotOpened);
    assert!(matches!(trouble, Some(Trouble::Unusable(_))), "{trouble:?}");
    let parsed = ssh_key::PrivateKey::from_openssh(key.private.expose()).unwrap();
    let locked = parsed.encrypt(&mut ssh_key::rand_core::OsRng, "x").unwrap();
    let locked = locked.to_openssh(ssh_key::LineEnding::LF).unwrap();
    assert_eq!(of(locked.as_bytes()), (Verdict::NotOpened, Some(Trouble::Passphrase)));
}

#[test]
fn files_that_are_missing_or_broken_are_reported() {
    let key = HostKey::create("a").unwrap();
    let mut host = host(&key, &[ED25519]);
    let supplied = key.supplied();
    let file = host.secret_files.values_mut().next().unwrap();
    file.as_mut().unwrap().truncate(60);
    let broken = proof(&host, HostKeys::Supplied(&supplied));
    assert_eq!(broken.secrets[0].verdict, Verdict::Broken);
    assert!(broken.text().contains("it is cut short"), "{broken:?}");
    host.secret_files.clear();
    assert_eq!(verdict(&host, HostKeys::Supplied(&supplied)), Verdict::Missing);
    host.secrets = None;
    assert!(!proof(&host, HostKeys::Supplied(&supplied)).declares_secrets());
}

#[test]
fn the_table_has_a_line_for_each_secret() {
    let key = HostKey::create("a").unwrap();
    let host = host(&key, &[RSA, ED25519]);
    let text = proof(&host, HostKeys::Supplied(&key.supplied())).text();
    let expected = format!(
        "which secrets the machine will open, and with what:\n  1: {RSA} (a host key that sshd makes later)\n  \
         2: {ED25519} (the supplied host key) {}\n  token  1: no  2: yes (decrypted)",
        key.fingerprint()
    );
    assert_eq!(text.trim_end(), expected);
}
