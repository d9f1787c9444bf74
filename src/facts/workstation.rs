//! What the workstation can build: its own platforms, and the remote builders that its Nix is configured with.

use crate::nix::{Nix, StorePath};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the workstation can build.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct WorkstationFacts {
    /// Its own platform (`system` in nix.conf(5)).
    pub(crate) system: String,
    /// Further platforms it runs programs of (`extra-platforms`).
    pub(crate) extra_platforms: Vec<String>,
    /// The remote builders (`builders`).
    pub(crate) builders: Vec<Builder>,
    /// Whether the system to install is in its store already.
    pub(crate) has_toplevel: bool,
}

/// A remote builder, as a line of /etc/nix/machines has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Builder {
    /// Where it is.
    pub(crate) uri: String,
    /// The platforms it builds for.
    pub(crate) systems: Vec<String>,
}

impl WorkstationFacts {
    /// Asks the workstation's Nix.
    pub(crate) async fn gather(nix: &Nix, toplevel: Option<&StorePath>) -> Result<Self> {
        let settings = nix.settings().await?;
        let own = Self::parse(&settings, |path| std::fs::read_to_string(path).unwrap_or_default())?;
        let has_toplevel = match toplevel {
            Some(toplevel) => nix.is_built(toplevel).await?,
            None => false,
        };
        Ok(Self { has_toplevel, ..own })
    }

    /// Reads `nix config show --json`; `read` gives the content of a file that `builders` names.
    fn parse(settings: &[u8], read: impl Fn(&str) -> String) -> Result<Self> {
        let settings: BTreeMap<String, Setting> =
            serde_json::from_slice(settings).context("reading `nix config show`")?;
        let value = |name: &str| settings.get(name).map(|setting| &setting.value);
        let text = |name: &str| value(name).and_then(Value::as_str).unwrap_or_default().to_owned();
        let system = text("system");
        // A list in newer versions, words in older ones.
        let extra_platforms = match value("extra-platforms") {
            Some(Value::Array(all)) => {
                all.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect()
            }
            Some(Value::String(words)) => words.split_whitespace().map(str::to_owned).collect(),
            _ => Vec::new(),
        };
        let builders = builders(&text("builders"), &system, &read, 0);
        Ok(Self { system, extra_platforms, builders, has_toplevel: false })
    }

    /// Whether it can itself build for a platform.
    pub(crate) fn builds(&self, system: &str) -> bool {
        self.system == system || self.extra_platforms.iter().any(|extra| extra == system)
    }

    /// The first of its builders for a platform.
    pub(crate) fn builder_for(&self, system: &str) -> Option<&Builder> {
        self.builders.iter().find(|builder| builder.systems.iter().any(|s| s == system))
    }
}

/// One setting of `nix config show --json`.
#[derive(Deserialize)]
struct Setting {
    value: Value,
}

/// Files may name others, but not for ever.
const DEPTH: u32 = 8;

/// Builders as nix.conf(5) has them: entries with `;` or a new line between, `@FILE` for those in a file, `#` before
/// a remark. Of an entry's columns the second is its platforms, `-` for Nix' own.
fn builders(text: &str, own: &str, read: &impl Fn(&str) -> String, depth: u32) -> Vec<Builder> {
    let lines = text.lines().map(|line| line.split('#').next().unwrap_or_default());
    let entries = lines.flat_map(|line| line.split(';')).map(str::trim).filter(|e| !e.is_empty());
    let mut found = Vec::new();
    for entry in entries {
        if let Some(file) = entry.strip_prefix('@') {
            if depth < DEPTH {
                found.extend(builders(&read(file.trim()), own, read, depth + 1));
            }
            continue;
        }
        let mut columns = entry.split_whitespace();
        let Some(uri) = columns.next() else { continue };
        let systems = match columns.next() {
            None | Some("-") => vec![own.to_owned()],
            Some(systems) => systems.split(',').map(str::to_owned).collect(),
        };
        found.push(Builder { uri: uri.to_owned(), systems });
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(json: &str) -> WorkstationFacts {
        let read = |path: &str| match path {
            "/etc/nix/machines" => {
                "# ours\nssh-ng://me@nixos x86_64-linux,aarch64-linux - 4 1 kvm # fast\n\n@/more\n"
                    .to_owned()
            }
            "/more" => "mac - key\n@/more".to_owned(),
            _ => String::new(),
        };
        WorkstationFacts::parse(json.as_bytes(), read).unwrap()
    }

    /// As Nix 2.26 and 2.34 print it.
    #[test]
    fn settings_with_builders_are_read() {
        let seen = parsed(
            r#"{"system":{"value":"aarch64-darwin","aliases":[]},"builders":{"value":"@/etc/nix/machines"},
                "extra-platforms":{"value":["x86_64-darwin"]}}"#,
        );
        assert!(seen.builds("x86_64-darwin") && !seen.builds("aarch64-linux"));
        assert_eq!(seen.builder_for("aarch64-linux").unwrap().uri, "ssh-ng://me@nixos");
        assert_eq!(seen.builder_for("aarch64-darwin").unwrap().uri, "mac");
        assert_eq!(seen.builder_for("riscv64-linux"), None);
        assert!(seen.builders.len() < 20, "files that name each other come to an end");
    }

    #[test]
    fn settings_without_builders_are_read() {
        let seen = parsed(
            r#"{"system":{"value":"x86_64-linux"},"extra-platforms":{"value":"i686-linux a"},
                "builders":{"value":"  ; b x86_64-linux ;c"}}"#,
        );
        assert!(seen.builds("i686-linux"));
        let uris: Vec<_> = seen.builders.iter().map(|builder| builder.uri.as_str()).collect();
        assert_eq!(uris, ["b", "c"]);
        assert_eq!(parsed("{}").builders, []);
    }
}
