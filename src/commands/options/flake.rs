//! Which flake, and what takes the place of its inputs.

use crate::commands::usage;
use crate::prepare::Flake;

/// The flake that HOST is in.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct FlakeArguments {
    /// Flake that HOST is in
    #[arg(short, long, default_value = ".", value_name = "FLAKE")]
    flake: String,

    /// Use this in place of an input of the flake, as nix does
    #[arg(long, num_args = 2, value_names = ["NAME", "REF"], action = clap::ArgAction::Append)]
    override_input: Vec<String>,
}

impl FlakeArguments {
    /// Name and reference of each input that is replaced.
    fn overrides(&self) -> Result<Vec<(String, String)>, clap::Error> {
        let pairs = self.override_input.chunks(2).map(|pair| match pair {
            [name, reference] => Ok((name.clone(), reference.clone())),
            _ => Err(usage("--override-input: expected NAME REF")),
        });
        pairs.collect()
    }

    /// The flake with them.
    pub(in crate::commands) fn flake(self) -> Result<Flake, clap::Error> {
        Ok(Flake { overrides: self.overrides()?, reference: self.flake })
    }
}
