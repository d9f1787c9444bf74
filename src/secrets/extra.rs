//! Which files the user wants placed, as they stand on the command line.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::str::FromStr;

/// What the user wants placed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Extra {
    /// Directories whose content becomes that of the new root.
    pub(crate) trees: Vec<PathBuf>,
    /// Single files.
    pub(crate) files: Vec<SecretFile>,
    /// Owners of paths in the new root, with all below them.
    pub(crate) owners: Vec<Ownership>,
}

/// One file, wherever its content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct SecretFile {
    /// Where its content comes from.
    pub(crate) from: Source,
    /// Its path in the new root.
    pub(crate) to: PathBuf,
    /// Its permission bits.
    pub(crate) mode: u32,
    /// Its owner and group, root if not given.
    pub(crate) owner: Option<Owner>,
}

/// Where a file's content comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Source {
    /// A file of the workstation.
    File(PathBuf),
    /// What a command prints on the workstation.
    Command(String),
    /// landfall's own stdin.
    Stdin,
}

/// User and group, by name or number; names are those of the installed system.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    pub(crate) user: String,
    pub(crate) group: String,
}

/// Who is to own a path of the new root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Ownership {
    /// The path in the new root.
    pub(crate) path: PathBuf,
    /// Who.
    pub(crate) owner: Owner,
    /// Whether all below it is meant too.
    pub(crate) recursive: bool,
}

impl FromStr for SecretFile {
    type Err = String;

    /// `LOCAL:REMOTE[:MODE[:UID:GID]]`; a backslash takes a colon's meaning away. LOCAL is a path, `-` for stdin,
    /// or `|COMMAND`.
    fn from_str(text: &str) -> Result<Self, String> {
        let parts = split(text);
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let (from, to, mode, owner) = match parts[..] {
            [from, to] => (from, to, "0600", None),
            [from, to, mode] => (from, to, mode, None),
            [from, to, mode, user, group] => (from, to, mode, Some((user, group))),
            _ => return Err("expected LOCAL:REMOTE[:MODE[:UID:GID]]".to_owned()),
        };
        let from = match (from, from.strip_prefix('|')) {
            ("" | "|", _) => return Err("the source of its content is missing".to_owned()),
            ("-", _) => Source::Stdin,
            (_, Some(command)) => Source::Command(command.to_owned()),
            (path, None) => Source::File(path.into()),
        };
        let is_mode = (3..=4).contains(&mode.len()) && mode.bytes().all(|b| b.is_ascii_digit());
        let bits = u32::from_str_radix(mode, 8).ok().filter(|bits| is_mode && *bits <= 0o777);
        let mode = bits.ok_or_else(|| format!("{mode} is not a mode like 0400"))?;
        let owner = owner.map(|(user, group)| Owner::new(user, group)).transpose()?;
        Ok(Self { from, to: new_path(Path::new(to))?, mode, owner })
    }
}

impl Owner {
    /// Checks the names: what has a colon or a blank is none.
    pub(crate) fn new(user: &str, group: &str) -> Result<Self, String> {
        for name in [user, group] {
            let good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.' | '$');
            if name.is_empty() || name.starts_with('-') || !name.chars().all(good) {
                return Err(format!("'{name}' is not an user or group"));
            }
            if name.bytes().all(|byte| byte.is_ascii_digit()) && number(name).is_none() {
                return Err(format!("{name} is not a number of a user or group"));
            }
        }
        Ok(Self { user: user.to_owned(), group: group.to_owned() })
    }

    /// Both numbers, where both were given as such.
    pub(super) fn numbers(&self) -> Option<(u64, u64)> {
        Some((number(&self.user)?.into(), number(&self.group)?.into()))
    }
}

/// The number of a user or group; the last one belongs to no one, and means "leave it" to chown(2).
fn number(text: &str) -> Option<u32> {
    text.parse().ok().filter(|number| *number != u32::MAX)
}

impl Ownership {
    /// `PATH` and `USER:GROUP`, as upstream's `--chown` has them.
    pub(crate) fn parse(path: &str, owner: &str) -> Result<Self, String> {
        let (user, group) = owner.split_once(':').ok_or("expected USER:GROUP")?;
        let (path, owner) = (new_path(Path::new(path))?, Owner::new(user, group)?);
        Ok(Self { path, owner, recursive: true })
    }
}

/// Splits at colons without a backslash before them.
fn split(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        let next = characters.peek().copied();
        match (c, next, parts.last_mut()) {
            ('\\', Some(escaped @ (':' | '\\')), Some(last)) => {
                last.push(escaped);
                characters.next();
            }
            (':', ..) => parts.push(String::new()),
            (c, _, Some(last)) => last.push(c),
            _ => {}
        }
    }
    parts
}

