# Starts a job that outlives the connection it was started over.
# $1: the job's name; $2: what it is known by to a later connection; the rest: its command. Its log, pid
# and, at the end, exit status are files.
dir=/run/landfall/$1
id=$2
shift 2
if [ -e "$dir/pid" ] && [ ! -e "$dir/status" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; then
    echo "a job of an earlier run is still running on the target (see $dir/log)" >&2
    exit 75
fi
umask 077
rm -rf "$dir"
mkdir -p "$dir"
: >"$dir/log"
printf '%s\n' "$id" >"$dir/id"
# shellcheck disable=SC2016 # the inner shell expands them
setsid sh -c '
    dir=$1
    shift
    # The pid is there before the work begins: a reader finds either nothing or all of it.
    echo "$$" >"$dir/pid"
    "$@"
    echo "$?" >"$dir/status.part"
    mv "$dir/status.part" "$dir/status"
' sh "$dir" "$@" </dev/null >"$dir/log" 2>&1 &
while [ ! -s "$dir/pid" ]; do sleep 0.02 2>/dev/null || sleep 1; done
