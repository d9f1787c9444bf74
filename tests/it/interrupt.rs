//! Ctrl-C, SIGTERM and SIGHUP: within five seconds landfall has ended, with exit code 130 and a word on the
//! target's state, and nothing that it started still runs or lies about.

use crate::common::pace::{patience, promised};
use crate::common::process::{self, Process, until};
use crate::common::{Ended, Home, Sshd, fleet, user};
use serde_json::Value;
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Instant;

/// The promise: so many seconds after the signal it is over, on a machine that is not overloaded.
const PROMPT: u64 = 5;

/// A run that has not ended yet.
struct Running {
    child: Child,
    events: Receiver<Value>,
    /// What ran below it when it was interrupted.
    started: Vec<Process>,
}

impl Running {
    fn start(home: &Home, arguments: &[&str]) -> Self {
        let mut command = home.landfall(arguments);
        let mut child = command.arg("--json").stdout(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let (sender, events) = channel();
        std::thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                // The test may have ended before it.
                let _ = sender.send(crate::common::events::event(&line));
            }
        });
        Self { child, events, started: Vec::new() }
    }

    /// Waits for an event.
    fn hear(&self, what: &str, is_it: impl Fn(&Value) -> bool) {
        loop {
            let event = self.events.recv_timeout(patience());
            let event = event.unwrap_or_else(|_| panic!("it ended before {what}"));
            assert_ne!(event["event"], "failed", "before {what}: {event}");
            if is_it(&event) {
                return;
            }
        }
    }

    /// Waits until a program of this name runs below it.
    fn wait_for_program(&self, name: &str) {
        let runs = || {
            // Asked first: what has ended has no children.
            let events: Vec<Value> = self.events.try_iter().collect();
            let failed = events.iter().find(|event| event["event"] == "failed");
            assert!(failed.is_none(), "before `{name}` runs: {events:#?}");
            process::descendants(self.child.id()).iter().any(|p| p.name == name)
        };
        until(&format!("`{name}` runs"), runs);
    }

    /// Sends the signal and sees it end as promised; what it said last.
    fn interrupt(mut self, signal: &str, home: &Home) -> Value {
        self.started = process::descendants(self.child.id());
        assert!(!self.started.is_empty(), "nothing was going on");
        let start = Instant::now();
        process::signal(self.child.id(), signal);
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        let took = start.elapsed();
        let last = self.events.iter().last().expect("it says how it ended");
        assert_eq!(status.unwrap().code(), Some(130), "{last}");
        assert!(took.as_secs() < PROMPT || took < promised(PROMPT), "it took {took:?}");
        assert_eq!((&last["event"], &last["exit"]), (&"failed".into(), &130.into()), "{last}");
        until("what it started has ended", || !self.started.iter().any(Process::is_alive));
        let left: Vec<_> = std::fs::read_dir(home.path("run")).unwrap().collect();
        assert!(left.is_empty(), "left behind: {left:?}");
        last
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        // What a failed test has found must not run for ever.
        for process in self.started.iter().filter(|process| process.is_alive()) {
            let _ = Command::new("kill").args(["-s", "KILL", &process.id.to_string()]).status();
        }
    }
}

/// `install slow`, from a flake with this text, on a target that is as good as any.
fn arguments(home: &Home, sshd: &Sshd, flake: &str) -> Vec<String> {
    let dir = home.path("flake");
    std::fs::create_dir_all(&dir).unwrap();
    std::fs::write(dir.join("flake.nix"), flake).unwrap();
    let target = format!("{}@127.0.0.1:{}", user(), sshd.port);
    let flake = format!("path:{}", dir.display());
    let key = home.path("key");
    let words = ["install", "slow", &target, "--flake", &flake, "-i", key.to_str().unwrap()];
    let options = ["--ssh-option", "IdentityAgent=none", "--host-key", &sshd.host_key()];
    words
        .iter()
        .chain(&options)
        .chain(&crate::common::ACCEPT)
        .map(|&word| word.to_owned())
        .collect()
}

fn strs(words: &[String]) -> Vec<&str> {
    words.iter().map(String::as_str).collect()
}

/// It counts to ten to the eleventh, without eating memory.
const SLOW_EVALUATION: &str = "{ outputs = _: { nixosConfigurations.slow.config =
    builtins.foldl' (n: _: builtins.foldl' (n: _: n + 1) n (builtins.genList (x: x) 100000))
        0 (builtins.genList (x: x) 1000000); }; }";

#[test]
fn while_the_flake_is_evaluated() {
    fleet();
    for (signal, name) in [("INT", "Ctrl-C"), ("TERM", "SIGTERM"), ("HUP", "SIGHUP")] {
        let home = Home::new();
        let sshd = Sshd::start(&home, "");
        let running = Running::start(&home, &strs(&arguments(&home, &sshd, SLOW_EVALUATION)));
        running.wait_for_program("nix");
        // The connection is there too, and has to go.
        sshd.wait_for("Starting session: command", 2);
        let last = running.interrupt(signal, &home);
        assert_eq!(last["what"], format!("interrupted by {name}"));
        assert_eq!(last["state"], "as it was; nothing on it was changed");
        home.assert_tidy();
    }
}

