# Proves that files can be placed under /mnt: no link leads any of them out of it. Prints the numbers of the directories that are
# there already. stdin: NUMBER:KIND PATH without blanks between, each ended by a NUL; KIND is d for a directory.
# shellcheck disable=SC2016 # the inner shell expands it
xargs -0 sh -euc '
for place; do
    number=${place%%:*}
    place=${place#*:}
    path=/mnt${place#?}
    if [ "${place%"${place#?}"}" = d ]; then
        if [ -L "$path" ]; then
            printf "%s is a link on the target: nothing is placed below it\n" "$path" >&2
            exit 1
        elif [ -d "$path" ]; then
            echo "$number"
        elif [ -e "$path" ]; then
            printf "%s is not a directory on the target\n" "$path" >&2
            exit 1
        fi
    elif [ -d "$path" ] && [ ! -L "$path" ]; then
        printf "%s is a directory on the target\n" "$path" >&2
        exit 1
    fi
done' sh
