//! What the integration tests stand on: the built binary in a hermetic environment, a real sshd of our own on
//! loopback, keys made by the real ssh-keygen, the fixture fleet.

pub mod confined;
pub mod events;
pub mod git;
pub mod line;
pub mod pace;
pub mod process;
pub mod scratch;
pub mod shells;

use landfall::commands::rehearse::Port;
use landfall::machine::{Deadlines, Destination, HostKeys, Login, Target};
use landfall::report::Metrics;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use tempfile::TempDir;

/// A home, state, cache and runtime directory of its own.
pub struct Home {
    dir: TempDir,
}

impl Home {
    pub fn new() -> Self {
        // A short path: the SSH control socket lies in it.
        let dir = tempfile::Builder::new().prefix("lf").tempdir_in("/tmp").unwrap();
        for name in ["run", "state", "cache", "remote", "bin"] {
            std::fs::create_dir(dir.path().join(name)).unwrap();
        }
        let home = Self { dir };
        // The fixture fleet's small host is for this architecture, whatever machine the tests run on.
        home.pretend("uname", r#"[ "$1" != -m ] || exec echo x86_64; exec /bin/uname "$@""#);
        home
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Gives every target of this home a program of our own, in place of the machine's.
    pub fn pretend(&self, program: &str, script: &str) {
        let path = self.path("bin").join(program);
        std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
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

    /// All that landfall's logs say.
    pub fn logs(&self) -> String {
        let logs = std::fs::read_dir(self.path("state/landfall/logs")).unwrap();
        logs.map(|log| std::fs::read_to_string(log.unwrap().path()).unwrap()).collect()
    }

    /// Nothing of a run may remain but its log, readable by its owner alone.
    pub fn assert_tidy(&self) {
        let left: Vec<_> = std::fs::read_dir(self.path("run")).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        let remote: Vec<_> = std::fs::read_dir(self.path("remote")).unwrap().collect();
        assert!(remote.is_empty(), "left on the target: {remote:?}");
        for log in std::fs::read_dir(self.path("state/landfall/logs")).unwrap() {
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

/// What the machine that runs the tests may be, when it is the target itself. Its root has keys of its own.
pub const ACCEPT: [&str; 2] =
    ["--accept", "firmware-mismatch,kexec-not-built,kexec-container,kexec-no-key"];

/// A flake with this text; its reference.
pub fn flake(home: &Home, text: &str) -> String {
    std::fs::create_dir_all(home.path("flake")).unwrap();
    std::fs::write(home.path("flake/flake.nix"), text).unwrap();
    format!("path:{}", home.path("flake").display())
}

/// The fixture fleet, as the runner has put it together.
pub fn fleet() -> String {
    let fleet = std::env::var("LANDFALL_FLEET");
    format!("path:{}", fleet.expect("LANDFALL_FLEET is not set: run `cargo xtask test`"))
}

/// A fleet of the home's own, without what only a board needs, and with these age files for its host `encrypted`.
pub fn encrypted_fleet(home: &Home, secrets: &[(&str, &[u8])]) -> String {
    let (from, to) = (fleet(), home.path("fleet"));
    let _ = std::fs::create_dir(&to);
    for entry in std::fs::read_dir(&from["path:".len()..]).unwrap() {
        let path = entry.unwrap().path();
        if path.file_name().unwrap() != "blobs" {
            assert!(Command::new("cp").arg("-a").arg(path).arg(&to).status().unwrap().success());
        }
    }
    let dir = to.join("secrets");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir(&dir).unwrap();
    for (name, content) in secrets {
        std::fs::write(dir.join(name), content).unwrap();
    }
    format!("path:{}", to.display())
}

/// How every sshd of the tests is configured. OpenSSH 9 would prefer sntrup761, which costs a client a tenth of a CPU-second,
/// and an install logs in seven times.
const SSHD_CONFIG: &str = "ListenAddress 127.0.0.1\nPidFile none\nUsePAM no\nStrictModes no\n\
    PasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin yes\nMaxStartups 100\n\
    KexAlgorithms -sntrup*\n";

/// A real sshd, as the user who runs the tests.
pub struct Sshd {
    child: Child,
    pub port: Port,
    dir: PathBuf,
    log: Arc<Log>,
}

/// What it has said so far.
#[derive(Default)]
struct Log {
    text: Mutex<String>,
    grown: Condvar,
}

impl Sshd {
    /// Starts it; sessions have `home`'s `remote` as their HOME and find programs in its `bin` before ours.
    /// `more` goes into its configuration.
    pub fn start(home: &Home, more: &str) -> Self {
        let ours = std::env::var("PATH").unwrap();
        let path = format!("{}:{ours}", home.path("bin").display());
        Self::start_on(home, Port::take().unwrap(), &path, more)
    }

    /// The same on a port that had an sshd before, with that one's host key if it is still there; sessions
    /// find programs in `path` only.
    pub fn start_on(home: &Home, port: Port, path: &str, more: &str) -> Self {
        let dir = home.path(&format!("sshd-{port}"));
        std::fs::create_dir_all(&dir).unwrap();
        for key in [dir.join("host"), home.path("key")] {
            if !key.exists() {
                keygen(&key);
            }
        }
        let config = format!(
            "{SSHD_CONFIG}Port {port}\nHostKey {dir}/host\nLogLevel VERBOSE\n\
             AuthorizedKeysFile {key}.pub\nSetEnv HOME={remote} PATH={path}\n{more}\n",
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
        let stderr = BufReader::new(child.stderr.take().unwrap());
        let log = Arc::new(Log::default());
        let to = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in stderr.lines().map_while(Result::ok) {
                let mut text = to.text.lock().unwrap();
                text.push_str(&line);
                text.push('\n');
                to.grown.notify_all();
            }
        });
        let sshd = Self { child, port, dir, log };
        sshd.wait_for("Server listening", 1);
        sshd
    }

    /// Blocks until it has logged `words` so many times.
    #[track_caller]
    pub fn wait_for(&self, words: &str, times: usize) {
        let text = self.log.text.lock().unwrap();
        let waiting = |text: &mut String| text.matches(words).count() < times;
        let (text, _) = self.log.grown.wait_timeout_while(text, pace::patience(), waiting).unwrap();
        assert!(text.matches(words).count() >= times, "no {times} x '{words}' in\n{text}");
    }

    /// It has not logged `words` so far.
    #[track_caller]
    pub fn never(&self, words: &str) {
        let text = self.log.text.lock().unwrap();
        assert!(!text.contains(words), "'{words}' in\n{text}");
    }

    /// How many clients have connected so far.
    pub fn connections(&self) -> usize {
        self.log.text.lock().unwrap().matches("Connection from").count()
    }

    /// `type base64` of its host key.
    pub fn host_key(&self) -> String {
        let line = std::fs::read_to_string(self.dir.join("host.pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// Its next start on this port will be under another host key.
    pub fn forget_host_key(&self) {
        std::fs::remove_file(self.dir.join("host")).unwrap();
        std::fs::remove_file(self.dir.join("host.pub")).unwrap();
    }

    /// Sends a signal to the processes that serve the present connections, not to what they run.
    pub fn signal_sessions(&self, name: &str) {
        for session in process::children(self.child.id()) {
            process::signal(session.id, name);
        }
    }
}

impl Drop for Sshd {
    fn drop(&mut self) {
        let sessions = process::children(self.child.id());
        let _ = self.child.kill();
        let _ = self.child.wait();
        // They outlive it, and a stopped one would for ever.
        for session in sessions.iter().filter(|session| session.is_alive()) {
            let _ = Command::new("kill").args(["-s", "KILL", &session.id.to_string()]).status();
        }
    }
}

/// Makes a key pair.
pub fn keygen(path: &Path) {
    keygen_as(path, "ed25519", "test");
}

/// Makes a key pair of this type, with this comment.
pub fn keygen_as(path: &Path, kind: &str, comment: &str) {
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-t", kind, "-N", "", "-C", comment, "-f"]).arg(path);
    if kind == "rsa" {
        // A default of 3072 bits takes four times as long to find.
        made.args(["-b", "2048"]);
    }
    assert!(made.status().unwrap().success());
}

/// The name of the user who runs the tests.
pub fn user() -> String {
    let output = Command::new("id").arg("-un").output().unwrap();
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// A real ssh-agent that holds one key.
pub struct Agent {
    child: Child,
    socket: PathBuf,
}

impl Agent {
    pub fn start(home: &Home, key: &Path) -> Self {
        let socket = home.path("agent");
        let mut command = Command::new("ssh-agent");
        let child = command.arg("-D").arg("-a").arg(&socket).stdout(Stdio::null()).spawn().unwrap();
        let agent = Self { child, socket };
        process::until("the agent listens", || UnixStream::connect(&agent.socket).is_ok());
        let mut add = Command::new("ssh-add");
        let added = add.arg("-q").arg(key).env("SSH_AUTH_SOCK", &agent.socket).status();
        assert!(added.unwrap().success());
        agent
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Its process.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// `ssh-add`, for this agent.
    pub fn add(&self) -> Command {
        let mut add = Command::new("ssh-add");
        add.env("SSH_AUTH_SOCK", &self.socket).stdin(Stdio::null());
        add
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An sshd on a system that has nothing but busybox in its PATH.
pub fn busybox_sshd(home: &Home) -> Sshd {
    let bin = home.path("busybox");
    std::fs::create_dir_all(&bin).unwrap();
    let installed = Command::new("busybox").args(["--install", "-s"]).arg(&bin).status();
    let installed =
        installed.expect("there is no busybox (package busybox): run `cargo xtask test`");
    assert!(installed.success());
    Sshd::start_on(home, Port::take().unwrap(), bin.to_str().unwrap(), "")
}

/// Fails unless root runs the tests.
#[track_caller]
pub fn as_root(why: &str) {
    assert_eq!(
        user(),
        "root",
        "this test must run as root ({why}): run `cargo xtask test` as root"
    );
}

/// Landfall's own, for an idle machine.
pub fn deadlines() -> Deadlines {
    let Deadlines { login, first_login, boot, reconnect, command, job, stall } =
        Deadlines::default();
    let [login, first_login, boot, reconnect, command, job, stall] =
        [login, first_login, boot, reconnect, command, job, stall]
            .map(|deadline| deadline.mul_f64(pace::pace()));
    Deadlines { login, first_login, boot, reconnect, command, job, stall }
}

/// How tests of the wire log in: with their own key, expecting exactly this sshd.
pub fn login(home: &Home, sshd: &Sshd) -> Login {
    Login {
        destination: Destination {
            user: Some(user()),
            host: "127.0.0.1".to_owned(),
            port: Some(sshd.port.number()),
        },
        identities: vec![home.path("key")],
        options: ["IdentitiesOnly=yes", "IdentityAgent=none"].map(str::to_owned).into(),
        host_keys: HostKeys::Pinned(vec![sshd.host_key()]),
        may_ask: false,
        deadlines: deadlines(),
    }
}

/// Logs in.
pub async fn connect(home: &Home, sshd: &Sshd) -> Target {
    Target::connect(login(home, sshd), Vec::new(), Metrics::default()).await.unwrap()
}

/// An image with the right layout, whose `run` does nothing but fail.
pub fn hollow_image(home: &Home) -> String {
    std::fs::create_dir_all(home.path("kexec")).unwrap();
    for part in ["run", "kexec", "initrd", "bzImage"] {
        let path = home.path("kexec").join(part);
        std::fs::write(&path, "#!/bin/sh\necho no kexec here\nexit 1\n").unwrap();
        assert!(Command::new("chmod").arg("755").arg(&path).status().unwrap().success());
    }
    tarball(home, "image.tar.gz")
}

/// A tarball of the home's directory `kexec`.
pub fn tarball(home: &Home, name: &str) -> String {
    let path = home.path(name);
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(home.path("")).arg("-czf").arg(&path).arg("kexec");
    assert!(tar.status().unwrap().success());
    path.to_str().unwrap().to_owned()
}
