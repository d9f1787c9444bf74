//! Files in the workstation's store: read where they lie, if that is on this machine, and asked for otherwise.

use super::Nix;
use anyhow::{Context, Result};
use serde::Deserialize;
use std::ffi::OsString;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// The directory below which the store's files are on this machine, once it is known; none for a store that is elsewhere.
pub(super) type Root = Arc<OnceCell<Option<PathBuf>>>;

/// More links than these are a circle.
const LINKS: usize = 16;

impl Nix {
    /// Whether a path exists in the store, through the links on its way: `/nix/store/…/dtbs/x.dtb`. False as well
    /// where the store path itself is not there.
    pub(crate) async fn has(&self, path: &str) -> Result<bool> {
        match self.followed(path).await? {
            Some(path) => Ok(self.list(&path).await?.is_some()),
            None => Ok(false),
        }
    }

    /// The content of a file in the store, through the links on its way; none if it is not there.
    ///
    /// It is read where it lies, if that is on this machine: hundreds of secrets are hundreds of processes otherwise.
    pub async fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        if let Some(root) = self.store_root.get_or_init(|| self.find_store_root()).await {
            let (root, path) = (root.clone(), path.to_owned());
            let read = tokio::task::spawn_blocking(move || read_below(&root, &path)).await?;
            if read.is_some() {
                return Ok(read);
            }
        }
        self.ask_for(path).await
    }

    /// The same by nix3-store-cat(1).
    async fn ask_for(&self, path: &str) -> Result<Option<Vec<u8>>> {
        // Most files are no links, and that is one question instead of one for each part of the path.
        let (read, _) = self.capture(&["store", "cat", "--", path]).await?;
        if read.is_some() {
            return Ok(read);
        }
        let Some(file) = self.followed(path).await?.filter(|file| file != path) else {
            return Ok(None);
        };
        Ok(self.capture(&["store", "cat", "--", &file]).await?.0)
    }

    /// The path without the links on its way; none if they lead nowhere.
    async fn followed(&self, path: &str) -> Result<Option<String>> {
        let mut path = path.to_owned();
        for _ in 0..LINKS {
            let Some(link) = self.first_link(&path).await? else { return Ok(Some(path)) };
            path = link;
        }
        Ok(None)
    }

    /// The path with its first link followed; none if there is no link in it.
    async fn first_link(&self, path: &str) -> Result<Option<String>> {
        let ends = path.match_indices('/').map(|(at, _)| at).skip(4).chain([path.len()]);
        for end in ends {
            let (upper, rest) = path.split_at(end);
            let Some(entry) = self.list(upper).await? else { return Ok(None) };
            if entry.kind == "symlink" {
                let directory = upper.rsplit_once('/').map_or("", |(directory, _)| directory);
                let to = if entry.target.starts_with('/') {
                    entry.target
                } else {
                    format!("{directory}/{}", entry.target)
                };
                return Ok(Some(to + rest));
            }
        }
        Ok(None)
    }

    /// What is at a path of the store (nix3-store-ls(1)); none for nothing.
    async fn list(&self, path: &str) -> Result<Option<Listed>> {
        let (listed, _) = self.capture(&["store", "ls", "--json", path]).await?;
        listed
            .map(|json| serde_json::from_slice(&json).context("reading `nix store ls`"))
            .transpose()
    }

    /// What cannot be found out here is no error: then the store itself is asked.
    async fn find_store_root(&self) -> Option<PathBuf> {
        let settings = self.settings().await.ok()?;
        let settings: serde_json::Value = serde_json::from_slice(&settings).ok()?;
        root_of(settings["store"]["value"].as_str()?)
    }
}

/// Where the files of a store are, by its URI (nix3-help-stores(1)).
fn root_of(store: &str) -> Option<PathBuf> {
    match store {
        "auto" | "daemon" | "local" => Some("/".into()),
        path if path.starts_with('/') && !path.contains('?') => Some(path.into()),
        _ => None,
    }
}

