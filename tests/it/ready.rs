//! What is asked before the restart (`ready.sh`): an installed tree that would start passes, and each way in
//! which it would not is named. Each case runs in dash, bash and busybox, in a mount namespace of its own.

use crate::common::as_root;
use crate::common::shells::{SHELLS, System, text};
use std::os::unix::fs::symlink;
use std::path::PathBuf;
use tempfile::TempDir;

const TOPLEVEL: &str = "/nix/store/new-nixos-system-nas";
const ZFS_ROOT: [&str; 4] = ["/", "tank/root", "zfs", "layout"];
/// Where a boot loader with its program on an ESP keeps everything, if nothing is said. A directory with a
/// configuration, and the ESP.
const BOOT: [[&str; 2]; 1] = [["/boot", ""]];
const EXTLINUX: &str = "boot/extlinux/extlinux.conf";

/// What a file of the tree is to contain.
type File<'a> = (&'a str, &'a str);

/// An installed system, as it lies under /mnt.
struct Installed {
    dir: TempDir,
    /// Whether /boot is a file system of its own.
    own_boot: bool,
}

impl Installed {
    /// A system whose profile is right, with these files.
    fn with(files: &[File]) -> Self {
        let installed = Self { dir: tempfile::tempdir().unwrap(), own_boot: true };
        for (path, content) in files {
            installed.write(path, content);
        }
        installed.write(&format!("{TOPLEVEL}/init"), "#!");
        installed.write("nix/var/nix/profiles/.keep", "");
        installed.link(TOPLEVEL, "nix/var/nix/profiles/system-1-link");
        installed.link("system-1-link", "nix/var/nix/profiles/system");
        installed
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join("mnt").join(path.trim_start_matches('/'))
    }

