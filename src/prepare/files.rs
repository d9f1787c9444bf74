//! What is placed on the machine, as far as it lies on this one.

use super::Request;
use crate::facts::{DeclaredHostKey, HostFacts};
use crate::plan::Placed;
use crate::report::{Exit, Failure};
use crate::secrets::{Files, HostKey, Supplied, content_digest};

/// The files, what the plan says of them, and a host key among them: that is the machine's, by which it is known after its first
/// boot, and is placed as one.
pub(super) async fn gather(
    request: &Request,
    host: &HostFacts,
) -> Result<(Files, Placed, Option<Supplied>), Failure> {
    let sources = &request.sources;
    let mut files = Files::gather(&sources.extra).await.map_err(|error| {
        Failure::new(Exit::Other, "a file that is to be placed cannot be read").because(error)
    })?;
    let host_key = host_key_among(&mut files, request, host).await?;
    let content = content_digest(&files, &sources.disk_keys).await.map_err(|error| {
        Failure::new(Exit::Other, "what is to be placed cannot be read").because(error)
    })?;
    let disk_keys = sources.disk_keys.iter().map(|key| key.to.clone()).collect();
    let placed = Placed { files: files.planned(), owners: files.owners(), disk_keys, content };
    Ok((files, placed, host_key))
}

/// The first of the host's keys that is among the files, which it is taken from.
async fn host_key_among(
    files: &mut Files,
    request: &Request,
    host: &HostFacts,
) -> Result<Option<Supplied>, Failure> {
    let refused = |path: &str, error: anyhow::Error| {
        Failure::new(Exit::Refused, format!("the host key {path} among the files cannot be used"))
            .because(error)
            .hint("give one host key in OpenSSH's format without a passphrase; or none, and landfall generates one")
    };
    for DeclaredHostKey { path, .. } in host.host_keys.iter().flatten() {
        let taken = files.take(path).await.map_err(|error| refused(path, error))?;
        let Some(private) = taken else { continue };
        let copies = request.options.copy_host_keys;
        if copies || request.sources.host_key.file.is_some() {
            let other = if copies { "--copy-host-keys" } else { "--host-key-file" };
            return Err(refused(path, anyhow::anyhow!("{other} supplies another one")));
        }
        // What lies beside it is made from it.
        files.take(&format!("{path}.pub")).await.map_err(|error| refused(path, error))?;
        let key = HostKey::placed(private).map_err(|error| refused(path, error))?;
        return Ok(Some(key.supplied()));
    }
    Ok(None)
}