#[test]
fn while_the_target_is_silent() {
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = format!("root@127.0.0.1:{}", silent.local_addr().unwrap().port());
    let fleet = fleet();
    for signal in ["INT", "TERM"] {
        let home = Home::new();
        let running =
            Running::start(&home, &["install", "x86_64-linux", &target, "--flake", &fleet]);
        let connection = accept(&silent);
        let last = running.interrupt(signal, &home);
        assert_eq!(last["state"], "as it was; nothing on it was changed");
        drop(connection);
        home.assert_tidy();
    }
}

/// A host whose system never gets built. Its builder, like the fixture fleet's, is a static busybox.
fn slow_build(home: &Home) -> String {
    let fleet = fleet();
    let busybox = std::path::Path::new(fleet.trim_start_matches("path:")).join("tools/bin/busybox");
    std::fs::create_dir_all(home.path("flake/tools")).unwrap();
    std::fs::copy(busybox, home.path("flake/tools/busybox")).unwrap();
    let text = r#"{
        outputs = _: let
            busybox = "${./tools}/busybox";
            slow = name: derivation {
                inherit name;
                system = "@arch@-linux";
                builder = busybox;
                args = [ "sh" "-c" "echo at work on @home@; while :; do ${busybox} sleep 1; done" ];
            };
        in {
            nixosConfigurations.slow.config = {
                networking.hostName = "slow";
                nixpkgs.hostPlatform.system = "x86_64-linux";
                system.build = { toplevel = slow "toplevel"; diskoScript = slow "disko"; };
                disko.devices.disk.main = {
                    device = "/dev/disk/by-id/ata-NO_SUCH_DISK";
                    content = { type = "filesystem"; mountpoint = "/"; };
                };
                fileSystems."/".fsType = "ext4";
                boot.loader.grub.enable = true;
                boot.initrd.availableKernelModules = [ "ahci" ];
                services.openssh.enable = true;
                users.users.root.openssh.authorizedKeys.keys = [ "ssh-ed25519 AAAA" ];
            };
        };
    }"#;
    let home = home.path("").display().to_string();
    text.replace("@arch@", std::env::consts::ARCH).replace("@home@", &home)
}

#[test]
fn while_the_system_is_built() {
    for signal in ["INT", "TERM"] {
        let home = Home::new();
        let sshd = Sshd::start(&home, "");
        let image = image(&home);
        let mut arguments = arguments(&home, &sshd, &slow_build(&home));
        arguments.extend(["--kexec", &image, "--yes"].map(str::to_owned));
        let running = Running::start(&home, &strs(&arguments));
        running.hear("the builder speaks", |event| {
            event["source"] == "build" && event["text"].as_str().unwrap().starts_with("at work")
        });
        // By then the image is there: `cat` and `tar` on the target have ended.
        until("the image is on the target", || home.path("remote/.landfall/kexec/run").exists());
        let last = running.interrupt(signal, &home);
        let state = last["state"].as_str().unwrap();
        assert!(state.contains("the kexec image is in a directory called .landfall"), "{state}");
    }
}

/// The target takes the image and does nothing with it.
#[test]
fn while_the_image_is_sent() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let image = image(&home);
    home.pretend("tar", r#": >"$HOME/waits"; while [ -e "$HOME/waits" ]; do sleep 0.2; done"#);
    let mut arguments = arguments(&home, &sshd, &slow_build(&home));
    arguments.extend(["--kexec", &image, "--yes"].map(str::to_owned));
    let running = Running::start(&home, &strs(&arguments));
    until("tar waits on the target", || home.path("remote/waits").exists());
    let last = running.interrupt("INT", &home);
    assert!(last["state"].as_str().unwrap().starts_with("still the old system"), "{last}");
}

/// The words for people are the same, and say where the log is.
#[test]
fn an_interruption_is_shown_on_the_terminal() {
    let home = Home::new();
    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let target = format!("root@127.0.0.1:{}", silent.local_addr().unwrap().port());
    let mut command = home.landfall(&["install", "x86_64-linux", &target, "--flake", &fleet()]);
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let _connection = accept(&silent);
    process::signal(child.id(), "INT");
    let ended = Ended::of(&child.wait_with_output().unwrap());
    ended.failed(130, &["interrupted by Ctrl-C", "nothing on it was changed"]);
}

/// Waits for a client; it may have ended before it came so far.
fn accept(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).unwrap();
    let mut client = None;
    until("somebody connects", || {
        client = listener.accept().ok();
        client.is_some()
    });
    client.unwrap().0
}

/// A tarball with the right layout and nothing in it.
fn image(home: &Home) -> String {
    std::fs::create_dir_all(home.path("kexec")).unwrap();
    for part in ["run", "kexec", "initrd", "bzImage"] {
        std::fs::write(home.path("kexec").join(part), part).unwrap();
    }
    assert!(
        Command::new("chmod").arg("755").arg(home.path("kexec/run")).status().unwrap().success()
    );
    let path = home.path("image.tar.gz");
    let mut tar = Command::new("tar");
    tar.arg("-C").arg(home.path("")).arg("-czf").arg(&path).arg("kexec");
    assert!(tar.status().unwrap().success());
    path.to_str().unwrap().to_owned()
}
