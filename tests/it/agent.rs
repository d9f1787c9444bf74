//! The confined agent between real peers: the user's ssh-agent, a target behind sshd, and a git server that one of the
//! agent's keys opens. What it is for works; everything that a hostile target may try does not.

use crate::common::confined::{FETCH, Lab, answers};
use crate::common::git::GitServer;
use crate::common::pace::patience;
use crate::common::process::{signal, until};
use crate::common::{Home, Sshd};
use landfall::machine::Script;
use landfall::machine::raw_fingerprint;
use landfall::report::AgentRequest;
use landfall::secrets::agent::{ConfinedAgent, Policy, Upstream, held_keys};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn a_private_repository_is_fetched_by_the_one_key_that_opens_it() {
    let lab = Lab::new();
    let policy = lab.policy().await;
    let key = raw_fingerprint(&policy.keys[0]);
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&told);
    let upstream = Upstream::at(lab.agent.socket());
    let tell = move |request: &AgentRequest| hear.lock().unwrap().push(request.clone());
    let agent = ConfinedAgent::start(policy, upstream, None, tell).unwrap();
    for path in [agent.socket(), agent.socket().parent().unwrap()] {
        let mode = std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode & 0o077, 0, "others may reach it");
    }

    let output = lab.run(&agent, &lab.fetch("ed25519")).await.unwrap();
    assert_eq!(output.status, Some(0), "{output:?}");
    assert!(output.stdout.contains("refs/heads/main"), "{output:?}");

    let requests = agent.requests();
    assert_eq!(*told.lock().unwrap(), requests, "each is told");
    let signed: Vec<_> = requests.iter().filter(|request| request.asked == "sign").collect();
    let [signed] = signed[..] else { panic!("{requests:#?}") };
    assert_eq!((signed.answer, signed.why.as_deref()), ("done", None));
    assert_eq!(signed.key.as_deref(), Some(key.as_str()));
    assert_eq!(signed.user, Some(crate::common::user()));
    assert_eq!(signed.git_host, Some(format!("[127.0.0.1]:{}", lab.git.sshd.port)));
    assert_eq!(answers(&agent, "list"), [("done", "1 of 3 keys shown".to_owned())]);
    // By the way there, and for the login itself.
    assert_eq!(answers(&agent, "bind").len(), 2, "{requests:#?}");

    let list = Script::sh("ssh-add -l; echo $SSH_AUTH_SOCK");
    let output = lab.run(&agent, &list).await.unwrap();
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains(&key), "{output:?}");
    let there = std::path::Path::new(lines[1]);
    until("the target's socket is gone", || !there.exists());
}

/// Where the server does not know the newer method, it is the binding that names the host: with every type of key.
#[tokio::test]
async fn a_binding_names_the_host_for_old_servers() {
    let lab = Lab::new();
    for (kind, method) in
        [("ed25519", "unbound"), ("ecdsa", "unbound"), ("rsa", "unbound"), ("rsa", "host-bound")]
    {
        let destinations = lab.git.known_by(kind).destinations(&[lab.git.git_url()]).unwrap();
        let agent = lab.confine(Policy { destinations, ..lab.policy().await });
        let fetch = lab.fetch(kind).arg(format!("-o PubkeyAuthentication={method}"));
        let output = lab.run(&agent, &fetch).await.unwrap();
        assert_eq!(output.status, Some(0), "{kind} {method}: {output:?} {:#?}", agent.requests());
        assert_eq!(answers(&agent, "sign"), [("done", String::new())], "{kind} {method}");
    }
}

#[tokio::test]
async fn other_hosts_and_users_are_refused() {
    let lab = Lab::new();
    let elsewhere = GitServer::start();
    // It would let the key in.
    std::fs::copy(lab.git.key().with_extension("pub"), elsewhere.key().with_extension("pub"))
        .unwrap();
    let known = lab.home.path("elsewhere");
    let hosts = elsewhere.known_by("ed25519");
    std::fs::write(&known, hosts.known_hosts(&[elsewhere.git_url()]).unwrap()).unwrap();
    for method in ["unbound", "host-bound"] {
        let agent = lab.confine(lab.policy().await);
        let fetch = Script::sh(FETCH).arg(known.to_str().unwrap()).arg(elsewhere.url());
        let fetch = fetch.arg(format!("-o PubkeyAuthentication={method}"));
        let output = lab.run(&agent, &fetch).await.unwrap();
        assert_ne!(output.status, Some(0), "{output:?}");
        let [(answer, why)] = &answers(&agent, "sign")[..] else {
            panic!("{:#?}", agent.requests())
        };
        assert_eq!(*answer, "refused");
        assert!(why.contains("not pinned"), "{why}");
    }

    let mut policy = lab.policy().await;
    policy.destinations[0].user = "somebody-else".into();
    let agent = lab.confine(policy);
    let output = lab.run(&agent, &lab.fetch("ed25519")).await.unwrap();
    assert_ne!(output.status, Some(0), "{output:?}");
    let why = "the user is not the allowed one there".to_owned();
    assert_eq!(answers(&agent, "sign"), [("refused", why)]);
}

