//! What can be found in the layout as a whole: how its pools are made up, and what opens what is encrypted.

use crate::facts::{Device, HostFacts};
use crate::findings::Finding;
use crate::findings::catalogue as kind;

/// `disk_keys`: where in the installer keys will be.
pub(super) fn findings(host: &HostFacts, disk_keys: &[String]) -> Vec<Finding> {
    let mut found = Vec::new();
    topologies(host, &mut found);
    volatile_host_keys(host, &mut found);
    let Some(layout) = &host.layout else { return found };
    for device in layout.iter() {
        key(host, device, disk_keys, &mut found);
    }
    found
}

/// What a pool is made of is at least what `zpool create` takes (zpoolconcepts(7)): raidz one member more than its parity.
fn topologies(host: &HostFacts, found: &mut Vec<Finding>) {
    for (name, pool) in host.pools.iter().flatten() {
        let Some(mode) = pool.mode.as_deref() else { continue };
        let members = host.members_of(name);
        let needed = match mode {
            "mirror" | "raidz" | "raidz1" => 2,
            "raidz2" => 3,
            "raidz3" => 4,
            _ => 1,
        };
        let words = if mode.is_empty() { "a stripe" } else { mode };
        if members < needed {
            found.push(kind::HOST_TOPOLOGY.seen(
                format!("the pool '{name}' is {words} over {members} disks"),
                format!("{words} needs {needed} disks or more: a mirror and raidz1 need 2, raidz2 3, raidz3 4"),
            ));
        } else if mode.is_empty() && members > 1 {
            found.push(kind::HOST_NO_REDUNDANCY.seen(
                format!("the pool '{name}' is striped over {members} disks"),
                "set its mode: mirror, raidz1 (one disk may fail) or raidz2 (two may)",
            ));
        }
    }
}

/// Whether what is encrypted can be made without anybody there to type, and what its boots will want.
fn key(host: &HostFacts, device: &Device, disk_keys: &[String], found: &mut Vec<Finding>) {
    let Some(key) = &device.key else { return };
    let what = device.words();
    // The pools that are kept, and their datasets, have findings of their own.
    let pool = device.name.split('/').next().unwrap_or_default();
    let is_kept = device.is_of_a_pool() && host.kept.pools.iter().any(|kept| kept == pool);
    if key.is_asked_for && !is_kept {
        let path = format!("/tmp/{}.key", device.name.replace('/', "-"));
        let option = match device.kind.as_str() {
            "luks" => format!("passwordFile = \"{path}\""),
            _ => format!("keylocation = \"file://{path}\""),
        };
        found.push(kind::DISK_KEY_ASKED.seen(
            format!("the passphrase of {what} is asked for while the disks are laid out"),
            format!("set {option} in the layout, and give --disk-encryption-keys {path} FILE"),
        ));
    }
    let is_there = |path: &str| {
        // A key on a stick, and one that is in the store (and can be read by everybody) come by themselves.
        path.starts_with("/dev/")
            || path.starts_with("/nix/store/")
            || disk_keys.iter().any(|key| key == path)
    };
    for path in key.files.iter().filter(|path| !is_kept && !is_there(path)) {
        found.push(kind::DISK_KEY_MISSING.seen(
            format!("the key of {what} is read from {path}, which is not supplied"),
            format!("give --disk-encryption-keys {path} FILE"),
        ));
    }
    if key.is_asked_for_at_boot {
        found.push(kind::HOST_UNLOCK.seen(
            format!("the passphrase of {what} has to be typed at each boot"),
            "be at the machine's console when it restarts, or unlock it over the network where the configuration allows that",
        ));
    }
}

/// Host keys that the next boot loses.
fn volatile_host_keys(host: &HostFacts, found: &mut Vec<Finding>) {
    let declared = host.host_keys.clone().unwrap_or_default();
    let usual = host.host_key(None).filter(|_| declared.is_empty());
    for key in declared.iter().chain(&usual) {
        let Some(point) = host.mount_of(&key.path) else { continue };
        let system = host.file_systems.as_ref().and_then(|systems| systems.get(point));
        if system.is_some_and(|system| matches!(system.fs_type.as_str(), "tmpfs" | "ramfs")) {
            found.push(kind::HOST_KEY_VOLATILE.seen(
                format!("the host key {} lies on {point}, which is in memory only", key.path),
                "let services.openssh.hostKeys name paths on a file system that stays: /persist/etc/ssh/ssh_host_ed25519_key",
            ));
        }
    }
}
