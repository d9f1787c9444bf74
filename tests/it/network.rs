//! An install over lines that are slow, swallow everything for a minute, or break, with a peer that freezes, and with somebody
//! else who answers in the target's place.

use crate::common::line::Line;
use crate::common::scratch::Scratch;
use crate::common::{Ended, keygen, process};
use std::process::{Child, Stdio};

/// A machine at the end of a line.
fn machine() -> (Scratch, Line) {
    let mut machine = Scratch::new();
    let line = Line::to(machine.port.number());
    machine.line = line.port;
    (machine, line)
}

fn start(machine: &Scratch) -> Child {
    let mut command = machine.command("install", "scratch", &["--yes"]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[track_caller]
fn ends_well(machine: &Scratch, child: Child) {
    let ended = Ended::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    assert_eq!(machine.boots().last().unwrap(), "installed");
}

/// Waits until the closure is on its way: so much of it has come through since now.
fn wait_for_the_copy(machine: &Scratch, line: &Line) {
    process::until("the disks are laid out", || machine.calls().contains("mount\nmount\n"));
    let before = line.moved();
    process::until("the closure moves", || line.moved() > before + 1_000_000);
}

#[test]
fn a_reset_in_the_middle_of_the_copy() {
    let (machine, line) = machine();
    line.set_rate(2_000_000);
    let child = start(&machine);
    wait_for_the_copy(&machine, &line);
    line.reset();
    ends_well(&machine, child);
}

#[test]
fn a_black_hole_of_a_minute_in_the_middle_of_the_copy() {
    let (machine, line) = machine();
    line.set_rate(2_000_000);
    let child = start(&machine);
    wait_for_the_copy(&machine, &line);
    line.set_black_hole(true);
    std::thread::sleep(std::time::Duration::from_secs(60));
    line.set_black_hole(false);
    ends_well(&machine, child);
}

/// 64 kbit/s: at that pace the closure alone would take a quarter of an hour, so it becomes faster once that is seen to work.
#[test]
fn a_line_of_64_kbit_a_second() {
    let (machine, line) = machine();
    line.set_rate(8_000);
    let child = start(&machine);
    process::until_within(600, "the disks are laid out over it", || {
        machine.calls().contains("mount\nmount\n")
    });
    let before = line.moved();
    process::until("the closure moves", || line.moved() > before + 200_000);
    line.set_rate(0);
    ends_well(&machine, child);
}

#[test]
fn a_peer_that_freezes() {
    let (machine, line) = machine();
    line.set_rate(2_000_000);
    let child = start(&machine);
    wait_for_the_copy(&machine, &line);
    let frozen = machine.sessions();
    assert!(!frozen.is_empty());
    for session in frozen {
        process::signal(session.id, "STOP");
    }
    ends_well(&machine, child);
}

/// Somebody with another key answers in the place of this system.
fn impostor_in(system: &str) -> (Scratch, Ended) {
    let machine = Scratch::with(|dir| keygen(&dir.join(format!("impostor-in-{system}"))));
    let ended = machine.install(&["--yes"]);
    ended.failed(6, &["host key"]);
    // Not a login was tried, so nothing was sent.
    let log = std::fs::read_to_string(machine.dir().join("sshd.log")).unwrap();
    let last = log.rsplit("Server listening").next().unwrap();
    assert!(!last.contains("Accepted") && !last.contains("Failed"), "{system}: {last}");
    (machine, ended)
}

#[test]
fn an_impostor_at_first_contact() {
    let (machine, _) = impostor_in("rescue");
    assert_eq!(machine.calls(), "");
}

#[test]
fn an_impostor_in_place_of_the_installer() {
    let (machine, ended) = impostor_in("installer");
    assert_eq!(machine.calls(), "kexec\n");
    assert!(ended.stderr.contains("nothing was sent to it"), "{}", ended.stderr);
}

#[test]
fn an_impostor_in_place_of_the_installed_system() {
    let (machine, ended) = impostor_in("installed");
    assert!(machine.calls().ends_with("reboot\n"), "{}", machine.calls());
    assert!(ended.stderr.contains("nothing was sent to it"), "{}", ended.stderr);
}
