# Restarts the machine as soon as this command has ended, so that it can end well.
# $1 of the inner shell: the process id of this one; when it is gone, the command has ended.
# shellcheck disable=SC2016 # the inner shell expands it
setsid sh -c '
    for _ in 1 2 3 4 5; do
        kill -0 "$1" 2>/dev/null || break
        sleep 0.1 2>/dev/null || sleep 1
    done
    # sshd needs a moment to send the exit status.
    sleep 0.2 2>/dev/null || sleep 1
    if [ -d /run/systemd/system ]; then systemctl reboot; else reboot || reboot -f; fi
' sh "$$" </dev/null >/dev/null 2>&1 &
