//! `landfall keys`: the life of a host key, from its making to the machine it is for.

use crate::common::process::until;
use crate::common::shells::{SHELLS, System};
use crate::common::{Ended, Home, Sshd, as_root, encrypted_fleet, keygen, user};
use landfall::secrets::age::Key;
use landfall::secrets::host_key::recipient;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A home with the user's own key, and a fleet.
fn user_with_a_key() -> Home {
    let home = Home::new();
    fs::create_dir(home.path(".ssh")).unwrap();
    keygen(&home.path(".ssh/id_ed25519"));
    home
}

fn kept(home: &Home) -> PathBuf {
    home.path("state/landfall/keys/encrypted/ssh_host_ed25519_key.age")
}

fn public(path: &Path) -> String {
    let line = fs::read_to_string(path.with_extension("pub")).unwrap();
    line.split_whitespace().take(2).collect::<Vec<_>>().join(" ")
}

/// Decrypts with the user's key.
fn opened(home: &Home, encrypted: &Path) -> String {
    let key = fs::read(home.path(".ssh/id_ed25519")).unwrap();
    let Ok(Key::Open(key)) = Key::parse(&key) else { panic!("no key") };
    let mut content = Vec::new();
    key.decrypt(&fs::read(encrypted).unwrap(), |bytes| content.extend_from_slice(bytes)).unwrap();
    String::from_utf8(content).unwrap()
}

fn encrypted_to(keys: &[&str]) -> Vec<u8> {
    let recipients: Vec<_> = keys.iter().map(|key| recipient(key).unwrap()).collect();
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(|r| &**r as _)).unwrap();
    let mut encrypted = Vec::new();
    let mut writer = encryptor.wrap_output(&mut encrypted).unwrap();
    writer.write_all(b"CANARY-OF-A-SECRET").unwrap();
    writer.finish().unwrap();
    encrypted
}

fn create(home: &Home, flake: &str, more: &[&str]) -> Ended {
    home.run(&[&["keys", "create", "encrypted", "--flake", flake], more].concat())
}

fn mode(path: &Path) -> u32 {
    path.metadata().unwrap().permissions().mode() & 0o7777
}

/// Every file below a directory that holds any of these bytes.
fn holding(dir: &Path, needles: &[&str], found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            holding(&path, needles, found);
        } else if let Ok(bytes) = fs::read(&path) {
            let text = String::from_utf8_lossy(&bytes);
            if needles.iter().any(|needle| text.contains(needle)) {
                found.push(path);
            }
        }
    }
}

