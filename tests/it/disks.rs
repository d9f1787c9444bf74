//! disks.sh on made-up disks: plain files in place of block devices, in a mount namespace of their own, in
//! every shell that targets have.

use crate::common::as_root;
use landfall::facts::{TargetFacts, pools};
use std::fs::{create_dir_all, read, write};
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

const LABEL: &str = include_str!("../data/zfs-label-raidz.hex");
const MIB: u64 = 1 << 20;

/// A machine with three disks: sda with a GPT, a member of a pool and one of md0 that looks like an ext2; sdb without partitions, with
/// a label at its end only; sdc blank and read-only.
struct Machine {
    dir: tempfile::TempDir,
}

impl Machine {
    fn new() -> Self {
        as_root("it mounts made-up disks in a namespace of its own");
        let machine = Self { dir: tempfile::tempdir().unwrap() };
        machine.volume("sda", "sda", "8:0", 0, 64 * MIB);
        machine.volume("sda/sda1", "sda1", "8:1", MIB, 32 * MIB);
        machine.volume("sda/sda2", "sda2", "8:2", 40 * MIB, 8 * MIB);
        machine.volume("sdb", "sdb", "8:16", 0, 64 * MIB + 4096);
        machine.volume("sdc", "sdc", "8:32", 0, 64 * MIB);
        machine.volume("md0", "md0", "9:0", 0, 8 * MIB);
        machine.put("block/sdc/ro", "1\n");
        machine.put("block/sda/queue/logical_block_size", "512\n");
        machine.put("block/sda/device/model", "ST4000VN006   \n");
        machine.put("block/sda/device/serial", "ZW60A1B2\n");
        machine.put("block/sda/sda1/uevent", "MAJOR=8\nDEVTYPE=partition\nPARTNAME=the pool\n");
        create_dir_all(machine.path("block/sda/sda2/holders/md0")).unwrap();

        machine.poke("dev/sda", 512, b"EFI PART");
        machine.poke("dev/sda1", 16 << 10, &label());
        // The last of four, in the last whole 256 KiB.
        machine.poke("dev/sdb", 64 * MIB - (256 << 10) + (16 << 10), &label());
        let mut format = Command::new("busybox");
        let format = format.args(["mke2fs", "-F", "-L", "my data"]).arg(machine.path("dev/sda2"));
        assert!(format.output().unwrap().status.success());
        machine
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        create_dir_all(self.path(path).parent().unwrap()).unwrap();
        write(self.path(path), text).unwrap();
    }

    fn volume(&self, place: &str, name: &str, number: &str, start: u64, size: u64) {
        self.put(&format!("block/{place}/dev"), number);
        self.put(&format!("block/{place}/size"), &format!("{}\n", size / 512));
        if place != name {
            self.put(&format!("block/{place}/partition"), "1\n");
            self.put(&format!("block/{place}/start"), &format!("{}\n", start / 512));
        }
        create_dir_all(self.path("dev")).unwrap();
        let file = std::fs::File::create(self.path("dev").join(name)).unwrap();
        file.set_len(size).unwrap();
    }

    fn poke(&self, path: &str, at: u64, bytes: &[u8]) {
        let mut file = std::fs::File::options().write(true).open(self.path(path)).unwrap();
        file.seek(SeekFrom::Start(at)).unwrap();
        file.write_all(bytes).unwrap();
    }

