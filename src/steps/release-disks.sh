# Releases the new disks and proves it: all under /mnt unmounted, swap off, every pool exported.
# A pool that is not exported makes the installed system refuse it at boot, so any doubt is a failure.
PATH="$PATH:/run/current-system/sw/bin"
cd /
sync
holders() {
    for proc in /proc/[0-9]*; do
        for link in "$proc"/cwd "$proc"/root "$proc"/exe "$proc"/fd/*; do
            case $(readlink "$link" 2>/dev/null) in
                /mnt | /mnt/*)
                    printf '%s holds %s\n' "${proc#/proc/} ($(cat "$proc/comm"))" "$(readlink "$link")" >&2
                    break
                    ;;
            esac
        done
    done
}
swapoff -a
if findmnt -n /mnt >/dev/null && ! umount -R /mnt; then
    echo "/mnt cannot be unmounted" >&2
    holders
    exit 1
fi
# Without the module there is no pool (and `zpool list` fails).
[ -d /sys/module/zfs ] || exit 0
for pool in $(zpool list -H -o name); do
    members=$(zpool list -v -H -P -o name "$pool" | awk '$1 ~ "^/" { print $1 }')
    zpool export "$pool" || {
        echo "the pool $pool cannot be exported" >&2
        holders
        exit 1
    }
    # The label on the disk itself says so: state 1 is POOL_STATE_EXPORTED.
    command -v zdb >/dev/null 2>&1 || {
        echo "the pool $pool is exported; its labels were not read: there is no zdb here"
        continue
    }
    for member in $members; do
        zdb -l "$member" | grep -q '^ *state: 1$' || {
            echo "the pool $pool was exported, but the label on $member does not say so" >&2
            exit 1
        }
    done
    echo "the pool $pool is exported, as its labels say"
done
left=$(zpool list -H -o name)
[ -z "$left" ] || {
    echo "still imported: $left" >&2
    exit 1
}
