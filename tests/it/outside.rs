//! What comes from outside: nothing of it reaches the terminal, Nix or memory raw, and nothing that landfall holds
//! reaches the outside when it is killed.

use crate::common::process::{self, Process, until};
use crate::common::scratch::Scratch;
use crate::common::{ACCEPT, Ended, Home, Sshd, flake, fleet, user};
use landfall::nix::quoted;
use landfall::report::visible;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rustix::fs::OFlags;
use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// What is obeyed instead of shown must not be there, but for newlines and tabs.
#[track_caller]
fn assert_is_shown(text: &str) {
    assert_eq!(visible(text), text);
}

/// The command on a terminal, and all that comes out of it.
fn on_a_terminal(command: &Command) -> String {
    let words: Vec<_> = std::iter::once(command.get_program()).chain(command.get_args()).collect();
    let words = words.iter().map(|word| word.to_str().unwrap());
    let line = shlex::try_join(words).unwrap();
    let mut script = Command::new("script");
    script.args(["--quiet", "--return", "--command", &line, "/dev/null"]).env_clear();
    script.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    script.env("TERM", "xterm").env("SHELL", "/bin/sh").stdin(Stdio::null());
    String::from_utf8_lossy(&script.output().unwrap().stdout).into_owned()
}

/// A disk whose model goes up a line, deletes it, and writes another; in C1's way, too.
#[test]
fn a_disk_cannot_hide_its_own_line() {
    let machine = Scratch::with(|dir| {
        let model =
            r"printf 'EVIL\033[1A\033[2K\302\2332K\342\200\256keep' >/sys/block/sda/device/model";
        fs::write(dir.join("hardware"), model).unwrap();
    });
    let shown = r"EVIL\x1b[1A\x1b[2K\x9b2K\u{202e}keep";
    let ended = machine.run("check", "scratch", &[]);
    assert!(ended.stdout.contains(shown), "{}", ended.stdout);
    assert_is_shown(&ended.stdout);
    assert_is_shown(&ended.stderr);
    let screen = on_a_terminal(&machine.command("check", "scratch", &[]));
    assert!(screen.contains(shown) && !screen.contains("EVIL\u{1b}"), "{screen}");
    assert!(!screen.contains(['\u{9b}', '\u{202e}']), "{screen}");
    // For programs it is the same text, in characters that are none of a terminal's.
    let ended = machine.run("check", "scratch", &["--json"]);
    assert_is_shown(&ended.stdout);
    let mut events = crate::common::events::events(&ended.stdout).into_iter();
    let plan = events.find(|event| event["event"] == "plan").unwrap();
    let model = "EVIL\u{1b}[1A\u{1b}[2K\u{9b}2K\u{202e}keep";
    assert_eq!(plan["plan"]["disks"][0]["model"], model, "{plan:#}");
    // The log has the same lines.
    let ended = machine.install(&[]);
    assert_eq!(ended.code, Some(4), "{ended:#?}");
    assert_is_shown(&ended.stderr);
    let logs = machine.home.logs();
    assert!(logs.contains(r"EVIL\u001b[1A\u001b[2K\u009b2K\u202ekeep"), "{logs}");
    assert_is_shown(&logs);
}

#[test]
fn neither_a_flake_nor_a_target_speaks_to_the_terminal() {
    let home = Home::new();
    let throws = "{ outputs = _: { nixosConfigurations.x = throw \"EVIL\u{1b}]52;c;aGk=\u{7}\u{9b}2K\"; }; }";
    let ended = home.run(&["check", "x", "--flake", &flake(&home, throws)]);
    assert_eq!(ended.code, Some(7), "{ended:#?}");
    assert!(ended.stderr.contains("EVIL"), "{}", ended.stderr);
    assert_is_shown(&ended.stderr);

    let sshd = Sshd::start(&home, "");
    home.pretend("cat", r"printf 'EVIL\033]52;c;aGk=\007\r\n' >&2; exit 1");
    let ended = Ended::of(&check(&home, &sshd).output().unwrap());
    assert!(ended.stderr.contains(r"EVIL\x1b]52;c;aGk=\x07"), "{}", ended.stderr);
    assert_is_shown(&ended.stderr);
}

