//! The options of every `ssh` that landfall starts.
//!
//! A few are forced, each for a reason that stands beside it. Everything else is the user's: what `--ssh-option` says, then
//! `~/.ssh/config` and `/etc/ssh/ssh_config`; where those say nothing, landfall has preferences. What they say is asked of
//! `ssh -G`, which also shows what this version knows.
//!
//! The one `ssh` that is not started from here is Nix': it rides a connection that exists, so it reads no configuration at
//! all (`-F none`, see [`for_nix`]).

use super::login::{HostKeys, Login, ssh};
use super::offer::LOG_VERBOSE;
use super::public_key::read_known_hosts;
use super::settings::Settings;
use super::stream::{ANSWER, output};
use super::trouble::{ConnectError, ConnectErrorKind, why};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

/// `ssh -G` connects to nothing; what it may have to wait for are names, and commands of `Match exec`.
const ASKING: Duration = Duration::from_secs(60);

/// Asks `ssh`. What is wrong with the configuration, it says here.
pub(super) async fn settings(login: &Login) -> Result<Settings, ConnectError> {
    let mut command = ssh();
    command.arg("-G");
    for option in &login.options {
        command.arg("-o").arg(option);
    }
    command.args(login.destination.ssh_arguments());
    command.stdin(Stdio::null());
    let ended = tokio::time::timeout(ASKING, output(&mut command, ANSWER)).await;
    let ended = ended.map_err(|_| ConnectError::slow(ASKING))?;
    let ended = ended.map_err(|error| {
        let text = format!("starting ssh (is OpenSSH's client installed?): {error}");
        ConnectError::new(ConnectErrorKind::Other, text)
    })?;
    let settings = Settings::parse(&String::from_utf8_lossy(&ended.stdout));
    if ended.status.success() {
        return Ok(settings);
    }
    Err(why(&String::from_utf8_lossy(&ended.stderr), "", &settings))
}

