//! URLs without what opens something.
//!
//! A flake, one of its inputs or an image may be named by a URL that holds a password or a token, and `nix` and `git` repeat it in
//! their own words. Nothing that is kept or shown has it: every renderer and the log file pass what they write through here.

use std::borrow::Cow;

/// What stands where something was left out.
pub(super) const LEFT_OUT: &str = "REDACTED";

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

/// The text without the passwords and tokens of the URLs in it. JSON stays JSON.
pub fn without_secrets(text: &str) -> Cow<'_, str> {
    if !text.contains("://") {
        return Cow::Borrowed(text);
    }
    let (mut written, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("://") {
        written.push_str(before);
        written.push_str("://");
        let (authority, after) = cut(after, |c| matches!(c, '/' | '?' | '#') || is_outside(c));
        push_authority(&mut written, before, authority);
        let (path, after) = cut(after, |c| matches!(c, '?' | '#' | ':') || is_after(c));
        written.push_str(path);
        rest = after;
        if let Some(query) = after.strip_prefix('?') {
            let (query, after) = cut(query, |c| c == '#' || is_after(c));
            written.push('?');
            query.split_inclusive(['&', ';']).for_each(|part| push_parameter(&mut written, part));
            rest = after;
        }
    }
    written.push_str(rest);
    Cow::Owned(written)
}

fn cut(text: &str, is_end: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(is_end).unwrap_or(text.len()))
}

/// What is in no URL. A password may have a quotation mark of the other kind.
fn is_outside(c: char) -> bool {
    c.is_whitespace() || matches!(c, '"' | '\\' | '<' | '>')
}

/// What ends a URL in a message or a command.
fn is_after(c: char) -> bool {
    is_outside(c) || matches!(c, '\'' | '|')
}

/// A user name is shown where it opens nothing by itself: a web server may take a token for one.
fn push_authority(to: &mut String, before: &str, authority: &str) {
    let scheme = before.rsplit(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or_default();
    let is_web = ["http", "https"].iter().any(|web| scheme.eq_ignore_ascii_case(web));
    let Some((user, host)) = authority.rsplit_once('@') else { return to.push_str(authority) };
    match user.split_once(':') {
        _ if is_web => to.push_str(LEFT_OUT),
        Some((user, _)) => to.extend([user, ":", LEFT_OUT]),
        None => to.push_str(user),
    }
    to.extend(["@", host]);
}

/// A part of a query, with the separator that follows it.
fn push_parameter(to: &mut String, part: &str) {
    let parameter = part.trim_end_matches(['&', ';']);
    let shown: &[&str] = match parameter.split_once('=') {
        Some((name, _)) if !OPEN.contains(&name) => &[name, "=", LEFT_OUT],
        None if !parameter.is_empty() => &[LEFT_OUT],
        _ => &[parameter],
    };
    to.extend(shown.iter().copied());
    to.push_str(&part[parameter.len()..]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_opens_something_is_left_out() {
        for (word, kept) in [
            (".#nas", ".#nas"),
            ("github:me/x?dir=a#nas", "github:me/x?dir=a#nas"),
            ("https://host/image.tar.gz", "https://host/image.tar.gz"),
            ("--kexec=https://me:pw@host/x", "--kexec=https://REDACTED@host/x"),
            ("https://token@host/x?dir=a#nas", "https://REDACTED@host/x?dir=a#nas"),
            ("git+HTTPS://token@host/x", "git+HTTPS://REDACTED@host/x"),
            ("https://me:p'|;w@host/x", "https://REDACTED@host/x"),
            ("https://host/x?X-Signature=abc&rev=1", "https://host/x?X-Signature=REDACTED&rev=1"),
            ("https://host/x?rev=1;token=a", "https://host/x?rev=1;token=REDACTED"),
            ("https://host/x?abc", "https://host/x?REDACTED"),
            ("git+ssh://git@host/x?ref=a", "git+ssh://git@host/x?ref=a"),
            ("ssh://me:pw@host:22", "ssh://me:REDACTED@host:22"),
            (
                "|curl https://a:b@host/k | age -d 'https://c@host'",
                "|curl https://REDACTED@host/k | age -d 'https://REDACTED@host'",
            ),
            (
                "cannot fetch 'https://a:b@host/x?token=c': HTTP error 403, is it https://a@b?",
                "cannot fetch 'https://REDACTED@host/x?token=REDACTED': HTTP error 403, is it https://REDACTED@b?",
            ),
        ] {
            assert_eq!(without_secrets(word), kept);
        }
    }

    proptest! {
        #[test]
        fn json_stays_json(text in r#"([a-z]+://)?[a-z:@/?&=#"'\\\n ]*(https://)?[a-z:@/?&=#"'\\\n ]*"#) {
            let json = serde_json::to_string(&[&text]).unwrap();
            serde_json::from_str::<[String; 1]>(&without_secrets(&json)).unwrap();
        }
    }
}
