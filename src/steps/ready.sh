# Proves that what lies under /mnt will start: the system profile names the toplevel, every entry of the boot
# loader names files that are there, one entry starts the toplevel, the file systems it mounts exist.
# $1: the toplevel; $2: extlinux, systemd-boot, grub or unknown; then, for each file system of the
# configuration: mount point, device, type. Changes nothing. All that is wrong is said on stderr.
PATH="$PATH:/run/current-system/sw/bin"
toplevel=$1 loader=$2
shift 2
bad='' entries=0 planned=''
wrong() {
    printf '%s\n' "$*" >&2
    bad=1
}

# file CONFIGURATION WHAT PATH: a full /boot leaves files without content.
file() { [ -s "$3" ] || wrong "${1#/mnt}: its $2 ${3#/mnt} is not there, or empty"; }
directory() { [ -d "$3" ] || wrong "${1#/mnt}: its $2 ${3#/mnt} is not there"; }
options() {
    case " $* " in *" init=$toplevel/init "*) planned=1 ;; esac
}

# settings FILE READER: calls the reader with the file, the first word (in small letters) and the rest of each line.
settings() {
    lines=$(awk '$1 !~ /^#/ {
        key = tolower($1)
        sub(/\r$/, "")
        sub(/^[ \t]*[^ \t]+[ \t]*/, "")
        print key, $0
    }' "$1")
    while read -r key value; do
        "$2" "$1" "$key" "$value"
    done <<LINES
$lines
LINES
}

# U-Boot takes a path that begins with / from the root of the file system it reads.
boot_root=/mnt
if awk '$5 == "/mnt/boot" { found = 1 } END { exit !found }' /proc/self/mountinfo; then boot_root=/mnt/boot; fi
extlinux() {
    case $3 in
        /*) path=$boot_root$3 ;;
        *) path=${1%/*}/$3 ;;
    esac
    case $2 in
        linux | kernel)
            entries=$((entries + 1))
            file "$1" kernel "$path"
            ;;
        initrd) file "$1" initrd "$path" ;;
        fdt | devicetree) file "$1" "device tree" "$path" ;;
        fdtdir | devicetreedir) directory "$1" "directory of device trees" "$path" ;;
        append) options "$3" ;;
    esac
}

# Paths are those of the file system that holds the entry.
systemd_boot() {
    path=${1%/loader/entries/*}/${3#/}
    case $2 in
        linux | efi)
            entries=$((entries + 1))
            file "$1" kernel "$path"
            ;;
        initrd) file "$1" initrd "$path" ;;
        devicetree) file "$1" "device tree" "$path" ;;
        options) options "$3" ;;
    esac
}

# ($drive1) is a file system of this host; which one, and which dataset or subvolume of it, is said in too many
# ways. The names carry hashes: wherever the path's end is found, it is the file. A drive that is written out,
# as (hd0,1), belongs to another system.
grub_file() {
    case $3 in
        '($'*')'*) path=/${3#*)} ;;
        /*) path=$3 ;;
        *) return 0 ;;
    esac
    until [ -s "/mnt$path" ] || [ -s "/mnt/boot$path" ]; do
        case ${path#/} in
            */*) path=/${path#/*/} ;;
            *)
                wrong "${1#/mnt}: its $2 $3 is not there, or empty"
                return 0
                ;;
        esac
    done
}
grub() {
    configuration=$1 word=$2
    set -f
    # shellcheck disable=SC2086 # its words are wanted
    set -- $3
    set +f
    case $word in
        linux | linux16 | linuxefi)
            entries=$((entries + 1))
            grub_file "$configuration" kernel "${1:-}"
            options "$*"
            ;;
        initrd | initrd16 | initrdefi)
            for path; do grub_file "$configuration" initrd "$path"; done
            ;;
    esac
}

profiles=/mnt/nix/var/nix/profiles
generation=$(readlink "$profiles/system" || :)
installed=$(readlink "$profiles/${generation##*/}" || :)
[ "$installed" = "$toplevel" ] ||
    wrong "the system profile names ${installed:-nothing}, not $toplevel"
# A link, if it is one, leads to where it will be, not to where it is now.
[ -e "/mnt$toplevel/init" ] || [ -L "/mnt$toplevel/init" ] || wrong "$toplevel/init is not there"

case $loader in
    extlinux) set -- /mnt/boot/extlinux/extlinux.conf -- "$@" ;;
    systemd-boot)
        set -- /mnt/boot/loader/entries/*.conf /mnt/efi/loader/entries/*.conf \
            /mnt/boot/efi/loader/entries/*.conf -- "$@"
        ;;
    grub) set -- /mnt/boot/grub/grub.cfg -- "$@" ;;
    *) set -- -- "$@" ;;
esac
read_by=$(printf '%s' "$loader" | tr - _)
while [ "$1" != -- ]; do
    if [ -f "$1" ]; then settings "$1" "$read_by"; fi
    shift
done
shift
case $loader in
    extlinux | systemd-boot | grub)
        if [ "$entries" -eq 0 ]; then
            wrong "the boot loader ($loader) has no entries"
        elif [ -z "$planned" ]; then
            wrong "none of the boot loader's $entries entries starts $toplevel"
        fi
        ;;
    *) echo "landfall cannot read this boot loader: its entries were not checked" ;;
esac

# found DEVICE TYPE
found() {
    case $2 in zfs)
        zfs list -H -o name "$1" >/dev/null 2>&1
        return
        ;;
    esac
    case $1 in
        # bcachefs names all its members.
        /dev/*) [ -e "${1%%:/dev/*}" ] ;;
        UUID=* | LABEL=* | PARTUUID=* | PARTLABEL=*) findfs "$1" >/dev/null 2>&1 ;;
        # Nothing on a disk: tmpfs, a share, a directory bound to another place.
        *) ;;
    esac
}
[ $# -gt 0 ] || echo "the configuration's file systems are not known: they were not checked"
root=$#
while [ $# -gt 0 ]; do
    if [ "$1" = / ]; then root=0; fi
    found "$2" "$3" || wrong "the file system for $1 is not there: $2 ($3)"
    shift 3
done
[ "$root" -eq 0 ] || wrong "the configuration has no file system for /"

[ -z "$bad" ] || exit 1
[ "$entries" -eq 0 ] || echo "the boot loader's files are there ($loader, entries: $entries)"
