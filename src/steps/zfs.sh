# Makes the installer's ZFS ready before a pool is made or imported. $1: the host's id, eight hexadecimal digits, or
# nothing; $2: below how many bytes of memory its cache is limited; $3: to how many bytes.
PATH="$PATH:/run/current-system/sw/bin"
parameters=/sys/module
if [ ! -d "$parameters/zfs" ]; then
    modprobe zfs 2>/dev/null || exit 0
fi
# A pool notes who uses it: with the host's own id, the installed system imports it without force. /etc/hostid may be
# read-only, or a link into the store; the parameter comes before it.
if [ -n "$1" ] && [ -w "$parameters/spl/parameters/spl_hostid" ]; then
    echo "0x$1" >"$parameters/spl/parameters/spl_hostid"
    echo "host id $1"
fi
memory=0
while read -r key value _; do
    [ "$key" != MemTotal: ] || memory=$((value * 1024))
done </proc/meminfo
# The installer itself and the closure's copy live in memory, too.
if [ "$memory" -gt 0 ] && [ "$memory" -lt "$2" ] && [ -w "$parameters/zfs/parameters/zfs_arc_max" ]; then
    echo "$3" >"$parameters/zfs/parameters/zfs_arc_max"
    echo "the cache of ZFS is limited to $(($3 / 1048576)) MiB"
fi
