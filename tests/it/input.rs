//! Bad input gets a clear error, before anything is touched, saying what to do.

use crate::common::{ACCEPT, Ended, Home, Sshd, fleet, hollow_image, keygen, tarball, user};
use landfall::commands::rehearse::Port;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// `install HOST` against the sshd, as a user would type it; `more` options follow.
fn install(home: &Home, sshd: &Sshd, host: &str, more: &[&str]) -> Ended {
    let key = home.path("key");
    let (target, fleet) = (format!("{}@127.0.0.1:{}", user(), sshd.port), fleet());
    let host_key = sshd.host_key();
    let key = key.to_str().unwrap();
    let mut arguments = vec!["install", host, &target, "--flake", &fleet, "-i", key];
    arguments.extend(["--ssh-option", "IdentitiesOnly=yes", "--ssh-option", "IdentityAgent=none"]);
    if !more.contains(&"--host-key") && !more.iter().any(|word| word.contains("KnownHosts")) {
        arguments.extend(["--host-key", &host_key]);
    }
    arguments.extend(ACCEPT);
    arguments.extend(more);
    home.run(&arguments)
}

#[test]
fn an_unknown_host_is_answered_with_those_there_are() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    install(&home, &sshd, "zebra", &[]).failed(
        2,
        &["has no host 'zebra'", "helios64", "aarch64-linux, hostName helios64", "hostName nixos"],
    );
    install(&home, &sshd, "nixos", &[])
        .failed(2, &["attributes here are keyed by system: did you mean 'x86_64-linux'?"]);
    install(&home, &sshd, "helios46", &[]).failed(2, &["did you mean 'helios64'?"]);
    home.assert_tidy();
}

#[test]
fn an_error_of_the_flake_is_shown_in_its_own_words() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let broken = install(&home, &sshd, "broken", &[]);
    broken.failed(3, &["ZFS requires networking.hostId to be set [host-assertion]"]);
    let throws = install(&home, &sshd, "throws", &[]);
    throws.failed(7, &["The option `boot.kernelParams' has a broken definition."]);
    assert!(!throws.stderr.contains("while evaluating"), "no trace of Nix' own: {throws:#?}");
    install(&home, &sshd, "/no/such/flake#x", &[]).failed(7, &["/no/such/flake"]);

    let other = home.path("other");
    std::fs::create_dir(&other).unwrap();
    let host = format!("path:{}#x", other.display());
    install(&home, &sshd, &host, &[]).failed(7, &["flake.nix"]);
    for (outputs, words) in [
        ("{ }", "it has no nixosConfigurations at all"),
        ("{ nixosConfigurations = { }; }", "its nixosConfigurations are empty"),
    ] {
        let text = format!("{{ outputs = _: {outputs}; }}");
        std::fs::write(other.join("flake.nix"), text).unwrap();
        install(&home, &sshd, &host, &[]).failed(2, &["has no host 'x'", words]);
    }
    // A place-holder in a fleet, or somebody else's attribute set.
    let text = "{ outputs = _: { nixosConfigurations.x.config.networking.hostName = \"x\"; }; }";
    std::fs::write(other.join("flake.nix"), text).unwrap();
    install(&home, &sshd, &host, &[]).failed(3, &["[host-no-toplevel]", "[host-no-disko]"]);
    home.assert_tidy();
}

#[test]
fn every_finding_is_said_at_once() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    install(&home, &sshd, "bare", &[]).failed(3, &["[host-no-disko]", "disko.devices"]);
    let stub = install(&home, &sshd, "stub", &[]);
    stub.failed(3, &["[host-no-disko]", "[target-architecture]", "is built for aarch64-linux"]);
    install(&home, &sshd, "helios64", &[])
        .failed(3, &["[target-architecture]", "[kexec-no-image]", "--kexec FILE|URL"]);
    home.assert_tidy();
}

#[test]
fn a_login_that_cannot_become_root_is_refused() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    home.pretend("id", "echo 1000");
    home.pretend("sudo", "exit 1");
    home.pretend("doas", "exit 1");
    install(&home, &sshd, "x86_64-linux", &[]).failed(
        3,
        &["because of 2 findings", "[target-no-root]", "[kexec-no-image]", "without a password"],
    );
    let image = hollow_image(&home);
    home.pretend("sudo", r#"[ "$1" = -n ] || exit 1; shift; [ "$1" != -- ] || shift; exec "$@""#);
    install(&home, &sshd, "x86_64-linux", &["--kexec", &image]).failed(4, &["--plan-digest"]);
    home.assert_tidy();
}

