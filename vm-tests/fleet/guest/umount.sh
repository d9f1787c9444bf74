# shellcheck shell=sh
# As mount.sh: -R takes what is mounted below along.
busybox=${0%/*}/busybox
case ${1:-} in
  -R)
    shift
    exec "$busybox" umount -l "$@"
    ;;
esac
exec "$busybox" umount "$@"
