# Reports which disks this machine has, what is on them and what uses them, without changing anything.
# Lines of a key and its values, separated by tabs. Two runs under one boot say the same to the byte as long as
# nothing has changed: the last one before the disks are wiped is compared with the one that was agreed to.
# Runs in any POSIX sh, on a rescue system that may be little more than busybox.
export LC_ALL=C
tab=$(printf '\t')
newline='
'
# Builtins where they do: a small board takes tens of milliseconds for each process.
say() {
    printf '%s' "$1"
    shift
    for value; do
        # A tab or newline inside a value would be read as a separator.
        case $value in *"$tab"* | *"$newline"*) value=$(printf '%s' "$value" | tr '\t\n' '  ') ;; esac
        printf '\t%s' "$value"
    done
    printf '\n'
}
# Sets `line` to the first line of a file, without the blanks around it; to nothing if it cannot be read.
first() {
    line=''
    [ ! -r "$1" ] || { read -r line <"$1"; } 2>/dev/null || true
}
# Sets `number` likewise; 0 if there is none.
number() {
    first "$1"
    number=${line:-0}
}
# $1: a device, $2 and $3: where and how much, in blocks of $4 bytes; as hexadecimal digits, with blanks between.
bytes() { dd if="$1" bs="$4" skip="$2" count="$3" 2>/dev/null | od -An -v -tx1; }

# What udev has read from a block device: the only place that has a SATA disk's serial number as text.
# $1: its directory in sysfs, whose `dev` goes to `own`.
ask_udev() {
    model='' serial='' scsi='' wwn='' format='' label='' uuid='' table=''
    first "$1/dev"
    own=$line
    [ -n "$own" ] && [ -r "/run/udev/data/b$own" ] || return 0
    while IFS='=' read -r key value; do
        case $key in
            E:ID_MODEL) model=$value ;;
            # Of a SCSI disk ID_SERIAL_SHORT is the WWN.
            E:ID_SCSI_SERIAL) scsi=$value ;;
            E:ID_SERIAL_SHORT) serial=$value ;;
            E:ID_WWN) wwn=$value ;;
            E:ID_FS_TYPE) format=$value ;;
            E:ID_FS_LABEL) label=$value ;;
            E:ID_FS_UUID) uuid=$value ;;
            E:ID_PART_TABLE_TYPE) table=$value ;;
        esac
    done <"/run/udev/data/b$own"
    serial=${scsi:-$serial}
}

# What udev does not know. $1: kernel name.
ask_blkid() {
    # util-linux escapes with backslashes; busybox knows no options and writes all in one line.
    found=$(blkid -c /dev/null -p -o export "/dev/$1" 2>/dev/null | sed -e 's/\\\(.\)/\1/g' \
        -e 's/^\/dev\/[^:=]*: //' -e 's/" \([A-Z_]*="\)/\
\1/g' -e 's/="/=/g' | sed 's/" *$//') || return 0
    for key in TYPE LABEL UUID PTTYPE; do
        case $newline$found$newline in *"$newline$key="*) ;; *) continue ;; esac
        value=${newline}$found
        value=${value#*"$newline$key="}
        value=${value%%"$newline"*}
        case $key in
            TYPE) format=$value ;;
            LABEL) label=$value ;;
            UUID) uuid=$value ;;
            PTTYPE) table=$value ;;
        esac
    done
}

# The label of a member of a pool, from its first copy, or from one at the end when only those are left.
# Says too if the very first look into it fails. $1: kernel name, $2: bytes.
zfs_label() {
    [ "$2" -ge 1048576 ] || return 0
    # The copies at the end lie in its last whole 256 KiB; the list is 16 KiB into each, and so are all counts.
    end=$(($2 / 262144))
    for at in 'label 1' "stale $((end * 16 - 31))" "stale $((end * 16 - 15))"; do
        # A list in XDR, version 0, unique names: as on disks without ZFS nothing else is.
        case $(bytes "/dev/$1" "$((${at#* } * 1024))" 1 16) in
            '')
                [ ! -r "/dev/$1" ] || say unreadable "$1"
                return 0
                ;;
            *'01 0'[01]' 00 00 00 00 00 00 00 00 00 01'*)
                list=$(bytes "/dev/$1" "${at#* }" 1 16384 | tr -d ' \n' | sed 's/\(00\)*$//')
                say zfs "$1" "${at% *}" "$list"
                return 0
                ;;
        esac
    done
}