#[test]
fn a_target_is_known_before_it_is_trusted() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    home.pretend("uname", r#"[ "$1" != -s ] || exec echo FreeBSD; exec echo amd64"#);
    install(&home, &sshd, "x86_64-linux", &[]).failed(3, &["[target-not-linux]", "runs FreeBSD"]);
    // A shell that does not answer as one.
    home.pretend("sh", "echo 'This account is not available.'; exit 1");
    install(&home, &sshd, "x86_64-linux", &[])
        .failed(5, &["runs no commands for this login", "This account is not available."]);
    home.assert_tidy();
}

#[test]
fn a_target_that_refuses_the_login_is_reported() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    keygen(&home.path("other"));
    let other = home.path("other");
    let denied = |identity: &Path| {
        let target = format!("{}@127.0.0.1:{}", user(), sshd.port);
        let (fleet, host_key) = (fleet(), sshd.host_key());
        let identity = identity.to_str().unwrap();
        let arguments = ["install", "helios64", &target, "--flake", &fleet, "-i", identity];
        let options = ["--host-key", &host_key, "--ssh-option", "IdentitiesOnly=yes"];
        home.run(&[&arguments[..], &options, &["--ssh-option", "IdentityAgent=none"]].concat())
    };
    denied(&other).failed(5, &["refuses the login", "Permission denied", "-i"]);

    let unused = Port::take().unwrap();
    let nobody = format!("root@127.0.0.1:{unused}");
    let refused = home.run(&["install", "helios64", &nobody, "--flake", &fleet()]);
    refused.failed(5, &["cannot be reached", "Connection refused"]);

    let silent = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent_target = format!("root@127.0.0.1:{}", silent.local_addr().unwrap().port());
    let timed_out = home.run(&["install", "helios64", &silent_target, "--flake", &fleet()]);
    timed_out.failed(5, &["did not finish in time", "timed out"]);

    let nameless = home.run(&["install", "helios64", "root@no-such-host.invalid"]);
    nameless.failed(5, &["has no address"]);
    home.assert_tidy();
}

#[test]
fn a_host_key_must_be_known_and_the_same() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let known = home.path("known_hosts");
    let option = format!("UserKnownHostsFile={}", known.display());
    let unknown = install(&home, &sshd, "helios64", &["--ssh-option", &option]);
    unknown.failed(6, &["is not known", "--host-key"]);

    keygen(&home.path("impostor"));
    let impostor = std::fs::read_to_string(home.path("impostor.pub")).unwrap();
    std::fs::write(&known, format!("[127.0.0.1]:{} {impostor}", sshd.port)).unwrap();
    let changed = install(&home, &sshd, "helios64", &["--ssh-option", &option]);
    let forget = format!("ssh-keygen -R '[127.0.0.1]:{}'", sshd.port);
    changed.failed(6, &["has a different host key than expected", &forget]);
    let pinned = home.path("impostor.pub");
    let changed = install(&home, &sshd, "helios64", &["--host-key", pinned.to_str().unwrap()]);
    changed.failed(6, &["has a different host key than expected", "compare --host-key"]);

    // Nothing that is asked for lets an unknown machine in, or makes it known.
    std::fs::write(&known, "").unwrap();
    for careless in ["StrictHostKeyChecking=no", "StrictHostKeyChecking=accept-new"] {
        let more = ["--ssh-option", &option, "--ssh-option", careless];
        install(&home, &sshd, "helios64", &more).failed(6, &["is not known"]);
    }
    assert_eq!(std::fs::read_to_string(&known).unwrap(), "");

    std::fs::write(&known, format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key())).unwrap();
    let right = install(&home, &sshd, "helios64", &["--ssh-option", &option]);
    right.failed(3, &["[target-architecture]"]);
    home.assert_tidy();
}

#[test]
fn a_file_that_is_not_a_kexec_image_is_refused() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let text = home.path("image.tar.gz");
    std::fs::write(&text, "not a tarball").unwrap();
    let given = ["--kexec", text.to_str().unwrap()];
    install(&home, &sshd, "helios64", &given)
        .failed(3, &["the kexec image cannot be used", "is not a kexec image"]);

    std::fs::create_dir(home.path("kexec")).unwrap();
    std::fs::write(home.path("kexec/run"), "#!/bin/sh\n").unwrap();
    let tarball = tarball(&home, "partial.tar.gz");
    install(&home, &sshd, "helios64", &["--kexec", &tarball])
        .failed(3, &["it lacks kexec/kexec, kexec/initrd, kexec/bzImage"]);

    let digest = "0".repeat(64);
    install(&home, &sshd, "helios64", &["--kexec", &tarball, "--kexec-sha256", &digest])
        .failed(3, &["has SHA-256", &digest]);
    install(&home, &sshd, "helios64", &["--kexec", "/no/such/image"])
        .failed(3, &["/no/such/image", "No such file"]);
    home.assert_tidy();
}

