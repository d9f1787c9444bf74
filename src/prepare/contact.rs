//! The contact with the target: who it is, by its host key; what it is, by the probe.
//!
//! A host key is right if it is pinned, in known_hosts, or in the journal of an unfinished run. One that is not known
//! yet is shown and becomes part of the consent; until then nothing is sent to the machine that shows it.

use super::{Purpose, TargetRequest};
use crate::facts::TargetFacts;
use crate::journal::{self, Key, Record};
use crate::machine::{
    Backoff, ConnectError, ConnectErrorKind, Destination, HostKeys, Image, ImageSource, Login,
    REFUSALS, Target, fingerprint, first_contact,
};
use crate::report::{self, Event, Exit, Failure, Metrics, Report};
use std::time::{Duration, Instant};

/// The target, with which there is a connection.
pub struct Contact {
    /// The connection.
    pub(crate) target: Target,
    /// What it is.
    pub(crate) found: TargetFacts,
    /// The kexec image, if one is needed and was given.
    pub(crate) image: Option<Image>,
    /// Its host keys, where they were not known yet.
    pub(crate) first_keys: Option<Vec<String>>,
}

impl Contact {
    /// Logs in, looks around, and fetches the image if one is needed.
    pub async fn make(
        request: &TargetRequest,
        purpose: Purpose<'_>,
        report: &Report,
        metrics: &Metrics,
    ) -> Result<Self, Failure> {
        let destination = &request.login.destination;
        let before = match purpose {
            Purpose::Check { .. } => &Record::default(),
            Purpose::Install(before) => before,
        };
        let (mut target, mut first_keys) = log_in(request, before, report, metrics).await?;
        // An unfinished run has asked this boot to restart: what is found now would be gone in a moment.
        if before.is_leaving(&target.boot().to_string()) {
            report.doing(format!(
                "{destination} has been asked to restart: waiting for it to go down"
            ));
            if target.goes_within(LEAVING).await {
                (target, first_keys) = log_in(request, before, report, metrics).await?;
            }
        }
        report.doing(format!("looking at {destination}"));
        let found = TargetFacts::gather(&target).await.map_err(|error| {
            Failure::new(Exit::Connect, format!("{destination} could not be looked at"))
                .because(error)
        })?;
        let image = match &request.image {
            // A check downloads nothing.
            Some(ImageSource::Url(_)) if matches!(purpose, Purpose::Check { .. }) => None,
            Some(source) if !found.is_installer() => {
                let image = obtain_image(source, request.image_sha256.as_deref(), report).await?;
                report.note(format!(
                    "kexec image: {}, SHA-256 {}",
                    report::size(image.size),
                    image.sha256
                ));
                Some(image)
            }
            _ => None,
        };
        Ok(Self { target, found, image, first_keys })
    }

    /// The fingerprint to be agreed to, where the host key was not known yet.
    pub(crate) fn first_contact(&self) -> Option<String> {
        let keys = self.first_keys.as_ref()?;
        Some(fingerprints(keys))
    }
}

fn fingerprints(keys: &[String]) -> String {
    keys.iter().filter_map(|key| fingerprint(key)).collect::<Vec<_>>().join(" ")
}

fn shows(keys: &[String]) -> String {
    format!("it shows {}", fingerprints(keys))
}

/// A target that was asked to restart goes down within this time, or not at all.
const LEAVING: Duration = Duration::from_secs(30);

/// Logs in; to a machine that an unfinished run has left between two boots, or that was just switched on, as soon as it
/// lets us in.
async fn log_in(
    request: &TargetRequest,
    before: &Record,
    report: &Report,
    metrics: &Metrics,
) -> Result<(Target, Option<Vec<String>>), Failure> {
    let start = Instant::now();
    let deadlines = &request.login.deadlines;
    let (what, deadline) = if before.is_between_boots() {
        ("the target, which was restarting", deadlines.boot)
    } else {
        ("the target, which was switched on", deadlines.first_login)
    };
    let mut pause = Backoff::pause();
    let mut patience = Backoff::patience(deadlines.login);
    if deadline.is_zero() || request.login.may_ask {
        // There is no later attempt, or somebody may be typing.
        patience.grow_to_longest();
    }
    let mut refusals = 0;
    loop {
        let error = match try_to_log_in(request, patience.now(), before, metrics).await {
            Ok(met) => return Ok(met),
            Err(error) => error,
        };
        refusals = if error.kind == ConnectErrorKind::Denied { refusals + 1 } else { 0 };
        if error.kind.is_final() || start.elapsed() >= deadline || refusals >= REFUSALS {
            return Err(not_connected(&request.login, error));
        }
        report.emit(Event::Waiting {
            what: what.to_owned(),
            seconds: start.elapsed().as_secs(),
            deadline: deadline.as_secs(),
            seen: error.text.clone(),
        });
        match error.kind {
            ConnectErrorKind::Slow | ConnectErrorKind::Unreachable => patience.grow(),
            // sshd blocks a client for a while after a few refused logins.
            ConnectErrorKind::Denied => pause.grow_to_longest(),
            _ => {}
        }
        pause.sleep().await;
    }
}

