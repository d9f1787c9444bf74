//! Where the host's disk file goes. A file that is there is written over only on request, and whole: the new one takes
//! its place in one move.

use crate::atomic::{self, Existing};
use crate::report::{Exit, Failure};
use std::path::PathBuf;

/// Where it goes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Destination {
    /// The file; stdout without.
    pub(crate) out: Option<PathBuf>,
    /// Whether another file that is there is written over.
    pub(crate) replace: bool,
}

impl Destination {
    /// Refuses what could not be written later.
    pub(super) fn prove(&self) -> Result<(), Failure> {
        let Some(path) = &self.out else { return Ok(()) };
        if path.symlink_metadata().is_ok() && !self.replace {
            return Err(Failure::new(
                Exit::Refused,
                format!("{} is there already", path.display()),
            )
            .hint("--replace writes over it; without --out it is only shown"));
        }
        Ok(())
    }

    /// Writes it; says where, if anywhere.
    pub(super) fn write(&self, text: &str) -> Result<Option<String>, Failure> {
        let Some(path) = &self.out else { return Ok(None) };
        self.prove()?;
        // Whatever has come there since it was looked for stays.
        let existing = if self.replace { Existing::Replaced } else { Existing::Kept };
        atomic::write(path, text.as_bytes(), 0o666, existing).map_err(|error| {
            let what = format!("{} cannot be written", path.display());
            Failure::new(Exit::Other, what).because(error)
        })?;
        Ok(Some(path.display().to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("disks.nix");
        let to = |replace| Destination { out: Some(path.clone()), replace };
        to(false).write("first").unwrap();
        assert_eq!(to(false).write("second").unwrap_err().exit, Exit::Refused);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "first");
        to(true).write("third").unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "third");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing lies beside it");
        assert!(Destination::default().write("x").unwrap().is_none());
    }
}
