//! Which host of which flake is meant, and what is said where there is no such host.

use crate::nix::{EvalError, Nix};
use crate::report::{Exit, Failure, without_secrets};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::fmt::{self, Write as _};
use std::str::FromStr;

/// Which host of which flake: `helios64`, `.#helios64`, `github:me/dotfiles#helios64`, or an attribute path as
/// in `.#nixosConfigurations.x.config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRef {
    /// The flake, if the reference names one.
    pub(crate) flake: Option<String>,
    /// The attribute: a host's name, or a path that begins with `nixosConfigurations.`.
    pub attribute: String,
}

impl FromStr for HostRef {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (flake, attribute) = match text.rsplit_once('#') {
            Some((flake, attribute)) => (Some(flake), attribute),
            None => (None, text),
        };
        let attribute = attribute.trim_matches('"');
        if attribute.is_empty() || attribute.contains(['"', '\\', '$']) {
            return Err(format!("'{text}' names no host: expected HOST or FLAKE#HOST"));
        }
        let flake = flake.map(|flake| if flake.is_empty() { "." } else { flake }.to_owned());
        Ok(Self { flake, attribute: attribute.to_owned() })
    }
}

/// For people, files' names and journals: without what opens something.
impl fmt::Display for HostRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flake {
            Some(flake) => write!(f, "{}#{}", without_secrets(flake), self.attribute),
            None => f.write_str(&self.attribute),
        }
    }
}

impl HostRef {
    /// The flake, with `default` for a reference that names none.
    pub(crate) fn flake<'a>(&'a self, default: &'a str) -> &'a str {
        self.flake.as_deref().unwrap_or(default)
    }

    /// Its name among the flake's hosts; none for an attribute path.
    pub(super) fn name(&self) -> Option<&str> {
        (!self.attribute.starts_with("nixosConfigurations.")).then_some(&self.attribute)
    }

    /// The path of its system's derivation, within the flake.
    pub(super) fn drv_attribute(&self) -> String {
        let config = match self.name() {
            Some(name) => format!("nixosConfigurations.\"{name}\".config"),
            None if self.attribute.ends_with(".config") => self.attribute.clone(),
            None => format!("{}.config", self.attribute),
        };
        format!("{config}.system.build.toplevel.drvPath")
    }

    /// What `nix` calls it alone.
    pub(super) fn installable(&self, default: &str) -> String {
        let flake = self.flake(default);
        match self.name() {
            Some(name) => format!("{flake}#nixosConfigurations.\"{name}\""),
            None => format!("{flake}#{}", self.attribute),
        }
    }
}

/// What a list of hosts shows of each.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Listed {
    host_name: Option<String>,
    system: Option<String>,
}

/// Guarded like `host.nix`: one host that does not evaluate must not hide the others.
const LIST_HOSTS: &str = r"
hosts:
let
  known = value: let tried = builtins.tryEval (builtins.deepSeq value value); in if tried.success then tried.value else null;
  firstKnown = candidates:
    let found = builtins.filter (value: value != null) (map known candidates);
    in if found == [ ] then null else builtins.head found;
in
builtins.mapAttrs (_: host: {
  hostName = known (host.config.networking.hostName or null);
  system = firstKnown [ (host.pkgs.stdenv.hostPlatform.system or null) (host.config.nixpkgs.hostPlatform.system or null) ];
}) hosts";

async fn list(nix: &Nix, flake: &str) -> Result<BTreeMap<String, Listed>, EvalError> {
    let installable = format!("{flake}#nixosConfigurations");
    nix.eval(&installable, LIST_HOSTS).await.map(|evaluated| evaluated.value)
}

/// The attributes whose host has this `networking.hostName`.
pub(super) async fn hosts_called(
    nix: &Nix,
    flake: &str,
    name: &str,
) -> Result<Vec<String>, EvalError> {
    let hosts = list(nix, flake).await?.into_iter();
    let called_so = hosts.filter(|(_, listed)| listed.host_name.as_deref() == Some(name));
    Ok(called_so.map(|(attribute, _)| attribute).collect())
}

/// Says which hosts there are instead. `words`: Nix' own.
pub(super) async fn unknown_host(nix: &Nix, host: &HostRef, flake: &str, words: &str) -> Failure {
    let flake = host.flake.as_deref().unwrap_or(flake);
    let failure =
        Failure::new(Exit::Usage, format!("the flake {flake} has no host '{}'", host.attribute));
    match list(nix, flake).await {
        Ok(hosts) if hosts.is_empty() => failure.hint("its nixosConfigurations are empty"),
        Ok(hosts) => failure.hint(suggest(&host.attribute, &hosts)),
        Err(EvalError::NoAttribute(_)) => failure.hint("it has no nixosConfigurations at all"),
        Err(_) => failure.because(anyhow::anyhow!(words.to_owned())),
    }
}

