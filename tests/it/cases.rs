//! Situations that failed once, each with what is right. Here: ssh as it is in the wild, the user's own configuration, login
//! shells that talk, servers with limits. (`docs/reliability.md` says what was seen.)

use crate::common::line::Line;
use crate::common::pace::patience;
use crate::common::process::until;
use crate::common::scratch::Scratch;
use crate::common::{
    ACCEPT, Agent, Ended, Home, Sshd, as_root, connect, fleet, hollow_image, keygen, login,
    tarball, user,
};
use landfall::commands::rehearse::Port;
use landfall::facts::TargetFacts;
use landfall::machine::{
    ConnectErrorKind, Connection, Destination, HostKeys, Input, Login, Script, Target, fingerprint,
};
use landfall::report::Metrics;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// The words for a command on the fixture's small host; the target is not known yet.
fn words(home: &Home, command: &str, target: &str, more: &[&str]) -> Vec<String> {
    let known = format!("UserKnownHostsFile={}", home.path("known_hosts").display());
    let (fleet, image) = (fleet(), hollow_image(home));
    let key = home.path("key").display().to_string();
    let mut words = vec![command, "x86_64-linux", target, "--flake", &fleet, "--kexec", &image];
    words.extend(["-i", &key, "--ssh-option", &known, "--ssh-option", "IdentityAgent=none"]);
    words.extend(ACCEPT);
    words.extend(more);
    words.into_iter().map(str::to_owned).collect()
}

/// Runs a command as a user does whose `~/.ssh/config` has this text: ssh looks for it in the home directory of
/// the account, whatever HOME is, so the `ssh` in PATH names another file.
fn with_config(home: &Home, config: &str, words: &[String]) -> Ended {
    let bin = home.path("client");
    fs::create_dir_all(&bin).unwrap();
    let file = bin.join("config");
    fs::write(&file, config).unwrap();
    let text = format!("#!/bin/sh\nexec /usr/bin/ssh -F {} \"$@\"\n", file.display());
    fs::write(bin.join("ssh"), text).unwrap();
    fs::set_permissions(bin.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    one_line(&Ended::of(&home.landfall(&words).env("PATH", path).output().unwrap()))
}

/// What was said, however it was broken into lines.
fn one_line(ended: &Ended) -> Ended {
    let stderr = ended.stderr.split_whitespace().collect::<Vec<_>>().join(" ");
    Ended { stdout: ended.stdout.clone(), stderr, code: ended.code }
}

fn address(sshd: &Sshd) -> String {
    format!("{}@127.0.0.1:{}", user(), sshd.port)
}

fn run(home: &Home, command: &str, target: &str, more: &[&str]) -> Ended {
    with_config(home, "", &words(home, command, target, more))
}

/// It failed with this code and said each of the words.
#[track_caller]
fn fails(ended: &Ended, code: i32, words: &[&str]) {
    assert_eq!(ended.code, Some(code), "{ended:#?}");
    // What a check finds is its result.
    let said = format!("{} {}", ended.stdout, ended.stderr);
    let said = said.split_whitespace().collect::<Vec<_>>().join(" ");
    for word in words {
        assert!(said.contains(word), "no '{word}' in\n{said}");
    }
}

/// The fingerprint of the first contact that a check shows; none where it ended before there was one.
fn first_contact(ended: &Ended) -> Option<String> {
    let plan = crate::common::events::events(&ended.stdout)
        .into_iter()
        .find(|event| event["event"] == "plan")?;
    Some(plan["plan"]["first_contact"].as_str()?.to_owned())
}

/// It ends before any login, and says why.
#[track_caller]
fn refuses_as_revoked(home: &Home, sshd: &Sshd, more: &[&str]) {
    let ended = run(home, "check", &address(sshd), &[&["--json"], more].concat());
    assert_eq!(ended.code, Some(6), "{ended:#?}");
    assert!(ended.stderr.contains("revoked") || ended.stdout.contains("revoked"), "{ended:#?}");
    assert_eq!(first_contact(&ended), None, "{ended:#?}");
    sshd.never("Accepted");
}

#[test]
fn a01_a_revoked_host_key_is_refused_and_never_a_first_contact() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let key = sshd.host_key();
    // In known_hosts, for every name and for this one; a pinned key has another name there.
    for names in ["*".to_owned(), format!("[127.0.0.1]:{}", sshd.port)] {
        fs::write(home.path("known_hosts"), format!("@revoked {names} {key}\n")).unwrap();
        refuses_as_revoked(&home, &sshd, &[]);
        refuses_as_revoked(&home, &sshd, &["--host-key", &key]);
    }
    // In a file of its own (ssh_config(5), RevokedHostKeys).
    fs::write(home.path("known_hosts"), "").unwrap();
    fs::write(home.path("revoked"), format!("{key}\n")).unwrap();
    let option = format!("RevokedHostKeys={}", home.path("revoked").display());
    refuses_as_revoked(&home, &sshd, &["--ssh-option", &option]);
    refuses_as_revoked(&home, &sshd, &["--ssh-option", &option, "--host-key", &key]);
}

