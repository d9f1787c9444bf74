//! An install, in the order it happens: declared and found → decided → agreed → done.

mod arguments;

pub(super) use arguments::InstallArguments;

use crate::facts::{DeclaredHostKey, HostFacts, InstalledFacts, WorkstationFacts};
use crate::findings::{Finding, Severity};
use crate::journal::{self, Journal, Record};
use crate::machine::KnownAs;
use crate::nix::Nix;
use crate::plan::{self, Agreed, Agreement, Keys, Made, Plan, WipeConsent, Wishes};
use crate::prepare::contact::{Met, meet};
use crate::prepare::inputs::Inputs;
use crate::prepare::request::{Provisions, Request};
use crate::report::{self, Event, Exit, Failure, Report, Summary, Tally};
use crate::secrets::age::{Coming, HostKeys, Proof};
use crate::secrets::{Brought, DiskKeys, Files, HostKey, seal};
use crate::steps::{self, Seen, Situation, State, World};
use anyhow::Context;
use std::collections::BTreeMap;

/// The workstation's tools, and what their use costs.
#[derive(Debug, Clone)]
pub struct Workstation {
    /// The workstation's Nix.
    pub nix: Nix,
    /// What their use costs.
    pub tally: Tally,
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

    /// The same, that evaluates flakes with other inputs than they name.
    #[must_use]
    pub fn overriding(self, inputs: &[(String, String)]) -> Self {
        Self { nix: self.nix.overriding(inputs), ..self }
    }
}

/// Installs a host on a target, and proves it.
pub async fn install(
    request: &Request,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let workstation = Workstation::find()?.overriding(&request.overrides);
    let journal = open_journal(request)?;
    situation.is_now(state_before(journal.record()));
    let host_key = bring_host_key(request, report).await?;
    let declared = async {
        // While `ssh` may be asking the user something, nothing else moves on the terminal.
        if !request.login.may_ask {
            report.doing(format!("evaluating {}", request.host));
        }
        let (nix, keep) = (&workstation.nix, &request.provisions.keep);
        let host = HostFacts::gather_keeping(nix, &request.host, &request.flake, keep).await;
        host.map(|host| with_keys(host, &request.provisions))
    };
    let met = meet(request, journal.record(), report, &workstation.tally);
    let (host, met) = tokio::try_join!(declared, met)?;
    let known_as = met.target.known_as().clone();
    let summary = Box::pin(decide_and_do(
        request,
        workstation,
        journal,
        host_key,
        host,
        met,
        report,
        situation,
    ))
    .await?;
    tell_host_keys(request, &known_as, &summary, report);
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
    let journal = open_journal(request)?;
    let host_key = bring_host_key(request, report).await?;
    let met = meet(request, journal.record(), report, &workstation.tally).await?;
    Box::pin(decide_and_do(request, workstation, journal, host_key, host, met, report, situation))
        .await
}

/// In which state an unfinished run has left the target: all that is known until it is seen.
fn state_before(record: &Record) -> State {
    match record {
        record if !record.is_unfinished() => State::Untouched,
        record if record.has_begun("reboot") => State::Restarting,
        record if record.has_finished("install") => State::Installed,
        record if record.wiping => State::ErasedBefore,
        record if record.has_begun("kexec") => State::Leaving,
        record if record.has_begun("build") => State::ImageSent,
        _ => State::Untouched,
    }
}

fn open_journal(request: &Request) -> Result<Journal, Failure> {
    let target = request.login.destination.to_string();
    let directory = request.journals.clone().map_or_else(journal::directory, Ok);
    let open = if request.restart { Journal::open_anew } else { Journal::open };
    let journal =
        directory.and_then(|directory| open(&directory, &request.host.to_string(), &target));
    let mut journal = journal.map_err(|error| {
        Failure::new(Exit::Other, "the journal cannot be used")
            .because(error)
            .hint("--restart begins anew; a journal that cannot be read is kept beside the new one")
    })?;
    if request.restart {
        journal.forget();
    }
    Ok(journal)
}

/// The host key that the user has made for this host, opened while nothing has happened yet.
async fn bring_host_key(request: &Request, report: &Report) -> Result<Option<HostKey>, Failure> {
    let Some(stored) = request.provisions.host_key.find(&request.host.attribute).await? else {
        return Ok(None);
    };
    if request.wishes.copy_host_keys {
        report.note(format!("{} is left alone: --copy-host-keys", stored.path.display()));
        return Ok(None);
    }
    report.doing(format!("opening the host key {}", stored.path.display()));
    request.provisions.host_key.open(&stored, report).await.map(Some)
}

