//! Disks that are wiped and laid out, around a kept pool or all of them (`lay-out.sh`): first what can fail without a write, then the wipe of what was agreed to;
//! nothing in the pool is destroyed. Each case runs in dash, bash and busybox. ZFS is a small model of it here, with a file of
//! pools and a file of datasets: with real ZFS it is the virtual machine's scenario.

use crate::common::shells::{SHELLS, System, text};
use std::path::Path;
use std::process::Output;

const GUID: &str = "3817793585060740247";

/// A model of `zpool`: `pools` has what can be imported (name, GUID, health), `imported` what is.
const ZPOOL: &str = r#"
touch imported members features
case $* in
    import*)
        echo "zpool $*" >>log
        for guid; do :; done
        if ! grep " $guid " pools >>imported; then
            echo "cannot import '$guid': no such pool available" >&2
            exit 1
        fi
        ;;
    'list -H -o guid') awk '{ print $2 }' imported ;;
    'list -H -o guid '*) awk -v name="$5" '$1 == name { print $2; found = 1 } END { exit !found }' imported ;;
    'list -H -o health '*) awk -v name="$5" '$1 == name { print $3 }' imported ;;
    'list -v -H -P') cat members ;;
    'get -H -o value feature@'*) if grep -qxF "${5#feature@}" features; then echo active; else echo disabled; fi ;;
    labelclear*) exit 1 ;;
    *)
        echo "zpool $* was not expected" >&2
        exit 9
        ;;
esac"#;

/// A model of `zfs`: `sets` has a name a line.
const ZFS: &str = r#"
for last; do :; done
case $* in
    'list -H -o name '*) grep -xF "$last" sets || exit 1 ;;
    'list -H -r -t filesystem -o name '*) awk -v top="$last" '$0 == top || index($0, top "/") == 1' sets ;;
    'create -u '*)
        echo "zfs $*" >>log
        echo "$last" >>sets
        ;;
    'rename -u '*)
        echo "zfs $*" >>log
        ! grep -qxF "$4" sets || { echo "$4 exists" >&2; exit 1; }
        awk -v from="$3" -v to="$4" '$0 == from || index($0, from "/") == 1 { $0 = to substr($0, length(from) + 1) }
            { print }' sets >sets.new
        mv sets.new sets
        ;;
    set*) echo "zfs $*" >>log ;;
    'get -H -o value keystatus '*) case $last in tank/data) cat key ;; tank/nix) echo - ;; *) exit 1 ;; esac ;;
    'load-key -L file:///tmp/right.key '*)
        echo "zfs $*" >>log
        echo available >key
        ;;
    'load-key '*)
        echo "Key load error: Incorrect key provided" >&2
        exit 255
        ;;
    *)
        echo "zfs $* was not expected" >&2
        exit 9
        ;;
esac"#;

/// What the pool has: system, data, and what lies below each.
const SETS: &str =
    "tank\ntank/root\ntank/root/tmp\ntank/nix\ntank/data\ntank/data/media\ntank/rooted\n";

/// A machine with a pool, and a disk `emmc` that is to be wiped.
struct Machine {
    pools: String,
    members: String,
    features: &'static str,
}

impl Default for Machine {
    fn default() -> Self {
        Self { pools: format!("tank {GUID} ONLINE\n"), members: String::new(), features: "" }
    }
}

struct Ran {
    output: Output,
    log: String,
    sets: String,
    disk: Vec<u8>,
}

impl Machine {
    /// In every shell the same happens.
    #[track_caller]
    fn run(&self, words: &[&str]) -> Ran {
        let [dash, bash, busybox] = SHELLS.map(|shell| self.run_in(shell, words));
        for other in [&bash, &busybox] {
            assert_eq!((&dash.log, &dash.sets), (&other.log, &other.sets), "{:?}", other.output);
            assert_eq!(text(&dash.output.stderr), text(&other.output.stderr));
            assert_eq!(dash.output.status.code(), other.output.status.code());
        }
        dash
    }

