#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Two bugs of the nftables flowtable: a stale MAC, and a route looked up with the wrong mark.

    client   eth0 -- lan1 \\
    gateway  eth0 -- lan2  br-lan ---- router  wan -- eth0  server
    pbr      eth0 -- lan3 /            |
    tagged   eth0 -- lan4  br-vlan10 --+

Group stale-*: the flowtable is on the bridges' ports and wan, so replies into
the LAN are sent with what was true when the flow was made: the host's MAC
address, or the gateway that leads to it.
Group mark-*: the router's addresses are on "lan" and "vlan10", which are
plugged into the bridges, and the flowtable is on these and wan, so it sees no
bridge (Linux 7.2 makes no flow where a flowtable is on a bridge itself). The
client's queries are marked, and the mark routes them to pbr, which is on the
client's own LAN. The flowtable looks one direction's route up with the other
direction's mark.

A query is a UDP datagram with a number, and the server echoes it. Neighbour
states are the subject of some tests, so it is made for virtual time.

Parameters: offload (is there a flowtable), mark (are queries marked), queries
(how many at once in group mark-*), packets (exchanges after a change).
"""

import ctypes
import fcntl
import socket
import struct
import time
from collections import Counter

from lab import Ktap, Lab, parameter, wait_for
from lan import IP4, IP6, PBR_MARK, PORT, Flow, Site, TcpFlow, at_once, count, in_turn, one_each

OFFLOAD = parameter("offload", True)
MARK = parameter("mark", True)
QUERIES = parameter("queries", 2)
PACKETS = parameter("packets", 20)

PORTS, PLUGGED = "lan1, lan2, lan3, lan4, wan", "lan, vlan10, wan"
PPP_ROUTER, PPP_SERVER = "192.0.2.1", "192.0.2.2"
OTHER_MARK = 0x7  # chooses no route
TOLERATED = 2  # packets that may be lost while a change is noticed
VIA6 = "10.7.0."  # an IPv4 net behind the gateway's IPv6 address
WATCHED = 20  # seconds that an unchanged flow is watched
NOTICED = 20  # seconds within which a silent change has to be noticed
LET_GO = 5  # seconds within which an idle flow has to be given up; without a reason it takes 30


class FlowtableSite(Site):
    """The machines of the drawing above, a PPPoE session, and the flowtable on whichever devices."""

    offload = OFFLOAD

    def __init__(self, lab):
        super().__init__(lab)
        self.router.ip(f"route add {VIA6}0/24 via inet6 {IP6.gateway} dev br-lan")
        self.serve("gateway", IP4, VIA6 + "2")

    def ppp(self):
        """A PPPoE session over br-lan, from the router to the gateway, and a server at its other end."""
        self._ppp_end(self.router, "br-lan", self.macs["gateway"], PPP_ROUTER, PPP_SERVER)
        self._ppp_end(self.gateway, "eth0", self.router_mac, PPP_SERVER, PPP_ROUTER)
        self.gateway.ip(f"route add {IP4.vlan_router[:-1]}0/{IP4.length} dev ppp0")
        self.serve("gateway", IP4, PPP_SERVER)

    def _ppp_end(self, namespace, device, peer_mac, address, peer):
        """One end of a session, without the daemon that negotiates it (pppoe_connect(), ppp_ioctl() of the kernel)."""
        AF_PPPOX, SESSION = 24, 1
        PPPIOCGCHAN, PPPIOCATTCHAN, PPPIOCCONNECT, PPPIOCNEWUNIT = 0x80047437, 0x40047438, 0x4004743A, 0xC004743E
        mac = bytes.fromhex(peer_mac.replace(":", ""))
        to = struct.pack("=HI", AF_PPPOX, 0) + struct.pack("!H6s16s", SESSION, mac, device.encode())
        sock = namespace.socket(AF_PPPOX, socket.SOCK_STREAM)
        with namespace():
            if ctypes.CDLL(None, use_errno=True).connect(sock.fileno(), to, len(to)):
                raise OSError(ctypes.get_errno(), "PPPoE")
            channel, unit = open("/dev/ppp", "r+b", buffering=0), open("/dev/ppp", "r+b", buffering=0)
            namespace.closables += [unit, channel]
            number = struct.unpack("=i", fcntl.ioctl(sock, PPPIOCGCHAN, bytes(4)))[0]
            fcntl.ioctl(channel, PPPIOCATTCHAN, struct.pack("=i", number))
            index = fcntl.ioctl(unit, PPPIOCNEWUNIT, struct.pack("=i", -1))
            fcntl.ioctl(channel, PPPIOCCONNECT, index)
        namespace.ip(f"addr add {address} peer {peer} dev ppp0", "link set ppp0 up")

    def leave_bridges(self):
        """Moves the router's addresses from the bridges to devices that are plugged into them."""
        router = self.router
        for bridge, number in (("br-lan", 1), ("br-vlan", 2)):
            router.ip(f"link set {bridge} address 02:00:00:00:ff:0{number}")
        for bridge, device, plug in (("br-lan", "lan", "lan-plug"), ("br-vlan", "vlan10", "vlan10-plug")):
            router.ip(
                f"link add {device} address {self.router_mac} type veth peer name {plug}",
                f"link set {plug} master {bridge}",
                f"link set {plug} up",
                f"link set {device} up",
            )
        router.run("bridge", "vlan", "add", "vid", "10", "dev", "vlan10-plug", "pvid", "untagged")
        for device in ("br-lan", "br-vlan10"):
            # A bridge hears what is asked in its LAN, and has no say in it any more.
            router.sysctl(f"net.ipv4.conf.{device}.arp_ignore", 1)
            for version in ("-4", "-6"):
                for table in ("addr", "route", "neigh"):
                    router.run("ip", version, table, "flush", "dev", device)
        for version in ("-4", "-6"):
            router.run("ip", version, "route", "flush", "table", "100", check=False)
        self.give_addresses("lan", "vlan10")
        self.ready("lan", "vlan10")

    def rules(self, devices, mark=None):
        """A fresh ruleset: the flowtable on these devices, and a mark on the queries that come from the LAN."""
        self.router.nft(f"""
            flush ruleset
            table inet lab {{
                {f"flowtable ft {{ hook ingress priority filter; devices = {{ {devices} }}; }}" if OFFLOAD else ""}
                chain marking {{
                    type filter hook prerouting priority mangle;
                    {f"iifname {self.lan} udp dport {PORT} meta mark set {mark}" if mark and MARK else ""}
                }}
                chain forward {{
                    type filter hook forward priority filter;
                    counter comment "packets on the slow path"
                    {"meta l4proto { tcp, udp } flow add @ft" if OFFLOAD else ""}
                }}
                chain nat {{
                    type nat hook postrouting priority srcnat;
                    oifname wan masquerade
                    meta mark {PBR_MARK} masquerade
                }}
            }}""")

    def change_mac(self, name, announce=True):
        """Gives a host another MAC address; it tells the LAN, or keeps silent until it is asked."""
        host, old = getattr(self, name), self.macs[name]
        self.macs[name] = new = old[:-2] + f"{int(old[-2:], 16) + 1:02x}"
        host.sysctl("net.ipv4.conf.eth0.arp_notify", int(announce))
        host.sysctl("net.ipv6.conf.eth0.ndisc_notify", int(announce))
        host.ip(f"link set eth0 address {new}")
        if not announce:
            # The change emptied its neighbour table: it would ask for the router, and so tell.
            for ip in (IP4, IP6):
                host.ip(f"neigh replace {ip.router} lladdr {self.router_mac} dev eth0 nud permanent")
        return old, new


