//! Who the target is, and what is agreed to: the first contact, `check`, digests and serial numbers, the journal's
//! lock. With real sshd and nix; every run ends before anything is written, or at an image that is hollow.

use crate::common::{ACCEPT, Ended, Home, Sshd, fleet, hollow_image, user};
use landfall::machine::fingerprint;
use serde_json::Value;

/// A command against the sshd, which is in no known_hosts.
fn run(home: &Home, sshd: &Sshd, command: &str, more: &[&str]) -> Ended {
    let known = format!("UserKnownHostsFile={}", home.path("known_hosts").display());
    let (target, fleet) = (format!("{}@127.0.0.1:{}", user(), sshd.port), fleet());
    let key = home.path("key");
    let mut arguments = vec![command, "x86_64-linux", &target, "--flake", &fleet];
    arguments.extend(["-i", key.to_str().unwrap(), "--ssh-option", &known]);
    arguments.extend(["--ssh-option", "IdentitiesOnly=yes", "--ssh-option", "IdentityAgent=none"]);
    arguments.extend(ACCEPT);
    arguments.extend(more);
    home.run(&arguments)
}

fn events(ended: &Ended) -> Vec<Value> {
    crate::common::events::events(&ended.stdout)
}

fn event<'a>(events: &'a [Value], name: &str) -> &'a Value {
    let found = events.iter().find(|event| event["event"] == name);
    found.unwrap_or_else(|| panic!("no event {name} in {events:#?}"))
}

/// A machine with the disk of the fixture's small host, and an image for it.
fn machine(home: &Home) -> (Sshd, String) {
    (Sshd::start(home, ""), hollow_image(home))
}

