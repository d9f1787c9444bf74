//! `landfall install`, in the order it happens: prepared → planned → agreed → done.

mod consent;

use super::check::CheckRequest;
use super::options::{acceptable, deadlines, keep, login, place, sha256, supplies};
use super::{Command, Invocation};
use crate::facts::{HostFacts, InstalledFacts};
use crate::journal::{self, Invoked, Journal, Key, Record};
use crate::machine::{ImageSource, KnownAs};
use crate::paths::of_one_run;
use crate::plan::{Agreement, InstallOptions};
use crate::prepare::{Contact, Prepared, Purpose, Request, TargetRequest, Workstation, prepare};
use crate::report::{Exit, Failure, Report, StepName, Summary, is_interactive};
use crate::steps::{self, State, TargetState, World};
use std::path::PathBuf;

/// How a flake with private inputs is installed; shown below the options.
pub(in crate::commands) const WAYS: &str = "\
A flake with private inputs is installed in one of three ways:
  (default)             this workstation does all; the target gets no agent
  --build-on target     the target builds; it gets no agent
  --evaluate-on target  the target does all; it may use your agent to fetch them
Each input is proven to be fetchable before a disk is touched.";

/// Install HOST on TARGET: kexec, disks, system, reboot, proof
///
/// TARGET may run any Linux that you can log in to. It is taken into an installer that runs from memory, the disks of
/// the flake's own disko layout are erased and laid out, the system is installed, and the machine restarts and is seen
/// running what the flake declares. Before anything is erased you see the plan and are asked. After a failure or an
/// interruption, run the same command again: it continues where it stopped.
#[derive(Debug, clap::Args)]
#[command(after_help = WAYS)]
pub(in crate::commands) struct InstallArguments {
    #[command(flatten)]
    place: place::PlaceArguments,

    /// Only check, as `landfall check` does; all other options count, except consent, --restart and --report
    #[arg(long)]
    dry_run: bool,

    /// Forget an earlier run that has not finished: start over, and ask for consent again
    #[arg(long)]
    restart: bool,

    /// Accept a finding, by its code, and continue (only findings that allow it)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = acceptable)]
    accept: Vec<String>,

    /// Image that takes the target into the installer: a tarball of nix-community/nixos-images
    #[arg(long, value_name = "FILE|URL")]
    kexec: Option<ImageSource>,

    /// SHA-256 that the image must have
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    kexec_sha256: Option<String>,

    /// More options for `kexec --load` on the target
    #[arg(
        long,
        value_name = "FLAGS",
        default_value = "",
        hide_default_value = true,
        allow_hyphen_values = true
    )]
    kexec_extra_flags: String,

    /// Let the installed system keep the host keys that the target has now
    #[arg(long, conflicts_with = "host_key_file")]
    copy_host_keys: bool,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    /// Write a report of what was planned, done and seen to this file, as JSON
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,

    #[command(flatten)]
    consent: ConsentArguments,

    #[command(flatten)]
    keep: keep::KeepArguments,

    #[command(flatten)]
    supplies: supplies::SupplyArguments,

    #[command(flatten)]
    login: login::LoginArguments,

    #[command(flatten)]
    deadlines: deadlines::DeadlineArguments,
}

/// How to agree to the loss of what is on the disks; on a terminal the host's name is asked for.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Consent")]
#[group(multiple = false)]
struct ConsentArguments {
    /// Agree to exactly the plan with this digest, which `landfall check` shows
    #[arg(long, value_name = "DIGEST", value_parser = digest)]
    plan_digest: Option<String>,

    /// Agree to erase exactly the disks with these serial numbers
    #[arg(long, value_name = "SERIAL", value_delimiter = ',')]
    erase: Vec<String>,

    /// Agree to erase whatever disks the layout names
    #[arg(short, long)]
    yes: bool,
}

impl ConsentArguments {
    fn agreement(self) -> Agreement {
        match self {
            Self { plan_digest: Some(digest), .. } => Agreement::Digest(digest),
            Self { yes: true, .. } => Agreement::Yes,
            Self { erase, .. } if erase.is_empty() => Agreement::Ask,
            Self { erase, .. } => Agreement::Serials(erase.into_iter().collect()),
        }
    }
}

