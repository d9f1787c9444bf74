# Fetches all inputs of a flake into a store of their own. Only private ones use the agent of this connection; with the
# connection this ends, and takes away what it has made. $1: the one directory, with the flake's lock file and the known_hosts of the
# git servers; $2: the flake.
PATH="$PATH:/run/current-system/sw/bin"
dir=$1
flake=$2
umask 077
trap 'umount -l "$dir"; rmdir "$dir"; exit 143' TERM HUP
mkdir -p "$dir/home"
echo "agent ${SSH_AUTH_SOCK:-}"
export HOME="$dir/home" XDG_CACHE_HOME="$dir/cache"
# Of all keys and files of this machine nothing counts but the agent and these hosts.
GIT_SSH_COMMAND="ssh -F none -o BatchMode=yes -o IdentityFile=/dev/null -o StrictHostKeyChecking=yes -o UpdateHostKeys=no"
GIT_SSH_COMMAND="$GIT_SSH_COMMAND -o GlobalKnownHostsFile=/dev/null -o UserKnownHostsFile=$dir/known_hosts"
export GIT_SSH_COMMAND
nix --extra-experimental-features 'nix-command flakes' flake archive --store "local?root=$dir/root" \
    --no-write-lock-file --no-update-lock-file --reference-lock-file "$dir/flake.lock" "$flake" 2>&1 &
wait "$!"
