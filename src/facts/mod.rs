//! What is there before anything is decided: what the flake declares, what the target is.
//! Nothing here changes a byte anywhere, or decides.

mod amount;
mod board;
mod boot_loader;
mod devices;
mod disk;
pub(crate) mod disk_driver;
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

pub(crate) use amount::zfs_amount;
pub(crate) use board::{FirmwareRegion, is_card};
pub(crate) use boot_loader::{BootDirectory, BootLoader, EfiProgram, Firmware};
#[cfg(test)]
pub(crate) use boot_loader::{DeclaredFirmware, DeclaredMirror};
pub(crate) use devices::Device;
pub(crate) use disk::{Disk, Volume, is_in_new_root};
pub(crate) use extent::Extent;
pub use host::HostFacts;
pub(crate) use host::{DeclaredHostKey, DiskoScript};
pub(crate) use host_ref::HostRef;
pub use installed::InstalledFacts;
#[cfg(test)]
pub(crate) use installed::Mount;
#[cfg(test)]
pub(crate) use layout::Kept;
pub(crate) use layout::{
    DeclaredDisk, DeclaredFileSystem, DeclaredLogins, DeclaredPartition, DeclaredPool,
    DeclaredSecret,
};
pub(crate) use pools::SeenPool;
pub use pools::pools;
pub(crate) use scan::{Scan, ScanKind};
pub use storage::StorageFacts;
#[cfg(test)]
pub(crate) use target::ImagePlace;
#[cfg(test)]
pub(crate) use target::ImportedPool;
pub(crate) use target::Link;
pub use target::{LinkKind, TargetFacts};
#[cfg(test)]
pub(crate) use workstation::Builder;
pub(crate) use workstation::WorkstationFacts;
pub(crate) use zfs_label::ZfsLabel;
#[cfg(test)]
pub(crate) use zpool::Class;
pub(crate) use zpool::{PoolStatus, TopVdev, VdevStatus};
