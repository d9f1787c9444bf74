# Takes apart what lies on the disks of the layout, so that they can be laid out. $1: `left` where an earlier try has left it:
# swap, mounts below /mnt, pools, LVM, LUKS, md; `idle` where no run has: only what the system has put together by itself and
# nothing uses, LVM, md, multipath. The rest: the kernel names of the disks, sda sdb; and pools that are kept, pool:tank, which
# are only exported: of those, members may be missing or elsewhere.
#
# First everything is looked at: what also lies on a disk that is not named here is somebody else's, and then
# nothing at all is touched. Then from the top to the bottom, each action reported in a line.
PATH="$PATH:/run/current-system/sw/bin"
newline='
'
bad=''
foreign() {
    printf '%s\n' "$*" >&2
    bad=1
}
# has LIST WORD: lists are words with blanks around each.
has() { case $1 in *" $2 "*) return 0 ;; *) return 1 ;; esac }
run() {
    echo "$*"
    "$@"
}

job=/run/landfall/disko
if [ -e "$job/pid" ] && [ ! -e "$job/status" ] && kill -0 "$(cat "$job/pid")" 2>/dev/null; then
    echo "a job of an earlier run is still running on the target (see $job/log)" >&2
    exit 75
fi

# `ours`: the disks, their partitions, and whatever was built upon those, in the order it was found.
what=$1
shift
ours=' '
add() { has "$ours" "$1" || ours="$ours$1 "; }
kept=' '
for disk; do
    case $disk in
        pool:*) kept="$kept${disk#pool:} " ;;
        *) add "$disk" ;;
    esac
done
seen=''
while [ "$seen" != "$ours" ]; do
    seen=$ours
    for node in $seen; do
        for part in "/sys/class/block/$node/"*/partition; do
            [ -e "$part" ] || continue
            part=${part%/partition}
            add "${part##*/}"
        done
        for holder in "/sys/class/block/$node/holders/"*; do
            [ -e "$holder" ] || [ -L "$holder" ] || continue
            add "${holder##*/}"
        done
    done
done
for node in $ours; do
    for slave in "/sys/class/block/$node/slaves/"*; do
        [ -e "$slave" ] || [ -L "$slave" ] || continue
        has "$ours" "${slave##*/}" || foreign "$node also lies on ${slave##*/}, which is not a disk of the layout"
    done
done

# kernel_name PATH: the name of the block device at a path.
kernel_name() {
    path=$(readlink -f "$1" || :)
    echo "${path##*/}"
}

# together KIND NAME MEMBER...: whether all its members are ours; some are not: somebody else's.
together() {
    kind=$1 name=$2 inside='' outside=''
    shift 2
    for member; do
        if has "$ours" "$(kernel_name "$member")"; then inside=1; else outside=$member; fi
    done
    if [ -n "$inside" ] && [ -n "$outside" ]; then
        foreign "the $kind $name also lies on $outside, which is not a disk of the layout"
    fi
    [ -n "$inside" ] && [ -z "$outside" ]
}

pools=' '
if [ "$what" = left ] && [ -d /sys/module/zfs ] && command -v zpool >/dev/null 2>&1; then
    for pool in $(zpool list -H -o name); do
        if has "$kept" "$pool"; then
            pools="$pools$pool "
            continue
        fi
        # A member that is missing is listed by a number, and may be in anybody's hands.
        members=$(zpool list -v -H -P "$pool" | awk '$1 ~ "^/" || $1 ~ /^[0-9]+$/ { print $1 }')
        # shellcheck disable=SC2086 # its words are wanted
        if together pool "$pool" $members; then pools="$pools$pool "; fi
    done
fi

groups=' '
if command -v pvs >/dev/null 2>&1; then
    # A blank would end a word: `[unknown]` is what a missing member is called.
    volumes=$(pvs --noheadings -o vg_name,pv_name 2>/dev/null | awk 'NF == 2')
    for group in $(printf '%s\n' "$volumes" | awk '{ print $1 }' | sort -u); do
        members=$(printf '%s\n' "$volumes" | awk -v group="$group" '$1 == group { print $2 }')
        set -f
        # shellcheck disable=SC2086 # its words are wanted
        if together 'volume group' "$group" $members; then groups="$groups$group "; fi
        set +f
    done
