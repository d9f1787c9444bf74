//! A command line for the target, quoted by construction.
//!
//! The target's login shell may be anything (dash, bash, busybox, zsh, fish), so every word goes
//! through `shlex`, which quotes right for all of them. Shell text can only be a `&'static str`: no value
//! known at run time ever becomes shell text, it arrives as a positional parameter.

use std::fmt;

/// How commands that need root get it on the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Elevation {
    /// The login user is root.
    Root,
    /// `sudo -n`: never asks for a password.
    Sudo,
    /// `doas -n`, likewise.
    Doas,
}

/// One command for the target's login shell.
#[derive(Clone, PartialEq, Eq)]
pub struct Script {
    words: Vec<String>,
    /// How messages call it, if not by its words.
    name: Option<&'static str>,
}

impl Script {
    /// A program of the target's `PATH`.
    pub fn command(program: &str) -> Self {
        Self { words: vec![program.to_owned()], name: None }
    }

    /// A POSIX `sh` text, run with `-eu`; its parameters are added by [`Script::arg`].
    pub fn sh(text: &'static str) -> Self {
        Self { words: ["sh", "-euc", text, "sh"].map(str::to_owned).into(), name: None }
    }

    /// The same from a file of that name beside the module that runs it: by it messages call the script.
    pub(crate) fn file(name: &'static str, text: &'static str) -> Self {
        Self { name: Some(name), ..Self::sh(text) }
    }

    /// Adds one word (for [`Script::sh`]: the next positional parameter).
    #[must_use]
    pub fn arg(mut self, word: impl Into<String>) -> Self {
        self.words.push(word.into());
        self
    }

    /// Adds several words.
    #[must_use]
    pub fn args<W: Into<String>>(mut self, words: impl IntoIterator<Item = W>) -> Self {
        self.words.extend(words.into_iter().map(Into::into));
        self
    }

    /// Runs the whole as root.
    #[must_use]
    pub(crate) fn elevated(mut self, elevation: Elevation) -> Self {
        let prefix: &[&str] = match elevation {
            Elevation::Root => &[],
            Elevation::Sudo => &["sudo", "-n", "--"],
            Elevation::Doas => &["doas", "-n", "--"],
        };
        self.words.splice(0..0, prefix.iter().map(|&word| word.to_owned()));
        self
    }

    /// The words, for a command that takes another as its arguments.
    pub fn words(&self) -> &[String] {
        &self.words
    }

    /// The line as the target's login shell will read it.
    ///
    /// A NUL cannot be passed in an argument by any system; it is dropped here, and the value with it
    /// would be refused by the program it is meant for.
    pub(crate) fn line(&self) -> String {
        let quoted = self.words.iter().map(|word| {
            let word = word.replace('\0', "");
            shlex::try_quote(&word).map_or_else(|_| String::new(), std::borrow::Cow::into_owned)
        });
        quoted.collect::<Vec<_>>().join(" ")
    }

    /// For a message: a long text is not repeated to the user.
    pub(crate) fn name(&self) -> String {
        if let Some(name) = self.name {
            return format!("the script {name}");
        }
        let is_text = |word: &&String| word.contains('\n');
        match self.words.iter().find(is_text).and_then(|text| text.lines().next()) {
            Some(first) => first.trim_start_matches(['#', ' ']).to_owned(),
            None => self.words.join(" "),
        }
    }
}

impl fmt::Debug for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.line())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn elevation_comes_first() {
        let script = Script::command("reboot").arg("-f").elevated(Elevation::Sudo);
        assert_eq!(script.line(), "sudo -n -- reboot -f");
    }

    #[test]
    fn a_message_names_the_file_of_a_script_and_the_words_of_a_command() {
        let script = Script::file("upload.sh", "# Unpacks the image into $1.\ntar -x").arg("/root");
        assert_eq!(script.elevated(Elevation::Sudo).name(), "the script upload.sh");
        assert_eq!(Script::command("cat").arg("/proc/mounts").name(), "cat /proc/mounts");
    }

    proptest! {
        /// Whatever the value, the shell hands it on unchanged.
        #[test]
        #[allow(clippy::disallowed_methods, reason = "the test is the shell")]
        fn values_survive_a_real_shell(values in prop::collection::vec("[^\0]{0,12}", 1..4)) {
            let script = Script::sh(r#"printf '%s\0' "$@""#).args(values.clone());
            let out = std::process::Command::new("sh").arg("-c").arg(script.line()).output().unwrap();
            let mut seen: Vec<_> = out.stdout.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect();
            seen.pop();
            prop_assert_eq!(seen, values.iter().map(|v| v.as_bytes().to_vec()).collect::<Vec<_>>());
        }
    }
}
