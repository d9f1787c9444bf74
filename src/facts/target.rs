//! What is found on the target: two scripts, two round trips. `probe` reads what they said.

use super::disk::Disk;
use crate::clock::now;
use crate::machine::{CommandError, Elevation, Script, Target};
use std::collections::{BTreeMap, BTreeSet};

/// All that is asked as root.
const PROBE: &str = concat!(include_str!("disks.sh"), "\n", include_str!("probe.sh"));

/// What a target said of itself under one boot. What it did not say is empty or `None`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TargetFacts {
    /// `uname -s`.
    pub kernel: String,
    /// `uname -m`.
    pub machine: String,
    /// The boot that was looked at.
    pub boot: String,
    /// Its present host name.
    pub host_name: String,
    /// What runs, in its own words.
    pub os: String,
    /// os-release's `VARIANT_ID`.
    pub variant: String,
    /// The login user's home directory.
    pub home: String,
    /// Where the kexec image could be unpacked, the best first; none if it was not asked.
    pub places: Vec<ImagePlace>,
    /// How root is had; none if it cannot be.
    pub elevation: Option<Elevation>,
    /// What `sudo` says where root cannot be had.
    pub sudo: String,
    /// Bytes of memory.
    pub memory: Option<u64>,
    /// Bytes of memory that could be used now.
    pub available: Option<u64>,
    /// The device tree's `compatible`, most specific first.
    pub board: Vec<String>,
    /// Whether it was started by EFI firmware.
    pub efi: bool,
    /// Whether the kernel can reach the variables of EFI firmware; none where it was not asked.
    pub efi_variables: Option<bool>,
    /// The word size of EFI firmware: 64 or 32.
    pub efi_bits: Option<u32>,
    /// Whether kexec has been switched off until the next boot (`kernel.kexec_load_disabled`).
    pub kexec_disabled: bool,
    /// Programs that are there, of those that were looked for.
    pub tools: BTreeSet<String>,
    /// Disks by their kernel names.
    pub disks: BTreeMap<String, Disk>,
    /// Paths of whole disks, to kernel names.
    pub links: BTreeMap<String, String>,
    /// Imported pools.
    pub pools: Vec<ImportedPool>,
    /// Whether its kernel was built with kexec (`CONFIG_KEXEC` or `CONFIG_KEXEC_FILE`), where that can be read.
    pub kexec_built: Option<bool>,
    /// `/sys/kernel/security/lockdown`: `none`, `integrity`, `confidentiality`; empty if there is none.
    pub lockdown: String,
    /// Whether UEFI Secure Boot is on.
    pub secure_boot: bool,
    /// The kind of container it runs in; empty if in none.
    pub container: String,
    /// The hypervisor it runs under, in systemd-detect-virt(1)'s words: `xen`, `kvm`; empty if none is known.
    pub hypervisor: String,
    /// The interface landfall reaches it over; none if unknown.
    pub link: Option<Link>,
    /// Whether it has policy routes beyond the kernel's own three rules.
    pub policy_routes: bool,
    /// Seconds its clock is ahead of the workstation's; none if it was not asked.
    pub clock_ahead: Option<i64>,
    /// Its SSH host keys by the paths of their private halves, each `type base64`.
    pub host_keys: BTreeMap<String, String>,
    /// Fingerprints (`SHA256:…`) of the keys that a kexec image takes over into its installer: root's, and those of the user
    /// who becomes root to start it (nixos-images, `kexec-run.sh`).
    pub handed_over: BTreeSet<String>,
    /// Fingerprints of the keys that `ssh` has offered to it; none if that is not known.
    pub offered: Option<BTreeSet<String>>,
    /// Whether it runs on battery; none if it does not say.
    pub on_battery: Option<bool>,
    /// md arrays and device-mapper targets by kernel name (`md0`, `dm-0`), with where they are mounted
    /// (`[SWAP]` for what is used as swap).
    pub stacked: BTreeMap<String, Vec<String>>,
    /// What made each device-mapper target, by its kernel name: `LVM-…`, `CRYPT-…`, `mpath-…` (its UUID).
    pub mapped: BTreeMap<String, String>,
}

