//! The firmware of the emulated board, and the region of the real board's firmware that must stay as it is.

use crate::facts::{BootLoader, HostFacts};
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

/// The firmware that the host's boot loader needs: extlinux is read by U-Boot, all else is started by UEFI.
pub(super) fn choose(host: &HostFacts, given: Option<&Path>) -> Result<PathBuf> {
    if let Some(path) = given {
        return Ok(path.to_owned());
    }
    let there = |paths: &[&str]| paths.iter().map(PathBuf::from).find(|path| path.exists());
    if host.boot_loader == Some(BootLoader::Extlinux) {
        return there(&U_BOOT).context(
            "the host boots by extlinux, which takes U-Boot, and no U-Boot for QEMU was found: install \
             Debian's u-boot-qemu, or give --firmware (nixpkgs#ubootQemuAarch64 has it as u-boot.bin)",
        );
    }
    Ok(there(&EDK2).unwrap_or_else(|| PathBuf::from(EDK2_OF_QEMU)))
}

/// Sectors where a Rockchip boot ROM and its loader look for the next stage (idbloader, U-Boot).
const REGIONS: [u64; 2] = [64, 16384];
const SECTOR: u64 = 512;
const REGION_LENGTH: usize = 256 * 1024;

/// Whether the disk carries the boot loader of the board itself.
pub(super) fn is_guarded(host: &HostFacts, device: &str) -> bool {
    let rockchip = host.device_tree.as_deref().is_some_and(|tree| tree.starts_with("rockchip/"));
    rockchip && device.contains("mmc")
}

/// Puts a mark into both regions.
pub(super) fn mark(disk: &Path) -> Result<()> {
    let mut file = OpenOptions::new().write(true).open(disk).context("opening a disk's file")?;
    for sector in REGIONS {
        file.seek(SeekFrom::Start(sector * SECTOR))?;
        file.write_all(&pattern(sector))?;
    }
    Ok(())
}

/// Whether both marks are as they were put.
pub(super) fn is_unchanged(disk: &Path) -> Result<bool> {
    let mut file = std::fs::File::open(disk).context("opening a disk's file")?;
    let mut found = vec![0; REGION_LENGTH];
    for sector in REGIONS {
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
    line.bytes().cycle().take(REGION_LENGTH).collect()
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
        assert!(!is_unchanged(disk.path()).unwrap(), "never marked");
        mark(disk.path()).unwrap();
        assert!(is_unchanged(disk.path()).unwrap());
        let mut file = OpenOptions::new().write(true).open(disk.path()).unwrap();
        file.seek(SeekFrom::Start(16384 * SECTOR + 1000)).unwrap();
        file.write_all(b"x").unwrap();
        assert!(!is_unchanged(disk.path()).unwrap());
    }
}
