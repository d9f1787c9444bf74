//! In which state the target is, at any moment: what a failure or an interruption must be able to say; and whether
//! something lies there that a run which ends early has to take away.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The target's state as landfall has left it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum State {
    /// Nothing was changed.
    #[default]
    Untouched,
    /// An unfinished run has erased its disks; it was not seen since.
    ErasedBefore,
    /// The kexec image is in the login user's home directory.
    ImageSent,
    /// It is between two systems.
    Leaving,
    /// It runs a system that refuses the login, after its kernel was exchanged.
    Locked,
    /// The installer runs from memory, the disks are as they were.
    Installer,
    /// The disks are being erased.
    Erasing,
    /// The disks were being erased, and the job that did has ended without having laid them out.
    HalfErased,
    /// The disks are laid out and mounted, and empty.
    LaidOut,
    /// The system is on the disks, and does not boot yet.
    Copied,
    /// nixos-install is at work.
    Installing,
    /// nixos-install has ended, and has not installed the system.
    NotInstalled,
    /// The installed system would boot; the installer still runs.
    Installed,
    /// It restarts into the installed system.
    Restarting,
    /// The installed system runs.
    Running,
    /// A member of one of its pools is out, or about to go.
    MemberOut,
    /// A new disk is being written to.
    NewDisk,
    /// A new member of one of its pools is being filled.
    Resilvering,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Untouched => "as it was; nothing on it was changed",
            Self::ErasedBefore => {
                "as an unfinished run left it, which had begun to erase its disks; it was not reached this time"
            }
            Self::ImageSent => {
                "still the old system, its disks untouched; the kexec image is in a directory called .landfall"
            }
            Self::Leaving => {
                "still in the old system, or on its way to the installer: which one shows within a minute; its disks are \
                 untouched; a power cycle brings the old system back"
            }
            Self::Locked => {
                "up: a system answers, most likely the installer, and refuses the login; its disks are untouched; a power \
                 cycle brings the old system back"
            }
            Self::Installer => {
                "in the installer, which runs from memory; its disks are untouched; a reboot brings the old system back"
            }
            Self::Erasing => {
                "in the installer; its disks, but for those that are kept, are being laid out and what was on them is lost. \
                 The job continues by itself; its log on the target is /run/landfall/disko/log"
            }
            Self::HalfErased => {
                "in the installer; its disks, but for those that are kept, are half laid out and what was on them is lost. \
                 Nothing works on them any more; the log on the target is /run/landfall/disko/log"
            }
            Self::LaidOut => {
                "in the installer; its disks are laid out, mounted under /mnt, and hold no system yet"
            }
            Self::Copied => {
                "in the installer; the system is on the disks, mounted under /mnt, and does not boot yet"
            }
            Self::Installing => {
                "in the installer; nixos-install continues by itself; its log on the target is /run/landfall/nixos-install/log"
            }
            Self::NotInstalled => {
                "in the installer; the system is on the disks, mounted under /mnt, and does not boot yet. nixos-install has \
                 ended; its log on the target is /run/landfall/nixos-install/log"
            }
            Self::Installed => {
                "in the installer; the system is installed; the machine was not restarted"
            }
            Self::Restarting => "restarting into the installed system, which has not been seen running yet",
            Self::Running => "running the installed system",
            Self::MemberOut => {
                "running; its pool works without the member that is out. The same command continues"
            }
            Self::NewDisk => {
                "running; its pool works without the member that is out; the new disk is half laid out. The same command \
                 continues"
            }
            Self::Resilvering => {
                "running; its pool is being resilvered, which continues by itself. `landfall disk list` shows how far it is; \
                 the same command watches it to its end"
            }
        })
    }
}

/// The present state, shared with the code that reports it when a run ends early.
#[derive(Debug, Clone, Default)]
pub struct TargetState(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    untidy: AtomicBool,
    interrupted: watch::Sender<bool>,
}

impl TargetState {
    /// From here on, this is the state.
    pub(crate) fn is_now(&self, state: State) {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner) = state;
    }

    /// The present state.
    pub fn now(&self) -> State {
        *self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether something lies on the target that must not outlive the run.
    pub(crate) fn set_untidy(&self, untidy: bool) {
        self.0.untidy.store(untidy, Ordering::Relaxed);
    }

    /// Whether it does.
    pub fn is_untidy(&self) -> bool {
        self.0.untidy.load(Ordering::Relaxed)
    }

    /// Asks the work to tidy up and end.
    pub fn interrupt(&self) {
        self.0.interrupted.send_replace(true);
    }

    /// Completes when somebody has asked for that.
    pub(crate) async fn interrupted(&self) {
        let mut interrupted = self.0.interrupted.subscribe();
        // The sender lives as long as we do.
        let _ = interrupted.wait_for(|interrupted| *interrupted).await;
    }
}
