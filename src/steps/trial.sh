# Makes a pool like one of the layout in a file, before any disk is touched, and proves that the installer's ZFS can and that
# the system to be installed will know all that it uses. $1: its name; $2: features that that system does not know, between
# blanks; the rest: options of `zpool create`.
PATH="$PATH:/run/current-system/sw/bin"
name=$1 features=$2
shift 2
trial=landfall-trial
file=/run/landfall/$trial
mkdir -p /run/landfall
away() {
    ! zpool list -H -o name "$trial" >/dev/null 2>&1 || zpool destroy -f "$trial"
    rm -f "$file"
}
# What a try whose connection was lost has left.
away
trap away EXIT
trap 'exit 1' HUP INT TERM
# Somewhat more than the least that ZFS takes; hardly any of it is written.
truncate -s 128M "$file"
zpool create -f -m none -o cachefile=none "$@" "$trial" "$file" || {
    echo "nothing was erased: the installer's ZFS cannot make the pool $name with these options: $*" >&2
    exit 1
}
for feature in $features; do
    value=$(zpool get -H -o value "feature@$feature" "$trial" 2>/dev/null || :)
    [ "$value" != active ] || {
        echo "nothing was erased: a pool $name that the installer's ZFS makes uses $feature, which the host's ZFS does not" \
            "know: set options.compatibility of the pool (zpoolprops(7)), or take an older installer" >&2
        exit 1
    }
done
