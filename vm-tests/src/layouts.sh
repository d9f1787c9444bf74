# Data in the pool of an installed system, and what is left of it. $1: `fill` writes it, `scrub` has ZFS read all of
# the pool. Each file's digest, and after a scrub the state of the pool.
cd /srv/media || exit
if [ "$1" = fill ]; then
    for number in 1 2 3 4 5 6 7 8; do
        head -c 4194304 /dev/urandom >"$number.raw"
    done
fi
zpool sync tank
if [ "$1" = scrub ]; then
    zpool scrub -w tank
    zpool status tank >/tmp/status
    grep -q 'errors: No known data errors' /tmp/status
    grep -q 'scrub repaired .* with 0 errors' /tmp/status
fi
sha256sum ./*.raw
if [ "$1" = scrub ]; then
    zpool list -H -o health tank
fi
