//! Boot loaders: how the flake switches one on, which firmware starts it, and where it keeps its files. A boot loader is
//! added here, and to `ready.sh`, which reads its entries before the restart.

use crate::nix::quoted;
use serde::Deserialize;

/// How the installed system is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum BootLoader {
    /// `extlinux.conf`, read by U-Boot.
    Extlinux,
    /// systemd-boot, an EFI program.
    SystemdBoot,
    /// GRUB, for EFI, BIOS, or both.
    Grub,
    /// Lanzaboote: systemd-boot with signed unified kernel images, for Secure Boot.
    Lanzaboote,
    /// Limine, for EFI, BIOS, or both.
    Limine,
    /// rEFInd, an EFI program.
    Refind,
    /// Whatever a hook of the configuration's installs (`boot.loader.external`).
    External,
    /// One that landfall does not know: the configuration installs something (`system.build.installBootLoader`).
    Other,
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
    /// Whether it is built for firmware of 32 bits on a machine of 64.
    pub(crate) has_32_bits: bool,
    /// Whether it is registered in the firmware's variables.
    pub(crate) is_registered: bool,
}

/// What the boot loader is set up for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(clippy::struct_excessive_bools, reason = "options of NixOS, one by one")]
pub struct DeclaredFirmware {
    /// Whether GRUB or Limine is installed for EFI (`efiSupport`).
    pub efi: bool,
    /// Whether GRUB or Limine is installed for BIOS: GRUB to a disk, in `boot.loader.grub.devices`; `biosSupport` of Limine.
    pub bios: bool,
    /// Whether it is put where firmware looks by itself (`efiInstallAsRemovable`).
    pub removable: bool,
    /// Whether GRUB is one for 32-bit EFI (`boot.loader.grub.forcei686`).
    pub ia32: bool,
    /// Whether the boot loader is registered in the firmware (`boot.loader.efi.canTouchEfiVariables`).
    pub variables: bool,
}

/// Where the boot loader is told to keep its files. Paths are those of the installed system.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredBootPlaces {
    /// `boot.loader.efi.efiSysMountPoint`.
    pub esp: Option<String>,
    /// `boot.loader.systemd-boot.xbootldrMountPoint`.
    pub xbootldr: Option<String>,
    /// `mirroredBoots` of GRUB or extlinux; `boot.lanzaboote.extraEfiSysMountPoints`.
    pub mirrors: Option<Vec<DeclaredMirror>>,
}

/// A copy of the boot loader.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct DeclaredMirror {
    /// Where its configuration and kernels lie.
    pub path: String,
    /// The ESP that its EFI program is installed on; without, that is `path`.
    pub esp: Option<String>,
}

/// A directory with a configuration of the boot loader that must be whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BootDirectory {
    /// Its path in the installed system.
    pub path: String,
    /// The ESP that holds the program which reads it; none if no EFI program does.
    pub esp: Option<String>,
}

impl BootDirectory {
    fn new(path: &str, esp: Option<&str>) -> Self {
        Self { path: path.to_owned(), esp: esp.map(str::to_owned) }
    }
}

impl DeclaredBootPlaces {
    /// The ESP; `/boot` is the default of NixOS.
    fn esp(&self) -> &str {
        self.esp.as_deref().unwrap_or(BOOT)
    }

    fn mirrors(&self) -> &[DeclaredMirror] {
        self.mirrors.as_deref().unwrap_or_default()
    }
}

const BOOT: &str = "/boot";

/// What is known of a boot loader.
struct Entry {
    loader: BootLoader,
    /// How the facts of the host and `ready.sh` call it.
    key: &'static str,
    /// How people call it.
    name: &'static str,
    /// The option below `boot` that has the `enable` of it; none for one that is found in another way.
    option: &'static [&'static str],
    /// Which machines it is for.
    machines: &'static str,
    /// The only firmware that starts it as it is set up; none if there are several, or if it is unknown.
    needs: fn(&DeclaredFirmware) -> Option<Firmware>,
    efi: fn(&DeclaredFirmware) -> Option<EfiProgram>,
    /// Where `ready.sh` finds its configuration; nowhere for one that landfall cannot read.
    directories: fn(&DeclaredFirmware, &DeclaredBootPlaces) -> Vec<BootDirectory>,
    /// What to do where the target was not started by EFI firmware, and it takes that.
    without_efi: &'static str,
    /// What to do where the target was started by EFI firmware, and it takes another.
    with_efi: &'static str,
}

