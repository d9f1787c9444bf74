//! Files as a stream of tar, made while it is read: nothing of it lies anywhere in between.

use super::Secret;
use crate::clock::now;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use tar::{Builder, EntryType, Header};
use tokio::task::JoinHandle;

/// What is at one path.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    /// A directory, made with this mode where there is none.
    Directory { mode: u32 },
    /// A symbolic link.
    Link { to: PathBuf },
    /// A file of a tree, read when it is sent.
    File { from: PathBuf, size: u64, mode: u32 },
    /// A file that was read already.
    Content { bytes: Secret, mode: u32, owner: (u64, u64) },
}

impl Entry {
    pub(super) fn owner_text(&self) -> String {
        match self {
            Self::Content { owner: (user, group), .. } if (*user, *group) != (0, 0) => {
                format!(", owner {user}:{group}")
            }
            _ => String::new(),
        }
    }
}

/// An archive on its way.
pub(crate) struct Archive {
    /// Its bytes. Who stops reading ends the writer.
    pub(crate) bytes: tokio::fs::File,
    writer: JoinHandle<Result<()>>,
}

impl Archive {
    pub(super) fn of(entries: Vec<(PathBuf, Entry)>) -> Result<Self> {
        let (reader, writer) = io::pipe().context("making a pipe")?;
        let writer = tokio::task::spawn_blocking(move || write(&entries, writer));
        Ok(Self { bytes: tokio::fs::File::from_std(File::from(OwnedFd::from(reader))), writer })
    }

    /// Fails unless all of it was written: an archive that ends between two files looks complete to the program that unpacks it.
    pub(crate) async fn finish(self) -> Result<()> {
        drop(self.bytes);
        self.writer.await?
    }
}

fn write(entries: &[(PathBuf, Entry)], to: impl Write) -> Result<()> {
    let mut archive = Builder::new(to);
    for (path, entry) in entries {
        append(&mut archive, path, entry).with_context(|| format!("packing {}", path.display()))?;
    }
    archive.finish()?;
    Ok(())
}

fn append(archive: &mut Builder<impl Write>, path: &Path, entry: &Entry) -> Result<()> {
    let path = path.strip_prefix("/")?;
    let mut header = Header::new_gnu();
    header.set_uid(0);
    header.set_gid(0);
    header.set_mtime(now());
    match entry {
        Entry::Directory { mode } => {
            header.set_entry_type(EntryType::Directory);
            header.set_mode(*mode);
            header.set_size(0);
            archive.append_data(&mut header, path, io::empty())?;
        }
        Entry::Link { to } => {
            header.set_entry_type(EntryType::Symlink);
            header.set_mode(0o777);
            header.set_size(0);
            archive.append_link(&mut header, path, to)?;
        }
        Entry::File { from, size, mode } => {
            header.set_mode(*mode);
            header.set_size(*size);
            let file = File::open(from)?;
            if file.metadata()?.len() != *size {
                bail!("it has changed since it was looked at");
            }
            archive.append_data(&mut header, path, file.take(*size))?;
        }
        Entry::Content { bytes, mode, owner: (user, group) } => {
            header.set_mode(*mode);
            header.set_uid(*user);
            header.set_gid(*group);
            header.set_size(bytes.expose().len() as u64);
            archive.append_data(&mut header, path, bytes.expose())?;
        }
    }
    Ok(())
}
