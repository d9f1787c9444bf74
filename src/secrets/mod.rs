//! Secrets on their way: the confined agent, age's recipients and identities, the machine's keys, files for the
//! first boot. Nothing here is ever logged, put in an argument or into the environment.

pub mod age;
pub mod agent;
mod archive;
mod content_digest;
mod disk_key;
mod extra;
mod files;
pub mod host_key;
pub(crate) mod place;
mod read;

pub use crate::secret::Secret;
pub(crate) use content_digest::content_digest;
pub(crate) use disk_key::{DiskKey, DiskKeys};
pub(crate) use extra::{Extra, Owner, Ownership, SecretFile, Source};
pub(crate) use files::Files;
pub use host_key::HostKey;
pub(crate) use host_key::{KeySource, Supplied};
pub(crate) use read::file as read_file;

use crate::hex;
use sha2::{Digest, Sha256};

/// Whatever becomes of this process, no core dump holds what it knows, and no other of this user's looks into its memory. What it
/// starts leaves no core dumps either; a kernel that hands them to a program of its own (core(5), a pipe) passes the limit to it.
pub fn forbid_core_dumps() {
    use rustix::process::{Resource, Rlimit, setrlimit};
    // To lower a limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) });
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        let _ = set_dumpable_behavior(DumpableBehavior::NotDumpable);
    }
}

/// So many bytes are not the same by chance.
const TELLING: usize = 8;

/// Size and SHA-256 of each, a line each, to look for copies of them by. Of a few bytes the same may be anywhere.
pub(crate) fn sums<'a>(secrets: impl Iterator<Item = &'a Secret>) -> String {
    let telling = secrets.map(Secret::expose).filter(|bytes| bytes.len() >= TELLING);
    telling.map(|bytes| sum(bytes.len() as u64, &Sha256::digest(bytes))).collect()
}

/// A line of these, as `residue.sh` reads it.
fn sum(size: u64, sha256: &[u8]) -> String {
    format!("{size} {}\n", hex(sha256))
}
