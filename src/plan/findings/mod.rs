//! Something about host and target that forbids the install or is worth knowing, said so that it can be mended.

mod catalogue;

pub use catalogue::{CATALOGUE, Kind, Severity};

use crate::facts::{Disk, HostFacts, TargetFacts};
use crate::machine::{Elevation, Image};
use crate::report::size;

/// Something that was seen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// What kind of thing.
    pub kind: &'static Kind,
    /// What was seen.
    pub what: String,
    /// What to do.
    pub hint: String,
}

/// All that can be found before anything is touched, as far as it is known: a target that was not looked at yet
/// has no findings of its own.
///
/// `ours`: the disks hold the unfinished work of an earlier run of the same plan, which is therefore no
/// reason to refuse.
pub fn findings(
    host: &HostFacts,
    target: Option<&TargetFacts>,
    image: Option<&Image>,
    ours: bool,
) -> Vec<Finding> {
    let _ = ours;
    let mut found = host_findings(host);
    if let Some(target) = target {
        found.extend(target_findings(host, target));
        if !target.is_installer() {
            found.extend(kexec_findings(target, image));
        }
    }
    found
}

/// What in the host alone forbids any install of it.
pub fn host_findings(host: &HostFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if host.toplevel.is_none() {
        found.push(catalogue::HOST_NO_TOPLEVEL.seen(
            format!(
                "'{}' is no NixOS configuration: it has no system.build.toplevel",
                host.attribute
            ),
            "name a host of nixosConfigurations",
        ));
    }
    if host.disko().is_none() {
        found.push(catalogue::HOST_NO_DISKO.seen(
            format!("'{}' has no disko script, so its disks cannot be laid out", host.attribute),
            "import disko's module and define disko.devices for this host",
        ));
    } else if host.wiped_disks().next().is_none() {
        found.push(catalogue::HOST_NO_DISKS.seen(
            format!("what disks the layout of '{}' erases cannot be read", host.attribute),
            "define disko.devices.disk for this host; its devices must evaluate to paths",
        ));
    }
    found
}

fn target_findings(host: &HostFacts, target: &TargetFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if target.kernel != "Linux" {
        found.push(catalogue::TARGET_NOT_LINUX.seen(
            format!(
                "the target runs {}",
                if target.kernel.is_empty() { "an unknown system" } else { &target.kernel }
            ),
            "start a Linux rescue system, or the installer itself, on it",
        ));
        return found;
    }
    if let Some(system) = &host.system
        && *system != target.system()
    {
        found.push(catalogue::TARGET_ARCHITECTURE.seen(
            format!(
                "'{}' is built for {system}, the target is {}",
                host.attribute,
                target.system()
            ),
            "this is another machine than the flake describes: check HOST and TARGET",
        ));
    }
    if target.elevation.is_none() {
        found.push(catalogue::TARGET_NO_ROOT.seen(
            "the login user is not root, and neither `sudo -n` nor `doas -n` works",
            "log in as root, or allow the user sudo without a password",
        ));
    }
    if target.is_installer() {
        if matches!(target.elevation, Some(Elevation::Sudo | Elevation::Doas)) {
            found.push(catalogue::INSTALLER_NOT_ROOT.seen("the target runs an installer, and the login user is not root",
                "give root the keys, with `sudo mkdir -p /root/.ssh; sudo cp ~/.ssh/authorized_keys \
                 /root/.ssh/` on the target, and log in as root",
            ));
        }
        for tool in
            ["nix", "nixos-install"].into_iter().filter(|tool| !target.tools.contains(*tool))
        {
            found.push(catalogue::TARGET_TOOL.seen(
                format!("the target calls itself an installer, but has no `{tool}`"),
                "boot an installer of NixOS, or a rescue system and give --kexec",
            ));
        }
        found.extend(missing_disks(host, target));
    }
    found
}

/// Disks of the layout that an installer does not see. (A rescue system may lack their drivers or
/// links, so there it means nothing yet; the disko step looks again.)
fn missing_disks(host: &HostFacts, target: &TargetFacts) -> Vec<Finding> {
    let missing = host.wiped_disks().filter(|(_, disk)| target.disk(&disk.device).is_none());
    let there: Vec<_> = target.disks.values().map(Disk::label).collect();
    let finding = |(name, disk): (&String, &crate::facts::DeclaredDisk)| {
        catalogue::DISK_MISSING.seen(
            format!("the disk '{name}' of the layout, {}, is not there", disk.device),
            format!("the target has:\n{}", there.join("\n")),
        )
    };
    missing.map(finding).collect()
}

/// Beside kernel and initrd, which are there twice for a moment (loaded and unpacked) and then once
/// more as the running system: the least a kernel and sshd work with.
const BARE_SYSTEM: u64 = 256 << 20;

