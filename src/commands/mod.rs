//! The command line: arguments → a validated request. The doc comments are the help text.

pub mod check;
pub mod disk;
#[cfg(test)]
mod documentation;
pub mod install;
pub mod keys;
mod options;
pub mod rehearse;
#[cfg(test)]
mod schema;
pub mod status;
pub mod verify;

use crate::report::{Failure, Report, Summary, installing};
use crate::steps::TargetState;
use check::{CheckArguments, CheckRequest};
use clap::{Parser, Subcommand};
use disk::{DiskCommands, DiskRequest, DiskTask};
use install::{InstallArguments, InstallRequest};
use keys::{KeysCommands, KeysRequest};
use rehearse::{RehearsalRequest, RehearseArguments};
use status::StatusArguments;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use verify::{VerifyArguments, VerifyRequest};

/// Installs a NixOS host from a flake onto bare metal over SSH, and proves the result.
#[derive(Debug, Parser)]
#[command(name = "landfall", version, arg_required_else_help = true, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Debug, Subcommand)]
enum Subcommands {
    Install(InstallArguments),
    Check(CheckArguments),
    Rehearse(RehearseArguments),
    Verify(VerifyArguments),
    #[command(subcommand)]
    Keys(KeysCommands),
    #[command(subcommand)]
    Disk(DiskCommands),
    Status(StatusArguments),
}

/// What is to be done, and how it is to be said.
#[derive(Debug)]
pub struct Invocation {
    /// What is to be done.
    pub command: Command,
    /// HOST, as it was given.
    pub host: String,
    /// TARGET, as it was given.
    pub target: String,
    /// Whether events go to stdout as JSON.
    pub json: bool,
    /// Where the summary is to be written, besides being shown.
    pub summary_file: Option<PathBuf>,
}

/// The subcommands.
#[derive(Debug)]
pub enum Command {
    /// `landfall install`.
    Install(Box<InstallRequest>),
    /// `landfall check`.
    Check(Box<CheckRequest>),
    /// `landfall rehearse`.
    Rehearse(Box<RehearsalRequest>),
    /// `landfall verify`.
    Verify(Box<VerifyRequest>),
    /// `landfall keys …`.
    Keys(KeysRequest),
    /// `landfall disk …`.
    Disk(Box<DiskRequest>),
    /// `landfall status`.
    Status,
}

impl Command {
    /// Does what was asked for. Where something was installed, what was seen is returned.
    pub async fn run(
        &self,
        report: &Report,
        state: &TargetState,
    ) -> Result<Option<Summary>, Failure> {
        match self {
            Self::Install(request) => install::install(request, report, state).await.map(Some),
            Self::Rehearse(request) => rehearse::rehearse(request, report, state).await.map(Some),
            Self::Check(request) => Box::pin(check::check(request, report)).await.map(|()| None),
            Self::Verify(request) => verify::verify(request, report).await.map(|()| None),
            Self::Disk(request) => disk::disk(request, report, state).await.map(|()| None),
            Self::Keys(request) => keys::keys(request, report).await.map(|()| None),
            Self::Status => status::status(report).map(|()| None),
        }
    }

    /// Its failure, with the state in which it leaves the target.
    pub fn explain(&self, failure: Failure, state: &TargetState) -> Failure {
        match self {
            Self::Install(_) | Self::Disk(_) => failure.leaving(state.now().to_string()),
            Self::Rehearse(_) => Failure {
                state: Some("an emulated board; no real disk was touched".to_owned()),
                ..failure
            },
            Self::Check(_) | Self::Verify(_) => {
                failure.leaving("as it was; nothing on it was changed")
            }
            Self::Status | Self::Keys(_) => failure,
        }
    }

    /// Whether it changes anything anywhere.
    pub fn acts(&self) -> bool {
        match self {
            Self::Install(_) | Self::Rehearse(_) => true,
            Self::Keys(request) => !matches!(request, KeysRequest::Check { .. }),
            Self::Disk(request) => matches!(request.task, DiskTask::Replace(_)),
            Self::Check(_) | Self::Verify(_) | Self::Status => false,
        }
    }

