//! The session that a forwarded agent has to itself: how its command ends is reported exactly, it takes nothing along when
//! it ends, and the shared connection never sees the agent.

use crate::common::confined::Lab;
use crate::common::git::GitServer;
use crate::common::pace::{paced, patience};
use crate::common::process::until;
use crate::common::shells::{SHELLS, System};
use crate::common::{Home, Sshd, login};
use landfall::machine::{
    CommandError, ConnectErrorKind, ForwardError, HostKeys, Login, Script, Target,
};
use landfall::report::Metrics;
use std::path::Path;
use std::process::Stdio;

#[tokio::test]
async fn the_exit_status_of_its_command_is_reported() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    for (text, status) in [
        ("exit 0", 0),
        ("exit 3", 3),
        ("exit 127", 127),
        // ssh's own word for trouble of its own.
        ("exit 255", 254),
        ("kill -KILL $$", 128 + 9),
        // Nothing connects to it.
        ("if read -r line; then exit 1; fi", 0),
    ] {
        let script = Script::sh(r#"eval "$1""#).arg(text);
        assert_eq!(lab.run(&agent, &script).await.unwrap().status, Some(status), "{text}");
    }
    let target = lab.target().await;
    let mut lines = Vec::new();
    let mut on_line = |line: &str| lines.push(line.to_owned());
    let script = Script::sh(r#"echo one; echo "$1"; echo err >&2; exit 1"#).arg("it's two");
    let run = target.attempt_forwarding(&script, agent.socket(), &mut on_line, patience());
    let output = run.await.unwrap();
    assert_eq!((output.status, output.stderr.as_str()), (Some(1), "err\n"));
    assert_eq!(output.stdout, "one\nit's two\n");
    assert_eq!(lines, ["one", "it's two"]);
}

#[tokio::test]
async fn the_shared_connection_has_no_agent() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let metrics = Metrics::default();
    let own = format!("IdentityAgent={}", lab.agent.socket().display());
    // What a user may have in their configuration.
    let options = ["IdentitiesOnly=yes", &own, "ForwardAgent=yes", "ControlMaster=auto"];
    let options = options.map(str::to_owned).into();
    let login = Login { options, ..login(&lab.home, &lab.sshd) };
    let target = Target::connect(login, Vec::new(), metrics.clone()).await.unwrap();
    let ask = Script::sh(r#"echo "<${SSH_AUTH_SOCK:-}>"; ssh-add -l || :"#);
    let shared = || async { target.run(&ask).await.unwrap() };
    assert!(shared().await.starts_with("<>\n"));
    assert_eq!(metrics.handshakes(), 1);
    // While it is forwarded, and after.
    let during = Script::sh("ssh-add -l");
    let mut ignore = |_: &str| ();
    let forwarded = target.attempt_forwarding(&during, agent.socket(), &mut ignore, patience());
    let (forwarded, meanwhile) = tokio::join!(forwarded, shared());
    let forwarded = forwarded.unwrap();
    // One key of three: it is ours, not the user's own.
    assert_eq!(forwarded.stdout.lines().count(), 1, "{forwarded:?}");
    assert!(meanwhile.starts_with("<>\n") && shared().await.starts_with("<>\n"));
    assert_eq!(metrics.handshakes(), 2);
}

/// A script that says who it is and stays.
fn staying(pid: &Path) -> Script {
    // The child is what must not stay behind.
    let text = r#"sleep 1000 & echo "$!" >"$1.part"; mv "$1.part" "$1"; wait"#;
    Script::sh(text).arg(pid.to_str().unwrap())
}

fn ends(pid: &Path) {
    let pid = std::fs::read_to_string(pid).unwrap();
    let stat = format!("/proc/{}/stat", pid.trim());
    until("it is gone from the target", || {
        std::fs::read_to_string(&stat).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[tokio::test]
async fn the_command_ends_with_its_connection() {
    let lab = Lab::new();
    let agent = lab.confine(lab.policy().await);
    let target = lab.target().await;
    let there = lab.home.path("pid");
    let (script, socket) = (staying(&there), agent.socket());
    let mut ignore = |_: &str| ();
    let is_there = async {
        let there = there.clone();
        let wait = move || until("it runs", || there.exists());
        tokio::task::spawn_blocking(wait).await.unwrap();
    };
    // Its user has enough of it.
    tokio::select! {
        ended = target.attempt_forwarding(&script, socket, &mut ignore, patience()) => {
            panic!("{ended:?}")
        }
        () = is_there => {}
    }
    ends(&there);
    // The connection is lost.
    std::fs::remove_file(&there).unwrap();
    let run = target.attempt_forwarding(&script, socket, &mut ignore, patience());
    let cut = async {
        let there = there.clone();
        let wait = move || until("it runs", || there.exists());
        tokio::task::spawn_blocking(wait).await.unwrap();
        lab.sshd.signal_sessions("KILL");
    };
    let (ended, ()) = tokio::join!(run, cut);
    let error = ended.unwrap_err();
    assert!(matches!(error, ForwardError::Command(CommandError::Lost { .. })), "{error}");
    assert!(error.to_string().to_lowercase().contains("connection"), "{error}");
    assert!(!error.to_string().contains("Bytes per second"), "{error}");
    ends(&there);
    // It takes too long.
    let target = lab.target().await;
    let soon = paced(1);
    let error = target.attempt_forwarding(&script, socket, &mut ignore, soon).await.unwrap_err();
    assert!(matches!(error, ForwardError::Command(CommandError::TimedOut { .. })), "{error}");
}

#[tokio::test]
async fn the_reasons_for_no_session_are_distinguished() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "AllowAgentForwarding no");
    let lab = Lab::of(home, sshd, GitServer::start(), &[]);
    let agent = lab.confine(lab.policy().await);
    let script = Script::command("true");
    let error = lab.run(&agent, &script).await.unwrap_err();
    assert!(matches!(error, ForwardError::NotForwarded), "{error}");

    let mut target = lab.target().await;
    let fails_as = async |target: &Target, kind| {
        let mut ignore = |_: &str| ();
        let socket = agent.socket();
        let ended = target.attempt_forwarding(&script, socket, &mut ignore, patience()).await;
        let Err(ForwardError::Connect(error)) = ended else { panic!("{ended:?}") };
        assert_eq!(error.kind, kind, "{error}");
    };
    // Another machine in its place.
    let other = GitServer::start();
    target.expect(Some(HostKeys::Pinned(vec![other.sshd.host_key()])));
    fails_as(&target, ConnectErrorKind::HostKeyChanged).await;
    // The key is not let in any more.
    let target = lab.target().await;
    std::fs::write(lab.home.path("key.pub"), "").unwrap();
    fails_as(&target, ConnectErrorKind::Denied).await;
    let Lab { home: _home, sshd, .. } = lab;
    drop(sshd);
    fails_as(&target, ConnectErrorKind::Refused).await;
}

/// The text that ties a command to its connection, in every shell that targets have.
#[test]
fn a_command_with_an_agent_ends_with_its_connection_in_every_shell() {
    let home = Home::new();
    let socket = home.path("agent");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    for system in SHELLS.map(System::of) {
        let start = |agent: &Path, arguments: &[&str]| {
            let mut command = system.script("machine/run-with-agent.sh", arguments);
            command.env("SSH_AUTH_SOCK", agent).stdin(Stdio::piped());
            command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
        };
        let code = |agent: &Path, arguments: &[&str]| {
            let mut command = start(agent, arguments);
            // Held, as `ssh` holds it.
            let stdin = command.stdin.take();
            let status = command.wait().unwrap();
            drop(stdin);
            status.code()
        };
        for (status, told) in [("0", 0), ("3", 3), ("255", 254)] {
            let arguments = ["sh", "-c", r#"exit "$1""#, "sh", status];
            assert_eq!(code(&socket, &arguments), Some(told), "{}", system.shell);
        }
        assert_eq!(code(&home.path("nothing"), &["true"]), Some(253), "{}", system.shell);

        let pid = home.path("pid");
        let text = r#"sleep 1000 & echo "$!" >"$1.part"; mv "$1.part" "$1"; wait"#;
        let mut command = start(&socket, &["sh", "-c", text, "sh", pid.to_str().unwrap()]);
        until("it runs", || pid.exists());
        drop(command.stdin.take());
        assert_eq!(command.wait().unwrap().code(), Some(128 + 15), "{}", system.shell);
        ends(&pid);
        std::fs::remove_file(&pid).unwrap();
    }
}
