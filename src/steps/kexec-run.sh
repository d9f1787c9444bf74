# Runs the image's own `run`, which loads the installer's kernel and starts it some seconds later.
# $1: directory of the image; $2: options for kexec.
cd "$1" || exit
TMPDIR=$1 ./kexec/run --kexec-extra-flags "$2" 2>&1
