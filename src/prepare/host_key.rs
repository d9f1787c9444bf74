//! The host key that an install supplies: opened while nothing has happened yet.

use super::{Purpose, Request};
use crate::facts::HostRef;
use crate::report::{Failure, Report};
use crate::secrets::age::Identity;
use crate::secrets::{KeySource, Supplied};

/// The host key that the user has made for this host: none, if the machine keeps its own.
pub(super) async fn for_install(
    request: &Request,
    purpose: Purpose<'_>,
    report: &Report,
) -> Result<Option<Supplied>, Failure> {
    let source = &request.sources.host_key;
    let Some(stored) = source.find(&request.host.attribute).await? else { return Ok(None) };
    if request.options.copy_host_keys {
        report.note(format!("{} is left alone: --copy-host-keys", stored.path.display()));
        return Ok(None);
    }
    match purpose {
        Purpose::Check { .. } => supplied(source, &request.host, report).await,
        Purpose::Install(_) => {
            report.doing(format!("opening the host key {}", stored.path.display()));
            Ok(Some(source.open(&stored, report).await?.supplied()))
        }
    }
}

/// The host key that an install would supply, as far as it can be looked at: where the private half cannot be opened, its public
/// half is proven, and that is said. An install would be refused.
pub(crate) async fn supplied(
    source: &KeySource,
    host: &HostRef,
    report: &Report,
) -> Result<Option<Supplied>, Failure> {
    let Some(stored) = source.find(&host.attribute).await? else { return Ok(None) };
    match (source.open(&stored, report).await, &stored.public) {
        (Ok(key), _) => Ok(Some(key.supplied())),
        (Err(failure), Some(public)) => {
            let why = failure.why.map(|why| format!(": {why:#}")).unwrap_or_default();
            report.note(format!("{}, only its public half is looked at{why}", failure.what));
            let identity = Identity::Public(public.clone());
            Ok(Some(Supplied { public: public.clone(), identity, key: None }))
        }
        (Err(failure), None) => Err(failure),
    }
}
