# Unpacks the kexec image, which comes on stdin, into a fresh directory $1, through the decompressor $2
# (empty: it is a plain tar). Fresh, because `kexec/run` appends to the initrd it finds; private, because what
# it appends are the host's keys.
umask 077
rm -rf "$1"
# Not `-p`: in a directory that everybody writes to, somebody else may have made it again since.
mkdir "$1"
if [ -n "$2" ]; then
    "$2" -dc | tar -C "$1" -xf -
else
    tar -C "$1" -xf -
fi
[ -s "$1/kexec/initrd" ] && [ -x "$1/kexec/run" ]
