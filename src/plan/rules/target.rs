//! What can be found in the target, apart from its disks.

use crate::facts::{EfiProgram, Firmware, HostFacts, Link, LinkKind, TargetFacts};
use crate::findings::Finding;
use crate::findings::catalogue as kind;
use crate::machine::{Elevation, Image};
use crate::report::size;

pub(super) fn findings(host: &HostFacts, target: &TargetFacts) -> Vec<Finding> {
    let mut found = Vec::new();
    if target.kernel != "Linux" {
        let runs = if target.kernel.is_empty() { "an unknown system" } else { &target.kernel };
        found.push(kind::TARGET_NOT_LINUX.seen(
            format!("the target runs {runs}"),
            "start a Linux rescue system, or the installer itself, on it",
        ));
        return found;
    }
    if let Some(system) = &host.system
        && *system != target.system()
    {
        let is = target.system();
        found.push(kind::TARGET_ARCHITECTURE.seen(
            format!("'{}' is built for {system}, the target is {is}", host.attribute),
            "this is not the machine that the flake describes: check HOST and TARGET",
        ));
    }
    if target.elevation.is_none() {
        found.push(kind::TARGET_NO_ROOT.seen(
            format!(
                "the login user is not root, and neither `sudo -n` nor `doas -n` runs a shell{}",
                target.sudo_says()
            ),
            "log in as root, or allow the user every command by sudo, without a password and a terminal",
        ));
    }
    found.extend(firmware(host, target));
    found.extend(device_tree(host, target));
    found.extend(arc(host, target));
    circumstances(target, &mut found);
    if target.is_installer() {
        installer(target, &mut found);
    }
    found
}

fn installer(target: &TargetFacts, found: &mut Vec<Finding>) {
    if matches!(target.elevation, Some(Elevation::Sudo | Elevation::Doas)) {
        found.push(kind::INSTALLER_NOT_ROOT.seen(
            "the target runs an installer, and the login user is not root",
            "give root the keys, with `sudo mkdir -p /root/.ssh; sudo cp ~/.ssh/authorized_keys \
             /root/.ssh/` on the target, and log in as root",
        ));
    }
    for tool in ["nix", "nixos-install"] {
        if !target.tools.contains(tool) {
            found.push(kind::TARGET_TOOL.seen(
                format!("the target calls itself an installer, but has no `{tool}`"),
                "boot an installer of NixOS, or a rescue system and give --kexec",
            ));
        }
    }
}

fn firmware(host: &HostFacts, target: &TargetFacts) -> Option<Finding> {
    let loader = host.boot_loader?;
    let declared = host.firmware.clone().unwrap_or_default();
    let needed = loader.needs(&declared);
    let fits = match needed {
        None => true,
        Some(Firmware::Efi) => target.efi,
        Some(Firmware::Bios) => !target.efi,
        // U-Boot can start a rescue system as EFI firmware does.
        Some(Firmware::UBoot) => !target.efi || target.is_board(),
    };
    if let Some(needed) = needed.filter(|_| !fits) {
        let (name, firmware) = (loader.name(), needed.name());
        let not = if target.efi { "" } else { "not " };
        return Some(kind::FIRMWARE_MISMATCH.seen(
            format!(
                "the host's {name} is for {firmware} only, and the target was {not}started by EFI firmware"
            ),
            loader.hint(target.efi),
        ));
    }
    let program = loader.efi(&declared).filter(|_| target.efi)?;
    efi(program, host, target)
}

