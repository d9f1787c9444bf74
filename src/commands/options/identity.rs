//! Options for the host key that is brought along; flattened into the subcommands that install or look ahead to it.

use crate::secrets::KeySource;
use std::path::PathBuf;

/// Which host key the machine gets, and what opens it.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Host key")]
pub(in crate::commands) struct IdentityArguments {
    /// Private SSH host key for the machine, plain or encrypted with age, instead of the one that `landfall keys
    /// create` has made for HOST
    #[arg(long, value_name = "FILE")]
    host_key_file: Option<PathBuf>,

    /// Your private key that opens the host key, if not ~/.ssh/id_ed25519, ~/.ssh/id_rsa or ~/.config/age/keys.txt
    #[arg(long = "age-identity", value_name = "FILE")]
    age_identities: Vec<PathBuf>,
}

impl IdentityArguments {
    pub(in crate::commands) fn source(self, may_ask: bool) -> KeySource {
        KeySource { file: self.host_key_file, identities: self.age_identities, may_ask }
    }
}
