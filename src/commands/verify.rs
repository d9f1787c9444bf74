//! `landfall verify`: is that machine what the flake says?

use super::options::{login, place};
use super::{Command, Invocation};
use crate::facts::{HostFacts, HostRef, InstalledFacts};
use crate::journal::Key;
use crate::machine::Deadlines;
use crate::machine::Login;
use crate::plan::Expected;
use crate::prepare::{Flake, Workstation, log_in_to_installed};
use crate::report::is_interactive;
use crate::report::{Event, Exit, Failure, Report};

/// Compare TARGET with what the flake declares for HOST
///
/// Evaluates the flake, looks at the machine and compares the system, the host's name, pools and their properties,
/// file systems and failed units. Nothing is built or changed. The exit code is 11 if anything differs.
#[derive(Debug, clap::Args)]
pub(super) struct VerifyArguments {
    #[command(flatten)]
    place: place::PlaceArguments,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl VerifyArguments {
    pub(super) fn invocation(self) -> Result<Invocation, clap::Error> {
        let (host, flake, destination) = self.place.read()?;
        let (name, target) = (host.to_string(), destination.to_string());
        let may_ask = is_interactive() && !self.json;
        let login = self.login.login(destination, may_ask, Deadlines::default())?;
        let request = VerifyRequest { host, flake, login };
        let command = Command::Verify(Box::new(request));
        Ok(Invocation { command, host: name, target, json: self.json, summary_file: None })
    }
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// Which host.
    pub(crate) host: HostRef,
    /// The flake, for a host that names none.
    pub(crate) flake: Flake,
    /// How to log in to the target.
    pub(crate) login: Login,
}

/// Compares what runs with what the flake declares.
pub async fn verify(request: &VerifyRequest, report: &Report) -> Result<(), Failure> {
    let workstation = Workstation::find(&request.flake)?;
    let (login, metrics) = (&request.login, workstation.metrics.clone());
    let declared = HostFacts::gather(&workstation.nix, &request.host, &request.flake.reference);
    let key = Key::of(&request.host, &request.flake.reference, &login.destination);
    let connected = async { log_in_to_installed(login, &key, &metrics).await };
    let (host, (target, _)) = tokio::try_join!(declared, connected)?;
    let Some(expected) = Expected::of(&host) else {
        return Err(Failure::new(Exit::Refused, "the host has no system to compare with")
            .hint("`landfall check` says why"));
    };
    report.doing(format!("looking at {}", login.destination));
    let seen = InstalledFacts::gather(&target, &expected.zfs_names()).await.map_err(|error| {
        let what = format!("{} could not be looked at", login.destination);
        Failure::new(Exit::Connect, what).because(error)
    })?;
    let differences = expected.differences(&seen);
    if !differences.is_empty() {
        let what = format!("{} is not what the flake says", login.destination);
        let differences = anyhow::anyhow!("- {}", differences.join("\n- "));
        return Err(Failure::new(Exit::NotBack, what)
            .because(differences)
            .hint("deploy the flake's system, or fix the flake; then verify again"));
    }
    report.emit(Event::Verified { toplevel: seen.toplevel, pools: seen.pools });
    Ok(())
}
