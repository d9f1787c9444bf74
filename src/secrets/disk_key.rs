//! Keys of encrypted disks and pools, which the installer needs while it lays them out or imports them.
//!
//! They go to their paths in the installer's memory, over stdin, and are gone with it at the restart. They are never part of
//! the installed system: for that there are files for the first boot.

use super::{Secret, Source, files};
use crate::machine::{CommandError, Input, Script, Target};
use crate::report::{self, Report};
use anyhow::{Context, Result};
use std::path::{Component, Path};

/// A key, wherever it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskKey {
    /// Its path in the installer: what `keylocation` (ZFS) or `keyFile` (LUKS) of the layout says.
    pub(crate) to: String,
    /// Where it comes from.
    pub(crate) from: Source,
}

impl DiskKey {
    /// `REMOTE` and `LOCAL`, as upstream's `--disk-encryption-keys` has them; LOCAL may also be `|COMMAND`, and `-` for stdin.
    pub(crate) fn parse(remote: &str, local: &str) -> Result<Self, String> {
        let path = Path::new(remote);
        let plain = |part| matches!(part, Component::RootDir | Component::Normal(_));
        if !path.is_absolute() || !path.components().all(plain) || path.file_name().is_none() {
            return Err(format!("{remote} is not a plain absolute path"));
        }
        if ["/mnt", "/nix", "/dev", "/proc", "/sys"].iter().any(|closed| path.starts_with(closed)) {
            return Err(format!(
                "{remote} is not in the installer's memory: use a path in /tmp or /run"
            ));
        }
        let from = match (local, local.strip_prefix('|')) {
            ("" | "|", _) => return Err("the source of the key is missing".to_owned()),
            ("-", _) => Source::Stdin,
            (_, Some(command)) => Source::Command(command.to_owned()),
            (path, None) => Source::File(path.into()),
        };
        Ok(Self { to: remote.to_owned(), from })
    }
}

/// The keys, read.
#[derive(Debug, Clone, Default)]
pub(crate) struct DiskKeys(Vec<(String, Secret)>);

impl DiskKeys {
    /// Where in the installer they will be.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.0.iter().map(|(path, _)| path.clone()).collect()
    }

    /// Reads them: what cannot be read is known before anything is touched. One from stdin is asked for, unseen, where that is a
    /// terminal.
    pub(crate) async fn gather(wanted: &[DiskKey], report: &Report) -> Result<Self> {
        let mut keys = Vec::new();
        for DiskKey { to, from } in wanted {
            let read = match from {
                Source::Stdin if report::is_interactive() => ask(to, report).await,
                _ => files::read(from).await,
            };
            keys.push((to.clone(), read.with_context(|| format!("the key for {to}"))?));
        }
        Ok(Self(keys))
    }

    /// Puts them where they belong, on an installer.
    pub(crate) async fn place(&self, target: &Target) -> Result<(), CommandError> {
        for (to, key) in &self.0 {
            let script =
                Script::file("place-disk-key.sh", include_str!("place-disk-key.sh")).arg(to);
            target.run_with(&script, Input::Bytes(key.expose())).await?;
        }
        Ok(())
    }
}

async fn ask(to: &str, report: &Report) -> Result<Secret> {
    let answer = report.ask_secret(format!("Key of the disks, for {to}: ")).await;
    answer.filter(|key| !key.expose().is_empty()).context("no key was given")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_goes_into_the_installers_memory_and_nowhere_else() {
        let key = DiskKey::parse("/tmp/secret.key", "tank.key").unwrap();
        assert_eq!(
            (key.to.as_str(), key.from),
            ("/tmp/secret.key", Source::File("tank.key".into()))
        );
        let key = DiskKey::parse("/run/keys/tank", "|pass show nas/tank").unwrap();
        assert_eq!(key.from, Source::Command("pass show nas/tank".into()));
        assert_eq!(DiskKey::parse("/tmp/key", "-").unwrap().from, Source::Stdin);
        for (remote, local) in [
            ("tmp/key", "a"),
            ("/tmp/../mnt/key", "a"),
            ("/mnt/key", "a"),
            ("/nix/store/key", "a"),
            ("/", "a"),
            ("/tmp/key", ""),
            ("/tmp/key", "|"),
        ] {
            assert!(DiskKey::parse(remote, local).is_err(), "{remote} {local}");
        }
    }
}
