//! What the flake declares of the host: one evaluation, everything else from its result.

use super::layout::{
    DeclaredDisk, DeclaredFileSystem, DeclaredFirmware, DeclaredLogins, DeclaredPool,
    DeclaredSecret, Kept,
};
use crate::nix::{Derivation, EvalError, Nix, quoted};
use crate::report::{Exit, Failure};
use anyhow::Result;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write as _};
use std::str::FromStr;
use tokio::task::JoinSet;

/// Which host of which flake: `helios64`, `.#helios64`, `github:me/dotfiles#helios64`, or an attribute path as
/// in `.#nixosConfigurations.x.config`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRef {
    /// The flake, if the reference names one.
    pub flake: Option<String>,
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

impl fmt::Display for HostRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.flake {
            Some(flake) => write!(f, "{flake}#{}", self.attribute),
            None => f.write_str(&self.attribute),
        }
    }
}

impl HostRef {
    /// The flake, with `default` for a reference that names none.
    pub fn flake<'a>(&'a self, default: &'a str) -> &'a str {
        self.flake.as_deref().unwrap_or(default)
    }

    /// Its name among the flake's hosts; none for an attribute path.
    fn name(&self) -> Option<&str> {
        (!self.attribute.starts_with("nixosConfigurations.")).then_some(&self.attribute)
    }

    /// The path of its system's recipe, within the flake.
    fn recipe(&self) -> String {
        let config = match self.name() {
            Some(name) => format!("nixosConfigurations.\"{name}\".config"),
            None if self.attribute.ends_with(".config") => self.attribute.clone(),
            None => format!("{}.config", self.attribute),
        };
        format!("{config}.system.build.toplevel.drvPath")
    }

    /// What `nix` calls it alone.
    fn installable(&self, default: &str) -> String {
        let flake = self.flake(default);
        match self.name() {
            Some(name) => format!("{flake}#nixosConfigurations.\"{name}\""),
            None => format!("{flake}#{}", self.attribute),
        }
    }
}

/// What is known of the host. What the flake does not say, or cannot evaluate, is `None`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// The reference it was found by.
    #[serde(skip)]
    pub attribute: String,
    /// The flake's attribute that is the path of the system's recipe.
    #[serde(skip)]
    pub recipe: String,
    /// `networking.hostName`.
    pub host_name: Option<String>,
    /// The platform it runs on: `aarch64-linux`.
    pub system: Option<String>,
    /// The system to install; none for something that is not a NixOS configuration.
    pub toplevel: Option<Derivation>,
    /// disko's legacy script: the output itself is the script, and it asks nothing.
    pub disko_script: Option<Derivation>,
    /// disko's newer script, `bin/disko-destroy-format-mount`, which wants `--yes-wipe-all-disks`.
    pub destroy_format_mount: Option<Derivation>,
    /// The disks of the layout, by their names in it.
    pub disks: Option<BTreeMap<String, DeclaredDisk>>,
    /// disko's script that only mounts what is laid out already.
    #[serde(default)]
    pub mount_script: Option<Derivation>,
    /// The pools of the layout, by their names.
    pub pools: Option<BTreeMap<String, DeclaredPool>>,
    /// What of the layout is kept. Its disks count as `destroy = false`.
    #[serde(default)]
    pub kept: Kept,
    /// Version of the ZFS that the system has: `2.3.4`.
    #[serde(default)]
    pub zfs_version: Option<String>,
    /// The mount points that the layout provides.
    #[serde(default)]
    pub layout_mounts: Option<Vec<String>>,
    /// The file systems of the configuration, by their mount points.
    #[serde(default)]
    pub file_systems: Option<BTreeMap<String, DeclaredFileSystem>>,
    /// Whether it is a container (`boot.isContainer`), which has no kernel, initrd or boot loader.
    #[serde(default)]
    pub is_container: Option<bool>,
    /// `networking.hostId`.
    #[serde(default)]
    pub host_id: Option<String>,
    /// Whether it uses ZFS.
    #[serde(default)]
    pub zfs: Option<bool>,
    /// `boot.kernelParams`.
    #[serde(default)]
    pub kernel_params: Option<Vec<String>>,
    /// `boot.extraModprobeConfig`.
    #[serde(default)]
    pub modprobe_config: Option<String>,
    /// Modules of the initrd, loaded or available.
    #[serde(default)]
    pub initrd_modules: Option<Vec<String>>,
    /// Who can log in.
    #[serde(default)]
    pub logins: Option<DeclaredLogins>,
    /// Names of its users.
    #[serde(default)]
    pub users: Option<Vec<String>>,
    /// Names of its groups.
    #[serde(default)]
    pub groups: Option<Vec<String>>,
    /// Secrets that agenix is to decrypt.
    #[serde(default)]
    pub secrets: Option<Vec<DeclaredSecret>>,
    /// `age.identityPaths`: the private keys that agenix will try, where they are.
    #[serde(default)]
    pub identity_paths: Option<Vec<String>>,
    /// The age files of the secrets by their paths, as they are in the store; none for one that is not there.
    #[serde(skip)]
    pub secret_files: BTreeMap<String, Option<Vec<u8>>>,
    /// Messages of assertions that fail. A host with any has no toplevel.
    #[serde(default)]
    pub failed_assertions: Option<Vec<String>>,
    /// Other attributes of the flake whose host has the same `networking.hostName`; none where it was not asked.
    #[serde(default)]
    pub namesakes: Option<Vec<String>>,
    /// The boot loader.
    pub boot_loader: Option<BootLoader>,
    /// What the boot loader is set up for.
    #[serde(default)]
    pub firmware: Option<DeclaredFirmware>,
    /// `hardware.deviceTree.name`.
    pub device_tree: Option<String>,
    /// `services.openssh.hostKeys`.
    pub host_keys: Option<Vec<DeclaredHostKey>>,
    /// `warnings`, in the flake's own words.
    pub warnings: Option<Vec<String>>,
}