/// Logs in to a machine that may have been installed since anybody's known_hosts was written: its host key is the one that the
/// install has given it. Also by which keys it was known.
pub(crate) async fn log_in_to_installed(
    login: &Login,
    journal: &Key,
    metrics: &Metrics,
) -> Result<(Target, Login), Failure> {
    let connect = async |login: Login| Target::connect(login, Vec::new(), metrics.clone()).await;
    let installed = match login.host_keys {
        HostKeys::Known => journal::installed_keys(journal),
        HostKeys::Pinned(_) => Vec::new(),
    };
    let met = known_by(login, &[&installed], connect).await;
    met.map_err(|error| not_connected(login, error))
}

/// Logs in by the keys that the login says; to a machine that shows none of them, by each of these. Also how it was logged in.
///
/// # Errors
/// Why the first attempt failed, if the machine shows none of these keys either. A key that is revoked stays so, even if it was
/// met it.
async fn known_by(
    login: &Login,
    known: &[&Vec<String>],
    connect: impl AsyncFn(Login) -> Result<Target, ConnectError>,
) -> Result<(Target, Login), ConnectError> {
    let first = match connect(login.clone()).await {
        Ok(target) => return Ok((target, login.clone())),
        Err(error) => error,
    };
    if !matches!(first.kind, ConnectErrorKind::UnknownHostKey | ConnectErrorKind::HostKeyChanged) {
        return Err(first);
    }
    for keys in known.iter().filter(|keys| !keys.is_empty()) {
        let login = Login { host_keys: HostKeys::Pinned((*keys).clone()), ..login.clone() };
        match connect(login.clone()).await {
            Ok(target) => return Ok((target, login)),
            Err(error) if error.kind.is_about_host_keys() => {}
            Err(error) => return Err(error),
        }
    }
    Err(first)
}

async fn try_to_log_in(
    request: &TargetRequest,
    patience: Duration,
    before: &Record,
    metrics: &Metrics,
) -> Result<(Target, Option<Vec<String>>), ConnectError> {
    let login = &request.login;
    let connect = async |login: Login| {
        Target::connect_within(login, patience, request.prepare.clone(), metrics.clone()).await
    };
    let first = match known_by(login, &[&before.met_keys, &before.installed_keys], connect).await {
        Ok((target, _)) => return Ok((target, None)),
        Err(error) => error,
    };
    if first.kind != ConnectErrorKind::UnknownHostKey {
        return Err(first);
    }
    let keys = match first_contact(login).await {
        Ok(keys) if request.accepts_first_contact => keys,
        // It cannot be agreed to here: it is only shown.
        Ok(keys) => return Err(ConnectError { text: shows(&keys), ..first }),
        Err(error) if request.accepts_first_contact => return Err(error),
        Err(_) => return Err(first),
    };
    let login = Login { host_keys: HostKeys::Pinned(keys.clone()), ..login.clone() };
    let target = connect(login).await?;
    Ok((target, Some(keys)))
}

/// Fetches the kexec image, or says why it cannot be used.
pub(crate) async fn obtain_image(
    source: &ImageSource,
    sha256: Option<&str>,
    report: &Report,
) -> Result<Image, Failure> {
    Image::obtain(source, sha256, report).await.map_err(|error| {
        Failure::new(Exit::Refused, "the kexec image cannot be used").because(error).hint(
            "an image is a tarball of nix-community/nixos-images, or one with the same layout",
        )
    })
}

