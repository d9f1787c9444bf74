//! A string literal of the Nix language, made of text that somebody else has chosen.

use crate::report::visible;

/// Text as a string that neither ends early nor is anything else than itself. Control characters that Nix cannot write are those
/// that must not be shown raw either: they are made visible first.
pub fn quoted(text: &str) -> String {
    let mut literal = String::from('"');
    for c in visible(text).chars() {
        match c {
            // Each dollar sign: what follows it need not be what follows it in the end (Nix manual, String literals).
            '"' | '\\' | '$' => literal.extend(['\\', c]),
            '\n' => literal.push_str("\\n"),
            '\t' => literal.push_str("\\t"),
            c => literal.push(c),
        }
    }
    literal.push('"');
    literal
}

#[cfg(test)]
mod tests {
    use super::quoted;

    #[test]
    fn nothing_in_a_string_is_code() {
        for (text, literal) in [
            ("/dev/sda", r#""/dev/sda""#),
            ("${x}", r#""\${x}""#),
            ("$\u{1}{x}", r#""\$\\x01{x}""#),
            ("$${x}\\${y}\"", r#""\$\${x}\\\${y}\"""#),
            ("a\nb\tc\rd", r#""a\nb\tc\\x0dd""#),
        ] {
            assert_eq!(quoted(text), literal);
        }
    }
}