/// `landfall check` of the fixture's host on this sshd.
fn check(home: &Home, sshd: &Sshd) -> Command {
    let target = format!("{}@127.0.0.1:{}", user(), sshd.port);
    let (key, host_key, fleet) = (home.path("key"), sshd.host_key(), fleet());
    let words = ["check", "x86_64-linux", &target, "--flake", &fleet, "-i", key.to_str().unwrap()];
    let options = ["--ssh-option", "IdentityAgent=none", "--host-key", &host_key];
    home.landfall(&[&words[..], &options, &ACCEPT].concat())
}

/// What is quoted is, for the real Nix, the text that was shown: no more, no less, no code.
#[test]
fn a_string_in_nix_is_what_it_was() {
    let odd = prop::sample::select(vec![
        "$",
        "{",
        "}",
        "${",
        "''",
        "\"",
        "\\",
        "\n",
        "\r",
        "\t",
        "\0",
        "\u{1}",
        "\u{1b}",
        "\u{7f}",
        "\u{9b}",
        "\u{202e}",
        "\u{200b}",
        "a",
        "/",
        "abort \"\"",
        "ü",
        "漢",
        "\u{10ffff}",
        "#",
        "/*",
        ";",
        "''${",
    ]);
    let strategy =
        prop::collection::vec(prop_oneof![odd.prop_map(str::to_owned), any::<String>()], 0..8)
            .prop_map(|parts| parts.concat());
    let mut runner = TestRunner::deterministic();
    let texts: Vec<String> =
        (0..2000).map(|_| strategy.new_tree(&mut runner).unwrap().current()).collect();
    let home = Home::new();
    let path = home.path("strings.nix");
    let literals: Vec<String> = texts.iter().map(|text| quoted(text)).collect();
    fs::write(&path, format!("[\n{}\n]", literals.join("\n"))).unwrap();
    let mut nix = Command::new("nix");
    nix.args(["--extra-experimental-features", "nix-command", "eval", "--json", "--file"]);
    let output = nix.arg(&path).env("HOME", home.path("")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let read: Vec<String> = serde_json::from_slice(&output.stdout).unwrap();
    let expected: Vec<_> = texts.iter().map(|text| visible(text).into_owned()).collect();
    assert_eq!(read, expected);
}

/// A link in /dev/disk/by-id whose name would be code, were it not for a control character in it. A host without a layout takes
/// the names of the ports.
#[test]
fn a_disk_file_has_no_code_of_the_targets() {
    let machine = Scratch::with(|dir| {
        let hardware = concat!(
            r#"name=$(printf 'ata-SCRATCH_DISK_S0001$\001{abort "EVIL"}')"#,
            "\nmv /dev/disk/by-id/ata-SCRATCH_DISK_S0001 \"/dev/disk/by-id/$name\"\n",
            "mkdir -p /dev/disk/by-path; ln -s ../../sda /dev/disk/by-path/pci-0000:00:1f.2-ata-1\n",
            r"printf 'EVIL\n}; x = 1; y = {\033[2K' >/sys/block/sda/device/model",
        );
        fs::write(dir.join("hardware"), hardware).unwrap();
    });
    let shown = machine.run("disk inventory", "bare", &[]);
    assert_eq!(shown.code, Some(0), "{shown:#?}");
    assert_is_shown(&shown.stdout);
    let path = machine.home.path("disks.nix");
    fs::write(&path, &shown.stdout).unwrap();
    let mut eval = Command::new("nix");
    let eval = eval.args(["eval", "--json", "--file"]).arg(&path).output().unwrap();
    assert!(eval.status.success(), "{}\n{}", shown.stdout, String::from_utf8_lossy(&eval.stderr));
    let read: serde_json::Value = serde_json::from_slice(&eval.stdout).unwrap();
    let written = r#"/dev/disk/by-id/ata-SCRATCH_DISK_S0001$\x01{abort "EVIL"}"#;
    assert_eq!(read["sata"]["bay1"], written, "{}", shown.stdout);
    assert!(read.get("x").is_none(), "{read:#}");
}

/// Runs to the end; its peak memory in KiB, as last seen.
fn watched(command: &mut Command) -> (Ended, u64) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    until("it ends", || {
        let text = fs::read_to_string(&status).unwrap_or_default();
        let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap_or_default();
        let kib = line.trim().trim_end_matches(" kB").parse().unwrap_or(0);
        peak = peak.max(kib);
        child.try_wait().unwrap().is_some()
    });
    (Ended::of(&child.wait_with_output().unwrap()), peak)
}

