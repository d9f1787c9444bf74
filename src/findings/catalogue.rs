//! Every finding there is: a stable code, how grave it is, why it matters. `docs/reference/findings.md` is made from this.

use serde::Serialize;

/// How grave a finding is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing; nothing is refused.
    Warning,
    /// Refuses the install.
    Error,
}

/// A kind of finding.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// Stable name: `host-no-disko`.
    pub(crate) code: &'static str,
    /// How grave it is.
    pub(crate) severity: Severity,
    /// Whether the user may accept it with `--accept CODE`.
    pub(crate) acceptable: bool,
    /// When it is found, as a clause: "the host has no disko script".
    pub(crate) when: &'static str,
    /// Why it matters: one or two sentences.
    pub(crate) why: &'static str,
}

/// Defines each kind once, as a constant and as an entry of the catalogue.
macro_rules! catalogue {
    ($($name:ident: $code:literal, $severity:ident, $accept:ident, $when:literal, $why:literal;)*) => {
        $(
            #[doc = $when]
            pub(crate) static $name: Kind = Kind {
                code: $code,
                severity: Severity::$severity,
                acceptable: catalogue!(@$accept),
                when: $when,
                why: $why,
            };
        )*

        /// All kinds, in the order of the documentation.
        pub(crate) static CATALOGUE: &[&Kind] = &[$(&$name),*];
    };
    (@final) => { false };
    (@acceptable) => { true };
}