/// A directory in which the kexec image could be unpacked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImagePlace {
    pub(crate) path: String,
    /// Bytes that are free there.
    pub free: u64,
    /// Why nothing can be unpacked and run there: `noexec`, `read-only` …; empty if it can.
    pub(crate) why_not: String,
}

/// The network interface over which landfall reaches the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Link {
    /// `end0`.
    pub name: String,
    /// What it is.
    pub kind: LinkKind,
    /// Its kernel driver: `r8152`; empty if unknown.
    pub(crate) driver: String,
    /// Mbit/s, where the driver says.
    pub(crate) speed: Option<u32>,
    /// Whether it is full duplex, where the driver says.
    pub(crate) full_duplex: Option<bool>,
}

/// What an interface is, as far as it matters for whether an installer gets it back by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum LinkKind {
    /// A plain network card.
    Ethernet,
    /// Several cards as one.
    Bond,
    /// A tagged network on top of another interface.
    Vlan,
    /// A bridge of the kernel (`ip link add type bridge`).
    Bridge,
    /// Wi-Fi.
    Wireless,
    /// A tunnel: WireGuard, tun, ppp.
    Tunnel,
    /// Something else, or not known.
    #[default]
    Unknown,
}

/// A pool that is imported on the target.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportedPool {
    pub(crate) name: String,
    pub(crate) guid: u64,
    /// Kernel names of the volumes that are its members: `sda1`.
    pub(crate) members: Vec<String>,
}

impl TargetFacts {
    /// Asks the target: how root is had, then the rest as root.
    pub async fn gather(target: &Target) -> Result<Self, CommandError> {
        let now = || i64::try_from(now()).unwrap_or(i64::MAX);
        let before = now();
        let login = target.run(&Script::file("login.sh", include_str!("login.sh"))).await?;
        let after = now();
        let mut probe = Script::file("probe.sh", PROBE).arg(value_of(&login, "server"));
        if let Some(elevation) = Self::parse(&login).elevation {
            probe = probe.elevated(elevation);
        }
        let said = target.run(&probe).await?;
        let mut facts = Self::parse(&format!("{login}\n{said}"));
        facts.offered = target.offered_keys().cloned();
        facts.clock_ahead =
            value_of(&login, "clock").parse().ok().map(|clock| ahead(clock, before, after));
        Ok(facts)
    }

    /// The same, with the disks as another reading of them has it.
    #[must_use]
    pub(crate) fn with_disks(self, disks: &str) -> Self {
        let mut before = self.disks;
        let Self { mut disks, links, pools, stacked, mapped, .. } = Self::parse(disks);
        for (name, disk) in &mut disks {
            disk.healthy = before.remove(name).and_then(|disk| disk.healthy);
        }
        Self { disks, links, pools, stacked, mapped, ..self }
    }

    /// Whether this is an installer as nixos-anywhere knows it: os-release says so.
    pub fn is_installer(&self) -> bool {
        self.variant == "installer"
    }

    /// Why root cannot be had, in sudo's own words, to be put behind ours.
    pub(crate) fn sudo_says(&self) -> String {
        let shown = self.sudo.chars().filter(|c| !c.is_control()).take(400).collect::<String>();
        if shown.is_empty() { shown } else { format!("; sudo says: {shown}") }
    }

    /// The disk behind a device path.
    pub fn disk(&self, device: &str) -> Option<&Disk> {
        self.disks.get(self.links.get(device)?)
    }

    /// The best stable path of a disk: one that tells model and serial number, before one that tells a WWN; none if it has
    /// none.
    pub(crate) fn stable_path(&self, disk: &Disk) -> Option<String> {
        let serial = disk.serial.replace(' ', "_");
        let rank = |path: &str| {
            let name = path.strip_prefix("/dev/disk/by-id/")?;
            let tells = !serial.is_empty() && name.contains(&serial);
            let number = ["wwn-", "nvme-eui.", "nvme-nvme.", "lvm-", "dm-"];
            let worse = number.iter().any(|prefix| name.starts_with(prefix));
            Some((!tells, worse, name.starts_with("scsi-"), name.len(), path.to_owned()))
        };
        let own = self.links.iter().filter(|(_, name)| **name == disk.name);
        own.filter_map(|(path, _)| rank(path)).min().map(|(.., path)| path)
    }

