//! The zero-write proof: whatever refuses an install, not a byte of any disk has changed, and nothing that changes a machine
//! was run on it. One cause after the other, each alone, each on real disks with something on them.

use crate::common::scratch::Scratch;
use crate::common::{Ended, keygen};
use std::fs;
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::Path;
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What the machine is made to be: shell for its process 1, before it boots.
type Hardware = &'static str;

/// A cause, and how the run must end: name, hardware, programs in place of the machine's own, host, options, exit code,
/// words that must be said.
struct Cause {
    name: &'static str,
    hardware: Hardware,
    pretend: &'static [(&'static str, &'static str)],
    /// The pool that the first disk is a member of, and the GUIDs of its members, its own first.
    label: Option<(&'static str, &'static [u64])>,
    host: &'static str,
    more: &'static [&'static str],
    code: i32,
    says: &'static str,
}

const GOOD: Cause = Cause {
    name: "",
    hardware: "",
    pretend: &[],
    label: None,
    host: "scratch",
    more: &["--yes"],
    code: 3,
    says: "",
};

/// The machine comes up as an installer at once.
const INSTALLER: Hardware = "echo installer > \"$dir/next\"\n";

/// 128 bits that are the digest of nothing.
const NO_DIGEST: &str = "00000000000000000000000000000000";

/// A digest that no image has.
const NO_SHA256: &str = "0000000000000000000000000000000000000000000000000000000000000000";

const IS_NOT_ROOT: [(&str, &str); 3] =
    [("id", "echo 1000"), ("sudo", "exit 1"), ("doas", "exit 1")];

fn causes() -> Vec<Cause> {
    let mut all = of_host_and_consent();
    all.extend(of_target());
    all.extend(of_disks());
    all.extend(of_installer());
    all
}

fn of_host_and_consent() -> Vec<Cause> {
    let host = |host, says| Cause { name: host, host, says, ..GOOD };
    let options = |name, more, code, says| Cause { name, more, code, says, ..GOOD };
    vec![
        host("bare", "[host-no-disko]"),
        host("broken", "[host-assertion]"),
        host("stub", "[host-container]"),
        host("careless", "[host-topology]"),
        host("overwritten", "[host-firmware-region]"),
        host("helios64", "[target-architecture]"),
        Cause { code: 7, ..host("throws", "broken definition") },
        Cause { code: 2, ..host("nobody", "has no host 'nobody'") },
        Cause { code: 7, ..host("/no/such/flake#x", "/no/such/flake") },
        options("nobody agrees", &[], 4, "has not been agreed to"),
        options("another digest", &["--plan-digest", NO_DIGEST], 4, "the plan is not the one"),
        options("one serial too few", &["--erase", "S0001"], 4, "S0002 would be erased too"),
        options("another serial", &["--erase", "S0001,S0003"], 4, "S0003 would not be erased"),
        options("two kinds of consent", &["--yes", "--erase", "S0001"], 2, "cannot be used with"),
        options(
            "what cannot be accepted",
            &["--yes", "--accept", "disk-missing"],
            2,
            "this finding cannot be accepted",
        ),
        options("no such option", &["--yes", "--force"], 2, "unexpected argument"),
        options("another image", &["--yes", "--kexec-sha256", NO_SHA256], 3, "not 0000"),
        options(
            "a report nowhere",
            &["--yes", "--report", "/no/such/dir/r"],
            1,
            "cannot be written",
        ),
        options("another host key", &["--yes", "--host-key", "@other"], 6, "a different host key"),
    ]
}

