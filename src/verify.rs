//! A verification: is that machine what the flake says?

use crate::facts::{HostFacts, HostRef, InstalledFacts};
use crate::install::Workstation;
use crate::machine::Login;
use crate::meet::log_in_to_installed;
use crate::plan::Expected;
use crate::report::{Event, Exit, Failure, Report};

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct VerifyRequest {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: String,
    /// What takes the place of its inputs: name and reference.
    pub overrides: Vec<(String, String)>,
    /// How to log in to the target.
    pub login: Login,
}

/// Compares what runs with what the flake declares.
pub async fn verify(request: &VerifyRequest, report: &Report) -> Result<(), Failure> {
    let workstation = Workstation::find()?.overriding(&request.overrides);
    let (login, tally) = (&request.login, workstation.tally.clone());
    let nix = workstation.nix.read_only();
    let declared = HostFacts::gather(&nix, &request.host, &request.flake);
    let connected = async { log_in_to_installed(login, &request.host, &tally).await };
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
            .hint("deploy the flake's system, or mend the flake; then verify again"));
    }
    report.emit(Event::Verified { toplevel: seen.toplevel, pools: seen.pools });
    Ok(())
}
