//! landfall installs a NixOS host from a flake onto bare metal over SSH, and proves the result.
//!
//! The story, in the order it happens: [`facts`] (what the flake declares, what the target is) → [`plan`] (pure
//! decisions, consent) → [`steps`] (one loop) → [`report`] (events). [`machine`] and [`nix`] are the wire;
//! [`secrets`] is what nobody else may read; [`rehearsal`] is a whole install on an
//! emulated board.

pub mod check;
pub mod cli;
mod clock;
pub mod disk;
pub mod facts;
mod hex;
pub mod inputs;
pub mod install;
pub mod journal;
pub mod keys;
pub mod machine;
pub mod meet;
pub mod nix;
mod paths;
pub mod plan;
pub mod rehearsal;
pub mod report;
pub mod request;
pub mod secrets;
pub mod status;
pub mod steps;
pub mod verify;

pub use hex::hex;
