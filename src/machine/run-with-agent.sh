# Runs a command that may use the forwarded agent, and ends it with the connection: the other side holds stdin open for
# as long as that lives. The command itself reads nothing. $@: the command.
if ! [ -S "${SSH_AUTH_SOCK:-}" ]; then
    echo "no agent has arrived: does sshd here allow it (AllowAgentForwarding)?" >&2
    exit 253
fi
exec 3<&0
setsid "$@" </dev/null 3<&- &
job=$!
# The whole group: what the command has started must not continue without it.
{
    cat <&3
    kill -s TERM -- "-$job"
} >/dev/null 2>&1 &
watch=$!
exec 3<&-
status=0
wait "$job" || status=$?
kill "$watch" 2>/dev/null || :
# 255 is what ssh says of a connection that failed.
if [ "$status" -eq 255 ]; then status=254; fi
exit "$status"
