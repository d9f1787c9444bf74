//! The command line as it may be kept: for a shell, and without what opens something.
//!
//! No option takes a secret by value: keys and files are named by paths, commands or `-`. A URL may hold a password or a token,
//! of an image as of a flake or an input: those are left out.

use shlex::try_join;
use std::ffi::OsString;
use std::path::Path;

/// The line that a run was begun with.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// As it was given.
    pub given: String,
    /// The line that continues the run.
    pub again: String,
}

/// What stands where something was left out.
pub(super) const LEFT_OUT: &str = "REDACTED";

impl CommandLine {
    /// Of a program's arguments, the program among them, in the present directory: a flake or a file may be named from there.
    pub fn of(arguments: impl IntoIterator<Item = OsString>) -> Self {
        let words = arguments.into_iter().map(|word| without_secrets(&word.to_string_lossy()));
        Self::within(std::env::current_dir().ok().as_deref(), &words.collect::<Vec<_>>())
    }

    fn within(directory: Option<&Path>, words: &[String]) -> Self {
        let directory = directory.map(Path::to_string_lossy);
        let line = |words: &mut dyn Iterator<Item = &str>| {
            // A word that no shell takes has a NUL in it, and never reached a program.
            let line = try_join(words).unwrap_or_default();
            match directory.as_deref().and_then(|directory| try_join(["cd", directory]).ok()) {
                Some(cd) => format!("{cd} && {line}"),
                None => line,
            }
        };
        let words = || words.iter().map(String::as_str);
        Self {
            given: line(&mut words()),
            // It would start over each time.
            again: line(&mut words().filter(|word| *word != "--restart")),
        }
    }
}

/// What a reference to a flake or an image says of itself in its query; anything else may open something.
const OPEN: [&str; 12] = [
    "dir",
    "ref",
    "rev",
    "revCount",
    "narHash",
    "lastModified",
    "host",
    "shallow",
    "submodules",
    "allRefs",
    "lfs",
    "name",
];

/// The word without the passwords and tokens of the URLs in it.
fn without_secrets(word: &str) -> String {
    let Some((before, after)) = word.split_once("://") else { return word.to_owned() };
    let is_end = |c: char| c.is_whitespace() || matches!(c, '"' | '\'' | '|' | ';' | '<' | '>');
    let (url, rest) = after.split_at(after.find(is_end).unwrap_or(after.len()));
    let (authority, path) = url.split_at(url.find(['/', '?', '#']).unwrap_or(url.len()));
    let is_web = before.ends_with("http") || before.ends_with("https");
    let authority = match authority.rsplit_once('@') {
        Some((_, host)) if is_web => format!("{LEFT_OUT}@{host}"),
        Some((user, host)) => match user.split_once(':') {
            Some((user, _)) => format!("{user}:{LEFT_OUT}@{host}"),
            None => authority.to_owned(),
        },
        None => authority.to_owned(),
    };
    let (path, fragment) = path.split_at(path.find('#').unwrap_or(path.len()));
    let path = match path.split_once('?') {
        Some((path, query)) => {
            let open: Vec<_> = query.split('&').map(parameter).collect();
            format!("{path}?{}", open.join("&"))
        }
        None => path.to_owned(),
    };
    format!("{before}://{authority}{path}{fragment}{}", without_secrets(rest))
}

fn parameter(text: &str) -> String {
    match text.split_once('=') {
        Some((name, _)) if !OPEN.contains(&name) => format!("{name}={LEFT_OUT}"),
        None if !text.is_empty() => LEFT_OUT.to_owned(),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_one_that_a_shell_takes_and_does_not_start_over() {
        let words = ["landfall", "install", "nas", "root@nas", "--restart", "-i", "my key"];
        let line = CommandLine::within(Some(Path::new("/home/me/a b")), &words.map(str::to_owned));
        let again = "cd '/home/me/a b' && landfall install nas root@nas -i 'my key'";
        assert_eq!(line.again, again);
        assert!(line.given.contains("root@nas --restart -i"), "{}", line.given);
    }

    #[test]
    fn what_opens_something_is_left_out() {
        for (word, kept) in [
            (".#nas", ".#nas"),
            ("github:me/x?dir=a#nas", "github:me/x?dir=a#nas"),
            ("https://host/image.tar.gz", "https://host/image.tar.gz"),
            ("--kexec=https://me:pw@host/x", "--kexec=https://REDACTED@host/x"),
            ("https://token@host/x?dir=a#nas", "https://REDACTED@host/x?dir=a#nas"),
            ("https://host/x?X-Signature=abc&rev=1", "https://host/x?X-Signature=REDACTED&rev=1"),
            ("https://host/x?abc", "https://host/x?REDACTED"),
            ("git+ssh://git@host/x?ref=a", "git+ssh://git@host/x?ref=a"),
            ("ssh://me:pw@host:22", "ssh://me:REDACTED@host:22"),
            (
                "|curl https://a:b@host/k | age -d 'https://c@host'",
                "|curl https://REDACTED@host/k | age -d 'https://REDACTED@host'",
            ),
        ] {
            assert_eq!(without_secrets(word), kept);
        }
    }
}
