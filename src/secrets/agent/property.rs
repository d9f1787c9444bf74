//! What holds of every judgement: nothing but what is allowed is passed on, whatever bytes come.

use super::policy::{Connection, Destination, Policy, Verdict, judge};
use super::wire::put_string;
use crate::machine::raw_fingerprint;
use proptest::prelude::*;
use signature::Signer as _;
use ssh_key::rand_core::OsRng;
use ssh_key::{Algorithm, EcdsaCurve, PrivateKey};
use std::ops::Range;
use std::sync::LazyLock;

/// One host that is pinned and one that is not, and the raw keys that log in.
struct World {
    github: PrivateKey,
    stranger: PrivateKey,
    allowed: Vec<u8>,
    hidden: Vec<u8>,
    policy: Policy,
}

static WORLD: LazyLock<World> = LazyLock::new(|| {
    let key = || PrivateKey::random(&mut OsRng, Algorithm::Ed25519).unwrap();
    let (github, stranger) = (key(), key());
    let (allowed, hidden) = (blob(&key()), blob(&key()));
    let destination = Destination {
        user: "git".into(),
        host: "github.com".into(),
        host_keys: vec![blob(&github)],
    };
    let policy = Policy { keys: vec![allowed.clone()], destinations: vec![destination], budget: 3 };
    World { github, stranger, allowed, hidden, policy }
});

fn blob(key: &PrivateKey) -> Vec<u8> {
    key.public_key().to_bytes().unwrap()
}

const SESSION: [u8; 32] = [7; 32];

/// A login, as it is signed.
#[derive(Clone)]
struct Login {
    session: Vec<u8>,
    user: Vec<u8>,
    service: &'static str,
    signed: u8,
    key: Vec<u8>,
    host_key: Option<Vec<u8>>,
    more: Vec<u8>,
}

impl Login {
    /// The one that is allowed, with the host key said.
    fn hostbound() -> Self {
        Self {
            session: SESSION.into(),
            user: b"git".into(),
            service: "ssh-connection",
            signed: 1,
            key: WORLD.allowed.clone(),
            host_key: Some(blob(&WORLD.github)),
            more: Vec::new(),
        }
    }

    /// The one that needs a binding.
    fn unbound() -> Self {
        Self { host_key: None, ..Self::hostbound() }
    }

    fn data(&self) -> Vec<u8> {
        let mut data = Vec::new();
        put_string(&mut data, &self.session);
        data.push(50);
        put_string(&mut data, &self.user);
        put_string(&mut data, self.service.as_bytes());
        let method = match self.host_key {
            Some(_) => "publickey-hostbound-v00@openssh.com",
            None => "publickey",
        };
        put_string(&mut data, method.as_bytes());
        data.push(self.signed);
        put_string(&mut data, b"ssh-ed25519");
        put_string(&mut data, &self.key);
        if let Some(host_key) = &self.host_key {
            put_string(&mut data, host_key);
        }
        data.extend(&self.more);
        data
    }

    fn frame(&self) -> Vec<u8> {
        sign_frame(&self.key, &self.data(), 0)
    }
}

fn sign_frame(key: &[u8], data: &[u8], flags: u32) -> Vec<u8> {
    let mut frame = vec![13];
    put_string(&mut frame, key);
    put_string(&mut frame, data);
    frame.extend(flags.to_be_bytes());
    frame
}

fn signed(host: &PrivateKey, session: &[u8]) -> Vec<u8> {
    Vec::try_from(host.try_sign(session).unwrap()).unwrap()
}

fn bind_frame(host: &PrivateKey, session: &[u8], is_forwarding: bool) -> Vec<u8> {
    bind_frame_with(&blob(host), session, &signed(host, session), is_forwarding)
}

fn bind_frame_with(host: &[u8], session: &[u8], signature: &[u8], is_forwarding: bool) -> Vec<u8> {
    let mut frame = vec![27];
    for part in [b"session-bind@openssh.com", host, session, signature] {
        put_string(&mut frame, part);
    }
    frame.push(u8::from(is_forwarding));
    frame
}

/// The verdict on the last of these frames, on one connection, and why.
fn verdict(frames: &[Vec<u8>]) -> (Verdict, String) {
    let mut connection = Connection::default();
    let judged = frames.iter().map(|frame| judge(&WORLD.policy, &mut connection, 0, frame)).last();
    let (verdict, request) = judged.unwrap();
    (verdict, request.why.unwrap_or_default())
}

