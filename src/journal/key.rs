//! Which journal: a host of a flake, by whatever name it was called, and a target.

use crate::facts::HostRef;
use crate::hex;
use crate::machine::Destination;
use percent_encoding::percent_decode_str;
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};

/// What a journal is found by: `x`, `.#x` and `path:/home/me/dotfiles#x` are one host.
#[derive(Debug, Clone)]
pub struct Key {
    /// HOST, as it was given.
    pub(super) host: String,
    /// Directory of the flake, or its reference where it is not on this machine.
    flake: String,
    attribute: String,
    /// TARGET, as it was given.
    pub(super) target: String,
}

impl Key {
    /// The host, of `flake` where it names none itself, on that target.
    pub fn of(host: &HostRef, flake: &str, target: &Destination) -> Self {
        Self {
            host: host.to_string(),
            flake: resolved(host.flake(flake)),
            attribute: attribute(&host.attribute).to_owned(),
            target: target.to_string(),
        }
    }

    /// Readable, and different for different keys even where the readable part is not.
    pub(super) fn file_name(&self) -> String {
        let Self { flake, attribute, target, .. } = self;
        let readable = |text: &str| -> String {
            text.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).take(60).collect()
        };
        let digest = Sha256::digest(format!("{flake}\0{attribute}\0{target}").as_bytes());
        format!("{}--{}-{}.json", readable(attribute), readable(target), hex(&digest[..16]))
    }
}

/// A host's name, where the attribute is no more than that.
fn attribute(text: &str) -> &str {
    let Some(path) = text.strip_prefix("nixosConfigurations.") else { return text };
    let name = path.strip_suffix(".config").unwrap_or(path);
    if name.contains('.') { text } else { name }
}

/// The directory that a reference to a flake leads to, with what else it asks of it; a reference to another machine is as it is.
fn resolved(reference: &str) -> String {
    let (place, query) = reference.split_once('?').unwrap_or((reference, ""));
    let is_bare = place.starts_with(['.', '/']);
    let path = if is_bare {
        Some(place)
    } else {
        let path = ["path:", "git+file:"].iter().find_map(|scheme| place.strip_prefix(scheme));
        path.map(|path| path.strip_prefix("//").unwrap_or(path))
    };
    let (within, others): (Vec<_>, Vec<_>) =
        query.split('&').filter(|part| !part.is_empty()).partition(|part| part.starts_with("dir="));
    let within = within.first().map_or("", |part| &part["dir=".len()..]);
    // A URL may have its characters encoded; a plain path has them as they are.
    let found = path.and_then(|path| {
        let path = if is_bare { path.into() } else { decoded(path) };
        Path::new(&path).join(decoded(within)).canonicalize().ok()
    });
    let Some(directory) = found else {
        return reference.strip_prefix("flake:").unwrap_or(reference).to_owned();
    };
    // Nix looks for the flake from a plain path upwards.
    let directory = if is_bare && within.is_empty() { flake_above(directory) } else { directory };
    let rest = if others.is_empty() { String::new() } else { format!("?{}", others.join("&")) };
    format!("{}{rest}", directory.display())
}

/// With the characters that `%20` and its like stand for.
fn decoded(text: &str) -> OsString {
    OsString::from_vec(percent_decode_str(text).collect())
}

fn flake_above(directory: PathBuf) -> PathBuf {
    let above = directory.ancestors().find(|above| above.join("flake.nix").exists());
    above.map(Path::to_owned).unwrap_or(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn name(host: &str, flake: &str, target: &str) -> String {
        let host: HostRef = host.parse().unwrap();
        Key::of(&host, flake, &target.parse().unwrap()).file_name()
    }

    #[test]
    fn a_host_has_one_journal_by_whatever_name_it_is_called() {
        let dir = tempfile::tempdir().unwrap();
        let flake = dir.path().join("my flake");
        std::fs::create_dir_all(flake.join("hosts")).unwrap();
        std::fs::write(flake.join("flake.nix"), "").unwrap();
        std::os::unix::fs::symlink(&flake, dir.path().join("link")).unwrap();
        let at = flake.display();
        let names: BTreeSet<_> = [
            name("x", &at.to_string(), "root@nas"),
            name(&format!("{at}#x"), ".", "root@nas"),
            name(&format!("{at}/#x"), ".", "root@nas"),
            name(&format!("{at}/hosts#x"), ".", "root@nas"),
            name(&format!("{}/link#x", dir.path().display()), ".", "root@nas"),
            name(&format!("path:{at}#x"), ".", "root@nas"),
            name(&format!("git+file://{at}#x"), ".", "root@nas"),
            name(&format!("path:{}/my%20flake#x", dir.path().display()), ".", "root@nas"),
            name(&format!("path:{}?dir=my%20flake#x", dir.path().display()), ".", "root@nas"),
            name(&format!("{at}#nixosConfigurations.x"), ".", "ssh://root@nas"),
            name("nixosConfigurations.x.config", &at.to_string(), "root@nas"),
        ]
        .into();
        assert_eq!(names.len(), 1, "{names:?}");
        assert_ne!(names.first().unwrap(), &name("x", "github:me/x", "root@nas"));
        let other = format!("git+file://{at}?ref=next#x");
        assert_ne!(names.first().unwrap(), &name(&other, ".", "root@nas"));
        assert_eq!(name("x", ".", "a"), name(".#x", "/elsewhere", "a"));
        assert_eq!(name("x", "flake:dotfiles", "a"), name("dotfiles#x", ".", "a"));
    }

    #[test]
    fn names_differ_where_keys_do() {
        assert_ne!(name("a", ".", "b-c"), name("a", ".", "b.c"));
        assert_ne!(name("github:a#b", ".", "c"), name("github:a-b#b", ".", "c"));
        assert!(name("helios64", ".", "root@nas").starts_with("helios64--root-nas-"));
    }

    /// Targets whose names read the same where they can be read.
    #[test]
    fn no_host_and_target_have_the_journal_of_another() {
        let target = |number| format!("{}{number}", "x".repeat(70));
        let names: BTreeSet<_> =
            (0..2000).map(|number| name("nas", ".", &target(number))).collect();
        assert_eq!(names.len(), 2000);
    }
}