impl InstallArguments {
    pub(in crate::commands) fn invocation(self) -> Result<Invocation, clap::Error> {
        let (host, flake, destination) = self.place.read()?;
        let (name, target) = (host.to_string(), destination.to_string());
        let may_ask = is_interactive() && !self.json;
        let agreement = self.consent.agreement();
        let options = InstallOptions {
            kexec_extra_flags: self.kexec_extra_flags,
            copy_host_keys: self.copy_host_keys,
            accept: self.keep.accepting(self.accept),
            ..InstallOptions::default()
        };
        let (options, sources) = self.supplies.read(options, may_ask)?;
        let (options, sources) = self.keep.read(options, sources)?;
        let target_request = TargetRequest {
            login: self.login.login(destination, may_ask, self.deadlines.deadlines())?,
            // Somebody must be able to agree to its host key; a check only shows it.
            accepts_first_contact: self.dry_run
                || may_ask
                || matches!(agreement, Agreement::Digest(_)),
            image: self.kexec,
            image_sha256: self.kexec_sha256,
            prepare: Vec::new(),
        };
        let install = Request { host, flake, options, sources };
        if self.dry_run {
            let request = CheckRequest {
                install,
                target: Some(target_request),
                install_line: None,
                namesakes: false,
            };
            let (command, json) = (Command::Check(Box::new(request)), self.json);
            return Ok(Invocation { command, host: name, target, json, summary_file: None });
        }
        let request = InstallRequest {
            install,
            target: target_request,
            agreement,
            restart: self.restart,
            journals: None,
        };
        let command = Command::Install(Box::new(request));
        let (json, summary_file) = (self.json, self.report);
        Ok(Invocation { command, host: name, target, json, summary_file })
    }
}

/// The first digits are enough for people, but not to agree to anything.
fn digest(text: &str) -> Result<String, String> {
    if text.len() == 32 && text.chars().all(|c| c.is_ascii_hexdigit()) {
        Ok(text.to_lowercase())
    } else {
        Err("expected 32 hexadecimal digits, as `landfall check` shows them".to_owned())
    }
}

/// The command line, read and checked.
#[derive(Debug, Clone)]
pub struct InstallRequest {
    /// What is to be installed: host, flake, options.
    pub install: Request,
    /// The machine, how to log in to it, and the kexec image.
    pub target: TargetRequest,
    /// How the user agrees to what is erased.
    pub(crate) agreement: Agreement,
    /// Whether an unfinished run is to be forgotten.
    pub(crate) restart: bool,
    /// Where the journal is kept, if not with those of real machines.
    pub(crate) journals: Option<PathBuf>,
}

/// Installs a host on a target, proves it, and says what to change in known_hosts.
pub async fn install(
    request: &InstallRequest,
    report: &Report,
    target_state: &TargetState,
) -> Result<Summary, Failure> {
    let workstation = Workstation::find(&request.install.flake)?;
    let installing = Box::pin(run(request, workstation, None, report, target_state));
    let (summary, known_as) = installing.await?;
    tell_host_keys(request, &known_as, &summary, report);
    Ok(summary)
}

/// The same without the lines for known_hosts, for a rehearsal, which may have evaluated the host already.
pub(in crate::commands) async fn run(
    request: &InstallRequest,
    workstation: Workstation,
    host: Option<HostFacts>,
    report: &Report,
    target_state: &TargetState,
) -> Result<(Summary, KnownAs), Failure> {
    let work = Box::pin(decide_and_do(request, workstation, host, report, target_state));
    of_one_run(work).await
}

