//! What the flake declares of the host: one evaluation, everything else from its result.

use super::boot_loader::{BootDirectory, BootLoader, DeclaredBootPlaces, DeclaredFirmware};
use super::devices::Devices;
use super::host_ref::{HostRef, hosts_called, unknown_host};
use super::layout::{
    DeclaredDisk, DeclaredFileSystem, DeclaredLogins, DeclaredPool, DeclaredSecret, Kept,
};
use crate::nix::{Derivation, EvalError, Evaluated, Nix, Untracked, quoted};
use crate::report::{Exit, Failure};
use anyhow::Result;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tokio::task::JoinSet;

/// What is known of the host. What the flake does not say, or cannot evaluate, is `None`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct HostFacts {
    /// The reference it was found by.
    #[serde(skip)]
    pub(crate) attribute: String,
    /// The flake's attribute that is the path of the system's derivation.
    #[serde(skip)]
    pub(crate) drv_attribute: String,
    /// Work trees that were read with changes that are in no commit: of the flake, or of an input.
    #[serde(skip)]
    pub(crate) dirty: Vec<String>,
    /// `networking.hostName`.
    pub(crate) host_name: Option<String>,
    /// The platform it runs on: `aarch64-linux`.
    pub(crate) system: Option<String>,
    /// The system to install; none for something that is not a NixOS configuration.
    pub toplevel: Option<Derivation>,
    /// disko's legacy script: the output itself is the script, and it asks nothing.
    pub(crate) disko_script: Option<Derivation>,
    /// disko's newer script, `bin/disko-destroy-format-mount`, which wants `--yes-wipe-all-disks`.
    pub(crate) destroy_format_mount: Option<Derivation>,
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
    pub(crate) zfs_version: Option<String>,
    /// The whole layout; none if it cannot be read.
    #[serde(default)]
    pub(crate) layout: Option<Devices>,
    /// The mount points that the layout provides.
    #[serde(default)]
    pub layout_mounts: Option<Vec<String>>,
    /// The file systems of the configuration, by their mount points.
    #[serde(default)]
    pub file_systems: Option<BTreeMap<String, DeclaredFileSystem>>,
    /// Whether it is a container (`boot.isContainer`), which has no kernel, initrd or boot loader.
    #[serde(default)]
    pub(crate) is_container: Option<bool>,
    /// `networking.hostId`.
    #[serde(default)]
    pub host_id: Option<String>,
    /// Whether it uses ZFS.
    #[serde(default)]
    pub zfs: Option<bool>,
    /// `boot.kernelParams`.
    #[serde(default)]
    pub(crate) kernel_params: Option<Vec<String>>,
    /// `boot.extraModprobeConfig`.
    #[serde(default)]
    pub(crate) modprobe_config: Option<String>,
    /// Modules of the initrd, loaded or available.
    #[serde(default)]
    pub(crate) initrd_modules: Option<Vec<String>>,
    /// Who can log in.
    #[serde(default)]
    pub logins: Option<DeclaredLogins>,
    /// Names of its users.
    #[serde(default)]
    pub(crate) users: Option<Vec<String>>,
    /// Names of its groups.
    #[serde(default)]
    pub(crate) groups: Option<Vec<String>>,
    /// Secrets that agenix is to decrypt.
    #[serde(default)]
    pub(crate) secrets: Option<Vec<DeclaredSecret>>,
    /// `age.identityPaths`: the private keys that agenix will try, where they are.
    #[serde(default)]
    pub(crate) identity_paths: Option<Vec<String>>,
    /// The age files of the secrets by their paths, as they are in the store; none for one that is not there.
    #[serde(skip)]
    pub(crate) secret_files: BTreeMap<String, Option<Vec<u8>>>,
    /// Messages of assertions that fail. A host with any has no toplevel.
    #[serde(default)]
    pub(crate) failed_assertions: Option<Vec<String>>,
    /// Other attributes of the flake whose host has the same `networking.hostName`; none where they were not looked for.
    #[serde(skip)]
    pub(crate) namesakes: Option<Vec<String>>,
    /// Who starts it; none if the configuration enables no boot loader.
    pub boot_loader: Option<BootLoader>,
    /// What the boot loader is set up for.
    #[serde(default)]
    pub firmware: Option<DeclaredFirmware>,
    /// Where the boot loader is told to keep its files.
    #[serde(default)]
    pub boot_places: DeclaredBootPlaces,
    /// `hardware.deviceTree.name`.
    pub(crate) device_tree: Option<String>,
    /// `services.openssh.hostKeys`.
    pub(crate) host_keys: Option<Vec<DeclaredHostKey>>,
    /// `warnings`, in the flake's own words.
    pub(crate) warnings: Option<Vec<String>>,
}

/// A host key that sshd will use.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(crate) struct DeclaredHostKey {
    /// Path of the private key.
    pub(crate) path: String,
    /// `ed25519`, `rsa` …
    #[serde(rename = "type")]
    pub(crate) kind: String,
}

