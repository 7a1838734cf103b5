# SPDX-License-Identifier: GPL-2.0-only
# Makes a test host a router: a LAN and a WAN, a firewall4-shaped ruleset, UCI
# files with secrets, one TCP flow that is offloaded. $1 holds the files.
set -eu

# What OpenWrt's busybox has not (its Config-defaults.in), this one has not either.
for applet in timeout setsid stat nohup diff base64 od tac paste install patch truncate realpath xxd bc dc getopt tsort comm fold; do
	for link in /usr/bin/$applet /usr/sbin/$applet; do
		[ "$(readlink "$link")" != /usr/bin/busybox ] || rm "$link"
	done
done
hash -r
! command -v timeout

mkdir -p /usr/share/firewall4/templates /etc/config
cp "$1/fw4" /sbin/fw4
chmod 755 /sbin/fw4
cp "$1/ruleset.uc" /usr/share/firewall4/templates/ruleset.uc
cat >/etc/config/firewall <<'UCI'
config defaults
	option flow_offloading '1'
UCI
cat >/etc/config/network <<'UCI'
config interface 'wan'
	option proto 'pppoe'
	option username 'customer@provider.example'
	option password 'correct'\''horse battery'

config interface 'wg0'
	option private_key 'yAnz5TF+lXXJte14tji3zlMNq+hd2rYUIgJBgB3fBmk='
UCI

ip link add br-lan type bridge
ip link set br-lan up
ip addr add 10.0.0.1/24 dev br-lan
for side in lan1 wan; do
	ip netns add $side
	ip link add $side type veth peer name eth0 netns $side
	ip link set $side up
	ip -n $side link set lo up
	ip -n $side link set eth0 up
done
ip link set lan1 master br-lan
ip addr add 8.8.4.1/24 dev wan
ip -n lan1 addr add 10.0.0.2/24 dev eth0
ip -n lan1 route add default via 10.0.0.1
ip -n wan addr add 8.8.4.4/24 dev eth0
echo 1 >/proc/sys/net/ipv4/ip_forward
ip rule add fwmark 0xff lookup 100
ip route add default via 10.0.0.3 dev br-lan table 100
nft add table inet fw4
nft 'add flowtable inet fw4 ft { hook ingress priority 0; devices = { lan1, wan }; }'
fw4 start

# The waiting is for the machine, which is slow at times; the flow then goes on for as long as the machine is there.
wait_for() {
	i=0
	until eval "$1"; do
		[ $((i += 1)) -lt 100 ] || exit 1
		sleep 0.2
	done
}
ip netns exec wan nc -ll -p 53 -e cat >/dev/null 2>&1 </dev/null &
wait_for 'ip netns exec wan netstat -ltn | grep -q ":53 "'
( i=0; while sleep 0.2; do echo "line $((i += 1))"; done ) </dev/null 2>/dev/null | ip netns exec lan1 nc 8.8.4.4 53 >/dev/null 2>&1 &
wait_for 'grep -q OFFLOAD /proc/net/nf_conntrack'
