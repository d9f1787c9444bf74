//! The integration tests: the built program against real sshd, real Nix and scratch machines. They are one binary, so that
//! it is linked once and tests that wait overlap with tests that work; a module's name picks its tests
//! (`cargo xtask tests kill::`).

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "that is how a test fails, and says why"
)]
#![allow(clippy::disallowed_methods, reason = "tests start what they test, and its peers")]
#![allow(missing_docs, unreachable_pub, reason = "its documentation is not read")]

mod age;
mod agent;
mod agent_keys;
mod agreed;
mod canary;
mod cases;
mod check;
mod clear;
mod cli;
mod common;
mod consent;
mod disk;
mod disks;
mod docs;
mod encrypted;
mod evaluate;
mod files;
mod firmware;
mod forward;
mod house;
mod input;
mod interrupt;
mod job;
mod keep;
mod keys;
mod kill;
mod layouts;
mod meet;
mod network;
mod outside;
mod place;
mod ready;
mod residue;
mod scratch;
mod scripts;
mod shapes;
mod slow;
mod ssh;
mod wire;
mod zero_write;