/// More than it needs for anything, and less than a flood delivers in a second.
const MEMORY: u64 = 200 << 10;

#[test]
fn a_flood_is_not_kept() {
    for (flood, why) in [
        ("exec yes EVIL >&2", "it printed more than 64 MiB"),
        ("exec yes EVIL", "it printed more than 16 MiB"),
        // Not one newline.
        ("exec tr '\\0' x </dev/zero", "it printed more than 16 MiB"),
    ] {
        let home = Home::new();
        let sshd = Sshd::start(&home, "");
        home.pretend("cat", flood);
        let (ended, peak) = watched(&mut check(&home, &sshd));
        assert!(ended.code.is_some_and(|code| code != 0), "{ended:#?}");
        assert!(ended.stderr.contains(why), "{flood}: {}", ended.stderr);
        assert!(0 < peak && peak < MEMORY, "{flood}: {peak} KiB");
    }
}

#[test]
fn a_flake_that_never_falls_silent_is_given_up() {
    let home = Home::new();
    let text = r#"{ outputs = _: { nixosConfigurations.x = let
        long = builtins.concatStringsSep "" (builtins.genList (_: "0123456789") 50000);
    in builtins.foldl' (n: _: builtins.trace long n) 0 (builtins.genList (x: x) 1000000); }; }"#;
    let (ended, peak) =
        watched(&mut home.landfall(&["check", "x", "--flake", &flake(&home, text)]));
    assert_eq!(ended.code, Some(7), "{ended:#?}");
    assert!(ended.stderr.contains("it printed more than 64 MiB"), "{}", ended.stderr);
    assert!(0 < peak && peak < MEMORY, "{peak} KiB");
}

/// What tar would refuse, and what would lie elsewhere than it is said to, is known while the disks are whole.
#[test]
fn no_link_of_extra_files_is_followed_after_the_wipe() {
    let machine = Scratch::new();
    let before = machine.disk_hashes();
    let tree = machine.home.path("tree");
    fs::create_dir_all(tree.join("etc")).unwrap();
    std::os::unix::fs::symlink("/root", tree.join("etc/ssh")).unwrap();
    fs::write(machine.home.path("secret"), "x").unwrap();
    let secret = format!("{}:/etc/ssh/x", machine.home.path("secret").display());
    let tree = tree.to_str().unwrap();
    for (arguments, why) in [
        (&["--extra-files", tree, "--secret-file", &secret][..], "/etc/ssh is a link"),
        (&["--extra-files", tree, "--chown", "/etc/ssh/x", "0:0"], "/etc/ssh is a link"),
    ] {
        let ended = machine.install(&[&["--yes"], arguments].concat());
        assert!(ended.code.is_some_and(|code| code != 0), "{ended:#?}");
        assert!(ended.stderr.contains(why), "{}", ended.stderr);
    }
    assert_eq!((machine.disk_hashes(), machine.calls().as_str()), (before, ""));
}

