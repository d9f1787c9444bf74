//! The firmware of the emulated board, and the region of the real board's firmware that must stay as it is.

use crate::facts::{BootLoader, Firmware, FirmwareRegion, HostFacts, is_card};
use anyhow::{Context, Result, bail};
use std::fs::OpenOptions;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

/// Where U-Boot for QEMU is found: Debian's u-boot-qemu.
const U_BOOT: [&str; 1] = ["/usr/lib/u-boot/qemu_arm64/u-boot.bin"];
/// Where EDK2 is found: Debian's qemu-efi-aarch64, Fedora's edk2-aarch64.
const EDK2: [&str; 2] =
    ["/usr/share/qemu-efi-aarch64/QEMU_EFI.fd", "/usr/share/edk2/aarch64/QEMU_EFI.fd"];
/// QEMU brings its own EDK2, and finds it by this name.
const EDK2_OF_QEMU: &str = "edk2-aarch64-code.fd";

/// The firmware that the host's boot loader needs: U-Boot, or else UEFI, which QEMU has for all others.
pub(super) fn choose(host: &HostFacts, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let there = |paths: &[&str]| paths.iter().map(PathBuf::from).find(|path| path.exists());
    let declared = host.firmware.clone().unwrap_or_default();
    let takes_u_boot = |loader: &BootLoader| loader.needs(&declared) == Some(Firmware::UBoot);
    if let Some(loader) = host.boot_loader.filter(takes_u_boot) {
        return there(&U_BOOT).with_context(|| {
            format!(
                "the host boots by {}, which takes U-Boot, and no U-Boot for QEMU was found: install Debian's u-boot-qemu, or \
                 give --firmware (nixpkgs#ubootQemuAarch64 has it as u-boot.bin)",
                loader.name()
            )
        });
    }
    Ok(there(&EDK2).unwrap_or_else(|| PathBuf::from(EDK2_OF_QEMU)))
}

const SECTOR: u64 = 512;
/// Bytes of the mark that stands for each stage.
const MARK: usize = 256 * 1024;

/// The boot loader of the board itself that the disk carries, if it does.
pub(super) fn guarded(host: &HostFacts, device: &str) -> Option<&'static FirmwareRegion> {
    host.firmware_region().filter(|_| is_card(device, None))
}

/// Puts a mark where each stage of the boot loader begins.
pub(super) fn mark(disk: &Path, region: &FirmwareRegion) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(disk).context("opening a disk's file")?;
    for &sector in region.stages {
        file.seek(SeekFrom::Start(sector * SECTOR))?;
        file.write_all(&pattern(sector))?;
    }
    Ok(())
}

/// Whether the marks are as they were put.
pub(super) fn is_unchanged(disk: &Path, region: &FirmwareRegion) -> Result<bool> {
    let mut file = std::fs::File::open(disk).context("opening a disk's file")?;
    let mut found = vec![0; MARK];
    for &sector in region.stages {
        file.seek(SeekFrom::Start(sector * SECTOR))?;
        file.read_exact(&mut found)?;
        if found != pattern(sector) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Bytes that no tool writes by chance, other ones in every region.
fn pattern(sector: u64) -> Vec<u8> {
    let line = format!("landfall guards the boot loader at sector {sector}\n");
    line.bytes().cycle().take(MARK).collect()
}

/// Refuses a firmware file that is not there; a bare name is left to QEMU.
pub(super) fn check(path: &Path) -> Result<()> {
    if path.components().count() > 1 && !path.exists() {
        bail!("there is no firmware {}", path.display());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_byte_is_seen() {
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(16 << 20).unwrap();
        let region = FirmwareRegion { stages: &[64, 16384], end: 16 };
        assert!(!is_unchanged(disk.path(), &region).unwrap(), "never marked");
        mark(disk.path(), &region).unwrap();
        assert!(is_unchanged(disk.path(), &region).unwrap());
        let mut file = OpenOptions::new().write(true).open(disk.path()).unwrap();
        file.seek(SeekFrom::Start(16384 * SECTOR + 1000)).unwrap();
        file.write_all(b"x").unwrap();
        assert!(!is_unchanged(disk.path(), &region).unwrap());
    }
}
