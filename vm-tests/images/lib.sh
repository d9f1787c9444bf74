# shellcheck shell=bash
# Shared by every stage in this directory; sourced, never run.
#
# A stage is `NAME.sh OUT [INPUT...]`. OUT is the *final* path of the result (programs get it
# burned in as loader and library path), so a stage empties OUT first and creates OUT/.complete
# last: an OUT without that marker is a stage that was interrupted.
#
# Nothing is installed on the workstation: packages come from Debian through a private apt state
# and are only unpacked, so no maintainer script and no foreign code ever runs here.

set -euo pipefail
export LC_ALL=C
umask 022

# The one suite everything is taken from. Newer QEMU (>= 10) matters: older ones run a kernel
# that was started by kexec several times slower.
SUITE=trixie
TARGET_TRIPLET=aarch64-linux-gnu

# What the workstation needs besides root, apt, dpkg and the essential packages.
host_packages() {
  printf '%s\n' binutils cpio debian-archive-keyring kmod xz-utils zstd
}

# The directory of these scripts, for the init scripts beside them.
IMAGES=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
export IMAGES

# What a stage says goes to two places. Everything the programs print, and what `log` adds to it,
# goes to the log file OUT.log, which stays. What is going on goes to file descriptor 3: as lines for
# a person when a stage is run by hand, and with STAGE_PROTOCOL=1 as lines for the program that draws
# bars of them:
#
#   step 3/7 35+20 TEXT   the third of seven steps begins; 35 % of the work lies before it, it is 20 %
#   progress 120/420      so much of this step is done

log() { printf '[%s +%ds] %s\n' "${STAGE:-images}" "$SECONDS" "$*" >&2; }
die() { log "error: $*"; exit 1; }

# step SHARE TEXT: the next step begins, which is SHARE percent of the stage's work. How many there
# are is read off the script: every call stands on a line of its own.
step() {
  STEP=$((STEP + 1))
  log "$2"
  if [ "${STAGE_PROTOCOL:-}" = 1 ]; then
    echo "step $STEP/$STEPS $STEPS_BEFORE+$1 $2" >&3
  else
    printf '[%s +%ds] %s/%s %s\n' "$STAGE" "$SECONDS" "$STEP" "$STEPS" "$2" >&3
  fi
  STEPS_BEFORE=$((STEPS_BEFORE + $1))
}

# count_progress TOTAL PATTERN: copies its input to the log and counts the lines that match.
count_progress() {
  local line done=0
  while IFS= read -r line; do
    printf '%s\n' "$line" >&2
    # shellcheck disable=SC2254 # a pattern is what is wanted
    case $line in $2) done=$((done + 1)) ;; *) continue ;; esac
    [ "${STAGE_PROTOCOL:-}" != 1 ] || echo "progress $done/$1" >&3
  done
}

# stage_begin NAME OUT: empty OUT, open the log, make a scratch directory that disappears again.
stage_begin() {
  STAGE=$1
  [ "$(id -u)" = 0 ] || die "must run as root (file owners in the images)"
  case $2 in /?*) ;; *) die "OUT must be an absolute path, got '$2'" ;; esac
  OUT=$2
  mkdir -p "$OUT"
  find "$OUT" -mindepth 1 -delete
  OUT=$(readlink -f "$OUT")
  if [ "${STAGE_PROTOCOL:-}" = 1 ]; then exec 3>&1; else exec 3>&2; fi
  exec > "$OUT.log" 2>&1
  STEP=0 STEPS=$(grep -cE '^ *step [0-9]' "$0") STEPS_BEFORE=0
  # Inside OUT, so that large trees stay on the cache's file system and cost no copy.
  SCRATCH=$OUT/.scratch
  mkdir "$SCRATCH"
  trap stage_leave EXIT
}

stage_leave() {
  local status=$?
  rm -rf --one-file-system "$SCRATCH"
  [ "$status" = 0 ] || [ "${STAGE_PROTOCOL:-}" = 1 ] || {
    tail -n 15 "$OUT.log"
    echo "[$STAGE] failed; all it said is in $OUT.log"
  } >&3
}

stage_end() {
  rm -rf --one-file-system "$SCRATCH"
  log "done: $(du -sh "$OUT" | cut -f1)"
  : > "$OUT/.complete"
}

# input DIR: an earlier stage's directory, which must be finished.
input() {
  [ -e "$1/.complete" ] || die "$1 is not a finished stage (no .complete)"
  readlink -f "$1"
}

# Mirrors fail now and then for a moment, and so does apt's own locking.
retry() {
  local try
  for try in 1 2 3 4; do
    if "$@"; then return 0; fi
    log "attempt $try failed: $*"
    [ "$try" = 4 ] || sleep $((try * 2))
  done
  return 1
}