# Block devices seen so far: their numbers and names, ` 8:1=sda1 `.
seen=' '
# $1: its directory in sysfs, $2: its kernel name, $3: its number.
remember() {
    seen="$seen${3:-none}=$2 "
    for holder in "$1"/holders/*; do
        [ ! -e "$holder" ] || say holder "$2" "${holder##*/}"
    done
}

# $1: its disk, $2: its directory in sysfs, $3: its kernel name. The rest as `ask_udev` has set it.
volume() {
    number "$2/size"
    size=$((number * 512))
    [ -n "$format$table" ] || [ "$size" = 0 ] || ask_blkid "$3"
    # Without udev and with busybox' blkid, nothing names a partition table.
    if [ -z "$format$table" ] && [ "$size" -gt 0 ] && [ "$1" = "$3" ]; then
        case $(bytes "/dev/$3" "$((sector / 8))" 1 8) in *'45 46 49 20 50 41 52 54'*) table=gpt ;; esac
    fi
    partition=''
    [ ! -r "$2/uevent" ] || while IFS='=' read -r key value; do
        [ "$key" != PARTNAME ] || partition=$value
    done <"$2/uevent"
    number "$2/start"
    say volume "$1" "$3" "$((number * 512))" "$size" "$partition" "${format:-$table}" "$label" "$uuid"
    zfs_label "$3" "$size"
    remember "$2" "$3" "$own"
}

# Where each of them is mounted, and what is used as swap.
uses() {
    while read -r _ _ device _ place more; do
        source=${more#* - } && source=${source#* } && source=${source%% *}
        case "$seen $source" in
            *" $device="*) name=${seen#*" $device="} && say mounted "${name%% *}" "$place" ;;
            # A btrfs has a number of its own; its source is the device.
            *' '/dev/*)
                name=$(readlink -f "$source") || continue
                case $seen in *"=${name#/dev/} "*) say mounted "${name#/dev/}" "$place" ;; esac
                ;;
        esac
    done </proc/self/mountinfo
    [ ! -r /proc/swaps ] || while read -r device _; do
        case $device in /dev/*) name=$(readlink -f "$device") || continue ;; *) continue ;; esac
        case $seen in *"=${name#/dev/} "*) say swap "${name#/dev/}" ;; esac
    done </proc/swaps
}

for dir in /sys/block/*; do
    name=${dir##*/}
    [ -e "$dir/size" ] || continue
    case $name in
        dm-* | md*)
            say stacked "$name"
            first "$dir/dm/uuid"
            uuid=$line
            first "$dir/dm/name"
            [ -z "$line" ] || say mapped "$name" "$uuid" "$line"
            first "$dir/dev"
            remember "$dir" "$name" "$line"
            continue
            ;;
        loop* | ram* | zram* | sr* | fd* | nbd* | zd* | mmcblk*boot* | mmcblk*rpmb) continue ;;
    esac
    # One path of several to an NVMe disk is no disk.
    first "$dir/hidden"
    [ "$line" != 1 ] || continue
    ask_udev "$dir"
    [ -n "$model" ] || { first "$dir/device/model" && model=$line; }
    [ -n "$serial" ] || { first "$dir/serial" && serial=$line; }
    [ -n "$serial" ] || { first "$dir/device/serial" && serial=$line; }
    number "$dir/queue/logical_block_size"
    sector=$number
    number "$dir/size"
    size=$((number * 512))
    number "$dir/ro"
    read_only=$number
    number "$dir/diskseq"
    say disk "$name" "$size" "$model" "$serial" "$wwn" "$sector" "$read_only" "$number"
    [ "$sector" -ge 512 ] || sector=512
    say link "/dev/$name" "$name"
    volume "$name" "$dir" "$name"
    for part in "$dir/$name"*; do
        [ -e "$part/partition" ] || continue
        ask_udev "$part"
        volume "$name" "$part" "${part##*/}"
    done
done
uses | sort -u
for link in /dev/disk/by-id/* /dev/disk/by-path/* /dev/disk/by-diskseq/* /dev/mapper/*; do
    [ -L "$link" ] || continue
    case $link in *-part[0-9]*) continue ;; esac
    path=$(readlink -f "$link") || continue
    say link "$link" "${path#/dev/}"
done
# Not without the module: `zpool` would load it.
if [ -e /sys/module/zfs ] && command -v zpool >/dev/null 2>&1; then
    zpool list -H -o name,guid 2>/dev/null | sort | while IFS=$tab read -r pool guid; do
        say pool "$pool" "$guid"
        for word in $(zpool list -v -H -P "$pool" 2>/dev/null || true); do
            case $word in
                /dev/*) path=$(readlink -f "$word") && say member "$pool" "${path#/dev/}" ;;
            esac
        done | sort -u
    done
fi
