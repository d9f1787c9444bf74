//! What is there before anything is decided: what the flake declares, what the target is.
//! Nothing here changes a byte anywhere, or decides.

mod amount;
mod board;
mod boot_loader;
mod disk;
mod extent;
mod host;
mod host_ref;
mod installed;
mod layout;
mod pools;
mod probe;
mod scan;
mod storage;
mod target;
mod workstation;
mod zfs_label;
mod zpool;

pub use amount::zfs_amount;
pub use board::{FaultyPort, FirmwareRegion, is_card};
pub use boot_loader::{BootLoader, EfiProgram, Firmware};
pub use disk::{Disk, Volume, is_in_new_root};
pub use extent::{DoesNotFit, Extent};
pub use host::{DeclaredHostKey, DiskoScript, HostFacts};
pub use host_ref::HostRef;
pub use installed::{InstalledFacts, Mount, Properties};
pub use layout::{
    DeclaredDisk, DeclaredFileSystem, DeclaredFirmware, DeclaredLogins, DeclaredPartition,
    DeclaredPool, DeclaredSecret, Kept,
};
pub use pools::{SeenPool, pools};
pub use scan::{Scan, ScanKind};
pub use storage::{Smart, StorageFacts};
pub use target::{ImagePlace, ImportedPool, Link, LinkKind, TargetFacts};
pub use workstation::{Builder, WorkstationFacts};
pub use zfs_label::{LabelVdev, ZfsLabel};
pub use zpool::{Class, PoolStatus, TopVdev, VdevStatus};
