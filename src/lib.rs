//! landfall installs a NixOS host from a flake onto bare metal over SSH, and proves the result.
//!
//! The story, in the order it happens: [`commands`] (arguments, and the flow of each) → [`prepare`] (all that is between the command
//! line and the plan) → [`facts`] (what the flake declares, what the target is) → [`plan`] (pure decisions, consent) and
//! `findings` → [`steps`] (one loop) → [`report`] (events). [`machine`] and [`nix`] are the wire; [`secrets`] is what no
//! one else may read.

mod atomic;
mod clock;
pub mod commands;
pub mod facts;
mod findings;
mod hex;
pub mod journal;
pub mod machine;
pub mod nix;
mod paths;
pub mod plan;
pub mod prepare;
pub mod report;
#[cfg(test)]
mod screens;
mod secret;
pub mod secrets;
pub mod steps;

pub use hex::hex;
