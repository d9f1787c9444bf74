//! Detached jobs over a real sshd: they outlive the connection, and what they say and how they end arrives
//! whole, whatever happens to it.

use crate::common::pace::patience;
use crate::common::{Home, Sshd, as_root, busybox_sshd, connect};
use landfall::machine::{Job, Script, Standing};
use std::fs::{create_dir, remove_dir_all, write};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::spawn;

/// A job's name that no other test uses. Its files go with it.
struct Name(&'static str);

impl Name {
    fn new(text: &str) -> Self {
        as_root("jobs keep their files in /run/landfall");
        Self(Box::leak(format!("test-{text}-{}", std::process::id()).into_boxed_str()))
    }

    /// The job of one run.
    fn job(&self, command: &Script) -> Job {
        self.of_run("run", command)
    }

    fn of_run(&self, run: &str, command: &Script) -> Job {
        Job { name: self.0, id: run.to_owned(), command: command.clone() }
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        let _ = remove_dir_all(format!("/run/landfall/{}", self.0));
    }
}

/// Holds a job up until the test lets it go; the test's end lets it go as well.
struct Gate(PathBuf);

impl Gate {
    fn new(home: &Home) -> Self {
        let dir = home.path("gate");
        create_dir(&dir).unwrap();
        Self(dir)
    }

    /// `text` is shell that calls `gate` to wait.
    fn script(&self, text: &'static str) -> Script {
        const WAIT: &str =
            r#"gate() { while [ -d "$gate" ] && [ ! -e "$gate/open" ]; do sleep 0.1; done; }"#;
        let wrapper = Script::sh(r#"gate=$1; eval "$2"; eval "$3""#);
        wrapper.arg(self.0.to_str().unwrap()).arg(WAIT).arg(text)
    }

    fn open(&self) {
        write(self.0.join("open"), "").unwrap();
    }
}

#[tokio::test]
async fn a_job_outlives_its_connection() {
    let home = Home::new();
    let (name, gate) = (Name::new("outlives"), Gate::new(&home));
    let sshd = Arc::new(Sshd::start(&home, ""));
    let mut target = connect(&home, &sshd).await;
    // Line ends and bytes that are no text must not make it lose its place in the log.
    let script = gate.script(r"printf 'one\r\n\ntwo \377\n'; gate; printf 'three\n'; exit 3");
    let mut heard = Vec::new();
    let mut opener = None;
    let mut hear = |line: &str| {
        heard.push(line.to_owned());
        if line.starts_with("two") {
            // The job may end only when somebody is connected again.
            sshd.signal_sessions("KILL");
            let (sshd, open) = (Arc::clone(&sshd), gate.0.join("open"));
            opener = Some(spawn(move || {
                sshd.wait_for("Accepted publickey", 2);
                write(open, "").unwrap();
            }));
        }
    };
    let error = target.job(&name.job(&script), &mut hear).await.unwrap_err().to_string();
    opener.unwrap().join().unwrap();
    assert_eq!(heard, ["one", "two \u{fffd}", "three"]);
    assert!(error.starts_with("exit status 3"), "{error}");
    assert_eq!(sshd.connections(), 2);
}

#[tokio::test]
async fn the_last_output_of_a_failed_job_is_shown() {
    let home = Home::new();
    let name = Name::new("fails");
    let sshd = Sshd::start(&home, "");
    let mut target = connect(&home, &sshd).await;
    let script =
        Script::sh("i=0; while [ $i -lt 50 ]; do i=$((i + 1)); echo line $i >&2; done; exit 9");
    let mut count = 0;
    let error = target.job(&name.job(&script), &mut |_| count += 1).await.unwrap_err().to_string();
    assert_eq!(count, 50);
    assert!(error.starts_with("exit status 9; its last output:\nline 36\n"), "{error}");
    assert!(error.ends_with("line 49\nline 50"), "{error}");

    // The same name again, once the first has ended, is a new job with a new log.
    let mut lines = Vec::new();
    let good = Script::sh("echo again");
    target.job(&name.job(&good), &mut |line| lines.push(line.to_owned())).await.unwrap();
    assert_eq!(lines, ["again"]);

    let killed = Script::sh("echo last; kill -KILL $$");
    let error = target.job(&name.job(&killed), &mut |_| ()).await.unwrap_err().to_string();
    assert!(error.contains("exit status 137") && error.contains("\nlast"), "{error}");
    let missing = Script::command("no-such-program");
    let error = target.job(&name.job(&missing), &mut |_| ()).await.unwrap_err().to_string();
    assert!(error.starts_with("exit status 127") && error.contains("not found"), "{error}");
}

#[tokio::test]
async fn a_second_job_of_the_same_name_has_to_wait() {
    let home = Home::new();
    let (name, gate) = (Name::new("second"), Gate::new(&home));
    let sshd = Sshd::start(&home, "");
    let (mut first, mut second) = (connect(&home, &sshd).await, connect(&home, &sshd).await);
    let script = gate.script("echo at work; gate; echo done");
    let (working, mut works) = tokio::sync::mpsc::unbounded_channel();
    let mut heard = Vec::new();
    let mut hear = |line: &str| {
        heard.push(line.to_owned());
        working.send(()).unwrap();
    };
    let refuse = async {
        works.recv().await.unwrap();
        let other = Script::sh("echo never");
        let other = name.of_run("another run", &other);
        assert_eq!(second.find(&other).await.unwrap(), Standing::Foreign);
        let error = second.job(&other, &mut |_| ()).await.unwrap_err().to_string();
        assert!(error.contains("a job of an earlier run is still running"), "{error}");
        gate.open();
    };
    let job = name.job(&script);
    let (ended, ()) = tokio::join!(first.job(&job, &mut hear), refuse);
    ended.unwrap();
    assert_eq!(heard, ["at work", "done"], "the second has not touched the first one's log");
}

/// A landfall that was killed is followed by another, of the same run: it gets everything, and nothing is
/// started twice.
#[tokio::test]
async fn a_later_run_finds_its_job_again() {
    let home = Home::new();
    let (name, gate) = (Name::new("found"), Gate::new(&home));
    let sshd = Sshd::start(&home, "");
    let started = home.path("started");
    let script = gate.script("echo at work; gate; echo done");
    let script = Script::sh(r#"echo x >>"$1"; shift; "$@""#)
        .arg(started.to_str().unwrap())
        .args(script.words().iter().cloned());
    let job = name.job(&script);
    {
        let mut first = connect(&home, &sshd).await;
        assert_eq!(first.find(&job).await.unwrap(), Standing::None);
        let (working, mut works) = tokio::sync::mpsc::unbounded_channel();
        let mut hear = |_: &str| working.send(()).unwrap();
        tokio::select! {
            ended = first.job(&job, &mut hear) => panic!("it ended: {ended:?}"),
            _ = works.recv() => {}
        }
    }
    let mut second = connect(&home, &sshd).await;
    assert_eq!(second.find(&job).await.unwrap(), Standing::Running);
    let mut heard = Vec::new();
    let mut hear = |line: &str| {
        heard.push(line.to_owned());
        gate.open();
    };
    second.job(&job, &mut hear).await.unwrap();
    assert_eq!(heard, ["at work", "done"]);
    // Found at work, it may have ended before it is followed.
    let mut again = Vec::new();
    second.follow(&job, &mut |line| again.push(line.to_owned())).await.unwrap();
    assert_eq!(again, heard);
    assert_eq!(std::fs::read_to_string(&started).unwrap(), "x\n");
    assert_eq!(second.find(&job).await.unwrap(), Standing::Done);
    let other = name.of_run("another run", &script);
    assert_eq!(second.find(&other).await.unwrap(), Standing::None);
}

/// Two megabytes, the last line without an end.
async fn a_long_log_arrives_whole(home: &Home, sshd: &Sshd, name: &Name) {
    let mut target = connect(home, sshd).await;
    let script = Script::sh("seq 1 300000; printf 'the end'");
    let mut next = 1;
    let mut last = String::new();
    let mut hear = |line: &str| match line.parse::<u32>() {
        Ok(number) => {
            assert_eq!(number, next, "after {} lines", next - 1);
            next += 1;
        }
        Err(_) => line.clone_into(&mut last),
    };
    target.job(&name.job(&script), &mut hear).await.unwrap();
    assert_eq!((next, last.as_str()), (300_001, "the end"));
}

#[tokio::test]
async fn long_output_arrives_whole_and_in_order() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    a_long_log_arrives_whole(&home, &sshd, &Name::new("long")).await;
}

#[tokio::test]
async fn a_busybox_runs_jobs_too() {
    let home = Home::new();
    let (name, gate) = (Name::new("busybox"), Gate::new(&home));
    let sshd = busybox_sshd(&home);
    a_long_log_arrives_whole(&home, &sshd, &name).await;
    let mut target = connect(&home, &sshd).await;
    let script = gate.script("echo one; gate; echo two; exit 4");
    let mut heard = Vec::new();
    let mut hear = |line: &str| {
        heard.push(line.to_owned());
        if line == "one" {
            sshd.signal_sessions("KILL");
            gate.open();
        }
    };
    let error = target.job(&name.job(&script), &mut hear).await.unwrap_err().to_string();
    assert_eq!(heard, ["one", "two"]);
    assert!(error.starts_with("exit status 4"), "{error}");
}

#[tokio::test]
async fn a_job_that_is_killed_from_outside_is_no_success() {
    let home = Home::new();
    let (name, gate) = (Name::new("killed"), Gate::new(&home));
    let sshd = Sshd::start(&home, "");
    let mut target = connect(&home, &sshd).await;
    let script = gate.script("echo at work; gate");
    let mut hear = |_: &str| {
        let pid = std::fs::read_to_string(format!("/run/landfall/{}/pid", name.0)).unwrap();
        crate::common::process::signal(pid.trim().parse().unwrap(), "KILL");
    };
    let error = target.job(&name.job(&script), &mut hear).await.unwrap_err().to_string();
    assert_eq!(error, "it was killed; its last output:\nat work");
}

/// A reboot in the middle of the work is not taken for the work's end.
#[tokio::test]
async fn another_boot_does_not_know_the_job() {
    let home = Home::new();
    let (name, gate) = (Name::new("reboot"), Gate::new(&home));
    let sshd = Sshd::start(&home, "");
    let mut target = connect(&home, &sshd).await;
    let script = gate.script("echo at work; gate");
    let mut hear = |_: &str| {
        let other = "[ \"$1\" != /proc/sys/kernel/random/boot_id ] || exec echo another";
        home.pretend("cat", &format!("{other}\nexec /bin/cat \"$@\""));
        sshd.signal_sessions("KILL");
    };
    let job = name.job(&script);
    let job = tokio::time::timeout(patience(), target.job(&job, &mut hear));
    let error =
        format!("{:#}", job.await.expect("it waits for a job of another boot").unwrap_err());
    assert!(error.contains("rebooted in the middle of the work (boot another)"), "{error}");
    gate.open();
}
