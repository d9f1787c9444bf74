//! Options for files that the installed system has from its first boot on.

use crate::commands::usage;
use crate::secrets::{Extra, Ownership, SecretFile, Source};
use std::path::PathBuf;

/// What is placed in the new root before the system is made the one that boots.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Files for the first boot")]
pub(in crate::commands) struct FileArguments {
    /// Place the content of a directory in the new root, owned by root, with the modes it has
    #[arg(long, value_name = "DIR")]
    extra_files: Vec<PathBuf>,

    /// Place a file: LOCAL is a path, - for stdin or '|COMMAND'; MODE is 0600 if not given; UID and GID may be
    /// names of the installed system; write \: for a colon in a name
    #[arg(long, value_name = "LOCAL:REMOTE[:MODE[:UID:GID]]", allow_hyphen_values = true)]
    secret_file: Vec<SecretFile>,

    /// Give a path in the new root, and all below it, this owner
    #[arg(long, num_args = 2, value_names = ["PATH", "USER:GROUP"], action = clap::ArgAction::Append)]
    chown: Vec<String>,
}

impl FileArguments {
    pub(in crate::commands) fn extra(self) -> Result<Extra, clap::Error> {
        let Self { extra_files: trees, secret_file: files, chown } = self;
        if files.iter().filter(|file| file.from == Source::Stdin).count() > 1 {
            return Err(usage("--secret-file: stdin can be read once only"));
        }
        let owners = chown.chunks(2).map(|pair| match pair {
            [path, owner] => Ownership::parse(path, owner)
                .map_err(|why| usage(format!("--chown {path} {owner}: {why}"))),
            _ => Err(usage("--chown: expected PATH USER:GROUP")),
        });
        Ok(Extra { trees, files, owners: owners.collect::<Result<_, _>>()? })
    }
}
