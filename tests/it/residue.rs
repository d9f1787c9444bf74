//! What is left: each kind of residue is found, in every shell a target may have, and a run that is ended in its middle takes
//! its things away.

use crate::common::as_root;
use crate::common::shells::{SHELLS, System, text};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Stdio;
use tempfile::TempDir;

/// What sha256sum says of `a secret of some length`.
const SUM: &str = "23 74b2b8cf7d1f1d9b3a4f9e2f5a6e0f0f00000000000000000000000000000000";

struct Root(TempDir);

impl Root {
    /// A new root as it is to be.
    fn new() -> Self {
        as_root("/mnt is mounted over, and keys belong to root");
        let root = Self(tempfile::tempdir().unwrap());
        root.write("etc/ssh/ssh_host_ed25519_key", "PRIVATE", 0o600);
        root.write("nix/store/a/file", "what anybody may read!!", 0o444);
        root.write("root/.bashrc", "", 0o644);
        root
    }

    fn path(&self, path: &str) -> std::path::PathBuf {
        self.0.path().join("mnt").join(path)
    }

    fn write(&self, path: &str, content: &str, mode: u32) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
    }

    /// What is found in it, the same in every shell.
    #[track_caller]
    fn found(&self, words: &[&str], sums: &str) -> Vec<String> {
        let found = SHELLS.map(|shell| look(self.0.path(), shell, "/mnt", "new root", words, sums));
        assert_eq!(found[0], found[1], "dash and bash");
        assert_eq!(found[0], found[2], "dash and busybox");
        found[0].clone()
    }
}

fn look(
    scene: &Path,
    shell: &'static str,
    root: &str,
    name: &str,
    words: &[&str],
    sums: &str,
) -> Vec<String> {
    let system = System::of(shell);
    let fetch = scene.join("fetch");
    let words = [&[root, name, fetch.to_str().unwrap()], words].concat();
    fs::create_dir_all(scene.join("mnt")).unwrap();
    let mut command = system.script_in(scene, PREPARE, "steps/residue.sh", &words);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(sums.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{shell}: {output:?}");
    let said = text(&output.stdout);
    assert!(said.lines().any(|line| line.starts_with("asked\t")), "{shell}: {said}");
    said.lines().filter_map(|line| line.strip_prefix("found\t")).map(str::to_owned).collect()
}

/// Root's own home and /mnt are those of the scene.
const PREPARE: &str =
    r#"mount --bind "$1/mnt" /mnt; mkdir -p "$1/home"; mount --bind "$1/home" /root"#;

const KEY: &str = "key:/etc/ssh/ssh_host_ed25519_key";

#[test]
fn a_new_root_as_it_is_to_be() {
    assert_eq!(Root::new().found(&[KEY], SUM), [""; 0]);
}

#[test]
fn each_residue_is_found() {
    let root = Root::new();
    root.write("etc/ssh/ssh_host_ed25519_key", "PRIVATE", 0o640);
    root.write("etc/ssh/ssh_host_ed25519_key.Xy12Zk", "PRIVATE", 0o600);
    root.write(
        "root/.ssh/authorized_keys",
        "# ours\n\nssh-ed25519 AAAA me\nssh-ed25519 BBBB you\n",
        0o600,
    );
    root.write("root/.ssh/known_hosts", "x", 0o600);
    root.write("root/.netrc", "x", 0o600);
    root.write("nix/store/b/copy", "a secret of some length", 0o444);
    let sum = std::process::Command::new("sha256sum").arg(root.path("nix/store/b/copy")).output();
    let sum = format!("23 {}\n", &text(&sum.unwrap().stdout)[..64]);
    assert_eq!(
        root.found(&[KEY, "login:ssh-ed25519 AAAA me"], &sum),
        [
            "/mnt/etc/ssh/ssh_host_ed25519_key has mode and owner 640 0",
            "/mnt/etc/ssh/ssh_host_ed25519_key.Xy12Zk is there",
            "/root/.ssh/authorized_keys has ssh-ed25519 BBBB you",
            "/root/.ssh/known_hosts is there",
            "/root/.netrc is there",
            "/mnt/nix/store/b/copy is a copy of a secret",
        ]
    );
    let placed = [
        "placed:/root/.ssh/authorized_keys",
        "placed:/root/.ssh/known_hosts",
        "placed:/root/.netrc",
    ];
    assert_eq!(root.found(&placed, SUM), [""; 0], "what the user has placed is no residue");
}

#[test]
fn the_installer_is_looked_at_too() {
    as_root("/mnt is mounted over");
    for shell in SHELLS {
        let scene = tempfile::tempdir().unwrap();
        let socket = scene.path().join("agent.1");
        let word = format!("socket:{}", socket.display());
        let look = || look(scene.path(), shell, "", "installer", &[&word, "host:AAAAKEY"], "");
        assert_eq!(look(), [""; 0], "{shell}");
        fs::create_dir(scene.path().join("fetch")).unwrap();
        fs::write(&socket, "").unwrap();
        let found = look();
        assert_eq!(found.len(), 2, "{shell}: {found:?}");
        assert!(found[0].ends_with("/fetch is there") && found[1].contains("agent.1 is there"));
        let hosts = scene.path().join("home/.ssh/known_hosts");
        fs::create_dir_all(hosts.parent().unwrap()).unwrap();
        fs::write(&hosts, "[git.org]:22 ssh-ed25519 AAAAKEY\n").unwrap();
        assert!(look().contains(&"/root/.ssh/known_hosts has a git server's key".to_owned()));
    }
}