const SWITCH_TO_UEFI: &str =
    "switch its firmware to UEFI and boot the rescue system that way; or use GRUB or extlinux";

/// In the order in which they are looked for: of several that are switched on, the first counts.
const LOADERS: [Entry; 8] = [
    Entry {
        loader: BootLoader::Extlinux,
        key: "extlinux",
        name: "extlinux",
        option: &["loader", "generic-extlinux-compatible"],
        machines: "boards with U-Boot",
        needs: |_| Some(Firmware::UBoot),
        efi: |_| None,
        directories: |_, places| match places.mirrors() {
            [] => vec![BootDirectory::new(BOOT, None)],
            mirrors => mirrors.iter().map(|copy| BootDirectory::new(&copy.path, None)).collect(),
        },
        without_efi: "",
        with_efi: "use systemd-boot; or, if its U-Boot is to read extlinux.conf, accept this",
    },
    // It stands in for systemd-boot, and is installed by the hook of `boot.loader.external`.
    Entry {
        loader: BootLoader::Lanzaboote,
        key: "lanzaboote",
        name: "Lanzaboote",
        option: &["lanzaboote"],
        machines: "EFI with Secure Boot",
        needs: |_| Some(Firmware::Efi),
        efi: |_| Some(EfiProgram { has_32_bits: false, is_registered: false }),
        directories: |_, places| {
            let others = places.mirrors().iter().map(|copy| copy.path.as_str());
            let all = std::iter::once(places.esp()).chain(others);
            all.map(|esp| BootDirectory::new(esp, Some(esp))).collect()
        },
        without_efi: SWITCH_TO_UEFI,
        with_efi: "",
    },
    Entry {
        loader: BootLoader::SystemdBoot,
        key: "systemd-boot",
        name: "systemd-boot",
        option: &["loader", "systemd-boot"],
        machines: "EFI",
        needs: |_| Some(Firmware::Efi),
        efi: |declared| Some(EfiProgram { has_32_bits: false, is_registered: declared.variables }),
        directories: |_, places| {
            let entries = places.xbootldr.as_deref().unwrap_or(places.esp());
            vec![BootDirectory::new(entries, Some(places.esp()))]
        },
        without_efi: SWITCH_TO_UEFI,
        with_efi: "",
    },
    Entry {
        loader: BootLoader::Grub,
        key: "grub",
        name: "GRUB",
        option: &["loader", "grub"],
        machines: "EFI or BIOS",
        needs: efi_or_bios,
        efi: |declared| {
            let is_registered = declared.variables && !declared.removable;
            declared.efi.then_some(EfiProgram { has_32_bits: declared.ia32, is_registered })
        },
        directories: |declared, places| {
            let on = |path: &str, esp: &str| BootDirectory::new(path, declared.efi.then_some(esp));
            match places.mirrors() {
                [] => vec![on(BOOT, places.esp())],
                mirrors => mirrors
                    .iter()
                    .map(|copy| on(&copy.path, copy.esp.as_deref().unwrap_or(&copy.path)))
                    .collect(),
            }
        },
        without_efi: "switch its firmware to UEFI and boot the rescue system that way; or set boot.loader.grub.devices to \
                      the disks that BIOS starts from",
        with_efi: "set boot.loader.grub.efiSupport; or, if the firmware is to start it as a BIOS does, accept this",
    },
    Entry {
        loader: BootLoader::Limine,
        key: "limine",
        name: "Limine",
        option: &["loader", "limine"],
        machines: "EFI or BIOS",
        needs: efi_or_bios,
        efi: |declared| {
            let is_registered = declared.variables && !declared.removable;
            declared.efi.then_some(EfiProgram { has_32_bits: false, is_registered })
        },
        directories: |declared, places| {
            let esp = declared.efi.then_some(places.esp());
            vec![BootDirectory::new(esp.unwrap_or(BOOT), esp)]
        },
        without_efi: "switch its firmware to UEFI and boot the rescue system that way; or set boot.loader.limine.biosSupport",
        with_efi: "set boot.loader.limine.efiSupport; or, if the firmware is to start it as a BIOS does, accept this",
    },
    Entry {
        loader: BootLoader::Refind,
        key: "refind",
        name: "rEFInd",
        option: &["loader", "refind"],
        machines: "EFI",
        needs: |_| Some(Firmware::Efi),
        efi: |declared| {
            let is_registered = declared.variables && !declared.removable;
            Some(EfiProgram { has_32_bits: false, is_registered })
        },
        directories: |_, places| vec![BootDirectory::new(places.esp(), Some(places.esp()))],
        without_efi: SWITCH_TO_UEFI,
        with_efi: "",
    },
    Entry {
        loader: BootLoader::External,
        key: "external",
        name: "an external boot loader (boot.loader.external)",
        option: &["loader", "external"],
        machines: "whatever its hook is for",
        needs: |_| None,
        efi: |_| None,
        directories: |_, _| Vec::new(),
        without_efi: "",
        with_efi: "",
    },
    Entry {
        loader: BootLoader::Other,
        key: "other",
        name: "a boot loader that landfall does not know (system.build.installBootLoader)",
        option: &[],
        machines: "",
        needs: |_| None,
        efi: |_| None,
        directories: |_, _| Vec::new(),
        without_efi: "",
        with_efi: "",
    },
];

