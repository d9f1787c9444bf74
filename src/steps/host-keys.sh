# Gives the system under /mnt its host keys before it boots, and prints the public ones.
# $1: "copy" (the installer's own) or "create"; with "create", $2 is the type and $3 the path of the key.
# Keys that are there already stay.
umask 022
if [ "$1" = copy ]; then
    mkdir -p /mnt/etc/ssh
    for key in /etc/ssh/ssh_host_*_key; do
        [ -e "/mnt$key" ] || cp -p "$key" "/mnt$key"
        chmod 600 "/mnt$key"
        ssh-keygen -y -f "/mnt$key" | tee "/mnt$key.pub"
    done
else
    key=/mnt$3
    mkdir -p "${key%/*}"
    [ -s "$key" ] || ssh-keygen -q -t "$2" -N '' -C '' -f "$key"
    ssh-keygen -y -f "$key"
fi
