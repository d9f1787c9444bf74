# make DISK DISK DISK: an old pool called rust on partitions of the first two, and another one of that name on the third.
# unmake DISK: nothing is left of it.
PATH="$PATH:/run/current-system/sw/bin"
what=$1
shift
# part DISK: the name of its first partition.
part() { echo "$(readlink -f "$1")1"; }
settle() { udevadm settle --timeout=120; }
case $what in
    make)
        modprobe zfs
        for disk; do
            sgdisk --zap-all "$disk"
            sgdisk --new=1:1M:+512M --typecode=1:BF01 "$disk"
            settle
        done
        zpool create -f -m none -o cachefile=none rust mirror "$(part "$1")" "$(part "$2")"
        zpool export rust
        settle
        zpool create -f -m none -o cachefile=none rust "$(part "$3")"
        zfs create -o mountpoint=none rust/photos
        zpool export rust
        settle
        sync
        ;;
    unmake)
        zpool labelclear -f "$(part "$1")"
        wipefs --quiet --all --force "$(part "$1")" "$1"
        settle
        ;;
esac