/// Prepare → plan → consent → steps.
async fn decide_and_do(
    request: &InstallRequest,
    workstation: Workstation,
    host: Option<HostFacts>,
    report: &Report,
    target_state: &TargetState,
) -> Result<(Summary, KnownAs), Failure> {
    let mut journal = open_journal(request)?;
    target_state.is_now(state_before(journal.record()));
    let InstallRequest { install, target, agreement, .. } = request;
    let purpose = Purpose::Install(journal.record());
    let preparing = Box::pin(prepare(install, Some(target), purpose, workstation, host, report));
    let mut prepared = preparing.await?;
    let contact = prepared.contact.take();
    let contact = contact.ok_or_else(|| Failure::new(Exit::Other, "there is no target"))?;

    let known_as = contact.target.known_as().clone();
    let installed = is_installed(&journal, &prepared, &contact).await?;
    let mut unfinished = journal.record().unfinished(&contact.found.boot);
    unfinished.left |= installed;
    let plan = prepared.plan(&contact, unfinished, report).await?;
    let consent =
        consent::of_before(&plan, &journal, &prepared.host, installed, agreement, report)?;
    let consent = if let Some(consent) = consent {
        journal.resume(Invoked::by(report)).map_err(cannot_write)?;
        consent
    } else {
        let consent = consent::ask(&plan, agreement, report).await?;
        let first_keys = contact.first_keys.clone();
        let begun = journal.anew(consent.agreed().clone(), first_keys, Invoked::by(report));
        begun.map_err(cannot_write)?;
        consent
    };
    let world =
        World::new(prepared, contact, installed, Some(consent), journal, report, target_state);
    let summary = Box::pin(steps::carry_out(&plan, world)).await?;
    Ok((summary, known_as))
}

/// In which state an unfinished run has left the target, by its journal: all that is known before the target is seen.
fn state_before(record: &Record) -> State {
    match record {
        record if !record.is_unfinished() => State::Untouched,
        record if record.has_begun(StepName::Reboot) => State::Restarting,
        record if record.has_finished(StepName::Install) => State::Installed,
        record if record.wiping => State::ErasedBefore,
        record if record.has_begun(StepName::Kexec) => State::Leaving,
        record if record.has_begun(StepName::Build) => State::ImageSent,
        _ => State::Untouched,
    }
}

fn open_journal(request: &InstallRequest) -> Result<Journal, Failure> {
    let InstallRequest { install, target, .. } = request;
    let key = Key::of(&install.host, &install.flake.reference, &target.login.destination);
    let directory = request.journals.clone().map_or_else(journal::directory, Ok);
    let open = if request.restart { Journal::open_anew } else { Journal::open };
    let journal = directory.and_then(|directory| open(&directory, &key));
    let mut journal = journal.map_err(|error| {
        let anew =
            "--restart starts over; a journal that cannot be read is kept under another name";
        journal::not_opened(error, anew)
    })?;
    if request.restart {
        journal.forget();
    }
    Ok(journal)
}

/// Whether what answers is the system that an earlier run of this very plan has installed.
async fn is_installed(
    journal: &Journal,
    prepared: &Prepared,
    contact: &Contact,
) -> Result<bool, Failure> {
    let record = journal.record();
    if prepared.host_key.as_ref().is_some_and(|key| !record.installed_keys.contains(&key.public)) {
        return Ok(false);
    }
    let planned = prepared.host.toplevel.as_ref().map(|toplevel| toplevel.out.as_str());
    let agreed = record.agreed.as_ref().map(|agreed| agreed.terms.toplevel.as_str());
    // It is enough that the step has begun: a power cut may have come after its last write, and before anybody saw it end.
    if contact.found.is_installer() || !record.has_begun(StepName::Install) || planned != agreed {
        return Ok(false);
    }
    let seen = InstalledFacts::gather(&contact.target, &[]).await.map_err(|error| {
        Failure::new(Exit::Connect, "the target could not be looked at").because(error)
    })?;
    Ok(Some(seen.toplevel.as_str()) == planned)
}

fn cannot_write(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Other, "the journal cannot be written").because(error)
}

/// The user's own `ssh` would refuse the new host key: says which line forgets the old one, and which adds the new one.
fn tell_host_keys(
    request: &InstallRequest,
    known_as: &KnownAs,
    summary: &Summary,
    report: &Report,
) {
    if !request.install.options.copy_host_keys {
        let forget = known_as.forget_by_hand();
        report.note(format!("the host key is new: forget the old one with `{forget}`"));
    }
    for key in &summary.host_keys {
        report.note(format!("for your known_hosts: {}", known_as.known_hosts_line(key)));
    }
}