    /// The subcommand's name.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Install(_) => "install",
            Self::Check(_) => "check",
            Self::Rehearse(_) => "rehearse",
            Self::Verify(_) => "verify",
            Self::Keys(_) => "keys",
            Self::Disk(_) => "disk",
            Self::Status => "status",
        }
    }
}

/// Reads the command line. Called through a link named `install`, the program is `landfall install`.
///
/// # Errors
/// A [`clap::Error`] prints itself, and knows its exit code: help that was asked for is one too.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Invocation, clap::Error> {
    let mut words: Vec<OsString> = arguments.into_iter().collect();
    let called = words.first().and_then(|program| Path::new(program).file_name());
    if called == Some(OsStr::new("install")) {
        words.insert(1, OsString::from("install"));
    }
    let mut invocation = match Arguments::try_parse_from(words.clone())?.command {
        Subcommands::Install(arguments) => arguments.invocation(),
        Subcommands::Check(arguments) => arguments.invocation(),
        Subcommands::Rehearse(arguments) => arguments.invocation(),
        Subcommands::Verify(arguments) => arguments.invocation(),
        Subcommands::Keys(command) => command.invocation(),
        Subcommands::Disk(command) => command.invocation(),
        Subcommands::Status(arguments) => Ok(arguments.invocation()),
    }?;
    if let Command::Check(request) = &mut invocation.command {
        request.install_line = Some(installing(&words));
    }
    Ok(invocation)
}

/// The whole command line, for tests of what help it gives.
#[cfg(test)]
pub(crate) fn definition() -> clap::Command {
    <Arguments as clap::CommandFactory>::command()
}

