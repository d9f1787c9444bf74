//! Where landfall keeps its files: XDG base directories, on macOS as on Linux.

use anyhow::{Context, Result};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    let _ = MADE.try_with(|all| lock(all).push(made.path().to_owned()));
    Ok(made)
}

fn private_directory(parent: &Path) -> std::io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(&format!("landfall-{}-", std::process::id()))
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(parent)
}

tokio::task_local! {
    /// The private directories that this run has made. By their names alone, those of another user, of an earlier process of
    /// the same number that was killed, or of another run in this process would pass for them.
    static MADE: Mutex<Vec<PathBuf>>;
}

/// Does the work of one run, whose private directories [`left_on_workstation`] knows from those of other runs.
pub(crate) async fn of_one_run<T>(work: impl Future<Output = T>) -> T {
    MADE.scope(Mutex::default(), work).await
}

fn lock(all: &Mutex<Vec<PathBuf>>) -> MutexGuard<'_, Vec<PathBuf>> {
    all.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether sockets can lie there, and be named to everybody: in an option of `ssh`, a blank ends a word, `%` and `${` begin
/// something else, and Nix and git take options for `ssh` in one text.
fn can_hold_sockets(dir: &Path) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+@,".contains(&byte);
    let path = dir.as_os_str().as_bytes();
    let is_short = dir.is_absolute() && path.len() < 40;
    is_short && path.iter().all(|byte| is_plain(*byte)) && dir.is_dir()
}

/// Private directories that this run has made and that are still there; none outside of [`of_one_run`].
pub(crate) fn left_on_workstation() -> Vec<PathBuf> {
    let there = |all: &Mutex<Vec<PathBuf>>| {
        lock(all).iter().filter(|path| path.exists()).cloned().collect()
    };
    MADE.try_with(there).unwrap_or_default()
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

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::sync::Barrier;

    #[tokio::test]
    async fn a_run_is_asked_for_its_own_directories_alone() {
        let (both_at_work, one_is_audited) = (Barrier::new(2), Barrier::new(2));
        let untidy = of_one_run(async {
            let made = socket_directory().unwrap();
            both_at_work.wait().await;
            one_is_audited.wait().await;
            assert_eq!(left_on_workstation(), [made.path()]);
            drop(made);
            assert!(left_on_workstation().is_empty());
        });
        let tidy = of_one_run(async {
            let made = socket_directory().unwrap();
            both_at_work.wait().await;
            drop(made);
            assert!(left_on_workstation().is_empty(), "the other run is still at work");
            one_is_audited.wait().await;
        });
        tokio::join!(untidy, tidy);
    }
}
