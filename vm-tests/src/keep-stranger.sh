# Makes a pool called tank on the disk $1, as another machine would that has then lost its power: never exported.
echo 0x0badcafe >/sys/module/spl/parameters/spl_hostid
zpool create -f -o cachefile=none -O mountpoint=legacy tank "$1"
mkdir -p /tmp/stranger
mount -t zfs tank /tmp/stranger
head -c 16777216 /dev/urandom >/tmp/stranger/photos
umount /tmp/stranger
zpool sync tank
