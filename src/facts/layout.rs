//! What the host's disko layout declares: disks, partitions, pools, datasets.

use crate::nix::Derivation;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};

/// A disk of the layout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredDisk {
    /// Its path: `/dev/disk/by-id/…`.
    pub device: String,
    /// Whether the layout wipes it.
    pub destroy: bool,
    /// What the whole disk holds: `gpt`, `zfs`, `luks` … (disko's `content.type`).
    pub(crate) content: Option<String>,
    /// The pool it is a member of as a whole, without partitions.
    pub(crate) pool: Option<String>,
    /// Its partitions, in the order they are made.
    pub partitions: Vec<DeclaredPartition>,
}

impl DeclaredDisk {
    /// The pools that it is a member of: once for each of its members, as a whole or by a partition.
    pub(crate) fn pools(&self) -> impl Iterator<Item = &String> {
        let of_partitions = self.partitions.iter().filter_map(|part| part.pool.as_ref());
        of_partitions.chain(&self.pool)
    }

    pub(crate) fn is_member(&self, pool: &str) -> bool {
        self.pools().any(|of| of == pool)
    }
}

/// A partition of the layout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredPartition {
    /// Its name in the layout.
    pub(crate) name: String,
    /// Its GPT name, which `/dev/disk/by-partlabel` shows.
    pub label: Option<String>,
    /// Where it starts, in sgdisk's words: `32M`, `0` for the first free sector (1 MiB on an empty disk).
    pub start: Option<String>,
    /// Its size, in sgdisk's words: `512M`, `100%`, `0` for all that is left.
    pub size: Option<String>,
    /// Where it ends, in sgdisk's words: `+512M` from its start, `-8G` before the end of what is free. disko makes it of
    /// the size, where the layout does not name it.
    pub(crate) end: Option<String>,
    /// Its type code: `EF00`, `8300`, `BF01` …
    #[serde(rename = "type")]
    pub(crate) kind: Option<String>,
    /// What it holds: `filesystem`, `zfs`, `swap`, `luks` … (disko's `content.type`).
    pub(crate) content: Option<String>,
    /// The pool it is a member of.
    pub pool: Option<String>,
}

/// A pool of the layout.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredPool {
    /// `mirror`, `raidz1` …, empty for a stripe; none where the layout spells its topology out.
    pub mode: Option<String>,
    /// Pool properties (zpoolprops(7)).
    pub options: BTreeMap<String, String>,
    /// Properties of its root dataset (zfsprops(7)).
    pub root_fs_options: BTreeMap<String, String>,
    /// Its datasets by their names below the pool, with their properties.
    pub datasets: BTreeMap<String, BTreeMap<String, String>>,
    /// Those of its members that lie on LUKS, LVM or md: of each, the names of the disks below it.
    #[serde(skip)]
    pub(crate) indirect: Vec<BTreeSet<String>>,
}

/// What of the layout is kept, because the user wishes so: pools, with all of the disks that the layout gives them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Kept {
    /// Names of pools.
    pub(crate) pools: Vec<String>,
    /// Names of disks, in the layout.
    pub disks: Vec<String>,
    /// Wishes that name neither a pool nor a disk of the layout.
    pub unknown: Vec<String>,
    /// disko's script that creates what is missing, made so that it does not know the kept disks' partitions.
    pub format_script: Option<Derivation>,
}

/// A file system of the configuration (`fileSystems.<path>`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredFileSystem {
    /// What is mounted.
    pub device: Option<String>,
    /// `ext4`, `zfs` …
    pub(crate) fs_type: String,
    /// Its mount options: `noauto`, `nofail` …
    pub(crate) options: Vec<String>,
    /// Whether the initrd mounts it by the configuration's own wish (`neededForBoot`).
    pub(crate) needed_for_boot: bool,
}

impl DeclaredFileSystem {
    /// Whether the initrd mounts it, at this mount point: by the configuration's own wish, or because NixOS cannot do
    /// without (nixpkgs, `utils.fsNeededForBoot` and its `pathsNeededForBoot`).
    pub(crate) fn is_needed_for_boot(&self, mount_point: &str) -> bool {
        const PATHS: [&str; 9] = [
            "/",
            "/nix",
            "/nix/store",
            "/var",
            "/var/log",
            "/var/lib",
            "/var/lib/nixos",
            "/etc",
            "/usr",
        ];
        self.needed_for_boot || PATHS.contains(&mount_point)
    }
}

/// Who can log in to the installed system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredLogins {
    /// Whether sshd runs.
    pub(crate) sshd: bool,
    pub(crate) ports: Vec<u16>,
    /// `PermitRootLogin`.
    pub permit_root_login: Option<String>,
    /// `PasswordAuthentication`.
    pub(crate) password_authentication: Option<bool>,
    /// `PubkeyAuthentication`.
    pub public_key_authentication: Option<bool>,
    /// `AuthenticationMethods`: any of these is enough, each a list with commas between.
    pub authentication_methods: Option<Vec<String>>,
    /// `AllowUsers`: patterns, with or without `@HOST`.
    pub allow_users: Option<Vec<String>>,
    /// `DenyUsers`.
    pub deny_users: Option<Vec<String>>,
    /// `AllowGroups`.
    pub(crate) allow_groups: Option<Vec<String>>,
    /// `DenyGroups`.
    pub(crate) deny_groups: Option<Vec<String>>,
    /// The groups that root is in.
    pub root_groups: Vec<String>,
    /// Whether sshd asks a command for keys, or trusts an authority.
    pub keys_from_elsewhere: bool,
    /// Number of root's authorized keys.
    pub root_keys: u32,
    /// Other users with authorized keys.
    pub(crate) users_with_keys: Vec<String>,
    /// Users (root too) who have a password of whatever kind.
    pub(crate) users_with_password: Vec<String>,
}

/// A secret that agenix is to decrypt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DeclaredSecret {
    pub(crate) name: String,
    /// The age file, most often in the store; none if the flake cannot say.
    pub(crate) file: Option<String>,
    /// Where the plaintext will be.
    pub(crate) path: String,
    /// Its mode, in octal.
    pub(crate) mode: String,
    /// Whose it will be: a name, or a number.
    pub(crate) owner: String,
    pub(crate) group: String,
    /// Whether `path` is a link to where the plaintext really is (in /run), or the plaintext itself.
    pub(crate) symlink: bool,
}
