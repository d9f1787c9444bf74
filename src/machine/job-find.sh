# Says how the job named $1 stands that was started as $2: "none", "running", "done", or "foreign" while one
# that was started as something else is at work. One that failed or died is none: it can be started again.
dir=/run/landfall/$1
if [ ! -e "$dir/pid" ]; then
    echo none
    exit
fi
alive=
if [ ! -e "$dir/status" ] && kill -0 "$(cat "$dir/pid")" 2>/dev/null; then alive=1; fi
if [ "$(cat "$dir/id" 2>/dev/null)" != "$2" ]; then
    if [ -n "$alive" ]; then echo foreign; else echo none; fi
elif [ -n "$alive" ]; then
    echo running
elif [ "$(cat "$dir/status" 2>/dev/null)" = 0 ]; then
    echo "done"
else
    echo none
fi
