//! Options that several commands share. The heading of a flattened group also holds for the options that follow it, so a command's
//! own options stand before all groups that have one.

#![allow(
    rustdoc::broken_intra_doc_links,
    reason = "clap shows these comments as they are: [:PORT] is what a user may leave out"
)]

pub(super) mod agent;
pub(super) mod build;
pub(super) mod deadlines;
pub(super) mod files;
pub(super) mod flake;
pub(super) mod identity;
pub(super) mod keep;
pub(super) mod login;
pub(super) mod place;
pub(super) mod supplies;

use crate::findings::CATALOGUE;

/// The code of a finding that may be taken upon oneself.
pub(super) fn acceptable(text: &str) -> Result<String, String> {
    match CATALOGUE.iter().find(|kind| kind.code == text) {
        Some(kind) if kind.acceptable => Ok(text.to_owned()),
        Some(_) => Err("this finding cannot be accepted".to_owned()),
        None => Err("there is no such finding; docs/reference/findings.md lists them".to_owned()),
    }
}

/// A SHA-256, in lower case.
pub(super) fn sha256(text: &str) -> Result<String, String> {
    if text.len() == 64 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(text.to_lowercase())
    } else {
        Err("expected 64 hexadecimal digits, as sha256sum prints them".to_owned())
    }
}
