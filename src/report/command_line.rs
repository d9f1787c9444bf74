//! The command line as it may be kept: for a shell, and without what opens something.
//!
//! No option takes a secret by value, but for `SetEnv` of ssh: keys and files are named by paths, commands or `-`. A URL may hold a
//! password or a token, of an image as of a flake or an input: those are left out.

use super::foreign::one_line;
use super::redact::{LEFT_OUT, without_secrets};
use std::ffi::{OsStr, OsString};
use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// The line that a run was begun with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// As it was given.
    pub given: String,
    /// The line that continues the run.
    pub again: String,
}

/// The line that installs what a `landfall check`, or an `install --dry-run`, with these arguments has shown.
pub(crate) fn installing(arguments: &[OsString]) -> String {
    // The digest takes the place of any other consent.
    let dropped = ["--dry-run", "--json", "--yes", "-y"];
    let words = arguments.iter().enumerate().map(|(at, word)| match at {
        1 if word == "check" => OsStr::new("install"),
        _ => word,
    });
    let words = words.filter(|word| !dropped.iter().any(|dropped| word == dropped));
    words.map(|word| quoted(&kept(word))).collect::<Vec<_>>().join(" ")
}

impl CommandLine {
    /// Of a program's arguments, the program among them, in the present directory: a flake or a file may be named from there.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let words: Vec<_> = arguments.into_iter().collect();
        Self::within(std::env::current_dir().ok().as_deref(), &words)
    }

    fn within(directory: Option<&Path>, words: &[OsString]) -> Self {
        let quoted: Vec<_> = words.iter().map(|word| (word, quoted(&kept(word)))).collect();
        let cd = directory.map(|directory| format!("cd {} && ", quoted_path(directory)));
        let line = |is_said: fn(&OsStr) -> bool| {
            let words = quoted.iter().filter(|(word, _)| is_said(word));
            let words: Vec<_> = words.map(|(_, quoted)| quoted.as_str()).collect();
            format!("{}{}", cd.as_deref().unwrap_or_default(), words.join(" "))
        };
        Self {
            given: line(|_| true),
            // It would start over each time.
            again: line(|word| word != "--restart"),
        }
    }
}

/// The word without what opens something. One that is not text is only then made text.
fn kept(word: &OsStr) -> OsString {
    let text = word.to_string_lossy();
    // A command that prints a secret may hold it.
    if let Some((option, _)) = text.split_once('|').filter(|(option, _)| is_option(option)) {
        return format!("{option}|{LEFT_OUT}").into();
    }
    let kept = without_secrets(&text);
    if let Some((option, variable)) = set_env(&kept) {
        return format!("{option}{variable}={LEFT_OUT}").into();
    }
    if kept == text { word.to_owned() } else { kept.into_owned().into() }
}

/// Nothing, or an option with its `=`: what stands before a value.
fn is_option(text: &str) -> bool {
    text.is_empty() || (text.starts_with("--") && text.find('=') == Some(text.len() - 1))
}

/// `SetEnv=` and the name of the variable that an option for ssh sets, in `SetEnv=NAME=VALUE`.
fn set_env(word: &str) -> Option<(&str, &str)> {
    let text = word.strip_prefix("--ssh-option=").unwrap_or(word);
    let (name, rest) = text.split_at_checked("SetEnv".len())?;
    let (variable, _) = rest.strip_prefix('=')?.split_once('=')?;
    let option = &word[..=word.len() - text.len() + name.len()];
    name.eq_ignore_ascii_case("SetEnv").then_some((option, variable))
}

fn quoted_path(path: &Path) -> String {
    quoted(path.as_os_str())
}