/// Proves which secrets the machine will open after such an install.
///
/// `present`: the target's host keys by their paths, where it was looked at.
pub fn prove(
    host: &HostFacts,
    brought: Option<&Brought>,
    wishes: &Wishes,
    files: &Files,
    present: Option<&BTreeMap<String, String>>,
) -> Proof {
    let host_keys = match brought {
        _ if wishes.copy_host_keys => HostKeys::Kept(present),
        Some(brought) => HostKeys::Brought(brought),
        None => HostKeys::Created,
    };
    let paths = host.identity_paths.iter().flatten();
    let placed = paths.filter_map(|path| Some((path.clone(), files.content(path)?))).collect();
    Proof::of(host, Coming { host_keys, placed: &placed })
}

/// Says which secrets will be opened, if there are any.
pub fn show_proof(proof: &Proof, report: &Report) {
    if let Some(text) = proof.text() {
        // Maps with text keys and nothing else: this cannot fail.
        let proof = serde_json::to_value(proof).unwrap_or_default();
        report.emit(Event::Proof { text, proof: Box::new(proof) });
    }
}

#[allow(clippy::too_many_arguments, reason = "all that was declared, found and wished for")]
async fn decide_and_do(
    request: &Request,
    Workstation { nix, tally }: Workstation,
    mut journal: Journal,
    host_key: Option<HostKey>,
    host: HostFacts,
    met: Met,
    report: &Report,
    situation: &Situation,
) -> Result<Summary, Failure> {
    let (files, wishes, placed) = gather_files(&request.provisions, &request.wishes, &host).await?;
    let host_key = placed.or(host_key);
    let wishes = Wishes { image_named: request.image_named(), ..wishes };
    let (inputs, wishes) = prove_inputs(request, &nix, report, wishes).await?;
    let disk_keys = DiskKeys::gather(&request.provisions.disk_keys, report).await;
    let disk_keys = disk_keys.map_err(|error| {
        Failure::new(Exit::Other, "a key of a disk cannot be had").because(error)
    })?;
    let installed = is_installed(&journal, &host, &met, host_key.as_ref()).await?;
    let mut unfinished = journal.record().unfinished(&met.found.boot);
    unfinished.left |= installed;
    let first_contact = met.first_contact();
    let view = plan::Met {
        destination: met.target.destination(),
        found: &met.found,
        first_contact: first_contact.as_deref(),
        unfinished,
    };
    let brought = host_key.as_ref().map(HostKey::brought);
    let proof = prove(&host, brought.as_ref(), &wishes, &files, Some(&met.found.host_keys));
    show_proof(&proof, report);
    let keys = Keys { brought: host_key.as_ref().map(|key| &*key.public), proof: &proof };
    let able = look_at_workstation(&nix, &host).await?;
    let plan = plan::make(&host, view, met.image.clone(), keys, &wishes, &able);
    let plan = plan.map_err(|findings| {
        report.emit_all(findings.iter().map(Finding::event));
        no_plan(&findings)
    })?;
    let consent = if installed {
        // Nothing will be erased any more: what runs is what was agreed to.
        journal
            .record()
            .agreed
            .as_ref()
            .map(|agreed| already_installed(&plan, agreed))
            .transpose()?
    } else {
        show(&plan, report);
        plan::refuse(&plan.findings, &plan.accepted)?;
        consent_of_before(&plan, &journal, &host, &request.agreement, report)
    };
    let consent = if let Some(consent) = consent {
        journal.go_on().map_err(cannot_write)?;
        consent
    } else {
        let consent = ask_for_consent(&plan, &request.agreement, report).await?;
        journal.anew(consent.agreed().clone(), met.first_keys).map_err(cannot_write)?;
        consent
    };
    let world = World {
        nix,
        host,
        target: met.target,
        found: met.found,
        installed,
        consent,
        accept: wishes.accept,
        authorized: wishes.authorize,
        host_key,
        disk_keys,
        inputs,
        files,
        journal,
        report: report.clone(),
        tally,
        situation: situation.clone(),
        seen: Seen::default(),
    };
    steps::carry_out(&plan, world).await
}

