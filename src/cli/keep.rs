//! Options for what is not to be lost.

use crate::plan::ERASE_FIRMWARE;

/// What stays on the target.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is kept")]
pub(super) struct KeepArguments {
    /// Keep a pool of the layout, with all its disks, or a disk: by its name in the layout, or its path
    ///
    /// A kept pool is imported by its GUID. Its data sets stay, but for those that are the system (/, /nix, /var …): they
    /// are renamed below landfall-aside in the same pool, and created anew. Nothing on a kept disk is laid out.
    #[arg(long, value_name = "POOL|DISK", value_delimiter = ',')]
    pub(super) keep: Vec<String>,

    /// Let the layout write over the boot loader on a board's eMMC or SD card: it is compared before and after otherwise
    #[arg(long)]
    erase_firmware: bool,
}

impl KeepArguments {
    /// The findings that the user takes upon themselves, of those that were named and by these options.
    pub(super) fn accepting(&self, mut accept: Vec<String>) -> Vec<String> {
        accept.extend(self.erase_firmware.then(|| ERASE_FIRMWARE.to_owned()));
        accept
    }
}