    fn run_in(&self, shell: &'static str, words: &[&str]) -> Ran {
        let system = System::of(shell);
        let scene = tempfile::tempdir().unwrap();
        let at = |name: &str| scene.path().join(name);
        let write = |name: &str, text: &str| std::fs::write(at(name), text).unwrap();
        write("pools", &self.pools);
        write("sets", SETS);
        write("members", &self.members);
        write("features", self.features);
        write("key", "unavailable\n");
        std::fs::write(at("emmc"), [7; 4096]).unwrap();
        system.program("zpool", ZPOOL);
        system.program("zfs", ZFS);
        std::fs::create_dir_all(at("sys/class/block/emmc/emmc1")).unwrap();
        write("sys/class/block/emmc/emmc1/partition", "1\n");
        std::fs::create_dir_all(at("sys/module/zfs")).unwrap();
        let wipefs = "case $* in --noheadings*) ;; *) echo \"wipefs $*\" >>log ;; esac";
        system.program("wipefs", wipefs);
        system.program("udevadm", ":");
        for script in ["format", "mount"] {
            system.program(script, &format!("echo {script} >>log"));
        }
        crate::common::as_root("/sys is mounted over");
        let prepare = "/bin/mount -o bind \"$1/sys\" /sys";
        let mut command = system.script_in(scene.path(), prepare, "steps/lay-out.sh", words);
        let output = command.current_dir(scene.path()).output().unwrap();
        let read = |path: &Path| std::fs::read_to_string(path).unwrap_or_default();
        let (log, sets) = (read(&at("log")), read(&at("sets")));
        // Which links the machine of the test has is of no account.
        let log = log.replace(" -d /dev/disk/by-id", "").replace(" -d /dev/disk/by-path", "");
        Ran { output, log, sets, disk: std::fs::read(at("emmc")).unwrap() }
    }
}

/// All that a reinstall does.
const ALL: &str = "import tank GUID gently without tank raidz_expansion spare emmc wipe emmc archive tank/nix T1 \
                   archive tank/root T1 still tank GUID run format run mount";

fn all() -> Vec<&'static str> {
    ALL.split(' ').map(|word| if word == "GUID" { GUID } else { word }).collect()
}

impl Ran {
    /// It stopped for this reason, and neither a disk nor the pool was changed.
    #[track_caller]
    fn stopped(&self, why: &str) {
        let stderr = text(&self.output.stderr);
        assert_eq!(self.output.status.code(), Some(64), "{:?}", self.output);
        assert!(stderr.contains("nothing was erased") && stderr.contains(why), "{stderr}");
        assert_eq!((self.sets.as_str(), &self.disk), (SETS, &vec![7; 4096]));
        assert!(self.log.lines().all(|line| line.starts_with("zpool import")), "{}", self.log);
    }
}

#[test]
fn the_pool_is_imported_first_and_the_system_archived() {
    let ran = Machine::default().run(&all());
    assert!(ran.output.status.success(), "{:?}", ran.output);
    let expected = format!(
        "zpool import -N -R /mnt {GUID}\n\
         wipefs --quiet --all --force /dev/emmc1\n\
         wipefs --quiet --all --force /dev/emmc\n\
         zfs create -u -o canmount=off -o mountpoint=none tank/landfall-archived\n\
         zfs rename -u tank/nix tank/landfall-archived/nix-T1\n\
         zfs set canmount=noauto tank/landfall-archived/nix-T1\n\
         zfs rename -u tank/root tank/landfall-archived/root-T1\n\
         zfs set canmount=noauto tank/landfall-archived/root-T1\n\
         zfs set canmount=noauto tank/landfall-archived/root-T1/tmp\n\
         format\nmount\n"
    );
    assert_eq!(ran.log, expected);
    let mut sets: Vec<&str> = ran.sets.lines().collect();
    sets.sort_unstable();
    assert_eq!(
        sets,
        [
            "tank",
            "tank/data",
            "tank/data/media",
            "tank/landfall-archived",
            "tank/landfall-archived/nix-T1",
            "tank/landfall-archived/root-T1",
            "tank/landfall-archived/root-T1/tmp",
            "tank/rooted",
        ]
    );
    assert_eq!(ran.disk, [vec![0; 440], vec![7; 4096 - 440]].concat(), "no boot loader is hit");
}

