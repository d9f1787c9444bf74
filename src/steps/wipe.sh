# Continues only if the disks are still those that were looked at. $1: the script that reads the disks; $2: the
# SHA-256 of what it said then; the rest is for `lay-out.sh`, which follows.
# Both in one job: between the last look and the first write nothing is waited for.
now=$(sh -euc "$1" sh)
seen=$(printf '%s' "$now" | sha256sum)
if [ "${seen%% *}" != "$2" ]; then
    echo "nothing was erased: the disks have changed since they were compared with the plan; they are now:"
    printf '%s\n' "$now" | cut -c 1-200
    exit 65
fi
shift 2