/// What keeps a boot loader for EFI from the firmware that is there.
fn efi(program: EfiProgram, host: &HostFacts, target: &TargetFacts) -> Option<Finding> {
    let is_pc = host.system.as_deref() == Some("x86_64-linux");
    match target.efi_bits {
        Some(32) if is_pc && !program.has_32_bits => {
            return Some(kind::FIRMWARE_BITS.seen(
                "the target's EFI firmware has 32 bits, and the host's boot loader 64",
                "use GRUB, with boot.loader.grub.efiSupport and boot.loader.grub.forcei686",
            ));
        }
        Some(64) if program.has_32_bits => {
            return Some(kind::FIRMWARE_BITS.seen(
                "the target's EFI firmware has 64 bits, and the host's boot loader 32",
                "turn boot.loader.grub.forcei686 off",
            ));
        }
        _ => {}
    }
    (program.is_registered && target.efi_variables == Some(false)).then(|| {
        kind::FIRMWARE_VARIABLES.seen(
            "the boot loader is to be registered in the firmware (boot.loader.efi.canTouchEfiVariables), and the target has \
             no /sys/firmware/efi/efivars",
            "boot a rescue system whose kernel has EFI runtime services; or turn canTouchEfiVariables off, and with GRUB set \
             boot.loader.grub.efiInstallAsRemovable",
        )
    })
}

/// The board in the name of a device tree (`rockchip/rk3399-kobol-helios64.dtb`) against what the machine says of
/// itself (`kobol,helios64`). Where either says nothing, nothing is found.
fn device_tree(host: &HostFacts, target: &TargetFacts) -> Option<Finding> {
    let tree = host.device_tree.as_deref()?;
    let stem = tree.rsplit('/').next()?.trim_end_matches(".dtb");
    let boards: Vec<_> = target.board.iter().filter_map(|entry| entry.split_once(',')).collect();
    // The last entries name the chip (`rockchip,rk3399`), the first the board. An emulated board names none.
    let (_, board) = boards.first()?;
    let names_this = boards.iter().any(|(_, name)| stem.ends_with(name));
    if names_this || boards.len() < 2 {
        return None;
    }
    Some(kind::DEVICE_TREE_OTHER_BOARD.seen(
        format!("the host's device tree is {tree}, the board that answers is {board}"),
        "check HOST and TARGET; or set hardware.deviceTree.name to that board's",
    ))
}

/// Below this, what ZFS leaves to others is not much.
const SMALL: u64 = 8 << 30;

fn arc(host: &HostFacts, target: &TargetFacts) -> Option<Finding> {
    let memory = target.memory.filter(|memory| *memory < SMALL)?;
    let is_capped = |text: &str| text.contains("zfs_arc_max=");
    let capped = host.kernel_params.iter().flatten().any(|word| is_capped(word))
        || host.modprobe_config.as_deref().is_some_and(is_capped);
    if host.zfs != Some(true) || capped {
        return None;
    }
    Some(kind::ARC_UNCAPPED.seen(
        format!("the target has {} of memory, and nothing limits ZFS's cache", size(memory)),
        "set boot.kernelParams = [ \"zfs.zfs_arc_max=1073741824\" ] (1 GiB)",
    ))
}

/// Seconds a clock may be off before it is reported.
const DAY: i64 = 86_400;

fn circumstances(target: &TargetFacts, found: &mut Vec<Finding>) {
    if let Some(ahead) = target.clock_ahead.filter(|ahead| ahead.abs() > DAY) {
        let (days, way) = (ahead.abs() / DAY, if ahead > 0 { "ahead" } else { "behind" });
        found.push(kind::TARGET_CLOCK.seen(
            format!("the target's clock is {days} days {way}"),
            "set it: `date -s @SECONDS` there, with what `date +%s` prints here; a board without a battery takes the time from the network",
        ));
    }
    if target.on_battery == Some(true) {
        found.push(
            kind::TARGET_BATTERY.seen("the target says that it runs on battery", "plug it in"),
        );
    }
    let Some(link) = &target.link else { return };
    let slow = link.speed.filter(|speed| *speed < 1000);
    if slow.is_some() || link.full_duplex == Some(false) {
        let speed = slow.map(|speed| format!(" at {speed} Mbit/s")).unwrap_or_default();
        let duplex = if link.full_duplex == Some(false) { ", half duplex" } else { "" };
        found.push(
            kind::TARGET_LINK
                .seen(format!("{} runs{speed}{duplex}", link.name), "try another cable or port"),
        );
    }
    if let Some(port) = target.faulty_port(link) {
        found.push(
            kind::TARGET_PORT_2500.seen(
                format!("the target is reached over {}, {}", link.name, port.what),
                port.hint,
            ),
        );
    }
}