# Group stale: each returns whether the test passed, and what was observed.


def mac_change(site, flow):
    """The host behind the flow changes its MAC address and says so."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    since, slow = flow.number, site.slow_packets(flow.ip)
    old, new = site.change_mac(flow.host)
    replies = flow.exchange(PACKETS)
    slow = site.slow_packets(flow.ip) - slow
    seen, neighbour, flags = flow.seen(flow.host, since), flow.neighbour(), flow.flags()
    site.keep_tables(f"{flow.host} {old} -> {new}, {flow.protocol}{flow.ip.digit}")
    again = flow.stays_settled()
    flow.close()
    return replies >= PACKETS - TOLERATED and again, (
        f"{replies} of {PACKETS} replies after the change, expected {PACKETS - TOLERATED} or more; on the wire "
        f"{count(seen, old)} (old), {count(seen, new)} (new); neighbour {neighbour}, conntrack {flags}, "
        f"{slow} packets on the slow path; {'' if again else 'not '}offloaded afterwards"
    )


def unreplied_mac_change(site, flow):
    """
    The same, where the flow was made before a reply was seen (two queries back to back): conntrack
    never sees one, and keeps the entry, with its NAT mapping, only for as long as the flow does.
    """
    flow.exchange(2, 2)
    old, new = site.change_mac(flow.host)
    pushed, replies = flow.push(PACKETS), flow.exchange(PACKETS)
    flags = flow.flags()
    site.keep_tables(f"{flow.host} {old} -> {new}, unreplied {flow.protocol}{flow.ip.digit}")
    flow.close()
    return min(pushed, replies) >= PACKETS - TOLERATED, (
        f"{pushed} of {PACKETS} datagrams and {replies} of {PACKETS} replies after the change, expected "
        f"{PACKETS - TOLERATED} or more; conntrack {flags}"
    )


def silent_mac_change(site, flow):
    """The host changes its MAC address and says nothing: the router has to probe, as it does without a flowtable."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    # What the first packets started is over: from here on only the flow's packets say that the neighbour is in use.
    time.sleep(10)
    old, new = site.change_mac(flow.host, announce=False)
    start, since, replies = time.monotonic(), flow.number, 0
    while not replies and time.monotonic() < start + NOTICED:
        replies = flow.exchange()
        if not replies:
            time.sleep(1)
    seconds, seen = round(time.monotonic() - start), flow.seen(flow.host, since)
    neighbour, flags = flow.neighbour(), flow.flags()
    site.keep_tables(f"{flow.host} {old} -> {new} silently, {flow.protocol}{flow.ip.digit}")
    again = flow.settle()
    return bool(replies) and again, (
        f"{f'the first reply came after {seconds} s' if replies else f'no reply for {seconds} s'}, expected within "
        f"{NOTICED} s; on the wire {count(seen, old)} (old), {count(seen, new)} (new); neighbour {neighbour}, "
        f"conntrack {flags}; {'' if again else 'not '}offloaded afterwards"
    )