/// It counts to ten to the eleventh, without eating memory.
const SLOW: &str = "{ outputs = _: { nixosConfigurations.slow.config =
    builtins.foldl' (n: _: builtins.foldl' (n: _: n + 1) n (builtins.genList (x: x) 100000))
        0 (builtins.genList (x: x) 1000000); }; }";

/// `landfall check` that is connected to the target, and evaluates for hours.
fn busy(home: &Home, sshd: &Sshd) -> Child {
    let target = format!("{}@127.0.0.1:{}", user(), sshd.port);
    let (key, host_key, flake) = (home.path("key"), sshd.host_key(), flake(home, SLOW));
    let words = ["check", "slow", &target, "--flake", &flake, "-i", key.to_str().unwrap()];
    let options = ["--ssh-option", "IdentityAgent=none", "--host-key", &host_key];
    // As on a machine that keeps core dumps.
    let mut shell = Command::new("sh");
    let command = home.landfall(&[&words[..], &options].concat());
    shell.args(["-c", "ulimit -c unlimited; exec \"$@\"", "sh"]).arg(command.get_program());
    shell.args(command.get_args()).env_clear().current_dir(home.path(""));
    shell.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let child = shell.stdin(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    sshd.wait_for("Starting session: command", 2);
    child
}

/// Its `ssh -M`.
fn master(landfall: &Child) -> Process {
    let mut found = None;
    until("ssh runs", || {
        found = process::children(landfall.id()).into_iter().find(|child| child.name == "ssh");
        found.is_some()
    });
    found.unwrap()
}

/// Ends what a test has left, if it failed.
struct Ends(Vec<Process>);

impl Drop for Ends {
    fn drop(&mut self) {
        for process in self.0.iter().filter(|process| process.is_alive()) {
            let _ = Command::new("kill").args(["-s", "KILL", &process.id.to_string()]).status();
        }
    }
}

#[test]
fn a_killed_landfall_leaves_no_connection() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut child = busy(&home, &sshd);
    let master = master(&child);
    let all = Ends(process::descendants(child.id()));
    child.kill().unwrap();
    child.wait().unwrap();
    until("its connection is gone", || !master.is_alive());
    let helpers = || all.0.iter().filter(|process| process.name == "sh" || process.name == "ssh");
    until("what held it is gone", || !helpers().any(Process::is_alive));
}

#[test]
fn a_crash_leaves_no_core_dump() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let mut child = busy(&home, &sshd);
    until("nix runs", || process::descendants(child.id()).iter().any(|p| p.name == "nix"));
    let all = Ends(process::descendants(child.id()));
    for id in all.0.iter().map(|process| process.id).chain([child.id()]) {
        let limits = fs::read_to_string(format!("/proc/{id}/limits")).unwrap();
        let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
        let words: Vec<_> = core.split_whitespace().collect();
        assert_eq!(words[4..6], ["0", "0"], "{id}: {core}");
    }
    process::signal(child.id(), "ABRT");
    let status = child.wait().unwrap();
    assert!(status.signal().is_some() && !status.core_dumped(), "{status:?}");
}

/// Where what is asked for comes late, or never.
#[test]
fn ctrl_c_ends_the_reading_of_a_fifo() {
    for option in ["--secret-file", "--disk-encryption-keys", "--host-key-file", "stdin"] {
        let machine = Scratch::new();
        let fifo = machine.home.path("fifo");
        assert!(Command::new("mkfifo").arg(&fifo).status().unwrap().success());
        let fifo = fifo.to_str().unwrap();
        let file = format!("{fifo}:/etc/x");
        let words = match option {
            "--secret-file" => &[option, &file][..],
            "--host-key-file" => &[option, fifo],
            "stdin" => &["--secret-file", "-:/etc/x"],
            _ => &[option, "/tmp/key", fifo],
        };
        let mut command = machine.command("install", "scratch", &[&["--yes"], words].concat());
        let mut child = command
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        // Held open, and nothing said.
        let held = child.stdin.take();
        let mut writer = None;
        until("it reads", || {
            if option == "stdin" {
                return reads_stdin(child.id());
            }
            // Opened without a wait: that fails as long as there is no reader.
            let nonblock = OFlags::NONBLOCK.bits().cast_signed();
            writer = fs::File::options().write(true).custom_flags(nonblock).open(fifo).ok();
            writer.is_some()
        });
        process::signal(child.id(), "INT");
        let mut status = None;
        until("it ends", || {
            status = child.try_wait().unwrap();
            status.is_some()
        });
        assert_eq!(status.unwrap().code(), Some(130), "{option}");
        drop((held, writer));
    }
}

