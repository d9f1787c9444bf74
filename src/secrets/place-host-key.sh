# Puts the private SSH host key on stdin where it belongs, and prints its public half.
# $1: the root of the system it is for, without a slash at its end. $2: its path there. $3: its public half, with which
# it must agree. $4: "keep" leaves another key that is there already, and exits with 3; "replace" does not.
# What is at that path is at any moment the old key or the whole new one; only root can read it.
path=$1$2
same() { [ "$(ssh-keygen -y -f "$1" </dev/null 2>/dev/null | cut -d ' ' -f 1,2)" = "$2" ]; }
public=$(echo "$3" | cut -d ' ' -f 1,2)
if [ -e "$path" ] && [ "$4" = keep ] && ! same "$path" "$public"; then
    echo "another key is there already: $(ssh-keygen -l -f "$path" </dev/null 2>&1)" >&2
    exit 3
fi
# /etc and /etc/ssh are read by everybody.
(umask 022 && mkdir -p "${path%/*}")
umask 077
new=$(mktemp "$path.XXXXXX")
trap 'rm -f "$new"' EXIT
trap 'exit 1' HUP INT TERM
chmod 600 "$new"
chown 0:0 "$new"
cat >"$new"
if ! same "$new" "$public"; then
    echo "what has arrived is not the private key of $public" >&2
    exit 1
fi
mv -f "$new" "$path"
printf '%s\n' "$3" >"$new"
chmod 644 "$new"
mv -f "$new" "$path.pub"
ssh-keygen -y -f "$path" </dev/null