#[test]
fn a_key_is_made_once_and_never_in_plain_text() {
    let home = user_with_a_key();
    let flake = encrypted_fleet(&home, &[]);
    let made = create(&home, &flake, &[]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let key = kept(&home);
    assert_eq!((mode(&key), mode(&key.with_extension("pub"))), (0o600, 0o600));
    assert_eq!(mode(key.parent().unwrap()), 0o700);
    let private = opened(&home, &key);
    assert!(private.starts_with("-----BEGIN OPENSSH PRIVATE KEY-----"));
    let public = public(&key);
    let print = landfall::machine::fingerprint(&public).unwrap();
    for said in [
        &public,
        &print,
        &format!("encrypted = \"{public} root@encrypted\";"),
        "\"secrets/token.age\".publicKeys = [ … encrypted ];",
        "\"secrets/wireguard.age\".publicKeys = [ … encrypted ];",
        "agenix --rekey",
    ] {
        assert!(made.stderr.contains(said), "no '{said}' in\n{}", made.stderr);
    }
    // The real ssh-keygen takes it for what it is.
    let plain = home.path("plain");
    fs::write(&plain, &private).unwrap();
    fs::set_permissions(&plain, fs::Permissions::from_mode(0o600)).unwrap();
    let read = Command::new("ssh-keygen").args(["-y", "-f"]).arg(&plain).output().unwrap();
    assert_eq!(String::from_utf8(read.stdout).unwrap().trim(), format!("{public} root@encrypted"));
    fs::remove_file(&plain).unwrap();

    // Again, in whatever way: it stays.
    for again in [create(&home, &flake, &[]), create(&home, &flake, &["--json"])] {
        assert_eq!(again.code, Some(1), "{again:#?}");
        let said = again.stderr.clone() + &again.stdout;
        assert!(said.contains("there is a key already") && said.contains(&print), "{again:#?}");
    }
    assert_eq!(opened(&home, &key), private);
    // No line of the private key was said, logged or left anywhere.
    let lines: Vec<&str> = private.lines().collect();
    // The first ones hold what is the same in all keys, and the public half.
    let secret = &lines[3..5];
    assert!(!secret.iter().any(|line| (made.stdout.clone() + &made.stderr).contains(line)));
    let mut found = Vec::new();
    holding(&home.path(""), secret, &mut found);
    assert!(found.is_empty(), "{found:?}");
}

#[test]
fn it_is_encrypted_to_whom_it_should_be() {
    let home = user_with_a_key();
    let flake = encrypted_fleet(&home, &[]);
    let native = age::x25519::Identity::generate();
    let list = home.path("recipients");
    fs::write(&list, format!("# mine\n\n{}\n", native.to_public())).unwrap();
    let out = home.path("elsewhere/key.age");
    let (list, out_text) = (list.to_str().unwrap(), out.to_str().unwrap());
    let made = create(&home, &flake, &["--to", list, "--out", out_text]);
    assert_eq!(made.code, Some(0), "{made:#?}");
    let private = age::decrypt(&native, &fs::read(&out).unwrap()).unwrap();
    assert!(private.starts_with(b"-----BEGIN OPENSSH"));
    assert!(!kept(&home).exists() && out.with_extension("pub").exists());
    assert_eq!(create(&home, &flake, &["--to", list, "--out", out_text]).code, Some(1));

    for (to, said) in [
        ("age1nonsense", "not a plugin's"),
        ("ssh-dss AAAA", "no SSH key that age can encrypt to"),
        ("/no/such/file", "/no/such/file"),
    ] {
        let ended = create(&home, &flake, &["--to", to]);
        assert_eq!(ended.code, Some(1), "{ended:#?}");
        assert!(ended.stderr.contains(said), "{ended:#?}");
    }
    fs::remove_dir_all(home.path(".ssh")).unwrap();
    assert!(create(&home, &flake, &[]).stderr.contains("--to"));
    assert!(!kept(&home).exists());
}

fn check(home: &Home, flake: &str, more: &[&str]) -> (Ended, Vec<Value>) {
    let words = [&["keys", "check", "encrypted", "--flake", flake, "--json"], more].concat();
    let ended = home.run(&words);
    let events = crate::common::events::events(&ended.stdout);
    (ended, events)
}

/// The codes of what was found.
fn codes(events: &[Value]) -> Vec<&str> {
    let findings = events.iter().filter(|event| event["event"] == "finding");
    findings.map(|event| event["code"].as_str().unwrap()).collect()
}

#[test]
fn what_the_machine_would_open_is_proven() {
    let home = user_with_a_key();
    let flake = encrypted_fleet(&home, &[]);
    assert_eq!(create(&home, &flake, &[]).code, Some(0));
    let mine = fs::read_to_string(home.path(".ssh/id_ed25519.pub")).unwrap();
    let host = public(&kept(&home));
    let (good, old) = (encrypted_to(&[&mine, &host]), encrypted_to(&[&mine]));

    let flake = encrypted_fleet(&home, &[("token.age", &good), ("wireguard.age", &good)]);
    let (ended, events) = check(&home, &flake, &[]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let proof = &events.iter().find(|event| event["event"] == "proof").unwrap()["proof"];
    assert_eq!(proof["secrets"][0]["answers"][0]["by"], "decrypted");
    assert_eq!(proof["secrets"][1]["verdict"], "opened");
    assert!(!ended.stdout.contains("CANARY"));
    let table = home.run(&["keys", "check", "encrypted", "--flake", &flake]);
    assert!(table.stdout.contains("  wireguard  1: yes (decrypted)"), "{}", table.stdout);
    // `landfall check` says the same.
    let whole = home.run(&["check", "encrypted", "--flake", &flake]);
    assert_eq!(whole.code, Some(0), "{whole:#?}");
    assert!(whole.stdout.contains("  token      1: yes (decrypted)"), "{}", whole.stdout);

    // Through a link, which `nix store cat` does not follow by itself.
    let secrets = home.path("fleet/secrets");
    fs::rename(secrets.join("token.age"), secrets.join("real.age")).unwrap();
    symlink("real.age", secrets.join("token.age")).unwrap();
    assert_eq!(check(&home, &flake, &[]).0.code, Some(0));

    for (files, expected) in [
        (vec![("token.age", &good[..]), ("wireguard.age", &old[..])], vec!["secret-not-opened"]),
        (vec![("token.age", &good[..])], vec!["secret-missing"]),
        (vec![], vec!["secret-missing", "secret-missing"]),
        (
            vec![("token.age", &good[..100]), ("wireguard.age", b"version https://git-lfs\n")],
            vec!["secret-broken", "secret-broken"],
        ),
    ] {
        let flake = encrypted_fleet(&home, &files);
        let (ended, events) = check(&home, &flake, &[]);
        assert_eq!(ended.code, Some(3), "{ended:#?}");
        assert_eq!(codes(&events), expected);
        let whole = home.run(&["check", "encrypted", "--flake", &flake]);
        assert_eq!(whole.code, Some(3), "{whole:#?}");
    }
}

#[test]
fn a_key_that_cannot_be_opened_is_refused_and_never_asked_for_without_a_terminal() {
    let home = user_with_a_key();
    let flake = encrypted_fleet(&home, &[]);
    assert_eq!(create(&home, &flake, &[]).code, Some(0));
    let host = public(&kept(&home));
    let good = encrypted_to(&[&host]);
    let flake = encrypted_fleet(&home, &[("token.age", &good), ("wireguard.age", &good)]);
    // A passphrase is put on the user's key: then only the public half can be looked at, and the check says so.
    let mine = home.path(".ssh/id_ed25519");
    let mut lock = Command::new("ssh-keygen");
    let locked = lock.args(["-q", "-p", "-P", "", "-N", "secret words", "-f"]).arg(&mine).status();
    assert!(locked.unwrap().success());
    let (ended, events) = check(&home, &flake, &[]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(ended.stdout.contains("no terminal to ask on"), "{}", ended.stdout);
    let proof = &events.iter().find(|event| event["event"] == "proof").unwrap()["proof"];
    assert_eq!(proof["secrets"][0]["answers"][0]["by"], "tag");
    // An install needs it whole, and is refused before anybody is connected to.
    let install = ["install", "encrypted", "root@127.0.0.1:1", "--flake", &flake, "--yes"];
    let ended = home.run(&install);
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stderr.contains("no terminal to ask on"), "{}", ended.stderr);
    // Another key is no help, and what is tried is reported.
    let other = home.path("other");
    keygen(&other);
    let ended = home.run(&[&install[..], &["--age-identity", other.to_str().unwrap()]].concat());
    assert_eq!(ended.code, Some(3), "{ended:#?}");
    assert!(ended.stderr.contains("none of your keys opens it"), "{}", ended.stderr);
    // The public half of another key beside it is no small matter.
    fs::copy(other.with_extension("pub"), kept(&home).with_extension("pub")).unwrap();
    let mut unlock = Command::new("ssh-keygen");
    let open = unlock.args(["-q", "-p", "-P", "secret words", "-N", "", "-f"]).arg(&mine).status();
    assert!(open.unwrap().success());
    let ended = home.run(&install);
    assert!(ended.stderr.contains("the public half of another key"), "{}", ended.stderr);
}

#[test]
fn a_key_is_copied_to_a_running_system_and_never_over_another() {
    let home = user_with_a_key();
    let sshd = Sshd::start(&home, "");
    let flake = encrypted_fleet(&home, &[]);
    assert_eq!(create(&home, &flake, &[]).code, Some(0));
    let target = format!("{}@127.0.0.1:{}", user(), sshd.port);
    let place = home.path("a machine/etc/ssh/ssh_host_ed25519_key");
    let (login, host_key) = (home.path("key"), sshd.host_key());
    let copy = |more: &[&str]| {
        let words = ["keys", "copy", "encrypted", &target, "--flake", &flake];
        let login = ["-i", login.to_str().unwrap(), "--host-key", &host_key];
        let options = ["--ssh-option", "IdentitiesOnly=yes", "--path", place.to_str().unwrap()];
        home.run(&[&words[..], &login, &options, more].concat())
    };
    let copied = copy(&[]);
    assert_eq!(copied.code, Some(0), "{copied:#?}");
    let (ours, private) = (public(&kept(&home)), opened(&home, &kept(&home)));
    assert_eq!(fs::read_to_string(&place).unwrap(), private);
    assert_eq!(public(&place), ours);
    assert_eq!((mode(&place), mode(&place.with_extension("pub"))), (0o600, 0o644));
    assert_eq!(mode(place.parent().unwrap()), 0o755);
    let print = landfall::machine::fingerprint(&ours).unwrap();
    assert!(copied.stderr.contains(&print) && copied.stderr.contains("systemctl restart sshd"));
    // The same once more is nothing new.
    assert_eq!(copy(&[]).code, Some(0));

    let other = home.path("other");
    keygen(&other);
    let another = ["--host-key-file", other.to_str().unwrap()];
    let refused = copy(&another);
    assert_eq!(refused.code, Some(3), "{refused:#?}");
    assert!(refused.stderr.contains("another key is there already"), "{}", refused.stderr);
    assert!(refused.stderr.contains(&print), "{}", refused.stderr);
    assert_eq!(fs::read_to_string(&place).unwrap(), private);
    assert_eq!(copy(&[&another[..], &["--replace"]].concat()).code, Some(0));
    assert_eq!(public(&place), public(&other));
    // Nothing but the key and its public half is left there.
    assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 2);
    until("the session is over", || fs::read_dir(home.path("run")).unwrap().next().is_none());
}

/// Types each answer when a passphrase is asked for, on a real terminal made by script(1); what the screen showed.
fn asked(home: &Home, line: &str, answers: &[&str]) -> String {
    let mut script = Command::new("script");
    script.args(["-q", "-e", "-c", line, "/dev/null"]).env("HOME", home.path(""));
    script.env("XDG_STATE_HOME", home.path("state")).env("TERM", "xterm");
    let mut child = script.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut keyboard, mut display) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let (mut screen, mut buffer, mut typed) = (Vec::new(), [0; 4096], 0);
    loop {
        let length = display.read(&mut buffer).unwrap_or(0);
        if length == 0 {
            break;
        }
        screen.extend_from_slice(&buffer[..length]);
        let questions = String::from_utf8_lossy(&screen).matches("Passphrase of ").count();
        if typed < questions && typed < answers.len() {
            keyboard.write_all(answers[typed].as_bytes()).unwrap();
            typed += 1;
        }
    }
    let _ = child.wait();
    String::from_utf8_lossy(&screen).into_owned()
}

