//! The life of a machine's host key: made here, proven, placed. (`docs/secrets.md` tells it from the user's side.)

mod arguments;
mod copy;
mod create;

pub(super) use arguments::KeysCommands;
pub use copy::CopyRequest;
pub use create::CreateRequest;

use crate::commands::check::brought;
use crate::commands::install::{Workstation, prove, show_proof};
use crate::facts::{HostFacts, HostRef};
use crate::findings::{Finding, Severity};
use crate::plan::{self, Keys, Wishes};
use crate::report::{Event, Exit, Failure, Report};
use crate::secrets::{Files, KeySource};

/// The flake, for a host that names none.
#[derive(Debug, Clone)]
pub struct Flake {
    /// Where it is.
    pub reference: String,
    /// What takes the place of its inputs: name and reference.
    pub overrides: Vec<(String, String)>,
}

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub enum KeysRequest {
    /// `landfall keys create`.
    Create(CreateRequest),
    /// `landfall keys check`.
    Check {
        /// Which host.
        host: HostRef,
        /// The flake, for a host that names none.
        flake: Flake,
        /// The host key, and what opens it.
        host_key: KeySource,
    },
    /// `landfall keys copy`.
    Copy(Box<CopyRequest>),
}

/// Does one of the three.
pub async fn keys(request: &KeysRequest, report: &Report) -> Result<(), Failure> {
    match request {
        KeysRequest::Create(request) => create::create(request, report).await,
        KeysRequest::Check { host, flake, host_key } => check(host, flake, host_key, report).await,
        KeysRequest::Copy(request) => copy::copy(request, report).await,
    }
}

/// Evaluates the flake without writing anything.
async fn declared(host: &HostRef, flake: &Flake, report: &Report) -> Result<HostFacts, Failure> {
    let workstation = Workstation::find()?.overriding(&flake.overrides);
    report.doing(format!("evaluating {host}"));
    HostFacts::gather(&workstation.nix.read_only(), host, &flake.reference).await
}

/// Proves which secrets the host will open.
async fn check(
    host: &HostRef,
    flake: &Flake,
    source: &KeySource,
    report: &Report,
) -> Result<(), Failure> {
    let facts = declared(host, flake, report).await?;
    let brought = brought(source, host, report).await?;
    if brought.is_none() {
        report.note(format!("no host key is kept for {host}: `landfall keys create` makes one"));
    }
    let proof = prove(&facts, brought.as_ref(), &Wishes::default(), &Files::default(), None);
    show_proof(&proof, report);
    let keys = Keys { brought: brought.as_ref().map(|key| &*key.public), proof: &proof };
    let findings = plan::key_findings(&facts, keys);
    report.emit_all(findings.iter().map(Finding::event));
    let count = |severity| findings.iter().filter(|f| f.kind.severity == severity).count();
    if count(Severity::Error) > 0 {
        return Err(Failure::new(Exit::Refused, "the machine would not open all of its secrets")
            .hint("mend what is said above"));
    }
    report.emit(Event::KeysChecked {
        secrets: proof.secrets.len(),
        warnings: count(Severity::Warning),
    });
    Ok(())
}