catalogue! {
    HOST_NO_TOPLEVEL: "host-no-toplevel", Error, final,
        "the attribute is not a NixOS configuration",
        "There is nothing to install.";
    HOST_ASSERTION: "host-assertion", Error, final,
        "an assertion of the host's configuration fails",
        "NixOS refuses to build the system.";
    BUILD_NOWHERE: "build-nowhere", Error, final,
        "the system cannot be built where it is to be built",
        "The build would start, and fail late.";
    HOST_FILE_OWNER: "host-file-owner", Error, acceptable,
        "a file that is to be placed belongs to a user or group that the configuration does not declare",
        "Names of owners are those of the installed system; it would not know this one, which shows only after the \
         disks are erased.";
    HOST_WARNING: "host-warning", Warning, final,
        "the host's configuration warns",
        "These are the flake's own words; they are shown so that they are not missed.";
    HOST_CONTAINER: "host-container", Error, final,
        "the host is a container (`boot.isContainer`)",
        "It has no kernel, no initrd and no boot loader: nothing could start it on a machine.";
    HOST_NO_DISKO: "host-no-disko", Error, final,
        "the host has no disko script",
        "Its disks cannot be laid out, and landfall lays out disks in no other way.";
    HOST_NO_DISKS: "host-no-disks", Error, final,
        "which disks the layout erases cannot be read",
        "The loss of disks that are not named cannot be agreed to.";
    HOST_NO_ROOT: "host-no-root", Error, final,
        "the layout does not provide `/`",
        "The system would be installed into the installer's memory, or not start.";
    HOST_BOOT_ELSEWHERE: "host-boot-elsewhere", Error, acceptable,
        "the configuration mounts `/boot` from something the layout does not make",
        "The boot loader would be installed where nothing is mounted, and the machine not start.";
    HOST_NO_BOOT_LOADER: "host-no-boot-loader", Error, acceptable,
        "no known boot loader is enabled",
        "Nothing would start the system after the restart.";
    HOST_BOOT_LOADER_UNREAD: "host-boot-loader-unread", Warning, final,
        "landfall cannot read what the boot loader of the host is set up with",
        "Before the restart, it cannot be proven that the boot loader starts the system; nor is it known which firmware starts \
         the boot loader.";
    HOST_NO_ESP: "host-no-esp", Warning, final,
        "the configuration mounts no file system where the boot loader is to find its EFI system partition",
        "The installation of the boot loader fails after the disks were erased, or the firmware does not find it.";
    HOST_NO_LOGIN: "host-no-login", Error, acceptable,
        "root could not log in to the installed system",
        "landfall logs in as root to see it running, and would fail at that after the disks were erased; if no other user \
         can log in either, there is no way in.";
    HOST_NO_HOST_ID: "host-no-host-id", Error, final,
        "the host uses ZFS and has no `networking.hostId`",
        "By it ZFS knows which machine a pool belongs to; without it the pool would not be imported at boot.";
    HOST_NO_INITRD_MODULES: "host-no-initrd-modules", Error, acceptable,
        "the initrd has no kernel module that drives a disk; on ARM and RISC-V, where NixOS' kernel has drivers built in: none at all",
        "It could not see the disks that the system is on.";
    HOST_DISK_DRIVER: "host-disk-driver", Warning, final,
        "the initrd has no driver for a disk of the layout, as far as its name tells how it is attached",
        "If something on it is needed early, the system does not start, unless its kernel has the driver built in.";
    HOST_DIRTY_TREE: "host-dirty-tree", Warning, final,
        "the flake, or an input that is a repository on this machine, has changes that are in no commit",
        "What is installed cannot be had again from the repository, and the same command later may install something else.";
    HOST_NAMESAKE: "host-namesake", Warning, final,
        "two attributes of the flake have one `networking.hostName` (only `landfall check --namesakes` looks for this)",
        "On the network, and by people, one is taken for the other.";
    HOST_UNSTABLE_DISK: "host-unstable-disk", Error, acceptable,
        "the layout names a disk by a path that moves",
        "The kernel counts disks in the order it finds them: after the next boot the path may be another \
         disk's, and that one would be erased.";
    HOST_SAME_DISK: "host-same-disk", Error, final,
        "the layout names one device twice",
        "The second layout would destroy the first.";
    HOST_TOPOLOGY: "host-topology", Error, final,
        "a pool has fewer disks than its topology needs",
        "`zpool create` refuses a mirror of one disk, after the disks were erased; raidz over so few gives no more room than \
         a mirror.";
    HOST_NO_REDUNDANCY: "host-no-redundancy", Warning, final,
        "a pool over several disks survives the loss of none",
        "The more disks, the sooner one fails, and all is lost with it.";
    HOST_FIRMWARE_REGION: "host-firmware-region", Error, final,
        "a partition of an eMMC or SD card begins where the board's boot loader lies",
        "The boot loader would be overwritten, and the machine would not start any more.";
    HOST_OPEN_SECRET: "host-open-secret", Warning, final,
        "a secret is decrypted outside of /run, or may be read by everybody",
        "It stays on the disk in plain text, or is no secret.";
    HOST_KEY_VOLATILE: "host-key-volatile", Error, acceptable,
        "a host key of `services.openssh.hostKeys` lies on a tmpfs",
        "The next boot loses it, sshd generates another one, and the machine is no longer known by the key that was seen.";
    HOST_UNLOCK: "host-unlock", Warning, final,
        "the passphrase of something encrypted has to be typed at each boot",
        "The machine waits for it when it restarts, and landfall waits for the machine.";
    HOST_KEY_NO_PLACE: "host-key-no-place", Error, final,
        "the supplied host key is of a type that `services.openssh.hostKeys` does not have",
        "sshd would generate a key of its own, and the supplied one would not identify the machine.";
    SECRET_MISSING: "secret-missing", Error, acceptable,
        "the age file of a secret is not in the flake",
        "agenix fails on it, and the services that need the secret do not start.";
    SECRET_BROKEN: "secret-broken", Error, acceptable,
        "the age file of a secret is not an age file, or is broken",
        "agenix fails on it, and the services that need the secret do not start.";
    SECRET_NOT_OPENED: "secret-not-opened", Error, acceptable,
        "no identity that the machine will have opens a secret",
        "agenix only warns: the machine would start, and the services that need the secret fail.";
    SECRET_UNKNOWN: "secret-unknown", Warning, final,
        "whether the machine can decrypt a secret is unknown",
        "Only the private key could prove it, and landfall does not have it.";
    SECRET_IDENTITY_MISSING: "secret-identity-missing", Warning, final,
        "an identity that `age.identityPaths` names is not provided",
        "On a new machine there is nothing at that path.";
    SECRET_IDENTITY_NOT_MOUNTED: "secret-identity-not-mounted", Warning, final,
        "an identity lies on a file system that is mounted only after secrets are decrypted",
        "agenix does not find it at boot, whatever it opens.";
    SECRET_IDENTITY_LOCKED: "secret-identity-locked", Warning, final,
        "an identity has a passphrase",
        "It cannot be typed when secrets are decrypted.";
    SECRET_IDENTITY_UNUSABLE: "secret-identity-unusable", Warning, final,
        "an identity is not a key that age can use",
        "age stops at it, and may not try the others.";
    DEVICE_TREE_MISSING: "device-tree-missing", Error, final,
        "the built system lacks the device tree that the configuration names",
        "The boot loader would find a kernel and no description of the board.";
    DEVICE_TREE_OTHER_BOARD: "device-tree-other-board", Error, acceptable,
        "the device tree is for a different board than the one that answers",
        "Most likely it is not the machine that the flake describes.";
    FIRMWARE_MISMATCH: "firmware-mismatch", Error, acceptable,
        "the boot loader does not fit the firmware that started the target",
        "The machine would not find it.";
    FIRMWARE_BITS: "firmware-bits", Error, acceptable,
        "the boot loader has 64 bits and the EFI firmware of the target 32, or the other way round",
        "Firmware starts only programs that have as many bits as itself.";
    FIRMWARE_VARIABLES: "firmware-variables", Error, acceptable,
        "the boot loader is to be registered in the firmware, and the target's kernel cannot reach its variables",
        "Its installation fails after the disks were erased, or the machine does not find it.";
    ARC_UNCAPPED: "arc-uncapped", Warning, final,
        "ZFS's cache has no limit on a small machine",
        "By default it may take all memory but one GiB (zfs(4), `zfs_arc_max`): services are killed under load.";
    TARGET_NOT_LINUX: "target-not-linux", Error, final,
        "the target does not run Linux",
        "Only Linux can be left for the installer by kexec.";
    TARGET_ARCHITECTURE: "target-architecture", Error, final,
        "the target has a different architecture than the host",
        "The system would not start; most likely it is not the machine that the flake describes.";
    TARGET_NO_ROOT: "target-no-root", Error, final,
        "the login user is not root and cannot become root without a password",
        "Disks, kexec and installation need root, and a password cannot be typed in the middle of a run.";
    INSTALLER_NOT_ROOT: "installer-not-root", Error, final,
        "the target runs an installer and the login user is not root",
        "Nix copies the closure into a store that only root may write.";
    TARGET_TOOL: "target-tool", Error, final,
        "the target lacks a program that the way into or through the installer needs",
        "Its absence would show only in the middle of the work.";
    TARGET_MEMORY: "target-memory", Error, acceptable,
        "the target has less memory than the installer needs",
        "The installer runs from memory: it would end in an out-of-memory kill or a full file system.";
    TARGET_CLOCK: "target-clock", Warning, final,
        "the target's clock is off by more than a day",
        "Certificates are not valid at the wrong time, and file systems keep the wrong dates.";
    TARGET_BATTERY: "target-battery", Error, acceptable,
        "the target runs on battery",
        "The power may go in the middle of the layout.";
    TARGET_LINK: "target-link", Warning, final,
        "the network link is slow, or at half duplex",
        "A bad cable or port shows so; the closure takes long, and the link may fail under load.";
    TARGET_PORT_2500: "target-port-2500", Warning, final,
        "a board is reached over a network port with a known fault",
        "The Helios64's 2.5 Gbit/s port has a hardware fault at 1 Gbit/s, and has hung under load.";
    KEXEC_NO_IMAGE: "kexec-no-image", Error, final,
        "the target is not an installer and no kexec image was given",
        "There is no way into an installer.";
    KEXEC_NO_PLACE: "kexec-no-place", Error, final,
        "no directory of the target has room for the kexec image and lets it run",
        "The image is unpacked there, and its `kexec/run` started.";
    KEXEC_NO_KEY: "kexec-no-key", Error, acceptable,
        "none of the keys that `ssh` logs in with is among those that the kexec image takes over",
        "It takes root's `~/.ssh/authorized_keys`, those of the user who becomes root, and `/etc/ssh/authorized_keys.d`. \
         Where the rescue system has the key elsewhere, or asks for a password, no login to the installer would be possible, \
         unless its image has keys of its own.";
    KEXEC_IMAGE_ARCHITECTURE: "kexec-image-architecture", Error, final,
        "the kexec image is for another architecture than the target's",
        "Its kernel cannot be started there.";
    KEXEC_DISABLED: "kexec-disabled", Error, final,
        "kexec is disabled on the target until its next boot",
        "The kernel refuses to load another kernel, even for root.";
    KEXEC_NOT_BUILT: "kexec-not-built", Error, acceptable,
        "the target's kernel was built without kexec",
        "It cannot start another kernel.";
    KEXEC_LOCKED_DOWN: "kexec-locked-down", Error, acceptable,
        "the target's kernel is locked down, or Secure Boot is on",
        "Such a kernel starts only kernels with a signature it trusts, which an installer's has not.";
    KEXEC_CONTAINER: "kexec-container", Error, acceptable,
        "the target is a container",
        "It shares the kernel of its host and cannot start another one; it has no disks of its own either.";
    KEXEC_HYPERVISOR: "kexec-hypervisor", Error, acceptable,
        "the target runs under Xen",
        "The kexec of the published images is built without support for it.";
    KEXEC_BOARD: "kexec-board", Warning, final,
        "the target is a board that is known not to kexec",
        "It may hang, or come back to the old system. Nothing is lost by that, but time.";
    KEXEC_NETWORK: "kexec-network", Error, acceptable,
        "the target's network will not survive the kexec",
        "The installer gets back plain addresses and routes only; it would be up and unreachable.";
    DISK_KEY_ASKED: "disk-key-asked", Error, final,
        "the layout asks for a passphrase while the disks are laid out",
        "The disko script runs without a terminal, so it would fail, after the disks were erased.";
    DISK_KEY_MISSING: "disk-key-missing", Error, final,
        "the layout reads a key from a file that is not supplied",
        "The disko script would fail on it, after the disks were erased.";
    DISK_MISSING: "disk-missing", Error, final,
        "an installer does not see a disk of the layout",
        "The layout cannot be made without it.";
    DISK_TWICE: "disk-twice", Error, final,
        "two names of the layout lead to one disk",
        "The second layout would destroy the first.";
    DISK_SERIAL_TWICE: "disk-serial-twice", Error, acceptable,
        "two disks of the target have one serial number",
        "Consent is bound to serial numbers, and names in /dev/disk/by-id to one of the two by chance.";
    DISK_NOT_PLAIN: "disk-not-plain", Error, final,
        "what the layout calls a disk is a multipath map, an array or another device on top of disks",
        "landfall proves and erases plain disks; it cannot know what else lies on those below such a device.";
    DISK_MULTIPATH: "disk-multipath", Error, final,
        "a disk of the layout is one of several paths to the same disk",
        "What is erased by one path is gone on the others, which would pass for disks that are kept.";
    DISK_FIRMWARE_RAID: "disk-firmware-raid", Error, acceptable,
        "a disk of the layout is a member of a RAID set that the firmware knows",
        "The firmware may put the set together again, or write to the disk; other members lose their data.";
    DISK_TOO_SMALL: "disk-too-small", Error, final,
        "a disk is smaller than the layout needs",
        "The partitions do not fit, which shows only when the disk is erased.";
    DISK_READ_ONLY: "disk-read-only", Error, final,
        "a disk of the layout is read-only",
        "The layout fails in the middle.";
    DISK_UNREADABLE: "disk-unreadable", Error, final,
        "a disk of the layout is present, and cannot be read",
        "It is failing, or its cable is: the layout would fail at it, after other disks were erased.";
    DISK_MOUNTED: "disk-mounted", Error, final,
        "a disk of the layout is mounted in the installer",
        "What is on it is in use, and it cannot be laid out while it is mounted.";
    DISK_SWAP: "disk-swap", Error, final,
        "a disk of the layout is used as swap in the installer",
        "Memory of the running system is on it.";
    DISK_IMPORTED: "disk-imported", Error, final,
        "a disk of the layout belongs to a pool that is imported in the installer",
        "disko destroys imported pools by force, with all their disks.";
    DISK_HELD: "disk-held", Error, final,
        "a disk of the layout is part of an active md, LVM or LUKS device in the installer",
        "It cannot be laid out while something is built on it.";
    DISK_FOREIGN_POOL: "disk-foreign-pool", Error, acceptable,
        "a disk of the layout belongs to a pool that has other members, too",
        "The pool would lose a member, and if it can spare none, all of its data, also on disks that are kept.";
    DISK_POOL_NAME: "disk-pool-name", Error, acceptable,
        "a disk outside of the layout carries a pool with the name of one of the layout's",
        "disko imports pools by name: it would take the wrong one for its own.";
    DISK_PART_LABEL: "disk-part-label", Error, acceptable,
        "a disk outside of the layout has a partition with a name of the layout's",
        "/dev/disk/by-partlabel leads to one of the two by chance, and the wrong one would be formatted.";
    KEEP_UNKNOWN: "keep-unknown", Error, final,
        "`--keep` names what the layout does not have",
        "What was meant to be kept would be erased.";
    KEEP_NO_SCRIPT: "keep-no-script", Error, final,
        "something is to be kept, and the host has no script that creates only what is missing",
        "The only other script that lays out disks erases them all.";
    KEEP_NESTED: "keep-nested", Error, final,
        "in a pool to be kept, data lies below a dataset that is the system",
        "The system is archived by renaming it, and what lies below it would be renamed with it.";
    KEEP_ENCRYPTED: "keep-encrypted", Error, acceptable,
        "a pool to be kept is encrypted, and no key is given",
        "Without its key nothing in it can be created or mounted, which shows only after other disks were erased.";
    KEEP_NOT_FOUND: "keep-not-found", Error, final,
        "a pool to be kept is not on the disks that the layout gives it",
        "There is nothing to keep; most likely these are other disks.";
    KEEP_AMBIGUOUS: "keep-ambiguous", Error, final,
        "two pools could be the one to be kept",
        "A pool is known by its GUID; by its name, the wrong one might be taken.";
    KEEP_DEGRADED: "keep-degraded", Error, acceptable,
        "members of a pool to be kept are missing",
        "It may have no redundancy left while a system is installed on it; and what is missing may only be unplugged.";
    KEEP_FOREIGN: "keep-foreign", Error, acceptable,
        "a pool to be kept was last in use by another machine, and not exported",
        "A pool that two machines use at once is lost.";
    KEEP_FEATURES: "keep-features", Error, final,
        "a pool to be kept has features that the host's ZFS does not know",
        "The installed system could not import it.";
    KEEP_ERASED: "keep-erased", Error, final,
        "a member of a pool to be kept is on a disk that would be erased",
        "The pool would lose it.";
    KEEP_OUTSIDE: "keep-outside", Warning, final,
        "a pool to be kept has members on disks outside of the layout",
        "Nothing is written to them but by the pool itself; yet the configuration does not say what the machine has.";
    KEEP_IMPORTED: "keep-imported", Error, final,
        "a pool to be kept is imported in the installer",
        "It is in use; landfall imports it itself, below /mnt.";
    DISK_SMART: "disk-smart", Error, acceptable,
        "SMART says that a disk of the layout is failing",
        "It will not last.";
    DISK_STALE_LABEL: "disk-stale-label", Warning, final,
        "a disk of the layout has a ZFS label from earlier use at its end",
        "`zpool import` may show a pool that is not there any more, and refuse the right one.";
    DISK_SECTORS: "disk-sectors", Warning, final,
        "a disk has sectors of 4096 bytes and the pool on it no `ashift`",
        "A pool made for sectors of 512 bytes cannot take such a disk later.";
    READY_PROFILE: "ready-profile", Error, acceptable,
        "the system profile of what was installed does not name the system, or the system is not there",
        "The boot loader's next configuration would be made of another system, or of none.";
    READY_ENTRIES: "ready-entries", Error, acceptable,
        "the boot loader that was installed has no entries, or none that starts the system",
        "Nothing would start it.";
    READY_FILES: "ready-files", Error, acceptable,
        "the boot loader that was installed names a file that is not there, or empty; or the EFI system partition has no program",
        "The entry does not start; a full `/boot` leaves files without content.";
    READY_ROOT: "ready-root", Error, acceptable,
        "the file system for `/` is not there, or the configuration has none",
        "The system would stop in its initrd.";
    READY_FILE_SYSTEM: "ready-file-system", Error, acceptable,
        "another file system that the boot needs is not there",
        "The system would stop in its initrd, or start into its emergency mode.";
    REPLACE_NO_POOL: "replace-no-pool", Error, final,
        "the machine has no pool imported",
        "Only an imported pool shows which of its members has failed.";
    REPLACE_POOL_DOWN: "replace-pool-down", Error, final,
        "the pool is not working (`SUSPENDED`, `UNAVAIL`, `FAULTED`)",
        "Nothing can be written to it, so that no member can be replaced.";
    REPLACE_WHICH: "replace-which", Error, final,
        "it is not clear which member is to be taken out",
        "A healthy disk that is taken out by mistake costs the redundancy that a failed one has left.";
    REPLACE_UNDER_WAY: "replace-under-way", Error, final,
        "the member is already being replaced",
        "Its data are on their way to the new disk.";
    REPLACE_POOL_LOST: "replace-pool-lost", Error, final,
        "the pool would not survive without the member",
        "It can still be read, and what only it holds would be lost.";
    REPLACE_RESILVERING: "replace-resilvering", Error, final,
        "a resilver is running, and the member is healthy",
        "Until it has ended, it is unknown which members hold all data.";
    REPLACE_NO_LAYOUT: "replace-no-layout", Error, final,
        "the flake's layout does not say how the new disk is to be partitioned",
        "The next install would not know a disk that is partitioned differently.";
    REPLACE_NEW_WHICH: "replace-new-which", Error, final,
        "it is not clear which disk is to take the place",
        "What is on it is lost.";
    REPLACE_NEW_SMALL: "replace-new-small", Error, final,
        "the new disk is too small",
        "ZFS takes no member that is smaller than what the vdev uses of each.";
    REPLACE_NEW_SECTORS: "replace-new-sectors", Error, final,
        "the new disk has larger sectors than the vdev writes",
        "ZFS cannot write half a sector, and the size it writes cannot be changed.";
    REPLACE_NEW_IN_USE: "replace-new-in-use", Error, final,
        "the new disk is in use",
        "What would be lost is being used.";
    REPLACE_NEW_BROKEN: "replace-new-broken", Error, final,
        "the new disk cannot be read or written, or its SMART status is failing",
        "It would be the next one to be replaced.";
    REPLACE_NEW_UNNAMED: "replace-new-unnamed", Error, final,
        "the new disk has no stable name (/dev/disk/by-id), or no serial number",
        "After the next boot another disk may have its name.";
    REPLACE_NEW_POOL: "replace-new-pool", Error, acceptable,
        "the new disk is a member of another pool, or was one",
        "If that pool is still wanted, it loses a member.";
    REPLACE_NEW_HOLDS: "replace-new-holds", Error, acceptable,
        "the new disk is not empty",
        "What is on it is lost.";
    REPLACE_NO_MARGIN: "replace-no-margin", Warning, final,
        "until the new disk is resilvered, the pool survives no further failure",
        "A resilver reads every other disk from end to end, which is when a weak one fails: back up what matters first.";
    REPLACE_OTHER_ERRORS: "replace-other-errors", Warning, final,
        "another member has errors too",
        "What cannot be read from it cannot be repaired without the member that is taken out.";
    REPLACE_DATA_ERRORS: "replace-data-errors", Warning, final,
        "the pool has already lost data",
        "A new disk does not restore it; `zpool status -v` names the files.";
    REPLACE_LAYOUT_MORE: "replace-layout-more", Warning, final,
        "the layout has partitions beside the pool's on the disk",
        "They are made, and nothing is put into them.";
}

impl Kind {
    /// A finding of this kind.
    pub(crate) fn seen(
        &'static self,
        what: impl Into<String>,
        hint: impl Into<String>,
    ) -> super::Finding {
        super::Finding { kind: self, what: what.into(), hint: hint.into() }
    }
}
