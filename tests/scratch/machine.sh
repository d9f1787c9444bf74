#!/bin/bash
# A scratch machine: process 1 of a pid, mount and UTS namespace of its own. $1: its directory, where all that a power
# cut leaves behind is; what a power cut takes is in the namespace.
#
# It boots like a real one: `rescue` or `installer` as the file `next` says, or what is on its disks (`auto`): the installed
# system if it is complete, else the rescue system again. A line into the FIFO `reboot` ends every process and boots anew.
set -eu
dir=$1
cd /

# ---- the hardware -----------------------------------------------------------------------------------------
mount --make-rprivate /
# Devices: the machine's own, with the disks as block devices (loop devices of the host under other names).
mount -t tmpfs -o mode=755 dev /dev
mknod -m 666 /dev/null c 1 3
mknod -m 666 /dev/zero c 1 5
mknod -m 666 /dev/full c 1 7
mknod -m 666 /dev/random c 1 8
mknod -m 666 /dev/urandom c 1 9
mknod -m 666 /dev/tty c 5 0
mkdir -p /dev/disk/by-id /dev/shm
ln -s /proc/self/fd /dev/fd
mkdir /dev/pts
mount -t devpts -o newinstance,ptmxmode=666 devpts /dev/pts
ln -s pts/ptmx /dev/ptmx
mount -t tmpfs -o mode=755 sys /sys
mkdir -p /sys/block /sys/class/block
while read -r name number serial sectors; do
  mknod -m 600 "/dev/$name" b "${number%:*}" "${number#*:}"
  ln -s "../../$name" "/dev/disk/by-id/ata-SCRATCH_DISK_$serial"
  mkdir -p "/sys/block/$name/queue" "/sys/block/$name/device" "/sys/block/$name/holders"
  echo "$sectors" > "/sys/block/$name/size"
  echo "$number" > "/sys/block/$name/dev"
  echo 0 > "/sys/block/$name/ro"
  echo 512 > "/sys/block/$name/queue/logical_block_size"
  echo "SCRATCH DISK" > "/sys/block/$name/device/model"
  echo "$serial" > "/sys/block/$name/device/serial"
  ln -s "../../block/$name" "/sys/class/block/$name"
done < "$dir/disks"

mount -t proc proc /proc
# Nix' build sandbox may mount one of its own only where one is seen that nothing covers a part of. (Not in /dev, which
# blkid searches.)
mkdir -p "$dir/proc"
mount -t proc proc "$dir/proc"
: > "$dir/boot_id"
mount --bind "$dir/boot_id" /proc/sys/kernel/random/boot_id
echo "console=ttyS0 init=/init" > "$dir/cmdline"
mount --bind "$dir/cmdline" /proc/cmdline
mount --bind "$dir/os-release" "$(readlink -f /etc/os-release)"
mkdir -p /nix /mnt
# Its keys are where an installer's image looks for them.
rm -rf "$dir/ssh"
cp -a /etc/ssh "$dir/ssh"
mkdir -p "$dir/ssh/authorized_keys.d"
cp "$(sed -n 's/^AuthorizedKeysFile //p' "$dir/sshd_config")" "$dir/ssh/authorized_keys.d/root"
mount --bind "$dir/ssh" /etc/ssh
# A test may have something of its own to do to the hardware.
# shellcheck source=/dev/null
[ ! -e "$dir/hardware" ] || . "$dir/hardware"

# ---- its systems ------------------------------------------------------------------------------------------
# serve HOSTKEY COMMAND: sshd; sessions run COMMAND. Where a test says so, somebody else answers in this system's place.
# shellcheck disable=SC2016 # the sessions expand it
run_there='eval "$SSH_ORIGINAL_COMMAND"' run_inside='chroot /run/root /bin/sh -c "$SSH_ORIGINAL_COMMAND"'
serve() {
  if [ -e "$dir/impostor-in-$system" ]; then set -- "$dir/impostor-in-$system" "$2"; fi
  sed "s|@key@|$1|; s|@command@|$2|" "$dir/sshd_config" > /run/sshd_config
  /usr/sbin/sshd -D -e -f /run/sshd_config 2>> "$dir/sshd.log" &
}

says() { printf 'PRETTY_NAME="%s"\nVARIANT_ID=%s\n' "$1" "$2" > "$dir/os-release"; }

# The disks hold an installation if the last thing that nixos-install writes is there.
is_installed() {
  mkdir -p /run/root
  mount /dev/sda /run/root 2> /dev/null || return 1
  if [ -L /run/root/nix/var/nix/profiles/system ] && mount /dev/sdb /run/root/boot 2> /dev/null; then
    if [ -s /run/root/boot/extlinux/extlinux.conf ]; then return 0; fi
    umount /run/root/boot
  fi
  umount /run/root
  return 1
}

# All that is the same after each installation of one system, by content.
manifest() {
  (
    cd /run/root
    find nix/store boot -type f -print0 | sort -z | xargs -0 sha256sum
    find nix/store nix/var/nix/profiles -type l -printf '%p -> %l\n' | sort
    stat -c '%n %a' etc/ssh/ssh_host_ed25519_key
  ) > "$dir/manifest.part"
  mv "$dir/manifest.part" "$dir/manifest"
}

boot() {
  # A new one each time: what was written into the last boot's is nothing to this one.
  rm -f "$dir/reboot"
  mkfifo -m 600 "$dir/reboot"
  exec 3<> "$dir/reboot"
  cat /proc/sys/kernel/random/uuid > "$dir/boot_id"
  mount -t tmpfs -o mode=755 run /run
  mount -t tmpfs -o mode=755 nix /nix
  mkdir -p /run/sshd
  rm -rf "${dir:?}/home"
  mkdir "$dir/home"
  system=$(cat "$dir/next")
  echo auto > "$dir/next"
  if [ "$system" = auto ]; then
    if is_installed; then system=installed; else system=rescue; fi
  fi
  hostname "$system"
  case $system in
    rescue)
      says "a rescue system" ""
      serve "$dir/host_key" "$run_there"
      ;;
    installer)
      says "an installer" installer
      serve "$dir/host_key" "$run_there"
      ;;
    installed)
      manifest
      # Its own root, with the programs of the host and this machine's devices.
      for name in bin lib lib64 usr dev sys proc; do
        [ -e "/$name" ] || continue
        mkdir -p "/run/root/$name"
        mount --rbind "/$name" "/run/root/$name"
      done
      hostname "$(chroot /run/root cat "$(readlink /run/root/nix/var/nix/profiles/system-1-link)/etc/hostname")"
      mkdir -p /run/root/run
      mount -t tmpfs -o mode=755 run /run/root/run
      ln -s "$(readlink /run/root/nix/var/nix/profiles/system-1-link)" /run/root/run/current-system
      serve /run/root/etc/ssh/ssh_host_ed25519_key "$run_inside"
      ;;
  esac
  echo "$system" >> "$dir/boots"
}

shut_down() {
  # Everything in this pid namespace but us.
  kill -KILL -1 2> /dev/null || true
  wait || true
  # shellcheck disable=SC2013 # they have no blanks
  for point in $(awk '$2 ~ "^/(mnt|run|nix)(/|$)" { print $2 }' /proc/mounts | sort -r); do
    umount -l "$point" 2> /dev/null || true
  done
}

while :; do
  boot
  read -r _ <&3
  shut_down
done
