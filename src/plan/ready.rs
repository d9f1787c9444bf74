//! What must be true of the installed system before the machine is restarted into it: what `ready.sh` is asked.
//! Only what the boot needs is asked for: what it can do without is no reason to stay in the installer.

use crate::facts::{BootDirectory, BootLoader, DeclaredFileSystem, HostFacts};

/// Mount options with which a boot continues without the file system.
const DISPENSABLE: [&str; 3] = ["nofail", "noauto", "x-systemd.automount"];
/// Mount options and types of what has no device of its own.
const WITHOUT_DEVICE: [&str; 6] = ["bind", "rbind", "none", "overlay", "tmpfs", "ramfs"];

/// What is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Readiness {
    /// Who will start it; none if no boot loader is known.
    pub(crate) boot_loader: Option<BootLoader>,
    /// The directories with its configuration, each of which must be whole.
    pub(crate) directories: Vec<BootDirectory>,
    /// The file systems without which it does not start; none if the configuration's are not known.
    pub(crate) file_systems: Option<Vec<NeededFileSystem>>,
    /// Codes of what may be found without keeping the machine in the installer.
    pub(crate) accepted: Vec<String>,
}

/// A file system without which the system does not start, or starts into its emergency mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NeededFileSystem {
    pub(crate) mount_point: String,
    /// What is mounted, in fstab's words; empty if it has no device of its own.
    pub(crate) device: String,
    /// `ext4`, `zfs` …
    pub(crate) fs_type: String,
    /// Whether it is a dataset of a pool that the layout does not make. The installer has no reason to import that.
    pub(crate) is_elsewhere: bool,
}

impl Readiness {
    /// `accept`: the codes that the user accepts, of whatever.
    pub(crate) fn of(host: &HostFacts, accept: &[String]) -> Self {
        let needed = |(point, system): (&String, &DeclaredFileSystem)| needed(host, point, system);
        Self {
            boot_loader: host.boot_loader,
            directories: host.boot_directories(),
            file_systems: host
                .file_systems
                .as_ref()
                .map(|systems| systems.iter().filter_map(needed).collect()),
            accepted: accept.iter().filter(|code| code.starts_with("ready-")).cloned().collect(),
        }
    }
}

fn needed(host: &HostFacts, point: &str, system: &DeclaredFileSystem) -> Option<NeededFileSystem> {
    let has = |option: &str| system.options.iter().any(|has| has == option);
    let is_in_initrd = system.is_needed_for_boot(point) || has("x-initrd.mount");
    let is_dispensable = DISPENSABLE.iter().any(|option| has(option)) || system.fs_type == "swap";
    if is_dispensable && !is_in_initrd {
        return None;
    }
    let has_no_device = WITHOUT_DEVICE.iter().any(|word| has(word) || system.fs_type == *word);
    let device = system.device.clone().filter(|_| !has_no_device).unwrap_or_default();
    let pool = device.split('/').next().unwrap_or_default();
    let is_of_layout = host.pools.as_ref().is_some_and(|pools| pools.contains_key(pool));
    let is_elsewhere = system.fs_type == "zfs" && !is_in_initrd && !is_of_layout;
    let (mount_point, fs_type) = (point.to_owned(), system.fs_type.clone());
    Some(NeededFileSystem { mount_point, device, fs_type, is_elsewhere })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn host(facts: Value) -> HostFacts {
        serde_json::from_value(facts).unwrap()
    }

    /// Mount points that are asked for, with the device that is looked for.
    fn asked(host: &HostFacts) -> Vec<(String, String, bool)> {
        let systems = Readiness::of(host, &[]).file_systems.unwrap();
        systems
            .into_iter()
            .map(|system| (system.mount_point, system.device, system.is_elsewhere))
            .collect()
    }

    #[test]
    fn what_the_boot_can_do_without_is_not_asked_for() {
        let system =
            |options: &[&str]| json!({ "device": "/dev/x", "fsType": "ext4", "options": options });
        let host = host(json!({ "fileSystems": {
                "/": system(&["nofail"]),
                "/var/log": system(&["noauto"]),
                "/early": system(&["nofail", "x-initrd.mount"]),
                "/usb": system(&["defaults", "nofail"]),
                "/manual": system(&["noauto"]),
                "/lazy": system(&["x-systemd.automount"]),
                "/srv": system(&["defaults"]),
                "/keys": { "device": "/dev/y", "fsType": "ext4", "options": ["nofail"], "neededForBoot": true },
                "/swap": { "device": "/dev/z", "fsType": "swap", "options": [] },
        } }));
        let points: Vec<_> = asked(&host).into_iter().map(|(point, ..)| point).collect();
        assert_eq!(points, ["/", "/early", "/keys", "/srv", "/var/log"]);
        assert_eq!(
            Readiness::of(&HostFacts { file_systems: None, ..host }, &[]).file_systems,
            None
        );
    }

    #[test]
    fn what_has_no_device_is_not_looked_for_and_a_pool_that_is_not_made_need_not_be_imported() {
        let host = host(json!({ "pools": { "tank": {} }, "fileSystems": {
                "/": { "device": "none", "fsType": "tmpfs" },
                "/bound": { "device": "/dev/shm/x", "fsType": "none", "options": ["bind"] },
                "/over": { "device": "overlay", "fsType": "overlay" },
                "/a": { "device": "tank/a", "fsType": "zfs" },
                "/b": { "device": "data/b", "fsType": "zfs" },
                "/nix": { "device": "data/nix", "fsType": "zfs" },
        } }));
        let expected = [
            ("/", "", false),
            ("/a", "tank/a", false),
            ("/b", "data/b", true),
            ("/bound", "", false),
            ("/nix", "data/nix", false),
            ("/over", "", false),
        ];
        let expected = expected
            .map(|(point, device, elsewhere)| (point.to_owned(), device.to_owned(), elsewhere));
        assert_eq!(asked(&host), expected);
    }

    #[test]
    fn a_boot_loader_is_looked_for_where_the_flake_says() {
        let places = json!({ "esp": "/esp", "xbootldr": "/xboot", "mirrors": [] });
        let host = host(json!({ "bootLoader": "systemd-boot", "bootPlaces": places }));
        let readiness = Readiness::of(&host, &["ready-root".into(), "disk-smart".into()]);
        assert_eq!(readiness.accepted, ["ready-root"]);
        assert_eq!(readiness.boot_loader, Some(BootLoader::SystemdBoot));
        let [BootDirectory { path, esp }] = &readiness.directories[..] else { panic!() };
        assert_eq!((path.as_str(), esp.as_deref()), ("/xboot", Some("/esp")));
        assert_eq!(Readiness::of(&HostFacts { boot_loader: None, ..host }, &[]).directories, []);
    }
}