/// The host, where keys of disks are brought along.
pub fn with_keys(mut host: HostFacts, provisions: &Provisions) -> HostFacts {
    host.kept.keys = provisions.disk_keys.iter().map(|key| key.to.clone()).collect();
    host
}

/// What the workstation can build.
pub async fn look_at_workstation(nix: &Nix, host: &HostFacts) -> Result<WorkstationFacts, Failure> {
    let toplevel = host.toplevel.as_ref().map(|toplevel| &toplevel.out);
    WorkstationFacts::gather(nix, toplevel).await.map_err(|error| {
        Failure::new(Exit::Other, "this workstation's Nix does not tell its settings")
            .because(error)
    })
}

/// What evaluating on the target takes, proven, and the wishes that tell of it.
pub async fn prove_inputs(
    request: &Request,
    nix: &Nix,
    report: &Report,
    wishes: Wishes,
) -> Result<(Option<Inputs>, Wishes), Failure> {
    let Some(agent) = &request.provisions.evaluate_there else { return Ok((None, wishes)) };
    let flake = request.host.flake(&request.flake);
    let inputs = Inputs::prove(nix, flake, agent, report).await?;
    let private = inputs.flake.private.iter().map(|input| input.url.clone()).collect();
    Ok((Some(inputs), Wishes { fetched_there: Some(private), ..wishes }))
}

/// The files to place, and the wishes that tell of them. A host key among them is the machine's, by which it is known after its
/// first boot, and is placed as one.
pub async fn gather_files(
    provisions: &Provisions,
    wishes: &Wishes,
    host: &HostFacts,
) -> Result<(Files, Wishes, Option<HostKey>), Failure> {
    let mut files = Files::gather(&provisions.extra).await.map_err(|error| {
        Failure::new(Exit::Other, "a file that is to be placed cannot be had").because(error)
    })?;
    let host_key = host_key_among(&mut files, provisions, wishes, host).await?;
    let content = seal(&files, &provisions.disk_keys).await.map_err(|error| {
        Failure::new(Exit::Other, "what is to be placed cannot be read").because(error)
    })?;
    let (planned, owners) = (files.planned(), files.owners());
    let build_on = provisions.build_on;
    let wishes = Wishes { build_on, files: planned, owners, content, ..wishes.clone() };
    Ok((files, wishes, host_key))
}

/// The first of the host's keys that is among the files, which it is taken from.
async fn host_key_among(
    files: &mut Files,
    provisions: &Provisions,
    wishes: &Wishes,
    host: &HostFacts,
) -> Result<Option<HostKey>, Failure> {
    let refused = |path: &str, error: anyhow::Error| {
        Failure::new(Exit::Refused, format!("the host key {path} among the files cannot be used"))
            .because(error)
            .hint("give a host key in OpenSSH's form without a passphrase, once; or none, and landfall makes one")
    };
    for DeclaredHostKey { path, .. } in host.host_keys.iter().flatten() {
        let taken = files.take(path).await.map_err(|error| refused(path, error))?;
        let Some(private) = taken else { continue };
        if wishes.copy_host_keys || provisions.host_key.file.is_some() {
            let other = if wishes.copy_host_keys { "--copy-host-keys" } else { "--host-key-file" };
            return Err(refused(path, anyhow::anyhow!("{other} gives the machine another one")));
        }
        // What lies beside it is made from it.
        files.take(&format!("{path}.pub")).await.map_err(|error| refused(path, error))?;
        return HostKey::placed(private).map(Some).map_err(|error| refused(path, error));
    }
    Ok(None)
}

/// Of what cannot be installed anywhere there is no plan, and the findings say why.
pub fn no_plan(findings: &[Finding]) -> Failure {
    let refused = plan::refuse(findings, &[]).err();
    refused.unwrap_or_else(|| Failure::new(Exit::Refused, "there is no plan for this host"))
}

fn cannot_write(error: anyhow::Error) -> Failure {
    Failure::new(Exit::Other, "the journal cannot be written").because(error)
}

