//! Secrets on their way: the confined agent, age's recipients and identities, the machine's keys, files for the
//! first boot. Nothing here is ever logged, put in an argument or into the environment.

pub mod age;
pub mod agent;
pub mod host_key;
pub mod place;

pub use host_key::{Brought, HostKey, KeySource};

use std::fmt;
use zeroize::Zeroizing;

/// Bytes that nobody may read but their one destination. Printed, it says nothing; dropped, it is overwritten.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<Vec<u8>>);

impl Secret {
    /// Takes the bytes.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes, for their destination.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(secret)")
    }
}
