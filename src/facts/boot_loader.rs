//! Boot loaders: how the flake switches one on, and which firmware starts it. A boot loader is added here, and to `ready.sh`,
//! which reads its entries before the restart.

use super::layout::DeclaredFirmware;
use crate::nix::quoted;
use serde::Deserialize;

/// How the installed system is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum BootLoader {
    /// `extlinux.conf`, read by U-Boot.
    Extlinux,
    /// systemd-boot, an EFI program.
    SystemdBoot,
    /// GRUB, for EFI, BIOS, or both.
    Grub,
}

/// What starts a boot loader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Firmware {
    /// UEFI, or U-Boot in its place.
    Efi,
    /// The BIOS of a PC.
    Bios,
    /// U-Boot, which reads the boot loader's own configuration.
    UBoot,
}

/// A boot loader that is a program for EFI firmware.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct EfiProgram {
    /// Whether it is one for firmware of 32 bits.
    pub(crate) has_32_bits: bool,
    /// Whether it is registered in the firmware's variables.
    pub(crate) is_registered: bool,
}

/// What is known of a boot loader.
struct Entry {
    loader: BootLoader,
    /// How the facts of the host and `ready.sh` call it.
    key: &'static str,
    /// How people call it.
    name: &'static str,
    /// The option below `boot.loader` that has the `enable` of it.
    option: &'static str,
    /// Which machines it is for.
    machines: &'static str,
    /// The only firmware that starts it as it is set up; none if there are several.
    needs: fn(&DeclaredFirmware) -> Option<Firmware>,
    efi: fn(&DeclaredFirmware) -> Option<EfiProgram>,
    /// What to do where the target was not started by EFI firmware, and it takes that.
    without_efi: &'static str,
    /// What to do where the target was started by EFI firmware, and it takes another.
    with_efi: &'static str,
}

/// In the order in which they are looked for: of several that are switched on, the first counts.
const LOADERS: [Entry; 3] = [
    Entry {
        loader: BootLoader::Extlinux,
        key: "extlinux",
        name: "extlinux",
        option: "generic-extlinux-compatible",
        machines: "boards with U-Boot",
        needs: |_| Some(Firmware::UBoot),
        efi: |_| None,
        without_efi: "",
        with_efi: "use systemd-boot; or, if its U-Boot is to read extlinux.conf, accept this",
    },
    Entry {
        loader: BootLoader::SystemdBoot,
        key: "systemd-boot",
        name: "systemd-boot",
        option: "systemd-boot",
        machines: "EFI",
        needs: |_| Some(Firmware::Efi),
        efi: |declared| Some(EfiProgram { has_32_bits: false, is_registered: declared.variables }),
        without_efi: "switch its firmware to UEFI and boot the rescue system that way; or use GRUB or extlinux",
        with_efi: "",
    },
    Entry {
        loader: BootLoader::Grub,
        key: "grub",
        name: "GRUB",
        option: "grub",
        machines: "EFI or BIOS",
        needs: |declared| match (declared.efi, declared.bios) {
            (true, false) => Some(Firmware::Efi),
            (false, true) => Some(Firmware::Bios),
            _ => None,
        },
        efi: |declared| {
            let is_registered = declared.variables && !declared.removable;
            declared.efi.then_some(EfiProgram { has_32_bits: declared.ia32, is_registered })
        },
        without_efi: "switch its firmware to UEFI and boot the rescue system that way; or set boot.loader.grub.devices to \
                      the disks that BIOS starts from",
        with_efi: "set boot.loader.grub.efiSupport; or, if the firmware is to start it as a BIOS does, accept this",
    },
];

impl BootLoader {
    fn entry(self) -> &'static Entry {
        let [first, others @ ..] = &LOADERS;
        others.iter().find(|entry| entry.loader == self).unwrap_or(first)
    }

    /// How the facts of the host and `ready.sh` call it.
    pub(crate) fn key(self) -> &'static str {
        self.entry().key
    }

    /// How people call it.
    pub(crate) fn name(self) -> &'static str {
        self.entry().name
    }

    /// The only firmware that starts it as it is set up; none if there are several.
    pub(crate) fn needs(self, declared: &DeclaredFirmware) -> Option<Firmware> {
        (self.entry().needs)(declared)
    }

    /// What of it is a program for EFI firmware, as it is set up.
    pub(crate) fn efi(self, declared: &DeclaredFirmware) -> Option<EfiProgram> {
        (self.entry().efi)(declared)
    }

    /// What to do where the target was started by EFI firmware, or was not, and that does not fit.
    pub(crate) fn hint(self, target_has_efi: bool) -> &'static str {
        let entry = self.entry();
        if target_has_efi { entry.with_efi } else { entry.without_efi }
    }

    /// The names of all, for people.
    pub(crate) fn names() -> Vec<&'static str> {
        LOADERS.iter().map(|entry| entry.name).collect()
    }

    /// The options that switch them on, each with the machines it is for.
    pub(crate) fn options() -> Vec<String> {
        let option =
            |entry: &Entry| format!("boot.loader.{}.enable ({})", entry.option, entry.machines);
        LOADERS.iter().map(option).collect()
    }

    /// A list for Nix of what to look for.
    pub(super) fn nix_list() -> String {
        let entry = |entry: &Entry| {
            format!("{{ key = {}; option = {}; }}", quoted(entry.key), quoted(entry.option))
        };
        format!("[ {} ]", LOADERS.iter().map(entry).collect::<Vec<_>>().join(" "))
    }
}

impl Firmware {
    /// How people call it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Efi => "EFI",
            Self::Bios => "BIOS",
            Self::UBoot => "U-Boot",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_boot_loader_has_an_entry_and_is_read_by_its_key() {
        // The compiler leads here when one is added.
        for loader in [BootLoader::Extlinux, BootLoader::SystemdBoot, BootLoader::Grub] {
            match loader {
                BootLoader::Extlinux | BootLoader::SystemdBoot | BootLoader::Grub => {}
            }
            assert_eq!(loader.entry().loader, loader);
            let key = serde_json::Value::from(loader.key());
            assert_eq!(serde_json::from_value::<BootLoader>(key).unwrap(), loader);
        }
    }

    #[test]
    fn each_that_can_be_refused_has_a_hint() {
        let sets = [(false, false), (true, false), (false, true), (true, true)];
        for entry in &LOADERS {
            for (efi, bios) in sets {
                let declared = DeclaredFirmware { efi, bios, ..DeclaredFirmware::default() };
                let Some(needed) = entry.loader.needs(&declared) else { continue };
                assert!(!entry.loader.hint(needed != Firmware::Efi).is_empty(), "{}", entry.key);
            }
        }
    }
}
