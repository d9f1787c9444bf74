//! Options for where the system is evaluated and built.

use crate::commands::usage;
use crate::plan::BuildOn;

/// Where the system is evaluated and built.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Evaluating and building")]
pub(in crate::commands) struct BuildArguments {
    /// Who builds: this workstation, a remote builder of its Nix, or the target once its disks are laid out
    #[arg(long, value_name = "WHERE", default_value = "auto")]
    build_on: WhereToBuild,

    /// Who evaluates what is built: this workstation; or the target, which may use your SSH agent to fetch the
    /// flake's private inputs, and then builds the system too
    #[arg(long, value_name = "WHERE", default_value = "workstation")]
    evaluate_on: WhereToEvaluate,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum WhereToEvaluate {
    /// This workstation; no agent is forwarded
    Workstation,
    /// The target, in its installer
    Target,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum WhereToBuild {
    /// The first that can: this workstation, one of its builders, the target
    Auto,
    /// This workstation's Nix
    Local,
    /// A remote builder of this workstation's Nix
    Builder,
    /// The target
    Target,
}

impl BuildArguments {
    /// Whether the target evaluates.
    pub(in crate::commands) fn evaluates_there(&self) -> bool {
        self.evaluate_on == WhereToEvaluate::Target
    }

    /// Who builds: what the target has evaluated, it builds.
    pub(in crate::commands) fn build_on(&self) -> Result<BuildOn, clap::Error> {
        let on = match self.build_on {
            WhereToBuild::Auto if self.evaluates_there() => BuildOn::Target,
            WhereToBuild::Auto => BuildOn::Auto,
            WhereToBuild::Local => BuildOn::Local,
            WhereToBuild::Builder => BuildOn::Builder,
            WhereToBuild::Target => BuildOn::Target,
        };
        if self.evaluates_there() && on != BuildOn::Target {
            return Err(usage("--evaluate-on target: what the target evaluates, it builds"));
        }
        Ok(on)
    }
}
