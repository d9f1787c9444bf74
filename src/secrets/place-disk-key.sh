# Puts the key on stdin at $1, in the installer's memory; only root can read it.
umask 077
mkdir -p "${1%/*}"
new=$(mktemp "$1.XXXXXX")
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
cat >"$new"
mv -f "$new" "$1"