def forgotten_mac_change(site, flow):
    """The host changes its MAC address in silence, and the router's neighbour table is emptied."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    since, (old, new) = flow.number, site.change_mac(flow.host, announce=False)
    site.router.run("ip", f"-{flow.ip.digit}", "neigh", "flush", "dev", site.lan)
    replies = flow.exchange(PACKETS)
    seen, flags = flow.seen(flow.host, since), flow.flags()
    again = flow.settle()
    return replies >= PACKETS - TOLERATED and again, (
        f"{replies} of {PACKETS} replies after the change, expected {PACKETS - TOLERATED} or more; on the wire "
        f"{count(seen, old)} (old), {count(seen, new)} (new); conntrack {flags}; "
        f"{'' if again else 'not '}offloaded afterwards"
    )


def host_gone(site, flow):
    """The host still sends, but answers nobody who asks for its MAC address: the flow has no neighbour any more."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    host = getattr(site, flow.host)
    host.ip(f"neigh replace {flow.ip.router} lladdr {site.router_mac} dev eth0 nud permanent")
    host.sysctl("net.ipv4.conf.all.arp_ignore", 8)
    start, given_up = time.monotonic(), False
    while OFFLOAD and not given_up and time.monotonic() < start + NOTICED:
        flow.exchange()
        time.sleep(1)
        entry = flow.entry()
        given_up = bool(entry) and "[OFFLOAD]" not in entry
    seconds, neighbour, flags = round(time.monotonic() - start), flow.neighbour(), flow.flags()
    host.sysctl("net.ipv4.conf.all.arp_ignore", 0)
    again = wait_for(flow.settle, NOTICED)
    return (given_up or not OFFLOAD) and again, (
        f"conntrack {flags}, neighbour {neighbour} after {seconds} s, expected to be without OFFLOAD within "
        f"{NOTICED} s; {'' if again else 'not '}offloaded after the host came back"
    )