    /// What disks.sh says there in this shell, and that it has no complaints.
    fn disks(&self, shell: &[&str]) -> String {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/facts/disks.sh");
        let text = std::fs::read_to_string(script).unwrap();
        // Nothing can be made in sysfs, nor a /dev/sda be put where there is none: both are created again.
        let enter = r#"
            mount -t tmpfs none /run
            [ ! -d "$1/udev" ] || { mkdir -p /run/udev; cp -r "$1/udev" /run/udev/data; }
            mount -t tmpfs none /sys
            mkdir /sys/block
            mount --bind "$1/block" /sys/block
            mount -t tmpfs none /mnt
            for device in /dev/null "$1"/dev/*; do
                : >"/mnt/${device##*/}"
                mount --bind "$device" "/mnt/${device##*/}"
            done
            mount --rbind /mnt /dev
            text=$2
            shift 2
            exec "$@" -euc "$text" sh"#;
        let mut command = Command::new("unshare");
        command.args(["-m", "--propagation", "private", "sh", "-euc", enter, "sh"]);
        command.arg(self.dir.path()).arg(&text).args(shell);
        let output = command.output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{shell:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn label() -> Vec<u8> {
    let digits = LABEL.trim().as_bytes();
    let byte = |pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

#[test]
fn disks_are_read_alike_in_every_shell_and_left_as_they_are() {
    let machine = Machine::new();
    let volumes = ["sda", "sda1", "sda2", "sdb", "sdc"];
    let before = volumes.map(|name| read(machine.path("dev").join(name)).unwrap());
    let said = machine.disks(&["dash"]);
    assert_eq!(machine.disks(&["dash"]), said, "the same again");
    assert_eq!(machine.disks(&["bash"]), said);
    let busybox = tempfile::tempdir().unwrap();
    let install = ["--install", "-s", busybox.path().to_str().unwrap()];
    assert!(Command::new("busybox").args(install).status().unwrap().success());
    let path = format!("PATH={}", busybox.path().display());
    let in_busybox = machine.disks(&["env", &path, "sh"]);

    for said in [&said, &in_busybox] {
        let facts = TargetFacts::parse(said);
        assert_eq!(facts.disks.keys().collect::<Vec<_>>(), ["sda", "sdb", "sdc"], "{said}");
        let disk = &facts.disks["sda"];
        let known = (disk.model.as_str(), disk.serial.as_str(), disk.sector, disk.read_only);
        assert_eq!(known, ("ST4000VN006", "ZW60A1B2", 512, false));
        assert_eq!(disk.volumes.len(), 3);
        assert_eq!(disk.volumes[0].format, "gpt");
        let member = &disk.volumes[1];
        assert_eq!((member.start, member.size), (MIB, 32 * MIB));
        assert_eq!(member.part_label, "the pool");
        assert_eq!(member.zfs.as_ref().unwrap().pool, "tank");
        assert!(!member.zfs_is_stale);
        let data = &disk.volumes[2];
        assert_eq!((data.format.as_str(), data.label.as_str()), ("ext2", "my data"), "{said}");
        assert_eq!(data.uuid.len(), 36);
        assert_eq!(data.holders, ["md0"]);
        assert!(facts.stacked.contains_key("md0"));

        let left_over = &facts.disks["sdb"].volumes[0];
        assert!(left_over.zfs_is_stale, "{left_over:?}");
        assert!(facts.disks["sdc"].read_only);
        assert_eq!(facts.disks["sdc"].contents(), "nothing recognised");
        assert_eq!(pools(&facts)[0].in_words(&["sda"].into()), SEEN);
    }
    let after = volumes.map(|name| read(machine.path("dev").join(name)).unwrap());
    assert!(before == after, "a disk was written to");
}

const SEEN: &str = "1 of 5 members of pool tank, last imported by helios64";

#[test]
fn any_change_of_a_disk_is_reported() {
    let machine = Machine::new();
    let before = machine.disks(&["dash"]);
    machine.poke("dev/sdc", 16 << 10, &label());
    let after = machine.disks(&["dash"]);
    assert_ne!(before, after);
    assert_eq!(TargetFacts::parse(&after).disks["sdc"].volumes[0].zfs.as_ref().unwrap().vdevs, 1);
    machine.put("block/sda/device/serial", "another\n");
    assert_ne!(machine.disks(&["dash"]), after);
    assert!(!TargetFacts::parse(&after).disks["sdb"].unreadable);
    std::fs::File::options().write(true).open(machine.path("dev/sdb")).unwrap().set_len(0).unwrap();
    assert!(TargetFacts::parse(&machine.disks(&["dash"])).disks["sdb"].unreadable, "it is dead");
}

/// Native multipath of NVMe: each path has an entry of its own, without a device, which the kernel marks as hidden.
#[test]
fn a_hidden_path_is_not_listed_as_a_disk() {
    let machine = Machine::new();
    machine.volume("nvme0n1", "nvme0n1", "259:1", 0, 64 * MIB);
    machine.put("block/nvme0n1/hidden", "0\n");
    machine.put("block/nvme0c0n1/hidden", "1\n");
    machine.put("block/nvme0c0n1/size", "131072\n");
    let facts = TargetFacts::parse(&machine.disks(&["dash"]));
    assert_eq!(facts.disks.keys().collect::<Vec<_>>(), ["nvme0n1", "sda", "sdb", "sdc"]);
}

/// udev's short serial number of a SCSI disk is its WWN; what stands on the disk's label is another property. And what
/// device-mapper has made says by whom.
#[test]
fn a_scsi_serial_number_and_the_maker_of_a_map_are_reported() {
    let machine = Machine::new();
    machine.put("udev/b8:0", "E:ID_SERIAL_SHORT=35000c500a1b2c3d4\nE:ID_SCSI_SERIAL=ZW60A1B2\nE:ID_WWN=0x5000c500a1b2c3d4\n");
    machine.put("block/sda/diskseq", "7\n");
    machine.volume("dm-0", "dm-0", "253:0", 0, 8 * MIB);
    machine.put("block/dm-0/dm/uuid", "mpath-3600508b4\n");
    machine.put("block/dm-0/dm/name", "mpatha\n");
    let facts = TargetFacts::parse(&machine.disks(&["dash"]));
    let disk = &facts.disks["sda"];
    assert_eq!((disk.serial.as_str(), disk.wwn.as_str()), ("ZW60A1B2", "0x5000c500a1b2c3d4"));
    assert_eq!(disk.sequence, 7);
    assert_eq!(facts.mapped["dm-0"], "mpath-3600508b4");
}
