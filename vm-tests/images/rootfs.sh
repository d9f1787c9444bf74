#!/bin/bash
# rootfs.sh OUT: the arm64 tree the rescue, the installer and the installed system are cut from, and
# two programs that only some of them get.
# Packages are unpacked and nothing more; the few things their maintainer scripts would have done
# and that are needed are done here.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin rootfs "$1"

packages=(
  # the base, and what a rescue system has to have
  base-files base-passwd bash busybox-static coreutils cpio dash diffutils findutils grep gzip
  hostname iproute2 kexec-tools kmod libc-bin mawk mount openssh-client openssh-server procps sed
  tar udev util-linux xz-utils zstd
  # the installer
  dosfstools e2fsprogs fdisk gdisk jq nix-bin parted psmisc zfsutils-linux
)
step 25 "reading the package list"
apt_state target arm64
step 25 "downloading ${#packages[@]} packages with all they need"
fetch_closure target "${packages[@]}"
fetch_only target age
mkdir "$SCRATCH/age" "$OUT/apart"
mv "$SCRATCH/apt-target/archives"/age_*.deb "$SCRATCH/age/"
dpkg-deb --fsys-tarfile "$SCRATCH"/age/age_*.deb | tar -C "$SCRATCH/age" -xf - ./usr/bin/age
step 35 "unpacking"
tree=$OUT/tree
unpack_all target "$tree"
# With its libraries, some of which nothing in the tree needs.
copy_programs "$tree" "$OUT/apart/tc" usr/sbin/tc
install -Dm755 "$SCRATCH/age/usr/bin/age" "$OUT/apart/age/usr/bin/age"

step 10 "trimming"
libdir=$tree/usr/lib/$TARGET_TRIPLET
# udev is one program (udevadm) and needs none of systemd around it.
find "$tree/usr/lib/systemd" -mindepth 1 -maxdepth 1 ! -name systemd-udevd -exec rm -rf {} +
find "$libdir/systemd" -name 'libsystemd-core-*' -delete
find "$tree/usr/bin" \( -name 'systemd-*' ! -name systemd-detect-virt -o -name systemctl -o -name journalctl \
  -o -name busctl -o -name varlinkctl -o -name run0 -o -name '*ctl' ! -name sysctl \) -delete
# Directories of data and plugins nothing here opens, and package management.
rm -rf "$tree"/usr/{include,src,games} "$tree"/usr/share/{apport,applications,bash-completion,common-licenses,debconf,dbus-1,dpkg,file,fish,gcc,gdb,initramfs-tools,keyrings,menu,mime,misc,openssh,pam*,perl*,pixmaps,polkit-1,python3,zoneinfo,zsh} \
  "$tree"/usr/lib/{dracut,init,initramfs-tools,kernel,locale,lsb,mime,pcrlock.d,pm-utils,python3*,runit-helper,sysctl.d,sysusers.d,tmpfiles.d,valgrind,xen-*,zfs-linux} \
  "$tree"/usr/libexec/{dpkg,e2fsprogs} "$tree"/var/lib/systemd \
  "$libdir"/{audit,cmake,gconv,ossl-modules,engines-3,perl,perl-base,pkgconfig,security} \
  "$tree"/usr/lib/udev/{hwdb.d,hwdb.bin}
# Helpers without their interpreters, daemons, and the larger of the programs no rehearsal calls.
find "$tree"/usr/{bin,sbin} -type f -size -200k -exec grep -lIE '^#!.*(perl|python)' {} + | xargs -r rm
(cd "$tree/usr/bin" && rm -f apt* curl deb-* dpkg* localedef p7zip* perl* py* pzstd ssh-add ssh-agent ssh-keyscan rdma)
(cd "$tree/usr/sbin" && rm -f arpd cfdisk cgdisk debugfs dcb devlink e4crypt gdisk iconvconfig raidz_test tc tipc vdpa zed zhack zic ztest)
# Everything runs as root in these systems, and no set-id bit may get into a Nix store path.
find "$tree" -type f -perm /6000 -exec chmod ug-s {} +

rm -f "$tree/etc/ssh/moduli"
step 5 "configuring"
mkdir -p "$tree"/{dev,proc,sys,run,tmp,root,etc/ssh,var/empty,var/log,var/tmp}
chmod 1777 "$tree/tmp" "$tree/var/tmp"
chmod 700 "$tree/root"
ln -sfn dash "$tree/usr/bin/sh"
ln -sfn mawk "$tree/usr/bin/awk"
[ -e "$tree/usr/bin/vi" ] || ln -s busybox "$tree/usr/bin/vi"
sed 's/^root:[^:]*:/root:x:/' "$tree/usr/share/base-passwd/passwd.master" > "$tree/etc/passwd"
echo 'sshd:x:100:65534::/run/sshd:/usr/sbin/nologin' >> "$tree/etc/passwd"
cp "$tree/usr/share/base-passwd/group.master" "$tree/etc/group"
# udev rules name groups that packages create on installation.
printf '%s:x:%s:\n' input 101 render 102 kvm 103 sgx 104 >> "$tree/etc/group"
echo 'root:*:20000:0:99999:7:::' > "$tree/etc/shadow"
chmod 600 "$tree/etc/shadow"
ln -sfn /proc/self/mounts "$tree/etc/mtab"
echo 'passwd: files
group: files
shadow: files
hosts: files dns' > "$tree/etc/nsswitch.conf"
install -m 644 "$IMAGES/common/sshd_config" "$tree/etc/ssh/sshd_config"
install -m 755 "$IMAGES/common/dhcp-event" "$tree/usr/lib/dhcp-event"
install -m 755 "$IMAGES/common/reboot" "$tree/usr/sbin/reboot"
ln -sf reboot "$tree/usr/sbin/poweroff"
ln -sf reboot "$tree/usr/sbin/halt"

prune_libraries "$tree"
log "tree: $(du -sh "$tree" | cut -f1)"
stage_end
