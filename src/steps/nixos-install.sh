# Makes $1 the system that boots from the disks under /mnt, and proves that its profile names it.
# nixos-install enters the new root with this PATH, hence the directory that only exists there.
PATH="$PATH:/run/current-system/sw/bin"
export PATH
# It makes its temporary files there. Sticky, as every system has it.
[ -d /mnt/tmp ] || install -d -m 1777 /mnt/tmp
nixos-install --no-root-passwd --no-channel-copy --system "$1"
profiles=/mnt/nix/var/nix/profiles
installed=$(readlink "$profiles/$(readlink "$profiles/system")")
[ "$installed" = "$1" ] || {
    echo "nixos-install succeeded, but the system profile names ${installed:-nothing}" >&2
    exit 1
}
# A power cut from here on finds it on the disks.
sync
