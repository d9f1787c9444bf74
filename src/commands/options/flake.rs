//! Which flake, and what takes the place of its inputs.

use crate::commands::usage;
use crate::facts::HostRef;
use crate::prepare::Flake;

/// The flake that HOST is in.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct FlakeArguments {
    /// Flake that HOST is in; with FLAKE#HOST here, leave HOST out
    #[arg(short, long, default_value = ".", value_name = "FLAKE")]
    flake: String,

    /// Use the flake REF in place of the input NAME, as `nix` does
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

    /// The flake with them, and the host, if --flake names one.
    pub(super) fn read(self) -> Result<(Flake, Option<HostRef>), clap::Error> {
        let overrides = self.overrides()?;
        if !self.flake.contains('#') {
            return Ok((Flake { overrides, reference: self.flake }, None));
        }
        let named: HostRef = self.flake.parse().map_err(|why| usage(format!("--flake: {why}")))?;
        let reference = named.flake(".").to_owned();
        Ok((Flake { overrides, reference }, Some(named)))
    }
}
