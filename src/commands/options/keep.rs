//! Options for what is not to be lost.

use crate::commands::usage;
use crate::plan::{ERASE_FIRMWARE, InstallOptions};
use crate::prepare::Sources;
use crate::secrets::{DiskKey, Source};

/// What stays on the target.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "What is kept")]
pub(in crate::commands) struct KeepArguments {
    /// Keep a pool of the layout, with all its disks, or a disk: by its name in the layout, or its path
    ///
    /// A kept pool is imported by its GUID. Its datasets stay, except for those that are the system (/, /nix, /var …):
    /// these are archived, which means renamed below landfall-archived in the same pool, and created again. Nothing is
    /// written to a kept disk but by the pool itself.
    #[arg(long, value_name = "POOL|DISK", value_delimiter = ',')]
    keep: Vec<String>,

    /// Put the key of an encrypted pool or disk into the file REMOTE, in the installer's memory; LOCAL is a file, '|COMMAND',
    /// or - to be asked for the key, or to read it from stdin
    #[arg(
        long,
        num_args = 2,
        value_names = ["REMOTE", "LOCAL"],
        action = clap::ArgAction::Append,
        allow_hyphen_values = true
    )]
    disk_encryption_keys: Vec<String>,

    /// Let the layout overwrite the boot loader on a board's eMMC or SD card, which is otherwise refused
    #[arg(long)]
    erase_firmware: bool,
}

impl KeepArguments {
    /// The options and sources with what is kept.
    pub(in crate::commands) fn read(
        self,
        options: InstallOptions,
        sources: Sources,
    ) -> Result<(InstallOptions, Sources), clap::Error> {
        let keys = self.disk_encryption_keys.chunks(2).map(|pair| match pair {
            [remote, local] => DiskKey::parse(remote, local)
                .map_err(|why| usage(format!("--disk-encryption-keys {remote}: {why}"))),
            _ => Err(usage("--disk-encryption-keys: expected REMOTE LOCAL")),
        });
        let disk_keys: Vec<DiskKey> = keys.collect::<Result<_, _>>()?;
        let from_stdin = disk_keys.iter().map(|key| &key.from);
        let from_stdin = from_stdin.chain(sources.extra.files.iter().map(|file| &file.from));
        if from_stdin.filter(|from| **from == Source::Stdin).count() > 1 {
            return Err(usage("--disk-encryption-keys: stdin can be read once only"));
        }
        Ok((InstallOptions { keep: self.keep, ..options }, Sources { disk_keys, ..sources }))
    }

    /// The findings that the user takes upon themselves, of those that were named and by these options.
    pub(in crate::commands) fn accepting(&self, mut accept: Vec<String>) -> Vec<String> {
        accept.extend(self.erase_firmware.then(|| ERASE_FIRMWARE.to_owned()));
        accept
    }
}
