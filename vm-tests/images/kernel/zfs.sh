#!/bin/bash
# zfs.sh configure|count|make KERNEL TRIPLET: spl.ko and zfs.ko in three parts, in a chroot that has
# zfs' source in /zfs, the kernel's headers in /usr/src and the compiler.
set -euo pipefail
export PATH=/usr/sbin:/usr/bin LC_ALL=C
kernel=$2 triplet=$3
cd /zfs

case $1 in
  configure)
    # KCFLAGS: kbuild's own way to add a flag; nobody looks at a probe with a debugger.
    exec 9>&1
    PATH=/probe:$PATH KCFLAGS=-g0 ./configure --host="$triplet" --build="$(uname -m)-linux-gnu" \
      CC="$triplet-gcc-14" --disable-dependency-tracking --with-config=kernel \
      --with-linux="/usr/src/linux-headers-${kernel%-*}-common" --with-linux-obj="/usr/src/linux-headers-$kernel"
    ;;
  count)
    # What `make` would print, without doing it. It ends at the first file that another makes.
    { make -n CFLAGS_MODULE=-g0 2> /dev/null || true; } | grep -c 'CC \[M\]'
    ;;
  make)
    make -j"$(nproc)" CFLAGS_MODULE=-g0
    for module in spl zfs; do
      built=$(find module -name "$module.ko")
      "$triplet-strip" --strip-debug "$built"
      cp "$built" "/$module.ko"
    done
    ;;
esac
