//! The wire, as the steps use it, against a real sshd: commands, detached jobs, and waiting for a machine
//! to come back.

use crate::common::pace::{paced, patience};
use crate::common::{Home, Sshd, connect, deadlines, login};
use landfall::commands::rehearse::Port;
use landfall::facts::TargetFacts;
use landfall::machine::{
    ConnectErrorKind, Connection, Deadlines, Input, Login, NotBack, Script, Target,
};
use landfall::report::Metrics;
use std::sync::{Arc, Mutex};
use std::time::Duration;

#[tokio::test]
async fn one_connection_carries_many_commands() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let metrics = Metrics::default();
    let target = Target::connect(login(&home, &sshd), Vec::new(), metrics.clone()).await.unwrap();
    for number in 0..40 {
        let echo = Script::command("echo").arg(number.to_string());
        assert_eq!(target.run(&echo).await.unwrap(), format!("{number}\n"));
    }
    // At once, as while the image goes up and the disks are looked at.
    let echo = |word: &'static str| Script::sh("sleep 0.1; echo $1").arg(word);
    let (a, b, c) = (echo("a"), echo("b"), echo("c"));
    let said = tokio::try_join!(target.run(&a), target.run(&b), target.run(&c)).unwrap();
    assert_eq!(said, ("a\n".to_owned(), "b\n".to_owned(), "c\n".to_owned()));
    assert_eq!(sshd.connections(), 1);
    assert_eq!(metrics.handshakes(), 1);
}

#[tokio::test]
async fn an_agent_s_key_opens_too() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let agent = crate::common::Agent::start(&home, &home.path("key"));
    // With no key file to fall back on.
    let with_agent = Login {
        identities: Vec::new(),
        options: vec![format!("IdentityAgent={}", agent.socket().display())],
        ..login(&home, &sshd)
    };
    Target::connect(with_agent, Vec::new(), Metrics::default()).await.unwrap();
}

#[tokio::test]
async fn the_exit_status_of_a_command_is_exact() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let target = connect(&home, &sshd).await;
    let ended = async |script: &'static str| {
        target.attempt(&Script::sh(script), Input::Nothing).await.unwrap()
    };
    for (script, status) in [
        ("exit 0", Some(0)),
        ("exit 1", Some(1)),
        ("exit 127", Some(127)),
        // What ssh(1) itself would return for a connection that is gone.
        ("exit 255", Some(255)),
        ("kill -KILL $$", None),
    ] {
        assert_eq!(ended(script).await.status, status, "{script}");
    }
    let output = ended("echo out; echo err >&2; false; echo not reached").await;
    assert_eq!((output.stdout.as_str(), output.stderr.as_str()), ("out\n", "err\n"));
    assert_eq!(output.status, Some(1));

    let missing = Script::command("no-such-program-anywhere");
    let output = target.attempt(&missing, Input::Nothing).await.unwrap();
    assert_eq!(output.status, Some(127));
    let error = target.run(&missing).await.unwrap_err();
    assert!(!error.is_lost() && error.to_string().contains("exit status 127"), "{error}");
}

/// Bytes that no compressor or text filter leaves alone (a xorshift generator).
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut bytes = Vec::with_capacity(length + 8);
    while bytes.len() < length {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(length);
    bytes
}

#[tokio::test]
async fn ten_megabytes_go_in_and_come_back() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let target = connect(&home, &sshd).await;
    let noise = noise(10_000_000);

    // There as a file, byte for byte …
    let local = home.path("noise");
    std::fs::write(&local, &noise).unwrap();
    let mut last = 0;
    let mut on_progress = |bytes: u64| {
        assert!(bytes > last, "progress went from {last} to {bytes}");
        last = bytes;
    };
    let receive = Script::sh(r#"cat >"$1""#).arg(home.path("received").to_str().unwrap());
    let mut from = tokio::fs::File::open(&local).await.unwrap();
    target.run_with(&receive, Input::Stream(&mut from, &mut on_progress)).await.unwrap();
    assert_eq!(last, 10_000_000);
    assert!(std::fs::read(home.path("received")).unwrap() == noise, "it arrived changed");

    // … and there and back as text, with and without line ends.
    for per_line in [64, usize::MAX] {
        let mut text = String::with_capacity(11_000_000);
        for (at, byte) in noise.iter().enumerate() {
            text.push(char::from(b'a' + byte % 26));
            if at % per_line == per_line - 1 {
                text.push('\n');
            }
        }
        let cat = Script::command("cat");
        let back = target.run_with(&cat, Input::Bytes(text.as_bytes())).await.unwrap();
        assert!(back == text, "it came back changed");
    }
    // Who does not read all of it has not failed for that.
    let head = Script::sh("head -c 1 >/dev/null");
    target.run_with(&head, Input::Bytes(&noise)).await.unwrap();
}

