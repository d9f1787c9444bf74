# shellcheck shell=sh disable=SC2154 # system and PATH are set by lib/system.nix
# Makes this generation the running one. Runs early in `init`, in nixos-install's chroot (with
# IN_NIXOS_ENTER=1) and on `switch`. Starts nothing.
set -eu
echo "activating the configuration..." >&2

mkdir -p /proc
[ -e /proc/self ] || mount -t proc proc /proc

mkdir -p /boot /dev /etc/ssh /home /mnt /nix /root /run /srv /sys /tmp /var/empty /var/log /var/tmp
chmod 700 /root
chmod 1777 /tmp /var/tmp

# link TARGET PATH: at no time without one, except over what was a directory.
link() {
  [ -L "$2" ] || rmdir "$2" 2> /dev/null || :
  ln -sfn "$1" "$2.new"
  mv -T "$2.new" "$2"
}
link "$(readlink -f "$system/sw")" /usr
link usr/bin /bin
link usr/bin /sbin
link usr/lib /lib
link "$system" /run/current-system

# Everything in etc is a link, so that what an installer has put there (host keys) stays.
link "$(readlink -f "$system/etc")" /etc/static
(cd /etc/static/ && find . -type f) | while read -r file; do
  file=${file#./}
  mkdir -p "/etc/$(dirname "$file")"
  case $file in
    # sshd trusts no file below a directory that others may write to, which a Nix store can be; and
    # what reads the accounts wants files of its own.
    ssh/authorized_keys.d/* | passwd | group) mode=644 ;;
    shadow) mode=600 ;;
    *)
      link "/etc/static/$file" "/etc/$file"
      continue
      ;;
  esac
  cp "/etc/static/$file" "/etc/$file.new"
  chmod "$mode" "/etc/$file.new"
  mv -T "/etc/$file.new" "/etc/$file"
done
ln -sfn /proc/self/mounts /etc/mtab
: > /etc/NIXOS

# Secrets as agenix has them: opened in memory, by the first identity that can, and never written to a disk. One that cannot be
# opened is told, and keeps nobody from starting.
if [ -s "$system/secrets" ]; then
  generation=/run/agenix.d/1
  mkdir -p /run/agenix.d
  mount -t ramfs -o nodev,nosuid,mode=751 ramfs /run/agenix.d
  mkdir -m 751 "$generation"
  while IFS='|' read -r name file mode owner group; do
    umask 077
    while read -r identity; do
      [ -r "$identity" ] || continue
      if age --decrypt -i "$identity" -o "$generation/$name.new" "$file"; then break; fi
    done < "$system/identities"
    umask 022
    if [ ! -e "$generation/$name.new" ]; then
      echo "[agenix] WARNING: no identity opens $name" >&2
      continue
    fi
    chmod "$mode" "$generation/$name.new"
    chown "$owner:$group" "$generation/$name.new"
    mv "$generation/$name.new" "$generation/$name"
  done < "$system/secrets"
  link "$generation" /run/agenix
fi

if [ -z "${IN_NIXOS_ENTER:-}" ]; then
  cat /etc/hostname > /proc/sys/kernel/hostname
fi
