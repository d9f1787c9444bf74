# shellcheck shell=bash
# What the rescue's and the installer's /init share. No systemd: half the boot time under
# emulation, and a fifth of the memory.

export PATH=/usr/sbin:/usr/bin HOME=/root TERM=linux

say() { echo "$(< /etc/hostname): $* ($(cut -d' ' -f1 /proc/uptime) s)"; }

mount_kernel_filesystems() {
  mount -t proc proc /proc
  mount -t sysfs sys /sys
  mount -t devtmpfs dev /dev
  mkdir -p /dev/pts /dev/shm
  mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
  mount -t tmpfs -o mode=1777 shm /dev/shm
  mount -t tmpfs -o mode=755 run /run
  mkdir -p /run/sshd /run/lock /run/udev
  ln -sfn /proc/self/fd /dev/fd
  ln -sfn /proc/self/fd/0 /dev/stdin
  ln -sfn /proc/self/fd/1 /dev/stdout
  ln -sfn /proc/self/fd/2 /dev/stderr
  exec < /dev/console > /dev/console 2>&1
  # An archive appended to the image may have carried its own idea of the root directory's mode.
  chmod 755 /
  # Warnings and worse only: the serial console is slow.
  echo '4 4 1 7' > /proc/sys/kernel/printk
  hostname -F /etc/hostname
  ip link set lo up
}

# What an archive appended to the image hands over: who may log in, and as which host we answer.
restore_ssh() {
  install -d -m 700 /root/.ssh
  if [ -s /ssh/authorized_keys ]; then
    install -m 600 /ssh/authorized_keys /root/.ssh/authorized_keys
  fi
  local file
  for file in /ssh/ssh_host_*; do
    case $file in
      *.pub) install -m 644 "$file" /etc/ssh/ ;;
      *'*') ssh-keygen -q -t ed25519 -N '' -f /etc/ssh/ssh_host_ed25519_key ;;
      *) install -m 600 "$file" /etc/ssh/ ;;
    esac
  done
}

# Of the hundreds of devices that the kernel has by itself (consoles, memory, timers), the rules of udev know nothing that is
# needed here, and each costs a process under emulation. Drivers that load bring further ones, of which the kernel tells.
start_udev() {
  local subsystem
  local -a wanted=()
  for subsystem in pci virtio scsi block net nvme usb rtc; do wanted+=("--subsystem-match=$subsystem"); done
  /usr/lib/systemd/systemd-udevd --daemon
  udevadm trigger --type=devices --action=add "${wanted[@]}"
  udevadm settle --timeout=60
}

network_interfaces() {
  local path
  for path in /sys/class/net/*; do
    # Only what has hardware behind it: not lo, tunnels or bridges.
    [ ! -e "$path/device" ] || echo "${path##*/}"
  done
}

# Returns when there is a lease or after five seconds; udhcpc stays to try again and to renew.
dhcp() {
  ip link set "$1" up
  busybox udhcpc -b -i "$1" -t 5 -T 1 -p "/run/udhcpc-$1.pid" -s /usr/lib/dhcp-event > /dev/null 2>&1
}

# Process 1 must not end; bash collects the children nobody waits for.
stay() {
  trap : CHLD
  while :; do
    sleep 3600 &
    wait $!
  done
}
