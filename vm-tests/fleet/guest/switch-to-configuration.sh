# shellcheck shell=sh disable=SC2154 # system and PATH are set by lib/system.nix
# switch-to-configuration boot|switch|test|dry-activate. The boot loader's part is that of NixOS'
# generic-extlinux-compatible, with the same names and the same order of entries.
set -eu

profile=/nix/var/nix/profiles/system

# keep FILE: copies a store file to /boot/nixos, under a name that says which it is, and answers with
# the path extlinux.conf needs. A file that is there is complete.
keep() {
  source=$(readlink -f "$1")
  name=$(echo "${source#/nix/store/}" | tr / -)
  echo "$name" >> "$kept"
  if [ ! -e "/boot/nixos/$name" ]; then
    cp -r "$source" "/boot/nixos/$name.new"
    chmod -R u+w "/boot/nixos/$name.new"
    mv "/boot/nixos/$name.new" "/boot/nixos/$name"
  fi
  echo "../nixos/$name"
}

# entry SYSTEM TAG LABEL
entry() {
  generation=$(readlink -f "$1")
  [ -e "$generation/kernel" ] || return 0
  echo
  echo "LABEL nixos-$2"
  echo "  MENU LABEL NixOS - $3"
  echo "  LINUX $(keep "$generation/kernel")"
  echo "  INITRD $(keep "$generation/initrd")"
  echo "  APPEND init=$generation/init $(cat "$generation/kernel-params")"
  tree=$(cat "$generation/device-tree")
  if [ -n "$tree" ]; then
    echo "  FDT $(keep "$generation/dtbs")/$tree"
  fi
}

# The profile's generations, newest first.
generations() {
  for link in "$profile"-*-link; do
    number=${link#"$profile-"}
    echo "${number%-link}"
  done | sort -rn
}

install_extlinux() {
  mkdir -p /boot/extlinux /boot/nixos
  kept=/boot/nixos/.kept
  : > "$kept"
  {
    echo "# Written by switch-to-configuration; changes will be lost."
    echo "DEFAULT nixos-default"
    echo "MENU TITLE NixOS"
    echo "TIMEOUT 10"
    entry "$1" default Default
    for number in $(generations); do
      entry "$profile-$number-link" "$number" "Configuration $number ($(cat "$profile-$number-link/nixos-version"))"
    done
  } > /boot/extlinux/extlinux.conf.new
  # Files first, then the list that names them, then away with what it no longer names: a power cut
  # leaves a system that boots.
  sync
  mv /boot/extlinux/extlinux.conf.new /boot/extlinux/extlinux.conf
  for file in /boot/nixos/*; do
    grep -qxF "${file##*/}" "$kept" || rm -rf "$file"
  done
  rm -f "$kept"
  sync
}

install_boot_loader() {
  loader=
  [ ! -e "$system/boot-loader" ] || loader=$(cat "$system/boot-loader")
  case $loader in
    generic-extlinux-compatible) install_extlinux "$system" ;;
    *) echo "this fixture installs no ${loader:-boot loader}" >&2 ;;
  esac
}

if [ ! -e /etc/NIXOS ]; then
  echo "This is not a NixOS installation!" >&2
  exit 1
fi
case ${1:-} in
  boot) install_boot_loader ;;
  switch)
    install_boot_loader
    "$system/activate"
    ;;
  test) "$system/activate" ;;
  dry-activate) echo "would activate $system" >&2 ;;
  *)
    echo "usage: ${0##*/} [switch|boot|test|dry-activate]" >&2
    exit 1
    ;;
esac
