# Makes the network of this machine bad, in both directions. Standard input: the archive of the stage netem; the
# parameters: what tc-netem(8) takes.
mkdir -p /run/netem
cd /run/netem || exit
tar -xf -
while read -r module; do insmod "modules/$module"; done <modules/order
interface=$(ip -o route show default | sed -n '1s/.* dev \([^ ]*\).*/\1/p')
ip link set ifb0 up
# What leaves can be queued; what arrives is first sent through another interface, to be queued there.
./tc qdisc add dev "$interface" handle ffff: ingress
./tc filter add dev "$interface" parent ffff: matchall action mirred egress redirect dev ifb0
./tc qdisc add dev ifb0 root netem "$@"
./tc qdisc add dev "$interface" root netem "$@"
./tc qdisc show
