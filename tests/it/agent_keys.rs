//! Which keys a real ssh-agent holds, and what is said of one that cannot be used: before anything is done.

use crate::common::{Agent, Home, keygen_as};
use landfall::machine::raw_fingerprint;
use landfall::secrets::agent::{
    AgentError, AgentWishes, CannotForward, KeyChoice, choose, held_keys,
};
use std::path::Path;
use std::process::Command;

/// What `ssh-keygen -l` says of a key: the fingerprint is the second word.
fn fingerprint_of(key: &Path) -> String {
    let output = Command::new("ssh-keygen").arg("-lf").arg(key).output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').nth(1).unwrap().to_owned()
}

#[tokio::test]
async fn every_type_of_key_is_listed_as_openssh_names_it() {
    let home = Home::new();
    let kinds = ["ed25519", "rsa", "ecdsa"];
    for kind in kinds {
        keygen_as(&home.path(kind), kind, &format!("my {kind}"));
    }
    // And a certificate for one of them.
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "me", "-V", "+1d", "-s"])
        .arg(home.path("rsa"))
        .arg(home.path("ed25519.pub"));
    assert!(sign.status().unwrap().success());
    let agent = Agent::start(&home, &home.path("ed25519"));
    for kind in ["rsa", "ecdsa"] {
        assert!(agent.add().arg("-q").arg(home.path(kind)).status().unwrap().success());
    }
    let held = held_keys(agent.socket()).await.unwrap();
    let kinds_held: Vec<_> = held.iter().map(|key| key.kind.as_str()).collect();
    let certificate = "ssh-ed25519-cert-v01@openssh.com";
    assert_eq!(kinds_held, ["ssh-ed25519", certificate, "ssh-rsa", "ecdsa-sha2-nistp256"]);
    for kind in kinds {
        let print = fingerprint_of(&home.path(kind));
        let chosen = choose(&held, &[KeyChoice::Fingerprint(print.clone())]).unwrap();
        assert!(chosen.iter().all(|key| key.comment == format!("my {kind}")), "{chosen:?}");
        assert_eq!(chosen.len(), if kind == "ed25519" { 2 } else { 1 }, "with its certificate");
        assert_eq!(raw_fingerprint(&chosen[0].blob), print);
    }
    // The agent's list, byte for byte: what is allowed must be what it will be asked for.
    let listed = agent.add().arg("-L").output().unwrap();
    let listed = String::from_utf8(listed.stdout).unwrap();
    for (line, key) in listed.lines().zip(&held) {
        use base64::Engine as _;
        let base64 = base64::engine::general_purpose::STANDARD.encode(&key.blob);
        assert_eq!(line.split(' ').nth(1), Some(base64.as_str()));
    }
}

/// ssh-key 0.6 does not read a certificate that never ends.
#[tokio::test]
async fn a_key_that_cannot_be_read_does_not_hide_the_others() {
    let home = Home::new();
    for name in ["mine", "authority"] {
        keygen_as(&home.path(name), "ed25519", name);
    }
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-I", "me", "-s"]).arg(home.path("authority")).arg(home.path("mine.pub"));
    assert!(sign.status().unwrap().success());
    let agent = Agent::start(&home, &home.path("mine"));
    let held = held_keys(agent.socket()).await.unwrap();
    let plain = held.iter().find(|key| key.kind == "ssh-ed25519").unwrap();
    assert_eq!(
        (&plain.fingerprint, plain.comment.as_str()),
        (&fingerprint_of(&home.path("mine")), "mine")
    );
}

#[tokio::test]
async fn an_agent_that_is_missing_locked_or_empty_is_reported() {
    let home = Home::new();
    let missing = held_keys(&home.path("nobody")).await.unwrap_err();
    assert!(matches!(missing, AgentError::Unreachable { .. }), "{missing}");

    keygen_as(&home.path("mine"), "ed25519", "mine");
    let agent = Agent::start(&home, &home.path("mine"));
    assert_eq!(held_keys(agent.socket()).await.unwrap().len(), 1);
    home.pretend("askpass", "echo secret");
    let lock = |option| {
        let mut lock = agent.add();
        lock.arg(option).env("SSH_ASKPASS", home.path("bin/askpass"));
        assert!(lock.env("SSH_ASKPASS_REQUIRE", "force").status().unwrap().success());
    };
    lock("-x");
    let locked = held_keys(agent.socket()).await.unwrap_err();
    assert_eq!(locked, AgentError::Empty);
    assert!(locked.to_string().contains("locked"), "{locked}");
    lock("-X");
    assert_eq!(held_keys(agent.socket()).await.unwrap().len(), 1);
    assert!(agent.add().arg("-D").status().unwrap().success());
    assert_eq!(held_keys(agent.socket()).await.unwrap_err(), AgentError::Empty);
}

#[tokio::test]
async fn a_socket_that_is_not_an_agent_is_refused() {
    let home = Home::new();
    let socket = home.path("odd");
    let listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let odd = std::thread::spawn(move || {
        use std::io::{Read, Write};
        let (mut client, _) = listener.accept().unwrap();
        let mut request = [0; 5];
        client.read_exact(&mut request).unwrap();
        client.write_all(b"HTTP/1.0 400 Bad Request\r\n").unwrap();
    });
    let error = held_keys(&socket).await.unwrap_err();
    assert!(matches!(error, AgentError::Unreadable(_)), "{error}");
    odd.join().unwrap();
}

#[tokio::test]
async fn what_is_missing_is_known_before_anything_is_done() {
    let home = Home::new();
    keygen_as(&home.path("mine"), "ed25519", "mine");
    let agent = Agent::start(&home, &home.path("mine"));
    let github = ["ssh://git@github.com/me/secrets".parse().unwrap()];
    let confine = async |keys: &[&str], urls| {
        let keys = keys.iter().map(|comment| KeyChoice::Comment((*comment).to_owned())).collect();
        let wishes = AgentWishes { keys, ..AgentWishes::default() };
        wishes.confine(agent.socket(), urls).await
    };
    let confinement = confine(&[], &github).await.unwrap();
    assert_eq!(confinement.keys.len(), 1);
    assert_eq!(confinement.policy.destinations[0].host_keys.len(), 3);
    assert!(confinement.known_hosts.lines().all(|line| line.starts_with("github.com ")));

    let error = confine(&["other"], &github).await.unwrap_err().to_string();
    assert!(error.contains("does not hold other") && error.contains("mine"), "{error}");
    let unknown = ["ssh://git@git.example.org:2222/x".parse().unwrap()];
    let error = confine(&[], &unknown).await.unwrap_err();
    assert!(matches!(error, CannotForward::Host(_)), "{error}");
    assert!(error.to_string().contains("--git-host-key '[git.example.org]:2222"), "{error}");
    keygen_as(&home.path("second"), "ed25519", "second");
    assert!(agent.add().arg("-q").arg(home.path("second")).status().unwrap().success());
    let error = confine(&[], &github).await.unwrap_err();
    assert!(matches!(error, CannotForward::Agent(AgentError::Ambiguous { .. })), "{error}");
}
