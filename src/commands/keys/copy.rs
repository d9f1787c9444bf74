//! `landfall keys copy`: the host key is placed on a machine that is installed already, or mounted in an installer.

use super::declared;
use crate::facts::{HostRef, TargetFacts};
use crate::journal;
use crate::machine::{Login, Script, Target};
use crate::prepare::Flake;
use crate::prepare::{Workstation, log_in_to_installed};
use crate::report::{Event, Exit, Failure, Report};
use crate::secrets::place::{Place, Placed, place};
use crate::secrets::{KeySource, host_key};

/// What the user asked for, understood.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// Which host.
    pub(crate) host: HostRef,
    /// The flake, for a host that names none.
    pub(crate) flake: Flake,
    /// How to log in to the target.
    pub(crate) login: Login,
    /// Where the key goes, if not where the configuration says.
    pub(crate) path: Option<String>,
    /// Whether another key that is there is written over.
    pub(crate) replace: bool,
    /// The host key, and what opens it.
    pub(crate) host_key: KeySource,
}

/// The root of the system that the key is for: the running one, or the one that an installer has mounted.
async fn root_of(target: &Target, found: &TargetFacts) -> Result<&'static str, Failure> {
    if !found.is_installer() {
        return Ok("");
    }
    let mounted = Script::command("grep").args(["-q", " /mnt ", "/proc/mounts"]);
    target.run(&mounted).await.map_err(|_| {
        Failure::new(Exit::Refused, "the target runs an installer, and nothing is mounted on /mnt")
            .hint("mount the installed system there, or boot it and copy the key to it")
    })?;
    Ok("/mnt")
}

/// Places the key.
pub(super) async fn copy(request: &CopyRequest, report: &Report) -> Result<(), Failure> {
    let Some(stored) = request.host_key.find(&request.host.attribute).await? else {
        let what = format!("no host key is kept for {}", request.host);
        return Err(Failure::new(Exit::Refused, what)
            .hint("make one with `landfall keys create`, or give one with --host-key-file"));
    };
    let key = request.host_key.open(&stored, report).await?;
    let host = declared(&request.host, &request.flake, report).await?;
    let kind = host_key::kind(&key.public);
    let declared = host.host_key(Some(kind)).map(|declared| declared.path);
    let Some(path) = request.path.clone().or(declared) else {
        let what = format!("'{}' has no host key of the kind {kind}", host.attribute);
        return Err(Failure::new(Exit::Refused, what)
            .hint("add one to services.openssh.hostKeys, or say where it goes with --path"));
    };
    let metrics = Workstation::find(&request.flake)?.metrics;
    let destination = &request.login.destination;
    let cannot = |error| {
        Failure::new(Exit::Connect, format!("{destination} could not be worked with"))
            .because(error)
    };
    let journal = journal::Key::of(&request.host, &request.flake.reference, destination);
    let (target, _) = log_in_to_installed(&request.login, &journal, &metrics).await?;
    report.doing(format!("looking at {destination}"));
    let found = TargetFacts::gather(&target).await.map_err(cannot)?;
    let Some(elevation) = found.elevation else {
        return Err(Failure::new(
            Exit::Refused,
            format!("the login on {destination} cannot become root{}", found.sudo_says()),
        )
        .hint("log in as root, or let the user become root without a password"));
    };
    let root = root_of(&target, &found).await?;
    let comment = format!("root@{}", host.host_name.as_deref().unwrap_or(&host.attribute));
    let where_to = Place { root, path: &path, comment: &comment, replace: request.replace };
    match place(&target, elevation, where_to, &key).await.map_err(cannot)? {
        Placed::There(public) if public == key.public => {}
        Placed::There(other) => {
            let what = "the machine reads another key than was placed".to_owned();
            return Err(Failure::new(Exit::Other, what).because(anyhow::anyhow!(other)));
        }
        Placed::Other(said) => {
            let what = format!("{root}{path} was left as it is");
            return Err(Failure::new(Exit::Refused, what)
                .because(anyhow::anyhow!(said))
                .hint("--replace writes over it"));
        }
    }
    let fingerprint = key.fingerprint();
    let next = if root.is_empty() {
        "sshd shows it after `systemctl restart sshd`; secrets are decrypted at the next activation or boot"
    } else {
        "it is the key of the system that is mounted on /mnt, from its next boot on"
    };
    report.emit(Event::HostKey {
        what: "placed",
        path: format!("{root}{path}"),
        public: format!("{} {comment}", key.public),
        fingerprint,
        next: next.to_owned(),
    });
    Ok(())
}