#[test]
fn a_passphrase_is_asked_for_on_a_terminal_and_not_shown() {
    let home = user_with_a_key();
    let flake = encrypted_fleet(&home, &[]);
    assert_eq!(create(&home, &flake, &[]).code, Some(0));
    let good = encrypted_to(&[&public(&kept(&home))]);
    let flake = encrypted_fleet(&home, &[("token.age", &good), ("wireguard.age", &good)]);
    let mine = home.path(".ssh/id_ed25519");
    let mut lock = Command::new("ssh-keygen");
    let locked = lock.args(["-q", "-p", "-P", "", "-N", "secret words", "-f"]).arg(&mine).status();
    assert!(locked.unwrap().success());
    // What comes after it sees whether the terminal shows again what is typed. The shell lives on after Ctrl-C, which
    // reaches it, too: of $SHELL, which script(1) takes, only some do so by themselves.
    let line = format!(
        "trap : INT; {} keys check encrypted --flake {flake}; echo \"code $?\"; stty -a",
        env!("CARGO_BIN_EXE_landfall")
    );
    let shows = |screen: &str| screen.contains(" echo ") && !screen.contains(" -echo ");

    let screen = asked(&home, &line, &["wrong words\n", "secret words\n"]);
    assert!(screen.contains("code 0") && shows(&screen), "{screen}");
    assert!(screen.contains("yes (decrypted)"), "{screen}");
    assert!(!screen.contains("words"), "{screen}");
    // Wrong to the end: a check continues with the public half.
    let screen = asked(&home, &line, &["a\n", "b\n", "c\n"]);
    assert!(screen.contains("the passphrase is wrong"), "{screen}");
    assert!(screen.contains("yes (by its tag)") && shows(&screen), "{screen}");
    // Ctrl-C, as a terminal's line discipline knows it.
    let screen = asked(&home, &line, &["\x03"]);
    assert!(screen.contains("interrupted by Ctrl-C"), "{screen}");
    assert!(screen.contains("code 130") && shows(&screen), "{screen}");
}