/// Says why there was no contact, and what to do.
pub(crate) fn not_connected(login: &Login, error: ConnectError) -> Failure {
    let destination = &login.destination;
    let (host, by_hand) = (&destination.host, destination.by_hand());
    let (exit, what, hint) = match error.kind {
        ConnectErrorKind::Unresolved => (
            Exit::Connect,
            format!("{host} has no address"),
            "check the name, or give the address".to_owned(),
        ),
        ConnectErrorKind::Slow => (
            Exit::Connect,
            format!("the login to {destination} did not finish in time"),
            "it may be busy: try again, or allow an install more time with --login-timeout".to_owned(),
        ),
        ConnectErrorKind::Refused | ConnectErrorKind::Unreachable | ConnectErrorKind::Dropped => (
            Exit::Connect,
            format!("{destination} cannot be reached"),
            "is it up and on this network, and does sshd listen there?".to_owned(),
        ),
        ConnectErrorKind::Denied => (
            Exit::Connect,
            format!("{destination} refuses the login"),
            how_to_be_let_in(login, &error.text),
        ),
        ConnectErrorKind::NoCommands => (
            Exit::Connect,
            format!("{destination} runs no commands for this login"),
            format!(
                "its shell may be nologin, or authorized_keys or sshd_config forces a command: log in as another user, such \
                 as root@{host}"
            ),
        ),
        ConnectErrorKind::JumpHost | ConnectErrorKind::JumpHostKey => (
            if error.kind == ConnectErrorKind::JumpHost { Exit::Connect } else { Exit::Identity },
            format!("the connection to {destination} ends before it gets there"),
            format!("the target was not reached; try `{by_hand}`, which goes the same way"),
        ),
        ConnectErrorKind::NeedsAnswers => (
            Exit::Connect,
            format!("{destination} asks for a password or a passphrase"),
            "landfall logs in again after each boot, and cannot ask for it then: put the key into your agent (ssh-add), or \
             give one without a passphrase with -i; where it takes a password, put your key there with `COPY`"
                .replace("COPY", &copy_key_by_hand(login)),
        ),
        ConnectErrorKind::UnknownHostKey => (
            Exit::Identity,
            format!("the host key of {destination} is not known"),
            "compare it with the machine's own (on its console: \
             ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub), then log in once by hand, or give it \
             with --host-key; or run `landfall check`, which shows it with the plan, and install with that --plan-digest"
                .to_owned(),
        ),
        ConnectErrorKind::HostKeyChanged => (
            Exit::Identity,
            format!("{destination} has a different host key than expected"),
            match (&login.host_keys, &error.known_as) {
                (HostKeys::Known, Some(known_as)) => format!(
                    "if the machine was reinstalled, forget the old key with `{}`; if not, this is \
                     another machine",
                    known_as.forget_by_hand()
                ),
                _ => {
                    "compare --host-key with the machine's own key; if it is right, this is another machine"
                        .to_owned()
                }
            },
        ),
        ConnectErrorKind::HostKeyRevoked => (
            Exit::Identity,
            format!("the host key of {destination} is revoked"),
            "known_hosts or RevokedHostKeys lists it as revoked, because its private half may be in other hands: give the \
             machine a new one, and do not log in before"
                .to_owned(),
        ),
        ConnectErrorKind::HostKeyRejected => (
            Exit::Identity,
            format!("ssh does not accept the host key of {destination}"),
            format!("`{by_hand}` shows more; nothing was sent to the machine that answers"),
        ),
        ConnectErrorKind::Other => (
            Exit::Connect,
            format!("there is no connection to {destination}"),
            format!("try `{by_hand}`"),
        ),
    };
    Failure::new(exit, what).because(error).hint(hint)
}

/// What may help against a refusal, by what `ssh` says of it.
fn how_to_be_let_in(login: &Login, said: &str) -> String {
    let Destination { host, .. } = &login.destination;
    let by_hand = login.destination.by_hand();
    if said.contains("Too many authentication failures") {
        return "your agent offers more keys than the server allows: give the right one with -i, or let ssh offer only the \
            configured ones with --ssh-option IdentitiesOnly=yes"
            .to_owned();
    }
    let by_password = ["password", "keyboard-interactive"].iter().any(|way| said.contains(way));
    let copy = if by_password {
        format!(
            "; it also takes a password, with which you can put your key there: `{}`",
            copy_key_by_hand(login)
        )
    } else {
        String::new()
    };
    format!("try `{by_hand}`; a key is given with -i, a user as user@{host}{copy}")
}

/// What a person types to put their key there.
fn copy_key_by_hand(login: &Login) -> String {
    let identity = login.identities.first().map(|file| file.display().to_string());
    let identity = identity.as_deref().and_then(|file| shlex::try_quote(file).ok());
    let identity = identity.map(|file| format!("-i {file} ")).unwrap_or_default();
    let by_hand = login.destination.by_hand();
    format!("ssh-copy-id {identity}{}", by_hand.trim_start_matches("ssh "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Deadlines;

    #[test]
    fn the_line_that_copies_a_key_is_whole() {
        let login = |identities: &[&str]| Login {
            destination: "root@nas:2222".parse().unwrap(),
            identities: identities.iter().map(Into::into).collect(),
            options: Vec::new(),
            host_keys: HostKeys::Known,
            may_ask: false,
            deadlines: Deadlines::default(),
        };
        assert_eq!(copy_key_by_hand(&login(&[])), "ssh-copy-id -p 2222 root@nas");
        let shown =
            how_to_be_let_in(&login(&["my key"]), "Permission denied (publickey,password).");
        assert!(shown.ends_with("`ssh-copy-id -i 'my key' -p 2222 root@nas`"), "{shown}");
        let shown = how_to_be_let_in(&login(&[]), "Permission denied (publickey).");
        assert!(!shown.contains("ssh-copy-id"), "{shown}");
    }
}
