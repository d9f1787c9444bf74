# Prints a job's log from byte $2 on (0: all of it) until the job has ended, then says how:
# the last line is "landfall-job-status N", N being "lost" for a job that died without a message.
dir=/run/landfall/$1
offset=$2
pid=$(cat "$dir/pid")
# Between two looks: a moment at first and a second in the end. After new output it is a fifth of a second, as the end
# may be near: looks cost a busy target a little each. Not every sleep knows fractions.
if sleep 0.01 2>/dev/null; then pause=0.05 soon=0.2; else pause=1 soon=1; fi
while :; do
    # Asked first, so that what is written before the end is still printed.
    if [ -e "$dir/status" ]; then
        end=$(cat "$dir/status")
    elif kill -0 "$pid" 2>/dev/null; then
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
        pause=$soon
    fi
    if [ -n "$end" ]; then
        printf '\nlandfall-job-status %s\n' "$end"
        exit 0
    fi
    sleep "$pause"
    case $pause in
        0.05) pause=0.1 ;;
        0.1) pause=0.2 ;;
        0.2) pause=0.4 ;;
        0.4) pause=0.7 ;;
        *) pause=1 ;;
    esac
done
