//! The shell texts that run on targets are read, and run, by the shells that targets have: dash, bash, busybox.

use crate::common::shells::{SHELLS, System, source, text};
use crate::common::{as_root, user};
use landfall::facts::{InstalledFacts, LinkKind, StorageFacts, TargetFacts};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// Every shell text of the source.
fn scripts(dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(scripts(&path));
        } else if path.extension().is_some_and(|extension| extension == "sh") {
            found.push(path);
        }
    }
    found
}

#[test]
fn every_script_is_read_by_every_shell() {
    let scripts = scripts(&source());
    assert!(scripts.len() > 10, "only {scripts:?}");
    for system in SHELLS.map(System::of) {
        for script in &scripts {
            let text = std::fs::read_to_string(script).unwrap();
            for arguments in [vec!["-n", script.to_str().unwrap()], vec!["-nc", &text]] {
                let output = system.sh(&arguments).output().unwrap();
                let told = format!("{} in {}: {output:?}", script.display(), system.shell);
                assert!(output.status.success() && output.stderr.is_empty(), "{told}");
            }
        }
        // The proof that it would have been noticed.
        assert!(!system.sh(&["-nc", "if true; then"]).output().unwrap().status.success());
    }
}

/// The disks that this machine has, found without the probe.
fn own_disks() -> BTreeSet<String> {
    const VIRTUAL: [&str; 9] = ["loop", "ram", "zram", "dm-", "md", "sr", "fd", "nbd", "zd"];
    let names = std::fs::read_dir("/sys/block").unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let is_disk = |name: &String| {
        !VIRTUAL.iter().any(|prefix| name.starts_with(prefix))
            && !(name.starts_with("mmcblk") && (name.contains("boot") || name.ends_with("rpmb")))
    };
    names.filter(is_disk).collect()
}

#[test]
fn the_probe_finds_the_same_in_every_shell() {
    let probe = |shell| {
        let system = System::of(shell);
        let login = system.run("facts/login.sh", &[]);
        let said = system.run("facts/disks.sh+facts/probe.sh", &["::ffff:127.0.0.1"]);
        let mut facts = TargetFacts::parse(&(login + &said));
        assert!(facts.available.take().is_some_and(|bytes| bytes > 0), "{shell}");
        // What is free changes beside other tests; that it is reported does not.
        assert!(
            facts.places.iter_mut().any(|place| std::mem::take(&mut place.free) > 0),
            "{shell}"
        );
        facts.places.iter_mut().for_each(|place| place.free = 0);
        facts
    };
    let dash = probe("dash");
    assert_eq!(dash.kernel, "Linux");
    let uname = Command::new("uname").arg("-m").output().unwrap();
    assert_eq!(dash.machine, text(&uname.stdout).trim());
    assert_eq!(dash.boot, boot_id());
    assert_eq!(dash.host_name, host_name());
    assert!(dash.memory.is_some_and(|bytes| bytes > 64 << 20), "{:?}", dash.memory);
    if user() == "root" {
        assert!(dash.elevation.is_some());
    }
    assert!(dash.tools.contains("sh") && dash.tools.contains("tar"), "{:?}", dash.tools);

    let link = dash.link.as_ref().map(|link| (link.name.as_str(), link.kind));
    assert_eq!(link, Some(("lo", LinkKind::Unknown)));

    let disks = own_disks();
    if disks.is_empty() {
        eprintln!("this machine has no disks of its own: /sys/block has only virtual ones");
    }
    assert_eq!(dash.disks.keys().cloned().collect::<BTreeSet<_>>(), disks);
    for (name, disk) in &dash.disks {
        let sectors = std::fs::read_to_string(format!("/sys/block/{name}/size")).unwrap();
        assert_eq!(disk.size, sectors.trim().parse::<u64>().unwrap() * 512, "{name}");
        assert_eq!(dash.disk(&format!("/dev/{name}")), Some(disk));
    }

    assert_eq!(probe("bash"), dash);
    let mut busybox = probe("busybox");
    assert!(busybox.tools.contains("sh") && !busybox.tools.contains("nix"));
    // It has fewer programs, and reads the same of the machine.
    assert_eq!(BTreeMap::from_iter(busybox.disks.clone()), dash.disks);
    busybox.tools.clone_from(&dash.tools);
    busybox.elevation = dash.elevation;
    busybox.pools.clone_from(&dash.pools);
    // Only systemd-detect-virt knows.
    busybox.hypervisor.clone_from(&dash.hypervisor);
    assert_eq!(busybox, dash);
}

