# Restarts the machine, a moment from now, so that this command can still end well.
# shellcheck disable=SC2016 # the inner shell expands it
setsid sh -c '
    sleep 1
    if [ -d /run/systemd/system ]; then systemctl reboot; else reboot || reboot -f; fi
' </dev/null >/dev/null 2>&1 &