/// What keeps the target from being taken into the installer by kexec.
pub(super) fn kexec(
    target: &TargetFacts,
    image: Option<&Image>,
    has_named_image: bool,
) -> Vec<Finding> {
    let mut found = Vec::new();
    let cpu = &target.machine;
    if image.is_none() && !has_named_image {
        found.push(kind::KEXEC_NO_IMAGE.seen(
            format!(
                "the target runs {}, not an installer, and no kexec image was given",
                target.os
            ),
            format!(
                "give one with --kexec FILE|URL, for example --kexec \
                 https://github.com/nix-community/nixos-images/releases/download/nixos-25.11/\
                 nixos-kexec-installer-noninteractive-{cpu}-linux.tar.gz\n\
                 or boot the target into an installer yourself"
            ),
        ));
        return found;
    }
    kernel(target, &mut found);
    found.extend(board(target));
    found.extend(network(target));
    tools(target, image, &mut found);
    found.extend(key(target));
    found.extend(image.into_iter().flat_map(|image| of_the_image(target, image)));
    found
}

fn tools(target: &TargetFacts, image: Option<&Image>, found: &mut Vec<Finding>) {
    let program = image.and_then(|image| image.compression.program());
    let needed = ["tar", "cpio", "gzip"].into_iter().chain(program);
    let mut missing: Vec<_> = needed.filter(|tool| !target.tools.contains(*tool)).collect();
    missing.dedup();
    if !missing.is_empty() {
        found.push(kind::TARGET_TOOL.seen(
            format!("the target lacks {}, which kexec needs", missing.join(", ")),
            "install them on it, or boot another rescue system",
        ));
    }
}

/// Whether the image is for the target, fits into it, and can be unpacked somewhere.
fn of_the_image(target: &TargetFacts, image: &Image) -> Vec<Finding> {
    let mut found = Vec::new();
    let own = target.system();
    let is_own = |processor: &&str| own.split('-').next() == Some(*processor);
    if let Some(other) = image.processors.iter().find(|processor| !is_own(processor)) {
        found.push(kind::KEXEC_IMAGE_ARCHITECTURE.seen(
            format!("the kexec image is for {other}, the target is {own}"),
            "give the image for the target's architecture with --kexec",
        ));
    }
    if target.image_place(image.size).is_none() {
        let places = target.places.iter().map(|place| match place.why_not.as_str() {
            "" => format!("{} has {} free", place.path, size(place.free)),
            why => format!("{} is {why}", place.path),
        });
        let places: Vec<String> = places.collect();
        found.push(kind::KEXEC_NO_PLACE.seen(
            format!(
                "there is no place for the kexec image ({}): {}",
                size(image.size),
                places.join(", ")
            ),
            "make room in one of them, or mount a tmpfs there",
        ));
    }
    found.extend(memory(target, image, 0));
    found
}

fn key(target: &TargetFacts) -> Option<Finding> {
    let offered = target.offered.as_ref()?;
    if !offered.is_disjoint(&target.handed_over) {
        return None;
    }
    let of_whom = match target.handed_over.len() {
        0 => "and it would have none".to_owned(),
        1 => "only one other".to_owned(),
        others => format!("only {others} others"),
    };
    Some(kind::KEXEC_NO_KEY.seen(
        format!("the installer would accept none of the keys you log in with, {of_whom}"),
        "add your key to root's on the target (`ssh-copy-id` for root, or append it to /root/.ssh/authorized_keys there); or, if \
         the image has it, accept this",
    ))
}