#[tokio::test]
async fn odd_words_arrive_as_they_are() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let target = connect(&home, &sshd).await;
    let odd = [
        "",
        " ",
        "'",
        "\"",
        "\\",
        "\n",
        "a\n\nb\n",
        "-",
        "--",
        "-n",
        "--help",
        "$HOME",
        "`id`",
        "$(id)",
        "!!",
        "*",
        "~",
        "{a,b}",
        "a b\tc",
        "#",
        "grüß",
        "日本語",
        "🦀",
        "\u{1b}[31m",
        "\r\n",
        "%s",
        "a'b\"c\\d",
        "\u{a0}",
        ";reboot",
        "&",
        "|",
        ">x",
        "'\"'\"'",
    ];
    let script = Script::sh(r#"for word; do printf '%s\0' "$word"; done"#).args(odd);
    let said = target.run(&script).await.unwrap();
    let words: Vec<&str> = said.split_terminator('\0').collect();
    assert_eq!(words, odd);
}

#[tokio::test]
async fn a_busybox_is_enough_of_a_system() {
    let home = Home::new();
    let ours = TargetFacts::gather(&connect(&home, &Sshd::start(&home, "")).await).await.unwrap();
    let sshd = crate::common::busybox_sshd(&home);
    let facts = TargetFacts::gather(&connect(&home, &sshd).await).await.unwrap();
    assert!(facts.tools.contains("tar") && !facts.tools.contains("nix"), "{:?}", facts.tools);
    let machine = facts.machine.clone();
    // Nor does it have what reveals a hypervisor.
    let hypervisor = facts.hypervisor.clone();
    let (tools, available) = (facts.tools.clone(), facts.available);
    // What is free changes; where it is looked for does not.
    let mut ours = ours;
    assert_eq!(ours.places.len(), facts.places.len());
    for (place, seen) in ours.places.iter_mut().zip(&facts.places) {
        assert!(seen.free > 0, "{seen:?}");
        place.free = seen.free;
    }
    let expected = TargetFacts { tools, available, machine, hypervisor, ..ours };
    assert_eq!(facts, expected);
}

#[tokio::test]
async fn a_lost_connection_is_noticed() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let link = Connection::open(&login(&home, &sshd), &Metrics::default()).await.unwrap();
    let still = tokio::time::timeout(Duration::from_millis(300), link.lost()).await;
    assert!(still.is_err(), "it is not lost yet");
    sshd.signal_sessions("KILL");
    tokio::time::timeout(patience(), link.lost()).await.unwrap();
}

/// As after a kexec: the peer is there no more, and nothing on the wire says so.
#[tokio::test]
async fn a_frozen_peer_is_noticed() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let link = Connection::open(&login(&home, &sshd), &Metrics::default()).await.unwrap();
    sshd.signal_sessions("STOP");
    tokio::time::timeout(patience(), link.lost()).await.unwrap();
}

#[tokio::test]
async fn a_command_ends_with_its_session() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let target = connect(&home, &sshd).await;
    let flag = home.path("flag");
    let script =
        Script::sh(r#": >"$1"; while [ -e "$1" ]; do sleep 0.2; done"#).arg(flag.to_str().unwrap());
    let run = target.run(&script);
    let cut = async {
        tokio::task::spawn_blocking(move || {
            crate::common::process::until("it runs", || flag.exists());
        })
        .await
        .unwrap();
        sshd.signal_sessions("KILL");
    };
    let (ended, ()) = tokio::join!(run, cut);
    assert!(ended.unwrap_err().is_lost());
}

/// A target whose next boot may take so many seconds on an idle machine.
async fn connect_for(home: &Home, sshd: &Sshd, seconds: u64) -> Target {
    let deadlines = Deadlines { boot: paced(seconds), ..deadlines() };
    let login = Login { deadlines, ..login(home, sshd) };
    Target::connect(login, Vec::new(), Metrics::default()).await.unwrap()
}

