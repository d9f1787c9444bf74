//! Who can open an age file: read from its header, or proven by opening it.
//!
//! An SSH recipient is named by a tag in the header, so a public key is enough to know. Native age keys and plugins name
//! none: only the holder of the private key can find out, by decrypting. landfall does so where it holds the key, in
//! memory, and keeps nothing of what it reads.

mod key;
mod proof;
mod recipients;

pub use key::{Answer, Identity, Key, KeyError};
pub(crate) use key::{PrivateKey, tag};
pub(crate) use proof::{Coming, EncryptedSecret, HostIdentity, HostKeys, Proof, Trouble, Verdict};
pub use recipients::{FileError, Recipient};