def idle(flow, what):
    """Whether a flow that has no packets is given up after a change."""
    start = time.monotonic()

    def given_up():
        entry = flow.entry()
        return bool(entry) and "[OFFLOAD]" not in entry

    gone = wait_for(given_up, LET_GO)
    seconds = time.monotonic() - start
    return gone or not OFFLOAD, (
        f"{what}: conntrack {flow.flags()} after {seconds:.1f} s without a packet, expected to be without OFFLOAD "
        f"within {LET_GO} s"
    )


def idle_mac_change(site, flow):
    """The host behind a flow that has no packets changes its MAC address and says so."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    old, new = site.change_mac(flow.host)
    result = idle(flow, f"{old} -> {new}")
    flow.close()
    return result


def idle_route_change(site, flow):
    """The route of a flow that has no packets changes."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    site.router.ip(f"route replace {flow.ip.remote_net} via {flow.ip.pbr}")
    result = idle(flow, f"route by {flow.ip.gateway} -> {flow.ip.pbr}")
    site.router.ip(f"route replace {flow.ip.remote_net} via {flow.ip.gateway}")
    return result


def route_change(site, flow):
    """The route to the flow's server changes to another gateway of the same LAN."""
    if not flow.settle():
        return False, f"the flow was not offloaded: {flow.entry()}"
    flow.answers.clear()
    site.router.ip(f"route replace {flow.ip.remote_net} via {flow.ip.pbr}")
    replies, answers, flags = flow.exchange(PACKETS), Counter(flow.answers), flow.flags()
    site.keep_tables(f"route by {flow.ip.gateway} -> {flow.ip.pbr}, {flow.protocol}{flow.ip.digit}")
    again = flow.settle()
    site.router.ip(f"route replace {flow.ip.remote_net} via {flow.ip.gateway}")
    return min(replies, answers["pbr"]) >= PACKETS - TOLERATED and again, (
        f"{answers['pbr']} of {PACKETS} queries left through the new gateway, expected {PACKETS - TOLERATED} or more, "
        f"{answers['gateway']} through the old one; {replies} replies; conntrack {flags}; "
        f"{'' if again else 'not '}offloaded afterwards"
    )


def unchanged(site, flows):
    """Nothing changes while the neighbours go through their states; one result for each flow."""
    for flow in flows:
        flow.settle()
    start = {flow.ip: site.slow_packets(flow.ip) for flow in flows}
    states, dropped, replies = {}, Counter(), Counter()
    for _ in range(WATCHED):
        time.sleep(1)
        for flow in flows:
            replies[flow] += flow.exchange()
            # A read of the table can miss an entry; what the flowtable let go stays away until the next packet.
            dropped[flow] += OFFLOAD and not any("[OFFLOAD]" in flow.entry() for _ in range(3))
        for ip in start:
            states.setdefault(ip, set()).add(site.neighbours(ip)[ip.client].split()[-1])
    for flow in flows:
        slow, late = site.slow_packets(flow.ip) - start[flow.ip], states[flow.ip] & {"STALE", "DELAY", "PROBE"}
        offloaded = not OFFLOAD or (late and not dropped[flow] and not slow)
        yield flow, replies[flow] == WATCHED and offloaded, (
            f"{replies[flow]} of {WATCHED} replies, conntrack without OFFLOAD in {dropped[flow]} of {WATCHED} s, "
            f"{slow} packets on the slow path, expected 0; neighbour states seen: {' '.join(sorted(states[flow.ip]))}"
        )


# Group mark.