fi

# Paths come with blanks written as \040.
plain() { printf '%b' "$1"; }

# `mounts`: what is to be unmounted, a line each, the latest first: nothing is mounted over it. Under /mnt that is
# everything but what belongs to others.
mounts=''
while read -r _ _ _ _ target _ rest; do
    # The optional fields end with a lone dash.
    rest="${rest#*- }"
    type=${rest%% *}
    source=${rest#* }
    source=${source%% *}
    target=$(plain "$target")
    case $type:$source in
        zfs:*) if has "$pools" "${source%%/*}"; then mine=1; else mine=''; fi ;;
        *:/dev/*) if has "$ours" "$(kernel_name "$(plain "$source")")"; then mine=1; else mine=''; fi ;;
        *) mine=0 ;;
    esac
    case $what:$target in
        left:/mnt | left:/mnt/*)
            [ -n "$mine" ] || foreign "$target is mounted from $source, which is not on a disk of the layout"
            mounts="$target$newline$mounts"
            ;;
        *:/) [ "$mine" != 1 ] || foreign "the installer itself runs from $source, on a disk of the layout" ;;
        *) [ "$mine" != 1 ] || foreign "$target is mounted from $source, on a disk of the layout, and nothing of landfall's" ;;
    esac
done </proc/self/mountinfo

# `swaps`: those on a device of ours, or in a file below a mount that goes.
swaps=''
while read -r swap type _; do
    swap=$(plain "$swap")
    case $type in
        partition)
            has "$ours" "$(kernel_name "$swap")" || continue
            [ "$what" = left ] || foreign "$swap, on a disk of the layout, is used as swap"
            ;;
        file)
            while read -r target; do
                case $swap in "$target"/*) break ;; esac
            done <<MOUNTS
$mounts
MOUNTS
            [ -n "$target" ] || continue
            ;;
        *) continue ;;
    esac
    swaps="$swaps$swap$newline"
done </proc/swaps

if [ -n "$bad" ]; then
    echo "nothing was touched: take apart by hand what is not to be lost, or remove it" >&2
    exit 1
fi

cd /
printf %s "$swaps" | while IFS= read -r swap; do run swapoff "$swap"; done
printf %s "$mounts" | while IFS= read -r target; do run umount "$target"; done
for pool in $pools; do run zpool export "$pool"; done

# Whether something is still built on it, or on a partition of it.
held() {
    for holder in "/sys/class/block/$1/holders/"* "/sys/class/block/$1/"*/holders/*; do
        if [ -e "$holder" ] || [ -L "$holder" ]; then return 0; fi
    done
    return 1
}
# Takes one device apart. 1: nothing to do, or not alone: partitions vanish with their disk, LVM goes as a whole.
close() {
    name=$(cat "/sys/class/block/$1/dm/name" 2>/dev/null || :)
    case $(cat "/sys/class/block/$1/dm/uuid" 2>/dev/null || :) in
        CRYPT-*)
            [ "$what" = left ] || return 1
            run cryptsetup close "$name" || exit 1
            ;;
        mpath-*) run dmsetup remove "$name" || exit 1 ;;
        LVM-*) return 1 ;;
        '')
            [ -d "/sys/class/block/$1/md" ] || return 1
            run mdadm --stop "/dev/$1" || exit 1
            ;;
        *) return 1 ;;
    esac
}
# Whatever nothing is built on, again and again; where only LVM is left on top, that.
left=$ours
while :; do
    next=' ' progress=''
    for node in $left; do
        if ! held "$node" && close "$node"; then progress=1; else next="$next$node "; fi
    done
    left=$next
    [ -z "$progress" ] || continue
    [ "$groups" != ' ' ] || break
    for group in $groups; do run vgchange -an "$group"; done
    groups=' '
done
for node in $left; do
    if [ -d "/sys/class/block/$node/dm" ] || [ -d "/sys/class/block/$node/md" ] || held "$node"; then
        echo "$node is still in use, or landfall does not know how to take it apart" >&2
        bad=1
    fi
done
[ -z "$bad" ] || exit 1
