//! `landfall check`: everything that can be proven before an install, without changing anything anywhere.

use super::options::{acceptable, keep, login, place, sha256, supplies};
use super::{Command, Invocation};
use crate::findings::{Finding, Severity};
use crate::machine::{Deadlines, Destination, ImageSource};
use crate::plan::{self, InstallOptions, Unfinished};
use crate::prepare::{Purpose, Request, TargetRequest, Workstation, prepare, show_plan};
use crate::report::{Event, Failure, Report, is_interactive};

/// Check everything that can be known before an install of HOST, and change nothing
///
/// Evaluates the flake and, if TARGET is given, looks at the machine. Shows what forbids the install or is worth
/// knowing, and the plan with its digest. Nothing is sent, and nothing is written on either side but
/// what Nix writes to the store of this machine when it evaluates a flake. The exit code is 3 if an install would be refused.
#[derive(Debug, clap::Args)]
pub(super) struct CheckArguments {
    #[command(flatten)]
    place: place::PerhapsPlaceArguments,

    /// Image that would take the target into the installer (one given as a URL is not downloaded for a check)
    #[arg(long, value_name = "FILE|URL")]
    kexec: Option<ImageSource>,

    /// SHA-256 that the image must have
    #[arg(long, value_name = "HEX", value_parser = sha256)]
    kexec_sha256: Option<String>,

    /// Check for an install with --copy-host-keys: the installed system keeps the host keys that the target has now
    #[arg(long, conflicts_with = "host_key_file")]
    copy_host_keys: bool,

    /// Accept a finding, by its code (only findings that allow it)
    #[arg(long, value_name = "CODE", value_delimiter = ',', value_parser = acceptable)]
    accept: Vec<String>,

    /// Also look for other hosts of the flake with this hostName (something of each is evaluated: seconds each)
    #[arg(long)]
    namesakes: bool,

    /// Write events to stdout as JSON, one per line, instead of text
    #[arg(long)]
    json: bool,

    #[command(flatten)]
    keep: keep::KeepArguments,

    #[command(flatten)]
    supplies: supplies::SupplyArguments,

    #[command(flatten)]
    login: login::LoginArguments,
}

impl CheckArguments {
    pub(super) fn invocation(self) -> Result<Invocation, clap::Error> {
        let (host, flake, destination) = self.place.read()?;
        let target = destination.as_ref().map(Destination::to_string).unwrap_or_default();
        let name = host.to_string();
        let may_ask = is_interactive() && !self.json;
        let options = InstallOptions {
            copy_host_keys: self.copy_host_keys,
            accept: self.keep.accepting(self.accept),
            ..InstallOptions::default()
        };
        let (options, sources) = self.supplies.read(options, may_ask)?;
        let (options, sources) = self.keep.read(options, sources)?;
        let login = destination.map(|to| self.login.login(to, may_ask, Deadlines::default()));
        let target_request = login.transpose()?.map(|login| TargetRequest {
            login,
            accepts_first_contact: true,
            image: self.kexec,
            image_sha256: self.kexec_sha256,
            prepare: Vec::new(),
        });
        let install = Request { host, flake, options, sources };
        let command = Command::Check(Box::new(CheckRequest {
            install,
            target: target_request,
            install_line: None,
            namesakes: self.namesakes,
        }));
        Ok(Invocation { command, host: name, target, json: self.json, summary_file: None })
    }
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct CheckRequest {
    /// What would be installed.
    pub(crate) install: Request,
    /// Where, if that is to be looked at.
    pub(crate) target: Option<TargetRequest>,
    /// The command line that would install it.
    pub(crate) install_line: Option<String>,
    /// Whether other hosts of the flake with its name are looked for.
    pub(crate) namesakes: bool,
}

/// Looks at the host and, if there is one, the target; refuses as an install would.
pub async fn check(request: &CheckRequest, report: &Report) -> Result<(), Failure> {
    let workstation = Workstation::find(&request.install.flake)?;
    let (install, target) = (&request.install, request.target.as_ref());
    let purpose = Purpose::Check { namesakes: request.namesakes };
    let preparing = prepare(install, target, purpose, workstation, None, report);
    let prepared = Box::pin(preparing).await?;
    let Some(contact) = &prepared.contact else {
        let findings = prepared.host_findings();
        report.emit_all(findings.iter().map(Finding::event));
        plan::refuse(&findings, &prepared.options.accept)?;
        report.emit(passed(&findings, None, None));
        return Ok(());
    };
    let plan = prepared.plan(contact, Unfinished::default(), report).await?;
    show_plan(&plan, report);
    plan::refuse(&plan.findings, &plan.accepted)?;
    report.emit(passed(&plan.findings, Some(plan.digest()), request.install_line.clone()));
    Ok(())
}

fn passed(findings: &[Finding], digest: Option<String>, command: Option<String>) -> Event {
    let count = |severity| findings.iter().filter(|f| f.kind.severity == severity).count();
    let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
    Event::Checked { accepted: errors, warnings, digest, command }
}
