# Tells landfall what an installed system runs. Same form as the probe: key, tab, value.
PATH="$PATH:/run/current-system/sw/bin"
say() { printf '%s\t%s\n' "$1" "$2"; }

say boot "$(cat /proc/sys/kernel/random/boot_id)"
say toplevel "$(readlink -f /run/current-system || true)"
say hostname "$(uname -n)"
say root "$(findmnt -n -o SOURCE,FSTYPE / 2>/dev/null || true)"
if [ -d /run/systemd/system ]; then
    # Units may still be starting; what fails does so by then.
    timeout 150 systemctl is-system-running --wait >/dev/null 2>&1 || true
    systemctl list-units --failed --plain --no-legend 2>/dev/null | while read -r unit _; do
        say failed "$unit"
    done
fi
if [ -d /sys/module/zfs ]; then
    # `zpool status -x` names what is not healthy; with no trouble it is one line.
    say health "$(zpool status -x 2>&1 | head -n 1)"
    zpool status -P 2>&1 | while IFS= read -r line; do printf 'zpool\t%s\n' "$line"; done
fi