#[test]
fn the_probe_reports_firmware_without_variables_or_with_32_bits() {
    as_root("the firmware is faked in a mount namespace");
    for (made, variables, bits) in [
        ("", None, None),
        ("mkdir /sys/firmware/efi", Some(false), None),
        (
            "mkdir -p /sys/firmware/efi/efivars; echo 64 >/sys/firmware/efi/fw_platform_size",
            Some(true),
            Some(64),
        ),
        (
            "mkdir -p /sys/firmware/efi/efivars; echo 32 >/sys/firmware/efi/fw_platform_size",
            Some(true),
            Some(32),
        ),
    ] {
        for system in SHELLS.map(System::of) {
            let prepare = format!("mount -t tmpfs none /sys/firmware; {made}");
            let probe = "facts/disks.sh+facts/probe.sh";
            let mut probe = system.script_in(Path::new("/"), &prepare, probe, &["127.0.0.1"]);
            let output = probe.output().unwrap();
            assert!(output.status.success(), "{}: {output:?}", system.shell);
            let facts = TargetFacts::parse(&text(&output.stdout));
            let told = (facts.efi, facts.efi_variables, facts.efi_bits);
            assert_eq!(told, (!made.is_empty(), variables, bits), "{}", system.shell);
        }
    }
}

fn boot_id() -> String {
    let boot = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap();
    boot.trim().to_owned()
}

fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap().trim().to_owned()
}

#[test]
fn an_installed_system_says_what_it_runs() {
    for system in SHELLS.map(System::of) {
        let facts = InstalledFacts::parse(&system.run("facts/installed.sh", &[]));
        assert_eq!(facts.boot, boot_id(), "{}", system.shell);
        assert_eq!(facts.host_name, host_name(), "{}", system.shell);
    }
}

/// A job's name that no other test uses; what it leaves behind is removed at the end.
struct Job(String);

impl Job {
    fn new(system: &System, name: &str) -> Self {
        as_root("jobs live in /run/landfall");
        Self(format!("test-{name}-{}-{}", system.shell, std::process::id()))
    }

    fn dir(&self) -> PathBuf {
        Path::new("/run/landfall").join(&self.0)
    }

    fn start(&self, system: &System, command: &[&str]) -> Output {
        let arguments = [&[self.0.as_str(), "run"], command].concat();
        system.script("machine/job-start.sh", &arguments).output().unwrap()
    }

    /// Ends it, and all that it has started: a job is a session of its own.
    fn kill(&self) {
        let id = std::fs::read_to_string(self.dir().join("pid")).unwrap();
        let mut kill = Command::new("kill");
        assert!(kill.args(["-KILL", "--", &format!("-{}", id.trim())]).status().unwrap().success());
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        if std::thread::panicking() && self.dir().join("pid").exists() {
            let id = std::fs::read_to_string(self.dir().join("pid")).unwrap_or_default();
            let _ = Command::new("kill").args(["-KILL", "--", &format!("-{}", id.trim())]).status();
        }
        let _ = std::fs::remove_dir_all(self.dir());
    }
}

#[test]
fn a_job_reports_its_output_and_its_exit_status() {
    for system in SHELLS.map(System::of) {
        let job = Job::new(&system, "ends");
        let follow = |from: &str| system.run("machine/job-follow.sh", &[&job.0, from]);
        // 2 MB, to stdout and stderr, seen from the beginning and from the middle.
        let count = "seq 1 160000; seq 160001 320000 >&2; exit $1";
        let whole: Vec<_> = (1..=320_000).map(|number| number.to_string()).collect();
        let whole = whole.join("\n") + "\n";
        for status in ["0", "7"] {
            let started = job.start(&system, &["sh", "-c", count, "sh", status]);
            assert!(started.status.success(), "{started:?}");
            let said = follow("0");
            let (log, end) = said.rsplit_once("\nlandfall-job-status ").unwrap();
            assert_eq!(end, format!("{status}\n"));
            assert!(log == whole, "{}: {} of {} bytes", system.shell, log.len(), whole.len());
            let said = follow("1000003");
            assert!(said.starts_with(&whole[1_000_003..]), "{}: from the middle", system.shell);
            let said = follow(&whole.len().to_string());
            assert_eq!(said, format!("\nlandfall-job-status {status}\n"));
        }
        // What kills the command is an exit status; only the job's own end leaves no word.
        assert!(job.start(&system, &["sh", "-c", "kill -TERM $$"]).status.success());
        let said = follow("0");
        assert!(said.ends_with("\nlandfall-job-status 143\n"), "{}: {said}", system.shell);
    }
}

#[test]
fn a_job_that_is_killed_is_lost() {
    for system in SHELLS.map(System::of) {
        let job = Job::new(&system, "killed");
        let command = ["sh", "-c", "echo up; sleep 1000; echo never"];
        assert!(job.start(&system, &command).status.success());
        let mut follow = system.script("machine/job-follow.sh", &[&job.0, "0"]);
        let mut follow = follow.stdout(Stdio::piped()).spawn().unwrap();
        let mut said = BufReader::new(follow.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        assert_eq!(line, "up\n");

        let second = job.start(&system, &["echo", "second"]);
        assert_eq!(second.status.code(), Some(75), "{second:?}");
        assert!(text(&second.stderr).contains("a job of an earlier run is still running"));

        job.kill();
        let mut rest = String::new();
        said.read_to_string(&mut rest).unwrap();
        assert_eq!(rest, "\nlandfall-job-status lost\n", "{}", system.shell);
        assert!(follow.wait().unwrap().success());

        let again = job.start(&system, &["echo", "again"]);
        assert!(again.status.success(), "{again:?}");
        let said = system.run("machine/job-follow.sh", &[&job.0, "0"]);
        assert_eq!(said, "again\n\nlandfall-job-status 0\n");
    }
}

/// ZFS that has one pool with one dataset, and complains about all others.
const ZFS: &str = r#"case "$*" in
    'status -x') echo 'all pools are healthy' ;;
    'status -P') printf '  pool: tank\nconfig:\n\n\ttank  ONLINE\n\t  /dev/sda1  ONLINE\n' ;;
    'get -H -p -o name,property,value all tank') printf 'tank\tashift\t12\ntank\tsize\t1024\n' ;;
    'get -H -p -o name,property,value all tank/a b') printf 'tank/a b\trecordsize\t1048576\n' ;;
    *) echo "cannot open: $*" >&2; exit 1 ;;
