//! An install, in the order it happens: declared and found → decided → agreed → done.

use crate::facts::{HostFacts, HostRef, TargetFacts};
use crate::machine::{
    ConnectError, ConnectErrorKind, HostKeys, Image, ImageSource, Login, Script, Target,
};
use crate::nix::Nix;
use crate::plan::{self, Plan, WipeConsent, Wishes};
use crate::report::{self, Exit, Failure, Report, Summary, Tally};
use crate::steps::{self, Situation, World};
use anyhow::Context;
use std::time::Duration;

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: String,
    /// How to log in to the target.
    pub login: Login,
    /// The kexec image, if one was given.
    pub image: Option<ImageSource>,
    /// The digest the image must have, in hexadecimal.
    pub image_sha256: Option<String>,
    /// Further wishes.
    pub wishes: Wishes,
    /// Whether consent was given on the command line.
    pub yes: bool,
    /// How long a boot may take.
    pub boot_deadline: Duration,
    /// Run on the target after each login to a system that is not yet the installed one, before anything
    /// is read from it.
    pub prepare: Vec<Script>,
}

/// The workstation's tools, and what their use costs.
#[derive(Debug, Clone)]
pub struct Workstation {
    /// The workstation's Nix.
    pub nix: Nix,
    tally: Tally,
}

impl Workstation {
    /// Finds the programs that everything rests on.
    pub fn find() -> Result<Self, Failure> {
        let missing = |error: anyhow::Error, hint: &str| {
            Failure::new(Exit::Other, "a program is missing on this machine")
                .because(error)
                .hint(hint)
        };
        which::which("ssh")
            .context("there is no `ssh` in PATH")
            .map_err(|error| missing(error, "install OpenSSH's client"))?;
        let tally = Tally::default();
        let nix = Nix::find(tally.clone()).map_err(|error| {
            missing(error, "install Nix (https://nixos.org/download), or enter a shell that has it")
        })?;
        Ok(Self { nix, tally })
    }
}

/// Installs a host on a target, and proves it.
pub async fn install(
    request: &Request,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let workstation = Workstation::find()?;
    let declared = async {
        // While `ssh` may be asking the user something, nothing else moves on the terminal.
        if !request.login.may_ask {
            report.doing(format!("evaluating {}", request.host));
        }
        HostFacts::gather(&workstation.nix, &request.host, &request.flake).await
    };
    let (host, met) = tokio::try_join!(declared, meet(request, report, &workstation.tally))?;
    let summary = decide_and_do(request, workstation, host, met, report, situation).await?;
    if !request.wishes.copy_host_keys {
        tell_new_host_key(request, report);
    }
    Ok(summary)
}

/// The same, for a host that was evaluated already.
pub async fn install_declared(
    request: &Request,
    workstation: Workstation,
    host: HostFacts,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let met = meet(request, report, &workstation.tally).await?;
    decide_and_do(request, workstation, host, met, report, situation).await
}

async fn decide_and_do(
    request: &Request,
    Workstation { nix, tally }: Workstation,
    host: HostFacts,
    Met { target, found, image }: Met,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    for warning in host.warnings.iter().flatten() {
        report.note(format!("the flake warns: {warning}"));
    }
    let plan = plan::make(&host, &found, target.destination(), image, &request.wishes)?;
    let consent = consent(&plan, request.yes, report).await?;
    let world = World::new(
        nix,
        target,
        found,
        consent,
        request.boot_deadline,
        report.clone(),
        tally,
        situation.clone(),
    );
    steps::carry_out(&plan, world).await
}

/// What the user's own `ssh` will stumble over next.
fn tell_new_host_key(request: &Request, report: &Report) {
    let forget = request.login.destination.forget_by_hand();
    report.note(format!("its host key is new: forget the old one with `{forget}`"));
}

/// The target, as it was met.
struct Met {
    target: Target,
    found: TargetFacts,
    image: Option<Image>,
}

