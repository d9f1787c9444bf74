# Reports the state of the pools, and what the disks say of themselves. Same form as the probe: key, tab, value.
# Changes nothing, and wakes no disk that sleeps.
PATH="$PATH:/run/current-system/sw/bin"
export LC_ALL=C
each() { while IFS= read -r line; do printf '%s\t%s\n' "$1" "$line"; done; }

# Not without the module: `zpool` would load it.
if [ -e /sys/module/zfs ] && command -v zpool >/dev/null 2>&1; then
    zpool status -P -p 2>/dev/null | each status
    zpool status -P -p -g 2>/dev/null | each guids
fi
if command -v smartctl >/dev/null 2>&1; then
    for dir in /sys/block/sd* /sys/block/nvme* /sys/block/hd*; do
        [ -e "$dir" ] || continue
        name=${dir##*/}
        # Without JSON, as before 7.0, it says nothing that is read.
        smartctl -i -H -A -n standby --json=c "/dev/$name" 2>/dev/null | each "smart-$name"
    done
fi