#[test]
fn a01_a_certificate_of_a_revoked_authority_is_refused() {
    let home = Home::new();
    keygen(&home.path("authority"));
    let first = Sshd::start(&home, "");
    let (port, dir) = (first.port.clone(), home.path(&format!("sshd-{}", first.port)));
    drop(first);
    let mut sign = Command::new("ssh-keygen");
    sign.args(["-q", "-s"]).arg(home.path("authority")).args([
        "-I",
        "nas",
        "-h",
        "-n",
        "127.0.0.1",
    ]);
    assert!(sign.arg(dir.join("host.pub")).status().unwrap().success());
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    let certificate = format!("HostCertificate {}", dir.join("host-cert.pub").display());
    let sshd = Sshd::start_on(&home, port, &path, &certificate);
    let authority = fs::read_to_string(home.path("authority.pub")).unwrap();
    fs::write(home.path("known_hosts"), format!("@revoked * {authority}")).unwrap();
    refuses_as_revoked(&home, &sshd, &[]);
}

#[test]
fn a_machine_that_is_known_by_another_type_of_key_is_no_first_contact() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    crate::common::keygen_as(&home.path("other"), "ecdsa", "other");
    let other = fs::read_to_string(home.path("other.pub")).unwrap();
    let known = format!("[127.0.0.1]:{} {other}", sshd.port);
    fs::write(home.path("known_hosts"), known).unwrap();
    let ended = run(&home, "check", &address(&sshd), &["--json"]);
    assert_eq!((ended.code, first_contact(&ended)), (Some(6), None), "{ended:#?}");
}

#[test]
fn a02_a_remote_command_of_the_configuration_is_not_in_the_way() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let config = "Host *\n  RemoteCommand tmux new -A\n  RequestTTY force\n  StdinNull yes\n  \
        ForkAfterAuthentication yes\n  SessionType none\n  ControlMaster auto\n  ControlPath none\n  \
        PermitLocalCommand yes\n  LocalCommand echo local\n  Tunnel yes\n  EscapeChar none\n";
    let ended = with_config(&home, config, &words(&home, "check", &address(&sshd), &["--json"]));
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert_eq!(first_contact(&ended), fingerprint(&sshd.host_key()), "{ended:#?}");
}

#[test]
fn a03_a_quiet_ssh_still_says_why() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    keygen(&home.path("stranger"));
    let other = fs::read_to_string(home.path("stranger.pub")).unwrap();
    let stranger = home.path("stranger").display().to_string();
    let host_key = sshd.host_key();
    let target = address(&sshd);
    let quiet = |more: &[&str], key: Option<&str>| {
        let mut words = words(&home, "install", &target, &[&["--yes"], more].concat());
        if let Some(key) = key {
            let at = words.iter().position(|word| word == "-i").unwrap();
            key.clone_into(&mut words[at + 1]);
        }
        with_config(&home, "Host *\n  LogLevel QUIET\n", &words)
    };
    fails(&quiet(&[], None), 6, &["is not known"]);
    fails(&quiet(&["--host-key", &other], None), 6, &["a different host key"]);
    let refused = quiet(&["--host-key", &host_key], Some(&stranger));
    fails(&refused, 5, &["refuses the login", "Permission denied"]);
}