fn of_target() -> Vec<Cause> {
    let hardware = |name, hardware, says| Cause { name, hardware, says, ..GOOD };
    let pretend = |name, pretend, says| Cause { name, pretend, says, ..GOOD };
    vec![
        pretend(
            "not Linux",
            &[("uname", "[ \"$1\" != -s ] || exec echo FreeBSD\nexec /bin/uname \"$@\"")],
            "[target-not-linux]",
        ),
        pretend(
            "another architecture",
            &[("uname", "[ \"$1\" != -m ] || exec echo riscv64\nexec /bin/uname \"$@\"")],
            "[target-architecture]",
        ),
        pretend("no root", &IS_NOT_ROOT, "[target-no-root]"),
        pretend(
            "a guest of Xen",
            &[("systemd-detect-virt", "[ \"$1\" != --vm ] || exec echo xen\nexit 1")],
            "[kexec-hypervisor]",
        ),
        hardware(
            "a locked-down kernel",
            "mkdir -p /sys/kernel/security; echo 'none [integrity] confidentiality' > /sys/kernel/security/lockdown\n",
            "[kexec-locked-down]",
        ),
        hardware(
            "Secure Boot",
            "mkdir -p /sys/firmware/efi/efivars; printf '\\006\\000\\000\\000\\001' > /sys/firmware/efi/efivars/SecureBoot-8be4df61-93ca-11d2-aa0d-00e098032b8c\n",
            "[kexec-locked-down]",
        ),
        hardware(
            "on battery",
            "mkdir -p /sys/class/power_supply/AC /sys/class/power_supply/BAT; echo Mains > /sys/class/power_supply/AC/type; echo 0 > /sys/class/power_supply/AC/online; echo Battery > /sys/class/power_supply/BAT/type; echo Discharging > /sys/class/power_supply/BAT/status\n",
            "[target-battery]",
        ),
        hardware("a bond", "mkdir -p /sys/class/net/lo/bonding\n", "[kexec-network]"),
        hardware("a bridge", "mkdir -p /sys/class/net/lo/bridge\n", "[kexec-network]"),
        hardware("Wi-Fi", "mkdir -p /sys/class/net/lo/wireless\n", "[kexec-network]"),
        hardware(
            "a VLAN",
            "mkdir -p /sys/class/net/lo; echo DEVTYPE=vlan > /sys/class/net/lo/uevent\n",
            "[kexec-network]",
        ),
        hardware(
            "a tunnel",
            "mkdir -p /sys/class/net/lo; echo DEVTYPE=wireguard > /sys/class/net/lo/uevent\n",
            "[kexec-network]",
        ),
        // kexec/run itself fails: the image is on the target, and nothing else.
        Cause {
            code: 8,
            ..hardware("kexec does not work", ": > \"$dir/cannot-kexec\"\n", "kexec/run failed")
        },
    ]
}

fn of_disks() -> Vec<Cause> {
    let hardware = |name, hardware, says| Cause { name, hardware, says, ..GOOD };
    vec![
        hardware("read-only", "echo 1 > /sys/block/sda/ro\n", "[disk-read-only]"),
        hardware(
            "two names of one disk",
            "rm /dev/disk/by-id/*S0002; ln -s ../../sda /dev/disk/by-id/ata-SCRATCH_DISK_S0002\n",
            "[disk-twice]",
        ),
        hardware(
            "one serial number for two disks",
            "echo S0001 > /sys/block/sdb/device/serial\n",
            "[disk-serial-twice]",
        ),
        Cause {
            label: Some(("photos", &[1, 2, 3])),
            ..hardware("a member of a pool of three", "", "[disk-foreign-pool]")
        },
        Cause {
            label: Some(("tank", &[1, 2])),
            ..hardware("half of a mirror", "", "[disk-foreign-pool]")
        },
        Cause {
            pretend: &[(
                "smartctl",
                "echo 'SMART overall-health self-assessment test result: FAILED!'; exit 8",
            )],
            ..hardware("SMART says that it fails", "", "[disk-smart]")
        },
    ]
}

fn of_installer() -> Vec<Cause> {
    let hardware = |name, hardware, says| Cause { name, hardware, says, ..GOOD };
    vec![
        hardware(
            "a disk is missing",
            concat!("echo installer > \"$dir/next\"\n", "rm /dev/disk/by-id/*S0002\n"),
            "[disk-missing]",
        ),
        hardware(
            "a disk is mounted",
            concat!(
                "echo installer > \"$dir/next\"\n",
                "mkdir -p /srv/m; mount -o ro,noload /dev/sda /mnt\n"
            ),
            "[disk-mounted]",
        ),
        hardware(
            "a disk holds what somebody has opened with a key",
            concat!(
                "echo installer > \"$dir/next\"\n",
                "mkdir -p /sys/block/dm-0/dm /sys/block/sdb/holders/dm-0; echo 1 > /sys/block/dm-0/size\n",
                "echo CRYPT-LUKS2-1 > /sys/block/dm-0/dm/uuid; echo photos > /sys/block/dm-0/dm/name\n"
            ),
            "[disk-held]",
        ),
        Cause {
            pretend: &[
                ("id", "echo 1000"),
                (
                    "sudo",
                    "[ \"$1\" = -n ] || exit 1; shift; [ \"$1\" != -- ] || shift; exec \"$@\"",
                ),
            ],
            ..hardware(
                "an installer that is not entered as root",
                INSTALLER,
                "[installer-not-root]",
            )
        },
        // Somebody changes a disk while the disko script is on its way to the installer.
        Cause {
            code: 4,
            pretend: &[(
                "nix-daemon",
                "echo S9999 >/sys/block/sdb/device/serial; PATH=${PATH#*:} exec nix-daemon \"$@\"",
            )],
            ..hardware("not the disk that was agreed to", INSTALLER, "nothing was erased")
        },
        // And after the last look, when the job has begun.
        Cause {
            code: 4,
            pretend: &[(
                "setsid",
                "echo S9999 >/sys/block/sdb/device/serial; PATH=${PATH#*:} exec setsid \"$@\"",
            )],
            ..hardware(
                "another disk at the last moment",
                INSTALLER,
                "nothing was erased: the disks have changed",
            )
        },
    ]
}

