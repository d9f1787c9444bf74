# Reports what an installed system runs. Same form as the probe: key, tab, value.
# $@: pools and datasets whose properties are wanted; what has no / in it is a pool.
PATH="$PATH:/run/current-system/sw/bin"
say() { printf '%s\t%s\n' "$1" "$2"; }
each() { while IFS= read -r line; do say "$1" "$line"; done; }

say boot "$(cat /proc/sys/kernel/random/boot_id)"
say toplevel "$(readlink -f /run/current-system || true)"
say hostname "$(uname -n)"
say cmdline "$(cat /proc/cmdline)"
if [ -d /run/systemd/system ]; then
    # Units may still be starting; what fails does so by then.
    timeout 150 systemctl is-system-running --wait >/dev/null 2>&1 || true
    systemctl list-units --failed --plain --no-legend 2>/dev/null | while read -r unit _; do
        say failed "$unit"
    done
fi
each mount </proc/self/mounts
# A module without its programs cannot have imported anything.
if [ -d /sys/module/zfs ] && command -v zpool >/dev/null 2>&1; then
    say arc-max "$(cat /sys/module/zfs/parameters/zfs_arc_max 2>/dev/null || true)"
    # `zpool status -x` names what is not healthy; with no trouble it is one line.
    say health "$(zpool status -x 2>&1 | head -n 1)"
    zpool status -P 2>&1 | each zpool
    # What is not there says nothing, and is missed.
    for name; do
        case $name in
            */*) ;;
            *) zpool get -H -p -o name,property,value all "$name" 2>/dev/null | each pool-property ;;
        esac
        zfs get -H -p -o name,property,value all "$name" 2>/dev/null | each dataset-property
    done
fi