#[test]
fn an_image_by_url_is_downloaded_once_and_its_digest_shown() {
    static REQUESTS: AtomicUsize = AtomicUsize::new(0);
    static SENT: AtomicUsize = AtomicUsize::new(0);
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let image = std::fs::read(hollow_image(&home)).unwrap();
    let server = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/image.tar.gz", server.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            let mut request = [0; 4096];
            let length = stream.read(&mut request).unwrap();
            REQUESTS.fetch_add(1, Ordering::SeqCst);
            // What the client has is as new as what is here.
            if String::from_utf8_lossy(&request[..length]).contains("If-Modified-Since: ") {
                stream
                    .write_all(b"HTTP/1.1 304 Not Modified\r\nConnection: close\r\n\r\n")
                    .unwrap();
                continue;
            }
            assert_eq!(SENT.fetch_add(1, Ordering::SeqCst), 0, "it is sent once");
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n", image.len());
            let date = "Last-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\nConnection: close\r\n\r\n";
            stream.write_all(&[head.as_bytes(), date.as_bytes(), &image].concat()).unwrap();
        }
    });
    let first = install(&home, &sshd, "helios64", &["--kexec", &url]);
    first.failed(3, &["[target-architecture]", "SHA-256 "]);
    let said = first.stderr.split_once("SHA-256 ").unwrap().1;
    let digest: String = said.chars().take_while(char::is_ascii_hexdigit).collect();
    assert_eq!(digest.len(), 64);
    let pinned = ["--kexec", &url, "--kexec-sha256", &digest];
    install(&home, &sshd, "helios64", &pinned).failed(3, &["[target-architecture]"]);
    assert_eq!(
        REQUESTS.load(Ordering::SeqCst),
        1,
        "what is cached and pinned is not asked for again"
    );

    // Without a digest it may have become another: that is asked, and answered without a download.
    let same = format!("SHA-256 {digest}");
    install(&home, &sshd, "helios64", &["--kexec", &url])
        .failed(3, &["[target-architecture]", &same]);
    assert_eq!((REQUESTS.load(Ordering::SeqCst), SENT.load(Ordering::SeqCst)), (2, 1));
    let cached: Vec<_> = std::fs::read_dir(home.path("cache/landfall/kexec")).unwrap().collect();
    assert_eq!(cached.len(), 1, "{cached:?}");

    let unused = Port::take().unwrap();
    let gone = format!("http://127.0.0.1:{unused}/image");
    install(&home, &sshd, "helios64", &["--kexec", &gone]).failed(3, &["cannot be downloaded"]);
    home.assert_tidy();
}

#[test]
fn programs_that_are_missing_are_named() {
    let home = Home::new();
    let bin = home.path("few-programs");
    std::fs::create_dir(&bin).unwrap();
    for (present, missing) in [(None, "`ssh`"), (Some("/usr/bin/ssh"), "`nix`")] {
        if let Some(program) = present {
            symlink(program, bin.join("ssh")).unwrap();
        }
        let mut command = home.landfall(&["install", "helios64", "root@127.0.0.1:1"]);
        let ended = Ended::of(&command.env("PATH", &bin).output().unwrap());
        ended.failed(1, &[missing, "hint: install"]);
    }
}

#[test]
fn without_a_terminal_consent_must_be_given() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let image = hollow_image(&home);
    let ended = install(&home, &sshd, "x86_64-linux", &["--kexec", &image]);
    ended.failed(4, &["ERASE  main", "/dev/disk/by-id/", "--plan-digest", "--erase"]);
    home.assert_tidy();
}

#[test]
fn events_are_json_to_the_last() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let ended = install(&home, &sshd, "bare", &["--json"]);
    assert_eq!(ended.stderr, "");
    let events = crate::common::events::events(&ended.stdout);
    assert_eq!(events[0]["event"], "started");
    assert_eq!(events[0]["version"], 1);
    assert!(Path::new(events[0]["log"].as_str().unwrap()).exists());
    let last = events.last().unwrap();
    assert_eq!((&last["event"], &last["exit"]), (&"failed".into(), &3.into()), "{last}");
    assert!(last["what"].as_str().unwrap().contains("[host-no-disko]"));
    assert!(last["state"].as_str().unwrap().contains("nothing on it was changed"));
}
