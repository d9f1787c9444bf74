#!/bin/bash
# installer.sh OUT KERNEL ROOTFS: a kexec tarball with the layout and the behaviour of
# nixos-images', for an installer that takes seconds to send to an emulated machine.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin installer "$1"
kernel=$(input "$2")
rootfs=$(input "$3")

step 10 "putting the tree together"
tree=$SCRATCH/tree
cp -a "$rootfs/tree" "$tree"
rm "$tree/usr/bin/bash-static"
copy_modules "$kernel" "$tree" "${COMMON_MODULES[@]}" zfs

mkdir -p "$tree"/{mnt,etc/nix,etc/modprobe.d,nix/store,nix/var/nix}
echo nixos-installer > "$tree/etc/hostname"
echo '127.0.0.1 localhost nixos-installer' > "$tree/etc/hosts"
rm -f "$tree/etc/os-release" "$tree/usr/lib/os-release"
cat > "$tree/etc/os-release" <<'OS'
NAME="landfall test installer"
PRETTY_NAME="landfall test installer (Debian packages in the shape of a NixOS installer)"
ID=landfall-test-installer
ID_LIKE=nixos
VARIANT_ID=installer
OS
# No network to substitute from, no build users to build as, and no namespaces to build in: the
# root of an initramfs cannot be pivoted away.
cat > "$tree/etc/nix/nix.conf" <<'NIX'
experimental-features = nix-command flakes
build-users-group =
substituters =
require-sigs = false
sandbox = false
NIX
# The default takes half the memory, and there is little.
echo 'options zfs zfs_arc_max=268435456' > "$tree/etc/modprobe.d/zfs.conf"
# 8425e349, the host id nixos-images' installer has, in the kernel's byte order.
printf '\x49\xe3\x25\x84' > "$tree/etc/hostid"

install -m 644 "$IMAGES/common/boot.sh" "$tree/usr/lib/boot.sh"
install -m 755 "$IMAGES/installer/init" "$tree/init"
install -m 755 "$IMAGES/installer/nixos-install" "$tree/usr/bin/nixos-install"

step 85 "compressing $(du -sh "$tree" | cut -f1)"
bundle=$SCRATCH/kexec
mkdir "$bundle"
pack_initramfs "$tree" 19 "$bundle/initrd"
cp "$kernel/Image" "$bundle/bzImage"
install -m 755 "$IMAGES/installer/run" "$bundle/run"

step 5 "packing the tarball"
# kexec and ip run on whatever system the machine has: with their own loader and libraries, found
# beside them.
copy_programs "$tree" "$SCRATCH/static" usr/sbin/kexec usr/sbin/ip
mkdir "$bundle/lib"
find "$SCRATCH/static" -type f -exec mv {} "$bundle/lib/" \;
for name in kexec ip; do
  cat > "$bundle/$name" <<WRAPPER
#!/bin/sh
lib=\$(dirname "\$(readlink -f "\$0")")/lib
exec "\$lib/ld-linux-aarch64.so.1" --library-path "\$lib" "\$lib/$name" "\$@"
WRAPPER
  chmod 755 "$bundle/$name"
done

tar -C "$SCRATCH" --owner=0 --group=0 --sort=name -cf - kexec | gzip -6 > "$OUT/kexec-installer.tar.gz"
log "initrd $(stat -c %s "$bundle/initrd") bytes, tarball $(stat -c %s "$OUT/kexec-installer.tar.gz") bytes"
stage_end