/// Logs in, looks around, and fetches the image if one is needed.
async fn meet(request: &Request, report: &Report, tally: &Tally) -> Result<Met, Failure> {
    let destination = &request.login.destination;
    let target =
        Target::connect(request.login.clone(), request.prepare.clone(), tally.clone()).await;
    let target = target.map_err(|error| not_connected(&request.login, error))?;
    report.doing(format!("looking at {destination}"));
    let found = TargetFacts::gather(&target).await.map_err(|error| {
        Failure::new(Exit::Connect, format!("{destination} could not be looked at")).because(error)
    })?;
    let image = match &request.image {
        Some(source) if !found.is_installer() => {
            let image = obtain_image(source, request.image_sha256.as_deref(), report).await?;
            report.note(format!(
                "kexec image: {}, SHA-256 {}",
                report::size(image.size),
                image.sha256
            ));
            Some(image)
        }
        _ => None,
    };
    Ok(Met { target, found, image })
}

/// Fetches the kexec image, or says why it cannot be used.
pub async fn obtain_image(
    source: &ImageSource,
    sha256: Option<&str>,
    report: &Report,
) -> Result<Image, Failure> {
    Image::obtain(source, sha256, report).await.map_err(|error| {
        Failure::new(Exit::Refused, "the kexec image cannot be used").because(error).hint(
            "an image is a tarball of nix-community/nixos-images, or one with the same layout",
        )
    })
}

fn not_connected(login: &Login, error: ConnectError) -> Failure {
    let destination = &login.destination;
    let (host, by_hand) = (&destination.host, destination.by_hand());
    let (exit, what, hint) = match error.kind {
        ConnectErrorKind::Unresolved => (
            Exit::Connect,
            format!("{host} has no address"),
            "check the name, or give the address".to_owned(),
        ),
        ConnectErrorKind::Refused | ConnectErrorKind::Unreachable | ConnectErrorKind::Dropped => (
            Exit::Connect,
            format!("{destination} cannot be reached"),
            "is it up, in this network, and does sshd listen there?".to_owned(),
        ),
        ConnectErrorKind::Denied => (
            Exit::Connect,
            format!("{destination} does not let us in"),
            format!("try `{by_hand}`; a key is given with -i, a user as user@{host}"),
        ),
        ConnectErrorKind::NeedsAnswers => (
            Exit::Connect,
            format!("{destination} lets us in only with an answer from you"),
            "landfall logs in again after each boot, when nobody may be there to answer: put the key into \
             your agent (ssh-add), or give one without a passphrase with -i"
                .to_owned(),
        ),
        ConnectErrorKind::UnknownHostKey => (
            Exit::Identity,
            format!("the host key of {destination} is not known"),
            "compare it with the machine's own (on its console: \
             ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then log in once by hand, or give it \
             with --host-key"
                .to_owned(),
        ),
        ConnectErrorKind::HostKeyChanged => (
            Exit::Identity,
            format!("{destination} has another host key than expected"),
            match &login.host_keys {
                HostKeys::Known => format!(
                    "if the machine was reinstalled, forget the old key with `{}`; if not, this is \
                     another machine",
                    destination.forget_by_hand()
                ),
                HostKeys::Pinned(_) => {
                    "compare --host-key with the machine's own key; if it is right, this is another machine"
                        .to_owned()
                }
            },
        ),
        ConnectErrorKind::Other => (
            Exit::Connect,
            format!("there is no connection to {destination}"),
            format!("try `{by_hand}`"),
        ),
    };
    Failure::new(exit, what).because(error).hint(hint)
}

/// Asks, unless consent was given already; says what will be erased either way.
async fn consent(plan: &Plan, yes: bool, report: &Report) -> Result<WipeConsent, Failure> {
    for line in plan.erases().lines() {
        report.note(line.to_owned());
    }
    if yes {
        return Ok(plan.consent_by_flag());
    }
    if !report::is_interactive() {
        return Err(Failure::new(Exit::Consent, "nobody has agreed that these disks are erased")
            .hint("there is no terminal to ask on: give --yes"));
    }
    report.pause();
    let question = plan.question();
    // On a thread of its own, so that Ctrl-C is heard while it waits.
    let answer = tokio::task::spawn_blocking(move || report::ask(&question)).await;
    let answer = answer.ok().flatten().unwrap_or_default();
    plan.consent_typed(&answer)
        .ok_or_else(|| Failure::new(Exit::Consent, "declined: the host's name was not typed"))
}
