# Tells what there is to be kept in the pool tank, in an installer that has just been booted. $1: `fill` writes data into it
# first, `scrub` has ZFS read all of it; the rest: the disks. The pool is left imported, as a crash would leave it.
then=$1
shift
# As the installed system's own: so that it is nobody else who has not exported it.
echo 0x4e110564 >/sys/module/spl/parameters/spl_hostid
zpool import -N -f -d /dev/disk/by-id tank
for set in tank/data/media tank/backups; do
    place=/tmp/kept/$set
    mkdir -p "$place"
    mount -t zfs "$set" "$place"
    if [ "$then" = fill ]; then
        mkdir "$place/photos"
        for number in 1 2 3 4; do
            yes "photo $number in $set" | head -c 16777216 >"$place/photos/$number"
            head -c 4194304 /dev/urandom >"$place/photos/$number.raw"
        done
        zfs snapshot "$set@before"
    fi
done
if [ "$then" = scrub ]; then
    zpool scrub -w tank
    zpool status tank | grep -q 'errors: No known data errors'
    zpool status tank | grep -q 'scrub repaired 0B in .* with 0 errors'
fi
echo "pool $(zpool get -H -o value guid tank)"
for disk; do
    echo "partition $(blkid -p -s PART_ENTRY_UUID -o value "$disk-part1")"
done
# A new system's data sets have other GUIDs; data has the same.
zfs list -H -r -t filesystem -o name tank | sed 's/^/set /'
zfs list -H -r -t filesystem,snapshot -o name,guid tank/data tank/backups | sed 's/^/data /'
find /tmp/kept -type f | sort | xargs sha256sum
zpool sync tank
umount -R /tmp/kept/tank/data/media /tmp/kept/tank/backups
