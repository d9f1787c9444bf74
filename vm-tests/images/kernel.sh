#!/bin/bash
# kernel.sh OUT: Debian's arm64 kernel and its modules, spl.ko and zfs.ko built for it, and the
# Helios64's device tree. ZFS is cross-built: under emulation the compiler would take an hour.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin kernel "$1"

arch=$(dpkg --print-architecture)
apt_state target arm64
version=$(apt_in target apt-cache show linux-image-arm64 |
  sed -n 's/^Depends:.*linux-image-\([0-9][^ ,]*-arm64\).*/\1/p' | head -n1)
[ -n "$version" ] || die "linux-image-arm64 depends on no kernel"
release=${version%-arm64}

log "downloading kernel $version"
fetch_only target "linux-image-$version" "linux-headers-$version" zfs-dkms
mkdir "$SCRATCH/target"
unpack_all target "$SCRATCH/target"
cp "$SCRATCH/target/boot/vmlinuz-$version" "$OUT/Image"
mkdir -p "$OUT/modules" "$OUT/zfs" "$OUT/dtbs/rockchip"
mv "$SCRATCH/target/usr/lib/modules/$version" "$OUT/modules/"
find "$SCRATCH/target/usr/lib/linux-image-$version" -path '*/rockchip/rk3399-kobol-helios64.dtb' \
  -exec cp {} "$OUT/dtbs/rockchip/" \;
[ -s "$OUT/dtbs/rockchip/rk3399-kobol-helios64.dtb" ] || die "$version has no device tree for the Helios64"
# Links into the headers, which are not kept.
rm -f "$OUT/modules/$version"/{build,source}
depmod_root=$SCRATCH/depmod
mkdir -p "$depmod_root/lib"
ln -s "$OUT/modules" "$depmod_root/lib/modules"
depmod -b "$depmod_root" "$version"
echo "$version" > "$OUT/version"

log "unpacking the compiler"
apt_state build "$arch"
compiler=(gcc-14 libc6-dev)
[ "$arch" = arm64 ] || compiler+=("gcc-14-$TARGET_TRIPLET" libc6-dev-arm64-cross)
fetch_closure build "${compiler[@]}" make kmod xz-utils file perl-base gawk mawk bash dash \
  coreutils sed grep findutils diffutils tar gzip bc "linux-kbuild-$release" "linux-headers-$release-common"
chroot=$SCRATCH/build
unpack_all build "$chroot"
cp -a "$SCRATCH/target/usr/src/." "$chroot/usr/src/"
ln -sfn dash "$chroot/usr/bin/sh"
ln -sfn gawk "$chroot/usr/bin/awk"
mkdir -p "$chroot"/{proc,dev,tmp,root,etc}
# With vmlinux present kbuild adds BTF type data to each module, which fails on objects without
# debug information, and those (CFLAGS_MODULE=-g0) take a third less time.
rm -f "$chroot/usr/src/linux-headers-$version/vmlinux"
source=$(find "$chroot/usr/src" -maxdepth 1 -name 'zfs-*')
[ -d "$source" ] || die "zfs-dkms unpacked to no single /usr/src/zfs-*"
mv "$source" "$chroot/zfs"

cat > "$chroot/build.sh" <<BUILD
set -eu
export PATH=/usr/sbin:/usr/bin LC_ALL=C
cd /zfs
./configure --host=$TARGET_TRIPLET --build="\$(gcc-14 -dumpmachine)" CC=$TARGET_TRIPLET-gcc-14 \
  --disable-dependency-tracking --with-config=kernel \
  --with-linux=/usr/src/linux-headers-$release-common --with-linux-obj=/usr/src/linux-headers-$version
echo "== make =="
make -j$(nproc) CFLAGS_MODULE=-g0
for module in spl zfs; do
  built=\$(find module -name \$module.ko)
  $TARGET_TRIPLET-strip --strip-debug "\$built"
  cp "\$built" /\$module.ko
done
BUILD
log "building zfs (minutes)"
# The mounts live in a namespace of their own: whatever happens here, none stays behind.
# shellcheck disable=SC2016
unshare --mount --propagation private bash -c '
  mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" && chroot "$1" /bin/bash /build.sh' - "$chroot" \
  > "$SCRATCH/zfs.log" 2>&1 || { tail -n 30 "$SCRATCH/zfs.log" >&2; die "zfs did not build"; }
cp "$chroot/spl.ko" "$chroot/zfs.ko" "$OUT/zfs/"
modinfo -F vermagic "$OUT/zfs/zfs.ko" | grep -q "^$version " || die "zfs.ko is not for $version"

log "zfs $(modinfo -F version "$OUT/zfs/zfs.ko") for $version"
stage_end
