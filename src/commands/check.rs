//! A check: everything that can be proven before an install, without changing anything anywhere.

use crate::commands::install::{
    Workstation, gather_files, look_at_workstation, no_plan, prove, prove_inputs, show, show_proof,
    with_keys,
};
use crate::commands::options::{flake, keep, login, provisions};
use crate::commands::{Command, Invocation, usage};
use crate::facts::{HostFacts, HostRef};
use crate::findings::{Finding, Severity};
use crate::journal::Record;
use crate::machine::{Deadlines, Destination, ImageSource};
use crate::plan::{self, Agreement, Keys, Wishes};
use crate::prepare::contact::meet;
use crate::prepare::request::{Provisions, Request};
use crate::report::is_interactive;
use crate::report::{Event, Failure, Report};
use crate::secrets::age::Identity;
use crate::secrets::{Brought, HostKey, KeySource};

/// Prove all that can be known before an install of HOST, without changing anything
///
/// Evaluates the flake and, with TARGET, looks at the machine: shows what forbids the install or is worth
/// knowing, and the plan with its digest. Nothing is built, sent or written, on neither side. The exit code
/// is 3 if an install would be refused.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    /// Host: an attribute of nixosConfigurations, or FLAKE#ATTRIBUTE
    host: String,

    /// Target: [USER@]HOST[:PORT], ssh://…, or an alias in ~/.ssh/config
    target: Option<Destination>,

    #[command(flatten)]
    flake: flake::FlakeArguments,

    /// Image that would take the target into the installer (a URL is not downloaded for a check)
    #[arg(long, value_name = "FILE|URL")]
    kexec: Option<ImageSource>,

    /// SHA-256 the image must have
    #[arg(long, value_name = "HEX", value_parser = crate::commands::options::sha256)]
    kexec_sha256: Option<String>,

    /// Check for an install that keeps the host keys the target has now
    #[arg(long, conflicts_with = "host_key_file")]
    copy_host_keys: bool,

    /// Take a finding upon yourself, by its code (only for findings that say so)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = crate::commands::options::acceptable)]
    accept: Vec<String>,

    /// Say what is found as JSON on stdout, one event a line
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keep: keep::KeepArguments,

    #[command(flatten)]
    provisions: provisions::ProvisionArguments,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl CheckArguments {
    pub(super) fn invocation(self) -> Result<Invocation, clap::Error> {
        let host: HostRef = self.host.parse().map_err(usage)?;
        let target = self.target.as_ref().map(Destination::to_string).unwrap_or_default();
        let overrides = self.flake.overrides()?;
        let wishes = Wishes {
            copy_host_keys: self.copy_host_keys,
            accept: self.keep.accepting(self.accept),
            ..Wishes::default()
        };
        let may_ask = is_interactive() && !self.json;
        let provisions = self.keep.provisions(self.provisions.provisions(may_ask)?)?;
        let login = self
            .target
            .map(|target| self.login.login(target, may_ask, Deadlines::default()))
            .transpose()?;
        let install = login.map(|login| Request {
            host: host.clone(),
            flake: self.flake.flake.clone(),
            login,
            may_meet: true,
            image: self.kexec,
            image_sha256: self.kexec_sha256,
            overrides: overrides.clone(),
            wishes: wishes.clone(),
            provisions: provisions.clone(),
            agreement: Agreement::Ask,
            restart: false,
            journals: None,
            prepare: Vec::new(),
        });
        let request =
            CheckRequest { host, flake: self.flake.flake, overrides, wishes, provisions, install };
        let command = Command::Check(Box::new(request));
        Ok(Invocation { command, host: self.host, target, json: self.json, summary_file: None })
    }
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: String,
    /// What takes the place of its inputs: name and reference.
    pub overrides: Vec<(String, String)>,
    /// Further wishes.
    pub wishes: Wishes,
    /// What the machine would be made with, beside its flake.
    pub provisions: Provisions,
    /// The install that is checked, if there is a target.
    pub install: Option<Request>,
}

