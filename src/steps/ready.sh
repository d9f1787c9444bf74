# Proves that what lies under /mnt will start: the system profile names the toplevel, every entry of the boot
# loader names files that are there, one entry starts the toplevel, the file systems that the boot needs exist.
# $1: the toplevel; $2: the boot loader's key in src/facts/boot_loader.rs, or unknown; then, for each directory that
# holds a configuration of it: the directory, and the ESP whose program reads it (empty if there is none); then `--`;
# then, for each file system that the boot needs: mount point, device, type, and `elsewhere` if it is a dataset of a
# pool that the layout does not make (otherwise `layout`).
# Changes nothing. All that is wrong is said on stderr, each line behind the code of its finding.
PATH="$PATH:/run/current-system/sw/bin"
toplevel=$1 loader=$2
shift 2
bad='' entries=0 planned=''

# wrong CODE WORD...
wrong() {
    code=$1
    shift
    printf '%s: %s\n' "$code" "$*" >&2
    bad=1
}

# file CONFIGURATION WHAT PATH: a full /boot leaves files without content.
file() { [ -s "$3" ] || wrong ready-files "${1#/mnt}: its $2 ${3#/mnt} is not there, or empty"; }
directory() { [ -d "$3" ] || wrong ready-files "${1#/mnt}: its $2 ${3#/mnt} is not there"; }
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

# The root of the file system that a directory lies on.
root_of() {
    awk -v at="$1/" '
        $5 ~ /^\/mnt(\/|$)/ && index(at, $5 "/") == 1 && length($5) > length(root) { root = $5 }
        END { print root == "" ? "/mnt" : root }
    ' /proc/self/mountinfo
}

# U-Boot takes a path that begins with / from the root of the file system it reads.
extlinux() {
    case $3 in
        /*) path=$(root_of "$boot")$3 ;;
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
    until [ -s "/mnt$path" ] || [ -s "$boot$path" ]; do
        case ${path#/} in
            */*) path=/${path#/*/} ;;
            *)
                wrong ready-files "${1#/mnt}: its $2 $3 is not there, or empty"
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

# boot() is the file system that holds the configuration; what follows # is a checksum. Entries of another protocol,
# and files elsewhere, belong to another system.
limine_file() {
    case $3 in
        'boot():'*)
            path=${3#*:}
            path=${path%%#*}
            file "$1" "$2" "$boot/${path#/}"
            ;;
    esac
}
limine() {
    case $2 in protocol:)
        protocol=$3
        return
        ;;
    esac
    [ "$protocol" = linux ] || return 0
    case $2 in
        kernel_path: | path:)
            entries=$((entries + 1))
            limine_file "$1" kernel "$3"
            ;;
        module_path:) limine_file "$1" initrd "$3" ;;
        cmdline: | kernel_cmdline:) options "$3" ;;
    esac
}

# Paths are those of the ESP. NixOS' own entries have their kernels in efi/refind; others belong to another system.
refind() {
    case $2:$3 in
        loader:/efi/refind/*)
            entries=$((entries + 1))
            file "$1" kernel "$boot$3"
            ;;
        initrd:/efi/refind/*) file "$1" initrd "$boot$3" ;;
        options:*)
            words=${3#\"}
            options "${words%\"}"
            ;;
    esac
}

# Unified kernel images: the kernel's command line is in them, and in those of Lanzaboote, instead of kernel and initrd,
# their paths on the ESP.
images() {
    for image; do
        [ -f "$image" ] || continue
        entries=$((entries + 1))
        [ -s "$image" ] || wrong ready-files "${image#/mnt} is empty"
        # All that is no printable ASCII ends a line (busybox knows no complement of a class); paths have slashes here.
        named=$(LC_ALL=C tr -c '\040-\176' '\n' <"$image" | tr '\134' / | grep -E '(^| )init=/|^/EFI/nixos/' || :)
        while read -r line; do
            case $line in
                /EFI/*) file "$image" "kernel or initrd" "$boot$line" ;;
                *) options "$line" ;;
            esac
        done <<NAMED
$named
NAMED
    done
}

# read_with READER FILE...: a pattern that nothing fits is no file.
read_with() {
    reader=$1
    shift
    for configuration; do
        protocol=''
        [ ! -f "$configuration" ] || settings "$configuration" "$reader"
    done
}

# What the firmware starts lies in EFI/*/, beside the kernels and images of some boot loaders.
program() {
    for name in "/mnt${1%/}"/[Ee][Ff][Ii]/*/*.[Ee][Ff][Ii]; do
        directory=${name%/*}
        case $loader/${directory##*/} in
            systemd-boot/nixos | lanzaboote/nixos | lanzaboote/[Ll]inux) ;;
            *) [ ! -s "$name" ] || return 0 ;;
        esac
    done
    wrong ready-files "the ESP $1 has no program that the firmware could start"
}

profiles=/mnt/nix/var/nix/profiles
generation=$(readlink "$profiles/system" || :)
installed=$(readlink "$profiles/${generation##*/}" || :)
[ "$installed" = "$toplevel" ] ||
    wrong ready-profile "the system profile names ${installed:-nothing}, not $toplevel"
# A link, if it is one, leads to where it will be, not to where it is now.
[ -e "/mnt$toplevel/init" ] || [ -L "/mnt$toplevel/init" ] || wrong ready-profile "$toplevel/init is not there"

[ "$1" != -- ] || echo "landfall cannot read this boot loader ($loader): its entries were not checked"
all=0
while [ "$1" != -- ]; do
    boot=/mnt${1%/} where=$1 esp=$2 entries=0 planned=''
    shift 2
    case $loader in
        extlinux) read_with extlinux "$boot/extlinux/extlinux.conf" ;;
        systemd-boot) read_with systemd_boot "$boot"/loader/entries/*.conf ;;
        grub) read_with grub "$boot/grub/grub.cfg" ;;
        limine) read_with limine "$boot/limine/limine.conf" ;;
        refind) read_with refind "$boot/efi/refind/refind.conf" "$boot/efi/boot/refind.conf" ;;
        lanzaboote) images "$boot"/EFI/Linux/*.efi ;;
    esac
    if [ "$entries" -eq 0 ]; then
        wrong ready-entries "the boot loader ($loader) has no entries in $where"
    elif [ -z "$planned" ]; then
        wrong ready-entries "none of the boot loader's $entries entries in $where starts $toplevel"
    fi
    [ -z "$esp" ] || program "$esp"
    all=$((all + entries))
done
shift

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
    code=ready-file-system
    if [ "$1" = / ]; then root=0 code=ready-root; fi
    if [ "$4" = elsewhere ] && ! zpool list -H -o name "${2%%/*}" >/dev/null 2>&1; then
        echo "the pool ${2%%/*} is not of the layout, and not imported: the file system for $1 was not looked for"
    elif ! found "$2" "$3"; then
        wrong "$code" "the file system for $1 is not there: $2 ($3)"
    fi
    shift 4
done
[ "$root" -eq 0 ] || wrong ready-root "the configuration has no file system for /"

[ -z "$bad" ] || exit 1
[ "$all" -eq 0 ] || echo "the boot loader's files are there ($loader, entries: $all)"