#[test]
fn the_script_that_places_a_key_does_so_in_every_shell() {
    as_root("the key becomes root's");
    let home = Home::new();
    let (key, other) = (home.path("a"), home.path("b"));
    keygen(&key);
    keygen(&other);
    let (private, line) = (fs::read(&key).unwrap(), public(&key) + " root@encrypted");
    for system in SHELLS.map(System::of) {
        symlink("/usr/bin/ssh-keygen", system.bin.path().join("ssh-keygen")).unwrap();
        let root = home.path(&format!("root of {}", system.shell));
        fs::create_dir(&root).unwrap();
        let path = "/etc/ssh here/key";
        let place = root.join("etc/ssh here/key");
        let run = |input: &[u8], mode: &str| {
            let arguments = [root.to_str().unwrap(), path, &line, mode];
            let mut command = system.script("secrets/place-host-key.sh", &arguments);
            command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
            let mut child = command.spawn().unwrap();
            // It may end without having read everything.
            let _ = child.stdin.take().unwrap().write_all(input);
            child.wait_with_output().unwrap()
        };
        let left = || fs::read_dir(place.parent().unwrap()).unwrap().count();
        // Cut on the way, or another key than was announced: nothing is there, not even in part.
        for bad in [&private[..private.len() / 2], b"", &fs::read(&other).unwrap()] {
            let output = run(bad, "replace");
            assert_eq!(output.status.code(), Some(1), "{}: {output:?}", system.shell);
            assert_eq!(left(), 0, "{}", system.shell);
        }
        let output = run(&private, "keep");
        assert_eq!(output.status.code(), Some(0), "{}: {output:?}", system.shell);
        let said = String::from_utf8(output.stdout).unwrap();
        assert!(said.starts_with(&public(&key)), "{said}");
        assert_eq!(fs::read(&place).unwrap(), private);
        assert_eq!(fs::read_to_string(place.with_extension("pub")).unwrap().trim(), line);
        assert_eq!((mode(&place), mode(&place.with_extension("pub"))), (0o600, 0o644));
        assert_eq!((mode(place.parent().unwrap()), left()), (0o755, 2));
        // Another one that is there, or what is no key at all.
        for there in [fs::read(&other).unwrap(), b"no key".to_vec()] {
            fs::write(&place, &there).unwrap();
            let output = run(&private, "keep");
            assert_eq!(output.status.code(), Some(3), "{}: {output:?}", system.shell);
            assert_eq!(fs::read(&place).unwrap(), there);
        }
        assert_eq!(run(&private, "replace").status.code(), Some(0));
        assert_eq!((fs::read(&place).unwrap(), left()), (private.clone(), 2));
    }
}
