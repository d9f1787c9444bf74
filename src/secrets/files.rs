//! Files that the installed system has from its first boot on: whole trees (`--extra-files`) and single files
//! (`--secret-file`), each with its mode and owner.
//!
//! What they are is known, and what is secret of them is read, before anything is touched. They travel as one
//! archive on stdin, and are refused if any of them would land in /nix, outside of the new root, or where a
//! file system of the running system hides them.

use super::Secret;
use super::archive::{Archive, Entry};
use super::extra::{Extra, Owner, Ownership, Source, leads_inside, new_path};
use crate::machine::output_of;
use anyhow::{Context, Result, bail};
use sha2::{Digest as _, Sha256};
use std::collections::BTreeMap;
use std::fs;
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Everything that will be placed, ready to be sent.
#[derive(Debug, Default)]
pub(crate) struct Files {
    entries: BTreeMap<PathBuf, Entry>,
    owners: Vec<Ownership>,
}

/// A command that gives a secret may ask a person for a PIN.
const COMMAND: Duration = Duration::from_secs(300);

impl Files {
    /// Looks at the trees and reads the single files: what cannot be read is known before anything is touched.
    pub(crate) async fn gather(wanted: &Extra) -> Result<Self> {
        let mut files = Self { entries: BTreeMap::new(), owners: wanted.owners.clone() };
        for tree in &wanted.trees {
            files.walk(tree, tree).with_context(|| format!("--extra-files {}", tree.display()))?;
        }
        for file in &wanted.files {
            let read = read(&file.from).await;
            let bytes = read.with_context(|| format!("the content of {}", file.to.display()))?;
            let owner = file.owner.as_ref();
            let numbers = owner.and_then(Owner::numbers);
            if let (Some(owner), None) = (owner, numbers) {
                let (path, owner) = (file.to.clone(), owner.clone());
                files.owners.push(Ownership { path, owner, recursive: false });
            }
            let mode = file.mode;
            let entry = Entry::Content { bytes, mode, owner: numbers.unwrap_or_default() };
            files.add(file.to.clone(), entry)?;
        }
        files.add_parents();
        files.prove()?;
        Ok(files)
    }

    fn walk(&mut self, tree: &Path, directory: &Path) -> Result<()> {
        let entries =
            fs::read_dir(directory).with_context(|| format!("reading {}", directory.display()))?;
        for entry in entries {
            let from = entry?.path();
            let to = Path::new("/").join(from.strip_prefix(tree)?);
            let to = new_path(&to).map_err(anyhow::Error::msg)?;
            let seen = fs::symlink_metadata(&from)
                .with_context(|| format!("looking at {}", from.display()))?;
            let mode = seen.permissions().mode() & 0o7777;
            if seen.is_dir() {
                // Two trees may share a directory.
                match self.entries.get(&to) {
                    Some(Entry::Directory { .. }) => {}
                    Some(_) => {
                        bail!("{} is given twice, and not as a directory only", to.display())
                    }
                    None => self.add(to, Entry::Directory { mode })?,
                }
                self.walk(tree, &from)?;
            } else if seen.is_symlink() {
                self.add(to, Entry::Link { to: fs::read_link(&from)? })?;
            } else if seen.is_file() {
                // Read now, so that what cannot be read is known in time.
                fs::File::open(&from).with_context(|| format!("opening {}", from.display()))?;
                self.add(to, Entry::File { from, size: seen.len(), mode })?;
            } else {
                bail!("{} is neither file, directory nor link", from.display());
            }
        }
        Ok(())
    }

    fn add(&mut self, to: PathBuf, entry: Entry) -> Result<()> {
        if self.entries.contains_key(&to) {
            bail!("{} is given twice", to.display());
        }
        self.entries.insert(to, entry);
        Ok(())
    }

    /// Refuses what would not arrive, or not where it is said to go: nothing is placed through a link or below a file. `tar`
    /// would find that out when the disks are erased already.
    fn prove(&self) -> Result<()> {
        for (path, entry) in &self.entries {
            if let Entry::Link { to } = entry {
                leads_inside(path, to).map_err(anyhow::Error::msg)?;
            }
        }
        let owned = self.owners.iter().filter(|ownership| ownership.path.parent().is_some());
        for path in self.entries.keys().chain(owned.map(|ownership| &ownership.path)) {
            for parent in path.ancestors().skip(1) {
                let what = match self.entries.get(parent) {
                    Some(Entry::Link { .. }) => "a link",
                    Some(Entry::File { .. } | Entry::Content { .. }) => "a file",
                    Some(Entry::Directory { .. }) | None => continue,
                };
                bail!("{} is {what}, and {} is to lie below it", parent.display(), path.display());
            }
        }
        Ok(())
    }