#[tokio::test]
async fn a04_what_ssh_says_of_itself_does_not_stop_it() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    // What a jump host's ssh says comes out of the same pipe; it cannot be made to say less.
    let proxy = "ProxyCommand=bash -c '(yes debug3: filling pipes | head -c 1000000 >&2) & \
        exec 3<>/dev/tcp/%h/%p; cat <&3 & exec cat >&3'";
    for option in ["LogLevel=DEBUG3", proxy] {
        let mut login = login(&home, &sshd);
        login.options.push(option.to_owned());
        let target = Target::connect(login, Vec::new(), Metrics::default()).await.unwrap();
        let many = async {
            for number in 0..200 {
                let echo = Script::command("echo").arg(number.to_string());
                assert_eq!(target.run(&echo).await.unwrap(), format!("{number}\n"), "{option}");
            }
        };
        tokio::time::timeout(patience(), many).await.expect("it hangs");
    }
}

#[tokio::test]
async fn a05_the_user_s_own_patience_is_ssh_s() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let line = Line::to(sshd.port.number());
    line.set_black_hole(true);
    let mut login = login(&home, &sshd);
    login.destination.port = Some(line.port);
    login.options.push("ConnectTimeout=60".to_owned());
    login.deadlines.login = Duration::from_secs(16);
    let metrics = Metrics::default();
    // Longer than an attempt may take that the user has said nothing of.
    let slowly = async {
        tokio::time::sleep(Duration::from_secs(18)).await;
        line.set_black_hole(false);
    };
    let (opened, ()) = tokio::join!(Connection::open(&login, &metrics), slowly);
    opened.unwrap();
}

/// dropbear, whose account has a home of its own.
struct Dropbear {
    process: Child,
    port: Port,
    host_key: String,
}

impl Dropbear {
    fn start(home: &Home) -> Self {
        as_root("the home directory of an account is where dropbear looks for keys");
        keygen(&home.path("key"));
        let host = home.path("dropbear");
        let mut make = Command::new("dropbearkey");
        let made = make.args(["-t", "ed25519", "-f"]).arg(&host).output();
        let made =
            made.expect("there is no dropbear (package dropbear-bin): run `cargo xtask test`");
        let said = String::from_utf8(made.stdout).unwrap();
        let line = said.lines().find(|line| line.starts_with("ssh-ed25519 ")).unwrap();
        let host_key = line.split_whitespace().take(2).collect::<Vec<_>>().join(" ");
        let port = Port::take().unwrap();
        let text = "mount -t tmpfs -o mode=700 home ~root; mkdir -m 700 ~root/.ssh; cp \"$1\" ~root/.ssh/authorized_keys\n\
            exec /usr/sbin/dropbear -F -E -s -r \"$2\" -P \"$3\" -p \"127.0.0.1:$4\"";
        let mut unshare = Command::new("unshare");
        unshare.args(["--mount", "sh", "-euc", text, "sh"]).arg(home.path("key.pub")).arg(&host);
        unshare.arg(home.path("dropbear.pid")).arg(port.to_string());
        let process = unshare.stderr(Stdio::null()).spawn().unwrap();
        let listens = || TcpStream::connect(("127.0.0.1", port.number())).is_ok();
        until("dropbear listens", listens);
        Self { process, port, host_key }
    }
}

