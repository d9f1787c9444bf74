//! Where landfall keeps its files: XDG base directories, on macOS as on Linux.

use anyhow::{Context, Result};
use std::path::PathBuf;

/// `$XDG_STATE_HOME/landfall`, by default `~/.local/state/landfall`.
pub(crate) fn state() -> Result<PathBuf> {
    Ok(base("XDG_STATE_HOME", ".local/state")?.join("landfall"))
}

/// `$XDG_CACHE_HOME/landfall`, by default `~/.cache/landfall`.
pub(crate) fn cache() -> Result<PathBuf> {
    Ok(base("XDG_CACHE_HOME", ".cache")?.join("landfall"))
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