    fn write(&self, path: &str, content: &str) {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn link(&self, to: &str, path: &str) {
        let _ = std::fs::remove_file(self.path(path));
        symlink(to, self.path(path)).unwrap();
    }

    /// Asks in every shell: what is said to be wrong. Nothing wrong is exit status 0, and anything else 1.
    #[track_caller]
    fn wrong(&self, loader: &str, file_systems: &[[&str; 4]]) -> Vec<String> {
        self.wrong_at(loader, &BOOT, file_systems)
    }

    #[track_caller]
    fn wrong_at(
        &self,
        loader: &str,
        directories: &[[&str; 2]],
        file_systems: &[[&str; 4]],
    ) -> Vec<String> {
        let answers = SHELLS.map(|shell| self.ask(shell, loader, directories, file_systems));
        assert_eq!(answers[0], answers[1], "dash and bash");
        assert_eq!(answers[0], answers[2], "dash and busybox");
        answers[0].0.clone()
    }

    #[track_caller]
    fn ask(
        &self,
        shell: &'static str,
        loader: &str,
        directories: &[[&str; 2]],
        systems: &[[&str; 4]],
    ) -> (Vec<String>, String) {
        as_root("/mnt is mounted over");
        let system = System::of(shell);
        system.program("zfs", r#"[ "$1 $2 $3 $4" = "list -H -o name" ] && [ "$5" = tank/root ]"#);
        system.program("zpool", r#"[ "$1 $2 $3 $4" = "list -H -o name" ] && [ "$5" = tank ]"#);
        system.program(
            "findfs",
            r#"[ "$1" = UUID=1234-ABCD ] || [ "$1" = "PARTLABEL=disk-emmc-boot" ]"#,
        );
        let mut prepare = r#"mount -o bind "$1/mnt" /mnt"#.to_owned();
        if self.own_boot {
            prepare.push_str("\nmkdir -p /mnt/boot; mount -o bind /mnt/boot /mnt/boot");
        }
        let mut arguments = vec![TOPLEVEL, loader];
        arguments.extend(directories.iter().flatten());
        arguments.push("--");
        arguments.extend(systems.iter().flatten());
        let output = system
            .script_in(self.dir.path(), &prepare, "steps/ready.sh", &arguments)
            .output()
            .unwrap();
        let wrong: Vec<_> = text(&output.stderr).lines().map(str::to_owned).collect();
        let status = Some(i32::from(!wrong.is_empty()));
        assert_eq!(output.status.code(), status, "{shell}: {output:?}");
        (wrong, text(&output.stdout))
    }
}

/// As NixOS' generic-extlinux-compatible writes it.
const EXTLINUX_CONF: &str = "# Generated file, all changes will be lost on nixos-rebuild!\n\
    DEFAULT nixos-default\nMENU TITLE ------\nTIMEOUT 50\n\n\
    LABEL nixos-default\n  MENU LABEL NixOS - Default\n  LINUX ../nixos/k-Image\n  INITRD ../nixos/i-initrd\n  \
    APPEND init=/nix/store/new-nixos-system-nas/init console=ttyS2 loglevel=4\n  FDT ../nixos/d-dtbs/rockchip/board.dtb\n\n\
    LABEL nixos-1-default\n  MENU LABEL NixOS - Configuration 1\n  LINUX ../nixos/k-Image\n  INITRD ../nixos/i-initrd\n  \
    APPEND init=/nix/store/new-nixos-system-nas/init loglevel=4\n  FDTDIR ../nixos/d-dtbs\n";

fn extlinux() -> Installed {
    Installed::with(&[
        (EXTLINUX, EXTLINUX_CONF),
        ("boot/nixos/k-Image", "k"),
        ("boot/nixos/i-initrd", "i"),
        ("boot/nixos/d-dtbs/rockchip/board.dtb", "d"),
    ])
}

#[test]
fn an_extlinux_system_that_would_start() {
    let installed = extlinux();
    for shell in SHELLS {
        let (wrong, said) = installed.ask(shell, "extlinux", &BOOT, &[ZFS_ROOT]);
        assert_eq!(wrong, [""; 0], "{shell}");
        assert_eq!(said, "the boot loader's files are there (extlinux, entries: 2)\n");
    }
}

#[test]
fn everything_that_is_wrong_is_named_at_once() {
    let installed = extlinux();
    std::fs::remove_file(installed.path("boot/nixos/k-Image")).unwrap();
    // As a full file system leaves it.
    installed.write("boot/nixos/i-initrd", "");
    std::fs::remove_dir_all(installed.path("boot/nixos/d-dtbs")).unwrap();
    installed.write(EXTLINUX, &EXTLINUX_CONF.replace(TOPLEVEL, "/nix/store/old-nixos-system-nas"));
    installed.link("/nix/store/old-nixos-system-nas", "nix/var/nix/profiles/system-1-link");
    let wrong = installed.wrong(
        "extlinux",
        &[
            ["/boot", "PARTLABEL=disk-emmc-root", "ext4", "layout"],
            ["/srv", "tank/media", "zfs", "layout"],
        ],
    );
    let (of, tail) = ("ready-files: /boot/extlinux/extlinux.conf: its", "is not there, or empty");
    assert_eq!(
        wrong,
        [
            format!("ready-profile: the system profile names /nix/store/old-nixos-system-nas, not {TOPLEVEL}"),
            format!("{of} kernel /boot/extlinux/../nixos/k-Image {tail}"),
            format!("{of} initrd /boot/extlinux/../nixos/i-initrd {tail}"),
            format!("{of} device tree /boot/extlinux/../nixos/d-dtbs/rockchip/board.dtb {tail}"),
            format!("{of} kernel /boot/extlinux/../nixos/k-Image {tail}"),
            format!("{of} initrd /boot/extlinux/../nixos/i-initrd {tail}"),
            format!("{of} directory of device trees /boot/extlinux/../nixos/d-dtbs is not there"),
            format!("ready-entries: none of the boot loader's 2 entries in /boot starts {TOPLEVEL}"),
            "ready-file-system: the file system for /boot is not there: PARTLABEL=disk-emmc-root (ext4)".to_owned(),
            "ready-file-system: the file system for /srv is not there: tank/media (zfs)".to_owned(),
            "ready-root: the configuration has no file system for /".to_owned(),
        ]
    );
}

#[test]
fn a_system_without_profile_or_entries_would_not_start() {
    let installed = extlinux();
    std::fs::remove_file(installed.path("nix/var/nix/profiles/system")).unwrap();
    std::fs::remove_file(installed.path(EXTLINUX)).unwrap();
    std::fs::remove_dir_all(installed.path(TOPLEVEL)).unwrap();
    assert_eq!(
        installed.wrong("extlinux", &[ZFS_ROOT]),
        [
            format!("ready-profile: the system profile names nothing, not {TOPLEVEL}"),
            format!("ready-profile: {TOPLEVEL}/init is not there"),
            "ready-entries: the boot loader (extlinux) has no entries in /boot".to_owned(),
        ]
    );
}

#[test]
fn a_toplevel_of_a_longer_name_is_another_one() {
    let installed = extlinux();
    installed.write(EXTLINUX, &EXTLINUX_CONF.replace("-nas/init", "-nas-2/init"));
    let wrong = installed.wrong("extlinux", &[ZFS_ROOT]);
    assert_eq!(
        wrong,
        [format!("ready-entries: none of the boot loader's 2 entries in /boot starts {TOPLEVEL}")]
    );
}

#[test]
fn a_path_from_the_root_depends_on_what_boot_is() {
    let conf = |path: &str| {
        format!("label x\n\tkernel {path}/k\n\tinitrd {path}/i\n\tappend init={TOPLEVEL}/init")
    };
    let files = [("boot/nixos/k", "k"), ("boot/nixos/i", "i")];
    let mut installed = Installed::with(&files);
    for (own_boot, path, right) in [
        (true, "/nixos", true),
        (true, "/boot/nixos", false),
        (false, "/boot/nixos", true),
        (false, "/nixos", false),
    ] {
        installed.own_boot = own_boot;
        installed.write(EXTLINUX, &conf(path));
        let wrong = installed.wrong("extlinux", &[ZFS_ROOT]);
        assert_eq!(wrong.is_empty(), right, "own boot {own_boot}, {path}: {wrong:?}");
    }
}

#[test]
fn systemd_boot_has_a_file_for_each_entry() {
    let entry = |kernel: &str, system: &str| {
        format!(
            "title NixOS\r\nversion Generation 1\r\nlinux /EFI/nixos/{kernel}.efi\r\n\
             initrd /EFI/nixos/i.efi\r\noptions init={system}/init quiet\r\n"
        )
    };
    for esp in ["boot", "efi", "boot/efi", "esp"] {
        let file = |name: &str| format!("{esp}/{name}");
        let installed = Installed::with(&[
            (&file("loader/entries/nixos-generation-1.conf"), &entry("old", "/nix/store/old")),
            (&file("loader/entries/nixos-generation-2.conf"), &entry("new", TOPLEVEL)),
            (&file("loader/loader.conf"), "default nixos-generation-2.conf\n"),
            (&file("EFI/nixos/old.efi"), "k"),
            (&file("EFI/nixos/new.efi"), "k"),
            (&file("EFI/nixos/i.efi"), "i"),
        ]);
        let at = format!("/{esp}");
        let wrong = || installed.wrong_at("systemd-boot", &[[&at, ""]], &[ZFS_ROOT]);
        assert_eq!(wrong(), [""; 0], "{esp}");
        std::fs::remove_file(installed.path(&file("EFI/nixos/old.efi"))).unwrap();
        let named = format!("/{esp}/loader/entries/nixos-generation-1.conf");
        assert_eq!(
            wrong(),
            [format!(
                "ready-files: {named}: its kernel /{esp}/EFI/nixos/old.efi is not there, or empty"
            )]
        );
    }
    let empty = Installed::with(&[]);
    let wrong = empty.wrong("systemd-boot", &[ZFS_ROOT]);
    assert_eq!(wrong, ["ready-entries: the boot loader (systemd-boot) has no entries in /boot"]);
}

#[test]
fn grub_names_drives() {
    let menu = |path: &str| {
        format!(
            "search --set=drive1 --fs-uuid 1234\ninsmod gfxterm\nmenuentry \"NixOS - Default\" --class nixos {{\n\
             \x20 linux {path}/k-bzImage init={TOPLEVEL}/init loglevel=4 * \n  initrd {path}/ucode {path}/i-initrd\n}}\n\
             menuentry \"another system\" {{\n  linux (hd1,gpt2)/vmlinuz\n  chainloader (hd0,1)+1\n}}\n"
        )
    };
    let kernels = |at: &str| ["k-bzImage", "ucode", "i-initrd"].map(|name| format!("{at}/{name}"));
    // Where the files are; how a configuration names them.
    for (at, path) in [
        ("boot/kernels", "($drive1)//kernels"),
        ("boot/kernels", "($drive1)/boot/kernels"),
        ("boot/kernels", "($drive1)/root@/boot/kernels"),
        ("boot/kernels", "/kernels"),
        ("nix/store/x-linux", "($drive2)/@/nix/store/x-linux"),
    ] {
        let installed = Installed::with(&[("boot/grub/grub.cfg", &menu(path))]);
        for kernel in kernels(at) {
            installed.write(&kernel, "x");
        }
        assert_eq!(installed.wrong("grub", &[ZFS_ROOT]), [""; 0], "{path}");
        std::fs::remove_file(installed.path(&kernels(at)[2])).unwrap();
        let named = format!("ready-files: /boot/grub/grub.cfg: its initrd {path}/i-initrd");
        let wrong = installed.wrong("grub", &[ZFS_ROOT]);
        assert_eq!(wrong, [format!("{named} is not there, or empty")]);
    }
}

#[test]
fn file_systems_are_found_by_whatever_names_them() {
    let installed = extlinux();
    let found = [
        ZFS_ROOT,
        ["/boot", "PARTLABEL=disk-emmc-boot", "ext4", "layout"],
        ["/efi", "UUID=1234-ABCD", "vfat", "layout"],
        ["/a", "/dev/null", "ext4", "layout"],
        ["/b", "/dev/null:/dev/zero", "bcachefs", "layout"],
        ["/tmp", "tmpfs", "tmpfs", "layout"],
        ["/srv", "nas:/export", "nfs", "layout"],
        ["/home", "/persist/home", "none", "layout"],
        ["/proc", "", "proc", "layout"],
    ];
    assert_eq!(installed.wrong("extlinux", &found), [""; 0]);
    let lost = [
        ["/", "tank/roots", "zfs", "layout"],
        ["/boot", "LABEL=boot", "ext4", "layout"],
        ["/a", "/dev/disk/by-id/ata-gone-part1", "ext4", "layout"],
        ["/b c", "PARTUUID=1234", "ext4", "layout"],
    ];
    let said = [("root", "/ "), ("file-system", "/boot "), ("file-system", "/a ")]
        .into_iter()
        .chain([("file-system", "/b c ")])
        .map(|(code, at)| format!("ready-{code}: the file system for {at}is not there: "));
    let said: Vec<_> = said.collect();
    let wrong = installed.wrong("extlinux", &lost);
    assert_eq!(wrong.len(), said.len(), "{wrong:?}");
    for (wrong, said) in wrong.iter().zip(said) {
        assert!(wrong.starts_with(&said), "{wrong}");
    }
}

#[test]
fn what_is_not_known_is_not_looked_at_and_that_is_said() {
    let installed = Installed::with(&[]);
    for shell in SHELLS {
        let (wrong, said) = installed.ask(shell, "unknown", &[], &[]);
        assert_eq!(wrong, [""; 0]);
        assert!(said.contains("entries were not checked"), "{said}");
        assert!(said.contains("file systems are not known"), "{said}");
    }
}

/// A kernel and an initrd of the toplevel, as systemd-boot's entries have them.
fn entry() -> String {
    format!("title x\nlinux /EFI/k\ninitrd /EFI/i\noptions init={TOPLEVEL}/init loglevel=4\n")
}

/// As NixOS' GRUB has them, below a directory of the drive.
fn menu(path: &str) -> String {
    format!(
        "menuentry x {{\n  linux ($drive1){path}/k init={TOPLEVEL}/init\n  initrd ($drive1){path}/i\n}}\n"
    )
}

/// Four systems that would start, each of which was refused once. What the boot can do without is not in the question at
/// all (`plan::ready`): a file system with `nofail` that is not plugged in.
#[test]
fn sound_systems_are_not_refused() {
    let root = ["/", "/dev/null", "ext4", "layout"];
    let mut installed = Installed::with(&[
        ("esp/loader/entries/a.conf", &entry()),
        ("esp/EFI/k", "k"),
        ("esp/EFI/i", "i"),
        ("boot1/grub/grub.cfg", &menu("")),
        ("boot1/k", "k"),
        ("boot1/i", "i"),
        ("boot/.keep", ""),
    ]);
    for own_boot in [false, true] {
        installed.own_boot = own_boot;
        let wrong = installed.wrong_at("systemd-boot", &[["/esp", ""]], &[root]);
        assert_eq!(wrong, [""; 0], "efiSysMountPoint = /esp");
        let wrong = installed.wrong_at("grub", &[["/boot1", ""]], &[root]);
        assert_eq!(wrong, [""; 0], "mirroredBoots with the path /boot1");
    }
    let data = ["/data", "data/data", "zfs", "elsewhere"];
    for shell in SHELLS {
        let esp = [["/esp", ""]];
        let (wrong, said) = installed.ask(shell, "systemd-boot", &esp, &[root, data]);
        assert_eq!(wrong, [""; 0], "a data pool that is not imported");
        let note = "the pool data is not of the layout, and not imported: the file system for /data was not looked for";
        assert!(said.lines().any(|line| line == note), "{said}");
    }
    // One that is imported can be looked at; one of the layout must be.
    for lost in
        [["/data", "tank/data", "zfs", "elsewhere"], ["/data", "data/data", "zfs", "layout"]]
    {
        let wrong = installed.wrong_at("systemd-boot", &[["/esp", ""]], &[root, lost]);
        let [_, device, ..] = lost;
        let said =
            format!("ready-file-system: the file system for /data is not there: {device} (zfs)");
        assert_eq!(wrong, [said]);
    }
}

#[test]
fn each_mirrored_boot_must_be_whole_and_the_broken_one_is_named() {
    let program = "EFI/NixOS-boot/grubx64.efi";
    let installed = Installed::with(&[
        ("boot1/grub/grub.cfg", &menu("/kernels")),
        ("boot1/kernels/k", "k"),
        ("boot1/kernels/i", "i"),
        ("boot2/grub/grub.cfg", &menu("/kernels")),
        ("boot2/kernels/k", "k"),
        ("boot2/kernels/i", "i"),
        (&format!("efi1/{program}"), "x"),
        (&format!("efi2/{program}"), "x"),
    ]);
    let wrong =
        || installed.wrong_at("grub", &[["/boot1", "/efi1"], ["/boot2", "/efi2"]], &[ZFS_ROOT]);
    assert_eq!(wrong(), [""; 0]);
    installed.write(&format!("efi2/{program}"), "");
    let no_program = "ready-files: the ESP /efi2 has no program that the firmware could start";
    assert_eq!(wrong(), [no_program]);
    std::fs::remove_file(installed.path("boot2/kernels/i")).unwrap();
    let no_initrd =
        "ready-files: /boot2/grub/grub.cfg: its initrd ($drive1)/kernels/i is not there, or empty";
    assert_eq!(wrong(), [no_initrd, no_program]);
    std::fs::remove_dir_all(installed.path("boot2/grub")).unwrap();
    let none = "ready-entries: the boot loader (grub) has no entries in /boot2";
    assert_eq!(wrong(), [none, no_program]);
}

#[test]
fn entries_may_lie_beside_the_esp() {
    let installed = Installed::with(&[
        ("xboot/loader/entries/a.conf", &entry()),
        ("xboot/EFI/k", "k"),
        ("xboot/EFI/i", "i"),
        // What the firmware cannot start is no program for it.
        ("efi/EFI/nixos/kernel.efi", "k"),
    ]);
    let wrong = || installed.wrong_at("systemd-boot", &[["/xboot", "/efi"]], &[ZFS_ROOT]);
    assert_eq!(wrong(), ["ready-files: the ESP /efi has no program that the firmware could start"]);
    installed.write("efi/EFI/BOOT/BOOTX64.EFI", "x");
    assert_eq!(wrong(), [""; 0]);
}

#[test]
fn unified_kernel_images_name_their_system_and_files() {
    let image = |system: &str| {
        format!(
            "MZ\0\x01 a stub\0init={system}/init quiet\0\0\\EFI\\nixos\\kernel-6.12-x.efi\0\u{1}\\EFI\\nixos\\initrd-x.efi\0"
        )
    };
    let installed = Installed::with(&[
        ("boot/EFI/Linux/nixos-generation-1.efi", &image("/nix/store/old")),
        ("boot/EFI/Linux/nixos-generation-2.efi", &image(TOPLEVEL)),
        ("boot/EFI/nixos/kernel-6.12-x.efi", "k"),
        ("boot/EFI/nixos/initrd-x.efi", "i"),
        ("boot/EFI/systemd/systemd-bootx64.efi", "x"),
    ]);
    let wrong = || installed.wrong_at("lanzaboote", &[["/boot", "/boot"]], &[ZFS_ROOT]);
    assert_eq!(wrong(), [""; 0]);
    std::fs::remove_file(installed.path("boot/EFI/nixos/initrd-x.efi")).unwrap();
    let lost = |generation: u32| {
        format!(
            "ready-files: /boot/EFI/Linux/nixos-generation-{generation}.efi: its kernel or initrd \
             /boot/EFI/nixos/initrd-x.efi is not there, or empty"
        )
    };
    assert_eq!(wrong(), [lost(1), lost(2)]);
    installed.write("boot/EFI/nixos/initrd-x.efi", "i");
    installed.write("boot/EFI/Linux/nixos-generation-2.efi", &image("/nix/store/old"));
    assert_eq!(
        wrong(),
        [format!("ready-entries: none of the boot loader's 2 entries in /boot starts {TOPLEVEL}")]
    );
}

#[test]
fn limine_and_refind_name_kernels_on_the_esp() {
    let limine = format!(
        "timeout: 5\nwallpaper: boot():/limine/wallpapers/none.png\n/+NixOS default profile\n//Generation 1\nprotocol: linux\n\
         comment: x\nkernel_path: boot():/limine/kernels/k#abc\ncmdline: init={TOPLEVEL}/init quiet\n\
         module_path: boot():/limine/kernels/i#def\n/memtest\nprotocol: chainload\npath: boot():///efi/memtest.efi\n"
    );
    let refind = format!(
        "timeout 5\nmenuentry \"Windows\" {{\n  loader /EFI/Microsoft/Boot/bootmgfw.efi\n}}\n\
         menuentry \"NixOS\" {{\n  loader /efi/refind/kernels/k\n  initrd /efi/refind/kernels/i\n  \
         options \"init={TOPLEVEL}/init\"\n}}\n"
    );
    for (loader, conf, kernels, text) in [
        ("limine", "esp/limine/limine.conf", "esp/limine/kernels", &limine),
        ("refind", "esp/efi/refind/refind.conf", "esp/efi/refind/kernels", &refind),
    ] {
        let initrd = format!("{kernels}/i");
        let installed = Installed::with(&[
            (conf, text),
            (&format!("{kernels}/k"), "k"),
            (&initrd, "i"),
            ("esp/efi/boot/BOOTX64.EFI", "x"),
        ]);
        let wrong = || installed.wrong_at(loader, &[["/esp", "/esp"]], &[ZFS_ROOT]);
        assert_eq!(wrong(), [""; 0], "{loader}");
        std::fs::remove_file(installed.path(&initrd)).unwrap();
        let lost = format!("ready-files: /{conf}: its initrd /{initrd} is not there, or empty");
        assert_eq!(wrong(), [lost]);
        installed.write(&initrd, "i");
        installed.write(conf, &text.replace(TOPLEVEL, "/nix/store/old"));
        let wrong = wrong();
        assert!(
            wrong[0].starts_with("ready-entries: none of the boot loader's 1 entries"),
            "{wrong:?}"
        );
    }
}