/// A host key that sshd will use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct DeclaredHostKey {
    /// Path of the private key.
    pub path: String,
    /// `ed25519`, `rsa` …
    #[serde(rename = "type")]
    pub kind: String,
}

/// How the installed system is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootLoader {
    /// `extlinux.conf`, read by U-Boot.
    Extlinux,
    /// systemd-boot, an EFI program.
    SystemdBoot,
    /// GRUB.
    Grub,
}

/// The script that lays out the disks, however the flake provides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskoScript {
    /// What to build.
    pub derivation: Derivation,
    /// What to run, with its arguments.
    pub command: Vec<String>,
}

impl HostFacts {
    /// Evaluates the flake, and reads the age files it names.
    pub async fn gather(nix: &Nix, host: &HostRef, flake: &str) -> Result<Self, Failure> {
        Self::gather_keeping(nix, host, flake, &[]).await
    }

    /// The same, where pools and disks of the layout are to be kept: named as in the layout, or by a disk's path.
    pub async fn gather_keeping(
        nix: &Nix,
        host: &HostRef,
        flake: &str,
        keep: &[String],
    ) -> Result<Self, Failure> {
        let evaluated = evaluate(nix, host, flake, keep).await;
        Self::of(evaluated, nix, host, flake).await
    }

    /// The same, and which other hosts of the flake have its name. To know that, something of each of them is evaluated,
    /// which takes seconds each.
    pub async fn gather_among_others(
        nix: &Nix,
        host: &HostRef,
        flake: &str,
        keep: &[String],
    ) -> Result<Self, Failure> {
        let evaluated = evaluate_among_others(nix, host, flake, keep).await;
        Self::of(evaluated, nix, host, flake).await
    }

    async fn of(
        evaluated: Result<Self, EvalError>,
        nix: &Nix,
        host: &HostRef,
        flake: &str,
    ) -> Result<Self, Failure> {
        match evaluated {
            Ok(mut facts) => {
                facts.attribute.clone_from(&host.attribute);
                facts.recipe = host.recipe();
                facts.read_secrets(nix).await.map_err(|error| {
                    Failure::new(Exit::Build, "the age files of the flake cannot be read")
                        .because(error)
                })?;
                Ok(facts)
            }
            Err(EvalError::NoAttribute(words)) => Err(unknown_host(nix, host, flake, &words).await),
            Err(EvalError::Failed(words)) => {
                Err(Failure::new(Exit::Build, format!("the flake cannot be evaluated for {host}"))
                    .because(anyhow::anyhow!(words))
                    .hint("this is the flake's own error; `nix eval --show-trace` tells more"))
            }
            Err(EvalError::Other(error)) => {
                Err(Failure::new(Exit::Build, format!("the flake cannot be evaluated for {host}"))
                    .because(error))
            }
        }
    }

    /// Reads the ciphertext of each secret, several at once.
    async fn read_secrets(&mut self, nix: &Nix) -> Result<()> {
        const AT_ONCE: usize = 8;
        let files = self.secrets.iter().flatten().filter_map(|secret| secret.file.clone());
        let files: Vec<String> = files.collect::<BTreeSet<_>>().into_iter().collect();
        for some in files.chunks(AT_ONCE) {
            let mut reading = JoinSet::new();
            for file in some.iter().cloned() {
                let nix = nix.clone();
                reading.spawn(async move { nix.read(&file).await.map(|bytes| (file, bytes)) });
            }
            while let Some(read) = reading.join_next().await {
                self.secret_files.extend([read??]);
            }
        }
        Ok(())
    }

    /// The host key of a kind (`ed25519`, `rsa` …) that sshd will use; without a kind, the one that is made if
    /// nothing else is said. A configuration that tells of none has the default of NixOS.
    pub fn host_key(&self, kind: Option<&str>) -> Option<DeclaredHostKey> {
        const USUAL: &str = "ed25519";
        let declared = self.host_keys.as_deref().unwrap_or_default();
        let of_kind = |kind| declared.iter().find(|key| key.kind == kind);
        let found = match kind {
            Some(kind) => of_kind(kind),
            None => of_kind(USUAL).or(declared.first()),
        };
        let usual = || DeclaredHostKey {
            path: "/etc/ssh/ssh_host_ed25519_key".to_owned(),
            kind: USUAL.to_owned(),
        };
        let has_default = declared.is_empty() && kind.is_none_or(|kind| kind == USUAL);
        found.cloned().or_else(|| has_default.then(usual))
    }