/// The hosts there are, and which of them was probably meant.
fn suggest(wanted: &str, hosts: &BTreeMap<String, Listed>) -> String {
    let is_called_so =
        |(_, listed): &(&String, &Listed)| listed.host_name.as_deref() == Some(wanted);
    let is_keyed_by_system = |(attribute, listed): &(&String, &Listed)| {
        listed.system.as_deref() == Some(attribute.as_str())
    };
    let called_so: Vec<_> = hosts.iter().filter(is_called_so).collect();
    let keyed: Vec<_> = called_so.iter().copied().filter(is_keyed_by_system).collect();
    let near =
        |(name, _): &(&String, &Listed)| strsim::levenshtein(wanted, name) <= 1 + wanted.len() / 4;
    let mut text = String::new();
    if !called_so.is_empty() {
        // Of one host under two attributes, that of its own system is meant.
        let (why, meant) = if keyed.is_empty() {
            ("that is a hostName; hosts are named by their attribute", called_so)
        } else {
            ("attributes here are keyed by system", keyed)
        };
        let meant: Vec<_> = meant.iter().map(|(attribute, _)| attribute.as_str()).collect();
        text = format!("{why}: did you mean '{}'?\n", meant.join("' or '"));
    } else if let Some((attribute, _)) = hosts.iter().find(near) {
        text = format!("did you mean '{attribute}'?\n");
    }
    text.push_str("its hosts are:");
    let width = hosts.keys().map(String::len).max().unwrap_or(0);
    for (attribute, listed) in hosts {
        let system = listed.system.as_deref().unwrap_or("system unknown");
        let name = listed.host_name.as_deref().unwrap_or("unknown");
        let _ = write!(text, "\n  {attribute:width$}  {system}, hostName {name}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_references_are_split_into_flake_and_attribute() {
        let parsed = |text: &str| text.parse::<HostRef>().unwrap().installable("/fleet");
        assert_eq!(parsed("helios64"), "/fleet#nixosConfigurations.\"helios64\"");
        assert_eq!(parsed("x86_64-linux"), "/fleet#nixosConfigurations.\"x86_64-linux\"");
        assert_eq!(parsed(".#helios64"), ".#nixosConfigurations.\"helios64\"");
        assert_eq!(parsed("#a"), ".#nixosConfigurations.\"a\"");
        assert_eq!(parsed("github:me/d#a.b"), "github:me/d#nixosConfigurations.\"a.b\"");
        assert_eq!(parsed(".#nixosConfigurations.x.config"), ".#nixosConfigurations.x.config");
        let shown = "https://me:pw@host/x#nas".parse::<HostRef>().unwrap().to_string();
        assert_eq!(shown, "https://REDACTED@host/x#nas");
        for bad in ["", ".#", "a\"b", "${x}"] {
            assert!(bad.parse::<HostRef>().is_err(), "{bad}");
        }
    }

    fn fleet() -> BTreeMap<String, Listed> {
        let listed = |name: &str, system: &str| Listed {
            host_name: Some(name.to_owned()),
            system: Some(system.to_owned()),
        };
        BTreeMap::from([
            ("helios64".to_owned(), listed("helios64", "aarch64-linux")),
            ("x86_64-linux".to_owned(), listed("nixos", "x86_64-linux")),
        ])
    }

    #[test]
    fn a_host_name_leads_to_its_attribute() {
        let hint = suggest("nixos", &fleet());
        assert!(
            hint.starts_with("attributes here are keyed by system: did you mean 'x86_64-linux'?")
        );
        assert!(hint.contains("helios64      aarch64-linux, hostName helios64"));
    }

    #[test]
    fn of_hosts_with_one_name_that_of_its_own_system_is_meant_or_each() {
        let mut hosts = fleet();
        hosts.insert("aarch64-linux".to_owned(), hosts["x86_64-linux"].clone());
        assert!(suggest("nixos", &hosts).contains("system: did you mean 'x86_64-linux'?"));
        hosts.insert(
            "aarch64-linux".to_owned(),
            Listed { system: Some("aarch64-linux".to_owned()), ..hosts["x86_64-linux"].clone() },
        );
        let both = "did you mean 'aarch64-linux' or 'x86_64-linux'?";
        assert!(suggest("nixos", &hosts).contains(both));
        let hosts = ["one", "two"].map(|name| (name.to_owned(), hosts["x86_64-linux"].clone()));
        let hint = suggest("nixos", &BTreeMap::from(hosts));
        assert!(hint.starts_with(
            "that is a hostName; hosts are named by their attribute: did you mean 'one' or 'two'?"
        ));
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        assert!(suggest("helios46", &fleet()).starts_with("did you mean 'helios64'?"));
        assert!(suggest("zebra", &fleet()).starts_with("its hosts are:"));
    }
}
