#!/bin/bash
# system.sh OUT KERNEL ROOTFS: the aarch64 parts of the system that a rehearsal installs. They
# become Nix store paths of the fixture flake, so they are small and hold nothing a store refuses.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin system "$1"
kernel=$(input "$2")
rootfs=$(input "$3")
tree=$rootfs/tree

step 70 "packing the initrd"
cp "$kernel/Image" "$OUT/Image"
cp -r "$kernel/dtbs" "$OUT/dtbs"

# ---- the initrd -----------------------------------------------------------------------------
initrd=$SCRATCH/initrd
mkdir -p "$initrd"/{proc,sys,dev,run,sysroot,tmp,etc/modprobe.d,usr/bin,usr/sbin,usr/lib}
for name in bin sbin lib; do ln -s "usr/$name" "$initrd/$name"; done
copy_programs "$tree" "$initrd" usr/bin/busybox usr/sbin/zpool usr/sbin/zfs usr/sbin/mount.zfs \
  "usr/lib/$TARGET_TRIPLET/libgcc_s.so.1"
for name in awk cat cut dd grep ln mkdir mount sed sh sleep tr modprobe switch_root; do
  ln -s busybox "$initrd/usr/bin/$name"
done
initrd_modules=(virtio_pci virtio_mmio virtio_blk virtio_net virtio_rng ahci sd_mod nvme ext4 zfs)
copy_modules "$kernel" "$initrd" "${initrd_modules[@]}"
echo "${initrd_modules[*]}" > "$initrd/modules"
echo 'options zfs zfs_arc_max=268435456' > "$initrd/etc/modprobe.d/zfs.conf"
install -m 755 "$IMAGES/system/init" "$initrd/init"
pack_initramfs "$initrd" 19 "$OUT/initrd-base"
# The kernel finds an appended archive that is not compressed at multiples of four only.
truncate -s %4 "$OUT/initrd-base"

# ---- what is in the PATH of the installed system ----------------------------------------------
step 30 "choosing the programs"
# Not Nix: with its libraries it is as large as all the rest, and nothing after the installation
# asks the new system for it.
sw=$OUT/sw
programs=()
for name in busybox cat chgrp chmod chown cp cpio cut date dd df diff dirname dmesg du echo env false find \
  findmnt flock fold free fuser getent grep gzip head hostname id install ip join kill kmod ln \
  ls lsblk mawk md5sum mkdir mkfifo mktemp more mount mountpoint mv nice nl nohup nproc od \
  paste pgrep pkill printenv printf ps pwd readlink realpath rm rmdir sed seq setsid sha256sum \
  sleep sort split ss stat stty sync tail tar tee test timeout touch tr true truncate tty uname \
  umount uniq unlink unshare uptime wc which who xargs yes ssh-keygen udevadm systemd-detect-virt \
  agetty blkid blockdev chroot e2fsck hwclock kexec losetup mke2fs mkfs.ext4 mkfs.fat mount.zfs partx pivot_root reboot \
  sfdisk sshd swapoff swapon switch_root sysctl wipefs zfs zgenhostid zpool; do
  for place in usr/bin usr/sbin; do
    if [ -f "$tree/$place/$name" ] && [ ! -L "$tree/$place/$name" ]; then programs+=("$place/$name"); fi
  done
done
mapfile -t -O "${#programs[@]}" programs < <(cd "$tree" &&
  find usr/lib/openssh/sshd-session usr/lib/openssh/sshd-auth usr/lib/udev usr/lib/dhcp-event \
    "usr/lib/$TARGET_TRIPLET/libgcc_s.so.1" usr/lib/"$TARGET_TRIPLET"/libnss_* \
    usr/lib/"$TARGET_TRIPLET"/lib{lzma,zstd,kmod,acl,seccomp,crypto}.so.? usr/share/zfs -type f -o -type l)
copy_programs "$tree" "$sw" "${programs[@]}"
find "$tree/usr/lib/modprobe.d" -type f -exec install -Dm644 -t "$sw/usr/lib/modprobe.d" {} +
mkdir -p "$sw/usr/lib/systemd"
ln -s ../../bin/udevadm "$sw/usr/lib/systemd/systemd-udevd"
link() { [ -e "$sw/usr/$2" ] || ln -s "$1" "$sw/usr/$2"; }
# The others find their loader in /lib, which is only there once activation has made the link.
# What activation itself is run by must do without: the shell, and busybox.
install -m 755 "$tree/usr/bin/bash-static" "$sw/usr/bin/bash"
link bash bin/sh
link mawk bin/awk
for name in lsmod modinfo; do link kmod "bin/$name"; done
for name in depmod insmod modprobe rmmod; do link ../bin/kmod "sbin/$name"; done
for name in poweroff halt; do link reboot "sbin/$name"; done
link mke2fs sbin/mkfs.ext4
# What the chosen packages have no small program for.
for name in basename clear comm expr less nslookup ping udhcpc vi wget whoami; do link busybox "bin/$name"; done
# What opens secrets at activation, which runs when /lib is there already.
cp "$rootfs/apart/age/usr/bin/age" "$sw/usr/bin/"
# Configuration to copy or to link to; where these files go is the system's own business.
for name in passwd group nsswitch.conf ssh/sshd_config; do install -Dm644 "$tree/etc/$name" "$sw/etc/$name"; done
copy_modules "$kernel" "$sw" "${BOARD_MODULES[@]}" zfs
chmod -R u+w,go-w "$sw"

# ---- what a Nix store cannot take -------------------------------------------------------------
odd=$(find "$sw" ! -type f ! -type d ! -type l -o -type f -perm /6000)
[ -z "$odd" ] || die "not for a Nix store: $odd"
# Some machines' file systems (and so Nix's archives there) do not tell upper from lower case.
odd=$(cd "$sw" && find . | tr '[:upper:]' '[:lower:]' | sort | uniq -d)
[ -z "$odd" ] || die "names that differ in case only: $odd"
odd=$(find "$sw" -xtype l)
[ -z "$odd" ] || die "links to nothing: $odd"

log "initrd-base $(stat -c %s "$OUT/initrd-base") bytes, sw $(find "$sw" -type f -printf '%s\n' | awk '{ n += $1 } END { print n }') bytes in $(find "$sw" -type f | wc -l) files"
stage_end