/// Reads a file of the store whose root this is; none for anything else than a file.
fn read_below(root: &Path, path: &str) -> Option<Vec<u8>> {
    let file = place_below(root, path)?;
    let is_file = std::fs::symlink_metadata(&file).ok()?.is_file();
    if is_file { std::fs::read(file).ok() } else { None }
}

/// Where a path of the store leads to, below its root. The links on its way are followed there as in a chroot: the
/// kernel would follow an absolute one to another store. None if it leads out of the store.
fn place_below(root: &Path, path: &str) -> Option<PathBuf> {
    let mut place = PathBuf::new();
    let mut rest = backwards(Path::new(path));
    let mut links = 0;
    while let Some(part) = rest.pop() {
        if part == ".." {
            place.pop();
            continue;
        }
        let here = place.join(part);
        let Ok(target) = std::fs::read_link(root.join(&here)) else {
            place = here;
            continue;
        };
        links += 1;
        if links > LINKS {
            return None;
        }
        if target.is_absolute() {
            place = PathBuf::new();
        }
        rest.extend(backwards(&target));
    }
    place.starts_with("nix/store").then(|| root.join(place))
}

/// The parts of a path, the last one first.
fn backwards(path: &Path) -> Vec<OsString> {
    let part = |component| match component {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(part).collect()
}

/// What `nix store ls --json` says of a path.
#[derive(Debug, Deserialize)]
struct Listed {
    /// `regular`, `directory` or `symlink`.
    #[serde(rename = "type")]
    kind: String,
    /// Where a link leads.
    #[serde(default)]
    target: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_store_is_on_this_machine_or_it_is_not() {
        assert_eq!(root_of("auto"), Some("/".into()));
        assert_eq!(root_of("/srv/store"), Some("/srv/store".into()));
        for elsewhere in ["ssh-ng://builder", "local?root=/srv", "/srv?read-only=true", ""] {
            assert_eq!(root_of(elsewhere), None, "{elsewhere}");
        }
    }

    #[test]
    fn a_file_is_read_below_the_root_and_nowhere_else() {
        let outside = tempfile::tempdir().unwrap();
        let root = outside.path().join("root");
        let store = root.join("nix/store");
        fs::create_dir_all(store.join("a-source/secrets")).unwrap();
        fs::create_dir(root.join("etc")).unwrap();
        for file in
            [&store.join("a-source/secrets/x.age"), &root.join("etc/x"), &outside.path().join("x")]
        {
            fs::write(file, "content").unwrap();
        }
        let link = |to: &str, name: &str| symlink(to, store.join(name)).unwrap();
        link("/nix/store/a-source", "b-absolute");
        link("a-source/secrets/../secrets/./x.age", "b-relative");
        link("b-absolute/secrets", "b-twice");
        link("/etc/x", "b-etc");
        link("../../../x", "b-out");
        link(outside.path().join("x").to_str().unwrap(), "b-real");
        link("b-circle", "b-circle");
        let reads = |path: &str| read_below(&root, path).is_some();
        for path in [
            "/nix/store/a-source/secrets/x.age",
            "/nix/store/a-source/../a-source//secrets/x.age",
            "/nix/store/b-absolute/secrets/x.age",
            "/nix/store/b-relative",
            "/nix/store/b-twice/x.age",
            "/../../nix/store/b-twice/../secrets/x.age",
        ] {
            assert!(reads(path), "{path}");
        }
        for path in [
            "/nix/store/a-source/secrets",
            "/nix/store/a-source/secrets/y.age",
            "/nix/store/b-etc",
            "/nix/store/b-out",
            "/nix/store/b-real",
            "/nix/store/b-circle",
            "/nix/store/../../etc/x",
            "/etc/x",
            "",
        ] {
            assert!(!reads(path), "{path}");
        }
    }
}
