//! `docs/reference/findings.md`, made from the catalogue.

use super::{CATALOGUE, Kind};
use std::fmt::Write as _;

const HEAD: &str = "\
# Findings

Everything that landfall looks for before an install. `landfall check` shows what it finds, and `landfall install` does so before
it asks for consent. In the installer, immediately before the disks are laid out, it looks once more; and before the restart it
looks at [what was installed](exit-codes.md#what-is-proven-before-the-restart).

An **error** refuses the install (exit code 3). Where the table says so, `--accept CODE` accepts the error, and the install continues. A
**warning** is shown and refuses nothing. Codes are stable. Each finding says exactly what was seen, and what to do.

<!-- Made from src/findings/catalogue.rs: UPDATE_DOCS=1 cargo test --lib documentation -->
";

/// The text of `docs/reference/findings.md`.
fn documentation() -> String {
    let mut text = HEAD.to_owned();
    for (title, prefixes) in [
        ("The host", &["host-", "device-tree-missing"][..]),
        ("Secrets", &["secret-"]),
        ("Host and target together", &["build-", "device-tree-other", "firmware-", "arc-"]),
        ("The target", &["target-", "installer-"]),
        ("The way into the installer", &["kexec-"]),
        ("The disks", &["disk-"]),
        ("What is kept", &["keep-"]),
        ("Before the restart", &["ready-"]),
        ("A disk that is replaced", &["replace-"]),
    ] {
        let _ =
            write!(text, "\n## {title}\n\n| code | | when | why it matters |\n|---|---|---|---|\n");
        let belongs = |kind: &&&Kind| prefixes.iter().any(|prefix| kind.code.starts_with(prefix));
        for kind in CATALOGUE.iter().filter(belongs) {
            let accept = if kind.acceptable { ", `--accept`" } else { "" };
            let severity = kind.severity.name();
            let _ = writeln!(
                text,
                "| `{}` | {severity}{accept} | {} | {} |",
                kind.code, kind.when, kind.why
            );
        }
    }
    text
}

/// Compares a page of the documentation with what it is made from; with `UPDATE_DOCS` set, writes it first.
pub(crate) fn assert_current(page: &str, made: &str) {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(page);
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, made).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == made,
        "{page} is out of date; to renew it: UPDATE_DOCS=1 cargo test --lib documentation"
    );
}

#[test]
fn the_documentation_is_that_of_the_catalogue() {
    let made = documentation();
    assert_current("docs/reference/findings.md", &made);
    for kind in CATALOGUE {
        assert_eq!(made.matches(&format!("| `{}` |", kind.code)).count(), 1, "{}", kind.code);
    }
}