impl Drop for Dropbear {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Its server takes no command line over 9000 bytes (MAX_CMD_LEN).
#[tokio::test]
async fn a06_short_command_lines_are_enough_for_dropbear() {
    let home = Home::new();
    let dropbear = Dropbear::start(&home);
    let login = Login {
        destination: format!("root@127.0.0.1:{}", dropbear.port).parse().unwrap(),
        identities: vec![home.path("key")],
        options: vec!["IdentityAgent=none".to_owned()],
        host_keys: HostKeys::Pinned(vec![dropbear.host_key.clone()]),
        may_ask: false,
        deadlines: crate::common::deadlines(),
    };
    let target = Target::connect(login, Vec::new(), Metrics::default()).await.unwrap();
    takes_long_scripts(&target).await;
}

#[tokio::test]
async fn a06_csh_is_a_login_shell_like_any_other() {
    let home = Home::new();
    // Its `-c` gets what a login shell would.
    home.pretend("csh", "exec tcsh -c \"$SSH_ORIGINAL_COMMAND\"");
    let sshd = Sshd::start(&home, &format!("ForceCommand {}", home.path("bin/csh").display()));
    takes_long_scripts(&connect(&home, &sshd).await).await;
}

async fn takes_long_scripts(target: &Target) {
    let facts = TargetFacts::gather(target).await.unwrap();
    assert_eq!(facts.kernel, "Linux");
    let long = "it's \\ !x\n".repeat(10_000);
    let told = Script::sh("printf %s \"$1\"").arg(&long);
    assert!(target.run(&told).await.unwrap() == long, "a long word arrives whole");
}

#[tokio::test]
async fn a07_output_of_the_login_shell_is_ignored() {
    let home = Home::new();
    // Before the command, after it, without an end of line, and what looks like an answer.
    let noise = "echo Welcome; date +%N; echo done; printf 'running'; echo complaint >&2";
    home.pretend(
        "noisy",
        &format!("{noise}\nsh -c \"$SSH_ORIGINAL_COMMAND\"\nstatus=$?\n{noise}\nexit $status"),
    );
    let sshd = Sshd::start(&home, &format!("ForceCommand {}", home.path("bin/noisy").display()));
    let mut target = connect(&home, &sshd).await;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(target.boot().to_string(), boot.trim());
    let job = landfall::machine::Job {
        name: "no-such-job-anywhere",
        id: "run".to_owned(),
        command: Script::command("true"),
    };
    assert_eq!(target.find(&job).await.unwrap(), landfall::machine::Standing::None);
    let half = Script::sh("printf half; echo no >&2; exit 3");
    let output = target.attempt(&half, Input::Nothing).await.unwrap();
    let said = (output.status, output.stdout.as_str(), output.stderr.as_str());
    assert_eq!((said.0, said.1), (Some(3), "half"));
    assert!(said.2.starts_with("no\n"), "{}", said.2);
    sshd.signal_sessions("KILL");
    target.reconnect().await.unwrap();
    assert_eq!(target.boot().to_string(), boot.trim());
}

#[tokio::test]
async fn a07_output_of_a_real_bashrc_is_ignored() {
    let home = Home::new();
    fs::write(home.path("remote/.bashrc"), "echo Welcome\ndate +%N\n").unwrap();
    let sshd = Sshd::start(&home, "");
    let target = connect(&home, &sshd).await;
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    assert_eq!(target.boot().to_string(), boot.trim());
    TargetFacts::gather(&target).await.unwrap();
}

#[test]
fn a08_an_account_that_runs_no_commands_says_so() {
    let home = Home::new();
    for (command, said) in [
        ("/usr/sbin/nologin", "This account is currently not available"),
        ("echo Please login as the user admin rather than root", "Please login as the user admin"),
        ("cat", "the target says"),
        ("exit 3", "the target says nothing"),
    ] {
        let sshd = Sshd::start(&home, &format!("ForceCommand {command}"));
        let key = sshd.host_key();
        let ended = run(&home, "check", &address(&sshd), &["--host-key", &key]);
        fails(&ended, 5, &["runs no commands", said, "forces a command"]);
    }
}

#[test]
fn a09_sudo_says_why() {
    let home = Home::new();
    home.pretend("id", "case $1 in -u) echo 1000 ;; *) exec /usr/bin/id \"$@\" ;; esac");
    let key = Sshd::start(&home, "");
    let cases = [
        "sudo: sorry, you must have a tty to run sudo",
        "sudo: a password is required",
        "admin is not in the sudoers file.",
    ];
    for said in cases {
        home.pretend("sudo", &format!("echo '{said}' >&2; exit 1"));
        let host_key = key.host_key();
        let ended = run(&home, "check", &address(&key), &["--host-key", &host_key]);
        fails(&ended, 3, &["target-no-root", said]);
    }
    // Limited sudo: what is tried is what is needed.
    let limited = "[ \"$3\" != true ] || exit 0; echo 'sudo: a password is required' >&2; exit 1";
    home.pretend("sudo", limited);
    let host_key = key.host_key();
    let ended = run(&home, "check", &address(&key), &["--host-key", &host_key]);
    fails(&ended, 3, &["target-no-root", "a password is required"]);
}

#[test]
fn a15_an_installer_that_refuses_the_key_is_reported_as_such() {
    let scratch = Scratch::new();
    let run = "#!/bin/sh\necho kexec >>\"$SCRATCH/calls\"\necho installer >\"$SCRATCH/next\"\n\
        sed -i 's/^AuthorizedKeysFile.*/AuthorizedKeysFile none/' \"$SCRATCH/sshd_config\"\n\
        echo \"machine will boot into nixos in 6s...\"\n\
        setsid sh -c 'sleep 0.5; echo >\"$SCRATCH/reboot\"' </dev/null >/dev/null 2>&1 &\n";
    fs::write(scratch.home.path("kexec/run"), run).unwrap();
    tarball(&scratch.home, "image.tar.gz");
    let ended = one_line(&scratch.install(&["--yes"]));
    fails(&ended, 8, &["refuses the login", "authorized keys", "a system answers"]);
    assert!(!ended.stderr.contains("cannot kexec"), "{}", ended.stderr);
}

#[test]
fn a16_the_line_that_forgets_a_key_is_the_right_one() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    keygen(&home.path("other"));
    let other = fs::read_to_string(home.path("other.pub")).unwrap();
    let known = home.path("known_hosts");
    fs::write(&known, format!("[127.0.0.1]:{} {other}", sshd.port)).unwrap();
    let config =
        format!("Host nas\n  HostName 127.0.0.1\n  User {}\n  Port {}\n", user(), sshd.port);
    let ended = with_config(&home, &config, &words(&home, "check", "nas", &[]));
    fails(&ended, 6, &["a different host key"]);
    let forget = ended.stderr.split('`').find(|text| text.starts_with("ssh-keygen -R"));
    let forget = forget.unwrap_or_else(|| panic!("{}", ended.stderr));
    assert!(Command::new("sh").args(["-c", forget]).status().unwrap().success(), "{forget}");
    assert_eq!(fs::read_to_string(&known).unwrap(), "", "{forget}");
}

