//! Everything between the command line and the plan, once, for every command: what the flake declares, who answers, what is supplied
//! on this machine, and the proof that secrets will open. The result is one value that does not change any more.

mod contact;
mod files;
mod host_key;
mod inputs;
mod request;
mod workstation;

pub use contact::Contact;
pub(crate) use contact::{log_in_to_installed, not_connected, obtain_image};
pub(crate) use host_key::supplied;
pub(crate) use inputs::Inputs;
pub use request::{Flake, Request, Sources, TargetRequest};
pub use workstation::Workstation;

use crate::facts::{HostFacts, WorkstationFacts};
use crate::findings::{Finding, Severity};
use crate::journal::Record;
use crate::plan::{self, InstallOptions, Keys, Known, Placed, Plan, Unfinished};
use crate::report::{Event, Exit, Failure, Report};
use crate::secrets::age::{Coming, HostKeys, Proof};
use crate::secrets::{DiskKeys, Files, Supplied};
use std::collections::BTreeMap;

/// All that is known before a plan is made.
pub(crate) struct Prepared {
    /// This machine's tools.
    pub(crate) workstation: Workstation,
    /// What the flake declares.
    pub(crate) host: HostFacts,
    /// The target; none if none was given.
    pub(crate) contact: Option<Contact>,
    /// The host key that is supplied, if one is.
    pub(crate) host_key: Option<Supplied>,
    /// Files that are placed for the first boot.
    pub(crate) files: Files,
    /// Keys of encrypted disks and pools; a check has none.
    pub(crate) disk_keys: DiskKeys,
    /// What evaluating on the target takes, where it does.
    pub(crate) inputs: Option<Inputs>,
    /// Which secrets the machine will open.
    pub(crate) proof: Proof,
    /// What the user decided.
    pub(crate) options: InstallOptions,
    placed: Placed,
    image_named: Option<String>,
    private_inputs: Option<Vec<String>>,
}

/// What the preparation is for.
#[derive(Debug, Clone, Copy)]
pub enum Purpose<'a> {
    /// Nothing is sent, nor written but by the evaluation to the store; a host key that cannot be opened is proven by its public
    /// half; what an unfinished run knows of the machine is of no account.
    Check {
        /// Whether other hosts of the flake are evaluated, to see which have the same name.
        namesakes: bool,
    },
    /// An install follows, perhaps of an unfinished run.
    Install(&'a Record),
}

/// Prepares: evaluates the flake, unless its `host` is known already, and looks at the target beside it.
///
/// # Errors
/// Something that is needed cannot be had. What merely forbids the install is a finding.
pub(crate) async fn prepare(
    request: &Request,
    target: Option<&TargetRequest>,
    purpose: Purpose<'_>,
    workstation: Workstation,
    host: Option<HostFacts>,
    report: &Report,
) -> Result<Prepared, Failure> {
    let Request { options, sources, .. } = request;
    let host_key = host_key::for_install(request, purpose, report).await?;
    // While `ssh` may be asking the user something, nothing else moves on the terminal.
    if host.is_none() && !target.is_some_and(|target| target.login.may_ask) {
        report.doing(format!("evaluating {}", request.host));
    }
    let declared = declared(request, purpose, &workstation, host, report);
    let contact = async {
        let Some(target) = target else { return Ok(None) };
        Contact::make(target, purpose, report, &workstation.metrics).await.map(Some)
    };
    let (host, contact) = tokio::try_join!(declared, contact)?;

    let (files, placed, host_key_among_them) = files::gather(request, &host).await?;
    let host_key = host_key_among_them.or(host_key);
    let inputs = match (&sources.evaluate_there, target) {
        (Some(agent), Some(_)) => {
            let flake = request.host.flake(&request.flake.reference);
            Some(Inputs::prove(&workstation.nix, flake, agent, report).await?)
        }
        _ => None,
    };
    let disk_keys = match purpose {
        Purpose::Check { .. } => DiskKeys::default(),
        Purpose::Install(_) => {
            DiskKeys::gather(&sources.disk_keys, report).await.map_err(|error| {
                Failure::new(Exit::Other, "the key of an encrypted disk cannot be read")
                    .because(error)
            })?
        }
    };
    let present = contact.as_ref().map(|contact| &contact.found.host_keys);
    let proof = prove(&host, host_key.as_ref(), options.copy_host_keys, &files, present);
    show_proof(&proof, report);
    let private = |inputs: &Inputs| {
        inputs.flake.private.iter().map(|input| input.url.clone()).collect::<Vec<_>>()
    };
    Ok(Prepared {
        private_inputs: inputs.as_ref().map(private),
        image_named: target.and_then(TargetRequest::image_named),
        options: options.clone(),
        workstation,
        host,
        contact,
        host_key,
        files,
        disk_keys,
        inputs,
        proof,
        placed,
    })
}