    /// The script that lays out the disks: the one nixos-anywhere also runs, or the newer one.
    pub fn disko(&self) -> Option<DiskoScript> {
        let legacy = self.disko_script.as_ref().map(|derivation| DiskoScript {
            derivation: derivation.clone(),
            command: vec![derivation.out.to_string()],
        });
        legacy.or_else(|| {
            let derivation = self.destroy_format_mount.as_ref()?;
            let program = format!("{}/bin/disko-destroy-format-mount", derivation.out);
            let command = vec![program, "--yes-wipe-all-disks".to_owned()];
            Some(DiskoScript { derivation: derivation.clone(), command })
        })
    }

    /// The disks that the layout wipes.
    pub fn wiped_disks(&self) -> impl Iterator<Item = (&String, &DeclaredDisk)> {
        self.disks.iter().flatten().filter(|(_, disk)| disk.destroy)
    }
}

/// One evaluation, of this host alone.
async fn evaluate(
    nix: &Nix,
    host: &HostRef,
    flake: &str,
    keep: &[String],
) -> Result<HostFacts, EvalError> {
    nix.eval(&host.installable(flake), &format!("({}) null", facts_keeping(keep))).await
}

/// One evaluation of the host among all of its flake, so that its namesakes are seen.
///
/// A host that is broken in a way Nix cannot catch must not hide this one; then this one is evaluated alone.
async fn evaluate_among_others(
    nix: &Nix,
    host: &HostRef,
    flake: &str,
    keep: &[String],
) -> Result<HostFacts, EvalError> {
    let facts = facts_keeping(keep);
    if let Some(name) = host.name() {
        let installable = format!("{}#nixosConfigurations", host.flake(flake));
        // The name has no quotes, backslashes or dollars: it was parsed.
        let among = format!(
            "hosts: if hosts ? \"{name}\" then ({facts}) (removeAttrs hosts [ \"{name}\" ]) hosts.\"{name}\" \
             else null"
        );
        if let Ok(Some(facts)) = nix.eval::<Option<HostFacts>>(&installable, &among).await {
            return Ok(facts);
        }
    }
    evaluate(nix, host, flake, keep).await
}

/// The function of the other hosts, if any, and this one.
fn facts_keeping(keep: &[String]) -> String {
    format!("({}) {}", include_str!("host.nix"), nix_list(keep))
}

/// A list of strings in Nix' own words.
fn nix_list(texts: &[String]) -> String {
    format!("[ {} ]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "))
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

async fn unknown_host(nix: &Nix, host: &HostRef, flake: &str, words: &str) -> Failure {
    let flake = host.flake.as_deref().unwrap_or(flake);
    let failure =
        Failure::new(Exit::Usage, format!("the flake {flake} has no host '{}'", host.attribute));
    let installable = format!("{flake}#nixosConfigurations");
    match nix.eval::<BTreeMap<String, Listed>>(&installable, LIST_HOSTS).await {
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
    let near = |(name, _): &(&String, &Listed)| distance(wanted, name) <= 1 + wanted.len() / 4;
    let mut text = String::new();
    if !called_so.is_empty() {
        // Of one host under two attributes, that of its own system is meant.
        let (why, meant) = if keyed.is_empty() {
            ("that is a hostName, hosts are named by their attribute", called_so)
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

/// Levenshtein's distance between two short words.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let substitute = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = substitute.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn host_references() {
        let parsed = |text: &str| text.parse::<HostRef>().unwrap().installable("/fleet");
        assert_eq!(parsed("helios64"), "/fleet#nixosConfigurations.\"helios64\"");
        assert_eq!(parsed("x86_64-linux"), "/fleet#nixosConfigurations.\"x86_64-linux\"");
        assert_eq!(parsed(".#helios64"), ".#nixosConfigurations.\"helios64\"");
        assert_eq!(parsed("#a"), ".#nixosConfigurations.\"a\"");
        assert_eq!(parsed("github:me/d#a.b"), "github:me/d#nixosConfigurations.\"a.b\"");
        assert_eq!(parsed(".#nixosConfigurations.x.config"), ".#nixosConfigurations.x.config");
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
    fn a_list_for_nix_means_what_it_says() {
        assert_eq!(nix_list(&[]), "[  ]");
        let odd = ["tank".to_owned(), r#"a"b\${c}"#.to_owned()];
        assert_eq!(nix_list(&odd), r#"[ "tank" "a\"b\\\${c}" ]"#);
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
            "that is a hostName, hosts are named by their attribute: did you mean 'one' or 'two'?"
        ));
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        assert!(suggest("helios46", &fleet()).starts_with("did you mean 'helios64'?"));
        assert!(suggest("zebra", &fleet()).starts_with("its hosts are:"));
    }

    #[test]
    fn distances() {
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("", "abc"), 3);
        assert_eq!(distance("same", "same"), 0);
    }
}
