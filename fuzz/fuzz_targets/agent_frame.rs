//! The confined agent's judgement: it must not panic, and must pass on no signature but for a login that is allowed.
//!
//! The input is a sequence of frames on one connection, each behind its length in two bytes.

#![no_main]

use landfall::secrets::agent::{Connection, Destination, Policy, Verdict, judge};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// A key blob of ed25519, as anybody can write it; its private half exists nowhere.
fn key(byte: u8) -> Vec<u8> {
    [&b"\0\0\0\x0bssh-ed25519\0\0\0\x20"[..], &[byte; 32]].concat()
}

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    keys: vec![key(1)],
    destinations: vec![Destination {
        user: "git".to_owned(),
        host: "github.com".to_owned(),
        host_keys: vec![key(2)],
    }],
    budget: 4,
});

fuzz_target!(|data: &[u8]| {
    let mut connection = Connection::default();
    let mut rest = data;
    while let Some((length, tail)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_be_bytes(*length)).min(tail.len());
        let (frame, tail) = tail.split_at(length);
        rest = tail;
        let (verdict, request) = judge(&POLICY, &mut connection, 0, frame);
        match verdict {
            // With the host key said in the login itself, the fuzzer can write an allowed one; the key in it must be
            // the allowed one then, and the host the pinned one.
            Verdict::Sign => {
                assert_eq!(request.user.as_deref(), Some("git"));
                assert_eq!(request.host.as_deref(), Some("github.com"));
                assert!(frame.windows(51).any(|window| window == key(2)));
            }
            Verdict::Refuse => assert!(request.why.is_some()),
            Verdict::List => assert_eq!(frame, [11]),
            Verdict::Bind => assert_eq!(frame.first(), Some(&27)),
        }
    }
});