/// The first part of a ZFS label: an nvlist in XDR, as on a member of a pool (OpenZFS, `nvpair.c`).
fn zfs_label(pool: &str, guids: &[u64]) -> Vec<u8> {
    fn string(text: &str) -> Vec<u8> {
        let mut bytes = u32::try_from(text.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend(text.bytes());
        bytes.resize(bytes.len().next_multiple_of(4), 0);
        bytes
    }
    fn pair(name: &str, kind: u32, count: u32, value: &[u8]) -> Vec<u8> {
        let mut rest = string(name);
        rest.extend(kind.to_be_bytes());
        rest.extend(count.to_be_bytes());
        rest.extend(value);
        let mut bytes = u32::try_from(rest.len() + 8).unwrap().to_be_bytes().to_vec();
        bytes.extend(64_u32.to_be_bytes());
        bytes.extend(rest);
        bytes
    }
    fn list(pairs: &[Vec<u8>]) -> Vec<u8> {
        let mut bytes = [0_u32.to_be_bytes(), 1_u32.to_be_bytes()].concat();
        bytes.extend(pairs.concat());
        bytes.extend([0; 8]);
        bytes
    }
    let number = |name, value: u64| pair(name, 8, 1, &value.to_be_bytes());
    let word = |name, value| pair(name, 9, 1, &string(value));
    let leaf = |guid: &u64| list(&[word("type", "disk"), number("guid", *guid)]);
    let children: Vec<u8> = guids.iter().flat_map(leaf).collect();
    let count = u32::try_from(guids.len()).unwrap();
    let tree =
        list(&[word("type", "raidz"), number("guid", 77), pair("children", 20, count, &children)]);
    let mut label = vec![1, 1, 0, 0];
    label.extend(list(&[
        number("version", 5000),
        word("name", pool),
        number("state", 0),
        number("txg", 4),
        number("pool_guid", 99),
        number("top_guid", 77),
        number("guid", guids[0]),
        number("vdev_children", 1),
        pair("vdev_tree", 19, 1, &tree),
    ]));
    label
}

/// Puts a machine into the state, runs the install, and looks at its disks.
fn try_one(cause: &Cause) -> Result<(), String> {
    let machine = Scratch::with(|dir| {
        fs::write(dir.join("hardware"), cause.hardware).unwrap();
        if cause.hardware.contains("installer > ") {
            fs::write(dir.join("next"), "installer").unwrap();
        }
        fs::create_dir(dir.join("pretend")).unwrap();
        for (program, script) in cause.pretend {
            let path = dir.join("pretend").join(program);
            fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        for (disk, label) in [("sda", cause.label), ("sdb", None)] {
            fill(&dir.join(format!("{disk}.img")), label);
        }
    });
    let before = machine.disk_hashes();
    keygen(&machine.home.path("other"));
    let other = machine.home.path("other.pub").display().to_string();
    let more: Vec<&str> = cause
        .more
        .iter()
        .map(|word| if *word == "@other" { other.as_str() } else { word })
        .collect();
    let Ended { code, stderr, .. } = machine.run("install", cause.host, &more);
    let calls = machine.calls().replace("kexec\n", if cause.code == 8 { "" } else { "kexec\n" });
    if code != Some(cause.code) || !stderr.contains(cause.says) {
        return Err(format!(
            "{}: it ended with {code:?}, not {}:\n{stderr}",
            cause.name, cause.code
        ));
    }
    if machine.disk_hashes() != before {
        return Err(format!("{}: A DISK HAS CHANGED:\n{stderr}", cause.name));
    }
    if !calls.is_empty() {
        return Err(format!("{}: it has run {calls:?}", cause.name));
    }
    Ok(())
}

/// Something to lose: a file system, or what makes a disk a member of a pool.
fn fill(disk: &Path, label: Option<(&str, &[u64])>) {
    if let Some((pool, guids)) = label {
        let file = fs::OpenOptions::new().write(true).open(disk).unwrap();
        file.write_all_at(&zfs_label(pool, guids), 16 << 10).unwrap();
    } else {
        let made =
            Command::new("mkfs.ext4").args(["-q", "-F", "-L", "precious"]).arg(disk).status();
        assert!(made.unwrap().success());
    }
}

#[test]
fn whatever_refuses_leaves_every_disk_as_it_was() {
    let causes = causes();
    assert!(causes.len() >= 40, "{} causes", causes.len());
    let next = AtomicUsize::new(0);
    let failed = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..6 {
            scope.spawn(|| {
                while let Some(cause) = causes.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(why) = try_one(cause) {
                        failed.lock().unwrap().push(why);
                    }
                }
            });
        }
    });
    let failed = failed.into_inner().unwrap();
    assert!(
        failed.is_empty(),
        "{} of {} causes:\n{}",
        failed.len(),
        causes.len(),
        failed.join("\n\n")
    );
}
