//! A failure of each class, that is of each exit code, as a terminal of 80 columns shows it.

use super::plans::{refused, reinstall};
use super::{pinned, shown};
use crate::machine::{ConnectError, ConnectErrorKind, Deadlines, HostKeys, Login, NotBack};
use crate::plan::{self, Plan, Step};
use crate::prepare::not_connected;
use crate::report::{Exit, Failure, StepName};
use crate::steps::{State, explain};
use anyhow::anyhow;

fn login() -> Login {
    Login {
        destination: "root@10.0.0.5".parse().unwrap(),
        identities: Vec::new(),
        options: Vec::new(),
        host_keys: HostKeys::Known,
        may_ask: false,
        deadlines: Deadlines::default(),
    }
}

fn unconnected(kind: ConnectErrorKind, text: &str) -> Failure {
    let error = ConnectError { kind, text: text.to_owned(), known_as: None };
    not_connected(&login(), error).leaving(State::Untouched.to_string())
}

fn of_step(plan: &Plan, name: StepName, error: anyhow::Error, state: State) -> Failure {
    let step: &Step = plan.steps.iter().find(|step| step.name() == name).unwrap();
    explain(step, error).leaving(state.to_string())
}

/// A failure of each class, with the name of its snapshot.
fn failure(exit: Exit, plan: &Plan) -> (&'static str, Failure) {
    let silent = NotBack::Silent { seconds: 600, last: "no route to host".into() };
    match exit {
        Exit::Other => {
            let why = anyhow!("cannot find binary path").context("looking for nix in PATH");
            ("other", Failure::new(exit, "a program is missing on this machine").because(why))
        }
        Exit::Usage => {
            let failure = Failure::new(exit, "the flake . has no host 'helios'");
            ("usage", failure.hint("did you mean helios64?"))
        }
        Exit::Refused => {
            let failure = plan::refuse(&refused().findings, &[]).unwrap_err();
            ("refused", failure.leaving(State::Untouched.to_string()))
        }
        Exit::Consent => {
            let failure = Failure::new(exit, "declined: the host's name was not typed");
            ("consent", failure.leaving(State::Untouched.to_string()))
        }
        Exit::Connect => {
            let said = "connect to host 10.0.0.5 port 22: Connection refused";
            ("connect", unconnected(ConnectErrorKind::Refused, said))
        }
        Exit::Identity => {
            let said = "Host key verification failed.";
            ("identity", unconnected(ConnectErrorKind::UnknownHostKey, said))
        }
        Exit::Build => {
            let why =
                anyhow!("error: builder for '/nix/store/x-linux.drv' failed with exit code 3");
            ("build", of_step(plan, StepName::Build, why, State::ImageSent))
        }
        Exit::Kexec => ("kexec", of_step(plan, StepName::Kexec, silent.into(), State::Leaving)),
        Exit::Disko => {
            let why = anyhow!(
                "it ended with status 1; its last lines:\nmkfs.ext4: no space left\n+ exit 1"
            )
            .context("running the disko script");
            ("disko", of_step(plan, StepName::Disko, why, State::HalfErased))
        }
        Exit::Install => {
            let why = anyhow!("it ended with status 1").context("running nixos-install");
            ("install", of_step(plan, StepName::Install, why, State::NotInstalled))
        }
        Exit::NotBack => {
            ("not-back", of_step(plan, StepName::Verify, silent.into(), State::Restarting))
        }
        Exit::Interrupted => {
            let failure = Failure::new(exit, "interrupted by Ctrl-C");
            ("interrupted", failure.leaving(State::Erasing.to_string()))
        }
    }
}

#[test]
fn a_failure_of_each_class() {
    // The compiler asks for a new class above, and its code belongs here.
    let classes = [
        Exit::Other,
        Exit::Usage,
        Exit::Refused,
        Exit::Consent,
        Exit::Connect,
        Exit::Identity,
        Exit::Build,
        Exit::Kexec,
        Exit::Disko,
        Exit::Install,
        Exit::NotBack,
        Exit::Interrupted,
    ];
    let plan = reinstall();
    for exit in classes {
        let (name, failure) = failure(exit, &plan);
        assert_eq!(failure.exit, exit, "{name}");
        pinned(&format!("failure-{name}"), &shown(&[failure.event()], 80));
    }
}