/// The word as every shell reads it, in characters that are shown as they are: a terminal is given no other, and a line of several
/// lines is pasted as several commands.
fn quoted(word: &OsStr) -> String {
    let is_shown = |text: &&str| one_line(text) == *text && !text.contains('\t');
    if let Some(text) = word.to_str().filter(is_shown)
        && let Ok(text) = shlex::try_quote(text)
    {
        return text.into_owned();
    }
    // `$(…)` takes the newlines away that it ends with.
    let bytes = word.as_bytes();
    let end = bytes.iter().rposition(|byte| *byte != b'\n').map_or(0, |last| last + 1);
    let mut text = "\"$(printf '".to_owned();
    for byte in &bytes[..end] {
        let _ = match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'/' | b'.' | b'_' | b' ' => {
                write!(text, "{}", char::from(*byte))
            }
            _ => write!(text, "\\{byte:03o}"),
        };
    }
    text + "')" + &"\n".repeat(bytes.len() - end) + "\""
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::ffi::OsStringExt as _;
    use std::process::Command;

    fn within(directory: &str, words: &[&str]) -> CommandLine {
        let words: Vec<_> = words.iter().map(OsString::from).collect();
        CommandLine::within(Some(Path::new(directory)), &words)
    }

    #[test]
    fn it_is_one_that_a_shell_takes_and_does_not_start_over() {
        let words = ["landfall", "install", "nas", "root@nas", "--restart", "-i", "my key"];
        let line = within("/home/me/a b", &words);
        let again = "cd '/home/me/a b' && landfall install nas root@nas -i 'my key'";
        assert_eq!(line.again, again);
        assert!(line.given.contains("root@nas --restart -i"), "{}", line.given);
    }

    #[test]
    fn a_command_that_prints_a_secret_is_left_out() {
        let words = [
            "landfall",
            "--secret-file",
            "|printf s3cret:/etc/key:0400",
            "--secret-file=|pass x:/y",
            "a|b",
        ];
        let again = within("/f", &words).again;
        assert_eq!(
            again,
            "cd /f && landfall --secret-file '|REDACTED' '--secret-file=|REDACTED' 'a|b'"
        );
    }

    #[test]
    fn a_check_becomes_the_install_of_the_same() {
        for (given, installs) in [
            (
                "landfall check nas root@nas --json --keep tank",
                "landfall install nas root@nas --keep tank",
            ),
            ("landfall install nas check --dry-run -y", "landfall install nas check"),
        ] {
            let words: Vec<_> = given.split(' ').map(OsString::from).collect();
            assert_eq!(installing(&words), installs);
        }
    }

    #[test]
    #[allow(clippy::disallowed_methods, reason = "the shells that a user may paste it into")]
    fn what_is_pasted_is_what_was_given_in_every_shell() {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path().join(OsStr::from_bytes(b"a 'b\xff"));
        std::fs::create_dir(&directory).unwrap();
        let words = [
            &b"printf"[..],
            b"%s\\0",
            b".#nas",
            b"=ls",
            b"~",
            b"-x",
            b"a b'c\"d$HOME`id`!!^x",
            b"*?[x]{a,b}",
            b"100%d\\n",
            b"",
            b"a\nb\tc",
            b"a\n\n",
            b"/srv/\xff\x1b[31m",
            "/srv/\u{202e}👩\u{200d}🚀".as_bytes(),
        ];
        let given: Vec<_> = words.iter().map(|word| OsString::from_vec(word.to_vec())).collect();
        let line = CommandLine::within(Some(&directory), &given).again;
        let mut expected = words[2..].join(&0);
        expected.extend(*b"\0");
        for shell in ["sh", "bash", "dash", "zsh", "ksh"] {
            // Not every machine has all of them.
            let Ok(ended) = Command::new(shell).args(["-c", &line]).output() else { continue };
            let said = String::from_utf8_lossy(&ended.stdout);
            assert!(ended.stdout == expected, "{shell}: {line}\n{said:?}");
        }
        assert_eq!(one_line(&line).replace("\\x0a", ""), line.replace('\n', ""));
    }

    #[test]
    fn what_opens_something_is_left_out() {
        let words = [
            "landfall",
            "https://me:pw@host/x#nas",
            "--ssh-option",
            "SetEnv=TOKEN=pw",
            "--ssh-option=setenv=TOKEN=pw",
            "--ssh-option",
            "Port=22",
        ];
        let expected = "cd / && landfall 'https://REDACTED@host/x#nas' --ssh-option 'SetEnv=TOKEN=REDACTED' \
                        '--ssh-option=setenv=TOKEN=REDACTED' --ssh-option 'Port=22'";
        assert_eq!(within("/", &words).given, expected);
    }
}
