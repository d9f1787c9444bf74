#!/bin/bash
# tools.sh OUT: programs for the workstation: a modern Nix and QEMU whatever Debian it runs,
# U-Boot for the emulated board, and static programs for Nix builders.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin tools "$1"

arch=$(dpkg --print-architecture)
step 20 "reading the package list"
apt_state host "$arch"
step 40 "downloading nix, qemu and u-boot for $arch"
fetch_closure host nix-bin qemu-system-arm qemu-utils patchelf busybox-static bash-static
fetch_only host u-boot-qemu
step 35 "unpacking"
root=$OUT/root
unpack_all host "$root"

step 5 "adopting the programs"
# The programs bring their own libc, so they must be started by its loader. Burning loader and
# library path in (instead of a wrapper that calls the loader) keeps /proc/self/exe right: Nix
# starts itself again through it, and QEMU finds its data files and modules relative to it.
# DT_RPATH, unlike DT_RUNPATH, also holds for the libraries' own dependencies.
loader=$(find "$root/usr/lib" -path '*-linux-gnu/ld-linux*' | head -n1)
[ -n "$loader" ] || die "no dynamic loader in the unpacked packages"
libdir=$(dirname "$loader")
run_unpacked() { "$loader" --library-path "$libdir" "$root/usr/bin/$1" "${@:2}"; }
adopt() {
  local program=$root/usr/bin/$1
  run_unpacked patchelf --set-interpreter "$loader" --force-rpath --set-rpath "$libdir${2:+:$2}" \
    --output "$program.adopted" "$program"
  chmod 755 "$program.adopted"
  mv "$program.adopted" "$program"
}
adopt nix
adopt qemu-img
# QEMU's optional libraries sit in sub-directories that an installed system knows from ld.so.conf.
adopt qemu-system-aarch64 "$(find "$libdir" -mindepth 1 -maxdepth 1 -type d \( -name pulseaudio -o -name blas -o -name lapack \) | paste -sd:)"

mkdir -p "$OUT/bin" "$OUT/static"
ln -s ../root/usr/bin/nix "$OUT/bin/nix"
# Nix chooses its role by the name it is called by.
for name in build channel collect-garbage copy-closure daemon env hash instantiate prefetch-url shell store; do
  ln -s ../root/usr/bin/nix "$OUT/bin/nix-$name"
done
ln -s ../root/usr/bin/qemu-system-aarch64 ../root/usr/bin/qemu-img "$OUT/bin/"
cp "$root/usr/bin/busybox" "$root/usr/bin/bash-static" "$OUT/static/"
mv "$OUT/static/bash-static" "$OUT/static/bash"
cp "$root/usr/lib/u-boot/qemu_arm64/u-boot.bin" "$OUT/u-boot.bin"

# What Nix must be told when it is not installed: no build users, no cache on the network, and a
# shell for the build sandbox (Debian's Nix expects its own in /usr). The store is the caller's
# choice: append `store = DIR` (or set NIX_STORE_ROOT before sourcing env.sh).
cat > "$OUT/nix.conf" <<CONF
experimental-features = nix-command flakes
build-users-group =
substituters =
sandbox-paths = /bin/sh=$OUT/static/bash
CONF
cat > "$OUT/env.sh" <<ENV
# Source this for Nix and QEMU in PATH; NIX_STORE_ROOT, if set, becomes Nix's chroot store.
export PATH="$OUT/bin:\$PATH"
NIX_CONFIG="\$(cat "$OUT/nix.conf")\${NIX_STORE_ROOT:+
store = \$NIX_STORE_ROOT}"
export NIX_CONFIG
ENV

# Files nobody uses here, over a hundred megabytes: other machines' firmware, and the rest of u-boot.
find "$root/usr/lib/u-boot" -mindepth 1 -maxdepth 1 ! -name qemu_arm64 -exec rm -rf {} +

log "$("$OUT/bin/nix" --version), $("$OUT/bin/qemu-system-aarch64" --version | head -n1)"
stage_end
