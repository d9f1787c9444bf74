# Succeeds if the system profile under /mnt names $1, and prints the public host keys that are there: that of
# $2, or all of /etc/ssh.
profiles=/mnt/nix/var/nix/profiles
[ "$(readlink "$profiles/$(readlink "$profiles/system")")" = "$1" ]
for key in "/mnt$2" /mnt/etc/ssh/ssh_host_*_key; do
    if [ -f "$key" ]; then ssh-keygen -y -f "$key" </dev/null; fi
done
