# Whether the boot loader on a board's eMMC or SD card is untouched. $1: the kernel name of a disk; $2: where
# the boot loader's region ends, in MiB. The first call under a boot notes what is there; each later one compares, and fails if it has changed.
# Where an old partition with something known in it begins there, that was no boot loader's place: nothing is compared.
# From the end of the first partition table (34 sectors of 512 bytes; a boot ROM reads from sector 64) to $2 MiB.
note=/run/landfall/firmware.$1
mkdir -p /run/landfall
if [ ! -e "$note" ]; then
    for start in "/sys/class/block/$1/$1"*/start; do
        [ -e "$start" ] || continue
        part=${start%/start}
        part=${part##*/}
        held=$(wipefs --noheadings --output TYPE "/dev/$part")
        if [ -n "$held" ] && [ "$(cat "$start")" -lt $(($2 * 2048)) ]; then
            echo "$part, with $held, begins where a boot loader would be: it is not compared"
            echo none >"$note"
        fi
    done
fi
[ ! -e "$note" ] || ! grep -qx none "$note" || exit 0
# Blocks of 32 KiB: the first one is left out.
now=$(dd if="/dev/$1" bs=32768 skip=1 count=$(($2 * 32 - 1)) 2>/dev/null | sha256sum)
now=${now%% *}
if [ ! -e "$note" ]; then
    printf '%s\n' "$now" >"$note.new"
    mv "$note.new" "$note"
    exit 0
fi
read -r before <"$note"
if [ "$now" != "$before" ]; then
    echo "the first $2 MiB of $1 have changed: the boot loader was there. Do not switch the machine off: write the boot" \
        "loader anew first" >&2
    exit 1
fi