#[track_caller]
fn refused(frames: &[Vec<u8>], why: &str) {
    let (verdict, said) = verdict(frames);
    assert_eq!(verdict, Verdict::Refuse);
    assert!(said.contains(why), "'{said}' does not say '{why}'");
}

#[test]
fn the_allowed_login_is_signed_however_its_host_is_named() {
    assert_eq!(verdict(&[vec![11]]).0, Verdict::List);
    assert_eq!(verdict(&[Login::hostbound().frame()]).0, Verdict::Sign);
    let bind = bind_frame(&WORLD.github, &SESSION, false);
    assert_eq!(verdict(std::slice::from_ref(&bind)).0, Verdict::Bind);
    assert_eq!(verdict(&[bind.clone(), Login::unbound().frame()]).0, Verdict::Sign);
    assert_eq!(verdict(&[bind, Login::hostbound().frame()]).0, Verdict::Sign);
    // The agent was handed on by somebody whom we do not know; that is for the agent to mind.
    let hop = bind_frame(&WORLD.stranger, &[1; 32], true);
    assert_eq!(verdict(&[hop, Login::hostbound().frame()]).0, Verdict::Sign);
}

#[test]
fn a_binding_counts_with_every_kind_of_host_key() {
    for curve in [EcdsaCurve::NistP256, EcdsaCurve::NistP384, EcdsaCurve::NistP521] {
        let host = PrivateKey::random(&mut OsRng, Algorithm::Ecdsa { curve }).unwrap();
        let mut policy = WORLD.policy.clone();
        policy.destinations[0].host_keys = vec![blob(&host)];
        let mut connection = Connection::default();
        let bind = bind_frame(&host, &SESSION, false);
        assert_eq!(judge(&policy, &mut connection, 0, &bind).0, Verdict::Bind, "{curve}");
        let sign = Login::unbound().frame();
        assert_eq!(judge(&policy, &mut connection, 0, &sign).0, Verdict::Sign, "{curve}");
    }
}

#[test]
fn the_record_of_a_request_names_everything() {
    let frame = Login::hostbound().frame();
    let (_, request) = judge(&WORLD.policy, &mut Connection::default(), 0, &frame);
    assert_eq!(request.asked, "sign");
    assert_eq!(request.user.as_deref(), Some("git"));
    assert_eq!(request.git_host.as_deref(), Some("github.com"));
    assert_eq!(request.key, Some(raw_fingerprint(&WORLD.allowed)));
    assert_eq!(request.host_key, Some(raw_fingerprint(&blob(&WORLD.github))));
    // What the target chose does not reach the terminal as it is.
    let user = [b"\x1b[2J\n".as_slice(), &[b'x'; 200]].concat();
    let frame = Login { user, ..Login::hostbound() }.frame();
    let (_, request) = judge(&WORLD.policy, &mut Connection::default(), 0, &frame);
    let user = request.user.unwrap();
    assert!(user.starts_with("\\u{1b}[2J\\nxxx") && user.ends_with('…'), "{user}");
}

#[test]
fn every_other_login_is_refused() {
    let login = Login::hostbound;
    let stranger = Some(blob(&WORLD.stranger));
    for (login, why) in [
        (Login { key: WORLD.hidden.clone(), ..login() }, "not one of those allowed"),
        (Login { host_key: stranger, ..login() }, "host key is not pinned"),
        (Login { user: b"root".into(), ..login() }, "user is not the allowed"),
        (Login { user: b"git\0".into(), ..login() }, "user is not the allowed"),
        (Login { user: b"\xff".into(), ..login() }, "not an SSH login"),
        (Login { service: "ssh-userauth", ..login() }, "not an SSH login"),
        (Login { signed: 0, ..login() }, "not an SSH login"),
        (Login { signed: 255, ..login() }, "not an SSH login"),
        (Login { session: Vec::new(), ..login() }, "not an SSH login"),
        (Login { session: vec![0; 65], ..login() }, "not an SSH login"),
        (Login { more: vec![0], ..login() }, "not an SSH login"),
        (Login::unbound(), "not named"),
    ] {
        refused(&[login.frame()], why);
    }
    let data = login().data();
    refused(
        &[sign_frame(&WORLD.allowed, &Login { key: WORLD.hidden.clone(), ..login() }.data(), 0)],
        "for another key",
    );
    refused(&[sign_frame(&WORLD.allowed, &data, 1)], "malformed");
    refused(&[sign_frame(&WORLD.allowed, b"SSHSIG\0\0\0\x04file", 0)], "not an SSH login");
    refused(&[sign_frame(&WORLD.allowed, b"", 0)], "not an SSH login");
    let spent = judge(&WORLD.policy, &mut Connection::default(), 3, &login().frame());
    assert_eq!(spent.0, Verdict::Refuse);
    assert!(spent.1.why.unwrap().contains("all of the 3 signatures"));
}

