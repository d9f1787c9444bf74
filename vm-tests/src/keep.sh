# Tells what there is to be kept in the pool tank, in an installer that has just been booted. $1: `fill` writes data into it
# first, `scrub` has ZFS read all of it; $2: the data sets with data in them, between blanks; $3: where the key of encrypted
# ones belongs; $4: that key. The pool is left imported, as a crash would leave it.
then=$1 sets=$2
printf %s "$4" >"$3"
# As the installed system's own: so that it is nobody else who has not exported it.
echo 0x4e110564 >/sys/module/spl/parameters/spl_hostid
zpool import -N -f -d /dev/disk/by-id tank
for set in $sets; do
    [ "$(zfs get -H -o value keystatus "$set")" != unavailable ] || zfs load-key "$set"
    place=/tmp/kept/$set
    mkdir -p "$place"
    mount -t zfs "$set" "$place" 2>/dev/null || mount -t zfs -o zfsutil "$set" "$place"
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
    zpool status tank
    zpool status tank | grep -q 'errors: No known data errors'
    zpool status tank | grep -q 'scrub repaired 0B in .* with 0 errors'
fi
echo "pool $(zpool get -H -o value guid tank)"
for member in $(zpool list -v -H -P tank | awk '$1 ~ "^/" { print $1 }'); do
    echo "partition $(blkid -p -s PART_ENTRY_UUID -o value "$member")"
done
# A new system's data sets have other GUIDs; data has the same.
zfs list -H -r -t filesystem -o name tank | sed 's/^/set /'
for set in $sets; do
    zfs list -H -r -t filesystem,snapshot -o name,guid,encryptionroot "$set" | sed 's/^/data /'
done
find /tmp/kept -type f | sort | xargs sha256sum
zpool sync tank
for set in $sets; do umount "/tmp/kept/$set"; done
