//! Consent on a terminal: a real one, made by script(1), on which the host's name is typed, or not.

use crate::common::{Home, Sshd, fleet, hollow_image, user};
use std::io::{Read, Write};
use std::process::{Command, Stdio};

/// Ctrl-C as a terminal's line discipline knows it.
const CTRL_C: &str = "\x03";

/// Types `answer` when asked; what the screen showed, and the exit code.
fn asked(answer: &str) -> (String, Option<i32>) {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let image = hollow_image(&home);
    let line = format!(
        "{landfall} install x86_64-linux {user}@127.0.0.1:{port} --flake {fleet} -i {key} \
         --host-key '{host_key}' --ssh-option IdentityAgent=none --kexec {image} {accept}",
        accept = crate::common::ACCEPT.join(" "),
        landfall = env!("CARGO_BIN_EXE_landfall"),
        user = user(),
        port = sshd.port,
        fleet = fleet(),
        key = home.path("key").display(),
        host_key = sshd.host_key(),
    );
    // A question in other words is waited for in vain.
    let mut script = Command::new("timeout");
    script
        .args(["300", "script", "-q", "-e", "-c", &line, "/dev/null"])
        .env("XDG_STATE_HOME", home.path("state"));
    script.env("XDG_RUNTIME_DIR", home.path("run")).env("TERM", "xterm");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut display) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let mut screen = Vec::new();
    let mut buffer = [0; 4096];
    let mut typed = false;
    loop {
        let length = display.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            break;
        }
        screen.extend_from_slice(&buffer[..length]);
        if !typed && String::from_utf8_lossy(&screen).contains("to continue: ") {
            keyboard.write_all(answer.as_bytes()).unwrap();
            typed = true;
        }
    }
    let code = child.wait().unwrap().code();
    (String::from_utf8_lossy(&screen).into_owned(), code)
}

#[test]
fn another_word_than_the_hosts_name_declines() {
    let (screen, code) = asked("yes\n");
    assert!(screen.contains("ERASE  main"), "{screen}");
    assert!(screen.contains("declined: the host's name was not typed"), "{screen}");
    assert_eq!(code, Some(4), "{screen}");
}

#[test]
fn ctrl_c_at_the_question_ends_the_run() {
    let (screen, code) = asked(CTRL_C);
    assert!(screen.contains("\nerror: interrupted by Ctrl-C"), "{screen}");
    assert!(screen.contains("nothing on it was changed"), "{screen}");
    assert_eq!(code, Some(130), "{screen}");
}

#[test]
fn the_end_of_the_input_declines_on_a_line_of_its_own() {
    let (screen, code) = asked("\x04");
    assert!(screen.contains("\nerror: declined: the host's name was not typed"), "{screen}");
    assert_eq!(code, Some(4), "{screen}");
}

#[test]
fn the_hosts_name_continues_the_run() {
    let (screen, code) = asked("x86_64-linux\n");
    assert!(screen.contains("kexec: leaving the old system"), "{screen}");
    assert!(screen.contains("no kexec here"), "{screen}");
    assert!(screen.contains("still the old system, its disks untouched"), "{screen}");
    assert_eq!(code, Some(8), "{screen}");
}