    /// Directories that were not mentioned are made readable by everybody: the files in them are what is protected.
    fn add_parents(&mut self) {
        let parents = self.entries.keys().flat_map(|path| path.ancestors().skip(1));
        let parents: Vec<PathBuf> = parents.map(Path::to_owned).collect();
        for parent in parents.into_iter().filter(|parent| parent.parent().is_some()) {
            self.entries.entry(parent).or_insert(Entry::Directory { mode: 0o755 });
        }
    }

    /// Adds what is placed, content included, to a hash; true if there is nothing.
    pub(super) fn hash(&self, hash: &mut Sha256) -> Result<bool> {
        for (path, entry) in &self.entries {
            let content = match entry {
                Entry::Directory { .. } => continue,
                Entry::Link { to } => Sha256::digest(to.as_os_str().as_bytes()),
                Entry::Content { bytes, .. } => Sha256::digest(bytes.expose()),
                Entry::File { from, .. } => {
                    digest_of(from).with_context(|| format!("reading {}", from.display()))?
                }
            };
            // A hash of each: where one ends and the next begins is plain.
            hash.update(Sha256::digest(path.as_os_str().as_bytes()));
            hash.update(content);
        }
        Ok(self.entries.values().all(|entry| matches!(entry, Entry::Directory { .. })))
    }

    /// Whether there is nothing to place.
    pub(crate) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.owners.is_empty()
    }

    /// What is to be placed, path and mode, in the order of the paths; directories are not mentioned.
    pub(crate) fn planned(&self) -> Vec<String> {
        let planned = |(path, entry): (&PathBuf, &Entry)| {
            let path = path.display();
            match entry {
                Entry::Directory { .. } => None,
                Entry::Link { to } => Some(format!("{path} -> {}", to.display())),
                Entry::File { mode, .. } | Entry::Content { mode, .. } => {
                    Some(format!("{path} (mode {mode:04o}{})", entry.owner_text()))
                }
            }
        };
        let owners = self.owners.iter().map(|ownership| {
            let Ownership { path, owner, .. } = ownership;
            format!("{} owned by {}:{}", path.display(), owner.user, owner.group)
        });
        self.entries.iter().filter_map(planned).chain(owners).collect()
    }

    /// The owners that are given by name, which the installed system must know.
    pub(crate) fn owners(&self) -> Vec<Owner> {
        self.owners.iter().map(|ownership| ownership.owner.clone()).collect()
    }

    /// Who is to own what, once the installed system knows its users: path, user, group, and `all` if everything
    /// below the path is meant.
    pub(crate) fn ownership(&self) -> Vec<String> {
        let words = |ownership: &Ownership| {
            let Ownership { path, owner, recursive } = ownership;
            let depth = if *recursive { "all" } else { "" };
            [
                path.to_string_lossy().into_owned(),
                owner.user.clone(),
                owner.group.clone(),
                depth.to_owned(),
            ]
        };
        self.owners.iter().flat_map(words).collect()
    }

    /// The content that a path of the new root will have, if a file is placed there.
    pub(crate) fn content(&self, path: &str) -> Option<Secret> {
        match self.entries.get(Path::new(path))? {
            Entry::Content { bytes, .. } => Some(bytes.clone()),
            Entry::File { from, .. } => fs::read(from).ok().map(Secret::new),
            Entry::Directory { .. } | Entry::Link { .. } => None,
        }
    }

    /// Every path that something is placed at.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.entries.keys().map(|path| path.to_string_lossy().into_owned()).collect()
    }

    /// Takes a file out again, which is placed in another way; its content.
    pub(crate) async fn take(&mut self, path: &str) -> Result<Option<Secret>> {
        let path = Path::new(path);
        match self.entries.get(path) {
            Some(Entry::Content { .. } | Entry::File { .. }) => {}
            Some(Entry::Link { .. }) => bail!("{} is a link", path.display()),
            Some(Entry::Directory { .. }) | None => return Ok(None),
        }
        Ok(match self.entries.remove(path) {
            Some(Entry::Content { bytes, .. }) => Some(bytes),
            Some(Entry::File { from, .. }) => {
                let read = super::read::file(&from).await;
                Some(read.with_context(|| format!("reading {}", from.display()))?)
            }
            _ => None,
        })
    }

    /// Size and SHA-256, a line each, of the files of trees that not everybody may read.
    pub(crate) fn private_sums(&self) -> Result<String> {
        let mut lines = String::new();
        for entry in self.entries.values() {
            if let Entry::File { from, size, mode } = entry
                && mode & 0o004 == 0
                && *size >= super::TELLING as u64
            {
                let digest =
                    digest_of(from).with_context(|| format!("reading {}", from.display()))?;
                lines.push_str(&super::sum(*size, &digest));
            }
        }
        Ok(lines)
    }

    /// Contents that must be nowhere but in their places.
    pub(crate) fn contents(&self) -> impl Iterator<Item = &Secret> {
        self.entries.values().filter_map(|entry| match entry {
            Entry::Content { bytes, .. } => Some(bytes),
            _ => None,
        })
    }

    /// Every path with its place in the order, for `places.sh`: `NUMBER:KIND PATH`, each ended by a NUL.
    pub(crate) fn places(&self) -> Vec<u8> {
        let mut places = Vec::new();
        for (number, (path, entry)) in self.entries.iter().enumerate() {
            let kind = if matches!(entry, Entry::Directory { .. }) { "d" } else { "f" };
            places.extend(format!("{number}:{kind}").into_bytes());
            places.extend(path.as_os_str().as_bytes());
            places.push(0);
        }
        places
    }

    /// All but the directories with these numbers, as an archive.
    pub(crate) fn archive(&self, there: &[usize]) -> Result<Archive> {
        let wanted = self.entries.iter().enumerate().filter(|(number, _)| !there.contains(number));
        Archive::of(wanted.map(|(_, (path, entry))| (path.clone(), entry.clone())).collect())
    }
}

