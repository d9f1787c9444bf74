//! What can be found in the host alone.

use crate::facts::{
    BootLoader, DeclaredDisk, DeclaredLogins, HostFacts, TargetFacts, disk_driver, is_card,
};
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use crate::report::size;
use crate::secrets::Owner;
use std::collections::BTreeSet;

/// `target`: where it is known, what is to be written can be said more exactly.
pub(super) fn findings(host: &HostFacts, target: Option<&TargetFacts>) -> Vec<Finding> {
    let mut found = Vec::new();
    system(host, &mut found);
    layout(host, target, &mut found);
    if let Some(logins) = &host.logins {
        found.extend(no_login(logins));
    }
    secrets(host, &mut found);
    found
}

fn system(host: &HostFacts, found: &mut Vec<Finding>) {
    let name = &host.attribute;
    let failed = host.failed_assertions.as_deref().unwrap_or_default();
    for message in failed {
        found.push(kind::HOST_ASSERTION.seen(message.trim(), "fix the configuration"));
    }
    if host.toplevel.is_none() && failed.is_empty() {
        found.push(kind::HOST_NO_TOPLEVEL.seen(
            format!("'{name}' is not a NixOS configuration: it has no system.build.toplevel"),
            "name a host of nixosConfigurations",
        ));
        return;
    }
    for tree in &host.dirty {
        found.push(kind::HOST_DIRTY_TREE.seen(
            format!("{tree} has changes that are in no commit, and they are part of this"),
            "commit them, and run the same command again; or go on, and commit them afterwards",
        ));
    }
    for warning in host.warnings.iter().flatten() {
        found.push(kind::HOST_WARNING.seen(warning.trim(), "see the flake"));
    }
    if host.is_container == Some(true) {
        found.push(kind::HOST_CONTAINER.seen(
            format!("'{name}' is declared as a container"),
            "remove `boot.isContainer = true`, and declare boot loader, file systems and initrd modules",
        ));
    }
    // A container's are not asked for by NixOS either; they are reported all the same, since it is to be
    // installed.
    if host.boot_loader.is_none() {
        found.push(kind::HOST_NO_BOOT_LOADER.seen(
            format!("'{name}' enables no boot loader: {}", BootLoader::names().join(", ")),
            format!("set one of {}", BootLoader::options().join(", ")),
        ));
    }
    found.extend(unread_boot_loader(host));
    if host.zfs == Some(true) && host.host_id.as_deref().unwrap_or_default().is_empty() {
        found.push(kind::HOST_NO_HOST_ID.seen(
            format!("'{name}' uses ZFS, and networking.hostId is not set"),
            "set networking.hostId to eight hexadecimal digits of its own: head -c4 /dev/urandom | od -An -tx4",
        ));
    }
    disk_drivers(host, found);
    if let Some(others) = host.namesakes.as_ref().filter(|others| !others.is_empty()) {
        found.push(kind::HOST_NAMESAKE.seen(
            format!(
                "'{name}' and '{}' are both called {}",
                others.join("', '"),
                host.host_name.as_deref().unwrap_or_default()
            ),
            "give each its own networking.hostName",
        ));
    }
}

/// One that is there and that landfall does not know is not the same as none.
fn unread_boot_loader(host: &HostFacts) -> Option<Finding> {
    let loader = host.boot_loader.filter(|_| host.boot_directories().is_empty())?;
    let what = format!("'{}' is started by {}", host.attribute, loader.name());
    Some(kind::HOST_BOOT_LOADER_UNREAD.seen(
        what,
        format!(
            "see to it yourself that it fits the target's firmware and starts the system; landfall reads the configurations \
             of {}",
            BootLoader::names().join(", ")
        ),
    ))
}

