//! What is agreed to is what happens, on scratch machines with real file systems: what comes onto a disk between the consent
//! and the wipe is lost only where its loss was agreed to; and a consent does not outlive what it was
//! given for.

use crate::common::pace::patience;
use crate::common::scratch::Scratch;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// `landfall check` shows it.
fn digest(machine: &Scratch) -> String {
    let ended = machine.run("check", "scratch", &["--json"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let mut events = crate::common::events::events(&ended.stdout).into_iter();
    let plan = events.find(|event| event["event"] == "plan").unwrap();
    plan["plan"]["digest"].as_str().unwrap().to_owned()
}

/// Puts a program in place of the machine's own: it does something first.
fn pretend(machine: &Scratch, program: &str, first: &str) {
    let directory = machine.dir().join("pretend");
    fs::create_dir_all(&directory).unwrap();
    let path = directory.join(program);
    fs::write(&path, format!("#!/bin/sh\n{first}\nPATH=${{PATH#*:}} exec {program} \"$@\"\n"))
        .unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Somebody makes a file system with something in it.
const PHOTOS: &str = "mkfs.ext4 -q -F -L photos /dev/sdb >/dev/null 2>&1";

/// The same once, whenever it is called.
fn once(what: &str) -> String {
    format!(
        "mkdir \"$SCRATCH/once\" 2>/dev/null && {{ {what}; sha256sum </dev/sdb >\"$SCRATCH/then\"; }}"
    )
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum How {
    Digest,
    Serials,
    Yes,
}

/// When something happens: by the program that is run then.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Moment {
    /// While the installer is given the disko script, before the disks are looked at there.
    Before,
    /// Between the first look and the last.
    Between,
    /// After the last look, when the job begins.
    After,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Change {
    None,
    /// There is something to lose now.
    Photos,
    /// It is another disk.
    OtherDisk,
    /// The layout's path leads to another disk.
    OtherPath,
}

impl Change {
    fn script(self) -> &'static str {
        match self {
            Self::None => ":",
            Self::Photos => PHOTOS,
            Self::OtherDisk => "echo S9999 >/sys/block/sdb/device/serial",
            Self::OtherPath => "ln -sfn ../../sda /dev/disk/by-id/ata-SCRATCH_DISK_S0002",
        }
    }

    /// Whether somebody who agreed so, and before, has agreed to what happens now.
    fn is_agreed_to(self, how: How, when: Moment) -> bool {
        // To the disk, whatever is on it; but the job that begins must find what was looked at.
        let to_the_disk = how != How::Digest && when != Moment::After;
        self == Self::None || self == Self::Photos && to_the_disk
    }
}

fn try_one(how: How, when: Moment, change: Change) {
    let machine = Scratch::new();
    let program = match when {
        Moment::Before => "nix-daemon",
        // Asked what is on the disks, immediately before what is there is taken apart.
        Moment::Between => "pvs",
        Moment::After => "setsid",
    };
    let digest = if how == How::Digest { digest(&machine) } else { String::new() };
    // In the old system nothing happens yet.
    pretend(
        &machine,
        program,
        &format!("if [ \"$(hostname)\" = installer ]; then {}; fi", once(change.script())),
    );
    let consent = match how {
        How::Digest => vec!["--plan-digest", &*digest],
        How::Serials => vec!["--erase", "S0001,S0002"],
        How::Yes => vec!["--yes"],
    };
    let ended = machine.install(&consent);
    let case = format!("{how:?}, {when:?}, {change:?}: {ended:#?}");
    assert!(machine.dir().join("once").exists(), "nothing has happened: {case}");
    if change.is_agreed_to(how, when) {
        assert_eq!(ended.code, Some(0), "{case}");
        return;
    }
    assert!(matches!(ended.code, Some(3 | 4)), "{case}");
    assert!(ended.stderr.contains("nothing was erased"), "{case}");
    assert!(ended.stderr.contains("its disks are untouched"), "{case}");
    assert!(!machine.calls().contains("wipefs") && !machine.calls().contains("mkfs"), "{case}");
    let then = fs::read_to_string(machine.dir().join("then")).unwrap();
    assert_eq!(machine.inside("sha256sum </dev/sdb"), then, "{case}");
}

/// Every change at every moment under every kind of consent; each sixth of them, unless `LANDFALL_WORLDS_EVERY` says
/// otherwise (1 for all).
#[test]
fn a_change_between_the_plan_and_the_wipe_stops_it() {
    let every = std::env::var("LANDFALL_WORLDS_EVERY").map_or(6, |text| text.parse().unwrap());
    let mut worlds = Vec::new();
    for change in [Change::Photos, Change::OtherDisk, Change::OtherPath, Change::None] {
        for when in [Moment::Before, Moment::Between, Moment::After] {
            for how in [How::Digest, How::Serials, How::Yes] {
                worlds.push((how, when, change));
            }
        }
    }
    // Seven and the number of worlds have no divisor in common: neighbours differ in all three.
    let count = worlds.len();
    let chosen: Vec<_> = (0..count).step_by(every).map(|at| worlds[at * 7 % count]).collect();
    std::thread::scope(|scope| {
        for part in chosen.chunks(chosen.len().div_ceil(4)) {
            scope.spawn(move || {
                for (how, when, change) in part {
                    try_one(*how, *when, *change);
                }
            });
        }
    });
}

/// The rescue system knows no ext4; the installer does.
#[test]
fn what_only_the_installer_recognises_is_not_erased_unseen() {
    let machine = Scratch::new();
    machine.inside(PHOTOS);
    let then = machine.inside("sha256sum </dev/sdb");
    pretend(&machine, "blkid", "[ \"$(hostname)\" = installer ] || exit 2");
    let digest = digest(&machine);
    let ended = machine.install(&["--plan-digest", &digest]);
    ended.failed(4, &["holds what was not shown: ext4 'photos'", "its disks are untouched"]);
    assert_eq!(machine.inside("sha256sum </dev/sdb"), then);
    // The same command again shows it, and this consent was to something else.
    machine.install(&["--plan-digest", &digest]).failed(4, &["--plan-digest"]);
    assert_eq!(machine.inside("sha256sum </dev/sdb"), then);
    let ended = machine.install(&["--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

/// An unfinished run has begun to wipe; then somebody makes use of a disk.
#[test]
fn an_unfinished_run_is_no_consent_to_what_came_onto_a_disk_since() {
    let machine = Scratch::new();
    let digest = digest(&machine);
    pretend(&machine, "mkfs.ext4", "[ -e \"$SCRATCH/mended\" ] || exit 1");
    let ended = machine.install(&["--plan-digest", &digest]);
    ended.failed(9, &["what was on them is lost", "Nothing works on them any more"]);
    fs::write(machine.dir().join("mended"), "").unwrap();
    machine.inside(&format!(
        "{PHOTOS} && mkdir -p /srv/photos && mount /dev/sdb /srv/photos && date >/srv/photos/day"
    ));
    for consent in [&[][..], &["--plan-digest", &digest]] {
        machine.install(consent).failed(3, &["[disk-mounted]", "mounted on /srv/photos"]);
    }
    machine.inside("umount /srv/photos");
    let then = machine.inside("sha256sum </dev/sdb");
    for consent in [&[][..], &["--plan-digest", &digest]] {
        machine.install(consent).failed(4, &["holds what was not shown: ext4 'photos'"]);
        assert_eq!(machine.inside("sha256sum </dev/sdb"), then);
    }
    let ended = machine.install(&["--erase", "S0001,S0002"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

/// Ctrl-C before the first write ends what was agreed to.
#[test]
fn an_interrupted_run_takes_its_consent_with_it() {
    let machine = Scratch::new();
    let mut command = machine.command("install", "scratch", &["--yes", "--json"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let events = BufReader::new(child.stdout.take().unwrap()).lines();
    let begun = events.map_while(Result::ok).find(|line| line.contains("\"step_started\""));
    assert!(begun.is_some(), "no step was begun");
    let id = child.id().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().unwrap().success());
    let deadline = std::time::Instant::now() + patience();
    while child.try_wait().unwrap().is_none() {
        assert!(std::time::Instant::now() < deadline, "it does not end");
        std::thread::yield_now();
    }
    let ended = machine.install(&[]);
    ended.failed(4, &["no longer valid", "has not been agreed to"]);
}

/// What was agreed to covers what is supplied.
#[test]
fn another_file_or_image_is_asked_about() {
    let machine = Scratch::new();
    let file = machine.home.path("sudoers");
    fs::write(&file, "nas ALL=(ALL) ALL\n").unwrap();
    let placed = format!("{}:/etc/sudoers:0440", file.display());
    // The image does not arrive.
    pretend(&machine, "tar", "exit 1");
    machine.install(&["--yes", "--secret-file", &placed]).failed(7, &[]);
    machine.install(&["--secret-file", &placed]).failed(7, &["continuing it"]);
    fs::write(&file, "all ALL=(ALL) ALL\n").unwrap();
    machine
        .install(&["--secret-file", &placed])
        .failed(4, &["the content of what is to be placed has changed"]);
    fs::write(&file, "nas ALL=(ALL) ALL\n").unwrap();
    let more = ["--secret-file", &placed, "--copy-host-keys", "--kexec-extra-flags=--debug"];
    machine.install(&more).failed(4, &["the host keys", "the options for kexec"]);
    assert_eq!(machine.boots(), ["rescue"]);
}

/// A system that runs is not given what only an install places.
#[test]
fn a_further_file_for_a_system_that_runs_is_refused() {
    let machine = Scratch::new();
    let (one, other) =
        (["--secret-file", "|printf one:/etc/one"], ["--secret-file", "|printf two:/etc/one"]);
    let ended = machine.install(&[&["--yes"][..], &one].concat());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let again = machine.install(&[&["--yes"][..], &one].concat());
    assert_eq!(again.code, Some(0), "{again:#?}");
    let more = machine.install(&[&["--yes"][..], &other].concat());
    more.failed(3, &["lacks what this run would place", "has changed", "--restart"]);
    assert_eq!(machine.inside("cat /etc/one"), "one");
}

/// A home directory that is full, or lets nothing be run, is reported before anything is sent; another place is as good.
#[test]
fn the_image_goes_where_it_has_room_and_may_run() {
    let machine = Scratch::new();
    // The machine's own memory, and none of the directories that it shares with others.
    pretend(&machine, "df", "case $* in */dev/shm) ;; *) echo none 9 9 0 100% /; exit ;; esac");
    let ended = machine.install(&["--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");

    let nowhere = Scratch::new();
    pretend(&nowhere, "df", "echo none 9 9 0 100% /; exit");
    nowhere.install(&["--yes"]).failed(3, &["[kexec-no-place]", "/tmp has 0 B free"]);
    assert_eq!(nowhere.calls(), "");
}

/// A rescue system that has the key elsewhere lets us in, and its installer would not. Options before a key are not taken over.
#[test]
fn a_login_key_that_the_installer_would_not_have_is_found() {
    let with =
        |hardware: &str| Scratch::with(|dir| fs::write(dir.join("hardware"), hardware).unwrap());
    let elsewhere = with("umount /etc/ssh\n");
    let hint = "append it to /root/.ssh/authorized_keys";
    elsewhere.install(&["--yes"]).failed(3, &["[kexec-no-key]", "it would have none", hint]);
    assert_eq!(elsewhere.calls(), "");
    let restricted =
        with("sed -i 's/^/no-pty,from=\"127.0.0.1\" /' /etc/ssh/authorized_keys.d/root\n");
    let ended = restricted.run("check", "scratch", &[]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let commented = with("sed -i 's/^/#/' /etc/ssh/authorized_keys.d/root\n");
    let ended = commented.run("check", "scratch", &[]);
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stdout.contains("[kexec-no-key]"), "{ended:#?}");
}

/// The image is looked at when the plan is made, and read again when it is sent.
#[test]
fn an_image_that_has_changed_since_is_not_started() {
    let machine = Scratch::new();
    let image = machine.home.path("image.tar.gz");
    let change = format!("echo >>{}", image.display());
    // When it is unpacked on the target, nothing of it has been read yet but its beginning.
    pretend(&machine, "mkdir", &format!("case $* in *.landfall*) {change} ;; esac"));
    let ended = machine.install(&["--yes"]);
    ended.failed(7, &["has changed since it was looked at", "still the old system"]);
    assert_eq!(machine.boots(), ["rescue"]);
}
