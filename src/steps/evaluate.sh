# Evaluates the system of a flake whose inputs are all there. $1: the one directory; $2: the flake; $3: the attribute.
# Leaves the path of the derivation in `drv`.
PATH="$PATH:/run/current-system/sw/bin"
dir=$1
unset SSH_AUTH_SOCK
export HOME="$dir/home" XDG_CACHE_HOME="$dir/cache" GIT_SSH_COMMAND=false
nix --extra-experimental-features 'nix-command flakes' eval --raw --store "local?root=$dir/root" \
    --no-write-lock-file --no-update-lock-file --reference-lock-file "$dir/flake.lock" "$2#$3" >"$dir/drv.part"
mv "$dir/drv.part" "$dir/drv"