/// The initrd must drive the disks, by modules where the kernel has no drivers built in.
fn disk_drivers(host: &HostFacts, found: &mut Vec<Finding>) {
    let Some(modules) = &host.initrd_modules else { return };
    let name = &host.attribute;
    let are_modules = disk_driver::drivers_are_modules(host.system.as_deref());
    if modules.is_empty() || are_modules && !disk_driver::drive_disks(modules) {
        let what = match &modules[..] {
            [] => format!("the initrd of '{name}' has no kernel modules"),
            _ => {
                format!("the initrd of '{name}' has kernel modules, and none of them drives a disk")
            }
        };
        found.push(kind::HOST_NO_INITRD_MODULES.seen(
            what,
            "list the drivers of its disks in boot.initrd.availableKernelModules, for example ahci and sd_mod, or nvme; or accept \
             this, if its kernel has them built in",
        ));
        return;
    }
    for (disk_name, disk) in host.disks.iter().flatten().filter(|_| are_modules) {
        if let Some(module) = disk_driver::missing(&disk.device, modules) {
            found.push(kind::HOST_DISK_DRIVER.seen(
                format!(
                    "the initrd of '{name}' has no driver for the disk '{disk_name}', {}",
                    disk.device
                ),
                format!("add {module} to boot.initrd.availableKernelModules"),
            ));
        }
    }
}

fn layout(host: &HostFacts, target: Option<&TargetFacts>, found: &mut Vec<Finding>) {
    let name = &host.attribute;
    if host.disko().is_none() {
        found.push(kind::HOST_NO_DISKO.seen(
            format!("'{name}' has no disko script, so its disks cannot be laid out"),
            "import disko's module and define disko.devices for this host",
        ));
        return;
    }
    if !host.has_disks() {
        found.push(kind::HOST_NO_DISKS.seen(
            format!("what disks the layout of '{name}' erases cannot be read"),
            "define disko.devices.disk for this host; its devices must evaluate to paths",
        ));
        return;
    }
    mount_points(host, found);
    let mut seen: Vec<&str> = Vec::new();
    for (disk_name, disk) in host.disks.iter().flatten() {
        if is_unstable(&disk.device) {
            found.push(kind::HOST_UNSTABLE_DISK.seen(
                format!("the layout of '{name}' names the disk '{disk_name}' {}", disk.device),
                stable_name(disk_name, disk, target).unwrap_or_else(|| {
                    "name it by /dev/disk/by-id/… or /dev/disk/by-path/… (`ls -l /dev/disk/by-id` on the machine)".to_owned()
                }),
            ));
        }
        if seen.contains(&disk.device.as_str()) {
            found.push(kind::HOST_SAME_DISK.seen(
                format!("the layout of '{name}' names {} twice", disk.device),
                "give each disk of disko.devices.disk its own device",
            ));
        }
        seen.push(&disk.device);
        found.extend(firmware_region(host, disk_name, disk));
    }
}

fn mount_points(host: &HostFacts, found: &mut Vec<Finding>) {
    let (Some(mounts), Some(systems)) = (&host.layout_mounts, &host.file_systems) else { return };
    let provides = |point: &str| mounts.iter().any(|mount| mount == point);
    if !provides("/") {
        let elsewhere = systems.get("/").and_then(|root| root.device.as_deref());
        found.push(kind::HOST_NO_ROOT.seen(
            format!(
                "the layout of '{}' mounts nothing on /{}",
                host.attribute,
                elsewhere.map(|device| format!("; it is {device}")).unwrap_or_default()
            ),
            "give a file system or dataset of disko.devices the mountpoint /",
        ));
    }
    let directories = host.boot_directories();
    let told = directories.iter().flat_map(|directory| {
        [Some(directory.path.as_str()), directory.esp.as_deref()].into_iter().flatten()
    });
    // Where the configuration does not say, and for other systems' boot loaders.
    let points: BTreeSet<&str> = ["/boot", "/boot/efi", "/efi"].into_iter().chain(told).collect();
    for point in points {
        if let Some(system) = systems.get(point).filter(|_| !provides(point)) {
            found.push(kind::HOST_BOOT_ELSEWHERE.seen(
                format!(
                    "{point} is {}, which the layout of '{}' does not make",
                    system.device.as_deref().unwrap_or(&system.fs_type),
                    host.attribute
                ),
                format!("give a partition of disko.devices the mountpoint {point}, or remove the file system"),
            ));
        }
    }
    // A directory of another FAT file system than the root's will do for some.
    let is_mounted = |esp: &str| {
        let above = std::path::Path::new(esp).ancestors().filter_map(|path| path.to_str());
        above.filter(|path| *path != "/").any(|path| systems.contains_key(path))
    };
    let esps: BTreeSet<&str> =
        directories.iter().filter_map(|directory| directory.esp.as_deref()).collect();
    for esp in esps.into_iter().filter(|esp| !is_mounted(esp)) {
        found.push(kind::HOST_NO_ESP.seen(
            format!(
                "the boot loader of '{}' looks for its EFI system partition at {esp}, where nothing is mounted",
                host.attribute
            ),
            format!(
                "give a partition of disko.devices (type EF00, vfat) the mountpoint {esp}; or set \
                 boot.loader.efi.efiSysMountPoint, or that of boot.loader.grub.mirroredBoots, to where it is mounted"
            ),
        ));
    }
}

