# Wipes the disks that were agreed on and has disko lay them out, around what is kept. The arguments are verbs with their words,
# done in the order given:
#
#   import NAME GUID HOW    imports the pool with that GUID, which must have that name; HOW: `gently`, or `force`
#                           for one that another machine has not exported
#   unlock DATASET KEY      loads the key of an encrypted dataset from where it was put: file:///tmp/secret.key
#   without NAME FEATURE    proves that the pool does not use a feature, which the system to be installed does not know
#   still NAME GUID         proves that it is imported, immediately before somebody else goes by its name
#   spare DEVICE            proves that no imported pool has a member on a disk
#   wipe DEVICE             wipes a disk
#   archive DATASET STAMP   archives a dataset, with all below it: PARENT/landfall-archived/NAME-STAMP
#   run PROGRAM             runs one of disko's scripts
#   end PROGRAM [WORD…]     becomes the script that lays out everything
#
# Whatever can fail without a write comes first: the kept pools are in use, and so known to be whole, before any
# other disk is wiped. Nothing is destroyed: what is archived stays until somebody removes it.
PATH="$PATH:/run/current-system/sw/bin"
stop() {
    printf '%s\n' "$*" >&2
    exit 1
}
# Before the first write. landfall derives the target's state from this exit status.
refuse() {
    printf 'nothing was erased: %s\n' "$*" >&2
    exit 64
}
run() {
    echo "$*"
    "$@"
}

import_pool() {
    name=$1 guid=$2 how=$3
    # Only by stable names: those are what the pool will remember of its members.
    set --
    for directory in /dev/disk/by-id /dev/disk/by-path; do
        [ ! -d "$directory" ] || set -- "$@" -d "$directory"
    done
    [ "$how" != force ] || set -- "$@" -f
    if zpool list -H -o guid | grep -qxF "$guid"; then
        echo "the pool $name ($guid) is imported"
    else
        run zpool import -N -R /mnt "$@" "$guid" || refuse "the pool $name ($guid) cannot be imported"
    fi
    is=$(zpool list -H -o guid "$name") || refuse "the pool $guid is not called $name"
    [ "$is" = "$guid" ] || refuse "$name is another pool, $is"
    health=$(zpool list -H -o health "$name")
    case $health in
        ONLINE | DEGRADED) echo "the pool $name is $health" ;;
        *) refuse "the pool $name is $health" ;;
    esac
}

unlock() {
    case $(zfs get -H -o value keystatus "$1" 2>/dev/null || echo none) in
        available) echo "the key of $1 is loaded" ;;
        unavailable) run zfs load-key -L "$2" "$1" || refuse "the key of $1 does not fit" ;;
        # Not there yet: it will be created.
        *) echo "$1 is not there, or not encrypted" ;;
    esac
}

still() {
    is=$(zpool list -H -o guid "$1") || stop "the pool $1 is not imported any more"
    [ "$is" = "$2" ] || stop "$1 is another pool, $is"
}

without() {
    value=$(zpool get -H -o value "feature@$2" "$1" 2>/dev/null || :)
    [ "$value" != active ] || refuse "the pool $1 uses $2, which the host's ZFS does not know"
}

# nodes DEVICE: the kernel names of the disk and its partitions, the partitions first.
nodes() {
    disk=$(readlink -f "$1") || refuse "$1 is not there"
    disk=${disk##*/}
    for part in "/sys/class/block/$disk/"*/partition; do
        [ -e "$part" ] || continue
        part=${part%/partition}
        echo "${part##*/}"
    done
    echo "$disk"
}

has_zfs() { [ -d /sys/module/zfs ] && command -v zpool >/dev/null 2>&1; }

# A disk agreed on that somebody else's pool has come to use.
spare() {
    has_zfs || return 0
    for word in $(zpool list -v -H -P | awk '$1 ~ "^/" { print $1 }'); do
        member=$(readlink -f "$word" || :)
        for node in $(nodes "$1"); do
            [ "/dev/$node" != "$member" ] || refuse "$node, on $1, is a member of an imported pool"
        done
    done
}

# Node by node, by the kernel's names: disko clears the label of a pool by the pool's name, which may lead to another disk.
wipe() {
    for node in $(nodes "$1"); do
        # Labels at the end too, which a new pool on the same disk would be confused by.
        ! has_zfs || zpool labelclear -f "/dev/$node" >/dev/null 2>&1 || :
        run wipefs --quiet --all --force "/dev/$node"
    done
    # The boot code of an MBR. No more than that: some boards' boot loaders begin at sector 64.
    dd if=/dev/zero of="$1" bs=440 count=1 conv=notrunc 2>/dev/null
    left=$(wipefs --noheadings --output TYPE "$1")
    [ -z "$left" ] || stop "$1 still holds $left"
    # disko asks udev what is there.
    ! command -v udevadm >/dev/null 2>&1 || udevadm settle --timeout=60 || :
}

archive() {
    dataset=$1
    if ! zfs list -H -o name "$dataset" >/dev/null 2>&1; then
        echo "$dataset is not there"
        return
    fi
    hold=${dataset%/*}/landfall-archived
    if ! zfs list -H -o name "$hold" >/dev/null 2>&1; then
        run zfs create -u -o canmount=off -o mountpoint=none "$hold"
    fi
    to=$hold/${dataset##*/}-$2
    run zfs rename -u "$dataset" "$to"
    # It keeps its mount point, and must never be mounted there over the new one.
    zfs list -H -r -t filesystem -o name "$to" | while IFS= read -r below; do
        zfs set canmount=noauto "$below"
    done
}

while [ $# -gt 0 ]; do
    case $1 in
        import) import_pool "$2" "$3" "$4"; shift 4 ;;
        unlock) unlock "$2" "$3"; shift 3 ;;
        still) still "$2" "$3"; shift 3 ;;
        without) without "$2" "$3"; shift 3 ;;
        spare) spare "$2"; shift 2 ;;
        wipe) wipe "$2"; shift 2 ;;
        archive) archive "$2" "$3"; shift 3 ;;
        run) run "$2"; shift 2 ;;
        end) shift; exec "$@" ;;
        *) stop "lay-out.sh does not know '$1'" ;;
    esac
done