/// What a connection is for.
#[derive(Clone, Copy)]
pub(super) enum Use<'a> {
    /// It is shared by every command, over this control socket.
    Shared(&'a Path),
    /// It runs one command, with this agent forwarded.
    Command(&'a Path),
    /// It ends with the key exchange.
    KeyExchange,
}

/// Forced for every connection. First come, first served: before all others.
const FORCED: [(&str, &str); 15] = [
    // Landfall's own commands are run, nothing else, and without a terminal, which would mix and change what they say.
    ("RemoteCommand", "none"),
    ("RequestTTY", "no"),
    // Nothing is run here.
    ("PermitLocalCommand", "no"),
    // A command's input is landfall's.
    ("StdinNull", "no"),
    // The process is the connection: it ends with it, and is waited for.
    ("ForkAfterAuthentication", "no"),
    // These words say why a login has failed, and which keys were offered. With QUIET there are none, with DEBUG3 a
    // gigabyte.
    ("LogLevel", "VERBOSE"),
    ("LogVerbose", LOG_VERBOSE),
    // Nothing of this machine is reachable from the target. (This does not speak of an agent.)
    ("ClearAllForwardings", "yes"),
    ("ForwardX11", "no"),
    // known_hosts is the user's to write, and the question whether to would have no answer.
    ("UpdateHostKeys", "no"),
    // A host key is proven for every machine, also for what a tunnel or an emulator shows as localhost,
    ("NoHostAuthenticationForLocalhost", "no"),
    // and by nothing else: with a ticket, the server need not have one.
    ("GSSAPIKeyExchange", "no"),
    // Between two commands, and while a job says nothing, the connection stays.
    ("UnusedConnectionTimeout", "none"),
    ("ChannelTimeout", "none"),
    // There is no one to type.
    ("EscapeChar", "none"),
];

/// Forced where landfall judges the key: no other known_hosts may accept it.
const FORCED_PINNED: [(&str, &str); 5] = [
    ("HostKeyAlias", PINNED_NAME),
    ("GlobalKnownHostsFile", "/dev/null"),
    ("KnownHostsCommand", "none"),
    ("VerifyHostKeyDNS", "no"),
    // The file that was written for it has no addresses.
    ("CheckHostIP", "no"),
];

/// Keywords that came with a later version than landfall needs: a version that does not know one stops at it, and the user's
/// configuration cannot have it.
const LATER: [&str; 8] = [
    "StdinNull",
    "ForkAfterAuthentication",
    "LogVerbose",
    "GSSAPIKeyExchange",
    "UnusedConnectionTimeout",
    "ChannelTimeout",
    "KnownHostsCommand",
    "SessionType",
];

/// Landfall's own wishes, where the user has none.
const PREFERRED: [(&str, &str); 2] = [
    // A peer that is gone is noticed after 12 x 5 s. Sooner would cut slow lines: with megabytes queued before it, an
    // answer takes its time. (A wait for a boot probes by itself.)
    ("ServerAliveInterval", "5"),
    ("ServerAliveCountMax", "12"),
];

/// What OpenSSH offers by itself, until 9.9 and since. Hardware AES is 1.5 times faster than what comes first there.
const DEFAULT_CIPHERS: [&str; 2] = [
    "chacha20-poly1305@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr,aes128-gcm@openssh.com,aes256-gcm@openssh.com",
    "chacha20-poly1305@openssh.com,aes128-gcm@openssh.com,aes256-gcm@openssh.com,aes128-ctr,aes192-ctr,aes256-ctr",
];

/// The name under which pinned keys stand in the run's own known_hosts.
const PINNED_NAME: &str = "landfall-target";

/// The words after `ssh` for one connection. `dir` takes its log, and known_hosts where keys are pinned.
pub(super) fn arguments(
    login: &Login,
    settings: &Settings,
    purpose: Use<'_>,
    patience: Duration,
    dir: &Path,
) -> std::io::Result<Vec<String>> {
    let mut options = forced(login, purpose);
    match (&login.host_keys, purpose) {
        (_, Use::KeyExchange) => {
            // What is met is written down here. What the user knows is only read: a key that is revoked there, or an
            // address that has another, is refused by `ssh` itself.
            options.push(("UserKnownHostsFile", known_hosts(dir).display().to_string()));
            let known = settings.known_hosts().join(" ");
            let known = if known.is_empty() { "/dev/null".to_owned() } else { known };
            options.push(("GlobalKnownHostsFile", known));
            options.push(("HashKnownHosts", "no".to_owned()));
            options.push(("StrictHostKeyChecking", "accept-new".to_owned()));
        }
        // A key that is not known is shown by landfall itself, and becomes part of the consent.
        (HostKeys::Known, _) => options.push(("StrictHostKeyChecking", "yes".to_owned())),
        (HostKeys::Pinned(keys), _) => {
            std::fs::write(known_hosts(dir), pinned(keys, settings))?;
            options.push(("StrictHostKeyChecking", "yes".to_owned()));
            options.push(("UserKnownHostsFile", known_hosts(dir).display().to_string()));
            options.extend(FORCED_PINNED.map(|(key, value)| (key, value.to_owned())));
        }
    }
    options.retain(|(key, _)| !LATER.contains(key) || settings.knows(key));
    let mut words = vec!["-E".to_owned(), log(dir).display().to_string()];
    match purpose {
        Use::Shared(socket) => {
            words.extend(["-M", "-N", "-T", "-S"].map(str::to_owned));
            words.push(socket.display().to_string());
        }
        Use::Command(_) | Use::KeyExchange => {
            words.extend(["-T", "-S", "none"].map(str::to_owned));
        }
    }
    let forced = options.into_iter().map(|(key, value)| format!("{key}={value}"));
    let all = forced.chain(login.options.iter().cloned());
    let all = all.chain(preferred(login, settings, patience));
    words.extend(all.flat_map(|option| ["-o".to_owned(), option]));
    for identity in &login.identities {
        words.extend(["-i".to_owned(), identity.display().to_string()]);
    }
    words.extend(login.destination.ssh_arguments());
    Ok(words)
}

fn forced(login: &Login, purpose: Use<'_>) -> Vec<(&'static str, String)> {
    let mut options: Vec<_> = FORCED.map(|(key, value)| (key, value.to_owned())).into();
    // Landfall knows whether anybody is there to answer.
    let asks = login.may_ask && !matches!(purpose, Use::KeyExchange);
    options.push(("BatchMode", if asks { "no" } else { "yes" }.to_owned()));
    let one_of_its_own =
        [("ControlMaster", "no"), ("ControlPath", "none"), ("SessionType", "default")];
    let own = |options: &mut Vec<_>| {
        options.extend(one_of_its_own.map(|(key, value)| (key, value.to_owned())));
    };
    match purpose {
        Use::Shared(_) => options.extend([
            ("ControlPersist", "no".to_owned()),
            // Anyone on the target could use an agent from every later command of this connection (see `forward`).
            ("ForwardAgent", "no".to_owned()),
        ]),
        Use::Command(agent) => {
            options.push(("ForwardAgent", agent.display().to_string()));
            own(&mut options);
        }
        Use::KeyExchange => {
            // The machine that answers learns nothing and is sent nothing.
            options.push(("PreferredAuthentications", "none".to_owned()));
            options.push(("PubkeyAuthentication", "no".to_owned()));
            options.push(("ForwardAgent", "no".to_owned()));
            own(&mut options);
        }
    }
    options
}

/// What landfall would like, and the user has said nothing of.
fn preferred(login: &Login, settings: &Settings, patience: Duration) -> Vec<String> {
    let set = |key: &str| {
        let named = |option: &String| {
            option.split(['=', ' ']).next().is_some_and(|name| name.eq_ignore_ascii_case(key))
        };
        login.options.iter().any(named)
    };
    let mut options = Vec::new();
    // `ssh -G` prints the defaults, too: 0 and 3.
    if settings.get("serveraliveinterval").is_none() && !set("ServerAliveInterval") {
        options.extend(PREFERRED.map(|(key, value)| format!("{key}={value}")));
    }
    if settings.get("ciphers").is_some_and(|list| DEFAULT_CIPHERS.contains(&list))
        && !set("Ciphers")
    {
        options.push("Ciphers=^aes128-gcm@openssh.com".to_owned());
    }
    if settings.connect_timeout().is_none() && !set("ConnectTimeout") {
        options.push(connect_timeout(patience));
    }
    // A key that is given is the one to use: a server hangs up after a few of the agent's.
    if !login.identities.is_empty() {
        options.push("IdentitiesOnly=yes".to_owned());
    }
    options
}

/// `ssh`'s own patience with one address, until keys are exchanged (ssh_config(5), `ConnectTimeout`): so much of the whole
/// that there is time for a second address of the host where the first one is silent, and `ssh` says so itself.
fn connect_timeout(patience: Duration) -> String {
    format!("ConnectTimeout={}", (patience.as_secs() / 2).saturating_sub(1).max(1))
}

/// The pinned keys, and those that the user's known_hosts says are revoked, for any host.
fn pinned(keys: &[String], settings: &Settings) -> String {
    let mut lines: Vec<_> = keys.iter().map(|key| format!("{PINNED_NAME} {key}\n")).collect();
    for file in settings.known_hosts() {
        let text = std::fs::read_to_string(file).unwrap_or_default();
        let revoked = read_known_hosts(&text).filter(|known| known.marker == Some("@revoked"));
        lines.extend(revoked.map(|known| format!("@revoked {PINNED_NAME} {}\n", known.public())));
    }
    lines.concat()
}

pub(super) fn known_hosts(dir: &Path) -> PathBuf {
    dir.join("known_hosts")
}

/// Where `ssh` writes its own words.
pub(super) fn log(dir: &Path) -> PathBuf {
    dir.join("log")
}

/// What Nix' own `ssh` is given (`NIX_SSHOPTS`), to ride the connection behind this control socket.
pub(crate) fn for_nix(control: &Path) -> String {
    // The connection exists: of the user's configuration nothing is needed, and RemoteCommand, RequestTTY, StdinNull or a
    // ControlPath of its own would be in the way. Should it be gone, no other may be opened behind our back.
    format!("-F none -o ControlPath={} -o ProxyCommand=false", control.display())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Deadlines;

    fn login(options: &[&str]) -> Login {
        Login {
            destination: "root@nas".parse().unwrap(),
            identities: Vec::new(),
            options: options.iter().map(|&option| option.to_owned()).collect(),
            host_keys: HostKeys::Known,
            may_ask: false,
            deadlines: Deadlines::default(),
        }
    }

    /// The first value counts.
    fn value(login: &Login, said: &str, purpose: Use<'_>, key: &str) -> Option<String> {
        let (dir, settings) = (tempfile::tempdir().unwrap(), Settings::parse(said));
        let patience = Duration::from_secs(30);
        let words = arguments(login, &settings, purpose, patience, dir.path()).unwrap();
        let start = format!("{key}=");
        words.iter().find_map(|word| Some(word.strip_prefix(&start)?.to_owned()))
    }

    #[test]
    fn what_is_not_forced_is_the_user_s() {
        let shared = Use::Shared(Path::new("/run/m"));
        let user = login(&["ConnectTimeout=60", "Ciphers=aes256-ctr", "LogLevel=QUIET"]);
        let said = "connecttimeout 60\nciphers aes256-ctr\nserveraliveinterval 30\n";
        assert_eq!(value(&user, said, shared, "ConnectTimeout").unwrap(), "60");
        assert_eq!(value(&user, said, shared, "Ciphers").unwrap(), "aes256-ctr");
        assert_eq!(value(&user, said, shared, "LogLevel").unwrap(), "VERBOSE");
        assert_eq!(value(&user, said, shared, "ServerAliveInterval"), None);
        // The same from a file: nothing is put before it.
        assert_eq!(value(&login(&[]), said, shared, "ConnectTimeout"), None);
        assert_eq!(value(&login(&[]), said, shared, "Ciphers"), None);
        // Where the user says nothing, a half of the whole, less what it takes to say so.
        let nothing = "connecttimeout none\nserveraliveinterval 0\n";
        assert_eq!(value(&login(&[]), nothing, shared, "ConnectTimeout").unwrap(), "14");
        assert_eq!(value(&login(&[]), nothing, shared, "ServerAliveInterval").unwrap(), "5");
        let own = login(&["serveraliveinterval 0"]);
        assert_eq!(value(&own, nothing, shared, "ServerAliveInterval"), None);
    }

    #[test]
    fn a_keyword_that_a_version_does_not_know_is_not_given() {
        let given = |said| value(&login(&[]), said, Use::KeyExchange, "StdinNull");
        assert_eq!(given("port 22\n"), None);
        assert_eq!(given("stdinnull no\n").as_deref(), Some("no"));
        // What the user has set is known.
        let pinned = Login { host_keys: HostKeys::Pinned(Vec::new()), ..login(&[]) };
        let given = |said| value(&pinned, said, Use::Shared(Path::new("m")), "KnownHostsCommand");
        assert_eq!(given("knownhostscommand /bin/keys\n").as_deref(), Some("none"));
        assert_eq!(given("port 22\n"), None);
    }

    #[test]
    fn a_given_key_is_the_one_to_use() {
        let mut with_key = login(&["IdentitiesOnly=no"]);
        with_key.identities.push("key".into());
        let first = |login: &Login| value(login, "", Use::KeyExchange, "IdentitiesOnly");
        assert_eq!(first(&with_key).as_deref(), Some("no"));
        with_key.options.clear();
        assert_eq!(first(&with_key).as_deref(), Some("yes"));
        assert_eq!(first(&login(&[])), None);
    }

    #[test]
    fn known_hosts_has_it_under_the_name_that_ssh_looks_for() {
        let known_as = |said| Settings::parse(said).known_as();
        let plain =
            known_as("hostname 10.0.0.5\nport 22\nuserknownhostsfile /root/.ssh/known_hosts /x\n");
        assert_eq!(plain.forget_by_hand(), "ssh-keygen -R 10.0.0.5");
        let port = known_as("hostname ::1\nport 2222\nuserknownhostsfile /srv/known\n");
        assert_eq!(port.forget_by_hand(), "ssh-keygen -R '[::1]:2222' -f /srv/known");
        assert_eq!(port.known_hosts_line("ssh-ed25519 AAAA"), "[::1]:2222 ssh-ed25519 AAAA");
        let alias = known_as("hostname 10.0.0.5\nport 2222\nhostkeyalias nas\n");
        assert_eq!(alias.forget_by_hand(), "ssh-keygen -R nas");
    }
}