/// The line for the configuration that names a disk of the target in a way that does not move: the disk that has the path
/// now, or the only one there is.
fn stable_name(
    name: &str,
    declared: &DeclaredDisk,
    target: Option<&TargetFacts>,
) -> Option<String> {
    let target = target?;
    let only = || target.disks.values().next().filter(|_| target.disks.len() == 1);
    let disk = target.disk(&declared.device).or_else(only)?;
    let path = target.stable_path(disk).or_else(|| disk.ports.first().cloned())?;
    // udev leaves nothing in these names that Nix would not take as it is.
    Some(format!(
        "if this is the disk, write disko.devices.disk.{name}.device = \"{path}\";\n{}",
        disk.label()
    ))
}

/// Names the kernel gives in the order it finds disks.
fn is_unstable(device: &str) -> bool {
    let Some(name) = device.strip_prefix("/dev/") else { return false };
    !name.contains('/')
        && ["sd", "hd", "vd", "xvd", "nvme", "mmcblk"].iter().any(|prefix| name.starts_with(prefix))
}

fn firmware_region(host: &HostFacts, name: &str, disk: &DeclaredDisk) -> Option<Finding> {
    let region = host.firmware_region()?;
    if !disk.destroy || !is_card(&disk.device, None) {
        return None;
    }
    // How large the card is, does not matter for where a partition begins that has a given start.
    let extents = disk.extents(None, 0).ok()?;
    let starts = disk.partitions.iter().zip(extents);
    let starts = starts.filter_map(|(partition, extent)| Some((extent.start?, partition)));
    let first = starts.min_by_key(|(start, _)| *start);
    let what = match first {
        Some((start, _)) if start >= region.end_bytes() => return None,
        Some((start, partition)) => {
            format!("partition '{}' of '{name}' begins at {}", partition.name, size(start))
        }
        None if disk.partitions.is_empty() => format!("'{name}' is written from its first sector"),
        None => return None,
    };
    Some(kind::HOST_FIRMWARE_REGION.seen(
        format!("{what} ({}), over the board's boot loader", disk.device),
        format!(
            "let the first partition start at {}M or later: start = \"32M\"; --erase-firmware gives the boot loader up",
            region.end
        ),
    ))
}

fn no_login(logins: &DeclaredLogins) -> Option<Finding> {
    if !logins.sshd {
        let why = "sshd is not enabled (services.openssh.enable)";
        return Some(kind::HOST_NO_LOGIN.seen(why, "set services.openssh.enable"));
    }
    let why = keeps_root_out(logins)?;
    let by_password = logins.password_authentication != Some(false);
    let with_password =
        logins.users_with_password.iter().filter(|name| by_password && *name != "root");
    let mut others: Vec<&str> =
        logins.users_with_keys.iter().chain(with_password).map(String::as_str).collect();
    others.dedup();
    let others = match &others[..] {
        [] => "no other user can either".to_owned(),
        others => format!("others can ({})", others.join(", ")),
    };
    Some(kind::HOST_NO_LOGIN.seen(
        format!("root cannot log in: {why}; {others}"),
        "set users.users.root.openssh.authorizedKeys.keys, and leave services.openssh.settings.PermitRootLogin at \
         prohibit-password; or accept this, if root's keys are supplied as a file, or if the system need not be seen running",
    ))
}

