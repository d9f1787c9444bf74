//! The names of steps: in events, reports and journals, and on the command line.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A step's name. Those of an install are upstream's phases, where those exist.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum StepName {
    /// The system is built, the kexec image sent.
    Build,
    /// The old system is left for the installer.
    Kexec,
    /// The target evaluates the flake itself.
    Evaluate,
    /// The disks are laid out.
    Disko,
    /// The closure is brought onto the new disks.
    Copy,
    /// The system is made the one that boots.
    Install,
    /// The machine restarts.
    Reboot,
    /// The installed system is seen running.
    Verify,
    /// A member of a pool is taken out (`disk replace`).
    Offline,
    /// The disks are exchanged by hand (`disk replace`).
    Swap,
    /// A new disk is partitioned (`disk replace`).
    Partition,
    /// A member of a pool is replaced (`disk replace`).
    Replace,
    /// The resilver is watched to its end (`disk replace`).
    Follow,
    /// The pool is seen to be whole (`disk replace`).
    Prove,
    /// The new member is filled (`disk replace`).
    Resilver,
    /// The pool is read from end to end (`disk replace --scrub`).
    Scrub,
}

impl StepName {
    /// Those of an install, in their order.
    pub(crate) const OF_AN_INSTALL: [Self; 8] = [
        Self::Build,
        Self::Kexec,
        Self::Evaluate,
        Self::Disko,
        Self::Copy,
        Self::Install,
        Self::Reboot,
        Self::Verify,
    ];

    /// As it is written everywhere.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Build => "build",
            Self::Kexec => "kexec",
            Self::Evaluate => "evaluate",
            Self::Disko => "disko",
            Self::Copy => "copy",
            Self::Install => "install",
            Self::Reboot => "reboot",
            Self::Verify => "verify",
            Self::Offline => "offline",
            Self::Swap => "swap",
            Self::Partition => "partition",
            Self::Replace => "replace",
            Self::Follow => "follow",
            Self::Prove => "prove",
            Self::Resilver => "resilver",
            Self::Scrub => "scrub",
        }
    }
}

impl fmt::Display for StepName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::StepName;

    #[test]
    fn a_name_is_the_same_in_words_and_in_json() {
        for name in StepName::OF_AN_INSTALL {
            assert_eq!(serde_json::to_value(name).unwrap(), name.as_str());
        }
    }
}
