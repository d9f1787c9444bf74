//! The command line: help, usage errors, the name it is called by.

use crate::common::events::events;
use crate::common::{Ended, Home};
use std::process::Command;

#[test]
fn without_arguments_it_prints_help() {
    let ended = Home::new().run(&[]);
    assert!(ended.stderr.contains("Usage: landfall <COMMAND>"), "{ended:#?}");
    assert!(ended.stderr.contains("install") && ended.stderr.contains("rehearse"), "{ended:#?}");
}

#[test]
fn help_and_version_are_asked_for_and_given() {
    let home = Home::new();
    for (arguments, word) in [
        (&["--help"][..], "rehearse"),
        (&["install", "--help"], "--copy-host-keys"),
        (&["install", "--help"], "is installed in one of three ways:"),
        (&["keys", "create", "--help"], "secrets.nix"),
        (&["rehearse", "--help"], "--rescue-kernel"),
        (&["--version"], env!("CARGO_PKG_VERSION")),
    ] {
        let ended = home.run(arguments);
        assert_eq!(ended.code, Some(0), "{ended:#?}");
        assert!(ended.stdout.contains(word), "{ended:#?}");
        assert_eq!(ended.stderr, "");
    }
}

#[test]
fn what_cannot_be_understood_is_a_usage_error() {
    let home = Home::new();
    for arguments in [
        &["install"][..],
        &["install", "helios64"],
        &["install", "helios64", "--typo", "root@nas"],
        &["install", "helios64", "root@nas:0"],
        &["install", "helios64", "-oProxyCommand=x"],
        &["install", "hel\"ios", "root@nas"],
        &["install", "helios64", "root@nas", "--kexec-sha256", "abc"],
        &["install", "helios64", "root@nas", "--host-key", "/no/such/file"],
        &["install", "helios64", "root@nas", "--ssh-option", "Port"],
        &["install", "helios64", "root@nas", "--boot-timeout", "0"],
        &["install", "helios64", "root@nas", "--evaluate-on", "target", "--build-on", "local"],
        &["install", "helios64", "root@nas", "--override-input", "secrets"],
        &["install", "helios64", "root@nas", "--secret-file", "a:b"],
        &["install", "helios64", "root@nas", "--secret-file", "-:/a", "--secret-file", "-:/b"],
        &["install", "helios64", "root@nas", "--chown", "/nix", "0:0"],
        &["install", "nas", "root@nas", "--disk-encryption-keys", "/mnt/key", "-"],
        &[
            "install",
            "nas",
            "root@nas",
            "--secret-file",
            "-:/a",
            "--disk-encryption-keys",
            "/tmp/k",
            "-",
        ],
        &["rehearse", "helios64"],
        &["rehearse", "helios64", "--image", "x", "--rescue-kernel", "y"],
        &["deploy", "helios64"],
    ] {
        let ended = home.run(arguments);
        assert_eq!(ended.code, Some(2), "{arguments:?} {ended:#?}");
        assert!(ended.stderr.starts_with("error: "), "{arguments:?} {ended:#?}");
    }
    assert!(!home.path("state/landfall").exists(), "a usage error is no run, and has no log");
}

#[test]
fn a_link_named_install_is_the_subcommand() {
    let home = Home::new();
    let link = home.path("install");
    std::os::unix::fs::symlink(env!("CARGO_BIN_EXE_landfall"), &link).unwrap();
    let help = Ended::of(&Command::new(&link).arg("--help").output().unwrap());
    assert!(help.stdout.contains("Install HOST on TARGET"), "{help:#?}");
}

#[test]
fn a_report_that_cannot_be_written_is_said_at_once() {
    let home = Home::new();
    let arguments = ["install", "helios64", "root@127.0.0.1:1", "--report", "/no/such/dir/report"];
    let ended = home.run(&arguments);
    assert_eq!(ended.code, Some(1), "{ended:#?}");
    assert!(ended.stderr.contains("/no/such/dir/report"), "{ended:#?}");
    let ended = home.run(&[&arguments[..], &["--json"]].concat());
    let events = events(&ended.stdout);
    let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
    assert_eq!(names, ["started", "failed"], "{ended:#?}");
}

#[test]
fn nothing_of_a_urls_password_is_kept_or_shown() {
    let home = Home::new();
    let flake = "git+https://me:Sesame1@127.0.0.1:1/x?token=Sesame2#nas";
    let override_ = ["--override-input", "a", "HTTPS://Sesame3@127.0.0.1:1/x"];
    let words = ["install", flake, "ssh://root:Sesame4@127.0.0.1:1", "--yes"];
    let report = home.path("report").display().to_string();
    for more in [&["--json"][..], &["--report", &report], &["--ssh-option", "SetEnv=A=Sesame5"]] {
        let ended = home.run(&[&words[..], &override_, more].concat());
        let report = std::fs::read_to_string(&report).unwrap_or_default();
        let all = format!("{ended:#?}{}{report}", home.logs());
        assert!(all.contains("REDACTED@127.0.0.1") && !all.contains("Sesame"), "{all}");
    }
    for entry in std::fs::read_dir(home.path("state/landfall/logs")).unwrap() {
        let name = entry.unwrap().file_name();
        assert!(!name.to_string_lossy().contains("Sesame"), "{name:?}");
    }
}