/// Whether a thread of the process waits in read(2) for its stdin.
fn reads_stdin(id: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{id}/task")).unwrap().flatten();
    let call = |path: &Path| fs::read_to_string(path.join("syscall")).unwrap_or_default();
    let number = if cfg!(target_arch = "x86_64") { "0 0x0 " } else { "63 0x0 " };
    threads.into_iter().any(|thread| call(&thread.path()).starts_with(number))
}

#[test]
fn a_runtime_directory_may_have_any_name() {
    for name in ["a blank", "%h", "${HOME}", "100%", "it's", "a\"b", "-x", "é"] {
        let home = Home::new();
        let sshd = Sshd::start(&home, "");
        let runtime = home.path(name);
        fs::create_dir(&runtime).unwrap();
        let mut command = check(&home, &sshd);
        command.env("XDG_RUNTIME_DIR", &runtime);
        let ended = Ended::of(&command.output().unwrap());
        // It was looked at: what the fixture's host lacks there is found.
        assert!(matches!(ended.code, Some(0 | 3)), "{name}: {ended:#?}");
        assert_eq!(fs::read_dir(&runtime).unwrap().count(), 0, "{name}");
    }
}

/// Read-only, for root too.
#[test]
fn a_runtime_directory_that_cannot_be_written_to_gives_way() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let command = check(&home, &sshd);
    let mut unshare = Command::new("unshare");
    let text = r#"mount --bind "$XDG_RUNTIME_DIR" "$XDG_RUNTIME_DIR"
        mount -o remount,bind,ro "$XDG_RUNTIME_DIR"
        exec "$@""#;
    unshare.args(["--mount", "sh", "-euc", text, "sh"]).arg(command.get_program());
    unshare.args(command.get_args()).env_clear().stdin(Stdio::null());
    unshare.envs(command.get_envs().filter_map(|(name, value)| Some((name, value?))));
    let ended = Ended::of(&unshare.output().unwrap());
    assert!(matches!(ended.code, Some(0 | 3)), "{ended:#?}");
}

#[test]
fn a_journal_that_cannot_be_read_is_no_dead_end() {
    let machine = Scratch::new();
    assert_eq!(machine.install(&[]).code, Some(4));
    let runs = machine.home.path("state/landfall/runs");
    let lock = fs::read_dir(&runs).unwrap().map(|entry| entry.unwrap().path());
    let lock = lock.into_iter().find(|path| path.extension() == Some("lock".as_ref())).unwrap();
    let journal = lock.with_extension("json");
    for (text, word) in
        [("{", "broken"), (r#"{"version":99}"#, "newer"), (r#"{"version":0}"#, "older")]
    {
        fs::write(&journal, text).unwrap();
        let ended = machine.install(&[]);
        ended.failed(1, &[word, journal.to_str().unwrap(), "--restart starts over"]);
        let ended = machine.install(&["--restart"]);
        assert_eq!(ended.code, Some(4), "{ended:#?}");
        let kept = fs::read_dir(&runs)
            .unwrap()
            .map(|entry| fs::read_to_string(entry.unwrap().path()).unwrap());
        assert!(kept.into_iter().any(|there| there == text), "{word}: it is kept");
    }
}
