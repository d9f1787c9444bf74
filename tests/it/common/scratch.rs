//! A scratch machine: real sshd, real shell scripts, real ext4 on disks that are files, in namespaces of its own. It
//! kexecs, restarts, loses its power and boots what is on its disks. (`tests/scratch/machine.sh` is its process 1.)

use super::process::{self, Process};
use super::{Ended, Home, SSHD_CONFIG, fleet, keygen, tarball};
use landfall::commands::rehearse::Port;
use std::fmt::Write as _;
use std::fs;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// What its hardware is not.
const ACCEPT: &str = "firmware-mismatch,kexec-not-built,kexec-container";

/// Bytes of each disk.
const DISK: u64 = 48 << 20;

/// The machine, switched on. Dropping it pulls the plug.
pub struct Scratch {
    pub home: Home,
    /// Where its sshd listens; a machine that is switched off for a moment must find it again.
    pub port: Port,
    /// Where landfall finds it: its port, or that of a line in between.
    pub line: u16,
    dir: PathBuf,
    power: Option<Child>,
    loops: Vec<String>,
    image: String,
}

impl Scratch {
    /// With two blank disks, in its rescue system.
    pub fn new() -> Self {
        Self::with(|_| ())
    }

    /// The same, with something done to its directory before it is switched on.
    pub fn with(prepare: impl FnOnce(&Path)) -> Self {
        super::as_root("a scratch machine has namespaces and disks of its own");
        let home = Home::new();
        let dir = home.path("machine");
        fs::create_dir(&dir).unwrap();
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scratch");
        for part in ["kexec", "initrd", "bzImage"] {
            fs::create_dir_all(home.path("kexec")).unwrap();
            fs::write(home.path("kexec").join(part), part).unwrap();
        }
        fs::copy(source.join("run"), home.path("kexec/run")).unwrap();
        let image = tarball(&home, "image.tar.gz");
        keygen(&dir.join("host_key"));
        keygen(&home.path("key"));
        fs::write(dir.join("next"), "rescue").unwrap();
        fs::write(dir.join("os-release"), "").unwrap();
        fs::write(dir.join("calls"), "").unwrap();
        let port = Port::take().unwrap();
        let mut scratch =
            Self { line: port.number(), port, home, dir, power: None, loops: Vec::new(), image };
        scratch.plug_in_disks();
        scratch.configure_sshd(&source);
        prepare(&scratch.dir);
        scratch.power_on();
        scratch
    }

    fn plug_in_disks(&mut self) {
        let mut table = String::new();
        for (name, serial) in [("sda", "S0001"), ("sdb", "S0002")] {
            let file = self.disk(name);
            fs::File::create(&file).unwrap().set_len(DISK).unwrap();
            let mut losetup = Command::new("losetup");
            let output = losetup.args(["--find", "--show"]).arg(&file).output().unwrap();
            assert!(output.status.success(), "{output:?}");
            let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
            let number = fs::read_to_string(format!("/sys/block/{}/dev", &device[5..])).unwrap();
            let _ = writeln!(table, "{name} {} {serial} {}", number.trim(), DISK / 512);
            self.loops.push(device);
        }
        fs::write(self.dir.join("disks"), table).unwrap();
    }

    fn configure_sshd(&self, source: &Path) {
        let path = std::env::var("PATH").unwrap();
        // The shell of the build sandbox is where the runner has put it.
        let nix = std::env::var("NIX_CONFIG").unwrap();
        let sandbox =
            nix.lines().find(|line| line.starts_with("sandbox-paths")).unwrap_or_default();
        let nix = format!(
            "experimental-features = nix-command flakes\nbuild-users-group =\nsubstituters =\n\
             require-sigs = false\nsandbox = true\n{sandbox}\n"
        );
        fs::write(self.dir.join("nix.conf"), nix).unwrap();
        let text = format!(
            "{SSHD_CONFIG}Port {port}\nHostKey @key@\nMaxSessions 100\nLogLevel INFO\n\
             AuthorizedKeysFile {key}.pub\n\
             ForceCommand @command@\n\
             SetEnv HOME={dir}/home SCRATCH={dir} NIX_USER_CONF_FILES={dir}/nix.conf PATH={dir}/pretend:{bin}:{path}\n",
            port = self.port,
            key = self.home.path("key").display(),
            dir = self.dir.display(),
            bin = source.join("bin").display(),
        );
        fs::write(self.dir.join("sshd_config"), text).unwrap();
    }

    /// The file behind a disk.
    pub fn disk(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.img"))
    }

