//! Placing the host key on the machine it is for: over stdin, with owner and mode before content.

use super::HostKey;
use crate::machine::{CommandError, Elevation, Input, Script, Target};

/// Where a host key goes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Place<'a> {
    /// The root of the system: empty for the running one, or `/mnt`.
    pub(crate) root: &'static str,
    /// The key's path in that system.
    pub(crate) path: &'a str,
    /// What its public half ends with: the machine's name.
    pub(crate) comment: &'a str,
    /// Whether another key that is there already is written over.
    pub(crate) replace: bool,
}

/// How it went.
#[derive(Debug)]
pub(crate) enum Placed {
    /// It is there; the public half as the machine reads it from there, `type base64`.
    There(String),
    /// Another key is there and was left; in the machine's words.
    Other(String),
}

pub(crate) async fn place(
    target: &Target,
    elevation: Elevation,
    place: Place<'_>,
    key: &HostKey,
) -> Result<Placed, CommandError> {
    let script = Script::file("place-host-key.sh", include_str!("place-host-key.sh"))
        .arg(place.root)
        .arg(place.path)
        .arg(format!("{} {}", key.public, place.comment).trim_end())
        .arg(if place.replace { "replace" } else { "keep" })
        .elevated(elevation);
    let said = target.attempt(&script, Input::Bytes(key.private.expose())).await?;
    match said.status {
        Some(0) => {
            let words: Vec<_> = said.stdout.split_whitespace().take(2).collect();
            Ok(Placed::There(words.join(" ")))
        }
        Some(3) => Ok(Placed::Other(said.stderr.trim().to_owned())),
        status => Err(CommandError::Failed { command: script.name(), status, stderr: said.stderr }),
    }
}
