//! What the user wants of an install, as it stands on the command line, understood.

use crate::facts::HostRef;
use crate::hex;
use crate::machine::{ImageSource, Login, Script};
use crate::plan::InstallOptions;
use crate::secrets::agent::AgentWishes;
use crate::secrets::{DiskKey, Extra, KeySource};
use sha2::{Digest as _, Sha256};

/// A flake, for a host that names none.
#[derive(Debug, Clone)]
pub struct Flake {
    /// Where it is.
    pub reference: String,
    /// What takes the place of its inputs: name and reference.
    pub overrides: Vec<(String, String)>,
}

/// What is to be installed: the same for an install, its check and its rehearsal.
#[derive(Debug, Clone)]
pub struct Request {
    /// Which host.
    pub host: HostRef,
    /// The flake, for a host that names none.
    pub flake: Flake,
    /// What the user decided.
    pub options: InstallOptions,
    /// Where that which is supplied comes from.
    pub sources: Sources,
}

/// Where it is to be installed, and how to get there.
#[derive(Debug, Clone)]
pub struct TargetRequest {
    /// How to log in to the target.
    pub login: Login,
    /// Whether a target may answer whose host key is not known yet: the key becomes part of the consent.
    pub accepts_first_contact: bool,
    /// The kexec image, if one was given.
    pub image: Option<ImageSource>,
    /// The digest the image must have, in hexadecimal.
    pub image_sha256: Option<String>,
    /// Run on the target after each login to a system that is not yet the installed one, before anything
    /// is read from it.
    pub prepare: Vec<Script>,
}

impl TargetRequest {
    /// By what the kexec image is agreed to, where that is not the digest of a file: a check downloads nothing.
    pub(super) fn image_named(&self) -> Option<String> {
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

/// Where that comes from which a machine is made with, beside its flake.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Keys of encrypted disks and pools, for the installer.
    pub(crate) disk_keys: Vec<DiskKey>,
    /// What may be used of the user's agent by a target that evaluates the flake itself; none if it does not.
    pub(crate) evaluate_there: Option<AgentWishes>,
    /// Which host key is supplied, and what opens it.
    pub(crate) host_key: KeySource,
    /// Files that the installed system has from its first boot on.
    pub(crate) extra: Extra,
}
