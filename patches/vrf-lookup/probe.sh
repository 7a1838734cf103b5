# SPDX-License-Identifier: GPL-2.0-only
# Whether an unbound TCP server answers what a VRF routes to it: tcp-in-wildcard of the case, in two network namespaces
# of its own that have no way out. Nothing outside of them is touched, and no module is loaded. POSIX sh.
# Exit codes: 0 it does, 1 it does not, 4 it cannot be tried here.
cannot() {
	echo "$*"
	exit 4
}
for tool in ip nc unshare nsenter; do command -v $tool >/dev/null || cannot "$tool is not there"; done
for module in vrf veth; do [ -d /sys/module/$module ] || cannot "$module is not loaded, and a probe loads nothing"; done

unshare -n sleep 60 &
router=$!
unshare -n sleep 60 &
client=$!
work=$(mktemp -d) || cannot 'there is no room in /tmp'
server=
trap 'kill $router $client $server 2>/dev/null; rm -rf "$work"' EXIT
own=$(readlink /proc/self/ns/net)
for pid in $router $client; do
	tries=0
	while there=$(readlink /proc/$pid/ns/net); [ -z "$there" ] || [ "$there" = "$own" ]; do
		tries=$((tries + 1))
		[ $tries -lt 10 ] || cannot 'there is no network namespace to be had'
		sleep 1
	done
done
on_router() { nsenter -t $router -n "$@"; }
on_client() { nsenter -t $client -n "$@"; }

{
	on_router ip link add v0 type veth peer name v1 netns $client &&
		on_router ip link add red type vrf table 100 &&
		on_router ip link set v0 master red &&
		on_router ip address add 192.0.2.1/32 dev lo &&
		on_router ip address add 198.51.100.1/24 dev v0 &&
		for link in lo red v0; do on_router ip link set $link up || exit; done &&
		on_router ip route add 198.51.100.0/24 dev red &&
		for name in all v0 red; do on_router sh -c "echo 0 >/proc/sys/net/ipv4/conf/$name/rp_filter" || exit; done &&
		on_client ip address add 198.51.100.2/24 dev v1 &&
		on_client ip link set v1 up &&
		on_client ip route add 192.0.2.1 via 198.51.100.1
} 2>"$work/said" || cannot "the namespaces could not be set up: $(head -n 1 "$work/said")"

nsenter -t $router -n nc -l -p 7777 >"$work/got" 2>/dev/null </dev/null &
server=$!
tries=0
# 1E61 is 7777.
until on_router grep -q ':1E61 .* 0A ' /proc/self/net/tcp /proc/self/net/tcp6; do
	tries=$((tries + 1))
	[ $tries -lt 10 ] || cannot 'nc does not listen here'
	sleep 1
done
tries=0
until [ -s "$work/got" ] || [ $tries -ge 3 ]; do
	echo answered | on_client nc -w 3 192.0.2.1 7777 >/dev/null 2>&1
	tries=$((tries + 1))
	[ -s "$work/got" ] || sleep 1
done
grep -q answered "$work/got" || {
	echo 'an unbound server is refused to a client in a VRF'
	exit 1
}
echo 'an unbound server answers a client in a VRF'