#[tokio::test]
async fn a18_one_session_at_a_time_is_enough() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "MaxSessions 1");
    for _ in 0..20 {
        let target = connect(&home, &sshd).await;
        TargetFacts::gather(&target).await.unwrap();
    }
    let target = connect(&home, &sshd).await;
    let echo = |word: &'static str| Script::sh("sleep 0.3; echo $1").arg(word);
    let (a, b, c) = (echo("a"), echo("b"), echo("c"));
    let said = tokio::try_join!(target.run(&a), target.run(&b), target.run(&c)).unwrap();
    assert_eq!(said, ("a\n".to_owned(), "b\n".to_owned(), "c\n".to_owned()));
}

/// All of it, with Nix' own ssh that copies the closure.
#[test]
fn a18_a_whole_install_needs_one_session_at_a_time() {
    let mut machine = Scratch::new();
    let config = machine.dir().join("sshd_config");
    let text = fs::read_to_string(&config).unwrap().replace("MaxSessions 100", "MaxSessions 1");
    assert!(text.contains("MaxSessions 1\n"), "{text}");
    fs::write(&config, text).unwrap();
    machine.power_cycle();
    let ended = machine.install(&["--yes"]);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
}

#[tokio::test]
async fn a19_a_key_that_was_given_comes_before_the_agent_s() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "MaxAuthTries 6");
    keygen(&home.path("another"));
    let agent = Agent::start(&home, &home.path("another"));
    for number in 0..8 {
        let key = home.path(&format!("key{number}"));
        keygen(&key);
        assert!(agent.add().arg("-q").arg(&key).status().unwrap().success());
    }
    let own = format!("IdentityAgent={}", agent.socket().display());
    let with = |more: &[&str]| {
        let mut options = vec![own.clone()];
        options.extend(more.iter().map(|&option| option.to_owned()));
        Login { options, ..login(&home, &sshd) }
    };
    Target::connect(with(&[]), Vec::new(), Metrics::default()).await.map(|_| ()).unwrap();
    // The message says why the agent's own limit does not help.
    let all = Target::connect(with(&["IdentitiesOnly=no"]), Vec::new(), Metrics::default()).await;
    let error = all.err().unwrap();
    assert_eq!(error.kind, ConnectErrorKind::Denied, "{error}");
    assert!(error.text.contains("Too many authentication failures"), "{error}");
}