/// Beside kernel and initrd, which are there twice for a moment (loaded and unpacked) and then once
/// more as the running system: the least a kernel and sshd work with.
const BARE_SYSTEM: u64 = 256 << 20;

/// What the installer needs beside the image is `more`, as far as it is known.
pub(super) fn memory(target: &TargetFacts, image: &Image, more: u64) -> Option<Finding> {
    let need = BARE_SYSTEM + 3 * image.size + more;
    let memory = target.memory.filter(|memory| *memory < need)?;
    let what = format!(
        "the target has {} of memory; the installer needs about {}: three times the image, {} for the disko \
         script, {} for itself",
        size(memory),
        size(need),
        size(more),
        size(BARE_SYSTEM)
    );
    Some(
        kind::TARGET_MEMORY
            .seen(what, "use a smaller image, or boot the installer from SD card or USB"),
    )
}

fn kernel(target: &TargetFacts, found: &mut Vec<Finding>) {
    const BOOT: &str = "boot the target into an installer from SD card, USB or network yourself";
    if !target.container.is_empty() {
        let what = format!("the target is a {} container", target.container);
        found.push(kind::KEXEC_CONTAINER.seen(what, "install on the machine it runs on"));
    }
    if target.kexec_disabled {
        found.push(kind::KEXEC_DISABLED.seen(
            "kexec is disabled on the target until its next boot (kernel.kexec_load_disabled)",
            "boot a rescue system without it, or the installer itself",
        ));
    }
    if target.kexec_built == Some(false) {
        let what = "the target's kernel has neither CONFIG_KEXEC nor CONFIG_KEXEC_FILE";
        found.push(kind::KEXEC_NOT_BUILT.seen(what, BOOT));
    }
    let locked = !matches!(target.lockdown.as_str(), "" | "none");
    if locked || target.secure_boot {
        let what = match (locked, target.secure_boot) {
            (true, true) => {
                format!("Secure Boot is on, and the kernel locked down ({})", target.lockdown)
            }
            (true, false) => format!("the target's kernel is locked down ({})", target.lockdown),
            _ => "Secure Boot is on".to_owned(),
        };
        found.push(
            kind::KEXEC_LOCKED_DOWN.seen(what, "turn Secure Boot off in the firmware's setup"),
        );
    }
    if target.hypervisor == "xen" {
        found.push(kind::KEXEC_HYPERVISOR.seen("the target is a guest of Xen", BOOT));
    }
}

fn board(target: &TargetFacts) -> Option<Finding> {
    if !target.kexec_fails() {
        return None;
    }
    let name = target.board.first().map_or("", String::as_str);
    Some(kind::KEXEC_BOARD.seen(
        format!("the target is a {name}"),
        "boot an installer from SD card or USB instead, without --kexec",
    ))
}

fn network(target: &TargetFacts) -> Option<Finding> {
    let link = target.link.as_ref();
    let what = match link.map(|link| link.kind) {
        Some(LinkKind::Bond) => "a bond",
        Some(LinkKind::Vlan) => "a VLAN",
        Some(LinkKind::Bridge) => "a bridge",
        Some(LinkKind::Wireless) => "Wi-Fi",
        Some(LinkKind::Tunnel) => "a tunnel",
        Some(LinkKind::Ethernet | LinkKind::Unknown) | None => "",
    };
    let said = match (what, target.policy_routes) {
        ("", false) => return None,
        ("", true) => "the target has policy routes (`ip rule`)".to_owned(),
        (what, _) => {
            format!(
                "the target is reached over {what}, {}",
                link.map_or("", |link: &Link| &link.name)
            )
        }
    };
    Some(kind::KEXEC_NETWORK.seen(
        said,
        "reach it over a plain network card with an address of its own, or boot an installer yourself",
    ))
}