/// The script that lays out the disks, however the flake provides it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DiskoScript {
    /// What to build.
    pub(crate) derivation: Derivation,
    /// What to run, with its arguments.
    pub(crate) command: Vec<String>,
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
        let evaluated = nix.eval::<Self>(&host.installable(flake), &facts_keeping(keep)).await;
        match evaluated {
            Ok(Evaluated { value: mut facts, dirty }) => {
                facts.dirty = dirty;
                facts.attribute.clone_from(&host.attribute);
                facts.drv_attribute = host.drv_attribute();
                facts.take_from_layout();
                facts.read_secrets(nix).await.map_err(|error| {
                    Failure::new(Exit::Build, "the age files of the flake cannot be read")
                        .because(error)
                })?;
                Ok(facts)
            }
            Err(EvalError::NoAttribute(words)) => Err(unknown_host(nix, host, flake, &words).await),
            Err(EvalError::Failed(words)) => {
                let hint = if let Some(file) = Untracked::of(host.flake(flake), &words) {
                    format!(
                        "{} is not in git, and a flake in a git repository sees only tracked files: `{}`",
                        file.file,
                        file.add_by_hand()
                    )
                } else {
                    let installable = format!("{}#{}", host.flake(flake), host.drv_attribute());
                    let line = ["nix", "eval", "--show-trace", &installable];
                    let line = shlex::try_join(line).unwrap_or_default();
                    format!("the error is in the flake; `{line}` shows where")
                };
                Err(Failure::new(Exit::Build, format!("the flake cannot be evaluated for {host}"))
                    .because(anyhow::anyhow!(words))
                    .hint(hint))
            }
            Err(EvalError::Other(error)) => {
                Err(Failure::new(Exit::Build, format!("the flake cannot be evaluated for {host}"))
                    .because(error))
            }
        }
    }

    /// What of the layout stands by itself here too.
    fn take_from_layout(&mut self) {
        let Some(layout) = &self.layout else { return };
        self.layout_mounts = Some(layout.mounts());
        for (name, pool) in self.pools.iter_mut().flatten() {
            pool.indirect = layout.indirect_members(name);
        }
    }

    /// Finds out which other hosts of the flake have its name. To know that, something of each of them is evaluated, which takes
    /// seconds each.
    pub(crate) async fn find_namesakes(
        &mut self,
        nix: &Nix,
        host: &HostRef,
        flake: &str,
    ) -> Result<(), EvalError> {
        if let (Some(attribute), Some(name)) = (host.name(), &self.host_name) {
            let mut called_so = hosts_called(nix, host.flake(flake), name).await?;
            called_so.retain(|other| other != attribute);
            self.namesakes = Some(called_so);
        }
        Ok(())
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
    /// nothing else is said. A configuration that names none has the default of NixOS.
    pub(crate) fn host_key(&self, kind: Option<&str>) -> Option<DeclaredHostKey> {
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

    /// The directories with the boot loader's configuration; none if there is no boot loader, or if landfall cannot read it.
    pub fn boot_directories(&self) -> Vec<BootDirectory> {
        let declared = self.firmware.clone().unwrap_or_default();
        let of = |loader: BootLoader| loader.directories(&declared, &self.boot_places);
        self.boot_loader.map(of).unwrap_or_default()
    }

    /// The script that lays out the disks: the one nixos-anywhere also runs, or the newer one.
    pub(crate) fn disko(&self) -> Option<DiskoScript> {
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

    /// The mount point of the file system of the configuration that a path is on.
    pub(crate) fn mount_of(&self, path: &str) -> Option<&str> {
        let holds = |point: &&String| {
            let below = path.strip_prefix(point.trim_end_matches('/'));
            below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let points = self.file_systems.iter().flatten().map(|(point, _)| point);
        points.filter(holds).max_by_key(|point| point.len()).map(String::as_str)
    }

    /// How many members the layout gives a pool: disks and partitions, and what lies on LUKS, LVM or md.
    pub(crate) fn members_of(&self, pool: &str) -> usize {
        let disks = self.disks.iter().flatten().map(|(_, disk)| disk);
        let direct = disks.flat_map(DeclaredDisk::pools).filter(|of| *of == pool).count();
        let declared = self.pools.as_ref().and_then(|pools| pools.get(pool));
        direct + declared.map_or(0, |pool| pool.indirect.len())
    }

    /// Whether the layout has a disk that is wiped or kept.
    pub(crate) fn has_disks(&self) -> bool {
        self.wiped_disks().next().is_some() || !self.kept.disks.is_empty()
    }

    /// The disks that the layout wipes.
    pub(crate) fn wiped_disks(&self) -> impl Iterator<Item = (&String, &DeclaredDisk)> {
        self.disks.iter().flatten().filter(|(_, disk)| disk.destroy)
    }
}

/// The function of the host.
fn facts_keeping(keep: &[String]) -> String {
    format!("({}) {} {}", include_str!("host.nix"), BootLoader::nix_list(), nix_list(keep))
}

/// A list of strings in Nix' own words.
fn nix_list(texts: &[String]) -> String {
    format!("[ {} ]", texts.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_for_nix_means_what_it_says() {
        assert_eq!(nix_list(&[]), "[  ]");
        let odd = ["tank".to_owned(), r#"a"b\${c}"#.to_owned()];
        assert_eq!(nix_list(&odd), r#"[ "tank" "a\"b\\\${c}" ]"#);
    }
}