def stays_offloaded(site, ip, *where):
    """
    What the mark does not concern is offloaded as before, by a query: then conntrack sees no reply. Of three flows one
    is enough: where routes are renewed at that very moment, a flow is let go, and the reply makes it anew.
    """
    for _ in range(3):
        passed, seen = offloaded_by_query(site, Flow(site, ip, *where))
        if passed:
            break
    return passed, seen


def offloaded_by_query(site, flow):
    replies = flow.exchange(QUERIES, QUERIES)
    # A read of the table can miss an entry.
    by_query = not OFFLOAD or QUERIES < 2 or any("[UNREPLIED]" in flow.flags() for _ in range(3))
    settled = flow.settle() and by_query
    if not settled:
        site.keep_tables(f"not offloaded: {flow.protocol}{flow.ip.digit}, port {flow.port}")
    return replies == QUERIES and settled, (
        f"{replies} of {QUERIES} replies; conntrack {flow.flags()}, expected [UNREPLIED] [OFFLOAD]; "
        f"{'' if settled else 'not '}offloaded by a query"
    )


def main():
    with Lab() as lab, Ktap(40) as ktap:
        site = FlowtableSite(lab)

        site.rules(PORTS)
        for ip in (IP4, IP6):
            ktap.test(f"stale-mac-udp{ip.digit}", *mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-mac-tcp{ip.digit}", *mac_change(site, TcpFlow(site, ip)))
            ktap.test(f"stale-mac-vlan{ip.digit}", *mac_change(site, Flow(site, ip, "tagged")))
            ktap.test(f"stale-mac-gateway{ip.digit}", *mac_change(site, Flow(site, ip, "gateway")))
            ktap.test(f"stale-mac-unreplied{ip.digit}", *unreplied_mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-mac-silent{ip.digit}", *silent_mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-mac-forgotten{ip.digit}", *forgotten_mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-mac-idle{ip.digit}", *idle_mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-route{ip.digit}", *route_change(site, Flow(site, ip, "tagged", ip.remote)))
            ktap.test(f"stale-route-idle{ip.digit}", *idle_route_change(site, Flow(site, ip, "tagged", ip.remote)))
        ktap.test("stale-mac-gone4", *host_gone(site, Flow(site, IP4)))
        for flow, *result in unchanged(site, [Flow(site, IP4), Flow(site, IP6), TcpFlow(site, IP4)]):
            ktap.test(f"unchanged-stays-offloaded-{flow.protocol}{flow.ip.digit}", *result)
        site.meet(IP6)
        ktap.test("via6-stays-offloaded4", *stays_offloaded(site, IP4, "tagged", VIA6 + "2"))
        site.ppp()
        for _, *result in unchanged(site, [Flow(site, IP4, "tagged", PPP_SERVER)]):
            ktap.test("pppoe-stays-offloaded4", *result)
        site.leave_bridges()
        site.rules(PLUGGED)
        for ip in (IP4, IP6):
            ktap.test(f"neigh-mode-mac{ip.digit}", *mac_change(site, Flow(site, ip)))
            ktap.test(f"neigh-mode-route{ip.digit}", *route_change(site, Flow(site, ip, "tagged", ip.remote)))

        for ip in (IP4, IP6):
            site.rules(PLUGGED, PBR_MARK)
            ktap.test(f"mark-reply-mac{ip.digit}", *at_once(site, Flow(site, ip), QUERIES, "pbr"))
            ktap.test(f"mark-query-route{ip.digit}", *in_turn(site, Flow(site, ip), PACKETS, "pbr" if MARK else "server"))
            ktap.test(f"mark-one-query-each{ip.digit}", *one_each(site, ip))
            site.rules(PLUGGED)
            ktap.test(f"unmarked-stays-offloaded{ip.digit}", *stays_offloaded(site, ip))
        for ip in (IP4, IP6):
            site.rules(PLUGGED, OTHER_MARK)
            ktap.test(f"harmless-mark-stays-offloaded{ip.digit}", *stays_offloaded(site, ip))
        site.save()


if __name__ == "__main__":
    main()
