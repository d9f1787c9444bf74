//! The wire where it is cut in the middle of a line; what is counted on it; and who refuses us, and why.

use crate::common::{Home, Sshd, as_root, keygen, login};
use landfall::commands::rehearse::Port;
use landfall::machine::{ConnectError, ConnectErrorKind, HostKeys, Input, Login, Script, Target};
use landfall::report::Metrics;
use sha2::{Digest, Sha256};
use std::path::{Path, PathBuf};
use tokio::sync::mpsc;

/// Bytes of every value, with no pattern that a transfer could repeat unnoticed.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 1_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_be_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

fn sha256(bytes: &[u8]) -> String {
    landfall::hex(&Sha256::digest(bytes))
}

#[tokio::test]
async fn ten_megabytes_arrive_as_they_were() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let metrics = Metrics::default();
    let target = Target::connect(login(&home, &sshd), Vec::new(), metrics.clone()).await.unwrap();
    let bytes = noise(10_000_000);
    let digest = format!("{}  -\n", sha256(&bytes));
    let sum = Script::command("sha256sum");
    assert_eq!(target.run_with(&sum, Input::Bytes(&bytes)).await.unwrap(), digest);

    let file = home.path("file");
    std::fs::write(&file, &bytes).unwrap();
    let before = metrics.bytes_sent();
    let mut progress = Vec::new();
    let mut hear = |sent| progress.push(sent);
    let mut from = tokio::fs::File::open(&file).await.unwrap();
    let said = target.run_with(&sum, Input::Stream(&mut from, &mut hear)).await.unwrap();
    assert_eq!(said, digest);
    assert!(progress.is_sorted() && progress.len() > 10);
    assert_eq!(progress.last(), Some(&10_000_000));
    assert_eq!(metrics.bytes_sent() - before, 10_000_000);

    // Both ways at once, and a reader that stops reading.
    let text: Vec<_> = (0..1_500_000).map(|number| number.to_string()).collect();
    let text = text.join("\n") + "\n";
    let back = target.run_with(&Script::command("cat"), Input::Bytes(text.as_bytes())).await;
    assert!(back.unwrap() == text);
    let head = Script::sh("head -c 2; exit 3");
    let output = target.attempt(&head, Input::Bytes(text.as_bytes())).await.unwrap();
    assert_eq!((output.status, output.stdout.as_str()), (Some(3), "0\n"));
}

/// A job's name that no other test, or run of the tests, uses; and a place for what wakes it.
struct Job {
    name: &'static str,
    go: PathBuf,
}

impl Job {
    fn new(home: &Home, name: &str) -> Self {
        as_root("jobs live in /run/landfall");
        let name = format!("test-{name}-{}", std::process::id()).leak();
        Self { name, go: home.path("go") }
    }

    /// It calls `wait` to wait for us; the rest is the text.
    fn script(&self, text: &'static str) -> Script {
        let wait = "await() { until [ -e \"$0\" ]; do sleep 0.05; done; }; ";
        let text: &'static str = format!("{wait}{text}").leak();
        Script::command("sh").args(["-c", text]).arg(self.go.to_str().unwrap())
    }

    fn go(&self) {
        std::fs::write(&self.go, "").unwrap();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        // Should it still wait: what wakes it comes before its directory goes.
        let _ = std::fs::write(&self.go, "");
        let _ = std::fs::remove_dir_all(Path::new("/run/landfall").join(self.name));
    }
}

#[tokio::test]
async fn a_job_outlives_its_connection() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let metrics = Metrics::default();
    let mut target =
        Target::connect(login(&home, &sshd), Vec::new(), metrics.clone()).await.unwrap();
    let job = Job::new(&home, "outlives");
    let (sender, mut heard) = mpsc::unbounded_channel();
    // Cut in the middle of a line, after bytes that are no text and lines of another system's kind.
    let cut =
        job.script("printf 'one\\r\\ntwo \\377\\377\\n\\n3\\nhalf'; await; echo way; seq 1 9999");
    let cut = landfall::machine::Job { name: job.name, id: "run".to_owned(), command: cut };
    let mut lines = Vec::new();
    let mut hear = |line: &str| {
        lines.push(line.to_owned());
        sender.send(lines.len()).unwrap();
    };
    let (ended, ()) = tokio::join!(target.job(&cut, &mut hear), async {
        while heard.recv().await.unwrap() < 3 {}
        sshd.signal_sessions("KILL");
        job.go();
    });
    ended.unwrap();
    let mut expected = vec!["one", "two \u{fffd}\u{fffd}", "3", "halfway"];
    let numbers: Vec<_> = (1..=9999).map(|number| number.to_string()).collect();
    expected.extend(numbers.iter().map(String::as_str));
    let differs = lines.iter().zip(&expected).position(|(is, should)| is != should);
    assert!(lines == expected, "{} lines, from {differs:?}: {:?}", lines.len(), &lines[..8]);
    assert_eq!(metrics.handshakes(), 2);
    assert_eq!(target.run(&Script::command("echo").arg("on")).await.unwrap(), "on\n");
}

async fn refusal(login: Login) -> ConnectError {
    match Target::connect(login, Vec::new(), Metrics::default()).await {
        Ok(_) => panic!("it let us in"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn the_reasons_for_no_connection_are_distinguished() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut nobody = login(&home, &sshd);
    let unused = Port::take().unwrap();
    nobody.destination.port = Some(unused.number());
    let refused = refusal(nobody).await;
    assert_eq!(refused.kind, ConnectErrorKind::Refused, "{refused}");

    keygen(&home.path("other"));
    let mut stranger = login(&home, &sshd);
    stranger.identities = vec![home.path("other")];
    let denied = refusal(stranger).await;
    assert_eq!(denied.kind, ConnectErrorKind::Denied, "{denied}");

    let other = std::fs::read_to_string(home.path("other.pub")).unwrap();
    let pinned = HostKeys::Pinned(vec![other.clone()]);
    let changed = refusal(Login { host_keys: pinned, ..login(&home, &sshd) }).await;
    assert_eq!(changed.kind, ConnectErrorKind::HostKeyChanged, "{changed}");

    let known = home.path("known_hosts");
    let mut by_file = Login { host_keys: HostKeys::Known, ..login(&home, &sshd) };
    by_file.options.push(format!("UserKnownHostsFile={}", known.display()));
    std::fs::write(&known, "").unwrap();
    let unknown = refusal(by_file.clone()).await;
    assert_eq!(unknown.kind, ConnectErrorKind::UnknownHostKey, "{unknown}");
    std::fs::write(&known, format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let changed = refusal(by_file).await;
    assert_eq!(changed.kind, ConnectErrorKind::HostKeyChanged, "{changed}");
}
