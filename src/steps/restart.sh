# Restarts the machine as soon as this command has ended, so that it can end well.
# $1 of the inner shell: this one. What waits for it knows its end when the process is gone.
# shellcheck disable=SC2016 # the inner shell expands it
setsid sh -c '
    for _ in 1 2 3 4 5; do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1 2>/dev/null || sleep 1
    done
    # Time for the news of it to leave.
    sleep 0.2 2>/dev/null || sleep 1
    if [ -d /run/systemd/system ]; then systemctl reboot; else reboot || reboot -f; fi
' sh "$$" </dev/null >/dev/null 2>&1 &
