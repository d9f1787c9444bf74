//! The one filter between what others have written and whoever reads it.
//!
//! A disk's model, a flake's error, a line of a build: whoever has written it may have written it for the terminal. What a
//! terminal obeys (control characters, and with them every escape sequence), and what makes a line read as another one (characters
//! that turn the direction or show nothing), is shown as `\x1b` or `\u{202e}` instead. Every renderer passes its text through here
//! once, after it has put it together and before it adds anything of its own.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Text of several lines: what a terminal would obey is made visible, but for newlines and tabs.
pub fn visible(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && !matches!(c, '\n' | '\t'), code_point)
}

/// The same for what is one line, or a part of one: a newline in it would begin another.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    escaped(text, |c| is_hidden(c) && c != '\t', code_point)
}

/// JSON as it was, in characters that no terminal obeys: of those, JSON itself only escapes the first 32. Outside of its strings
/// JSON has none of them but newlines.
pub fn json(text: &str) -> Cow<'_, str> {
    escaped(
        text,
        |c| is_hidden(c) && c != '\n',
        |to, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(to, "\\u{unit:04x}");
            }
        },
    )
}

fn escaped(
    text: &str,
    is_wrong: impl Fn(char) -> bool,
    escape: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.contains(&is_wrong) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_wrong(c) { escape(&mut shown, c) } else { shown.push(c) }
    }
    Cow::Owned(shown)
}

fn code_point(to: &mut String, c: char) {
    let number = u32::from(c);
    let _ = if number < 0x100 {
        write!(to, "\\x{number:02x}")
    } else {
        write!(to, "\\u{{{number:x}}}")
    };
}

/// What is obeyed instead of shown: C0, DEL and C1; what turns the direction of text (Unicode's UAX 9); what has no width.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_a_terminal_obeys_is_shown() {
        for (text, shown) in [
            ("plain\n\tü 漢", "plain\n\tü 漢"),
            ("\u{1b}[1A\u{1b}[2K", "\\x1b[1A\\x1b[2K"),
            ("\u{1b}]52;c;aGk=\u{7}", "\\x1b]52;c;aGk=\\x07"),
            ("a\rb\u{8}c\u{7f}", "a\\x0db\\x08c\\x7f"),
            ("\u{9b}2K", "\\x9b2K"),
            ("\u{202e}abc\u{2066}", "\\u{202e}abc\\u{2066}"),
        ] {
            assert_eq!(visible(text), shown);
        }
        assert_eq!(one_line("a\nb"), "a\\x0ab");
    }

    proptest! {
        #[test]
        fn nothing_hidden_is_left(text in any::<String>()) {
            prop_assert!(!visible(&text).contains(|c| is_hidden(c) && c != '\n' && c != '\t'));
            prop_assert!(!one_line(&text).contains(|c| is_hidden(c) && c != '\t'));
        }

        #[test]
        fn json_says_the_same(text in any::<String>()) {
            for written in [serde_json::to_string(&[&text]).unwrap(), serde_json::to_string_pretty(&[&text]).unwrap()] {
                let shown = json(&written);
                prop_assert!(!shown.contains(|c| is_hidden(c) && c != '\n'));
                prop_assert_eq!(serde_json::from_str::<Vec<String>>(&shown).unwrap(), [text.as_str()]);
            }
        }
    }
}
