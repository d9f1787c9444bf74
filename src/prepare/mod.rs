//! Everything between the command line and the plan, once, for every command.

pub mod contact;
pub mod inputs;
pub mod request;
