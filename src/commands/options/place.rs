//! HOST and TARGET: `nas root@10.0.0.5`, `.#nas root@10.0.0.5`, or `--flake .#nas root@10.0.0.5`.

use super::flake::FlakeArguments;
use crate::commands::usage;
use crate::facts::HostRef;
use crate::machine::Destination;
use crate::prepare::Flake;

/// HOST, for a command without a target.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct HostArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    #[arg(required_unless_present = "flake")]
    host: Option<String>,

    #[command(flatten)]
    flake: FlakeArguments,
}

/// HOST and TARGET.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct PlaceArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    #[arg(required_unless_present = "flake")]
    host: Option<String>,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    #[arg(required_unless_present = "flake")]
    target: Option<Destination>,

    #[command(flatten)]
    flake: FlakeArguments,
}

/// HOST, and TARGET if it is to be looked at.
#[derive(Debug, clap::Args)]
pub(in crate::commands) struct PerhapsPlaceArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    #[arg(required_unless_present = "flake")]
    host: Option<String>,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Option<Destination>,

    #[command(flatten)]
    flake: FlakeArguments,
}

impl HostArguments {
    /// Which host of which flake.
    pub(in crate::commands) fn read(self) -> Result<(HostRef, Flake), clap::Error> {
        let (flake, named) = self.flake.read()?;
        Ok((one_host(self.host.as_deref(), named)?, flake))
    }
}

impl PlaceArguments {
    /// Which host of which flake, and where.
    pub(in crate::commands) fn read(self) -> Result<(HostRef, Flake, Destination), clap::Error> {
        let (flake, named) = self.flake.read()?;
        let (host, target) = match (self.host, self.target) {
            // With a host in --flake, one word is the target.
            (Some(word), None) if named.is_some() => (None, Some(target(&word)?)),
            words => words,
        };
        let host = one_host(host.as_deref(), named)?;
        let target = target.ok_or_else(|| usage(format!("on which TARGET is {host}?")))?;
        Ok((host, flake, target))
    }
}

impl PerhapsPlaceArguments {
    /// Which host of which flake, and where, if that was said.
    pub(in crate::commands) fn read(
        self,
    ) -> Result<(HostRef, Flake, Option<Destination>), clap::Error> {
        let (flake, named) = self.flake.read()?;
        let (host, target) = match (self.host, self.target, &named) {
            // With a host in --flake, one word is the target, unless it names that host again.
            (Some(word), None, Some(named)) if !is_same(&word, named) => {
                (None, Some(target(&word)?))
            }
            (host, target, _) => (host, target),
        };
        Ok((one_host(host.as_deref(), named)?, flake, target))
    }
}

/// The host that the command line names, perhaps twice.
fn one_host(word: Option<&str>, named: Option<HostRef>) -> Result<HostRef, clap::Error> {
    match (word, named) {
        (Some(word), Some(named)) if is_same(word, &named) => Ok(named),
        (Some(word), Some(named)) => Err(usage(format!(
            "HOST is '{word}', and --flake names '{}': leave one of them out",
            named.attribute
        ))),
        (Some(word), None) => word.parse().map_err(usage),
        (None, Some(named)) => Ok(named),
        (None, None) => Err(usage("which HOST of the flake?")),
    }
}

/// Whether a word is that host, of the flake that it names itself or of the same one.
fn is_same(word: &str, named: &HostRef) -> bool {
    word.parse::<HostRef>().is_ok_and(|host| {
        host.attribute == named.attribute && (host.flake.is_none() || host.flake == named.flake)
    })
}

fn target(word: &str) -> Result<Destination, clap::Error> {
    word.parse().map_err(|why| usage(format!("TARGET '{word}': {why}")))
}