    /// The md array or device-mapper target behind a device path, by its kernel name.
    pub(crate) fn stacked_at(&self, device: &str) -> Option<&str> {
        let name = self.links.get(device).map(String::as_str);
        let name = name.or_else(|| device.strip_prefix("/dev/"))?;
        self.stacked.get_key_value(name).map(|(name, _)| name.as_str())
    }

    /// Where an image of so many bytes can be unpacked and run.
    pub(crate) fn image_place(&self, bytes: u64) -> Option<&str> {
        if self.places.is_empty() {
            return Some(&self.home);
        }
        // What is in it is compressed already, and grows by what the machine hands over to the installer.
        let needed = bytes + bytes / 4;
        let fits = |place: &&ImagePlace| place.why_not.is_empty() && place.free >= needed;
        self.places.iter().find(fits).map(|place| place.path.as_str())
    }

    /// Whether it is a board whose firmware describes it by a device tree that names a board of its own.
    pub(crate) fn is_board(&self) -> bool {
        self.board.iter().any(|entry| entry.contains(',') && !entry.starts_with("linux,"))
    }

    /// The platform in Nix' words: `aarch64-linux`.
    pub(crate) fn system(&self) -> String {
        let cpu = match self.machine.as_str() {
            "arm64" => "aarch64",
            "i386" | "i486" | "i586" => "i686",
            cpu => cpu,
        };
        format!("{cpu}-{}", self.kernel.to_lowercase())
    }
}

/// How far a clock is ahead that was read at some moment between two of ours. The wire's delay is not its fault.
fn ahead(clock: i64, before: i64, after: i64) -> i64 {
    clock.saturating_sub(clock.clamp(before, before.max(after)))
}

/// The first value of a line of the probe.
fn value_of<'a>(said: &'a str, key: &str) -> &'a str {
    let mut lines = said.lines().filter_map(|line| line.split_once('\t'));
    lines.find(|(known, _)| *known == key).map_or("", |(_, value)| value.trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAID: &str = "kernel\tLinux\narch\taarch64\nboot\t3a1f\nhostname\trescue\n\
        os\tDebian GNU/Linux 13 (trixie)\nvariant\t\nhome\t/root\nroot\tlogin\nmemory\t2061529088\n\
        available\t1794412544\nboard\tkobol,helios64 rockchip,rk3399 \nfirmware\tnone\nkexec_disabled\t0\n\
        has\ttar\nhas\tcpio\ndisk\tsda\t4294967296\tST4000VN008-2DR166\tZGY0A1B2\t0x5000c500a1b2c3d4\n\
        link\t/dev/sda\tsda\nlink\t/dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY0A1B2\tsda\n\
        something\tnew\ndisk\ttoo few fields\n";

    #[test]
    fn reads_a_recorded_probe() {
        let facts = TargetFacts::parse(SAID);
        assert_eq!(facts.system(), "aarch64-linux");
        assert!(!facts.is_installer());
        assert_eq!(facts.elevation, Some(Elevation::Root));
        assert_eq!(facts.memory, Some(2_061_529_088));
        assert_eq!(facts.board, ["kobol,helios64", "rockchip,rk3399"]);
        let disk = facts.disk("/dev/disk/by-id/ata-ST4000VN008-2DR166_ZGY0A1B2").unwrap();
        assert_eq!((disk.serial.as_str(), disk.size), ("ZGY0A1B2", 4_294_967_296));
        assert_eq!(facts.disk("/dev/disk/by-id/ata-other"), None);
        assert_eq!(facts.disks.len(), 1);
    }

    #[test]
    fn only_what_the_wire_cannot_explain_is_the_clocks_fault() {
        assert_eq!([99, 100, 103, 104].map(|clock| ahead(clock, 100, 103)), [-1, 0, 0, 1]);
        // Ours was set back in between.
        assert_eq!(ahead(100, 100, 50), 0);
        assert_eq!(value_of("a\tb\nserver\t10.0.0.2\n", "server"), "10.0.0.2");
    }

    #[test]
    fn knows_an_installer_by_its_variant() {
        assert!(TargetFacts::parse("variant\tinstaller\n").is_installer());
        assert_eq!(TargetFacts::parse("").elevation, None);
    }
}
