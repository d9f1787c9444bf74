# Proves that the new disks are in place, and says by what they can be known again.
# $1: names of the pools that must be imported, between blanks; the rest: mount points below /mnt.
for pool in $1; do
    guid=$(zpool get -H -o value guid "$pool")
    printf 'pool\t%s\t%s\n' "$pool" "$guid"
done
shift
[ "$#" -gt 0 ] || set -- /
for point; do
    path=/mnt${point%/}
    known=$(findmnt -n -o SOURCE,FSTYPE,UUID "$path") || {
        echo "nothing is mounted on $path" >&2
        exit 1
    }
    # The name of a source may be another one after the next boot; its UUID is not.
    known=$(printf '%s\n' "$known" | awk '{ last = ($3 == "" ? $1 : $3) " " $2 } END { print last }')
    printf 'mount\t%s\t%s\n' "$point" "$known"
done