    fn power_on(&mut self) {
        let boots = self.boots().len();
        // An earlier boot may have been cut before its sshd listened.
        let log = || fs::read_to_string(self.dir.join("sshd.log")).unwrap_or_default();
        let listened = log().matches("Server listening").count();
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scratch/machine.sh");
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "--uts", "--pid", "--fork", "--kill-child"]);
        unshare.arg("bash").arg(script).arg(&self.dir);
        unshare.stdin(Stdio::null()).stdout(Stdio::null());
        unshare.stderr(fs::File::create(self.dir.join("console")).unwrap());
        self.power = Some(unshare.process_group(0).spawn().unwrap());
        let listens = || log().matches("Server listening").count() > listened;
        process::until("the scratch machine is up", || self.boots().len() > boots && listens());
    }

    fn power_off(&mut self) {
        if let Some(mut power) = self.power.take() {
            // Process 1 of the namespace goes with it, and so does everything else in there.
            let _ = power.kill();
            let _ = power.wait();
        }
    }

    /// Cuts the power, and switches it on again: what is on the disks starts, or else the rescue system.
    pub fn power_cycle(&mut self) {
        self.power_off();
        fs::write(self.dir.join("next"), "auto").unwrap();
        self.power_on();
    }

    /// Cuts every connection.
    pub fn reset_connections(&self) {
        for session in self.sessions() {
            let _ = Command::new("kill").args(["-KILL", &session.id.to_string()]).status();
        }
    }

    /// The processes that serve connections.
    pub fn sessions(&self) -> Vec<Process> {
        let Some(power) = &self.power else { return Vec::new() };
        let init = process::children(power.id());
        let inside = init.iter().flat_map(|init| process::children(init.id));
        let listeners = inside.filter(|process| process.name.starts_with("sshd"));
        listeners.flat_map(|listener| process::children(listener.id)).collect()
    }

    /// What a command prints on it, run by root's shell over ssh, once that answers.
    pub fn inside(&self, command: &str) -> String {
        let mut output = None;
        process::until("sshd answers", || {
            let seen = self.ssh(command).output().unwrap();
            let answered = seen.status.code() != Some(255);
            output = Some(seen);
            answered
        });
        let output = output.unwrap();
        assert!(output.status.success(), "{command}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    fn ssh(&self, command: &str) -> Command {
        let known = self.home.path("known_hosts");
        let _ = fs::remove_file(&known);
        let known = format!("UserKnownHostsFile={}", known.display());
        let mut ssh = Command::new("ssh");
        ssh.args(["-F", "/dev/null", "-o", "StrictHostKeyChecking=accept-new", "-o", &known]);
        ssh.args(["-o", "LogLevel=ERROR", "-o", "IdentityAgent=none"]);
        ssh.args(["-p", &self.port.to_string(), "-i"]).arg(self.home.path("key"));
        ssh.args(["root@127.0.0.1", command]);
        ssh
    }

    /// The systems it has booted, in order.
    pub fn boots(&self) -> Vec<String> {
        let boots = fs::read_to_string(self.dir.join("boots")).unwrap_or_default();
        boots.lines().map(str::to_owned).collect()
    }

    /// What was run on it that changes anything.
    pub fn calls(&self) -> String {
        fs::read_to_string(self.dir.join("calls")).unwrap()
    }

    /// What the last installed system that was booted consists of, by content.
    pub fn manifest(&self) -> String {
        fs::read_to_string(self.dir.join("manifest")).unwrap_or_default()
    }

    /// `type base64` of the host key that rescue system and installer show.
    pub fn host_key(&self) -> String {
        let line = fs::read_to_string(self.dir.join("host_key.pub")).unwrap();
        line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
    }

    /// The directory with all that outlives a power cut.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// SHA-256 of each disk, by the program: without optimisation ours takes ten times as long.
    pub fn disk_hashes(&self) -> String {
        let mut sum = Command::new("sha256sum");
        let output = sum.args(["sda", "sdb"].map(|name| self.disk(name))).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// `landfall COMMAND HOST` on it, as a user would type it, without consent.
    pub fn command(&self, command: &str, host: &str, more: &[&str]) -> Command {
        let target = format!("root@127.0.0.1:{}", self.line);
        let (fleet, key, host_key) = (fleet(), self.home.path("key"), self.host_key());
        let mut words: Vec<&str> = command.split(' ').collect();
        words.extend([host, &target, "-i", key.to_str().unwrap()]);
        if !more.contains(&"--flake") {
            words.extend(["--flake", &fleet]);
        }
        words.extend(["--ssh-option", "IdentitiesOnly=yes"]);
        // Without an agent, ssh forwards none.
        if !more.contains(&"--evaluate-on") {
            words.extend(["--ssh-option", "IdentityAgent=none"]);
        }
        if !more.contains(&"--host-key") {
            words.extend(["--host-key", &host_key]);
        }
        if command != "verify" && !command.starts_with("disk ") {
            words.extend(["--kexec", &self.image]);
            words.extend(["--accept", ACCEPT]);
        }
        words.extend(more);
        self.home.landfall(&words)
    }

    /// Runs it to the end.
    pub fn run(&self, command: &str, host: &str, more: &[&str]) -> Ended {
        Ended::of(&self.command(command, host, more).output().unwrap())
    }

    /// Installs the scratch host.
    pub fn install(&self, more: &[&str]) -> Ended {
        self.run("install", "scratch", more)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let read = |name| fs::read_to_string(self.dir.join(name)).unwrap_or_default();
            eprintln!(
                "boots: {:?}\nconsole:\n{}\nsshd:\n{}",
                self.boots(),
                read("console"),
                read("sshd.log")
            );
        }
        self.power_off();
        for device in &self.loops {
            let _ = Command::new("losetup").args(["--detach", device]).status();
        }
    }
}
