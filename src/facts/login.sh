# Reports who logs in and how to become root; the probe then runs as root, and would not know.
say() { printf '%s\t%s\n' "$1" "$2"; }

say home "$HOME"
if [ "$(id -u)" = 0 ]; then
    say root login
# What is tried is what will be run: `sudo` may allow some commands only.
elif said=$(LC_ALL=C sudo -n -- sh -c : 2>&1); then
    say root sudo
elif doas -n -- sh -c : 2>/dev/null; then
    say root doas
else
    say root no
    if command -v sudo >/dev/null; then say sudo "$(printf %s "$said" | tr '\n\t' '  ')"; fi
fi
# The address that landfall has reached, of: client, its port, server, its port.
server=${SSH_CONNECTION:-}
server=${server#* } && server=${server#* }
say server "${server%% *}"
say clock "$(date +%s)"

# Where the kexec image could be unpacked: the place, its free KiB, and why not. An installer needs none, and is looked at most
# often.
# shellcheck source=/dev/null
if (. /etc/os-release && [ "${VARIANT_ID:-}" = installer ]) 2>/dev/null; then
    set --
else
    set -- "$HOME" /root /var/tmp /tmp /dev/shm
fi
tried=' '
for place; do
    case $tried in *" $place "*) continue ;; esac
    tried="$tried$place "
    [ -d "$place" ] || continue
    best='' flags='' why=''
    while read -r _ point _ options _; do
        # The last one mounted there is what is seen.
        case $place/ in "${point%/}"/*) [ ${#point} -lt ${#best} ] || best=$point flags=$options ;; esac
    done </proc/mounts
    case ,$flags, in
        *,ro,*) why='read-only' ;;
        *,noexec,*) why='noexec' ;;
        *) [ -w "$place" ] && [ -x "$place" ] || why='not writable' ;;
    esac
    free=$(df -Pk "$place" 2>/dev/null | tail -n 1 || :)
    set -f
    # shellcheck disable=SC2086 # its words are wanted
    set -- $free
    set +f
    printf 'place\t%s\t%s\t%s\n' "$place" "${4:-0}" "$why"
done
