# Reports what this machine is, in one round trip and without changing anything. Follows disks.sh,
# whose `say` and `first` it uses. $1: the address landfall has reached it at.

say kernel "$(uname -s)"
say arch "$(uname -m)"
first /proc/sys/kernel/random/boot_id
say boot "$line"
say hostname "$(uname -n)"
# Each in a shell of its own: os-release(5) is a shell fragment.
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || say os "$(. /etc/os-release && echo "${PRETTY_NAME:-${NAME:-unknown}}")"
# shellcheck source=/dev/null
[ ! -r /etc/os-release ] || say variant "$(. /etc/os-release && echo "${VARIANT_ID:-}")"
while read -r key value _; do
    case $key in
        MemTotal:) say memory "$((value * 1024))" ;;
        MemAvailable:) say available "$((value * 1024))" ;;
    esac
done </proc/meminfo
if [ -r /proc/device-tree/compatible ]; then
    say board "$(tr '\0' ' ' </proc/device-tree/compatible)"
fi
for tool in sh tar gzip xz zstd cpio setsid nix zpool sgdisk nixos-install; do
    if command -v "$tool" >/dev/null 2>&1; then say has "$tool"; fi
done
# The private half is what counts: a .pub beside it may be of another time.
for key in /etc/ssh/ssh_host_*_key; do
    if [ -r "$key" ]; then
        public=$(ssh-keygen -y -f "$key" </dev/null 2>/dev/null || cat "$key.pub" 2>/dev/null || true)
        printf 'host_key\t%s\t%s\n' "$key" "$public"
    fi
done

# The keys that a kexec image takes over into its installer.
handed_over() {
    [ -r "$1" ] || return 0
    grep -v '^[[:space:]]*#' "$1" | grep -oE '(ssh|ecdsa|sk)-[^[:space:]]+[[:space:]]+AAAA[A-Za-z0-9+/=]+' |
        while read -r kind key; do say handed_over "$kind $key"; done
}
invoker=${DOAS_USER:-${SUDO_USER:-}}
for user in root $invoker; do
    handed_over "/etc/ssh/authorized_keys.d/$user"
    home=/root
    [ "$user" = root ] || home=$(sh -c "echo ~$user")
    handed_over "$home/.ssh/authorized_keys"
    handed_over "$home/.ssh/authorized_keys2"
done

# What kexec needs: firmware, and a kernel that has it and lets it.
if [ -d /sys/firmware/efi ]; then
    say firmware efi
    # The kernel makes this directory where it can call the firmware, whether or not it is mounted.
    if [ -d /sys/firmware/efi/efivars ]; then say efi_variables yes; else say efi_variables no; fi
    first /sys/firmware/efi/fw_platform_size
    say efi_bits "$line"
else
    say firmware none
fi
for variable in /sys/firmware/efi/efivars/SecureBoot-*; do
    # Four bytes of attributes, then the value.
    [ ! -r "$variable" ] || say secure_boot "$(tail -c 1 "$variable" | od -An -tu1 | tr -d ' \n')"
done
first /proc/sys/kernel/kexec_load_disabled
say kexec_disabled "$line"
first /sys/kernel/security/lockdown
case $line in *\[*\]*) line=${line#*\[} && say lockdown "${line%\]*}" ;; esac
config=/boot/config-$(uname -r)
if [ -r /proc/config.gz ]; then
    config=$(gzip -dc </proc/config.gz 2>/dev/null || true)
elif [ -r "$config" ]; then
    config=$(grep KEXEC "$config" || true)
else
    config=''
fi
case $config in
    *CONFIG_KEXEC=y* | *CONFIG_KEXEC_FILE=y*) say kexec_built yes ;;
    '') [ ! -e /sys/kernel/kexec_loaded ] || say kexec_built yes ;;
    *) say kexec_built no ;;
esac

container=''
if [ -e /run/systemd/container ]; then
    first /run/systemd/container
    container=$line
elif [ -e /.dockerenv ]; then
    container=docker
elif [ -e /run/.containerenv ]; then
    container=podman
elif [ -r /proc/1/environ ]; then
    container=$(tr '\0' '\n' </proc/1/environ 2>/dev/null | sed -n 's/^container=//p' || true)
fi
first /sys/hypervisor/type
hypervisor=$line
if command -v systemd-detect-virt >/dev/null 2>&1; then
    [ -n "$container" ] || container=$(systemd-detect-virt --container 2>/dev/null || true)
    [ -n "$hypervisor" ] || hypervisor=$(systemd-detect-virt --vm 2>/dev/null || true)
fi
say container "$container"
say hypervisor "$hypervisor"

# The interface that has the address, and what it is.
address=${1:-none}
address=${address#::ffff:}
case $address in
    # A link-local address comes with its interface.
    *%*) interface=${address#*%} ;;
    *) interface=$(ip -o addr 2>/dev/null | while read -r _ name _ own _; do
        [ "${own%%/*}" != "$address" ] || echo "${name%@*}"
    done | head -n 1) ;;
esac
net=/sys/class/net/$interface
if [ -n "$interface" ] && [ -d "$net" ]; then
    kind=$(sed -n 's/^DEVTYPE=//p' "$net/uevent" 2>/dev/null || true)
    if [ -d "$net/bonding" ]; then
        kind=bond
    elif [ -d "$net/bridge" ]; then
        kind=bridge
    elif [ -e "$net/wireless" ] || [ -e "$net/phy80211" ]; then
        kind=wlan
    elif [ -e "$net/tun_flags" ]; then
        kind=tun
    elif [ -z "$kind" ] && [ -e "$net/device" ]; then
        kind=ethernet
    fi
    driver=''
    [ ! -e "$net/device/driver" ] || driver=$(readlink -f "$net/device/driver")
    first "$net/speed"
    speed=$line
    first "$net/duplex"
    say interface "$interface" "$kind" "${driver##*/}" "$speed" "$line"
fi
# Whatever is not one of the kernel's own three.
if { ip rule && ip -6 rule; } 2>/dev/null | grep -v -e '^0:.*lookup local' -e '^32766:.*lookup main' \
    -e '^32767:.*lookup default' | grep -q .; then
    say policy_routes yes
fi

mains='' battery=''
for supply in /sys/class/power_supply/*; do
    # A mouse has a battery too.
    first "$supply/scope"
    [ "$line" != Device ] || continue
    first "$supply/type"
    case $line in
        Mains | USB*) first "$supply/online" && [ "$line" != 1 ] || mains=yes ;;
        Battery) first "$supply/status" && battery="$battery ${line:-unknown}" ;;
    esac
done
case $mains$battery in
    yes*) say on_battery no ;;
    *Discharging*) say on_battery yes ;;
    ?*) say on_battery no ;;
esac

# It only answers for a disk that is awake, so that this is nothing the disks of two runs are compared by.
if command -v smartctl >/dev/null 2>&1; then
    for dir in /sys/block/sd* /sys/block/nvme* /sys/block/hd*; do
        [ -e "$dir" ] || continue
        case $(smartctl -H -n standby "/dev/${dir##*/}" 2>/dev/null || true) in
            *PASSED* | *'Health Status: OK'*) say health "${dir##*/}" ok ;;
            *FAILED* | *'Health Status: '*) say health "${dir##*/}" failing ;;
        esac
    done
fi
