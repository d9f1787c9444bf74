# shellcheck shell=sh disable=SC2329 # scratch.nix appends the calls
# The verbs of the scratch host's disko scripts: $1 is the disk for the root file system, $2 that for /boot.
# Like disko's own: everything goes, then file systems are made, then they are mounted.
set -eu
export LC_ALL=C

run() {
  echo "disko: $*" >&2
  [ -z "${SCRATCH:-}" ] || echo "$1" >> "$SCRATCH/calls"
  "$@"
}

destroy() {
  if findmnt /mnt > /dev/null; then run umount -R /mnt; fi
  for disk; do run wipefs --quiet --all --force "$disk"; done
}

format() {
  run mkfs.ext4 -q -F "$1"
  run mkfs.ext4 -q -F "$2"
}

mount_all() {
  findmnt "$1" /mnt > /dev/null || run mount --mkdir "$1" /mnt
  findmnt "$2" /mnt/boot > /dev/null || run mount --mkdir "$2" /mnt/boot
}