#[tokio::test]
async fn a_hostile_target_can_neither_change_the_agent_nor_sign_anything_else() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let askpass = lab.home.path("bin").join("askpass");
    lab.home.pretend("askpass", "echo secret");
    for (attempt, argument, asked) in [
        ("ssh-add -q $1", lab.home.path("key"), "add"),
        ("ssh-add -q -t 60 $1", lab.home.path("key"), "add"),
        ("ssh-add -d $1", lab.git.key(), "remove"),
        ("ssh-add -D", lab.git.key(), "remove-all"),
        ("SSH_ASKPASS=$1 SSH_ASKPASS_REQUIRE=force ssh-add -x", askpass.clone(), "lock"),
        ("SSH_ASKPASS=$1 SSH_ASKPASS_REQUIRE=force ssh-add -X", askpass.clone(), "unlock"),
        (
            "SSH_ASKPASS=$1 SSH_ASKPASS_REQUIRE=force ssh-add -s /usr/lib/x.so",
            askpass,
            "add-smartcard",
        ),
        // A signature for a file is no login.
        ("echo x | ssh-keygen -q -Y sign -n file -f $1.pub", lab.git.key(), "sign"),
    ] {
        let script = Script::sh(r#"eval "$1""#);
        let attempt = attempt.replace("$1", argument.to_str().unwrap());
        let output = lab.run(&agent, &script.arg(&attempt)).await.unwrap();
        assert_ne!(output.status, Some(0), "{attempt}: {output:?}");
        let answers = answers(&agent, asked);
        assert!(!answers.is_empty(), "{attempt}: {output:?} {:#?}", agent.requests());
        assert!(answers.iter().all(|(answer, _)| *answer == "refused"), "{attempt}: {answers:?}");
    }
    let why = "it is not an SSH login".to_owned();
    assert_eq!(answers(&agent, "sign"), [("refused", why)]);
    // The user's agent is as it was.
    let listed = lab.agent.add().arg("-l").output().unwrap();
    assert_eq!(String::from_utf8_lossy(&listed.stdout).lines().count(), 3, "{listed:?}");
}

#[tokio::test]
async fn a_budget_is_for_all_connections() {
    let lab = Lab::new();
    let agent = lab.confine(Policy { budget: 2, ..lab.policy().await });
    for expected in [true, true, false] {
        let output = lab.run(&agent, &lab.fetch("ed25519")).await.unwrap();
        assert_eq!(output.status == Some(0), expected, "{output:?}");
    }
    let why = "all of the 2 signatures are used up".to_owned();
    let done = || ("done", String::new());
    assert_eq!(answers(&agent, "sign"), [done(), done(), ("refused", why)]);
}

#[tokio::test]
async fn signatures_can_be_confirmed() {
    let lab = Lab::new();
    let policy = lab.policy().await;
    for agrees in [true, false] {
        let upstream = Upstream::at(lab.agent.socket());
        let confirm = Arc::new(move |request: &AgentRequest| {
            assert_eq!(request.asked, "sign");
            Box::pin(std::future::ready(agrees)) as Pin<Box<dyn Future<Output = bool> + Send>>
        });
        let agent = ConfinedAgent::start(policy.clone(), upstream, Some(confirm), |_| ()).unwrap();
        let output = lab.run(&agent, &lab.fetch("ed25519")).await.unwrap();
        assert_eq!(output.status == Some(0), agrees, "{output:?}");
        let expected = if agrees { ("done", "") } else { ("refused", "it was not confirmed") };
        assert_eq!(answers(&agent, "sign"), [(expected.0, expected.1.to_owned())]);
    }
}

