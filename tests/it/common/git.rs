//! A git server as they are found: sshd in front of git-shell, which lets one key in.

use super::{Home, Sshd, keygen, keygen_as, user};
use landfall::secrets::agent::{GitHosts, GitUrl, HostPin};
use std::fmt::Write;
use std::path::PathBuf;
use std::process::Command;

pub struct GitServer {
    home: Home,
    pub sshd: Sshd,
}

impl GitServer {
    /// Serves one repository with one commit. Its host has keys of the three usual types.
    pub fn start() -> Self {
        let home = Home::new();
        let git = |arguments: &[&str]| {
            let mut git = Command::new("git");
            git.arg("-C").arg(home.path("")).args(["-c", "user.name=me", "-c", "user.email=me@x"]);
            assert!(git.args(arguments).status().unwrap().success(), "git {arguments:?}");
        };
        git(&["init", "--quiet", "--initial-branch=main", "secrets"]);
        git(&["-C", "secrets", "commit", "--quiet", "--allow-empty", "--message=first"]);
        let mut more = "ForceCommand git-shell -c \"$SSH_ORIGINAL_COMMAND\"\n".to_owned();
        for kind in ["rsa", "ecdsa"] {
            let key = home.path(kind);
            keygen_as(&key, kind, "host");
            writeln!(more, "HostKey {}", key.display()).unwrap();
        }
        keygen(&home.path("key"));
        let sshd = Sshd::start(&home, &more);
        Self { home, sshd }
    }

    /// The key that opens it.
    pub fn key(&self) -> PathBuf {
        self.home.path("key")
    }

    /// The repository.
    pub fn url(&self) -> String {
        let path = self.home.path("secrets");
        format!("ssh://{}@127.0.0.1:{}{}", user(), self.sshd.port, path.display())
    }

    /// The same, as landfall has it.
    pub fn git_url(&self) -> GitUrl {
        self.url().parse().unwrap()
    }

    /// The host, known by its key of one type.
    pub fn known_by(&self, kind: &str) -> GitHosts {
        let key = match kind {
            "ed25519" => self.sshd.host_key(),
            kind => std::fs::read_to_string(self.home.path(&format!("{kind}.pub"))).unwrap(),
        };
        let pin: HostPin = format!("127.0.0.1:{} {key}", self.sshd.port).parse().unwrap();
        GitHosts { pins: vec![pin] }
    }
}
