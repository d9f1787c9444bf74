# shellcheck shell=sh
# nixos-enter calls util-linux' `mount --mkdir`. Everything else it wants of mount, busybox's has.
busybox=${0%/*}/busybox
mkdir=''
for word; do
  shift
  case $word in
    --mkdir) mkdir=yes ;;
    *) set -- "$@" "$word" ;;
  esac
done
if [ -n "$mkdir" ]; then
  for last; do :; done
  "$busybox" mkdir -p "$last"
fi
exec "$busybox" mount "$@"
