//! A flake as another machine must see it to evaluate the same: its source, its lock, and which of its inputs are
//! private.

use super::{Nix, StorePath};
use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A flake with everything locked, overridden inputs too.
#[derive(Debug, Clone)]
pub(crate) struct LockedFlake {
    pub(crate) source: StorePath,
    /// What a `path:` reference to the source must add, so that the flake sees the same of itself: `?lastModified=…`.
    pub(crate) query: String,
    /// Its lock file, as it is in effect.
    pub(crate) lock: String,
    /// Inputs that are nowhere but on this workstation, and in its store.
    pub(crate) local: Vec<StorePath>,
    /// Inputs that are fetched over SSH.
    pub(crate) private: Vec<PrivateInput>,
}

/// An input that is fetched over SSH.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PrivateInput {
    /// Its name in the lock file.
    pub(crate) name: String,
    /// `ssh://git@github.com/me/secrets.git`
    pub(crate) url: String,
    /// The locked revision.
    pub(crate) revision: String,
}

/// What `nix flake metadata --json` says.
#[derive(Deserialize)]
struct Metadata {
    path: StorePath,
    #[serde(default)]
    locked: Map<String, Value>,
    #[serde(default)]
    resolved: Map<String, Value>,
    locks: Locks,
}

#[derive(Deserialize, serde::Serialize)]
struct Locks {
    nodes: BTreeMap<String, Node>,
    root: String,
    version: u64,
}

/// A node of flake.lock; what is not asked for is kept as it is.
#[derive(Deserialize, serde::Serialize)]
struct Node {
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    locked: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    inputs: Map<String, Value>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// What `nix flake archive --dry-run --json` says: a tree of inputs with their store paths.
#[derive(Deserialize)]
struct Archived {
    path: StorePath,
    #[serde(default)]
    inputs: BTreeMap<String, Archived>,
}

impl Nix {
    /// Locks a flake, without writing its lock file.
    pub(crate) async fn lock(&self, flake: &str) -> Result<LockedFlake> {
        let said = self.flake(&["flake", "metadata", "--json"], flake).await?;
        let metadata: Metadata =
            serde_json::from_slice(&said).context("reading `nix flake metadata`")?;
        let said = self.flake(&["flake", "archive", "--dry-run", "--json"], flake).await?;
        let archived: Archived =
            serde_json::from_slice(&said).context("reading `nix flake archive`")?;
        LockedFlake::of(metadata, &archived, !self.overrides.is_empty())
    }

    async fn flake(&self, verb: &[&str], flake: &str) -> Result<Vec<u8>> {
        let mut arguments = [verb, &["--no-write-lock-file"]].concat();
        for (name, reference) in &self.overrides {
            arguments.extend(["--override-input", name, reference]);
        }
        arguments.extend(["--", flake]);
        let (said, complaint) = self.capture(&arguments).await?;
        said.with_context(|| super::own_words(&complaint))
    }
}

impl LockedFlake {
    fn of(metadata: Metadata, archived: &Archived, overridden: bool) -> Result<Self> {
        let Metadata { path: source, locked, resolved, locks } = metadata;
        let mut local = Vec::new();
        local_inputs(&locks, &locks.root, archived, &mut local);
        let private = locks.nodes.iter().filter_map(|(name, node)| private_input(name, node));
        Ok(Self {
            source,
            query: query(&locked, resolved.get("dir"), overridden),
            private: private.collect(),
            local,
            lock: serde_json::to_string(&locks)?,
        })
    }

    /// What is copied to where it is evaluated.
    pub(crate) fn staged(&self) -> impl Iterator<Item = &StorePath> {
        std::iter::once(&self.source).chain(&self.local)
    }
}

/// A flake whose inputs are overridden has no revision in its own eyes.
fn query(locked: &Map<String, Value>, dir: Option<&Value>, overridden: bool) -> String {
    let mut query = String::new();
    let own = ["lastModified", "narHash", "rev", "revCount"].iter();
    let own = own.filter(|name| !(overridden && name.starts_with("rev")));
    let own = own.filter_map(|name| Some((*name, locked.get(*name)?)));
    for (name, value) in own.chain(dir.map(|dir| ("dir", dir))) {
        let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let _ = write!(query, "{}{name}=", if query.is_empty() { '?' } else { '&' });
        for byte in text.bytes() {
            if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_') {
                query.push(char::from(byte));
            } else {
                let _ = write!(query, "%{byte:02X}");
            }
        }
    }
    query
}

