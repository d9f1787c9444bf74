# shellcheck shell=sh
# The verbs of a disko script, as lib/disko.nix calls them. Like disko's own, creating is meant to be
# repeated: what is there is kept, what is missing is made. Needs sgdisk, util-linux, udevadm, mkfs.*,
# zpool and zfs in PATH. Everything that changes a disk is said before it is done.
set -eu

root=/mnt

say() { printf 'disko: %s\n' "$*" >&2; }
run() {
  say "$*"
  "$@"
}

# await LINK. The links in /dev/disk are udev's, and it makes them some time after the kernel has seen a
# change; now and then it has to be told to look again.
await() {
  tries=30
  udevadm settle --timeout=120
  until [ -e "$1" ]; do
    tries=$((tries - 1))
    if [ "$tries" -eq 0 ]; then
      say "$1 did not appear"
      exit 1
    fi
    udevadm trigger --subsystem-match=block
    udevadm settle --timeout=120
    sleep 1
  done
}

confirm() {
  [ "${option:-}" = --yes-wipe-all-disks ] && return
  echo "This destroys everything on:"
  printf '  %s\n' "$@"
  printf "Type 'yes' to go on, anything else to stop: "
  read -r answer || answer=
  if [ "$answer" != yes ]; then
    echo "Nothing was changed."
    exit 1
  fi
}

unmount_all() {
  if findmnt "$root" > /dev/null; then run umount -R "$root"; fi
}

# destroy_disk DEVICE. A pool with a member on the disk is destroyed with all its disks if it is
# imported, as disko does it: a label on a disk that is not listed stays.
destroy_disk() {
  await "$1"
  for node in $(lsblk --list --noheadings --paths --output NAME "$1" | sort -r); do
    if [ "$(blkid -p -s TYPE -o value "$node" || :)" = zfs_member ]; then
      pool=$(blkid -p -s LABEL -o value "$node" || :)
      if zpool list "$pool" > /dev/null 2>&1; then run zpool destroy -f "$pool"; fi
      # By the name of the pool, wherever that leads to.
      run zpool labelclear -f "$pool" || :
    fi
    run wipefs --quiet --all --force "$node"
  done
  # The boot code of an MBR. No more than that: a Rockchip's boot loader begins at sector 64.
  dd if=/dev/zero of="$1" bs=440 count=1 conv=notrunc status=none
}

# create_partition DEVICE NUMBER START END TYPE LABEL LINK ATTRIBUTE... A disk without a partition table
# gets one.
create_partition() {
  await "$1"
  device=$1 number=$2 start=$3 end=$4 type=$5 label=$6 link=$7
  shift 7
  for bit; do
    shift
    set -- "$@" "--attributes=$number:set:$bit"
  done
  set -- "--partition-guid=$number:R" "--change-name=$number:$label" "--typecode=$number:$type" \
    "--attributes=$number:=:0" "$@"
  # A partition that is there already only gets its name and type.
  if ! run sgdisk --align-end "--new=$number:$start:$end" "$@" "$device"; then
    run sgdisk "$@" "$device"
  fi
  udevadm settle --timeout=120
  [ -e "$link" ] || partprobe "$device" || :
  await "$link"
}

# create_filesystem FORMAT DEVICE ARGUMENT...
create_filesystem() {
  format=$1 device=$2
  shift 2
  if blkid -p -s TYPE -o value "$device" | grep -q .; then
    say "$device has a file system"
  else
    run "mkfs.$format" "$@" "$device"
  fi
}

# create_pool NAME ARGUMENT...: the arguments of `zpool create`.
create_pool() {
  name=$1
  shift
  # By name and by force, from any disk: disko's way to find out whether the pool exists.
  if zpool import -N -f "$name" 2> /dev/null || zpool list "$name" > /dev/null 2>&1; then
    say "pool $name exists"
  else
    run zpool create -f -R "$root" "$@"
  fi
}

# create_dataset NAME PROPERTY=VALUE...
create_dataset() {
  name=$1
  shift
  if zfs get type "$name" > /dev/null 2>&1; then
    # As disko: what can only be said when a data set is created is not said again.
    for property; do
      shift
      case $property in
        encryption=* | keyformat=* | pbkdf2iters=* | casesensitivity=* | normalization=* | utf8only=* | volblocksize=*) ;;
        *) set -- "$@" "$property" ;;
      esac
    done
    if [ $# -gt 0 ]; then run zfs set -u "$@" "$name"; fi
    return
  fi
  for property; do
    shift
    set -- "$@" -o "$property"
  done
  # -u: mounting is for later, in the order of the mountpoints.
  run zfs create -u -p "$@" "$name"
}

# import_pool NAME: not by force.
import_pool() {
  zpool list "$1" > /dev/null 2>&1 || run zpool import -l -R "$root" "$1"
}

# mount_filesystem TYPE DEVICE MOUNTPOINT OPTIONS
mount_filesystem() {
  if findmnt "$2" "$root$3" > /dev/null 2>&1; then
    say "$2 is mounted on $root$3"
  else
    run mount -t "$1" -o "$4,X-mount.mkdir" "$2" "$root$3"
  fi
}

option=${1:-}
