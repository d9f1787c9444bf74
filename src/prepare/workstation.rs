//! This machine's tools.

use super::Flake;
use crate::nix::Nix;
use crate::report::{Exit, Failure, Metrics};
use anyhow::Context;

/// The workstation's tools, and what their use costs.
#[derive(Debug, Clone)]
pub struct Workstation {
    /// The workstation's Nix.
    pub nix: Nix,
    /// What their use costs.
    pub(crate) metrics: Metrics,
}

impl Workstation {
    /// Finds the programs that everything rests on; the flake's inputs are replaced as it says.
    pub fn find(flake: &Flake) -> Result<Self, Failure> {
        let missing = |error: anyhow::Error, hint: &str| {
            Failure::new(Exit::Other, "a program is missing on this machine")
                .because(error)
                .hint(hint)
        };
        which::which("ssh")
            .context("there is no `ssh` in PATH")
            .map_err(|error| missing(error, "install OpenSSH's client"))?;
        let metrics = Metrics::default();
        let nix = Nix::find(metrics.clone()).map_err(|error| {
            missing(error, "install Nix (https://nixos.org/download), or enter a shell that has it")
        })?;
        Ok(Self { nix: nix.overriding(&flake.overrides), metrics })
    }
}
