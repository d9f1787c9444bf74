# Proves that what fetching and evaluating takes is here, and makes the one directory, $1: memory of its own, which is gone when
# it is unmounted.
PATH="$PATH:/run/current-system/sw/bin"
missing=''
for program in nix git ssh setsid; do
    command -v "$program" >/dev/null 2>&1 || missing="$missing $program"
done
[ -z "$missing" ] || {
    echo "the installer has no$missing: leave out --evaluate-on, or boot an installer that has it" >&2
    exit 1
}
mkdir -p "$1"
mount -t tmpfs -o mode=700,nosuid,nodev,size=75% landfall "$1"