/// Why sshd will not let root in, if it will not.
fn keeps_root_out(logins: &DeclaredLogins) -> Option<String> {
    let permit = logins.permit_root_login.as_deref().unwrap_or("prohibit-password");
    if matches!(permit, "no" | "false" | "" | "forced-commands-only") {
        return Some(format!(
            "PermitRootLogin is '{}'",
            if permit.is_empty() { "no" } else { permit }
        ));
    }
    // Of USER@HOST, the host is where we will come from, which is unknown: it is taken to fit, or, in a ban, not to.
    let user_fits = |pattern: &String| fits(pattern.split('@').next().unwrap_or_default(), "root");
    let user_is_banned = |pattern: &String| !pattern.contains('@') && fits(pattern, "root");
    let in_group = |pattern: &String| logins.root_groups.iter().any(|group| fits(pattern, group));
    let lacks = |patterns: &Option<Vec<String>>, fits: &dyn Fn(&String) -> bool| {
        patterns.as_ref().is_some_and(|patterns| !patterns.is_empty() && !patterns.iter().any(fits))
    };
    let has = |patterns: &Option<Vec<String>>, fits: &dyn Fn(&String) -> bool| {
        patterns.iter().flatten().any(fits)
    };
    let rules = [
        (has(&logins.deny_users, &user_is_banned), "DenyUsers names it"),
        (lacks(&logins.allow_users, &user_fits), "AllowUsers does not name it"),
        (has(&logins.deny_groups, &in_group), "DenyGroups names one of its groups"),
        (lacks(&logins.allow_groups, &in_group), "AllowGroups names none of its groups"),
    ];
    if let Some((_, rule)) = rules.iter().find(|(applies, _)| *applies) {
        return Some((*rule).to_owned());
    }
    let by_key = logins.public_key_authentication != Some(false)
        && (logins.root_keys > 0 || logins.keys_from_elsewhere);
    let by_password = permit == "yes"
        && logins.password_authentication != Some(false)
        && logins.users_with_password.iter().any(|user| user == "root");
    if !by_key && !by_password {
        return Some(if logins.public_key_authentication == Some(false) {
            "PubkeyAuthentication is off".to_owned()
        } else {
            "it has neither an authorized key nor a password that sshd accepts".to_owned()
        });
    }
    let methods = logins.authentication_methods.as_deref().unwrap_or_default();
    let is_enough = |method: &String| match method.as_str() {
        "any" => true,
        "publickey" => by_key,
        "password" | "keyboard-interactive" => by_password,
        _ => false,
    };
    (!methods.is_empty() && !methods.iter().any(is_enough))
        .then(|| format!("AuthenticationMethods requires {}", methods.join(" or ")))
}

/// Whether a pattern of sshd_config(5) fits a name: `*` is any text, `?` any one character.
fn fits(pattern: &str, name: &str) -> bool {
    match pattern.split_at_checked(1) {
        None => pattern.is_empty() && name.is_empty(),
        Some(("*", rest)) => {
            fits(rest, name)
                || name.split_at_checked(1).is_some_and(|(_, name)| fits(pattern, name))
        }
        Some(("?", rest)) => name.split_at_checked(1).is_some_and(|(_, name)| fits(rest, name)),
        Some((letter, rest)) => name.strip_prefix(letter).is_some_and(|name| fits(rest, name)),
    }
}

/// Names of owners that the configuration does not declare.
pub(in crate::plan) fn owners(host: &HostFacts, owners: &[Owner]) -> Vec<Finding> {
    let mut unknown = Vec::new();
    for owner in owners {
        let names = [("user", &owner.user, &host.users), ("group", &owner.group, &host.groups)];
        for (what, name, declared) in names {
            let is_number = name.parse::<u64>().is_ok();
            let Some(declared) = declared.as_ref().filter(|_| !is_number) else { continue };
            if !declared.contains(name) {
                unknown.push(kind::HOST_FILE_OWNER.seen(
                    format!("'{}' declares no {what} '{name}'", host.attribute),
                    format!("declare users.{what}s.{name}, or give a number"),
                ));
            }
        }
    }
    unknown.dedup();
    unknown
}

fn secrets(host: &HostFacts, found: &mut Vec<Finding>) {
    for secret in host.secrets.iter().flatten() {
        let is_outside = !secret.symlink && !secret.path.starts_with("/run/");
        let is_open = secret.mode.chars().next_back().is_some_and(|others| others != '0');
        let what = match (is_outside, is_open) {
            (true, true) => "is decrypted outside of /run and may be read by everybody",
            (true, false) => "is decrypted outside of /run",
            (false, true) => "may be read by everybody",
            (false, false) => continue,
        };
        found.push(kind::HOST_OPEN_SECRET.seen(
            format!("the secret '{}' ({}, mode {}) {what}", secret.name, secret.path, secret.mode),
            "leave `symlink` at true and give it a mode that ends in 0",
        ));
    }
}