esac"#;

#[test]
fn an_installed_system_says_what_its_pools_are() {
    as_root("/sys is mounted over");
    let scene = tempfile::tempdir().unwrap();
    let parameters = scene.path().join("module/zfs/parameters");
    std::fs::create_dir_all(&parameters).unwrap();
    std::fs::write(parameters.join("zfs_arc_max"), "1073741824\n").unwrap();
    for system in SHELLS.map(System::of) {
        let names = ["tank", "gone", "tank/a b", "tank/gone"];
        let ask = || {
            let prepare = "mount -o bind \"$1\" /sys";
            let mut command = system.script_in(scene.path(), prepare, "facts/installed.sh", &names);
            let output = command.output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            InstalledFacts::parse(&text(&output.stdout))
        };
        // A module without its programs.
        let without = ask();
        assert_eq!((without.arc_max, without.pool_health, without.pools.len()), (None, None, 0));

        system.program("zpool", ZFS);
        system.program("zfs", ZFS);
        let facts = ask();
        assert_eq!(facts.arc_max, Some(1 << 30), "{}", system.shell);
        assert!(facts.pools_are_healthy());
        assert_eq!(facts.pools[0].vdevs[0].disks, ["/dev/sda1"]);
        assert_eq!(facts.pool_properties.keys().collect::<Vec<_>>(), ["tank"]);
        assert_eq!(facts.pool_properties["tank"]["ashift"], "12");
        assert_eq!(facts.dataset_properties.keys().collect::<Vec<_>>(), ["tank", "tank/a b"]);
        assert_eq!(facts.dataset_properties["tank/a b"]["recordsize"], "1048576");
        assert!(facts.mounts.iter().any(|mount| mount.target == "/sys"));
        let line = std::fs::read_to_string("/proc/cmdline").unwrap();
        assert_eq!(facts.kernel_command_line, line.trim());
    }
}

/// A machine whose pool has one disk, and that disk asked by smartctl; another sleeps.
const ZPOOL_STATUS: &str = r#"case $* in
    'status -P -p') printf '  pool: tank\n state: ONLINE\nconfig:\n\n\ttank  ONLINE  0 0 0\n\t  /dev/sda1  ONLINE  0 0 7\n\nerrors: No known data errors\n' ;;
    'status -P -p -g') printf '  pool: tank\n state: ONLINE\nconfig:\n\n\ttank  ONLINE  0 0 0\n\t  18446744073709551615  ONLINE  0 0 7\n' ;;
    *) echo "no such command: $*" >&2; exit 1 ;;
esac"#;
const SMARTCTL: &str = r#"case $* in
    *'-n standby'*/dev/sda) echo '{"power_on_time":{"hours":12},"temperature":{"current":31}}' ;;
    *) echo '{"smartctl":{"exit_status":2}}'; exit 2 ;;
esac"#;

#[test]
fn a_machine_says_how_its_disks_are() {
    as_root("/sys is mounted over");
    let scene = tempfile::tempdir().unwrap();
    for directory in ["module/zfs", "block/sda", "block/sdb", "block/vda"] {
        std::fs::create_dir_all(scene.path().join(directory)).unwrap();
    }
    for system in SHELLS.map(System::of) {
        let ask = || {
            let prepare = "mount -o bind \"$1\" /sys";
            let mut command = system.script_in(scene.path(), prepare, "facts/storage.sh", &[]);
            let output = command.output().unwrap();
            assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
            StorageFacts::parse(&text(&output.stdout))
        };
        system.program("zpool", "exit 1");
        system.program("smartctl", "exit 127");
        assert_eq!(ask(), StorageFacts::default(), "tools that do not work say nothing");

        system.program("zpool", ZPOOL_STATUS);
        system.program("smartctl", SMARTCTL);
        let facts = ask();
        let (_, member) = facts.pools[0].members().next().unwrap();
        assert_eq!((member.guid, member.checksum), (Some(u64::MAX), 7), "{}", system.shell);
        assert_eq!(facts.pools[0].errors, "No known data errors");
        assert_eq!(facts.smart.keys().collect::<Vec<_>>(), ["sda"]);
        assert_eq!((facts.smart["sda"].hours, facts.smart["sda"].celsius), (Some(12), Some(31)));
    }
}
