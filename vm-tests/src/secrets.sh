# What an installed board has of its secrets, and every file that says one of them ($1, $2).
secret=/run/agenix/canary
echo "$(stat -L -c '%a %U %G' "$secret") $(findmnt -n -o FSTYPE /run/agenix.d) $(cat "$secret")"
echo "$(stat -c '%a %U %G' /etc/token) $(cat /etc/token)"
stat -c '%a %U %G' /etc/ssh/ssh_host_ed25519_key
# Kernel file systems are no files; this very command names both.
find / \( -path /proc -o -path /sys -o -path /dev \) -prune -o -type f -print0 |
    xargs -0 grep -lF -e "$1" -e "$2" 2>/dev/null | sort || :
