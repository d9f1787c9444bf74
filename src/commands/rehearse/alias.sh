# Gives virtio disks of the emulated board the paths that no QEMU device can have.
# Pairs of parameters: serial, path. By udev, so that partitions made later get their links too.
command -v udevadm >/dev/null 2>&1 || {
    echo "the rescue system has no udev, so disks cannot be given their names" >&2
    exit 1
}
rules=/run/udev/rules.d/70-landfall-rehearsal.rules
mkdir -p "${rules%/*}"
: >"$rules"
while [ "$#" -ge 2 ]; do
    link=${2#/dev/}
    cat >>"$rules" <<RULES
SUBSYSTEM=="block", ENV{DEVTYPE}=="disk", ATTR{serial}=="$1", SYMLINK+="$link"
SUBSYSTEM=="block", ENV{DEVTYPE}=="partition", ATTRS{serial}=="$1", SYMLINK+="$link-part%n"
RULES
    shift 2
done
udevadm control --reload
udevadm trigger --subsystem-match=block --action=change
udevadm settle --timeout=60