/// OpenSSH's own constraints rest on the bindings of every hop.
#[tokio::test]
async fn keys_with_constraints_of_their_own_keep_them() {
    for (constraints, works) in [
        (&["hop", "hop>git"][..], true),
        // Only here, or from there to somewhere else.
        (&["hop"], false),
        (&["hop", "hop>third"], false),
    ] {
        let home = Home::new();
        let sshd = Sshd::start(&home, "");
        let git = GitServer::start();
        let known = home.path("constraints");
        let third = GitServer::start().sshd.host_key();
        let lines = [("hop", sshd.host_key()), ("git", git.sshd.host_key()), ("third", third)];
        std::fs::write(&known, lines.map(|(name, key)| format!("{name} {key}\n")).concat())
            .unwrap();
        let mut arguments = vec!["-H", known.to_str().unwrap()];
        for constraint in constraints {
            arguments.extend(["-h", constraint]);
        }
        let lab = Lab::of(home, sshd, git, &arguments);
        let agent = lab.confine(lab.policy().await);
        let output = lab.run(&agent, &lab.fetch("ed25519")).await.unwrap();
        assert_eq!(
            output.status == Some(0),
            works,
            "{constraints:?}: {output:?} {:#?}",
            agent.requests()
        );
        let signed = answers(&agent, "sign").iter().any(|(answer, _)| *answer == "done");
        assert_eq!(signed, works, "{constraints:?}");
    }
}

/// A client without manners.
struct Raw(UnixStream);

impl Raw {
    fn connect(agent: &ConfinedAgent) -> Self {
        let stream = UnixStream::connect(agent.socket()).unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        Self(stream)
    }

    /// The answer to a frame, or nothing if it hangs up.
    fn ask(mut self, length: u32, frame: &[u8]) -> (Option<Vec<u8>>, Self) {
        let sent = self.0.write_all(&[&length.to_be_bytes()[..], frame].concat());
        let mut length = [0; 4];
        if sent.is_err() || self.0.read_exact(&mut length).is_err() {
            return (None, self);
        }
        let mut answer = vec![0; u32::from_be_bytes(length) as usize];
        let answer = self.0.read_exact(&mut answer).map(|()| answer);
        (answer.ok(), self)
    }
}

/// It blocks, and the proxy runs on the test's own thread.
async fn ask(raw: Raw, frame: &[u8]) -> (Option<Vec<u8>>, Raw) {
    ask_as(raw, u32::try_from(frame.len()).unwrap(), frame).await
}

async fn ask_as(raw: Raw, length: u32, frame: &[u8]) -> (Option<Vec<u8>>, Raw) {
    let frame = frame.to_owned();
    tokio::task::spawn_blocking(move || raw.ask(length, &frame)).await.unwrap()
}

#[tokio::test]
async fn malformed_requests_are_refused() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    // As much as 2 GiB, and nothing at all: it is not waited for.
    for length in [1 << 31, u32::MAX, 256 * 1024 + 1, 0] {
        let (answer, _) = ask_as(Raw::connect(&agent), length, &[]).await;
        assert_eq!(answer, None, "{length}");
    }
    assert_eq!(answers(&agent, "unreadable").len(), 4, "{:#?}", agent.requests());
    let mut raw = Raw::connect(&agent);
    let extension = [&[27, 0, 0, 0, 5][..], b"query"].concat();
    // A key of the user's that is not shown.
    let held = held_keys(lab.agent.socket()).await.unwrap();
    let hidden = held.iter().find(|key| key.comment == "first").unwrap();
    let sign = [&[13, 0, 0, 0, 51][..], &hidden.blob, &[0; 8]].concat();
    for frame in [&extension[..], &sign, &[1], &[255; 300], &[13], &[27]] {
        let (answer, same) = ask(raw, frame).await;
        assert_eq!(answer.unwrap(), [5], "{frame:?}");
        raw = same;
    }
    assert!(answers(&agent, "sign")[0].1.contains("not one of those allowed"));
    // After all this it still does what it is for.
    let (answer, _) = ask(raw, &[11]).await;
    assert_eq!(answer.unwrap()[..5], [12, 0, 0, 0, 1]);
    assert_eq!(answers(&agent, "list"), [("done", "1 of 3 keys shown".to_owned())]);
}

#[tokio::test]
async fn only_so_many_connections_are_served() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let mut open = Vec::new();
    for _ in 0..16 {
        let (answer, raw) = ask(Raw::connect(&agent), &[11]).await;
        assert!(answer.is_some());
        open.push(raw);
    }
    let (answer, _) = ask(Raw::connect(&agent), &[11]).await;
    assert_eq!(answer, None);
    assert_eq!(answers(&agent, "connect").len(), 1);
}

#[tokio::test]
async fn nothing_is_answered_after_the_phase() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let (answer, raw) = ask(Raw::connect(&agent), &[11]).await;
    assert!(answer.is_some());
    let socket = agent.socket().to_owned();
    drop(agent);
    assert!(!socket.exists() && !socket.parent().unwrap().exists());
    // The connection that was open before is of no use either.
    let (answer, _) = ask(raw, &[11]).await;
    assert_eq!(answer, None);
}

