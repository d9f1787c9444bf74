# What a person's hands and a test do to an installed system while disks of it are replaced. $1 says what:
#   unplug PATH         takes the disk away from the kernel; says the SCSI host that it was on
#   plug HOST           lets the kernel look for a disk there
#   other-pool PATH     makes the disk a member of another pool, which is exported
#   fill                known data; its digests stay in /run
#   load                begins to write data without end, as fast as it goes; its digests stay in /run
#   enough              ends that
#   look                whether all of it is as it was written, and what a scrub finds
#   hold YES            whether a resilver rests (1) or goes on (0)
what=$1
shift
case $what in
unplug)
    name=$(basename "$(readlink -f "$1")")
    readlink -f "/sys/block/$name" | grep -o '/host[0-9]*/' | head -n 1 | tr -d /
    echo 1 >"/sys/block/$name/device/delete"
    udevadm settle --timeout=60
    ;;
plug)
    echo '- - -' >"/sys/class/scsi_host/$1/scan"
    ;;
other-pool)
    zpool create -f -m none elsewhere "$1"
    zpool export elsewhere
    ;;
fill)
    for number in $(seq 1 64); do
        head -c 4194304 /dev/urandom >"/srv/media/$number"
    done
    sync
    cd /srv/media || exit
    sha256sum ./* >/run/filled
    wc -l </run/filled
    ;;
load)
    mkdir /srv/backups/load
    cd /srv/backups/load || exit
    # shellcheck disable=SC2016 # the shell that it is for expands it
    setsid sh -c '
        number=0
        while [ ! -e /run/enough ] && [ "$number" -lt 3000 ]; do
            number=$((number + 1))
            head -c 524288 /dev/urandom | tee "$number" | sha256sum | sed "s/-\$/$number/" >>/run/loaded
            zpool sync tank
        done
        touch /run/ended
    ' </dev/null >/dev/null 2>&1 &
    ;;
enough)
    touch /run/enough
    ;;
look)
    (cd /srv/media && sha256sum -c --quiet /run/filled)
    (cd /srv/backups/load && sha256sum -c --quiet /run/loaded)
    zpool scrub -w tank
    zpool status tank >/run/status
    grep -q 'errors: No known data errors' /run/status || { cat /run/status >&2 && exit 1; }
    grep -q 'scrub repaired 0B in .* with 0 errors' /run/status || { cat /run/status >&2 && exit 1; }
    echo "$(wc -l </run/filled) and $(wc -l </run/loaded) files"
    ;;
hold)
    echo "$1" >/sys/module/zfs/parameters/zfs_scan_suspend_progress
    ;;
esac