# The machine's own Debian mirror, as configured for apt.
debian_mirror() {
  if [ -n "${DEBIAN_MIRROR:-}" ]; then echo "$DEBIAN_MIRROR"; return; fi
  local uri
  # shellcheck disable=SC2016 # apt-get fills in the variable
  uri=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Origin: Debian' |
    grep -v security | sort -u | head -n1 || true)
  [ -n "$uri" ] || die "no Debian mirror in apt's configuration (run apt-get update, or set DEBIAN_MIRROR)"
  echo "$uri"
}

# apt_state NAME ARCH: a private apt state for ARCH. Its dpkg status is empty, so a closure
# resolved in it is complete down to libc. Use through `apt_in NAME command...`.
apt_state() {
  local dir=$SCRATCH/apt-$1 arch=$2 mirror
  mirror=$(debian_mirror)
  mkdir -p "$dir"/{lists/partial,archives/partial,none}
  : > "$dir/status"
  echo "deb [arch=$arch signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] $mirror $SUITE main contrib" \
    > "$dir/sources.list"
  cat > "$dir/apt.conf" <<CONF
Dir::Etc::sourcelist "$dir/sources.list";
Dir::Etc::sourceparts "$dir/none";
Dir::Etc::preferencesparts "$dir/none";
Dir::State "$dir";
Dir::State::lists "$dir/lists";
Dir::State::status "$dir/status";
Dir::Cache "$dir";
Dir::Cache::archives "$dir/archives";
APT::Architecture "$arch";
APT::Architectures { "$arch"; };
APT::Install-Recommends "false";
APT::Sandbox::User "root";
Acquire::Languages "none";
Acquire::IndexTargets::deb::DEP-11::DefaultEnabled "false";
CONF
  # Without the option a list that could not be had is a warning, and the old error comes later.
  retry apt_in "$1" apt-get -q -o APT::Update::Error-Mode=any update ||
    die "no package lists for $SUITE ($arch) from $mirror"
}

apt_in() {
  local dir=$SCRATCH/apt-$1
  shift
  APT_CONFIG=$dir/apt.conf "$@"
}

# fetch_closure NAME PACKAGE...: packages and all they depend on, into the state's archives.
fetch_closure() {
  local name=$1
  shift
  retry apt_in "$name" apt-get -q -y --download-only -o Debug::NoLocking=1 install "$@" || die "cannot download: $*"
}

# fetch_only NAME PACKAGE...: just these packages.
fetch_only() {
  local name=$1
  shift
  (cd "$SCRATCH/apt-$name/archives" && retry apt_in "$name" apt-get -q download "$@") ||
    die "cannot download: $*"
}