#[test]
fn a_check_shows_the_key_and_the_plan_and_leaves_nothing() {
    let home = Home::new();
    let (sshd, image) = machine(&home);
    let ended = run(&home, &sshd, "check", &["--kexec", &image, "--json"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let events = events(&ended);
    let plan = &event(&events, "plan")["plan"];
    assert_eq!(plan["first_contact"], fingerprint(&sshd.host_key()).unwrap());
    assert_eq!(plan["disks"][0]["device"], "/dev/disk/by-id/ata-QEMU_HARDDISK_FIXTURE-X86");
    assert_eq!(plan["digest"], event(&events, "checked")["digest"]);
    assert!(!home.path("known_hosts").exists(), "it has made the key known");
    let left: Vec<_> = std::fs::read_dir(home.path("state")).unwrap().collect();
    assert!(left.is_empty(), "left behind: {left:?}");
}

#[test]
fn a_digest_covers_the_first_contact() {
    let home = Home::new();
    let (sshd, image) = machine(&home);
    let check = run(&home, &sshd, "check", &["--kexec", &image, "--json"]);
    let digest = event(&events(&check), "checked")["digest"].as_str().unwrap().to_owned();

    // The key was not agreed to.
    for consent in [&["--yes"][..], &["--erase", "S1"], &[]] {
        let ended = run(&home, &sshd, "install", &[&["--kexec", &image], consent].concat());
        ended.failed(6, &["is not known", "nothing on it was changed"]);
    }
    let other = "0123456789abcdef0123456789abcdef";
    let ended = run(&home, &sshd, "install", &["--kexec", &image, "--plan-digest", other]);
    ended.failed(4, &["the plan is not the one that was agreed to", &digest]);
    // The image is hollow, so it comes as far as kexec.
    let ended = run(&home, &sshd, "install", &["--kexec", &image, "--plan-digest", &digest]);
    ended.failed(8, &["no kexec here"]);
    // The journal knows the machine now, and continues with the consent it was given.
    let ended = run(&home, &sshd, "install", &["--kexec", &image]);
    ended.failed(8, &["no kexec here", "was not finished: continuing it"]);
    let status = home.run(&["status"]);
    assert!(status.stdout.contains("failed"), "{status:#?}");
    assert!(status.stdout.contains("last done build"), "{status:#?}");
    assert!(status.stdout.contains("did not reach the installer"), "{status:#?}");
    assert_eq!(status.stderr, "");
}

#[test]
fn status_shows_the_log_and_the_command_that_continues() {
    let home = Home::new();
    let (sshd, image) = machine(&home);
    let host_key = sshd.host_key();
    let url = "https://me:password@localhost/image";
    let with =
        |more: &[&str]| run(&home, &sshd, "install", &[&["--host-key", &host_key], more].concat());
    with(&["--kexec", &image, "--yes", "--restart"]).failed(8, &["no kexec here"]);
    let status = home.run(&["status", "--json"]);
    let events = events(&status);
    let seen = event(&events, "run");
    let command = seen["command"].as_str().unwrap();
    let log = std::fs::read_to_string(seen["log"].as_str().unwrap()).unwrap();
    assert!(log.starts_with(&format!("# landfall {}\n# 20", env!("CARGO_PKG_VERSION"))), "{log}");
    assert_eq!(log.lines().nth(2).unwrap().replace(" --restart", ""), format!("# {command}"));
    let shown = home.run(&["status"]);
    assert!(shown.stdout.contains(command), "{shown:#?}");
    // It is whole: a shell in any directory continues with it. So does the host by another name.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", command]).current_dir("/").stdin(std::process::Stdio::null()).env_clear();
    let landfall = home.landfall(&[]);
    shell.envs(landfall.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ended::of(&shell.output().unwrap()).failed(8, &["no kexec here", "continuing it"]);
    let other = command.replace(" x86_64-linux ", &format!(" '{}#x86_64-linux' ", fleet()));
    assert_ne!(other, command);
    shell = std::process::Command::new("sh");
    shell.args(["-c", &other]).stdin(std::process::Stdio::null()).env_clear();
    shell.envs(landfall.get_envs().filter_map(|(name, value)| Some((name, value?))));
    Ended::of(&shell.output().unwrap()).failed(8, &["no kexec here", "continuing it"]);
    // Nothing that opens something is kept.
    with(&["--kexec", url]);
    assert!(home.logs().contains("https://REDACTED@localhost/image"), "{}", home.logs());
}

#[test]
fn another_machine_is_not_the_one_agreed_to() {
    let home = Home::new();
    let (sshd, image) = machine(&home);
    let check = run(&home, &sshd, "check", &["--kexec", &image, "--json"]);
    let digest = event(&events(&check), "checked")["digest"].as_str().unwrap().to_owned();
    run(&home, &sshd, "install", &["--kexec", &image, "--plan-digest", &digest]).failed(8, &[]);
    let port = sshd.port.clone();
    sshd.forget_host_key();
    drop(sshd);
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    let impostor = Sshd::start_on(&home, port, &path, "");
    // It was agreed to that machine; this one shows another key.
    run(&home, &impostor, "install", &["--kexec", &image]).failed(6, &["is not known"]);
    let again = run(&home, &impostor, "install", &["--kexec", &image, "--plan-digest", &digest]);
    again.failed(4, &["the plan is not the one that was agreed to"]);
}

#[test]
fn a_changed_plan_is_shown_and_asked_about() {
    let home = Home::new();
    let (sshd, image) = machine(&home);
    let host_key = sshd.host_key();
    let with = |more: &[&str]| {
        run(
            &home,
            &sshd,
            "install",
            &[&["--kexec", &image, "--host-key", &host_key], more].concat(),
        )
    };
    with(&["--yes"]).failed(8, &["no kexec here"]);
    with(&[]).failed(8, &["continuing it"]);
    let journal = journal_of(&home);
    let text = std::fs::read_to_string(&journal).unwrap();
    let changed = text.replacen("nixos-system", "another-system", 2);
    assert_ne!(text, changed);
    std::fs::write(&journal, changed).unwrap();
    with(&[]).failed(4, &["its plan was another one", "the system: ", "has not been agreed to"]);
    with(&["--restart"]).failed(4, &["has not been agreed to"]);
    with(&["--yes"]).failed(8, &["this run starts over"]);
    // What cannot be read is not guessed at.
    std::fs::write(&journal, "{").unwrap();
    with(&["--yes"]).failed(1, &["the journal cannot be used"]);
    std::fs::write(&journal, r#"{"version": 99}"#).unwrap();
    with(&["--yes"]).failed(1, &["by a newer landfall"]);
}

fn journal_of(home: &Home) -> std::path::PathBuf {
    let runs = std::fs::read_dir(home.path("state/landfall/runs")).unwrap();
    let mut runs = runs.map(|entry| entry.unwrap().path());
    runs.find(|path| path.extension() == Some("json".as_ref())).unwrap()
}

#[test]
fn two_runs_for_one_host_and_target_exclude_each_other() {
    let home = Home::new();
    let (sshd, image) = machine(&home);
    let more = ["--kexec", &image, "--host-key", &sshd.host_key(), "--yes"];
    run(&home, &sshd, "install", &more).failed(8, &["no kexec here"]);
    let lock = std::fs::File::open(journal_of(&home).with_extension("lock")).unwrap();
    lock.lock().unwrap();
    run(&home, &sshd, "install", &more)
        .failed(1, &["another landfall is running", "wait until it has ended"]);
    let status = home.run(&["status", "--json"]);
    assert_eq!(event(&events(&status), "run")["state"], "at work");
    lock.unlock().unwrap();
    run(&home, &sshd, "install", &more).failed(8, &["no kexec here"]);
}
