# Tells landfall what this machine is, in one round trip and without changing anything.
# Lines of a key and its values, separated by tabs. Runs in any POSIX sh, on a rescue system that may be
# little more than busybox.
say() {
    printf '%s' "$1"
    shift
    # A tab or newline inside a value would be read as a separator.
    for value; do printf '\t%s' "$(printf '%s' "$value" | tr '\t\n' '  ')"; done
    printf '\n'
}
content() { [ ! -r "$1" ] || cat "$1" 2>/dev/null || true; }

say kernel "$(uname -s)"
say arch "$(uname -m)"
say boot "$(content /proc/sys/kernel/random/boot_id)"
say hostname "$(uname -n)"
# Each in a shell of its own: os-release(5) is a shell fragment.
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || say os "$(. /etc/os-release && echo "${PRETTY_NAME:-${NAME:-unknown}}")"
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || say variant "$(. /etc/os-release && echo "${VARIANT_ID:-}")"
say home "$HOME"
if [ "$(id -u)" = 0 ]; then
    say root login
elif sudo -n true 2>/dev/null; then
    say root sudo
elif doas -n true 2>/dev/null; then
    say root doas
else
    say root no
fi
while read -r key value _; do
    case $key in
        MemTotal:) say memory "$((value * 1024))" ;;
        MemAvailable:) say available "$((value * 1024))" ;;
    esac
done </proc/meminfo
if [ -r /proc/device-tree/compatible ]; then
    say board "$(tr '\0' ' ' </proc/device-tree/compatible)"
fi
if [ -d /sys/firmware/efi ]; then say firmware efi; else say firmware none; fi
say kexec_disabled "$(content /proc/sys/kernel/kexec_load_disabled)"
for tool in sh tar gzip xz zstd cpio setsid nix zpool sgdisk nixos-install; do
    if command -v "$tool" >/dev/null 2>&1; then say has "$tool"; fi
done

for dir in /sys/block/*; do
    name=${dir##*/}
    case $name in
        loop* | ram* | zram* | dm-* | md* | sr* | fd* | nbd* | zd* | mmcblk*boot* | mmcblk*rpmb) continue ;;
    esac
    [ -e "$dir/size" ] || continue
    model='' serial='' wwn=''
    # What udev has read from the disk (the only place that has a SATA disk's serial as text), else sysfs.
    udev=/run/udev/data/b$(content "$dir/dev")
    if [ -r "$udev" ]; then
        while IFS='=' read -r key value; do
            case $key in
                E:ID_MODEL) model=$value ;;
                E:ID_SERIAL_SHORT) serial=$value ;;
                E:ID_WWN) wwn=$value ;;
            esac
        done <"$udev"
    fi
    [ -n "$model" ] || model=$(content "$dir/device/model")
    [ -n "$serial" ] || serial=$(content "$dir/serial")
    [ -n "$serial" ] || serial=$(content "$dir/device/serial")
    say disk "$name" "$(($(content "$dir/size") * 512))" "$model" "$serial" "$wwn"
    say link "/dev/$name" "$name"
done
for link in /dev/disk/by-id/* /dev/disk/by-path/* /dev/disk/by-diskseq/*; do
    case $link in *-part[0-9]* | *'*') continue ;; esac
    path=$(readlink -f "$link") || continue
    say link "$link" "${path#/dev/}"
done
if command -v zpool >/dev/null 2>&1; then
    for pool in $(zpool list -H -o name 2>/dev/null || true); do say pool "$pool"; done
fi