# unpack_all NAME TREE: unpack a state's archives into TREE without documentation, and forget them.
# The usr-merge links come first: packages that still ship /lib/... then land in /usr/lib.
unpack_all() {
  local deb name
  mkdir -p "$2"/usr/{bin,sbin,lib,lib64}
  for name in bin sbin lib lib64; do ln -sfn "usr/$name" "$2/$name"; done
  for deb in "$SCRATCH/apt-$1/archives"/*.deb; do
    dpkg-deb --fsys-tarfile "$deb" | tar -C "$2" -xpf - --keep-directory-symlink \
      --exclude='./usr/share/doc/*' --exclude='./usr/share/man/*' --exclude='./usr/share/info/*' \
      --exclude='./usr/share/locale/*' --exclude='./usr/share/i18n/*' --exclude='./usr/share/lintian/*' \
      --exclude='./usr/share/bug/*' --exclude='./usr/share/doc-base/*'
    rm "$deb"
  done
}

# pack_initramfs TREE LEVEL FILE: a zstd newc cpio owned by root, in a stable order.
pack_initramfs() {
  (cd "$1" && find . -mindepth 1 -print0 | sort -z |
    cpio -0 --quiet -o -H newc -R 0:0 --reproducible) | zstd -q -T0 "-$2" > "$3"
}

# copy_modules KERNEL TREE MODULE...: the named modules of stage `kernel` with all they need, into
# TREE/usr/lib/modules. Decompressed: the image is compressed as a whole (smaller that way), and
# busybox's modprobe reads nothing else.
copy_modules() {
  local kernel=$1 tree=$2 version base dest module path
  shift 2
  version=$(cat "$kernel/version")
  base=$kernel/modules/$version
  dest=$tree/usr/lib/modules/$version
  mkdir -p "$dest"
  cp "$base"/modules.{builtin,builtin.modinfo,order} "$dest/"
  mkdir -p "$SCRATCH/modroot/lib"
  ln -sfn "$kernel/modules" "$SCRATCH/modroot/lib/modules"
  for module in "$@"; do
    case $module in
      zfs)
        mkdir -p "$dest/extra"
        cp "$kernel"/zfs/{spl,zfs}.ko "$dest/extra/"
        continue
        ;;
    esac
    # A name may be built in, which is no error; a name that does not exist is one.
    modprobe -d "$SCRATCH/modroot" -S "$version" --show-depends "$module" > "$SCRATCH/depends" ||
      die "kernel $version has no module $module"
    while read -r verb path _; do
      [ "$verb" = insmod ] || continue
      path=${path#*"/$version/"}
      mkdir -p "$dest/$(dirname "$path")"
      case $path in
        *.xz) xz -dc "$base/$path" > "$dest/${path%.xz}" ;;
        *) cp "$base/$path" "$dest/$path" ;;
      esac
    done < "$SCRATCH/depends"
  done
  depmod -b "$tree/usr" "$version"
}

# needed_libraries TREE FILE...: the shared libraries the files (relative to TREE) need, directly
# or not, relative to TREE. Scripts among the files are fine. Read from the ELF headers with
# readelf, which knows every architecture.
needed_libraries() (
  cd "$1"
  shift
  printf '%s\n' "$@" > "$SCRATCH/elf-roots"
  {
    find "usr/lib/$TARGET_TRIPLET" "usr/lib/$TARGET_TRIPLET/systemd" -maxdepth 1 -name '*.so*'
    cat "$SCRATCH/elf-roots"
  } | xargs readelf -d 2> /dev/null > "$SCRATCH/elf-needed" || true
  awk -v libdir="usr/lib/$TARGET_TRIPLET/" '
    FILENAME == ARGV[1] { queue[++last] = $0; next }
    /^File: / { file = $2; if (index(file, libdir) == 1) present[file] = 1 }
    /\(NEEDED\)/ { name = $NF; gsub(/[][]/, "", name); needs[file] = needs[file] " " name }
    END {
      for (at = 1; at <= last; at++) {
        count = split(needs[queue[at]], names, " ")
        for (i = 1; i <= count; i++) {
          path = libdir names[i]
          # systemd keeps its own library apart, with a run path to it.
          if (!(path in present)) path = libdir "systemd/" names[i]
          if (!(path in present) || seen[path]++) continue
          print path
          queue[++last] = path
        }
      }
    }' "$SCRATCH/elf-roots" "$SCRATCH/elf-needed"
)

# Libraries no ELF header mentions: glibc opens the first for thread cancellation and name
# lookups, kmod and udev open the others for compressed modules and their own features.
DLOPENED='libgcc_s.so.1 libnss_files.so.2 libnss_dns.so.2 liblzma.so.5 libzstd.so.1 libkmod.so.2 libblkid.so.1 libcrypto.so.3 libacl.so.1 libseccomp.so.2'

# prune_libraries TREE: delete the libraries that no program in TREE needs.
prune_libraries() {
  local tree=$1 lib
  local -a roots=()
  mapfile -t roots < <(cd "$tree" && find usr/bin usr/sbin usr/lib usr/libexec -type f -size +0 \
    \( -perm /111 -o -name '*.so*' \) ! -path "usr/lib/$TARGET_TRIPLET/*.so*" ! -name '*.ko*' 2> /dev/null
    find "usr/lib/$TARGET_TRIPLET" -mindepth 2 -type f -name '*.so*' 2> /dev/null || true
    for lib in $DLOPENED; do [ ! -e "usr/lib/$TARGET_TRIPLET/$lib" ] || echo "usr/lib/$TARGET_TRIPLET/$lib"; done)
  {
    needed_libraries "$tree" "${roots[@]}"
    for lib in $DLOPENED; do [ ! -e "$tree/usr/lib/$TARGET_TRIPLET/$lib" ] || echo "usr/lib/$TARGET_TRIPLET/$lib"; done
    echo "usr/lib/$TARGET_TRIPLET/ld-linux-aarch64.so.1"
  } | (cd "$tree" && while read -r lib; do echo "$lib"; readlink -f "$lib" | sed "s|^$PWD/||"; done) | sort -u > "$SCRATCH/libraries-kept"
  (cd "$tree" && find "usr/lib/$TARGET_TRIPLET" -maxdepth 1 \( -type f -o -type l \) -name '*.so*' | sort) |
    comm -23 - "$SCRATCH/libraries-kept" | (cd "$tree" && xargs -r rm)
}

# copy_programs TREE DEST FILE...: programs with loader and libraries, links resolved.
copy_programs() {
  local tree=$1 dest=$2 file
  shift 2
  {
    printf '%s\n' "$@"
    needed_libraries "$tree" "$@"
  } | while read -r file; do
    mkdir -p "$dest/$(dirname "$file")"
    cp -L --preserve=mode "$tree/$file" "$dest/$file"
  done
  # Programs ask for their loader here.
  ln -sfn "$TARGET_TRIPLET/ld-linux-aarch64.so.1" "$dest/usr/lib/ld-linux-aarch64.so.1"
}

# Drivers of the emulated board, and the file systems its disks may have.
BOARD_MODULES=(
  virtio_pci virtio_mmio virtio_net virtio_blk virtio_scsi virtio_rng virtio_console
  ahci sd_mod sg ext4 vfat nls_ascii nls_cp437 nls_utf8 loop
)
# shellcheck disable=SC2034 # used by the stages
COMMON_MODULES=("${BOARD_MODULES[@]}" nvme xhci_pci usb_storage overlay)
