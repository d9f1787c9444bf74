#!/bin/bash
# build-all.sh CACHE_DIR: every stage in order, each into CACHE_DIR/NAME, for work by hand. A
# finished stage is kept; delete its directory to have it made again.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
mkdir -p "$1"
cache=$(readlink -f "$1")

# stage NAME [INPUT_STAGE...]
stage() {
  local name=$1 input
  local -a inputs=()
  shift
  for input in "$@"; do inputs+=("$cache/$input"); done
  [ -e "$cache/$name/.complete" ] || "$here/$name.sh" "$cache/$name" "${inputs[@]}"
}

# shellcheck source=lib.sh
mapfile -t packages < <(. "$here/lib.sh" && host_packages)
for package in "${packages[@]}"; do
  dpkg-query -W -f '${Status}\n' "$package" 2> /dev/null | grep -q ' installed$' ||
    apt-get install -y --no-install-recommends "$package"
done

stage tools
stage kernel
stage rootfs
stage rescue kernel rootfs
stage installer kernel rootfs
stage system kernel rootfs
stage netem kernel rootfs
