# Looks for what a run must not leave behind: `asked` and `found`, each with a tab and one thing, a line each.
# $1: the root that is looked at, empty for the running system. $2: its name. $3: the directory for what must not stay.
# $4 …: socket:PATH (an agent's), key:PATH (a private key, which only root may read), login:KEY (a line that
# authorized_keys may have), placed:PATH (a file of the user's), host:KEY (a git server's key, in base64). stdin: SIZE SHA256 of each file that must not be in the store.
root=$1
name=$2
fetch=$3
shift 3
asked() { printf 'asked\t%s\n' "$*"; }
found() { printf 'found\t%s\n' "$*"; }
given() {
    wanted=$1
    shift
    for word; do [ "$word" != "$wanted" ] || return 0; done
    return 1
}

if [ "$name" = installer ]; then
    asked "staged sources and fetched inputs"
    [ ! -e "$fetch" ] || found "$fetch is there"
    asked "known_hosts"
    for word; do
        case $word in
            host:*)
                for file in /root/.ssh/known_hosts /etc/ssh/ssh_known_hosts; do
                    [ ! -e "$file" ] || ! grep -qF -e "${word#host:}" "$file" || found "$file has a git server's key"
                done
                ;;
        esac
    done
    asked "agent sockets"
    for word; do
        case $word in socket:*) [ ! -e "${word#socket:}" ] || found "the agent's socket ${word#socket:} is there" ;; esac
    done
    exit 0
fi

asked "private keys that others may read"
for word; do
    case $word in
        key:*)
            # The second is a key that was being placed.
            for key in "$root${word#key:}" "$root${word#key:}".??????; do
                [ -e "$key" ] || continue
                [ "$key" = "$root${word#key:}" ] || found "$key is there"
                [ "$(stat -c '%a %u' "$key")" = '600 0' ] || found "$key has mode and owner $(stat -c '%a %u' "$key")"
            done
            ;;
    esac
done

asked "logins beyond the configuration"
keys=/root/.ssh/authorized_keys
if [ -e "$root$keys" ] && ! given "placed:$keys" "$@"; then
    while IFS= read -r line; do
        case $line in '' | '#'*) continue ;; esac
        given "login:$line" "$@" || found "$keys has $line"
    done <"$root$keys"
fi

asked "known_hosts, agent sockets and credentials of root"
for file in .ssh/known_hosts .ssh/agent .netrc .git-credentials; do
    [ ! -e "$root/root/$file" ] || given "placed:/root/$file" "$@" || found "/root/$file is there"
done

asked "secrets in the store"
while read -r size sum; do
    find "$root/nix/store" -type f -size "${size}c" -exec sha256sum {} + | while read -r other path; do
        [ "$other" != "$sum" ] || found "$path is a copy of a secret"
    done
done