/// A usage error in clap's own form.
fn usage(text: impl std::fmt::Display) -> clap::Error {
    clap::Error::raw(clap::error::ErrorKind::ValueValidation, format!("{text}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Arguments::command().debug_assert();
    }

    /// The options under each heading of the help; all others are the command's own, under "Options:".
    const HEADINGS: [(&str, &[&str]); 8] = [
        ("Consent", &["plan-digest", "erase", "yes"]),
        ("What is kept", &["keep", "disk-encryption-keys", "erase-firmware"]),
        ("Evaluating and building", &["build-on", "evaluate-on"]),
        ("Private inputs", &["forward-agent-key", "git-host-key", "confirm-signatures"]),
        ("Host key", &["host-key-file", "age-identity"]),
        ("Files for the first boot", &["extra-files", "secret-file", "chown"]),
        ("Logging in", &["identity", "ssh-option", "host-key"]),
        (
            "Deadlines",
            &[
                "boot-timeout",
                "login-timeout",
                "reconnect-timeout",
                "command-timeout",
                "job-timeout",
                "stall-timeout",
            ],
        ),
    ];

    /// The command and all below it, by their whole names.
    fn commands(command: &clap::Command, above: &str) -> Vec<(String, clap::Command)> {
        let name = format!("{above}{}", command.get_name());
        let below = command.get_subcommands().flat_map(|sub| commands(sub, &format!("{name} ")));
        below.chain([(name.clone(), command.clone())]).collect()
    }

    #[test]
    fn each_option_stands_under_its_own_heading() {
        for (name, command) in commands(&Arguments::command(), "") {
            for option in command.get_arguments().filter(|argument| !argument.is_positional()) {
                let long = option.get_long().unwrap_or_default();
                let expected = match (name.as_str(), long) {
                    // A replacement has one way to agree to it, which needs no heading.
                    ("landfall disk replace", "yes") => None,
                    _ => HEADINGS.iter().find(|(_, options)| options.contains(&long)),
                };
                let expected = expected.map(|(heading, _)| *heading);
                assert_eq!(option.get_help_heading(), expected, "{name} --{long}");
            }
        }
    }

    fn parsed(line: &str) -> Result<Invocation, clap::Error> {
        parse(line.split_whitespace().map(OsString::from))
    }

    #[test]
    fn a_link_named_install_is_the_subcommand() {
        for line in ["landfall install helios64 root@nas", "/nix/store/x/install helios64 root@nas"]
        {
            assert_eq!(parsed(line).unwrap().command.name(), "install", "{line}");
        }
    }

    /// HOST as it is understood, the flake, and TARGET.
    fn place(line: &str) -> Result<(String, String, String), clap::Error> {
        let Invocation { command, host, target, .. } = parsed(line)?;
        let flake = match command {
            Command::Install(request) => request.install.flake,
            Command::Check(request) => request.install.flake,
            Command::Rehearse(request) => request.install.flake,
            Command::Verify(request) => request.flake,
            Command::Keys(KeysRequest::Check { flake, .. }) => flake,
            Command::Keys(KeysRequest::Create(request)) => request.flake,
            Command::Keys(KeysRequest::Copy(request)) => request.flake,
            Command::Disk(request) => request.flake,
            Command::Status => return Ok((host, String::new(), target)),
        };
        Ok((host, flake.reference, target))
    }

    #[test]
    fn a_host_may_be_named_by_the_flake() {
        let expected = (".#nas".to_owned(), ".".to_owned(), "root@10.0.0.5".to_owned());
        for command in ["install", "check", "verify", "keys copy", "disk list", "disk replace"] {
            for words in [
                "--flake .#nas root@10.0.0.5",
                "root@10.0.0.5 -f .#nas",
                "-f .#nas nas root@10.0.0.5",
                "-f .#nas .#nas root@10.0.0.5",
                "-f .#\"nas\" nas root@10.0.0.5",
            ] {
                let line = format!("landfall {command} {words}");
                assert_eq!(place(&line).unwrap(), expected, "{line}");
            }
        }
        let without = (expected.0.clone(), expected.1.clone());
        for command in ["check", "keys check", "keys create", "rehearse --image x"] {
            for words in ["-f .#nas", "nas -f .#nas"] {
                let (host, flake, target) = place(&format!("landfall {command} {words}")).unwrap();
                assert_eq!((host, flake), without, "{command} {words}");
                assert!(target.is_empty() || target == "an emulated board", "{target}");
            }
        }
        // A machine may be called as its host is.
        assert_eq!(place("landfall install -f .#nas nas").unwrap().2, "nas");
        assert_eq!(
            place("landfall install -f github:me/x?dir=a#nas me@nas").unwrap().1,
            "github:me/x?dir=a"
        );
    }

    #[test]
    fn a_dry_run_of_an_install_is_a_check() {
        let line = "landfall install nas root@nas --dry-run --kexec-extra-flags=x \
            --accept host-unstable-disk --yes --report /x";
        let invocation = parsed(line).unwrap();
        assert!(!invocation.command.acts() && invocation.summary_file.is_none());
        let Command::Check(request) = invocation.command else { panic!("{line}") };
        assert_eq!(request.install.options.kexec_extra_flags, "x");
        assert_eq!(request.install.options.accept, ["host-unstable-disk"]);
        assert!(request.target.unwrap().accepts_first_contact);
    }

    #[test]
    fn two_hosts_are_one_too_many() {
        for line in [
            "install -f .#nas other root@10.0.0.5",
            "install -f .#nas /srv#nas root@10.0.0.5",
            "check -f .#nas other root@10.0.0.5",
            "rehearse --image x -f .#nas other",
            "keys create other -f .#nas",
            "disk list other root@10.0.0.5 -f .#nas",
        ] {
            let error = place(&format!("landfall {line}")).unwrap_err();
            assert_eq!(error.exit_code(), 2, "{line}");
            assert!(error.to_string().contains("--flake names 'nas'"), "{line}: {error}");
        }
        for line in
            ["install -f .#nas", "verify -f . nas", "install -f .", "check -f .", "keys check -f ."]
        {
            assert_eq!(place(&format!("landfall {line}")).unwrap_err().exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn an_option_is_never_taken_for_the_target() {
        for line in ["landfall install a --typo", "landfall install a -x", "landfall install a"] {
            assert_eq!(parsed(line).unwrap_err().exit_code(), 2, "{line}");
        }
    }
}
