#!/bin/bash
# netem.sh OUT KERNEL ROOTFS: what makes the network of a running system bad: tc with all it needs, and
# the modules that lose and delay packets. Sent to the system by the scenario that wants it.
# shellcheck source=lib.sh
. "$(dirname "${BASH_SOURCE[0]}")/lib.sh"
stage_begin netem "$1"
kernel=$(input "$2")
rootfs=$(input "$3")

step 100 "packing tc and its modules"
# As the kexec image does it: with its own loader and libraries, found beside it.
bundle=$SCRATCH/netem
mkdir -p "$bundle/lib" "$bundle/modules"
find "$rootfs/apart/tc" -type f -exec cp {} "$bundle/lib/" \;
cat > "$bundle/tc" <<'WRAPPER'
#!/bin/sh
lib=$(dirname "$(readlink -f "$0")")/lib
exec "$lib/ld-linux-aarch64.so.1" --library-path "$lib" "$lib/tc" "$@"
WRAPPER
chmod 755 "$bundle/tc"

# In a tree of their own, by the order in which they have to be loaded.
copy_modules "$kernel" "$SCRATCH/modules" sch_netem sch_ingress cls_matchall act_mirred ifb
find "$SCRATCH/modules" -name '*.ko' -exec mv {} "$bundle/modules/" \;
for module in sch_netem sch_ingress cls_matchall act_mirred ifb; do
  modprobe -d "$SCRATCH/modroot" -S "$(cat "$kernel/version")" --show-depends "$module"
done | sed -n 's|^insmod .*/\([^/]*\.ko\).*|\1|p' | awk '!seen[$0]++' > "$bundle/modules/order"

tar -C "$bundle" --owner=0 --group=0 --sort=name -cf "$OUT/netem.tar" .
stage_end
