# Prints a job's log from byte $2 on (0: all of it) until the job has ended, then says how:
# the last line is "landfall-job-status N", N being "lost" for a job that died without a word.
dir=/run/landfall/$1
offset=$2
while :; do
    # Asked first, so that what is written before the end is still printed.
    if [ -e "$dir/status" ]; then
        end=$(cat "$dir/status")
    elif kill -0 "$(cat "$dir/pid")" 2>/dev/null; then
        end=
    elif [ -e "$dir/status" ]; then # it ended between the two questions
        end=$(cat "$dir/status")
    else
        end=lost
    fi
    size=$(wc -c <"$dir/log")
    if [ "$size" -gt "$offset" ]; then
        tail -c +"$((offset + 1))" "$dir/log" | head -c "$((size - offset))"
        offset=$size
    fi
    if [ -n "$end" ]; then
        printf '\nlandfall-job-status %s\n' "$end"
        exit 0
    fi
    sleep 1
done
