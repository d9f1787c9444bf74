# Turns the LED of a disk's bay on or off, and says `lit` if there is one. $1: kernel name of the disk; $2: 1 or 0.
# An enclosure tells its bays in sysfs (Documentation/scsi/ses in Linux); ledctl (ledmon) knows some controllers more.
PATH="$PATH:/run/current-system/sw/bin:/usr/sbin:/sbin"
for bay in /sys/class/enclosure/*/*/; do
    if [ -e "${bay}device/block/$1" ] && [ -w "${bay}locate" ]; then
        echo "$2" >"${bay}locate"
        echo lit
        exit 0
    fi
done
if command -v ledctl >/dev/null 2>&1; then
    if [ "$2" = 1 ]; then verb=locate; else verb=locate_off; fi
    if ledctl "$verb=/dev/$1" >/dev/null 2>&1; then
        echo lit
    fi
fi