#[test]
fn a20_a_jump_host_whose_key_is_unknown_is_named() {
    let home = Home::new();
    let inner = Sshd::start(&home, "");
    let bastion = Sshd::start(&home, "");
    let (known, key) = (home.path("known_hosts"), home.path("key"));
    fs::write(&known, format!("[127.0.0.1]:{} {}\n", inner.port, inner.host_key())).unwrap();
    let config = format!(
        "Host inner\n  HostName 127.0.0.1\n  Port {}\n  ProxyJump bastion\n\
         Host bastion\n  HostName 127.0.0.1\n  Port {}\n\
         Host *\n  User {}\n  IdentityFile {}\n  IdentityAgent none\n  UserKnownHostsFile {}\n",
        inner.port,
        bastion.port,
        user(),
        key.display(),
        known.display()
    );
    let ended = with_config(&home, &config, &words(&home, "check", "inner", &[]));
    fails(&ended, 6, &["jump host bastion"]);
    assert!(!ended.stderr.contains("--host-key"), "{}", ended.stderr);
    assert!(!ended.stderr.contains(&fingerprint(&inner.host_key()).unwrap()), "{}", ended.stderr);
    // Once it is known, the way is free.
    let both = [&inner, &bastion];
    let lines = both.map(|sshd| format!("[127.0.0.1]:{} {}\n", sshd.port, sshd.host_key()));
    fs::write(&known, lines.concat()).unwrap();
    let ended = with_config(&home, &config, &words(&home, "check", "inner", &[]));
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    // A refusal of the target's own is the target's.
    fs::write(&known, &lines[1]).unwrap();
    let ended = with_config(&home, &config, &words(&home, "install", "inner", &["--yes"]));
    fails(&ended, 6, &["the host key of inner is not known"]);
    // What the jump host refuses is not the target's doing.
    let stranger = config.replace(&format!("Port {}", bastion.port), "Port 1");
    let ended = with_config(&home, &stranger, &words(&home, "check", "inner", &[]));
    fails(&ended, 5, &["jump host bastion", "Connection refused"]);
}

#[test]
fn a22_a_runtime_directory_that_cannot_be_used_is_not() {
    let home = Home::new();
    let sshd = Sshd::start(&home, "");
    let key = sshd.host_key();
    let odd = home.path("r %h ${X}");
    fs::create_dir(&odd).unwrap();
    for dir in ["/proc", odd.to_str().unwrap()] {
        let words = words(&home, "check", &address(&sshd), &["--host-key", &key]);
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let run = home.landfall(&words).env("XDG_RUNTIME_DIR", dir).output().unwrap();
        assert_eq!(run.status.code(), Some(0), "{dir}: {run:?}");
    }
}

#[test]
fn a23_a_zone_in_a_url_is_encoded() {
    let by_url: Destination = "ssh://root@[fe80::aa%25eth0]".parse().unwrap();
    let by_hand: Destination = "root@fe80::aa%eth0".parse().unwrap();
    assert_eq!(by_url, by_hand);
}