#[test]
fn a_binding_must_be_proven_and_fit() {
    let sign = Login::unbound().frame();
    let github = |session: &[u8], is_forwarding| bind_frame(&WORLD.github, session, is_forwarding);
    // Of another session, of one it was only handed on in, of another host.
    refused(&[github(&[8; 32], false), sign.clone()], "not named");
    refused(&[github(&SESSION, true), sign.clone()], "not named");
    refused(&[bind_frame(&WORLD.stranger, &SESSION, false), sign.clone()], "not named");
    // The session is said to be with github.com, and signed by a stranger.
    let (host, by_stranger) = (blob(&WORLD.github), signed(&WORLD.stranger, &SESSION));
    let forged = bind_frame_with(&host, &SESSION, &by_stranger, false);
    refused(std::slice::from_ref(&forged), "has not signed");
    refused(&[forged, sign.clone()], "not named");
    // Something follows the signature, inside of its string.
    let signature = [signed(&WORLD.github, &SESSION), vec![0]].concat();
    let longer = bind_frame_with(&host, &SESSION, &signature, false);
    refused(&[longer], "has not signed");
    // Two pinned hosts must not be mixed up.
    let mut policy = WORLD.policy.clone();
    policy.destinations.push(Destination {
        user: "git".into(),
        host: "other".into(),
        host_keys: vec![blob(&WORLD.stranger)],
    });
    let mut connection = Connection::default();
    let bind = bind_frame(&WORLD.stranger, &SESSION, false);
    assert_eq!(judge(&policy, &mut connection, 0, &bind).0, Verdict::Bind);
    let (verdict, request) = judge(&policy, &mut connection, 0, &Login::hostbound().frame());
    assert_eq!(verdict, Verdict::Refuse);
    assert!(request.why.unwrap().contains("another host key"));
    // One connection is for a few sessions.
    let many: Vec<_> = (0..17).map(|number| github(&[number; 32], false)).collect();
    assert_eq!(self::verdict(&many[..16]).0, Verdict::Bind);
    refused(&many, "more than 16");
    // Of another connection nothing is known.
    refused(&[sign], "not named");
}

#[test]
fn every_other_request_is_refused_by_its_name() {
    for number in (0..=255).filter(|number| ![11, 13, 27].contains(number)) {
        for body in [&[][..], &[0; 40]] {
            refused(&[[&[number], body].concat()], "never passed on");
        }
    }
    let (_, request) = judge(&WORLD.policy, &mut Connection::default(), 0, &[22, 0, 0, 0, 0]);
    assert_eq!(request.asked, "lock");
    let mut extension = vec![27];
    put_string(&mut extension, b"query");
    refused(&[extension], "extension query");
    for malformed in [&[][..], &[11, 0], &[13], &[27], &[27, 0, 0, 0, 9]] {
        refused(&[malformed.to_vec()], "malformed");
    }
}

/// Where in a frame bytes may differ without changing what is allowed: the session id, the algorithm's name and, of the
/// flags, what names another hash.
fn free_ranges(login: &Login, session_too: bool) -> Vec<Range<usize>> {
    let frame = login.frame();
    let end = |of: &[u8]| frame.windows(of.len()).position(|window| window == of).unwrap();
    let (session, algorithm) = (end(&login.session), end(b"publickey"));
    // The first `ssh-ed25519` is that of the key blob in front; this one follows the method.
    let algorithm =
        algorithm + frame[algorithm..].windows(11).position(|w| w == b"ssh-ed25519").unwrap();
    let mut ranges = vec![algorithm..algorithm + 11, frame.len() - 4..frame.len()];
    if session_too {
        ranges.push(session..session + login.session.len());
    }
    ranges
}