/// Looks at the host and, if there is one, the target; refuses as an install would.
pub async fn check(request: &CheckRequest, report: &Report) -> Result<(), Failure> {
    let workstation = Workstation::find()?.overriding(&request.overrides);
    let nix = workstation.nix.read_only();
    let keep = &request.provisions.keep;
    let declared = HostFacts::gather_among_others(&nix, &request.host, &request.flake, keep);
    let Some(install) = &request.install else {
        report.doing(format!("evaluating {}", request.host));
        let host = with_keys(declared.await?, &request.provisions);
        let (files, _, placed) = gather_files(&request.provisions, &request.wishes, &host).await?;
        let brought = brought_for(request, placed.as_ref(), report).await?;
        let proof = prove(&host, brought.as_ref(), &request.wishes, &files, None);
        show_proof(&proof, report);
        let keys = Keys { brought: brought.as_ref().map(|key| &*key.public), proof: &proof };
        let findings = plan::findings(&host, None, None, Some(keys), plan::Unfinished::default());
        report.emit_all(findings.iter().map(Finding::event));
        plan::refuse(&findings, &request.wishes.accept)?;
        report.emit(passed(&findings, None));
        return Ok(());
    };
    let mut install = install.clone();
    let image_named = install.image_named();
    // A check downloads nothing; that an image was named is enough to plan with.
    let is_url = |image: &mut ImageSource| matches!(image, ImageSource::Url(_));
    let has_url = install.image.take_if(is_url).is_some();
    // What an unfinished run knows of the machine is of no account: it is looked at as if for the first time.
    let before = Record::default();
    let met = meet(&install, &before, report, &workstation.tally);
    let (host, met) = tokio::try_join!(declared, met)?;
    let host = with_keys(host, &request.provisions);
    let (files, wishes, placed) = gather_files(&request.provisions, &request.wishes, &host).await?;
    let wishes = Wishes { image_named, ..wishes };
    let (_, wishes) = prove_inputs(&install, &nix, report, wishes).await?;
    let first_contact = met.first_contact();
    let view = plan::Met {
        destination: met.target.destination(),
        found: &met.found,
        first_contact: first_contact.as_deref(),
        unfinished: plan::Unfinished::default(),
    };
    let able = look_at_workstation(&nix, &host).await?;
    let brought = brought_for(request, placed.as_ref(), report).await?;
    let proof = prove(&host, brought.as_ref(), &wishes, &files, Some(&met.found.host_keys));
    show_proof(&proof, report);
    let keys = Keys { brought: brought.as_ref().map(|key| &*key.public), proof: &proof };
    match plan::make(&host, view, met.image.clone(), keys, &wishes, &able) {
        Ok(mut plan) => {
            if has_url {
                plan.findings.retain(|finding| finding.kind.code != "kexec-no-image");
            }
            show(&plan, report);
            plan::refuse(&plan.findings, &plan.accepted)?;
            report.emit(passed(&plan.findings, Some(plan.digest())));
            Ok(())
        }
        Err(findings) => {
            report.emit_all(findings.iter().map(Finding::event));
            Err(no_plan(&findings))
        }
    }
}

/// The host key that such an install would bring along: none, if the machine keeps its own.
async fn brought_for(
    request: &CheckRequest,
    placed: Option<&HostKey>,
    report: &Report,
) -> Result<Option<Brought>, Failure> {
    if let Some(key) = placed {
        return Ok(Some(key.brought()));
    }
    if request.wishes.copy_host_keys {
        return Ok(None);
    }
    brought(&request.provisions.host_key, &request.host, report).await
}

/// The host key that an install would bring along. A check goes on with its public half where the private one cannot be
/// opened, and says so: an install would not.
pub async fn brought(
    source: &KeySource,
    host: &HostRef,
    report: &Report,
) -> Result<Option<Brought>, Failure> {
    let Some(stored) = source.find(&host.attribute).await? else { return Ok(None) };
    match (source.open(&stored, report).await, &stored.public) {
        (Ok(key), _) => Ok(Some(key.brought())),
        (Err(failure), Some(public)) => {
            let why = failure.why.map(|why| format!(": {why:#}")).unwrap_or_default();
            report.note(format!("{}, only its public half is looked at{why}", failure.what));
            let identity = Identity::Public(public.clone());
            Ok(Some(Brought { public: public.clone(), identity }))
        }
        (Err(failure), None) => Err(failure),
    }
}

fn passed(findings: &[Finding], digest: Option<String>) -> Event {
    let count = |severity| findings.iter().filter(|f| f.kind.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    Event::Checked { accepted: errors, warnings, digest }
}
