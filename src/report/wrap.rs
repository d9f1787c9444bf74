//! Lines that fit the terminal.

use std::borrow::Cow;
use textwrap::core::display_width;
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// A terminal of fewer columns wraps by itself: beside a hanging indent there is no room for words.
const NARROWEST: usize = 40;

/// In columns; what is longer begins a sentence.
const LONGEST_LABEL: usize = 10;

/// Text whose lines are no longer than `columns` where they can be broken between words. What goes on hangs below the text of its
/// line, past a label such as `because:` or `build`.
///
/// A word is never broken: a path or a URL is still one when it is copied. For the same reason a public key keeps its
/// line, and so does a command to be typed.
pub(crate) fn wrapped(text: &str, columns: usize) -> Cow<'_, str> {
    if columns < NARROWEST || text.lines().all(|line| display_width(line) <= columns) {
        return Cow::Borrowed(text);
    }
    let lines = text.split('\n').map(|line| wrapped_line(line, columns));
    Cow::Owned(lines.collect::<Vec<_>>().join("\n"))
}

fn wrapped_line(line: &str, columns: usize) -> String {
    if display_width(line) <= columns || is_copied(line) {
        return line.to_owned();
    }
    let (begin, end) = (line.len() - line.trim_start().len(), line.trim_end().len());
    let hanging = " ".repeat(hanging(line));
    let options = Options::new(columns)
        .initial_indent(&line[..begin])
        .subsequent_indent(&hanging)
        .break_words(false)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    // A question ends in a space, before its answer.
    textwrap::fill(line.trim(), options) + &line[end..]
}

/// Whether somebody may copy the whole line: it has a public key, or begins as a command does that is shown by itself.
fn is_copied(line: &str) -> bool {
    let line_begins = |begin: &&str| line.trim_start().starts_with(*begin);
    line.contains(" AAAA") || ["cd ", "landfall ", "# "].iter().any(line_begins)
}

/// The column at which the text of a line begins: past its label, which ends in a colon or in several spaces; else two further
/// than the line.
fn hanging(line: &str) -> usize {
    let text = line.trim_start();
    let labelled = text.strip_prefix("→ ").or(text.strip_prefix("✓ ")).unwrap_or(text);
    let (label, rest) = labelled.split_once(' ').unwrap_or((labelled, ""));
    let words = rest.trim_start();
    let is_label = label.len() <= LONGEST_LABEL
        && (label.ends_with(':') || words.len() < rest.len() && !words.is_empty());
    if is_label {
        return display_width(line) - display_width(words);
    }
    display_width(line) - display_width(text) + 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_hangs_below_its_text() {
        for (line, expected) in [
            (
                "because: the connection to root@10.0.0.5 was lost, and did not come back",
                "because: the connection to root@10.0.0.5 was\n         lost, and did not come back",
            ),
            (
                "  kexec    leave the running system for an installer in memory",
                "  kexec    leave the running system for an\n           installer in memory",
            ),
            (
                "→ reboot: proving that it will start, releasing the disks",
                "→ reboot: proving that it will start,\n          releasing the disks",
            ),
            (
                "  the same command goes on where it stopped; --restart starts over",
                "  the same command goes on where it stopped;\n    --restart starts over",
            ),
        ] {
            assert_eq!(wrapped(line, 44), expected);
            assert_eq!(wrapped(line, 80), line);
        }
    }

    #[test]
    fn a_word_is_never_broken() {
        let path = "/nix/store/8m4x2kqv7d1hprz3c9w5yfnb6sj0gail-nixos-system-helios64";
        assert_eq!(wrapped(&format!("build it: {path}"), 40), format!("build it:\n  {path}"));
        let key = "  host key   ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOZ root@helios64";
        assert_eq!(wrapped(key, 40), key);
        let command = "    cd /home/me/fleet && landfall install helios64 root@10.0.0.5";
        assert_eq!(wrapped(command, 40), command);
    }

    #[test]
    fn a_question_keeps_the_space_before_its_answer() {
        let question = "You agree to all of this.\nType the host's name (helios64) to go on: ";
        let expected = "You agree to all of this.\nType the host's name (helios64) to go\n  on: ";
        assert_eq!(wrapped(question, 40), expected);
    }

    #[test]
    fn a_terminal_that_is_too_narrow_is_left_to_itself() {
        let line = "one two three four five six seven eight nine ten";
        assert_eq!(wrapped(line, 20), line);
    }
}