/// Whether what answers is the system that an earlier run of this very plan has installed.
async fn is_installed(
    journal: &Journal,
    host: &HostFacts,
    met: &Met,
    host_key: Option<&HostKey>,
) -> Result<bool, Failure> {
    let record = journal.record();
    if host_key.is_some_and(|key| !record.installed_keys.contains(&key.public)) {
        return Ok(false);
    }
    let planned = host.toplevel.as_ref().map(|toplevel| toplevel.out.as_str());
    let agreed = record.agreed.as_ref().map(|agreed| agreed.terms.toplevel.as_str());
    // Begun is enough: a power cut may have come after its last write, and before anybody saw it end.
    if met.found.is_installer() || !record.has_begun("install") || planned != agreed {
        return Ok(false);
    }
    let seen = InstalledFacts::gather(&met.target, &[]).await.map_err(|error| {
        Failure::new(Exit::Connect, "the target could not be looked at").because(error)
    })?;
    Ok(Some(seen.toplevel.as_str()) == planned)
}

/// What was agreed to when the system that runs was installed. What this run would bring along and that one has not brought is
/// never placed on it.
fn already_installed(plan: &Plan, agreed: &Agreed) -> Result<WipeConsent, Failure> {
    plan.consent_to_what_runs(agreed).map_err(|differences| {
        let what = "the host is installed and runs, and what this run would place is placed by an install only";
        Failure::new(Exit::Refused, what)
            .because(anyhow::anyhow!("- {}", differences.join("\n- ")))
            .hint("put it there by hand; or install again with --restart, which erases the disks")
    })
}

/// Says all of the plan, and what was found.
pub fn show(plan: &Plan, report: &Report) {
    report.emit_all(plan.findings.iter().map(Finding::event));
    let taken = |finding: &&Finding| {
        finding.kind.severity == Severity::Error && !finding.refuses(&plan.accepted)
    };
    for finding in plan.findings.iter().filter(taken) {
        report.note(format!("[{}] is accepted by --accept", finding.kind.code));
    }
    report.emit(Event::Plan { text: plan.text(), plan: Box::new(plan.document()) });
}

/// The consent of an unfinished run, if this one asks for nothing else; says what differs otherwise.
fn consent_of_before(
    plan: &Plan,
    journal: &Journal,
    host: &HostFacts,
    agreement: &Agreement,
    report: &Report,
) -> Option<WipeConsent> {
    let record = journal.record();
    let Some(agreed) = record.consent() else {
        if record.is_unfinished() {
            report.note(
                "an earlier run was not finished, and what was agreed to then holds no longer: it was interrupted \
                 before anything was erased, or is older than a day",
            );
        }
        return None;
    };
    let made = record.wiping.then_some(Made { host, layout: record.layout.as_deref() });
    match plan.consent_of_before(agreed, made, agreement) {
        Ok(consent) => {
            report.note("an earlier run of this plan was not finished: going on with it");
            Some(consent)
        }
        Err(differences) => {
            report.note("an earlier run was not finished, and its plan was another one:");
            for difference in differences {
                report.note(format!("- {difference}"));
            }
            report.note("going on means to begin anew, with the plan above");
            None
        }
    }
}

/// Asks, unless consent was given on the command line.
async fn ask_for_consent(
    plan: &Plan,
    agreement: &Agreement,
    report: &Report,
) -> Result<WipeConsent, Failure> {
    const GIVE: &str = "look at the plan with `landfall check`, then give --plan-digest DIGEST, or --erase \
                        SERIAL,… for the disks to be erased";
    if *agreement != Agreement::Ask {
        return plan
            .consent_given(agreement)
            .map_err(|why| Failure::new(Exit::Consent, why).hint(GIVE));
    }
    if !report::is_interactive() {
        return Err(Failure::new(Exit::Consent, "nobody has agreed that these disks are erased")
            .hint(format!("there is no terminal to ask on: {GIVE}")));
    }
    report.pause();
    let question = plan.question();
    // On a thread of its own, so that Ctrl-C is heard while it waits.
    let answer = tokio::task::spawn_blocking(move || report::ask(&question)).await;
    let answer = answer.ok().flatten().unwrap_or_default();
    plan.consent_typed(&answer)
        .ok_or_else(|| Failure::new(Exit::Consent, "declined: the host's name was not typed"))
}

/// What the user's own `ssh` will stumble over next, and the line that mends it.
fn tell_host_keys(request: &Request, known_as: &KnownAs, summary: &Summary, report: &Report) {
    if !request.wishes.copy_host_keys {
        let forget = known_as.forget_by_hand();
        report.note(format!("its host key is new: forget the old one with `{forget}`"));
    }
    for key in &summary.host_keys {
        report.note(format!("for your known_hosts: {}", known_as.known_hosts_line(key)));
    }
}
