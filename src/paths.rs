//! Where landfall keeps its files: XDG base directories, on macOS as on Linux.

use anyhow::{Context, Result};
use rustix::fs::{Access, access};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// `$XDG_STATE_HOME/landfall`, by default `~/.local/state/landfall`.
pub(crate) fn state() -> Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("landfall"))
}

/// Where host keys are kept, encrypted, in a directory for each host.
pub(crate) fn host_keys() -> Result<PathBuf> {
    Ok(state()?.join("keys"))
}

/// `$XDG_CACHE_HOME/landfall`, by default `~/.cache/landfall`.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(base("XDG_CACHE_HOME", ".cache")?.join("landfall"))
}

/// A private directory (mode 0700) with a short path, for Unix sockets: a socket's path is limited to 104 bytes on
/// macOS, and OpenSSH appends 17 of its own while it creates one.
pub(crate) fn socket_directory() -> Result<TempDir> {
    let make = |parent: &Path| {
        let (mut dir, prefix) = (tempfile::Builder::new(), own_prefix());
        dir.permissions(std::fs::Permissions::from_mode(0o700)).prefix(&prefix);
        let context = || format!("creating a directory for an SSH socket in {}", parent.display());
        dir.tempdir_in(parent).with_context(context)
    };
    // The first may be full, or have no room for anything though root may write there (`/proc`).
    let mut parents = sockets().into_iter();
    let first = parents.next().context("there is no directory for sockets")?;
    make(&first).or_else(|error| parents.next().map_or(Err(error), |next| make(&next)))
}

/// Where they are made: in the first if possible.
fn sockets() -> Vec<PathBuf> {
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| can_hold_sockets(dir));
    runtime.into_iter().chain([PathBuf::from("/tmp")]).collect()
}

/// Whether sockets can lie there, and be named to everybody: in an option of `ssh`, a blank ends a word, `%` and `${` begin
/// something else, and Nix and git take options for `ssh` in one text.
fn can_hold_sockets(dir: &Path) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@,".contains(&byte);
    let path = dir.as_os_str().as_bytes();
    let is_short = dir.is_absolute() && path.len() < 40;
    is_short && path.iter().all(|byte| is_plain(*byte)) && dir.is_dir() && is_writable(dir)
}

fn is_writable(dir: &Path) -> bool {
    access(dir, Access::WRITE_OK | Access::EXEC_OK).is_ok()
}

/// What the names of this process' own directories begin with.
fn own_prefix() -> String {
    format!("landfall-{}-", std::process::id())
}

/// Private directories that this process has made and that are still there.
pub(crate) fn left_on_workstation() -> Vec<PathBuf> {
    let dirs = sockets().into_iter().filter_map(|dir| std::fs::read_dir(dir).ok());
    let entries = dirs.flatten().flatten();
    let ours = |name: &str| name.starts_with(&own_prefix());
    let ours = entries.filter(|entry| ours(&entry.file_name().to_string_lossy()));
    ours.map(|entry| entry.path()).collect()
}

/// The specification ignores a relative path in the variable.
fn base(variable: &str, default: &str) -> Result<PathBuf> {
    let named = std::env::var_os(variable).map(PathBuf::from).filter(|path| path.is_absolute());
    match named {
        Some(path) => Ok(path),
        None => Ok(std::env::home_dir()
            .with_context(|| format!("neither {variable} nor a home directory is known"))?
            .join(default)),
    }
}
