//! The target evaluates the flake itself: its private input comes from a real git server that one key opens, through the
//! confined agent; what cannot be fetched is known before anything is touched.

use crate::common::git::GitServer;
use crate::common::scratch::Scratch;
use crate::common::{Agent, Ended, keygen_as, process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A machine, a flake with a private input, and an agent that holds the key to it and another.
struct Lab {
    machine: Scratch,
    git: GitServer,
    agent: Agent,
    flake: PathBuf,
}

impl Lab {
    fn new() -> Self {
        let machine = Scratch::new();
        let git = GitServer::start();
        let url = git.url();
        let repository = &url[url.find("/tmp").unwrap()..];
        fs::write(Path::new(repository).join("motto"), "# a motto nobody else knows\n").unwrap();
        git_in(repository, &["add", "motto"]);
        git_in(repository, &["commit", "--quiet", "--message=motto"]);
        let agent = Agent::start(&machine.home, &git.key());
        keygen_as(&machine.home.path("other"), "ed25519", "other");
        let mut add = agent.add();
        assert!(add.arg("-q").arg(machine.home.path("other")).status().unwrap().success());
        let flake = machine.home.path("flake");
        write_flake(&flake, &url);
        Self { machine, git, agent, flake }
    }

    /// `--git-host-key` for the server.
    fn pin(&self) -> String {
        format!("127.0.0.1:{} {}", self.git.sshd.port, self.git.sshd.host_key())
    }

    /// An install that evaluates on the target, by a user whose own ssh knows the git server.
    fn command(&self, pin: &str, key: &str, more: &[&str]) -> Command {
        let flake = format!("path:{}", self.flake.display());
        let words = ["--yes", "--flake", &flake, "--evaluate-on", "target"];
        let agent = ["--git-host-key", pin, "--forward-agent-key", key];
        let mut command =
            self.machine.command("install", "scratch", &[&words[..], &agent, more].concat());
        let known = self.machine.home.path("git_hosts");
        let host = format!("[127.0.0.1]:{} {}\n", self.git.sshd.port, self.git.sshd.host_key());
        fs::write(&known, host).unwrap();
        let ssh = format!(
            "ssh -F none -o IdentityFile={} -o UserKnownHostsFile={}",
            self.git.key().display(),
            known.display()
        );
        command.env("GIT_SSH_COMMAND", ssh).env("SSH_AUTH_SOCK", self.agent.socket());
        command
    }

    fn install(&self, pin: &str, key: &str, more: &[&str]) -> Ended {
        Ended::of(&self.command(pin, key, more).output().unwrap())
    }
}

fn git_in(repository: &str, arguments: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-C", repository, "-c", "user.name=me", "-c", "user.email=me@x"]).args(arguments);
    assert!(git.status().unwrap().success(), "git {arguments:?}");
}

/// The scratch host, with something of the private input in its system.
fn write_flake(to: &Path, url: &str) {
    let fleet = PathBuf::from(std::env::var("LANDFALL_FLEET").unwrap());
    fs::create_dir(to).unwrap();
    for part in ["lib", "guest", "tools", "build-system", "scratch.nix", "scratch-disko.sh"] {
        let mut copy = Command::new("cp");
        assert!(copy.arg("-r").arg(fleet.join(part)).arg(to).status().unwrap().success());
    }
    let text = format!(
        r#"{{
  inputs.secrets = {{ url = "git+{url}"; flake = false; }};
  outputs = {{ self, secrets }}:
    let
      build = import ./lib/build.nix ./.;
      nixosSystem = import ./lib/system.nix {{ inherit build; root = ./.; }};
      keys = [ (builtins.readFile "${{secrets}}/motto") ];
    in {{ nixosConfigurations.scratch = import ./scratch.nix {{ inherit nixosSystem keys; }}; }};
}}
"#
    );
    fs::write(to.join("flake.nix"), text).unwrap();
}

#[test]
fn the_target_fetches_and_evaluates() {
    let lab = Lab::new();
    let ended = lab.install(&lab.pin(), "test", &[]);
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(lab.machine.boots(), ["rescue", "installer", "installed"]);
    for said in [
        "let the target use your agent, confined, to fetch ssh://",
        "the target evaluates the same system",
        "agent: sign a login",
        "nothing left on the installer; looked for staged sources and fetched inputs, known_hosts, agent sockets",
        "nothing left on the workstation",
    ] {
        assert!(ended.stderr.contains(said), "no '{said}' in\n{}", ended.stderr);
    }
    // Our own evaluation, the proof, and the target's fetch.
    assert!(lab.git.sshd.connections() >= 3);
    assert!(!lab.machine.home.path("run").read_dir().unwrap().any(|_| true));
}