#[test]
fn what_is_not_there_is_not_missed_and_another_try_has_another_name() {
    let words = ["archive", "tank/var", "T1", "archive", "tank/root", "T1"];
    let ran = Machine::default().run(&words);
    assert!(text(&ran.output.stdout).contains("tank/var is not there"), "{:?}", ran.output);
    assert!(ran.sets.contains("tank/landfall-archived/root-T1/tmp"), "{}", ran.sets);
    // The second one's is that which the first try has made.
    let again =
        ["archive", "tank/root", "T1", "archive", "tank/nix", "T1", "archive", "tank/rooted", "T2"];
    let ran = Machine::default().run(&again);
    assert_eq!(ran.log.matches("zfs create").count(), 1, "{}", ran.log);
    assert!(ran.sets.contains("tank/landfall-archived/rooted-T2"), "{}", ran.sets);
}

#[test]
fn a_pool_that_is_not_the_one_stops_it_before_a_write() {
    let gone = Machine { pools: String::new(), ..Machine::default() };
    gone.run(&all()).stopped("cannot be imported");
    let renamed = Machine { pools: format!("other {GUID} ONLINE\n"), ..Machine::default() };
    renamed.run(&all()).stopped("is not called tank");
    let broken = Machine { pools: format!("tank {GUID} FAULTED\n"), ..Machine::default() };
    broken.run(&all()).stopped("FAULTED");
    let degraded = Machine { pools: format!("tank {GUID} DEGRADED\n"), ..Machine::default() };
    assert!(degraded.run(&all()).output.status.success());
}

#[test]
fn what_the_system_could_not_use_or_would_lose_stops_it_before_a_write() {
    let newer = Machine { features: "raidz_expansion\n", ..Machine::default() };
    newer.run(&all()).stopped("tank uses raidz_expansion");
    let member = Machine { members: "tank\t1T\n\t/dev/null\t1T\n".into(), ..Machine::default() };
    assert!(member.run(&all()).output.status.success(), "it is none of the disk's");
}

#[test]
fn a_disk_of_an_imported_pool_is_not_wiped() {
    // Its partition is where the pool's member leads to.
    let members = "tank\t1T\n\t/dev/emmc1\t1T\n".into();
    Machine { members, ..Machine::default() }
        .run(&["spare", "emmc", "wipe", "emmc"])
        .stopped("emmc1, on emmc, is a member of an imported pool");
}

/// disko clears the label of a pool by the pool's name, which may lead to another disk: it must not find one.
#[test]
fn disks_are_wiped_before_the_script_that_lays_out_all_of_them() {
    let ran = Machine::default().run(&["spare", "emmc", "wipe", "emmc", "end", "format", "a b"]);
    assert!(ran.output.status.success(), "{:?}", ran.output);
    let wiped = "wipefs --quiet --all --force /dev/emmc1\nwipefs --quiet --all --force /dev/emmc\n";
    assert_eq!(ran.log, format!("{wiped}format\n"));
    assert_eq!(ran.disk[..440], [0; 440]);
}

#[test]
fn another_machines_pool_is_forced_only_when_accepted() {
    let import = |how| Machine::default().run(&["import", "tank", GUID, how]).log;
    assert_eq!(import("force"), format!("zpool import -N -R /mnt -f {GUID}\n"));
    assert_eq!(import("gently"), format!("zpool import -N -R /mnt {GUID}\n"));
    let twice = ["import", "tank", GUID, "gently", "import", "tank", GUID, "gently"];
    assert_eq!(Machine::default().run(&twice).log.lines().count(), 1);
}

