# Takes away the directory $1, and the memory it is made of.
umount -l "$1" 2>/dev/null || :
rm -rf "$1"
[ ! -e "$1" ]