/// SHA-256 of a file, whatever its size.
fn digest_of(path: &Path) -> std::io::Result<sha2::digest::Output<Sha256>> {
    let (mut file, mut hash) = (fs::File::open(path)?, Sha256::new());
    let mut buffer = vec![0; 1 << 16];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(hash.finalize()),
            length => hash.update(&buffer[..length]),
        }
    }
}

pub(super) async fn read(source: &Source) -> Result<Secret> {
    match source {
        Source::File(path) => {
            super::read::file(path).await.with_context(|| format!("reading {}", path.display()))
        }
        Source::Command(command) => output_of(command, COMMAND).await.map(Secret::new),
        Source::Stdin => super::read::stdin().await.context("reading stdin"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncReadExt;

    /// A tree with what trees have, and the files made of it.
    async fn gathered(dir: &Path, files: &[&str]) -> Result<Files> {
        let tree = dir.join("tree");
        std::fs::create_dir_all(tree.join("etc/empty dir"))?;
        std::fs::write(tree.join("etc/a\nb"), "odd")?;
        std::fs::set_permissions(tree.join("etc/a\nb"), fs::Permissions::from_mode(0o640))?;
        let _ = std::os::unix::fs::symlink("/etc/a", tree.join("link"));
        let files = files.iter().map(|text| text.parse().unwrap()).collect();
        Files::gather(&Extra { trees: vec![tree], files, owners: vec![] }).await
    }

    #[tokio::test]
    async fn an_archive_has_all_but_what_is_there() {
        let dir = tempfile::tempdir().unwrap();
        let files = gathered(dir.path(), &["|printf s:/etc/ssh/key:0400:7:8"]).await.unwrap();
        let places = String::from_utf8(files.places()).unwrap();
        let places: Vec<&str> = places.trim_end_matches('\0').split('\0').collect();
        let expected = [
            "0:d/etc",
            "1:f/etc/a\nb",
            "2:d/etc/empty dir",
            "3:d/etc/ssh",
            "4:f/etc/ssh/key",
            "5:f/link",
        ];
        assert_eq!(places, expected);
        let mut archive = files.archive(&[0, 3]).unwrap();
        let mut bytes = Vec::new();
        archive.bytes.read_to_end(&mut bytes).await.unwrap();
        archive.finish().await.unwrap();
        let mut tar = tar::Archive::new(bytes.as_slice());
        let seen = tar.entries().unwrap().map(|entry| {
            let entry = entry.unwrap();
            let header = entry.header();
            let path = entry.path().unwrap().display().to_string();
            (path, header.mode().unwrap(), header.uid().unwrap(), header.gid().unwrap())
        });
        let mode = std::fs::metadata(dir.path().join("tree/etc/empty dir")).unwrap().permissions();
        let expected = [
            ("etc/a\nb", 0o640, 0, 0),
            ("etc/empty dir", mode.mode() & 0o7777, 0, 0),
            ("etc/ssh/key", 0o400, 7, 8),
            ("link", 0o777, 0, 0),
        ];
        let expected =
            expected.map(|(path, mode, user, group)| (path.to_owned(), mode, user, group));
        assert_eq!(seen.collect::<Vec<_>>(), expected);
        assert_eq!(files.content("/etc/ssh/key").unwrap().expose(), b"s");
        assert!(files.content("/etc").is_none());
    }

    #[tokio::test]
    async fn what_changes_meanwhile_breaks_the_archive() {
        let dir = tempfile::tempdir().unwrap();
        let files = gathered(dir.path(), &[]).await.unwrap();
        std::fs::write(dir.path().join("tree/etc/a\nb"), "longer").unwrap();
        let mut archive = files.archive(&[]).unwrap();
        archive.bytes.read_to_end(&mut Vec::new()).await.unwrap();
        let error = archive.finish().await.unwrap_err();
        assert!(format!("{error:#}").contains("has changed"), "{error:#}");
    }

    #[tokio::test]
    async fn no_link_leads_out_of_the_root_or_holds_anything() {
        let gathered = async |links: &[(&str, &str)], files: &[&str], owned: &[&str]| {
            let dir = tempfile::tempdir().unwrap();
            for (to, name) in links {
                std::fs::create_dir_all(dir.path().join(name).parent().unwrap()).unwrap();
                std::os::unix::fs::symlink(to, dir.path().join(name)).unwrap();
            }
            let files = files.iter().map(|text| text.parse().unwrap()).collect();
            let owners = owned.iter().map(|path| Ownership::parse(path, "1:1").unwrap()).collect();
            let trees = vec![dir.path().to_owned()];
            Files::gather(&Extra { trees, files, owners }).await.map_err(|e| format!("{e:#}"))
        };
        for (links, files, owned, why) in [
            (&[("/nix/store/x", "a")][..], &[][..], &[][..], "leads into /nix"),
            (&[("../nix/x", "etc/a")], &[], &[], "leads into /nix"),
            (&[("../var/../nix", "etc/a")], &[], &[], "leads into /nix"),
            (&[("/etc//.././nix", "a")], &[], &[], "leads into /nix"),
            (&[("../x", "a")], &[], &[], "leads out of the new root"),
            (&[("../../x", "etc/a")], &[], &[], "leads out of the new root"),
            (&[("/../x", "a")], &[], &[], "leads out of the new root"),
            (&[("/", "a")], &["|printf x:/a/nix/x"], &[], "/a is a link, and /a/nix"),
            (&[("/root", "etc/ssh")], &["|printf x:/etc/ssh/key"], &[], "/etc/ssh is a link"),
            (&[("/root", "etc/ssh")], &[], &["/etc/ssh/key"], "/etc/ssh is a link"),
            (&[], &["|printf x:/a", "|printf x:/a/b"], &[], "/a is a file, and /a/b"),
            (&[("b", "a/c")], &["|printf x:/a"], &[], "given twice"),
        ] {
            let error = gathered(links, files, owned).await.unwrap_err();
            assert!(error.contains(why), "{links:?} {files:?}: {error}");
        }
        let good = [("/etc/nixos", "a"), ("../root", "etc/b"), ("/run/x", "c"), ("nix", "etc/d")];
        gathered(&good, &["|printf x:/etc/x"], &["/etc/b"]).await.unwrap();
    }

    #[tokio::test]
    async fn a_source_that_cannot_be_read_is_known_before() {
        let dir = tempfile::tempdir().unwrap();
        for (file, word) in [
            ("/no/such/file:/etc/x", "No such file"),
            ("|echo no pin >&2; exit 3:/etc/x", "no pin"),
            ("|printf twice:/etc/a\nb", "given twice"),
        ] {
            let error = gathered(dir.path(), &[file]).await.unwrap_err();
            assert!(format!("{error:#}").contains(word), "{error:#}");
        }
        std::fs::create_dir_all(dir.path().join("tree/nix")).unwrap();
        let error = gathered(dir.path(), &[]).await.unwrap_err();
        assert!(format!("{error:#}").contains("nothing can be placed in /nix"), "{error:#}");
    }
}
