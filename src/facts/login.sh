# Tells landfall who logs in and how root is had; the probe then runs as root, and would not know.
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
