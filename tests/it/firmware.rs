//! The boot loader's guard (`firmware.sh`) and what makes the installer's ZFS ready (`zfs.sh`), in dash, bash and busybox; on
//! a real file in place of the card, in a mount namespace whose /run, /sys and /dev are the test's.

use crate::common::as_root;
use crate::common::shells::{SHELLS, System, text};
use std::fs::OpenOptions;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;

/// A scene with the directories that are mounted over the machine's own.
fn scene() -> tempfile::TempDir {
    as_root("/run is mounted over");
    let scene = tempfile::tempdir().unwrap();
    for directory in ["run", "dev", "sys/module/zfs/parameters", "sys/module/spl/parameters"] {
        std::fs::create_dir_all(scene.path().join(directory)).unwrap();
    }
    scene
}

fn write_at(card: &Path, at: u64, byte: u8) {
    let mut file = OpenOptions::new().write(true).open(card).unwrap();
    file.seek(SeekFrom::Start(at)).unwrap();
    file.write_all(&[byte]).unwrap();
}

#[test]
fn a_changed_boot_loader_is_reported_and_a_new_partition_table_is_not() {
    for shell in SHELLS {
        let (system, scene) = (System::of(shell), scene());
        let card = scene.path().join("dev/mmcblk9");
        std::fs::write(&card, vec![1; 20 << 20]).unwrap();
        // What the shell throws away goes into a file.
        std::fs::write(scene.path().join("dev/null"), "").unwrap();
        let prepare = "mount -o bind \"$1/dev\" /dev; mount -o bind \"$1/run\" /run";
        let guard = || {
            let script = "steps/firmware.sh";
            system.script_in(scene.path(), prepare, script, &["mmcblk9", "16"]).output().unwrap()
        };
        for (at, byte) in [(0, 1), (512, 2), (33 * 512, 3), (16 << 20, 4)] {
            write_at(&card, at, byte);
            let output = guard();
            assert!(output.status.success(), "{shell}, at {at}: {output:?}");
        }
        for at in [64 * 512, 16_384 * 512, (16 << 20) - 1] {
            write_at(&card, at, 5);
            let output = guard();
            assert_eq!(output.status.code(), Some(1), "{shell}, at {at}: {output:?}");
            assert!(text(&output.stderr).contains("of mmcblk9 have changed"), "{output:?}");
            write_at(&card, at, 1);
            assert!(guard().status.success(), "{shell}: it is as it was");
        }
    }
}

#[test]
fn a_file_system_where_a_boot_loader_would_be_is_not_compared() {
    for shell in SHELLS {
        let (system, scene) = (System::of(shell), scene());
        let card = scene.path().join("dev/mmcblk9");
        std::fs::write(&card, vec![1; 20 << 20]).unwrap();
        std::fs::write(scene.path().join("dev/null"), "").unwrap();
        let part = scene.path().join("sys/class/block/mmcblk9/mmcblk9p1");
        std::fs::create_dir_all(&part).unwrap();
        system.program("wipefs", "cat /dev/holds");
        let prepare = "mount -o bind \"$1/dev\" /dev; mount -o bind \"$1/run\" /run; \
                       mount -o bind \"$1/sys\" /sys";
        let guard = || {
            let script = "steps/firmware.sh";
            system.script_in(scene.path(), prepare, script, &["mmcblk9", "16"]).output().unwrap()
        };
        // Where it begins, what it holds, and whether a change is then reported.
        for (start, holds, told) in
            [("2048", "ext4\n", false), ("2048", "", true), ("32768", "ext4\n", true)]
        {
            std::fs::write(part.join("start"), start).unwrap();
            std::fs::write(scene.path().join("dev/holds"), holds).unwrap();
            write_at(&card, 1 << 20, 1);
            let first = guard();
            assert!(first.status.success(), "{shell}: {first:?}");
            assert_eq!(text(&first.stdout).contains("is not compared"), !told, "{shell}");
            write_at(&card, 1 << 20, 2);
            assert_eq!(guard().status.success(), !told, "{shell}: {start} {holds}");
            std::fs::remove_dir_all(scene.path().join("run/landfall")).unwrap();
        }
    }
}

#[test]
fn the_host_id_and_a_limit_for_the_cache_are_set() {
    for shell in SHELLS {
        let (system, scene) = (System::of(shell), scene());
        let parameter = |name: &str| scene.path().join("sys/module").join(name);
        let (id, cache) =
            (parameter("spl/parameters/spl_hostid"), parameter("zfs/parameters/zfs_arc_max"));
        let run = |limit: &str, id_given: &str| {
            std::fs::write(&id, "0\n").unwrap();
            std::fs::write(&cache, "0\n").unwrap();
            let arguments = [id_given, limit, "536870912"];
            let prepare = "mount -o bind \"$1/sys\" /sys";
            let mut script = system.script_in(scene.path(), prepare, "steps/zfs.sh", &arguments);
            let output = script.output().unwrap();
            assert!(output.status.success(), "{shell}: {output:?}");
            let read = |path| std::fs::read_to_string(path).unwrap().trim().to_owned();
            (read(&id), read(&cache), text(&output.stdout))
        };
        let (id_now, cache_now, said) = run("999999999999999", "4e110564");
        assert_eq!((id_now.as_str(), cache_now.as_str()), ("0x4e110564", "536870912"), "{shell}");
        assert_eq!(said, "host id 4e110564\nthe cache of ZFS is limited to 512 MiB\n");
        // Enough memory, and no id: nothing to do.
        assert_eq!(run("1", ""), ("0".to_owned(), "0".to_owned(), String::new()), "{shell}");
        std::fs::remove_dir_all(parameter("zfs")).unwrap();
        std::fs::create_dir(parameter("other")).unwrap();
        let arguments = ["4e110564", "1", "1"];
        system.program("modprobe", "exit 1");
        let prepare = "mount -o bind \"$1/sys\" /sys";
        let output =
            system.script_in(scene.path(), prepare, "steps/zfs.sh", &arguments).output().unwrap();
        assert!(output.status.success() && output.stdout.is_empty(), "{shell}: {output:?}");
    }
}
