#!/bin/bash
# kernel.sh OUT: Debian's arm64 kernel and its modules, spl.ko and zfs.ko built for it, and the
# Helios64's device tree. ZFS is cross-built: under emulation the compiler would take an hour.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin kernel "$1"

arch=$(dpkg --print-architecture)
step 2 "reading the package lists"
# Waited for before anything is read from it.
apt_state build "$arch" &
build_lists=$!
apt_state target arm64
wait "$build_lists" || die "no package lists for $arch"
version=$(apt_in target apt-cache show linux-image-arm64 |
  sed -n 's/^Depends:.*linux-image-\([0-9][^ ,]*-arm64\).*/\1/p' | head -n1)
[ -n "$version" ] || die "linux-image-arm64 depends on no kernel"
release=${version%-arm64}
if [ "$arch" = arm64 ]; then
  compiler=(gcc-14 libc6-dev)
else
  compiler=("gcc-14-$TARGET_TRIPLET" libc6-dev-arm64-cross)
fi

# newest STATE PACKAGE...: each with the version that would be downloaded.
newest() {
  local state=$1
  shift
  apt_in "$state" apt-cache show --no-all-versions "$@" | sed -n 's/^\(Package\|Version\): //p' | paste -sd ' '
}
# Building ZFS takes longer than all else together, so the two modules outlive this stage, under the
# hash of what they are made from.
made_from=$(newest target "linux-headers-$version" zfs-dkms && newest build "${compiler[@]}" "linux-kbuild-$release" &&
  cat "$IMAGES/kernel.sh" "$IMAGES/kernel/zfs.sh" "$IMAGES/kernel/probe-cc")
kept=$(dirname "$OUT")/zfs-$(sha256sum <<< "$made_from" | cut -c1-16)

step 3 "downloading kernel $version"
fetch_only target "linux-image-$version"
step 4 "unpacking the kernel"
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

if [ ! -e "$kept/.complete" ]; then
  step 4 "downloading the compiler and the source of zfs"
  fetch_only target "linux-headers-$version" zfs-dkms
  fetch_closure build "${compiler[@]}" make kmod xz-utils file perl-base gawk mawk bash dash coreutils sed grep \
    findutils diffutils tar gzip bc "linux-kbuild-$release" "linux-headers-$release-common"
  step 7 "unpacking the compiler"
  chroot=$SCRATCH/build
  unpack_all build "$chroot"
  unpack_all target "$chroot"
  ln -sfn dash "$chroot/usr/bin/sh"
  ln -sfn gawk "$chroot/usr/bin/awk"
  mkdir -p "$chroot"/{proc,dev,tmp,root,etc,probe}
  # With vmlinux present kbuild adds BTF type data to each module, which fails on objects without
  # debug information, and those take a third less time.
  rm -f "$chroot/usr/src/linux-headers-$version/vmlinux"
  source=$(find "$chroot/usr/src" -maxdepth 1 -name 'zfs-*')
  [ -d "$source" ] || die "zfs-dkms unpacked to no single /usr/src/zfs-*"
  mv "$source" "$chroot/zfs"
  install -m 755 "$IMAGES/kernel/zfs.sh" "$chroot/zfs.sh"
  install -m 755 "$IMAGES/kernel/probe-cc" "$chroot/probe/$TARGET_TRIPLET-gcc-14"

  # in_chroot PART: runs one part of zfs.sh. The mounts live in a namespace of their own: whatever
  # happens here, none stays behind.
  in_chroot() {
    # shellcheck disable=SC2016
    unshare --mount --propagation private bash -c '
      mount -t proc proc "$1/proc" && mount --rbind /dev "$1/dev" &&
        exec chroot "$1" /bin/bash /zfs.sh "${@:2}"' - "$chroot" "$1" "$version" "$TARGET_TRIPLET" 2>&1
  }
  # Each probe is compiled once, and of those that compile a module is made.
  probes=$(grep -ho 'ZFS_LINUX_TEST_SRC(' "$chroot"/zfs/config/*.m4 | wc -l)
  step 30 "configuring zfs for kernel $version"
  in_chroot configure | count_progress $((probes * 2)) 'probe *' || die "zfs could not be configured"
  step 50 "compiling zfs"
  sources=$(in_chroot count)
  in_chroot make | count_progress "$sources" '*  CC \[M\] *' || die "zfs did not build"
  modinfo -F vermagic "$chroot/zfs.ko" | grep -q "^$version " || die "zfs.ko is not for $version"
  rm -rf --one-file-system "$(dirname "$OUT")"/zfs-????????????????
  mkdir "$kept"
  cp "$chroot/spl.ko" "$chroot/zfs.ko" "$kept/"
  : > "$kept/.complete"
fi
cp "$kept/spl.ko" "$kept/zfs.ko" "$OUT/zfs/"
log "zfs $(modinfo -F version "$OUT/zfs/zfs.ko") for $version"
stage_end