async fn declared(
    Request { host: reference, flake, options, .. }: &Request,
    purpose: Purpose<'_>,
    workstation: &Workstation,
    host: Option<HostFacts>,
    report: &Report,
) -> Result<HostFacts, Failure> {
    let (nix, flake) = (&workstation.nix, flake.reference.as_str());
    let mut host = match host {
        Some(host) => return Ok(host),
        None => HostFacts::gather_keeping(nix, reference, flake, &options.keep).await?,
    };
    if matches!(purpose, Purpose::Check { namesakes: true }) {
        report.doing("evaluating the names of the flake's other hosts".to_owned());
        // One of them may be broken, which is no fault of this one.
        if let Err(error) = host.find_namesakes(nix, reference, flake).await {
            report.note(format!("the names of the flake's other hosts cannot be read: {error}"));
        }
    }
    Ok(host)
}

/// Proves which secrets the machine will open after such an install.
///
/// `present`: the target's host keys by their paths, where it was looked at.
pub(crate) fn prove(
    host: &HostFacts,
    supplied: Option<&Supplied>,
    copy_host_keys: bool,
    files: &Files,
    present: Option<&BTreeMap<String, String>>,
) -> Proof {
    let host_keys = match supplied {
        _ if copy_host_keys => HostKeys::Kept(present),
        Some(supplied) => HostKeys::Supplied(supplied),
        None => HostKeys::Created,
    };
    let paths = host.identity_paths.iter().flatten();
    let placed = paths.filter_map(|path| Some((path.clone(), files.content(path)?))).collect();
    Proof::of(host, Coming { host_keys, placed: &placed })
}

/// Says which secrets will be opened, if there are any.
pub fn show_proof(proof: &Proof, report: &Report) {
    if proof.declares_secrets() {
        report.emit(Event::Proof { proof: proof.clone().into() });
    }
}

/// Says all of the plan, and what was found.
pub(crate) fn show_plan(plan: &Plan, report: &Report) {
    report.emit_all(plan.findings.iter().map(Finding::event));
    let taken = |finding: &&Finding| {
        finding.kind.severity == Severity::Error && !finding.refuses(&plan.accepted)
    };
    for finding in plan.findings.iter().filter(taken) {
        report.note(format!("[{}] is accepted by --accept", finding.kind.code));
    }
    report.emit(Event::Plan { plan: plan.clone().into() });
}

impl Prepared {
    /// What is known of the machine's keys.
    fn keys(&self) -> Keys<'_> {
        Keys { supplied: self.host_key.as_ref().map(|key| &*key.public), proof: &self.proof }
    }

    /// What is found without a target.
    pub(crate) fn host_findings(&self) -> Vec<Finding> {
        let disk_keys = &self.placed.disk_keys;
        plan::findings(Known { keys: Some(self.keys()), disk_keys, ..Known::of(&self.host) })
    }

    /// Makes the plan.
    ///
    /// # Errors
    /// There is none for this host; its findings, which have been shown, say why.
    pub(crate) async fn plan(
        &self,
        contact: &Contact,
        unfinished: Unfinished<'_>,
        report: &Report,
    ) -> Result<Plan, Failure> {
        let toplevel = self.host.toplevel.as_ref().map(|toplevel| &toplevel.out);
        let able = WorkstationFacts::gather(&self.workstation.nix, toplevel).await;
        let able = able.map_err(|error| {
            Failure::new(Exit::Other, "the settings of this workstation's Nix cannot be read")
                .because(error)
        })?;
        let first_contact = contact.first_contact();
        let plan = plan::make(plan::Input {
            host: &self.host,
            found: &contact.found,
            destination: contact.target.destination(),
            first_contact: first_contact.as_deref(),
            image: contact.image.as_ref(),
            image_named: self.image_named.as_deref(),
            unfinished,
            keys: self.keys(),
            placed: &self.placed,
            private_inputs: self.private_inputs.as_deref(),
            workstation: &able,
            options: &self.options,
        });
        plan.map_err(|findings| {
            report.emit_all(findings.iter().map(Finding::event));
            let refused = plan::refuse(&findings, &[]).err();
            refused.unwrap_or_else(|| Failure::new(Exit::Refused, "there is no plan for this host"))
        })
    }
}
