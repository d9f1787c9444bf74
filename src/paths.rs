//! Where landfall keeps its files: XDG base directories, on macOS as on Linux.

use anyhow::{Context, Result};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
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
    let runtime = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let runtime = runtime.filter(|dir| can_hold_sockets(dir));
    // Whether something can be made there shows only when it is.
    let made = match runtime.and_then(|dir| private_directory(&dir).ok()) {
        Some(made) => made,
        None => private_directory(Path::new("/tmp"))
            .context("creating a directory for an SSH socket in /tmp")?,
    };
    MADE.lock().unwrap_or_else(PoisonError::into_inner).push(made.path().to_owned());
    Ok(made)
}

fn private_directory(parent: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("landfall-{}-", std::process::id()))
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
}

/// The private directories that this process has made. By their names alone, those of another user, or of an earlier process of
/// the same number that was killed, would pass for them.
static MADE: Mutex<Vec<PathBuf>> = Mutex::new(Vec::new());

/// Whether sockets can lie there, and be named to everybody: in an option of `ssh`, a blank ends a word, `%` and `${` begin
/// something else, and Nix and git take options for `ssh` in one text.
fn can_hold_sockets(dir: &Path) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@,".contains(&byte);
    let path = dir.as_os_str().as_bytes();
    let is_short = dir.is_absolute() && path.len() < 40;
    is_short && path.iter().all(|byte| is_plain(*byte)) && dir.is_dir()
}

/// Private directories that this process has made and that are still there.
pub(crate) fn left_on_workstation() -> Vec<PathBuf> {
    let made = MADE.lock().unwrap_or_else(PoisonError::into_inner);
    made.iter().filter(|path| path.exists()).cloned().collect()
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