proptest! {
    #[test]
    fn arbitrary_bytes_are_never_signed(frame in prop::collection::vec(any::<u8>(), 0..600)) {
        let (verdict, request) = judge(&WORLD.policy, &mut Connection::default(), 0, &frame);
        match verdict {
            Verdict::List => prop_assert_eq!(frame, [11]),
            Verdict::Refuse => prop_assert!(request.why.is_some() && request.answer == "refused"),
            Verdict::Sign | Verdict::Bind => prop_assert!(false, "{verdict:?}"),
        }
    }

    /// Any parts of the right shape in any order: closer to the truth than bare bytes.
    #[test]
    fn arbitrary_strings_are_never_signed(
        kind in prop::sample::select(vec![13_u8, 27]),
        parts in prop::collection::vec(
            prop::sample::select(vec![
                WORLD.allowed.clone(),
                blob(&WORLD.github),
                b"session-bind@openssh.com".to_vec(),
                b"publickey".to_vec(),
                b"ssh-connection".to_vec(),
                b"git".to_vec(),
                SESSION.to_vec(),
                Login::unbound().data(),
                vec![],
            ]),
            0..6,
        ),
        tail in prop::collection::vec(any::<u8>(), 0..6),
    ) {
        let mut frame = vec![kind];
        for part in &parts {
            put_string(&mut frame, part);
        }
        frame.extend(tail);
        let mut connection = Connection::default();
        let (verdict, _) = judge(&WORLD.policy, &mut connection, 0, &frame);
        prop_assert_ne!(verdict, Verdict::Sign);
        let (after, _) = judge(&WORLD.policy, &mut connection, 0, &Login::unbound().frame());
        prop_assert_eq!(after, Verdict::Refuse);
    }

    #[test]
    fn a_changed_byte_that_matters_is_refused(at in any::<prop::sample::Index>(), change in 1_u8..) {
        for (login, bound) in [(Login::hostbound(), false), (Login::unbound(), true)] {
            let mut frame = login.frame();
            let at = at.index(frame.len());
            frame[at] ^= change;
            let mut frames = vec![frame];
            if bound {
                frames.insert(0, bind_frame(&WORLD.github, &SESSION, false));
            }
            if verdict(&frames).0 != Verdict::Refuse {
                let free = free_ranges(&login, !bound);
                prop_assert!(free.iter().any(|range| range.contains(&at)), "byte {at}");
            }
        }
    }

    #[test]
    fn a_frame_that_is_longer_or_shorter_is_refused(
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
        longer in any::<bool>(),
    ) {
        let mut frame = Login::hostbound().frame();
        let at = at.index(frame.len());
        if longer {
            frame.insert(at, byte);
        } else {
            frame.remove(at);
        }
        prop_assert_eq!(verdict(&[frame]).0, Verdict::Refuse);
    }

    #[test]
    fn a_changed_binding_proves_nothing(at in any::<prop::sample::Index>(), change in 1_u8..) {
        let mut bind = bind_frame(&WORLD.github, &SESSION, false);
        let at = at.index(bind.len());
        bind[at] ^= change;
        prop_assert_eq!(verdict(&[bind, Login::unbound().frame()]).0, Verdict::Refuse);
    }

    /// Only the allowed keys come out of an agent's list, whatever it says.
    #[test]
    fn a_list_is_filtered(
        shown in prop::collection::vec(
            (prop::sample::select(vec![true, false]), "[a-z@]{0,12}"), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        use super::frame::filter_list;
        let mut answer = vec![12];
        answer.extend(u32::try_from(shown.len()).unwrap().to_be_bytes());
        let mut expected = Vec::new();
        for (allowed, comment) in &shown {
            let key = if *allowed { &WORLD.allowed } else { &WORLD.hidden };
            put_string(&mut answer, key);
            put_string(&mut answer, comment.as_bytes());
            if *allowed {
                put_string(&mut expected, key);
                put_string(&mut expected, comment.as_bytes());
            }
        }
        let (filtered, count, all) = filter_list(&answer, &WORLD.policy.keys).unwrap();
        prop_assert_eq!(&filtered[5..], expected);
        prop_assert_eq!(all, shown.len());
        prop_assert_eq!(count, shown.iter().filter(|(allowed, _)| *allowed).count());
        let cut = cut.index(answer.len());
        prop_assert!(filter_list(&answer[..cut], &WORLD.policy.keys).is_err());
    }
}
