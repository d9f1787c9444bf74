# Moves the derivation $2 with all it needs from the store in the directory $1 to that on the new disks.
PATH="$PATH:/run/current-system/sw/bin"
nix --extra-experimental-features 'nix-command flakes' copy --derivation --no-check-sigs \
    --from "local?root=$1/root" --to 'local?root=/mnt' "$2"