/// Inputs given by a path are nowhere else. (What follows another input is locked under that one.)
fn local_inputs(locks: &Locks, name: &str, archived: &Archived, local: &mut Vec<StorePath>) {
    let Some(node) = locks.nodes.get(name) else { return };
    if node.locked.get("type").is_some_and(|kind| kind == "path") && !local.contains(&archived.path)
    {
        local.push(archived.path.clone());
    }
    for (input, key) in &node.inputs {
        if let (Some(key), Some(archived)) = (key.as_str(), archived.inputs.get(input)) {
            local_inputs(locks, key, archived, local);
        }
    }
}

fn private_input(name: &str, node: &Node) -> Option<PrivateInput> {
    let text = |key: &str| node.locked.get(key).and_then(Value::as_str);
    let url = text("url").filter(|url| url.starts_with("ssh://"))?;
    let (name, url) = (name.to_owned(), url.to_owned());
    (text("type") == Some("git")).then(|| PrivateInput {
        name,
        url,
        revision: text("rev").unwrap_or_default().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Nix 2.26, shortened.
    const METADATA: &str = r#"{"lastModified":1795260837,"locked":{"__final":true,"lastModified":1795260837,
        "narHash":"sha256-XB1+/w=","ref":"refs/heads/master","rev":"bec99bb","revCount":2,"type":"git","url":"file:///f"},
        "locks":{"nodes":{
          "loc":{"flake":false,"locked":{"narHash":"sha256-Lx","path":"/tmp/loc","type":"path"},"original":{"path":"/tmp/loc","type":"path"}},
          "other":{"inputs":{"loc":["loc"],"deep":"deep"},"locked":{"type":"github","owner":"o"}},
          "deep":{"locked":{"type":"path","path":"/deep"}},
          "root":{"inputs":{"loc":"loc","secrets":"secrets","other":"other"}},
          "secrets":{"flake":false,"locked":{"rev":"cf5b2fc","type":"git","url":"ssh://git@h:22/s.git"},"original":{"type":"git"}}},
          "root":"root","version":7},
        "resolved":{"dir":"sub dir","type":"git","url":"file:///f"},"path":"/nix/store/s-source"}"#;
    const ARCHIVED: &str = r#"{"path":"/nix/store/s-source","inputs":{
        "loc":{"inputs":{},"path":"/nix/store/l-source"},"secrets":{"inputs":{},"path":"/nix/store/x-source"},
        "other":{"path":"/nix/store/o-source","inputs":{"deep":{"path":"/nix/store/d-source"}}}}}"#;

    fn flake(overridden: bool) -> LockedFlake {
        let metadata = serde_json::from_str(METADATA).unwrap();
        LockedFlake::of(metadata, &serde_json::from_str(ARCHIVED).unwrap(), overridden).unwrap()
    }

    #[test]
    fn a_flake_is_known_by_its_source_and_lock() {
        let seen = flake(false);
        let staged: Vec<_> = seen.staged().map(StorePath::as_str).collect();
        assert_eq!(staged, ["/nix/store/s-source", "/nix/store/l-source", "/nix/store/d-source"]);
        assert_eq!(
            seen.query,
            "?lastModified=1795260837&narHash=sha256-XB1%2B%2Fw%3D&rev=bec99bb&revCount=2&dir=sub%20dir"
        );
        let private = PrivateInput {
            name: "secrets".into(),
            url: "ssh://git@h:22/s.git".into(),
            revision: "cf5b2fc".into(),
        };
        assert_eq!(seen.private, [private]);
        let lock: Value = serde_json::from_str(&seen.lock).unwrap();
        let whole: Value = serde_json::from_str(METADATA).unwrap();
        assert_eq!(lock, whole["locks"], "the lock is handed on as it is");
    }

    #[test]
    fn with_other_inputs_it_is_no_revision() {
        assert!(!flake(true).query.contains("rev"));
    }
}
