//! What the integration tests stand on: the built binary in a hermetic environment, a real sshd of our own on
//! loopback, keys made by the real ssh-keygen, the fixture fleet.

#![allow(dead_code, reason = "each test crate uses its part")]
#![allow(clippy::disallowed_methods, reason = "tests start what they test, and its peers")]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "that is how a test fails"
)]
#![allow(missing_docs, unreachable_pub, reason = "nobody reads its documentation")]

use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use tempfile::TempDir;

/// A home, state, cache and runtime directory of its own.
pub struct Home {
    dir: TempDir,
}

impl Home {
    pub fn new() -> Self {
        // A short path: the SSH control socket lies in it.
        let dir = tempfile::Builder::new().prefix("lf").tempdir_in("/tmp").unwrap();
        for name in ["run", "state", "cache", "remote"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        Self { dir }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// The binary under test. Of the environment it has only what it needs.
    pub fn landfall(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_landfall"));
        command.args(arguments).stdin(Stdio::null()).env_clear();
        for name in ["PATH", "NIX_CONFIG"] {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", self.dir.path())
            .env("XDG_STATE_HOME", self.path("state"))
            .env("XDG_CACHE_HOME", self.path("cache"))
            .env("XDG_RUNTIME_DIR", self.path("run"));
        command
    }

    /// Runs to the end.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        Ended::of(&self.landfall(arguments).output().unwrap())
    }

    /// Nothing of a run may remain but its log, readable by its owner alone.
    pub fn assert_tidy(&self) {
        let left: Vec<_> = std::fs::read_dir(self.path("run")).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let remote: Vec<_> = std::fs::read_dir(self.path("remote")).unwrap().collect();
        assert!(remote.is_empty(), "left on the target: {remote:?}");
        for log in std::fs::read_dir(self.path("state/landfall/logs")).unwrap() {
            use std::os::unix::fs::PermissionsExt;
            let mode = log.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600);
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(output: &Output) -> Self {
        Self {
            code: output.status.code(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// It failed with `code`, said each of `words`, and where the log is.
    #[track_caller]
    pub fn failed(&self, code: i32, words: &[&str]) -> &Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        for word in words.iter().chain(&["error: ", "target: ", "log: "]) {
            assert!(self.stderr.contains(word), "no '{word}' in\n{}", self.stderr);
        }
        self
    }
}

/// The fixture fleet, as the runner has put it together.
pub fn fleet() -> String {
    let fleet = std::env::var("LANDFALL_FLEET");
    format!("path:{}", fleet.expect("LANDFALL_FLEET is not set: run `cargo xtask test`"))
}

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port()
}

/// A real sshd, as the user who runs the tests.
pub struct Sshd {
    child: Child,
    pub port: u16,
    dir: PathBuf,
}

impl Sshd {
    /// Starts it; sessions have `home` as their HOME. `more` goes into its configuration.
    pub fn start(home: &Home, more: &str) -> Self {
        let dir = home.path(&format!("sshd-{}", free_port()));
        std::fs::create_dir(&dir).unwrap();
        keygen(&dir.join("host"));
        if !home.path("key").exists() {
            keygen(&home.path("key"));
        }
        let port = free_port();
        let config = format!(
            "Port {port}\nListenAddress 127.0.0.1\nHostKey {dir}/host\nPidFile none\nUsePAM no\n\
             StrictModes no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n\
             PermitRootLogin yes\nMaxStartups 100\nLogLevel VERBOSE\n\
             AuthorizedKeysFile {key}.pub\nSetEnv HOME={remote}\n{more}\n",
            dir = dir.display(),
            key = home.path("key").display(),
            remote = home.path("remote").display(),
        );
        std::fs::write(dir.join("config"), config).unwrap();
        // sshd wants it even where it separates no privileges.
        let _ = std::fs::create_dir_all("/run/sshd");
        let mut child = Command::new("/usr/sbin/sshd")
            .arg("-f")
            .arg(dir.join("config"))
            .args(["-D", "-e"])
            .stderr(Stdio::piped())
            .spawn()
            .expect("there is no sshd (package openssh-server): run `cargo xtask test`");
        let log = std::fs::File::create(dir.join("log")).unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap());
        let mut first = String::new();
        while !first.contains("Server listening") {
            first.clear();
            assert_ne!(lines.read_line(&mut first).unwrap(), 0, "sshd did not start");
        }
        std::thread::spawn(move || std::io::copy(&mut lines, &mut &log));
        Self { child, port, dir }
    }

    /// `type base64` of its host key.
    pub fn host_key(&self) -> String {
        let line = std::fs::read_to_string(self.dir.join("host.pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("log")).unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Makes a key pair.
pub fn keygen(path: &Path) {
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-t", "ed25519", "-N", "", "-C", "test", "-f"]).arg(path);
    assert!(made.status().unwrap().success());
}

/// The name of the user who runs the tests.
pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}
