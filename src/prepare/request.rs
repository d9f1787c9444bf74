//! What the user wants of an install, as it stands on the command line, understood.

use crate::facts::HostRef;
use crate::hex;
use crate::machine::{ImageSource, Login, Script};
use crate::plan::{Agreement, BuildOn, Wishes};
use crate::secrets::agent::AgentWishes;
use crate::secrets::{DiskKey, Extra, KeySource};
use sha2::{Digest as _, Sha256};
use std::path::PathBuf;

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: String,
    /// What takes the place of its inputs: name and reference.
    pub overrides: Vec<(String, String)>,
    /// How to log in to the target.
    pub login: Login,
    /// Whether a target may be met that nobody has met before: its host key becomes part of the consent.
    pub may_meet: bool,
    /// The kexec image, if one was given.
    pub image: Option<ImageSource>,
    /// The digest the image must have, in hexadecimal.
    pub image_sha256: Option<String>,
    /// Further wishes.
    pub wishes: Wishes,
    /// What the machine is made with, beside its flake.
    pub provisions: Provisions,
    /// How the user agrees to what is erased.
    pub agreement: Agreement,
    /// Whether an unfinished run is to be forgotten.
    pub restart: bool,
    /// Where the journal is kept, if not with those of real machines.
    pub journals: Option<PathBuf>,
    /// Run on the target after each login to a system that is not yet the installed one, before anything
    /// is read from it.
    pub prepare: Vec<Script>,
}

impl Request {
    /// By what the kexec image is agreed to, where that is not the digest of a file: a check downloads nothing.
    pub fn image_named(&self) -> Option<String> {
        match (&self.image, &self.image_sha256) {
            (Some(ImageSource::Url(_)), Some(pinned)) => Some(pinned.to_lowercase()),
            // A URL may hold a password.
            (Some(ImageSource::Url(url)), None) => {
                Some(format!("from the URL with SHA-256 {}", hex(&Sha256::digest(url.as_bytes()))))
            }
            (Some(ImageSource::File(_)) | None, _) => None,
        }
    }
}

/// What a machine is made with, beside its flake.
#[derive(Debug, Clone, Default)]
pub struct Provisions {
    /// Pools and disks of the layout that are kept: by their names in it, or a disk's path.
    pub keep: Vec<String>,
    /// Keys of encrypted disks and pools, for the installer.
    pub disk_keys: Vec<DiskKey>,
    /// Who builds the system.
    pub build_on: BuildOn,
    /// What may be used of the user's agent by a target that evaluates the flake itself; none if it does not.
    pub evaluate_there: Option<AgentWishes>,
    /// Which host key is brought along, and what opens it.
    pub host_key: KeySource,
    /// Files that the installed system has from its first boot on.
    pub extra: Extra,
}
