//! Who opens an age file: with keys that the real ssh-keygen and age-keygen have made, and files that the real age has
//! encrypted.

use crate::common::Home;
use landfall::secrets::Secret;
use landfall::secrets::age::{Answer, FileError, Identity, Key, KeyError, Recipient};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const YES: Result<Answer, FileError> = Ok(Answer::Yes { by: "decrypted" });

fn keygen(home: &Home, name: &str, options: &[&str]) -> PathBuf {
    let path = home.path(name);
    let mut command = Command::new("ssh-keygen");
    let made = command.args(["-q", "-C", "a comment", "-f"]).arg(&path).args(options);
    assert!(made.status().unwrap().success());
    path
}

fn public(path: &Path) -> String {
    fs::read_to_string(path.with_extension("pub")).unwrap().trim().to_owned()
}

/// Encrypts with the real age.
fn age(arguments: &[&str], content: &[u8]) -> Vec<u8> {
    let mut command = Command::new("age");
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
    let Ok(mut child) = command.spawn() else { panic!("there is no age: run `cargo xtask test`") };
    let (mut stdin, content) = (child.stdin.take().unwrap(), content.to_vec());
    // It answers while it still reads.
    let writer = std::thread::spawn(move || stdin.write_all(&content).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    output.stdout
}

fn held(path: &Path) -> Identity {
    match Key::parse(&fs::read(path).unwrap()).unwrap() {
        Key::Open(key) => Identity::Held(key),
        Key::Locked(key) => panic!("{key:?}"),
    }
}

#[test]
fn files_of_the_real_age_are_opened_and_attributed() {
    let home = Home::new();
    let keys = [
        ("ed25519", keygen(&home, "ed25519", &["-t", "ed25519", "-N", ""])),
        ("rsa", keygen(&home, "rsa", &["-t", "rsa", "-b", "2048", "-N", ""])),
        ("old", keygen(&home, "old", &["-t", "rsa", "-b", "2048", "-N", "", "-m", "PEM"])),
    ];
    let native = home.path("native");
    let made = Command::new("age-keygen").arg("-o").arg(&native).stderr(Stdio::piped()).output();
    let said = String::from_utf8(made.unwrap().stderr).unwrap();
    let recipient = said.split_whitespace().last().unwrap();
    // More than one chunk, so that the end is really reached.
    let content = vec![b'x'; 200_000];
    for options in [&[][..], &["-a"]] {
        for (name, key) in &keys {
            let file = age(&[options, &["-r", &public(key)]].concat(), &content);
            for (other, path) in &keys {
                let opened = held(path).opens(&file);
                if name == other {
                    assert_eq!(opened, YES, "{name} {options:?}");
                } else {
                    assert!(matches!(opened, Ok(Answer::No { .. })), "{name} {other} {opened:?}");
                }
                let by_tag = Identity::Public(public(path)).opens(&file);
                assert_eq!(
                    by_tag == Ok(Answer::Yes { by: "tag" }),
                    name == other,
                    "{name} {other}"
                );
            }
            assert!(matches!(held(&native).opens(&file), Ok(Answer::No { .. })));
            // The end of the last chunk is missing: no header shows it, and no tag.
            assert_ne!(held(key).opens(&file[..file.len() - 1000]), YES);
        }
        let mut words = [options, &["-r", recipient]].concat();
        let publics: Vec<String> = keys.iter().map(|(_, key)| public(key)).collect();
        let alone = age(&words, &content);
        assert_eq!(held(&native).opens(&alone), YES);
        assert!(matches!(held(&keys[0].1).opens(&alone), Ok(Answer::No { .. })));
        words.extend(publics.iter().flat_map(|line| ["-r", line]));
        let for_all = age(&words, &content);
        assert_eq!(Recipient::all(&for_all).unwrap().len(), 4);
        for (_, key) in &keys {
            assert_eq!(held(key).opens(&for_all), YES);
        }
    }
}

#[test]
fn keys_that_are_of_no_use_are_told_apart() {
    let home = Home::new();
    let parse = |path: &Path| Key::parse(&fs::read(path).unwrap());
    let locked = keygen(&home, "locked", &["-t", "ed25519", "-N", "open sesame"]);
    let Ok(Key::Locked(key)) = parse(&locked) else { panic!() };
    assert!(public(&locked).starts_with(&key.public().unwrap()));
    assert_eq!(key.unlock(&Secret::new(b"x".to_vec())).unwrap_err(), KeyError::WrongPassphrase);
    let open = key.unlock(&Secret::new(b"open sesame".to_vec())).unwrap();
    let Ok(Key::Open(open)) = Key::parse(open.expose()) else { panic!() };
    let file = age(&["-r", &public(&locked)], b"x");
    assert_eq!(Identity::Held(open).opens(&file), YES);

    let old = keygen(&home, "old", &["-t", "rsa", "-b", "2048", "-N", "open sesame", "-m", "PEM"]);
    assert_eq!(parse(&old).unwrap_err(), KeyError::OldLocked);
    let ecdsa = keygen(&home, "ecdsa", &["-t", "ecdsa", "-N", ""]);
    assert!(matches!(parse(&ecdsa).unwrap_err(), KeyError::Unsupported(_)));
    assert_eq!(parse(&ecdsa.with_extension("pub")).unwrap_err(), KeyError::NotAKey);
}