fn kexec_findings(target: &TargetFacts, image: Option<&Image>) -> Vec<Finding> {
    let mut found = Vec::new();
    let Some(image) = image else {
        let cpu = &target.machine;
        found.push(catalogue::KEXEC_NO_IMAGE.seen(
            format!(
                "the target runs {}, not an installer, and no kexec image was given",
                target.os
            ),
            format!(
                "give one with --kexec FILE|URL, for example --kexec \
                 https://github.com/nix-community/nixos-images/releases/download/nixos-25.11/\
                 nixos-kexec-installer-noninteractive-{cpu}-linux.tar.gz\n\
                 or boot the target into an installer by itself"
            ),
        ));
        return found;
    };
    if target.kexec_disabled {
        found.push(catalogue::KEXEC_DISABLED.seen(
            "kexec is switched off on the target until its next boot (kernel.kexec_load_disabled)",
            "boot a rescue system without it, or the installer itself",
        ));
    }
    let needed = ["tar", "cpio", "gzip"].into_iter().chain(image.compression.program());
    let mut missing: Vec<_> = needed.filter(|tool| !target.tools.contains(*tool)).collect();
    missing.dedup();
    if !missing.is_empty() {
        found.push(catalogue::TARGET_TOOL.seen(
            format!("the target lacks {}, which kexec needs", missing.join(", ")),
            "install them on it, or boot another rescue system",
        ));
    }
    let need = BARE_SYSTEM + 3 * image.size;
    if let Some(memory) = target.memory.filter(|memory| *memory < need) {
        found.push(catalogue::TARGET_MEMORY.seen(
            format!(
                "the target has {} of memory, this image needs about {}",
                size(memory),
                size(need)
            ),
            "use a smaller image, or boot the installer from SD card or USB",
        ));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::machine::Compression;

    fn host() -> HostFacts {
        let script = r#"{"drv": "/nix/store/a.drv", "out": "/nix/store/a"}"#;
        let json = format!(
            r#"{{"hostName": "helios64", "system": "aarch64-linux", "toplevel": {script},
                "diskoScript": {script}, "disks": {{"sata1": {{"device": "/dev/disk/by-id/ata-A_1",
                "destroy": true}}}}}}"#
        );
        serde_json::from_str(&json).unwrap()
    }

    fn rescue() -> TargetFacts {
        TargetFacts::parse(
            "kernel\tLinux\narch\taarch64\nos\tDebian\nroot\tlogin\nmemory\t2000000000\n\
             has\ttar\nhas\tcpio\nhas\tgzip\n",
        )
    }

    fn image() -> Image {
        let (path, sha256) = (std::path::PathBuf::new(), String::new());
        Image { path, size: 60_000_000, sha256, compression: Compression::Gzip }
    }

    fn codes(host: &HostFacts, target: &TargetFacts, image: Option<&Image>) -> Vec<&'static str> {
        findings(host, Some(target), image, false).iter().map(|finding| finding.kind.code).collect()
    }

    #[test]
    fn a_good_pair_has_none() {
        assert_eq!(codes(&host(), &rescue(), Some(&image())), [""; 0]);
    }

    #[test]
    fn each_is_found_by_name() {
        let mut stub = host();
        (stub.disko_script, stub.toplevel) = (None, None);
        assert_eq!(codes(&stub, &rescue(), Some(&image())), ["host-no-toplevel", "host-no-disko"]);

        let no_disks = HostFacts { disks: None, ..host() };
        assert_eq!(codes(&no_disks, &rescue(), Some(&image())), ["host-no-disks"]);

        let x86 = TargetFacts { machine: "x86_64".into(), ..rescue() };
        assert_eq!(codes(&host(), &x86, Some(&image())), ["target-architecture"]);

        let unprivileged = TargetFacts { elevation: None, ..rescue() };
        assert_eq!(codes(&host(), &unprivileged, Some(&image())), ["target-no-root"]);

        assert_eq!(codes(&host(), &rescue(), None), ["kexec-no-image"]);

        let small = TargetFacts { memory: Some(300 << 20), ..rescue() };
        assert_eq!(codes(&host(), &small, Some(&image())), ["target-memory"]);

        let bare = TargetFacts { tools: ["tar".to_owned()].into(), ..rescue() };
        assert_eq!(codes(&host(), &bare, Some(&image())), ["target-tool"]);

        let off = TargetFacts { kexec_disabled: true, ..rescue() };
        assert_eq!(codes(&host(), &off, Some(&image())), ["kexec-disabled"]);

        let bsd = TargetFacts { kernel: "FreeBSD".into(), ..rescue() };
        assert_eq!(codes(&host(), &bsd, Some(&image())), ["target-not-linux"]);
    }

    #[test]
    fn an_installer_must_be_entered_as_root() {
        let said = "kernel\tLinux\narch\taarch64\nroot\tsudo\nvariant\tinstaller\nhas\tnix\nhas\tnixos-install\n\
                    disk\tsda\t1\tA\t1\t\nlink\t/dev/disk/by-id/ata-A_1\tsda\n";
        assert_eq!(codes(&host(), &TargetFacts::parse(said), None), ["installer-not-root"]);
    }

    #[test]
    fn an_installer_must_see_the_disks() {
        let installer = TargetFacts::parse(
            "kernel\tLinux\narch\taarch64\nroot\tlogin\nvariant\tinstaller\nhas\tnix\nhas\tnixos-install\n",
        );
        assert_eq!(codes(&host(), &installer, None), ["disk-missing"]);
    }
}
