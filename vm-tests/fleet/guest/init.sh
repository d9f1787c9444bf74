# shellcheck shell=sh disable=SC2154 # system and PATH are set by lib/system.nix
# Stage 2, and process 1 for as long as the machine runs. The initrd has mounted the root file system
# and the pool's others; everything else happens here.

say() { echo "stage 2: $*"; }
mounted() { grep -q "^[^ ]* $1 " /proc/mounts; }
# offer TYPE PATH [OPTIONS]: a file system of the kernel, unless the initrd has brought it along.
offer() {
  mkdir -p "$2"
  mounted "$2" || mount -t "$1" -o "${3:-defaults}" "$1" "$2"
}

[ -e /proc/self ] || { mkdir -p /proc && mount -t proc proc /proc; }
say "$system"
mount -o remount,rw / 2> /dev/null
offer sysfs /sys
offer devtmpfs /dev
offer devpts /dev/pts mode=620,gid=5,ptmxmode=666
offer tmpfs /dev/shm mode=1777
offer tmpfs /run mode=755
mkdir -p /run/sshd
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd

"$system/activate" || say "activation failed"
ln -sfn "$system" /run/booted-system

# Devices before file systems: their names in /dev/disk are udev's.
if [ -x /lib/systemd/systemd-udevd ]; then
  /lib/systemd/systemd-udevd --daemon
  # Only what has a driver to be loaded or a disk on it: the other devices are hundreds, and a process each.
  udevadm trigger --action=add --subsystem-match=pci --subsystem-match=virtio --subsystem-match=scsi \
    --subsystem-match=block --subsystem-match=net --subsystem-match=nvme --subsystem-match=rtc
  udevadm settle --timeout=60
fi

while read -r device point type options _; do
  case $type in zfs) continue ;; esac
  if mounted "$point"; then continue; fi
  tries=30
  until [ -e "$device" ] || [ "$tries" -eq 0 ]; do
    sleep 1
    tries=$((tries - 1))
  done
  mkdir -p "$point"
  mount -t "$type" -o "$options" "$device" "$point" || say "cannot mount $device on $point"
done < /etc/fstab

ip link set lo up
for interface in /sys/class/net/*; do
  interface=${interface##*/}
  [ "$interface" != lo ] || continue
  ip link set "$interface" up
  # In the background: a port without a cable must not keep the other waiting.
  udhcpc -f -i "$interface" -s /lib/dhcp-event > /dev/null 2>&1 &
done

sed -n 's/^HostKey //p' /etc/ssh/sshd_config | while read -r key; do
  if [ ! -s "$key" ]; then
    say "no host key $key, making one"
    ssh-keygen -q -t ed25519 -N '' -C "root@$(hostname)" -f "$key"
  fi
done
# sshd starts itself again by its path, so it must be called by that.
"$(command -v sshd)" || say "sshd failed"

# What busybox sends to process 1 for poweroff, halt and reboot. Pools are not exported: the next
# boot imports them under the same host id.
trap 'sync; poweroff -f' USR2
trap 'sync; halt -f' USR1
trap 'sync; reboot -f' TERM

echo "LANDFALL-FIXTURE-UP $(hostname) $system"
# Every orphan becomes a child of process 1; `wait` buries them.
while :; do
  sleep 3600 &
  wait
done
