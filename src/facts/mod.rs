//! What is there before anything is decided: what the flake declares, what the target is.
//! Nothing here changes a byte anywhere, or decides.

mod host;
mod installed;
mod target;

pub use host::{BootLoader, DeclaredDisk, DeclaredHostKey, DiskoScript, HostFacts, HostRef};
pub use installed::InstalledFacts;
pub use target::{Disk, TargetFacts};
