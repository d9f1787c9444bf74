//! Files for the first boot: the scripts that place them, in every shell a target may have; and an install that has
//! them, on a scratch machine.

use crate::common::as_root;
use crate::common::scratch::Scratch;
use crate::common::shells::{SHELLS, System, text};
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::process::{Output, Stdio};

/// Runs a script with the scene's directory `mnt` as /mnt.
fn on(scene: &Path, shell: &'static str, script: &str, arguments: &[&str], stdin: &[u8]) -> Output {
    as_root("/mnt is mounted over");
    let system = System::of(shell);
    let mut command = system.script_in(scene, "mount --bind \"$1/mnt\" /mnt", script, arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(stdin).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn no_link_leads_a_file_elsewhere() {
    for shell in SHELLS {
        let scene = tempfile::tempdir().unwrap();
        let mnt = scene.path().join("mnt");
        fs::create_dir_all(mnt.join("etc/ssh dir")).unwrap();
        symlink("/nix", mnt.join("out")).unwrap();
        symlink("/nowhere", mnt.join("etc/old")).unwrap();
        let ask = |places: &str| on(scene.path(), shell, "steps/places.sh", &[], places.as_bytes());
        let good = ask(
            "0:d/etc\x001:d/etc/new\x002:d/etc/ssh dir\x003:f/etc/ssh dir/a\nb\x004:f/etc/old\0",
        );
        assert!(good.status.success(), "{shell}: {good:?}");
        assert_eq!(text(&good.stdout), "0\n2\n", "{shell}");
        for (places, word) in [
            ("0:d/out\x001:f/out/x\0", "/mnt/out is a link"),
            ("0:d/etc/old\0", "/mnt/etc/old is a link"),
            ("0:f/etc\0", "/mnt/etc is a directory"),
        ] {
            let bad = ask(places);
            assert!(!bad.status.success(), "{shell}: {places}");
            assert!(text(&bad.stderr).contains(word), "{shell}: {bad:?}");
        }
    }
}

#[test]
fn owners_are_those_of_the_installed_system() {
    for shell in SHELLS {
        let scene = tempfile::tempdir().unwrap();
        let mnt = scene.path().join("mnt");
        fs::create_dir_all(mnt.join("etc")).unwrap();
        fs::create_dir_all(mnt.join("srv/a b/c")).unwrap();
        fs::write(mnt.join("key"), "").unwrap();
        symlink("/etc/shadow", mnt.join("srv/a b/link")).unwrap();
        fs::write(mnt.join("etc/passwd"), "root:x:0:0::/:/bin/sh\nnas:x:1234:5::/:/bin/sh\n")
            .unwrap();
        fs::write(mnt.join("etc/group"), "root:x:0:\nmedia:x:4321:nas\n").unwrap();
        let give = |words: &[&str]| on(scene.path(), shell, "steps/owners.sh", words, b"");
        let shadow = fs::metadata("/etc/shadow").map(|seen| (seen.uid(), seen.gid())).ok();
        let given = give(&["/srv/a b", "nas", "media", "all", "/key", "77", "media", ""]);
        assert!(given.status.success(), "{shell}: {given:?}");
        let owner = |path: &str| {
            let seen = fs::symlink_metadata(mnt.join(path)).unwrap();
            (seen.uid(), seen.gid())
        };
        for path in ["srv/a b", "srv/a b/c", "srv/a b/link"] {
            assert_eq!(owner(path), (1234, 4321), "{shell}: {path}");
        }
        assert_eq!((owner("key"), owner("srv")), ((77, 4321), (0, 0)), "{shell}");
        assert_eq!(fs::metadata("/etc/shadow").map(|s| (s.uid(), s.gid())).ok(), shadow);
        let unknown = give(&["/key", "nobody-here", "0", ""]);
        assert!(!unknown.status.success(), "{shell}");
        assert!(text(&unknown.stderr).contains("has no 'nobody-here' (/etc/passwd)"));
    }
}

#[test]
fn an_install_places_them() {
    let machine = Scratch::new();
    let tree = machine.home.path("tree");
    fs::create_dir_all(tree.join("etc/odd dir")).unwrap();
    fs::create_dir_all(tree.join("srv/empty")).unwrap();
    fs::write(tree.join("etc/odd dir/a\nb c"), "from the tree").unwrap();
    fs::set_permissions(tree.join("etc/odd dir/a\nb c"), fs::Permissions::from_mode(0o640))
        .unwrap();
    fs::set_permissions(tree.join("etc"), fs::Permissions::from_mode(0o700)).unwrap();
    symlink("odd dir/a\nb c", tree.join("etc/link")).unwrap();
    let tree = tree.to_str().unwrap();
    let command = "|printf canary-of-a-command:/etc/made/token:0440:sshd:kvm";
    let more = [
        "--yes",
        "--extra-files",
        tree,
        "--secret-file",
        command,
        "--secret-file",
        "-:/root/in:0400:7:8",
    ];
    let more = [&more[..], &["--chown", "/srv", "9:10"]].concat();
    let mut install = machine.command("install", "scratch", &more);
    let mut child = install
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"canary-of-stdin").unwrap();
    let ended = crate::common::Ended::of(&child.wait_with_output().unwrap());
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    let seen = machine.inside(
        "cd /; stat -c '%a %u:%g %n' etc etc/made etc/made/token root/in srv srv/empty 'etc/odd dir'; \
         cat etc/made/token root/in etc/link; stat -c '%a %F' etc/link etc/odd\\ dir/a*",
    );
    assert_eq!(
        seen,
        "755 0:0 etc\n755 0:0 etc/made\n440 74:103 etc/made/token\n400 7:8 root/in\n755 9:10 srv\n\
         755 9:10 srv/empty\n755 0:0 etc/odd dir\ncanary-of-a-commandcanary-of-stdinfrom the tree\
         777 symbolic link\n640 regular file\n"
    );
    let said = format!("{}{}{}", ended.stdout, ended.stderr, machine.home.logs());
    assert!(!said.contains("canary-of-"), "{said}");
    assert!(said.contains("/root/in (mode 0400, owner 7:8)"), "{said}");
    assert!(said.contains("/etc/made/token owned by sshd:kvm"), "{said}");
}

/// Upstream's usual way to give a machine its host key. It is the one that the machine is known by afterwards.
#[test]
fn a_host_key_among_them_is_the_machines() {
    let machine = Scratch::new();
    let tree = machine.home.path("tree");
    fs::create_dir_all(tree.join("etc/ssh")).unwrap();
    let key = tree.join("etc/ssh/ssh_host_ed25519_key");
    crate::common::keygen(&key);
    // As git keeps files.
    fs::set_permissions(&key, fs::Permissions::from_mode(0o644)).unwrap();
    let report = machine.home.path("report.json");
    let options =
        ["--yes", "--extra-files", tree.to_str().unwrap(), "--report", report.to_str().unwrap()];
    let ended = machine.install(&options);
    assert_eq!(ended.code, Some(0), "{ended:#?}");
    assert!(
        ended.stderr.contains("place the host key /etc/ssh/ssh_host_ed25519_key (SHA256:"),
        "{ended:#?}"
    );
    let public = fs::read_to_string(tree.join("etc/ssh/ssh_host_ed25519_key.pub")).unwrap();
    let report = fs::read_to_string(&report).unwrap();
    assert!(report.contains(public.split(' ').nth(1).unwrap()), "{report}");
    assert_eq!(machine.inside("stat -c %a /etc/ssh/ssh_host_ed25519_key"), "600\n");
    // And is known when it is looked at again: known_hosts has the key of the rescue system.
    let known = format!("UserKnownHostsFile={}", machine.home.path("known").display());
    let line = format!("[127.0.0.1]:{} {}\n", machine.line, machine.host_key());
    fs::write(machine.home.path("known"), line).unwrap();
    let target = format!("root@127.0.0.1:{}", machine.line);
    let login = machine.home.path("key");
    let words = [
        "verify",
        "scratch",
        &target,
        "--flake",
        &crate::common::fleet(),
        "-i",
        login.to_str().unwrap(),
    ];
    let verified = machine.home.run(
        &[&words[..], &["--ssh-option", &known, "--ssh-option", "IdentityAgent=none"]].concat(),
    );
    assert_eq!(verified.code, Some(0), "{verified:#?}");

    let twice = machine.install(&[&options[..], &["--restart", "--copy-host-keys"]].concat());
    twice.failed(3, &["--copy-host-keys supplies another one"]);
}

#[test]
fn what_cannot_be_placed_is_refused_before_anything_is_touched() {
    let machine = Scratch::new();
    let before = machine.disk_hashes();
    let tree = machine.home.path("tree");
    fs::create_dir_all(tree.join("nix/store")).unwrap();
    fs::write(tree.join("nix/store/x"), "").unwrap();
    let tree = tree.to_str().unwrap();
    for (more, code, word) in [
        (["--extra-files", tree], 1, "nothing can be placed in /nix"),
        (["--secret-file", "/no/such:/etc/x"], 1, "No such file"),
        (["--secret-file", "|exit 3:/etc/x"], 1, "`exit 3` failed"),
        (["--secret-file", "|echo x:/nix/x"], 2, "nothing can be placed in /nix"),
        (["--secret-file", "|echo x:/etc/../x"], 2, "no plain absolute path"),
        (["--secret-file", "|echo x:/etc/x:0600:mallory:root"], 3, "[host-file-owner]"),
    ] {
        let ended = machine.install(&[&["--yes"][..], &more].concat());
        assert_eq!(ended.code, Some(code), "{more:?}: {ended:#?}");
        assert!(ended.stderr.contains(word), "{more:?}: {ended:#?}");
    }
    assert_eq!((machine.disk_hashes(), machine.calls()), (before, String::new()));
}