/// GRUB and Limine may be installed for both.
fn efi_or_bios(declared: &DeclaredFirmware) -> Option<Firmware> {
    match (declared.efi, declared.bios) {
        (true, false) => Some(Firmware::Efi),
        (false, true) => Some(Firmware::Bios),
        _ => None,
    }
}

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

    /// The only firmware that starts it as it is set up; none if there are several, or if it is unknown.
    pub(crate) fn needs(self, declared: &DeclaredFirmware) -> Option<Firmware> {
        (self.entry().needs)(declared)
    }

    /// What of it is a program for EFI firmware, as it is set up.
    pub(crate) fn efi(self, declared: &DeclaredFirmware) -> Option<EfiProgram> {
        (self.entry().efi)(declared)
    }

    /// The directories with its configuration, each of which must be whole; none if landfall cannot read it.
    pub(crate) fn directories(
        self,
        declared: &DeclaredFirmware,
        places: &DeclaredBootPlaces,
    ) -> Vec<BootDirectory> {
        (self.entry().directories)(declared, places)
    }

    /// What to do where the target was started by EFI firmware, or was not, and that does not fit.
    pub(crate) fn hint(self, target_has_efi: bool) -> &'static str {
        let entry = self.entry();
        if target_has_efi { entry.with_efi } else { entry.without_efi }
    }

    /// Those that landfall can read.
    fn readable() -> impl Iterator<Item = &'static Entry> {
        let is_unknown = |entry: &Entry| matches!(entry.loader, Self::External | Self::Other);
        LOADERS.iter().filter(move |entry| !is_unknown(entry))
    }

    /// The names of those that landfall can read, for people.
    pub(crate) fn names() -> Vec<&'static str> {
        Self::readable().map(|entry| entry.name).collect()
    }

    /// The options that switch them on, each with the machines it is for.
    pub(crate) fn options() -> Vec<String> {
        let option =
            |entry: &Entry| format!("boot.{}.enable ({})", entry.option.join("."), entry.machines);
        Self::readable().map(option).collect()
    }

    /// A list for Nix of what to look for.
    pub(super) fn nix_list() -> String {
        let entry = |entry: &Entry| {
            let option: Vec<_> = entry.option.iter().map(|name| quoted(name)).collect();
            format!("{{ key = {}; option = [ {} ]; }}", quoted(entry.key), option.join(" "))
        };
        let with_option = LOADERS.iter().filter(|entry| !entry.option.is_empty());
        format!("[ {} ]", with_option.map(entry).collect::<Vec<_>>().join(" "))
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

    const ALL: [BootLoader; 8] = [
        BootLoader::Extlinux,
        BootLoader::SystemdBoot,
        BootLoader::Grub,
        BootLoader::Lanzaboote,
        BootLoader::Limine,
        BootLoader::Refind,
        BootLoader::External,
        BootLoader::Other,
    ];

    #[test]
    fn each_boot_loader_has_an_entry_and_is_read_by_its_key() {
        for loader in ALL {
            // The compiler leads here when one is added.
            match loader {
                BootLoader::Extlinux
                | BootLoader::SystemdBoot
                | BootLoader::Grub
                | BootLoader::Lanzaboote
                | BootLoader::Limine
                | BootLoader::Refind
                | BootLoader::External
                | BootLoader::Other => {}
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

    #[test]
    fn each_directory_is_where_the_options_put_it() {
        let efi = DeclaredFirmware { efi: true, ..DeclaredFirmware::default() };
        let bios = DeclaredFirmware { bios: true, ..DeclaredFirmware::default() };
        let copy = |path: &str, esp: Option<&str>| DeclaredMirror {
            path: path.to_owned(),
            esp: esp.map(str::to_owned),
        };
        let usual = DeclaredBootPlaces::default();
        let esp = DeclaredBootPlaces { esp: Some("/esp".to_owned()), ..usual.clone() };
        let xbootldr = DeclaredBootPlaces { xbootldr: Some("/xboot".to_owned()), ..esp.clone() };
        let mirrors = vec![copy("/boot1", None), copy("/boot2", Some("/efi2"))];
        let mirrored = DeclaredBootPlaces { mirrors: Some(mirrors), ..esp.clone() };
        for (loader, declared, places, expected) in [
            (BootLoader::Extlinux, &efi, &esp, &[("/boot", "")][..]),
            (BootLoader::Extlinux, &efi, &mirrored, &[("/boot1", ""), ("/boot2", "")]),
            (BootLoader::SystemdBoot, &bios, &usual, &[("/boot", "/boot")]),
            (BootLoader::SystemdBoot, &bios, &esp, &[("/esp", "/esp")]),
            (BootLoader::SystemdBoot, &bios, &xbootldr, &[("/xboot", "/esp")]),
            (BootLoader::Grub, &bios, &esp, &[("/boot", "")]),
            (BootLoader::Grub, &efi, &esp, &[("/boot", "/esp")]),
            (BootLoader::Grub, &bios, &mirrored, &[("/boot1", ""), ("/boot2", "")]),
            (BootLoader::Grub, &efi, &mirrored, &[("/boot1", "/boot1"), ("/boot2", "/efi2")]),
            (
                BootLoader::Lanzaboote,
                &bios,
                &mirrored,
                &[("/esp", "/esp"), ("/boot1", "/boot1"), ("/boot2", "/boot2")],
            ),
            (BootLoader::Limine, &efi, &esp, &[("/esp", "/esp")]),
            (BootLoader::Limine, &bios, &esp, &[("/boot", "")]),
            (BootLoader::Refind, &bios, &esp, &[("/esp", "/esp")]),
            (BootLoader::External, &efi, &mirrored, &[]),
            (BootLoader::Other, &efi, &mirrored, &[]),
        ] {
            let named = |&(path, esp): &(&str, &str)| {
                BootDirectory::new(path, Some(esp).filter(|esp| !esp.is_empty()))
            };
            let expected: Vec<_> = expected.iter().map(named).collect();
            assert_eq!(loader.directories(declared, places), expected, "{loader:?} {places:?}");
        }
    }
}
