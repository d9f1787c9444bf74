//! Lines that fit the terminal.

use std::borrow::Cow;
use textwrap::core::{Word, display_width};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

/// A terminal of fewer columns wraps by itself: beside a hanging indent there is no room for words.
const NARROWEST: usize = 40;

/// In columns; what is longer begins a sentence.
const LONGEST_LABEL: usize = 10;

/// Text whose lines are no longer than `columns` where they can be broken between words. What goes on hangs below the text of its
/// line, past a label such as `because:` or `build`.
///
/// A word is never broken: a path or a URL is still one when it is copied. For the same reason a public key keeps its
/// line, and so does a command to be typed; one in backquotes is like a word.
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
    // Others' words may be indented further than there is room.
    let hanging = " ".repeat(hanging(line).min(columns / 2));
    let options = Options::new(columns)
        .initial_indent(&line[..begin])
        .subsequent_indent(&hanging)
        .break_words(false)
        .word_separator(WordSeparator::Custom(words))
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    // A question ends in a space, before its answer.
    textwrap::fill(line.trim(), options) + &line[end..]
}

/// The words of a line, each with the spaces behind it.
fn words(line: &str) -> Box<dyn Iterator<Item = Word<'_>> + '_> {
    let mut rest = line;
    Box::new(std::iter::from_fn(move || {
        let end = word_end(rest)?;
        let (word, after) = rest.split_at(end);
        rest = after;
        Some(Word::from(word))
    }))
}

/// Where the next word begins; none where the line ends.
fn word_end(line: &str) -> Option<usize> {
    let mut end = 0;
    loop {
        let text = &line[end..];
        let space = text.find(' ').unwrap_or(text.len());
        let quoted = text.find('`').filter(|open| *open < space).and_then(|open| {
            let closed = text[open + 1..].find('`')?;
            Some(open + closed + 2)
        });
        let Some(quoted) = quoted else {
            let spaces = text[space..].len() - text[space..].trim_start_matches(' ').len();
            let end = end + space + spaces;
            return (end > 0).then_some(end);
        };
        end += quoted;
    }
}

/// Whether somebody may copy the whole line: it has a public key, or begins as a command does that is shown by itself.
fn is_copied(line: &str) -> bool {
    let line = line.trim_start();
    let program = line.split(' ').next().unwrap_or_default();
    line.contains(" AAAA") || matches!(program, "cd" | "#") || is_landfall(program)
}

fn is_landfall(program: &str) -> bool {
    program == "landfall" || program.ends_with("/landfall")
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
        for command in [
            "    cd /home/me/fleet && landfall install helios64 root@10.0.0.5",
            "    /nix/store/8m4x-landfall-0.1.0/bin/landfall install helios64 root@10.0.0.5",
        ] {
            assert_eq!(wrapped(command, 40), command);
        }
        let inline = "  forget it with `ssh-keygen -R '[::1]:2222' -f /srv/known`, then try again; a ` alone";
        let expected = "  forget it with\n    `ssh-keygen -R '[::1]:2222' -f /srv/known`,\n    then try again; a ` alone";
        assert_eq!(wrapped(inline, 40), expected);
    }

    #[test]
    fn words_of_others_fit_however_wide_or_far_in_they_are() {
        let line =
            format!("because: {}漢字漢字 e\u{301}e\u{301} and the rest", "漢字漢字 ".repeat(20));
        let shown = wrapped(&line, 40);
        assert!(shown.lines().all(|line| display_width(line) <= 40), "{shown}");
        let shown = wrapped(&line, 40).split_whitespace().collect::<Vec<_>>().join(" ");
        assert_eq!(shown, line);
        let traced = format!("{}one two three four five six seven eight nine", " ".repeat(30));
        assert!(wrapped(&traced, 44).lines().count() <= 4, "{}", wrapped(&traced, 44));
    }

    #[test]
    fn a_question_keeps_the_space_before_its_answer() {
        let question = "You agree to all of this.\nType the host's name (helios64) to continue: ";
        let expected =
            "You agree to all of this.\nType the host's name (helios64) to\n  continue: ";
        assert_eq!(wrapped(question, 40), expected);
    }

    #[test]
    fn a_terminal_that_is_too_narrow_is_left_to_itself() {
        let line = "one two three four five six seven eight nine ten";
        assert_eq!(wrapped(line, 20), line);
    }
}
