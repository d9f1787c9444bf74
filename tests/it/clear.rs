//! What lies on the disks is taken apart before they are laid out (`clear.sh`): all of what a broken try has left on the
//! layout's disks, in the right order, and nothing else; where no try has, only what the system has put together by itself. Each case runs in dash, bash and busybox, in a mount
//! namespace of its own, whose /sys, /proc/swaps and mount table are the test's.

use crate::common::as_root;
use crate::common::shells::{SHELLS, System, text};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Output;
use tempfile::TempDir;

/// A machine, as its kernel shows it: it is written again for each shell.
#[derive(Default)]
struct Machine {
    /// Block devices: `sda`, a partition as `sda/sda1`.
    blocks: Vec<&'static str>,
    /// What is built on what: the upper one, then those below.
    built: Vec<(&'static str, &'static [&'static str])>,
    /// Device mapper's names and UUIDs.
    mapped: Vec<(&'static str, &'static str, &'static str)>,
    /// Mounts: where, type, source; as they were made.
    mounts: Vec<(&'static str, &'static str, &'static str)>,
    /// `/proc/swaps`: name and type.
    swaps: Vec<(&'static str, &'static str)>,
    /// Pools and the kernel names of their members.
    pools: Vec<(&'static str, &'static [&'static str])>,
    /// Volume groups and the kernel names of their members.
    groups: Vec<(&'static str, &'static [&'static str])>,
    /// A program that fails.
    fails: &'static str,
}

/// It has been asked to clear some disks.
struct Cleared {
    output: Output,
    /// What was run, a line each.
    log: Vec<String>,
}

impl Machine {
    /// What an earlier try has left there.
    #[track_caller]
    fn clear(&self, disks: &[&str]) -> Cleared {
        self.take_apart("left", disks)
    }

    /// What no run has left there.
    #[track_caller]
    fn clear_idle(&self, disks: &[&str]) -> Cleared {
        self.take_apart("idle", disks)
    }

    /// In every shell the same happens.
    #[track_caller]
    fn take_apart(&self, what: &str, disks: &[&str]) -> Cleared {
        let disks = &[&[what], disks].concat();
        let [dash, bash, busybox] = SHELLS.map(|shell| self.clear_in(shell, disks));
        for (other, shell) in [(&bash, "bash"), (&busybox, "busybox")] {
            assert_eq!(dash.log, other.log, "dash and {shell}: {:?}", other.output);
            assert_eq!(text(&dash.output.stderr), text(&other.output.stderr), "dash and {shell}");
            assert_eq!(dash.output.status.code(), other.output.status.code(), "dash and {shell}");
        }
        dash
    }

    fn clear_in(&self, shell: &'static str, disks: &[&str]) -> Cleared {
        as_root("/sys is mounted over");
        let system = System::of(shell);
        // Its path is in messages, so it must be the same for each shell.
        let scene = self.write();
        self.install(&system, scene.path());
        let prepare = "mount -o bind \"$1/sys\" /sys\n\
                       mount -o bind \"$1/swaps\" /proc/swaps\n\
                       mount -o bind \"$1/mountinfo\" \"/proc/$$/mountinfo\"";
        let output =
            system.script_in(scene.path(), prepare, "steps/clear.sh", disks).output().unwrap();
        let log = std::fs::read_to_string(scene.path().join("log")).unwrap_or_default();
        Cleared { output, log: log.lines().map(str::to_owned).collect() }
    }

    /// Writes what the kernel shows.
    fn write(&self) -> TempDir {
        let scene = tempfile::tempdir().unwrap();
        let at = |path: &str| scene.path().join(path);
        let block = |name: &str| at("sys/class/block").join(name);
        for name in &self.blocks {
            std::fs::create_dir_all(block(name).join("holders")).unwrap();
            if let Some((disk, part)) = name.split_once('/') {
                std::fs::write(block(name).join("partition"), "1\n").unwrap();
                symlink(format!("{disk}/{part}"), block(part)).unwrap();
            }
        }
        for (upper, below) in &self.built {
            std::fs::create_dir_all(block(upper).join("slaves")).unwrap();
            for lower in *below {
                symlink("/nowhere", block(lower).join("holders").join(upper)).unwrap();
                symlink("/nowhere", block(upper).join("slaves").join(lower)).unwrap();
            }
            if upper.starts_with("md") {
                std::fs::create_dir(block(upper).join("md")).unwrap();
            }
        }
        for (node, name, uuid) in &self.mapped {
            std::fs::create_dir(block(node).join("dm")).unwrap();
            std::fs::write(block(node).join("dm/name"), format!("{name}\n")).unwrap();
            std::fs::write(block(node).join("dm/uuid"), format!("{uuid}\n")).unwrap();
        }
        std::fs::create_dir_all(at("sys/module/zfs")).unwrap();
        let mounts = self.mounts.iter().enumerate().map(|(id, (target, kind, source))| {
            let shared = if id % 2 == 0 { " shared:7" } else { "" };
            format!("{id} 1 0:{id} / {target} rw,relatime{shared} - {kind} {source} rw\n")
        });
        std::fs::write(at("mountinfo"), mounts.collect::<String>()).unwrap();
        let swaps = self.swaps.iter().map(|(name, kind)| format!("{name}\t{kind}\t1024\t0\t-2\n"));
        let table = format!("Filename\tType\tSize\tUsed\tPriority\n{}", swaps.collect::<String>());
        std::fs::write(at("swaps"), table).unwrap();
        scene
    }

    /// Puts the programs in place that take things apart: each writes down how it was called, and does to the
    /// machine what the real one would do.
    fn install(&self, system: &System, scene: &Path) {
        let vanish = "vanish() { rm -rf \"/sys/class/block/$1\" /sys/class/block/*/holders/\"$1\" \
                      /sys/class/block/*/*/holders/\"$1\"; }";
        let write = |name: &str, effect: &str| {
            let fails = if self.fails == name { "echo busy >&2; exit 5" } else { ":" };
            let log = scene.join("log").display().to_string();
            let called = format!("echo \"{name} $*\" >>{log}");
            system.program(name, &format!("{called}\n{fails}\n{vanish}\n{effect}"));
        };
        write("swapoff", "");
        write("umount", "");
        write("mdadm", "vanish \"${2#/dev/}\"");
        let by = |test: &str| {
            format!(
                "for dm in /sys/class/block/dm-*; do if {test}; then vanish \"${{dm##*/}}\"; fi; done"
            )
        };
        write("dmsetup", &by("[ \"$(cat \"$dm/dm/name\")\" = \"$2\" ]"));
        write("cryptsetup", &by("[ \"$(cat \"$dm/dm/name\")\" = \"$2\" ]"));
        write("vgchange", &by("grep -q \"^LVM-$2\" \"$dm/dm/uuid\""));
        // Questions leave no trace.
        let lines = |lines: Vec<String>| format!("cat <<'LINES'\n{}LINES", lines.concat());
        let each = |pool: &(&str, &[&str])| {
            let member = |member: &&str| format!("\t{}\t1.8T\n", path(member));
            let members: Vec<_> = pool.1.iter().map(member).collect();
            let members = members.concat();
            let listed = format!("{}\t10G\t1G\n\tmirror-0\t10G\n{members}logs\t-\n", pool.0);
            format!("'list -v -H -P {}') {} ;;\n", pool.0, lines(vec![listed]) + "\n")
        };
        let names = self.pools.iter().map(|(name, _)| format!("{name}\n")).collect();
        let pools: String = self.pools.iter().map(each).collect();
        let export = format!("echo \"zpool $*\" >>{}", scene.join("log").display());
        system.program(
            "zpool",
            &format!(
                "case $* in\n'list -H -o name') {}\n;;\n{pools}*) {export} ;;\nesac",
                lines(names)
            ),
        );
        let volumes = self.groups.iter().flat_map(|(group, members)| {
            members.iter().map(move |member| format!("  {group} {}\n", path(member)))
        });
        system.program("pvs", &lines(volumes.collect()));
    }
}

/// A member by its path; what is no kernel name (a number, `[unknown]`) stays.
fn path(member: &str) -> String {
    let is_name = member.starts_with(|first: char| first.is_ascii_lowercase());
    if is_name {
        PathBuf::from("/dev").join(member).display().to_string()
    } else {
        member.to_owned()
    }
}

impl Cleared {
    #[track_caller]
    fn did(&self, log: &[&str]) {
        assert!(self.output.status.success(), "{:?}", self.output);
        assert_eq!(self.log, log);
        let told: Vec<_> = text(&self.output.stdout).lines().map(str::to_owned).collect();
        assert_eq!(told, log, "each action is told");
    }

    /// Nothing was done, and this is why.
    #[track_caller]
    fn refused(&self, why: &[&str]) {
        assert_eq!(self.output.status.code(), Some(1), "{:?}", self.output);
        assert_eq!(self.log, [""; 0]);
        let stderr = text(&self.output.stderr);
        let said: Vec<_> = stderr.lines().collect();
        let (last, reasons) = said.split_last().unwrap();
        assert_eq!(reasons, why);
        assert!(last.starts_with("nothing was touched"), "{last}");
    }
}

/// Two disks with a partition each, and one that is not ours.
fn disks() -> Machine {
    Machine {
        blocks: vec!["sda", "sda/sda1", "sda/sda2", "sdb", "sdb/sdb1", "sdz", "sdz/sdz1"],
        ..Machine::default()
    }
}

#[test]
fn clean_disks_need_nothing() {
    let others = Machine {
        mounts: vec![
            ("/", "tmpfs", "rootfs"),
            ("/iso", "ext4", "/dev/sdz1"),
            ("/x", "zfs", "usb/x"),
        ],
        swaps: vec![("/dev/zram0", "partition"), ("/dev/sdz1", "partition"), ("/iso/swap", "file")],
        pools: vec![("usb", &["sdz1"])],
        groups: vec![("other", &["sdz1"])],
        ..disks()
    };
    others.clear(&["sda", "sdb"]).did(&[]);
    disks().clear(&[]).did(&[]);
}

#[test]
fn a_pool_is_exported_after_its_mounts() {
    let machine = Machine {
        mounts: vec![
            ("/", "tmpfs", "rootfs"),
            ("/mnt", "zfs", "tank/root"),
            ("/mnt/boot", "ext4", "/dev/sda1"),
            ("/mnt/tmp", "tmpfs", "tmpfs"),
            // Mounted a second time over all of it.
            ("/mnt", "zfs", "tank/root"),
            ("/mnt/a\\040b", "zfs", "tank"),
            ("/iso", "ext4", "/dev/sdz1"),
        ],
        swaps: vec![("/dev/sda2", "partition"), ("/mnt/swap", "file"), ("/iso/swap", "file")],
        pools: vec![("tank", &["sda2", "sdb1"]), ("usb", &["sdz1"])],
        ..disks()
    };
    machine.clear(&["sda", "sdb"]).did(&[
        "swapoff /dev/sda2",
        "swapoff /mnt/swap",
        "umount /mnt/a b",
        "umount /mnt",
        "umount /mnt/tmp",
        "umount /mnt/boot",
        "umount /mnt",
        "zpool export tank",
    ]);
}

#[test]
fn a_kept_pool_is_exported_wherever_its_members_are() {
    let machine = Machine {
        mounts: vec![("/", "tmpfs", "rootfs"), ("/mnt", "zfs", "tank/root")],
        pools: vec![("tank", &["sdb1", "11029318474182034"])],
        ..disks()
    };
    machine.clear(&["sda", "sdb", "pool:tank"]).did(&["umount /mnt", "zpool export tank"]);
    // The same one would be somebody else's.
    let other = machine.clear(&["sda", "sdb", "pool:rust"]);
    assert_eq!(other.output.status.code(), Some(1), "{:?}", other.output);
    assert_eq!(other.log, [""; 0]);
}

/// LVM in LUKS on md: from the top to the bottom.
fn stack() -> Machine {
    let mut machine = disks();
    machine.blocks.extend(["md0", "dm-0", "dm-1", "dm-2"]);
    machine.built = vec![
        ("md0", &["sda1", "sdb1"]),
        ("dm-0", &["md0"]),
        ("dm-1", &["dm-0"]),
        ("dm-2", &["dm-0"]),
    ];
    machine.mapped = vec![
        ("dm-0", "crypted", "CRYPT-LUKS2-1234-crypted"),
        ("dm-1", "pool-root", "LVM-poolXYZ"),
        ("dm-2", "pool-swap", "LVM-poolABC"),
    ];
    machine.groups = vec![("pool", &["dm-0"])];
    machine.mounts = vec![("/mnt", "ext4", "/dev/dm-1")];
    machine.swaps = vec![("/dev/dm-2", "partition")];
    machine
}

#[test]
fn what_is_built_on_each_other_goes_from_the_top() {
    stack().clear(&["sda", "sdb"]).did(&[
        "swapoff /dev/dm-2",
        "umount /mnt",
        "vgchange -an pool",
        "cryptsetup close crypted",
        "mdadm --stop /dev/md0",
    ]);
}

#[test]
fn luks_in_lvm_is_closed_before_the_lvm() {
    let mut machine = disks();
    machine.blocks.extend(["dm-0", "dm-1"]);
    machine.built = vec![("dm-0", &["sda1"]), ("dm-1", &["dm-0"])];
    machine.mapped = vec![("dm-0", "vg-root", "LVM-vgXYZ"), ("dm-1", "crypted", "CRYPT-LUKS2-1")];
    machine.groups = vec![("vg", &["sda1"])];
    machine.pools = vec![("tank", &["dm-1"])];
    machine.clear(&["sda"]).did(&[
        "zpool export tank",
        "cryptsetup close crypted",
        "vgchange -an vg",
    ]);
}

#[test]
fn what_also_lies_on_another_disk_is_not_touched() {
    // With one disk less in the layout, every level belongs to somebody else, too.
    stack().clear(&["sda"]).refused(&["md0 also lies on sdb1, which is not a disk of the layout"]);
    let lies = |what: &str, on: &str| {
        format!("the {what} also lies on {on}, which is not a disk of the layout")
    };
    let mut machine = disks();
    // Its own, beside somebody else's: not even that is touched.
    machine.mounts = vec![("/mnt", "ext4", "/dev/sda1")];
    machine.pools = vec![("tank", &["sda2", "sdz1"]), ("torn", &["sdb1", "1234567890123456789"])];
    machine.groups = vec![("data", &["sda1", "[unknown]"])];
    machine.clear(&["sda", "sdb"]).refused(&[
        &lies("pool tank", "/dev/sdz1"),
        &lies("pool torn", "1234567890123456789"),
        &lies("volume group data", "[unknown]"),
    ]);
}

#[test]
fn what_others_have_mounted_stays() {
    let mut machine = disks();
    machine.pools = vec![("usb", &["sdz1"])];
    machine.mounts = vec![
        ("/mnt", "ext4", "/dev/sda1"),
        ("/mnt/usb", "vfat", "/dev/sdz1"),
        ("/mnt/pool", "zfs", "usb/x"),
    ];
    machine.clear(&["sda"]).refused(&[
        "/mnt/usb is mounted from /dev/sdz1, which is not on a disk of the layout",
        "/mnt/pool is mounted from usb/x, which is not on a disk of the layout",
    ]);
    machine.mounts = vec![("/", "ext4", "/dev/sda1")];
    let why = "the installer itself runs from /dev/sda1, on a disk of the layout";
    machine.clear(&["sda"]).refused(&[why]);
    machine.mounts = vec![("/mnt", "ext4", "/dev/sda1"), ("/srv", "ext4", "/dev/sda2")];
    let why = "/srv is mounted from /dev/sda2, on a disk of the layout, and nothing of landfall's";
    machine.clear(&["sda"]).refused(&[why]);
    machine.mounts = vec![("/mnt/a", "ext4", "/dev/sda1")];
    let why =
        "/mnt/a is mounted from /dev/sda1, on a disk of the layout, and nothing of landfall's";
    machine.clear_idle(&["sda"]).refused(&[why]);
    machine.mounts = vec![];
    machine.swaps = vec![("/dev/sda2", "partition")];
    let why = "/dev/sda2, on a disk of the layout, is used as swap";
    machine.clear_idle(&["sda"]).refused(&[why]);
}

#[test]
fn what_the_system_has_put_together_by_itself_goes() {
    let mut machine = disks();
    machine.blocks.extend(["md127", "dm-0", "dm-1"]);
    machine.built = vec![("md127", &["sda1", "sdb1"]), ("dm-0", &["md127"]), ("dm-1", &["sda2"])];
    machine.mapped = vec![("dm-0", "ubuntu-root", "LVM-ubuntu"), ("dm-1", "mpatha", "mpath-36005")];
    machine.groups = vec![("ubuntu", &["md127"])];
    machine.clear_idle(&["sda", "sdb"]).did(&[
        "dmsetup remove mpatha",
        "vgchange -an ubuntu",
        "mdadm --stop /dev/md127",
    ]);
    machine
        .clear_idle(&["sda"])
        .refused(&["md127 also lies on sdb1, which is not a disk of the layout"]);
    // A key was given to open it.
    machine.mapped[1] = ("dm-1", "photos", "CRYPT-LUKS2-1");
    let cleared = machine.clear_idle(&["sda", "sdb"]);
    assert_eq!(cleared.output.status.code(), Some(1), "{:?}", cleared.output);
    assert!(!cleared.log.iter().any(|line| line.starts_with("cryptsetup")), "{:?}", cleared.log);
}

#[test]
fn what_cannot_be_cleared_fails() {
    for (fails, done) in
        [("swapoff", 1), ("umount", 2), ("vgchange", 3), ("cryptsetup", 4), ("mdadm", 5)]
    {
        let cleared = Machine { fails, ..stack() }.clear(&["sda", "sdb"]);
        assert!(!cleared.output.status.success(), "{fails}: {:?}", cleared.output);
        assert_eq!(text(&cleared.output.stderr), "busy\n");
        assert_eq!(cleared.log.len(), done, "nothing is done after it: {:?}", cleared.log);
    }
    let mut unknown = disks();
    unknown.blocks.push("dm-0");
    unknown.built = vec![("dm-0", &["sda1"])];
    unknown.mapped = vec![("dm-0", "disk", "VDO-1234")];
    let cleared = unknown.clear(&["sda"]);
    assert_eq!(cleared.output.status.code(), Some(1));
    let said = text(&cleared.output.stderr);
    assert!(said.contains("dm-0 is still in use, or landfall does not know"), "{said}");
}

/// With the kernel's own mount table and the real `umount`.
#[test]
fn real_mounts_are_unmounted() {
    as_root("/mnt is mounted over");
    for system in SHELLS.map(System::of) {
        let prepare = "awk '$5 ~ \"^/mnt\" { print $5 }' /proc/self/mountinfo | sort -r |
            while read -r there; do umount -l \"$there\"; done
            for at in /mnt '/mnt/a b' /mnt/b /mnt; do
                mkdir -p \"$at\"
                mount -t tmpfs none \"$at\"
            done
            mkdir /mnt/b
            mount -t tmpfs none /mnt/b";
        let script =
            system.script_in(Path::new("/"), prepare, "steps/clear.sh", &["left"]).output();
        let output = script.unwrap();
        assert!(output.status.success(), "{}: {output:?}", system.shell);
        let gone = "umount /mnt/b\numount /mnt\numount /mnt/b\numount /mnt/a b\numount /mnt\n";
        assert_eq!(text(&output.stdout), gone, "{}", system.shell);
    }
}