#[test]
fn what_cannot_be_fetched_is_refused() {
    let lab = Lab::new();
    let before = lab.machine.disk_hashes();
    let other_host = format!(
        "127.0.0.1:{} {}",
        lab.git.sshd.port,
        fs::read_to_string(lab.machine.home.path("other.pub")).unwrap().trim()
    );
    let elsewhere = lab.pin().replace("127.0.0.1:", "127.0.0.2:");
    for (pin, key, word) in [
        (lab.pin(), "other", "Permission denied"),
        (lab.pin(), "SHA256:nobody", "SHA256:nobody"),
        (other_host, "test", "Host key verification failed"),
        (elsewhere, "test", "no host key of"),
    ] {
        let ended = lab.install(&pin, key, &[]);
        ended.failed(3, &[word]);
    }
    let mut without = lab.command(&lab.pin(), "test", &[]);
    let ended = Ended::of(&without.env_remove("SSH_AUTH_SOCK").output().unwrap());
    ended.failed(3, &["SSH_AUTH_SOCK"]);
    // A revision that does not exist.
    let file = lab.flake.join("flake.nix");
    let text = fs::read_to_string(&file).unwrap();
    let url = lab.git.url();
    let gone = text.replace(&url, &format!("{url}?rev={}", "0123456789".repeat(4)));
    fs::write(&file, gone).unwrap();
    let ended = lab.install(&lab.pin(), "test", &[]);
    assert!(matches!(ended.code, Some(3 | 7)), "{ended:#?}");
    assert_eq!((lab.machine.disk_hashes(), lab.machine.calls()), (before, String::new()));
}

#[test]
fn an_agent_that_dies_or_is_locked_is_refused() {
    let lab = Lab::new();
    let before = lab.machine.disk_hashes();
    lab.machine.home.pretend("askpass", "echo secret");
    let mut lock = lab.agent.add();
    lock.arg("-x").env("SSH_ASKPASS", lab.machine.home.path("bin/askpass"));
    assert!(lock.env("SSH_ASKPASS_REQUIRE", "force").status().unwrap().success());
    lab.install(&lab.pin(), "test", &[])
        .failed(3, &["your SSH agent cannot be forwarded", "locked"]);
    assert_eq!(lab.machine.calls(), "");
    let mut unlock = lab.agent.add();
    unlock.arg("-X").env("SSH_ASKPASS", lab.machine.home.path("bin/askpass"));
    assert!(unlock.env("SSH_ASKPASS_REQUIRE", "force").status().unwrap().success());
    // It dies while the machine is on its way into the installer.
    let mut command = lab.command(&lab.pin(), "test", &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    process::until("the machine leaves", || lab.machine.calls().contains("kexec"));
    process::signal(lab.agent.id(), "KILL");
    let ended = Ended::of(&child.wait_with_output().unwrap());
    ended.failed(7, &["the target could not evaluate the system", "nothing left on the installer"]);
    assert_eq!(lab.machine.disk_hashes(), before);
}

/// A target on which git hangs, so that a fetch is surely at work when the run ends.
fn cut(signal: &str) -> Ended {
    let lab = Lab::new();
    let pretend = lab.machine.dir().join("pretend");
    fs::create_dir_all(&pretend).unwrap();
    let git = pretend.join("git");
    fs::write(&git, "#!/bin/sh\nexec sleep 987654\n").unwrap();
    fs::set_permissions(&git, fs::Permissions::from_mode(0o755)).unwrap();
    let before = lab.machine.disk_hashes();
    let mut command = lab.command(&lab.pin(), "test", &[]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let is_installer = || lab.machine.boots().last().is_some_and(|boot| boot == "installer");
    process::until("the installer runs", is_installer);
    let at_work = "pgrep -f '^sleep 987654$' >/dev/null && [ -e /run/landfall-fetch/home ] && echo yes || echo no";
    process::until("a fetch is at work", || lab.machine.inside(at_work) == "yes\n");
    process::signal(child.id(), signal);
    let ended = Ended::of(&child.wait_with_output().unwrap());
    let left = "ls -d /run/landfall-fetch 2>/dev/null || :";
    process::until("nothing is left", || lab.machine.inside(left).is_empty());
    let asleep = "pgrep -f '^sleep 987654$' || :";
    process::until("the fetch has ended", || lab.machine.inside(asleep).is_empty());
    assert_eq!(lab.machine.disk_hashes(), before);
    ended
}

#[test]
fn an_interrupted_fetch_leaves_nothing() {
    let ended = cut("TERM");
    ended.failed(130, &["interrupted by SIGTERM"]);
    assert!(ended.stderr.contains("nothing left on the installer"), "{}", ended.stderr);
}

#[test]
fn a_killed_fetch_leaves_nothing() {
    assert_eq!(cut("KILL").code, None);
}
