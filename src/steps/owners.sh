# Gives paths under /mnt their owners, by the names that the installed system knows. $@: path, user, group, and "all" if
# everything below the path is meant; then the next.
number() {
    case $2 in
        *[!0-9]*) ;;
        *)
            echo "$2"
            return
            ;;
    esac
    found=$(awk -F: -v name="$2" '$1 == name { print $3; exit }' "/mnt/etc/$1")
    [ -n "$found" ] || {
        echo "the installed system has no '$2' (/etc/$1)" >&2
        return 1
    }
    echo "$found"
}
while [ $# -gt 0 ]; do
    user=$(number passwd "$2")
    group=$(number group "$3")
    if [ "$4" = all ]; then
        chown -hR "$user:$group" "/mnt$1"
    else
        chown -h "$user:$group" "/mnt$1"
    fi
    shift 4
done