/// Waits for another boot than the present one; what was last seen in the meantime.
async fn wait(target: &mut Target) -> (Result<(), NotBack>, String) {
    let last = Arc::new(Mutex::new(String::new()));
    let heard = Arc::clone(&last);
    target.report_waits(Box::new(move |_, _, _, seen| seen.clone_into(&mut heard.lock().unwrap())));
    let waited = target.await_new_boot("another boot").await;
    let last = last.lock().unwrap().clone();
    (waited, last)
}

#[tokio::test]
async fn an_old_system_that_never_goes_down_is_distinguished_from_silence() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut target = connect_for(&home, &sshd, 4).await;
    let (waited, _) = wait(&mut target).await;
    assert!(matches!(waited, Err(NotBack::OldSystem(_))), "{waited:?}");

    // Also when its connection was lost, and it lets us in again.
    sshd.signal_sessions("KILL");
    let (waited, _) = wait(&mut target).await;
    assert!(matches!(waited, Err(NotBack::OldSystem(_))), "{waited:?}");
    assert_eq!(sshd.connections(), 2, "as long as it is connected, nothing needs to be asked");

    drop(sshd);
    // This machine answers ping, where there is a `ping`.
    let (waited, seen) = wait(&mut target).await;
    let Err(NotBack::Silent { last, .. } | NotBack::NoLogin { last, .. }) = waited else {
        panic!("{waited:?}")
    };
    assert!(last.contains("Connection refused"), "{last}");
    assert!(seen.contains("Connection refused"), "{seen}");
}

#[tokio::test]
async fn another_machine_in_its_place_is_an_alarm() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut target = connect_for(&home, &sshd, 60).await;
    let port = sshd.port.clone();
    sshd.forget_host_key();
    drop(sshd);
    let impostor = Sshd::start_on(&home, port, &std::env::var("PATH").unwrap(), "");
    let (waited, _) = wait(&mut target).await;
    assert!(matches!(waited, Err(NotBack::OtherMachine(_))), "{waited:?}");
    assert!(!target.answers_as(target.host_keys().clone()).await);
    let its_own = landfall::machine::HostKeys::Pinned(vec![impostor.host_key()]);
    assert!(target.answers_as(its_own).await);
    let opened = Connection::open(&login(&home, &impostor), &Metrics::default()).await;
    assert!(opened.is_ok(), "with its own key it is a machine like any other");
}

#[tokio::test]
async fn a_system_that_keeps_refusing_is_no_silence() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut target = connect_for(&home, &sshd, 120).await;
    std::fs::write(home.path("key.pub"), "").unwrap();
    sshd.signal_sessions("KILL");
    let (waited, _) = wait(&mut target).await;
    let Err(NotBack::LoginRefused(text)) = waited else { panic!("{waited:?}") };
    assert!(text.contains("Permission denied"), "{text}");
}

/// Makes the next system on this home another boot.
fn reboot_into(home: &Home, id: &str) {
    home.pretend(
        "cat",
        &format!(
            "[ \"$1\" != /proc/sys/kernel/random/boot_id ] || exec echo {id}\nexec /bin/cat \"$@\""
        ),
    );
}

#[tokio::test]
async fn another_boot_is_what_is_waited_for() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut target = connect(&home, &sshd).await;
    let old = target.boot().clone();
    reboot_into(&home, "the-installer");
    sshd.signal_sessions("KILL");
    wait(&mut target).await.0.unwrap();
    assert_ne!(*target.boot(), old);
    assert_eq!(target.boot().to_string(), "the-installer");
    // A short break of the same boot is repaired; another boot in the middle of the work is a failure.
    sshd.signal_sessions("KILL");
    target.reconnect().await.unwrap();
    reboot_into(&home, "a-surprise");
    let error = target.reconnect().await.unwrap_err().to_string();
    assert!(error.contains("rebooted in the middle of the work"), "{error}");
}

#[tokio::test]
async fn who_hangs_up_is_dropped_not_refused() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let port = Port::take().unwrap();
    let listener = std::net::TcpListener::bind(("127.0.0.1", port.number())).unwrap();
    // Hangs up on the first, and is gone.
    let rude = std::thread::spawn(move || drop(listener.accept()));
    let mut login = login(&home, &sshd);
    login.destination.port = Some(port.number());
    let kind =
        |opened: Result<Connection, landfall::machine::ConnectError>| opened.err().unwrap().kind;
    let opened = Connection::open(&login, &Metrics::default()).await;
    assert_eq!(kind(opened), ConnectErrorKind::Dropped);
    rude.join().unwrap();
    let opened = Connection::open(&login, &Metrics::default()).await;
    assert_eq!(kind(opened), ConnectErrorKind::Refused);
}