#[test]
fn a_key_is_loaded_before_anything_is_wiped() {
    let unlock = |set, key| {
        let words = ["unlock", set, key, "unlock", set, key, "wipe", "emmc"];
        Machine::default().run(&words)
    };
    let ran = unlock("tank/data", "file:///tmp/right.key");
    assert!(ran.log.starts_with("zfs load-key -L file:///tmp/right.key tank/data\nwipefs"));
    unlock("tank/data", "file:///tmp/wrong.key").stopped("the key of tank/data does not fit");
    for other in ["tank/nix", "tank/new"] {
        assert!(unlock(other, "file:///tmp/right.key").log.starts_with("wipefs"));
    }
}

#[test]
fn disko_must_not_find_another_pool_by_the_name() {
    let ran = Machine::default().run(&["import", "tank", GUID, "gently", "still", "tank", "12"]);
    assert_eq!(ran.output.status.code(), Some(1));
    assert!(text(&ran.output.stderr).contains("tank is another pool"), "{:?}", ran.output);
    let ran = Machine::default().run(&["still", "tank", GUID, "run", "format"]);
    assert!(text(&ran.output.stderr).contains("not imported any more") && ran.log.is_empty());
}

/// A model of `zpool` that can make one pool, which uses `vdev_zaps_v2`.
const TRIAL: &str = r#"
echo "zpool $*" >>log
for last; do :; done
case $* in
    'list -H -o name landfall-trial') test -e made ;;
    create*bad=*) echo "property 'bad' is not a valid pool or vdev property" >&2; exit 1 ;;
    create*)
        test -e "$last"
        touch made
        ;;
    'get -H -o value feature@vdev_zaps_v2 landfall-trial') echo active ;;
    'get -H -o value feature@raidz_expansion landfall-trial') echo enabled ;;
    'get -H -o value feature@later landfall-trial') exit 1 ;;
    'destroy -f landfall-trial') rm made ;;
    *) exit 9 ;;
esac"#;

#[test]
fn a_pools_options_are_tried_in_a_file_first() {
    crate::common::as_root("/run is mounted over");
    for shell in SHELLS {
        let system = System::of(shell);
        let scene = tempfile::tempdir().unwrap();
        system.program("zpool", TRIAL);
        let trial = |features, option| {
            let words = ["tank", features, "-o", option];
            // Not in the /run of the machine that the test runs on.
            let prepare = "mount -o bind \"$1\" /run";
            let mut script = system.script_in(scene.path(), prepare, "steps/trial.sh", &words);
            let output = script.current_dir(scene.path()).output().unwrap();
            assert!(!scene.path().join("made").exists(), "{shell}: it stays: {output:?}");
            (output.status.code(), text(&output.stderr))
        };
        // As after a lost connection.
        std::fs::write(scene.path().join("made"), "").unwrap();
        assert_eq!(trial("raidz_expansion later", "ashift=12"), (Some(0), String::new()));
        let log = std::fs::read_to_string(scene.path().join("log")).unwrap();
        let create = "zpool create -f -m none -o cachefile=none -o ashift=12 landfall-trial";
        assert!(log.contains(create), "{shell}: {log}");
        let (code, why) = trial("raidz_expansion vdev_zaps_v2", "ashift=12");
        assert_eq!(code, Some(1), "{shell}: {why}");
        assert!(why.contains("nothing was erased") && why.contains("uses vdev_zaps_v2"), "{why}");
        let (code, why) = trial("", "bad=1");
        assert_eq!(code, Some(1), "{shell}: {why}");
        assert!(why.contains("not a valid pool") && why.contains("nothing was erased"), "{why}");
    }
}