#[tokio::test]
async fn a_question_that_is_answered_too_late_signs_nothing() {
    let lab = Lab::new();
    let (asked, mut was_asked) = tokio::sync::mpsc::unbounded_channel();
    let release = Arc::new(tokio::sync::Notify::new());
    let released = Arc::clone(&release);
    let confirm = Arc::new(move |_: &AgentRequest| {
        asked.send(()).unwrap();
        let released = Arc::clone(&released);
        Box::pin(async move {
            released.notified().await;
            true
        }) as Pin<Box<dyn Future<Output = bool> + Send>>
    });
    let told = Arc::new(Mutex::new(Vec::new()));
    let hear = Arc::clone(&told);
    let tell = move |request: &AgentRequest| hear.lock().unwrap().push(request.asked);
    let upstream = Upstream::at(lab.agent.socket());
    let policy = lab.policy().await;
    let agent = ConfinedAgent::start(policy, upstream, Some(confirm), tell).unwrap();
    let (target, socket) = (lab.target().await, agent.socket().to_owned());
    let (script, mut ignore) = (lab.fetch("ed25519"), |_: &str| ());
    let fetch = target.attempt_forwarding(&script, &socket, &mut ignore, patience());
    let end = async {
        was_asked.recv().await.unwrap();
        drop(agent);
        release.notify_one();
    };
    let (output, ()) = tokio::join!(fetch, end);
    let output = output.unwrap();
    assert_ne!(output.status, Some(0), "{output:?}");
    assert!(!told.lock().unwrap().contains(&"sign"), "{told:?}");
}

/// Who stays behind on the target, to try again later.
#[tokio::test]
async fn nothing_is_left_on_the_target_to_ask() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let seen = lab.home.path("seen");
    let script = Script::sh(
        r#"
        setsid sh -c 'while [ -e "$SSH_AUTH_SOCK" ]; do sleep 0.1; done
            ssh-add -l; echo "$?" >"$1.part"; mv "$1.part" "$1"' sh "$1" >/dev/null 2>&1 &
        ssh-add -l
        "#,
    );
    let output = lab.run(&agent, &script.arg(seen.to_str().unwrap())).await.unwrap();
    assert_eq!(output.status, Some(0), "{output:?}");
    until("the one that stayed has asked", || seen.exists());
    // ssh-add(1): "2 if it is unable to contact the authentication agent".
    assert_eq!(std::fs::read_to_string(seen).unwrap(), "2\n");
}

#[tokio::test]
async fn an_agent_that_dies_is_reported() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let (answer, raw) = ask(Raw::connect(&agent), &[11]).await;
    assert_eq!(answer.unwrap()[0], 12);
    let (policy, script) = (lab.policy().await, lab.fetch("ed25519"));
    let Lab { home, sshd, git, agent: users } = lab;
    drop(users);
    // Once lost, it is not asked again on the same connection.
    let (answer, raw) = ask(raw, &[11]).await;
    assert_eq!(answer.unwrap(), [5]);
    let (answer, _) = ask(raw, &[11]).await;
    assert_eq!(answer.unwrap(), [5]);
    let (answer, _) = ask(Raw::connect(&agent), &[11]).await;
    assert_eq!(answer.unwrap(), [5]);
    let said: Vec<_> = answers(&agent, "list").into_iter().skip(1).collect();
    for ((answer, why), words) in said.iter().zip(["was lost", "was lost before", "be reached"]) {
        assert_eq!(*answer, "failed");
        assert!(why.contains(words), "{why}");
    }
    // A fetch fails, and does not hang. (ssh here still needs some agent to forward another in its place.)
    std::fs::remove_file(home.path("agent")).unwrap();
    let other = crate::common::Agent::start(&home, &home.path("third"));
    let lab = Lab { home, sshd, git, agent: other };
    let upstream = Upstream::at(lab.home.path("nobody"));
    let dead = ConfinedAgent::start(policy, upstream, None, |_| ()).unwrap();
    let output = lab.run(&dead, &script).await.unwrap();
    assert_ne!(output.status, Some(0), "{output:?}");
    assert!(answers(&dead, "list").iter().all(|(answer, _)| *answer == "failed"));
}

#[tokio::test]
async fn an_agent_that_says_nothing_is_given_up() {
    let lab = Lab::new();
    let patience = Duration::from_secs(1);
    let upstream = Upstream { patience, ..Upstream::at(lab.agent.socket()) };
    let agent = ConfinedAgent::start(lab.policy().await, upstream, None, |_| ()).unwrap();
    signal(lab.agent.id(), "STOP");
    let (answer, _) = ask(Raw::connect(&agent), &[11]).await;
    signal(lab.agent.id(), "CONT");
    assert_eq!(answer.unwrap(), [5]);
    let why = "the agent gave no answer within 1 s".to_owned();
    assert_eq!(answers(&agent, "list"), [("failed", why)]);
}