/// As limits.h has them, with what the installer puts before a path.
const LONGEST_PATH: usize = 4096 - "/mnt/".len();
const LONGEST_NAME: usize = 255;

/// Whether a link at this path of the new root stays in it, and out of the store: the installer's own root is not where it is
/// meant to lead, and the store would not know that it needs what the link leads to.
pub(super) fn leads_inside(link: &Path, to: &Path) -> Result<(), String> {
    let shown = format!("{} -> {}", link.display(), to.display());
    let from = link.parent().filter(|_| !to.is_absolute()).unwrap_or(Path::new("/"));
    let mut place: Vec<Component> = from.components().filter(is_name).collect();
    for part in to.components() {
        match part {
            Component::Normal(_) => place.push(part),
            Component::ParentDir if place.pop().is_none() => {
                return Err(format!("{shown} leads out of the new root"));
            }
            _ => {}
        }
    }
    match place.first() {
        Some(Component::Normal(first)) if *first == "nix" => {
            Err(format!("{shown} leads into /nix"))
        }
        _ => Ok(()),
    }
}

fn is_name(part: &Component) -> bool {
    matches!(part, Component::Normal(_))
}

/// A path in the new root, if a file may be placed there.
pub(super) fn new_path(path: &Path) -> Result<PathBuf, String> {
    // The store is Nix' own; the others are mounted over at boot, and the file would never be seen again.
    const CLOSED: [&str; 6] = ["/nix", "/proc", "/sys", "/dev", "/run", "/tmp"];
    let shown = path.display();
    let plain =
        path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    // A `.` in the middle is dropped by `components`, and is not plain either.
    let dotted = path.as_os_str().as_bytes().split(|byte| *byte == b'/').any(|part| part == b".");
    if !path.is_absolute() || !plain || dotted || path.parent().is_none() {
        return Err(format!("{shown} is no plain absolute path in the new root"));
    }
    if path.as_os_str().len() > LONGEST_PATH || path.iter().any(|name| name.len() > LONGEST_NAME) {
        return Err(format!("{shown} is longer than Linux allows"));
    }
    match CLOSED.iter().find(|closed| path.starts_with(closed)) {
        Some(closed) => Err(format!("{shown}: nothing can be placed in {closed}")),
        None => Ok(path.components().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Result<SecretFile, String> {
        text.parse()
    }

    #[test]
    fn a_file_is_given_in_two_three_or_five_parts() {
        let file = parsed("wifi.key:/etc/wifi.key").unwrap();
        assert_eq!((file.from, file.mode), (Source::File("wifi.key".into()), 0o600));
        assert_eq!(file.to, Path::new("/etc/wifi.key"));
        let file = parsed(r"|pass show nas\:wifi:/etc//key:0440:root:wheel").unwrap();
        assert_eq!(file.from, Source::Command("pass show nas:wifi".into()));
        assert_eq!((file.to.as_path(), file.mode), (Path::new("/etc/key"), 0o440));
        assert_eq!(file.owner, Some(Owner { user: "root".into(), group: "wheel".into() }));
        assert_eq!(parsed("-:/a b\nc:400").unwrap().to, Path::new("/a b\nc"));
        for wrong in [
            "",
            "a",
            "a:",
            ":/a",
            "|:/a",
            "a:b",
            "a:/b:0888",
            "a:/b:4755",
            "a:/b:600:root",
            "a:/b:0600::root",
            "a:/b:0600:ro ot:root",
            "a:/b:0600:-x:root",
            "a:/b:0600:4294967295:0",
            "a:/b:0600:0:99999999999",
            "a:/b:",
        ] {
            assert!(parsed(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_lands_where_it_may_not() {
        for path in [
            "/nix/store/x",
            "/nix",
            "/",
            "//",
            "/etc/../nix/x",
            "/etc/./x",
            "etc/x",
            "",
            "/run/x",
            "/proc/1",
            "/dev/sda",
            "/sys/x",
            "/tmp/x",
            "/..",
        ] {
            assert!(new_path(Path::new(path)).is_err(), "{path}");
        }
        assert!(new_path(Path::new(&format!("/{}", "x".repeat(256)))).is_err());
        assert!(new_path(Path::new(&"/xxxx".repeat(900))).is_err());
        for path in ["/nixos", "/etc/nix/nix.conf", "/persist/etc/ssh/key", "/running"] {
            assert_eq!(new_path(Path::new(path)).unwrap(), Path::new(path));
        }
    }
}
