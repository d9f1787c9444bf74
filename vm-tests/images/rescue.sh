#!/bin/bash
# rescue.sh OUT KERNEL ROOTFS: the system a machine runs before it is installed: plain Debian
# with sshd and what kexec/run asks for, but neither Nix nor ZFS.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin rescue "$1"
kernel=$(input "$2")
rootfs=$(input "$3")

step 40 "putting the tree together"
tree=$SCRATCH/tree
cp -a "$rootfs/tree" "$tree"
(cd "$tree/usr" && rm -rf bin/{nix*,bash-static} libexec/nix bin/jq sbin/z* bin/z{fs,pool,pool_influxdb,vol_wait} sbin/{mount,fsck}.zfs \
  sbin/arc* share/zfs lib/udev/*{vdev_id,zvol_id} lib/udev/rules.d/*{vdev,zvol,zfs}*)
prune_libraries "$tree"

copy_modules "$kernel" "$tree" "${COMMON_MODULES[@]}"
echo rescue > "$tree/etc/hostname"
echo '127.0.0.1 localhost rescue' > "$tree/etc/hosts"
install -m 644 "$IMAGES/common/boot.sh" "$tree/usr/lib/boot.sh"
install -m 755 "$IMAGES/rescue/init" "$tree/init"

step 60 "compressing $(du -sh "$tree" | cut -f1)"
# Read by QEMU once per boot, never sent anywhere: a fast compression is enough.
pack_initramfs "$tree" 6 "$OUT/initrd"
cp "$kernel/Image" "$OUT/kernel"
log "initrd: $(stat -c %s "$OUT/initrd") bytes"
stage_end
