#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ipmr-loopback: a multicast packet that leaves where it came in is forwarded until its TTL is used up.

What is said of the TTL holds for the hop limit of IPv6.

    host                  router
     h0 ----------------- r0   the link of the hairpin routes
     h1 ----------------- r1
     h2 ----------------- r2   both in the VRF blue, with its own multicast
     h3 ----------------- r3   routing table
     h4 ----------------- f0   another router, with connection tracking, which
                               puts IPv6 fragments together and apart again

Every test has a group of its own, so all packets are sent first and looked at
afterwards. No test waits for time to pass: see settle().
"""

import fcntl
import json
import os
import socket
import struct

from lab import ETH_P_IPV6, Ktap, Lab, internet_checksum, save, udp_frame, wait_for

# include/uapi/linux/mroute.h and mroute6.h, where the numbers are the same
MRT_INIT, MRT_ADD_VIF, MRT_ADD_MFC, MRT_TABLE = 200, 202, 204, 209
SIOCGETSGCNT = 0x89E1
VIFF_USE_IFINDEX = 0x8
MAXVIFS = 32
# include/uapi/linux/in.h and in6.h
IP_RECVTTL, IP_MULTICAST_ALL = 12, 49
IPV6_MULTICAST_ALL = 29

LINKS = {"r0": "h0", "r1": "h1", "r2": "h2", "r3": "h3", "f0": "h4"}
PORT = 5001
TTL = 5
# Of a datagram that is sent in fragments: so many, of so many bytes but for the last.
PIECES, PIECE = 2, 1280 - 40 - 8
MAIN, MAIN6, BLUE = 253, 254, 100
SOURCE, SOURCE_BLUE = "192.0.2.9", "203.0.113.9"
ROUTER = "192.0.2.1"

HAIRPIN = "239.1.1.1"
UNJOINED = "239.1.1.2"
FORWARD = "239.1.1.3"
THRESHOLD_HIGH = "239.1.1.4"
THRESHOLD_EQUAL = "239.1.1.5"
LOCAL = "239.1.1.6"
LOCAL_FORWARD = "239.1.1.7"
LOCAL_UNJOINED = "239.1.1.8"
LOCAL_HAIRPIN = "239.1.1.9"
VRF_HAIRPIN = "239.1.2.1"
VRF_UNJOINED = "239.1.2.2"
VRF_FORWARD = "239.1.2.3"
BROADCAST = "192.0.2.255"

SOURCE6, SOURCE6_BLUE, SOURCE6_FRAGMENTS = "2001:db8::9", "2001:db8:2::9", "2001:db8:4::9"
ROUTER6 = "2001:db8::1"

HAIRPIN6 = "ff1e::1:1"
UNJOINED6 = "ff1e::1:2"
FORWARD6 = "ff1e::1:3"
HOP_LIMIT6 = "ff1e::1:4"
LOCAL6 = "ff1e::1:6"
LOCAL_FORWARD6 = "ff1e::1:7"
LOCAL_UNJOINED6 = "ff1e::1:8"
LOCAL_HAIRPIN6 = "ff1e::1:9"
VRF_HAIRPIN6 = "ff1e::2:1"
VRF_UNJOINED6 = "ff1e::2:2"
VRF_FORWARD6 = "ff1e::2:3"
FRAGMENTS6 = "ff1e::3:1"
FRAGMENTS_UNJOINED6 = "ff1e::3:2"


def main():
    # The proof of settle() needs all softirqs of the lab on one CPU.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Lab() as lab, Ktap(33) as ktap:
        router, fragments, host = build(lab)
        wires = {device: host.capture(peer) for device, peer in LINKS.items()}

        main_table = MulticastRouting(router, MAIN, ("r0", "r1"))
        main_table.add(SOURCE, HAIRPIN, "r0", {"r0": 1})
        main_table.add(SOURCE, UNJOINED, "r0", {"r0": 1})
        main_table.add(SOURCE, FORWARD, "r0", {"r1": 1})
        main_table.add(SOURCE, THRESHOLD_HIGH, "r0", {"r0": TTL - 1})
        main_table.add(SOURCE, THRESHOLD_EQUAL, "r0", {"r0": TTL})
        main_table.add(ROUTER, LOCAL_FORWARD, "r0", {"r1": 1})
        main_table.add(ROUTER, LOCAL_UNJOINED, "r0", {"r1": 1})
        main_table.add(ROUTER, LOCAL_HAIRPIN, "r0", {"r0": 1})
        blue_table = MulticastRouting(router, BLUE, ("r2", "r3"))
        blue_table.add(SOURCE_BLUE, VRF_HAIRPIN, "r2", {"r2": 1})
        blue_table.add(SOURCE_BLUE, VRF_UNJOINED, "r2", {"r2": 1})
        blue_table.add(SOURCE_BLUE, VRF_FORWARD, "r2", {"r3": 1})

        main_table6 = MulticastRouting6(router, MAIN6, ("r0", "r1"))
        main_table6.add(SOURCE6, HAIRPIN6, "r0", "r0")
        main_table6.add(SOURCE6, UNJOINED6, "r0", "r0")
        main_table6.add(SOURCE6, FORWARD6, "r0", "r1")
        main_table6.add(SOURCE6, HOP_LIMIT6, "r0", "r0")
        main_table6.add(ROUTER6, LOCAL_FORWARD6, "r0", "r1")
        main_table6.add(ROUTER6, LOCAL_UNJOINED6, "r0", "r1")
        main_table6.add(ROUTER6, LOCAL_HAIRPIN6, "r0", "r0")
        blue_table6 = MulticastRouting6(router, BLUE, ("r2", "r3"))
        blue_table6.add(SOURCE6_BLUE, VRF_HAIRPIN6, "r2", "r2")
        blue_table6.add(SOURCE6_BLUE, VRF_UNJOINED6, "r2", "r2")
        blue_table6.add(SOURCE6_BLUE, VRF_FORWARD6, "r2", "r3")
        fragments_table6 = MulticastRouting6(fragments, MAIN6, ("f0",))
        fragments_table6.add(SOURCE6_FRAGMENTS, FRAGMENTS6, "f0", "f0")
        fragments_table6.add(SOURCE6_FRAGMENTS, FRAGMENTS_UNJOINED6, "f0", "f0")

        receivers = {
            (group, device): Receiver(router, group, device, vrf)
            for group, device, vrf in (
                (HAIRPIN, "r0", None),
                (FORWARD, "r0", None),
                (FORWARD, "r1", None),
                (THRESHOLD_HIGH, "r0", None),
                (THRESHOLD_EQUAL, "r0", None),
                (LOCAL, "r0", None),
                (LOCAL_FORWARD, "r0", None),
                (LOCAL_HAIRPIN, "r0", None),
                (BROADCAST, "r0", None),
                (VRF_HAIRPIN, "r2", "blue"),
                (VRF_FORWARD, "r2", "blue"),
                (VRF_FORWARD, "r3", "blue"),
            )
        }
        receivers |= {
            (group, device): Receiver6(namespace, group, device)
            for namespace, group, device in (
                (router, HAIRPIN6, "r0"),
                (router, FORWARD6, "r0"),
                (router, FORWARD6, "r1"),
                (router, HOP_LIMIT6, "r0"),
                (router, LOCAL6, "r0"),
                (router, LOCAL_FORWARD6, "r0"),
                (router, LOCAL_HAIRPIN6, "r0"),
                (router, VRF_HAIRPIN6, "r2"),
                (router, VRF_FORWARD6, "r2"),
                (router, VRF_FORWARD6, "r3"),
                (fragments, FRAGMENTS6, "f0"),
            )
        }

        lan = Injector(host, "h0", router.mac("r0"), SOURCE)
        blue = Injector(host, "h2", router.mac("r2"), SOURCE_BLUE)
        for group in (HAIRPIN, UNJOINED, FORWARD, THRESHOLD_HIGH, THRESHOLD_EQUAL):
            lan.send(group)
        for group in (VRF_HAIRPIN, VRF_UNJOINED, VRF_FORWARD):
            blue.send(group)
        originate(router, "r0", LOCAL, LOCAL_FORWARD, LOCAL_UNJOINED, LOCAL_HAIRPIN, BROADCAST)

        lan6 = Injector6(host, "h0", SOURCE6)
        blue6 = Injector6(host, "h2", SOURCE6_BLUE)
        pieces6 = Injector6(host, "h4", SOURCE6_FRAGMENTS)
        for group in (HAIRPIN6, UNJOINED6, FORWARD6):
            lan6.send(group)
        lan6.send(HOP_LIMIT6, hop_limit=1)
        for group in (VRF_HAIRPIN6, VRF_UNJOINED6, VRF_FORWARD6):
            blue6.send(group)
        for group in (FRAGMENTS6, FRAGMENTS_UNJOINED6):
            pieces6.send_fragments(group)
        originate6(router, "r0", LOCAL6, LOCAL_FORWARD6, LOCAL_UNJOINED6, LOCAL_HAIRPIN6)
        settle(router, lan)

        def on_wire(group):
            """The TTLs of what the router sent to a group, for every link that carried some."""
            return {
                device: descending(ttls)
                for device, wire in wires.items()
                if (ttls := [frame.ttl for frame in wire.matching(to(group)) if not frame.outgoing])
            }

        def wire_test(name, group, expected):
            seen = on_wire(group)
            ktap.test(name, seen == expected, comparison("on the wire", seen, expected))

        def test(name, group, wire, sockets):
            """Everything that happened to a group: on the links, and at the receivers that joined."""
            on_links = on_wire(group)
            at_sockets = {device: receivers[group, device].ttls() for device in sockets}
            ktap.test(
                name,
                (on_links, at_sockets) == (wire, sockets),
                comparison("on the wire", on_links, wire) + "; " + comparison("at the socket", at_sockets, sockets),
            )

        def delivery_test(name, group, device):
            """The packet and its looped copy reach the socket; how many more do is the symptom's business."""
            ttls = receivers[group, device].ttls()
            ktap.test(
                name,
                ttls[:2] == [TTL, TTL - 1],
                f"TTL {listing(ttls)} at the socket, expected {TTL} and {TTL - 1} among them",
            )

        def counter_test(name, table, source, group):
            """What the routing daemon is told about a route that one packet took."""
            seen = table.counters(source, group)
            ktap.test(name, seen == (1, 0), "{} packets, {} from a wrong interface, expected 1 and 0".format(*seen))

        wires["r0"].keep("symptom", to(HAIRPIN))
        wires["r2"].keep("vrf-symptom", to(VRF_HAIRPIN))
        wires["r0"].keep("local-symptom", to(LOCAL_HAIRPIN))
        wires["r0"].keep("symptom6", to(HAIRPIN6))
        wires["r2"].keep("vrf-symptom6", to(VRF_HAIRPIN6))
        wires["r0"].keep("local-symptom6", to(LOCAL_HAIRPIN6))
        wires["f0"].keep("fragments-symptom6", to(FRAGMENTS6))
        save("mroute", router.run("ip", "-s", "mroute", "show", "table", "all"))
        save("mroute6", router.run("ip", "-6", "-s", "mroute", "show", "table", "all"))

        wire_test("hairpin-one-copy", HAIRPIN, {"r0": [TTL - 1]})
        wire_test("vrf-hairpin-one-copy", VRF_HAIRPIN, {"r2": [TTL - 1]})
        wire_test("local-hairpin-one-copy", LOCAL_HAIRPIN, {"r0": [TTL, TTL - 1]})

        delivery_test("hairpin-delivered", HAIRPIN, "r0")
        wire_test("hairpin-unjoined", UNJOINED, {"r0": [TTL - 1]})
        test("forward-delivered", FORWARD, {"r1": [TTL - 1]}, {"r0": [TTL], "r1": [TTL - 1]})
        test("threshold-passed", THRESHOLD_HIGH, {"r0": [TTL - 1]}, {"r0": [TTL, TTL - 1]})
        test("threshold-stopped", THRESHOLD_EQUAL, {}, {"r0": [TTL]})
        test("local-delivered", LOCAL, {"r0": [TTL]}, {"r0": [TTL]})
        test("local-forwarded", LOCAL_FORWARD, {"r0": [TTL], "r1": [TTL - 1]}, {"r0": [TTL]})
        wire_test("local-forwarded-unjoined", LOCAL_UNJOINED, {"r0": [TTL], "r1": [TTL - 1]})
        test("broadcast-delivered", BROADCAST, {"r0": [TTL]}, {"r0": [TTL]})
        delivery_test("vrf-hairpin-delivered", VRF_HAIRPIN, "r2")
        wire_test("vrf-hairpin-unjoined", VRF_UNJOINED, {"r2": [TTL - 1]})
        test("vrf-forward-delivered", VRF_FORWARD, {"r3": [TTL - 1]}, {"r2": [TTL], "r3": [TTL - 1]})

        counter_test("forward-counted-once", main_table, SOURCE, FORWARD)
        wire_test("hairpin6-one-copy", HAIRPIN6, {"r0": [TTL - 1]})
        wire_test("vrf-hairpin6-one-copy", VRF_HAIRPIN6, {"r2": [TTL - 1]})
        wire_test("local-hairpin6-one-copy", LOCAL_HAIRPIN6, {"r0": [TTL, TTL - 1]})
        counter_test("forward6-counted-once", main_table6, SOURCE6, FORWARD6)
        wire_test("hairpin6-fragments-one-copy", FRAGMENTS6, {"f0": [TTL - 1] * PIECES})
        arrived = counted(fragments, "early")
        ktap.test(
            "unjoined6-fragments-not-looped",
            arrived == PIECES,
            f"{arrived} fragments came in, expected {PIECES}: nobody joined the group",
        )

        delivery_test("hairpin6-delivered", HAIRPIN6, "r0")
        wire_test("hairpin6-unjoined", UNJOINED6, {"r0": [TTL - 1]})
        test("forward6-delivered", FORWARD6, {"r1": [TTL - 1]}, {"r0": [TTL], "r1": [TTL - 1]})
        test("hop-limit6-stopped", HOP_LIMIT6, {}, {"r0": [1]})
        test("local6-delivered", LOCAL6, {"r0": [TTL]}, {"r0": [TTL]})
        test("local6-forwarded", LOCAL_FORWARD6, {"r0": [TTL], "r1": [TTL - 1]}, {"r0": [TTL]})
        wire_test("local6-forwarded-unjoined", LOCAL_UNJOINED6, {"r0": [TTL], "r1": [TTL - 1]})
        delivery_test("vrf-hairpin6-delivered", VRF_HAIRPIN6, "r2")
        wire_test("vrf-hairpin6-unjoined", VRF_UNJOINED6, {"r2": [TTL - 1]})
        test("vrf-forward6-delivered", VRF_FORWARD6, {"r3": [TTL - 1]}, {"r2": [TTL], "r3": [TTL - 1]})
        delivery_test("hairpin6-fragments-delivered", FRAGMENTS6, "f0")


def build(lab):
    router, fragments, host = lab.namespace("router"), lab.namespace("fragments"), lab.namespace("host")
    router.ip(
        *(f"link add r{number} type veth peer name h{number} netns host" for number in range(4)),
        # After its devices: a namespace that ends removes the youngest first, and
        # a VRF that outlives its devices complains that it cannot cycle them.
        f"link add blue type vrf table {BLUE}",
        "link set blue up",
        "link set r2 master blue",
        "link set r3 master blue",
        f"addr add {ROUTER}/24 brd {BROADCAST} dev r0",
        "addr add 198.51.100.1/24 dev r1",
        "addr add 203.0.113.1/25 dev r2",
        "addr add 203.0.113.129/25 dev r3",
        f"addr add {ROUTER6}/64 dev r0",
        *(f"addr add 2001:db8:{number}::1/64 dev r{number}" for number in range(1, 4)),
        *(f"link set r{number} up" for number in range(4)),
    )
    lab.veth(fragments, "f0", host, "h4")
    fragments.ip("addr add 2001:db8:4::1/64 dev f0")
    # Connection tracking starts with the first rule that asks for it. It puts
    # fragments together at priority -400, after they were counted.
    fragments.nft(
        f"""
        table ip6 router {{
            chain early {{
                type filter hook prerouting priority -450;
                ip6 daddr {FRAGMENTS_UNJOINED6} counter
            }}
            chain tracked {{
                type filter hook prerouting priority 0;
                ct state new accept
            }}
        }}
        """
    )
    host.ip(*(f"link set h{number} up" for number in range(4)))
    return router, fragments, host


class MulticastRouting:
    """One multicast routing table with its interfaces: what a routing daemon tells the kernel."""

    def __init__(self, namespace, table, devices):
        self.vifs = {device: number for number, device in enumerate(devices)}
        self.socket = namespace.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_IGMP)
        self._set(MRT_TABLE, struct.pack("=I", table))
        self._set(MRT_INIT, struct.pack("=i", 1))
        for device, vif in self.vifs.items():
            # struct vifctl
            self._set(
                MRT_ADD_VIF, struct.pack("=HBBIiI", vif, VIFF_USE_IFINDEX, 1, 0, namespace.ifindex(device), 0)
            )

    def add(self, source, group, ingress, egress):
        """An (S,G) route; egress gives each device the threshold that a packet's TTL has to exceed."""
        thresholds = bytearray(MAXVIFS)
        for device, threshold in egress.items():
            thresholds[self.vifs[device]] = threshold
        # struct mfcctl
        self._set(
            MRT_ADD_MFC,
            struct.pack(
                "@4s4sH32sIIIi", socket.inet_aton(source), socket.inet_aton(group),
                self.vifs[ingress], bytes(thresholds), 0, 0, 0, 0,
            ),
        )  # fmt: skip

    def counters(self, source, group):
        """What took a route so far: (packets, those of them that came from a wrong interface)."""
        # struct sioc_sg_req
        request = struct.pack("@4s4sLLL", socket.inet_aton(source), socket.inet_aton(group), 0, 0, 0)
        packets, _, wrong = struct.unpack_from("@LLL", fcntl.ioctl(self.socket, SIOCGETSGCNT, request), 8)
        return packets, wrong

    def _set(self, option, value):
        self.socket.setsockopt(socket.IPPROTO_IP, option, value)


class MulticastRouting6:
    """The same for IPv6, where routes have no thresholds."""

    def __init__(self, namespace, table, devices):
        self.mifs = {device: number for number, device in enumerate(devices)}
        self.socket = namespace.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6)
        self._set(MRT_TABLE, struct.pack("=I", table))
        self._set(MRT_INIT, struct.pack("=i", 1))
        for device, mif in self.mifs.items():
            # struct mif6ctl
            self._set(MRT_ADD_VIF, struct.pack("@HBBHI", mif, 0, 1, namespace.ifindex(device), 0))

    def add(self, source, group, ingress, egress):
        # struct mf6cctl
        self._set(
            MRT_ADD_MFC,
            struct.pack(
                "@28s28sHI28x", socket_address6(source), socket_address6(group),
                self.mifs[ingress], 1 << self.mifs[egress],
            ),
        )  # fmt: skip

    def counters(self, source, group):
        # struct sioc_sg_req6
        request = struct.pack("@28s28sLLL", socket_address6(source), socket_address6(group), 0, 0, 0)
        packets, _, wrong = struct.unpack_from("@LLL", fcntl.ioctl(self.socket, SIOCGETSGCNT, request), 56)
        return packets, wrong

    def _set(self, option, value):
        self.socket.setsockopt(socket.IPPROTO_IPV6, option, value)


class Receiver:
    """A socket that joined a group on one device, and receives for that device only."""

    def __init__(self, namespace, group, device, vrf):
        self.socket = namespace.socket(device=vrf)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.IPPROTO_IP, IP_RECVTTL, 1)
        # Else the socket also receives for the joins of all others.
        self.socket.setsockopt(socket.IPPROTO_IP, IP_MULTICAST_ALL, 0)
        self.socket.bind((group, PORT))
        if is_multicast(group):
            # struct ip_mreqn
            membership = struct.pack("=4s4si", socket.inet_aton(group), bytes(4), namespace.ifindex(device))
            self.socket.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        self.socket.setblocking(False)

    def ttls(self):
        """The TTLs of what arrived since the last call."""
        return received_ttls(self.socket, socket.IPPROTO_IP, socket.IP_TTL)


class Receiver6:
    def __init__(self, namespace, group, device):
        # Bound to the device: an IPv6 socket takes what it joined from every link.
        self.socket = namespace.socket(socket.AF_INET6, device=device)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVHOPLIMIT, 1)
        self.socket.setsockopt(socket.IPPROTO_IPV6, IPV6_MULTICAST_ALL, 0)
        self.socket.bind((group, PORT))
        # struct ipv6_mreq
        membership = struct.pack("=16si", inet6_aton(group), namespace.ifindex(device))
        self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, membership)
        self.socket.setblocking(False)

    def ttls(self):
        return received_ttls(self.socket, socket.IPPROTO_IPV6, socket.IPV6_HOPLIMIT)


class Injector:
    """Puts frames of a host that does not exist on a link."""

    def __init__(self, namespace, device, router_mac, source):
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((device, 0))
        self.router_mac, self.source = router_mac, source

    def send(self, destination, ttl=TTL, port=PORT, payload=b"multicast"):
        mac = multicast_mac(destination) if is_multicast(destination) else self.router_mac
        self.socket.send(udp_frame("02:00:00:00:00:01", mac, self.source, destination, ttl, 1, port, payload))


class Injector6:
    def __init__(self, namespace, device, source):
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((device, 0))
        self.source = source

    def send(self, group, hop_limit=TTL):
        self._send(group, hop_limit, socket.IPPROTO_UDP, self._udp(group, b"multicast"))

    def send_fragments(self, group, hop_limit=TTL):
        """One datagram in PIECES packets, the first of the least MTU that IPv6 has (RFC 8200, 4.5)."""
        udp = self._udp(group, bytes(1400))
        for start in range(0, len(udp), PIECE):
            piece = udp[start : start + PIECE]
            more = start + PIECE < len(udp)
            header = struct.pack("!BxHI", socket.IPPROTO_UDP, start | more, 1)
            self._send(group, hop_limit, socket.IPPROTO_FRAGMENT, header + piece)

    def _udp(self, group, payload):
        addresses = inet6_aton(self.source) + inet6_aton(group)
        length = 8 + len(payload)
        udp = struct.pack("!HHHH", 1, PORT, length, 0) + payload
        pseudo_header = addresses + struct.pack("!IxxxB", length, socket.IPPROTO_UDP)
        checksum = internet_checksum(pseudo_header + udp + bytes(length % 2)) or 0xFFFF
        return udp[:6] + struct.pack("!H", checksum) + udp[8:]

    def _send(self, group, hop_limit, protocol, payload):
        # RFC 2464, 7: the low 32 bits of the group.
        ethernet = b"\x33\x33" + inet6_aton(group)[12:] + bytes.fromhex("020000000001") + struct.pack("!H", ETH_P_IPV6)
        addresses = inet6_aton(self.source) + inet6_aton(group)
        header = struct.pack("!IHBB", 6 << 28, len(payload), protocol, hop_limit) + addresses
        self.socket.send(ethernet + header + payload)


def originate(namespace, device, *destinations):
    """Sends from the router itself, looped back as IP_MULTICAST_LOOP says by default."""
    sock = namespace.socket(device=device)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
    for destination in destinations:
        sock.sendto(b"local", (destination, PORT))


def originate6(namespace, device, *groups):
    sock = namespace.socket(socket.AF_INET6, device=device)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
    sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, TTL)
    for group in groups:
        sock.sendto(b"local", (group, PORT))


def settle(router, injector):
    """Returns when no copy of an earlier packet can be on its way any more.

    The links and the loop back to local receivers go through one queue, the
    CPU's backlog, first in, first out. A fence is a packet to a unicast socket
    of the router, sent through that queue: when it is there, all that was
    queued before it has been handled, so every packet that still loops has lost
    one more TTL. TTL fences, each sent when the one before has arrived, outlast
    the longest loop.
    """
    sock = router.socket()
    sock.bind((ROUTER, PORT + 1))
    sock.setblocking(False)
    for number in range(TTL):
        fence = f"fence {number}".encode()
        injector.send(ROUTER, ttl=64, port=PORT + 1, payload=fence)
        if wait_for(lambda: received(sock)) != fence:
            raise RuntimeError(f"{fence.decode()} did not reach the router within 5 s")


def received(sock):
    try:
        return sock.recv(64)
    except BlockingIOError:
        return None


def received_ttls(sock, level, kind):
    ttls = []
    while True:
        try:
            _, ancillary, _, _ = sock.recvmsg(64, 64)
        except BlockingIOError:
            return descending(ttls)
        ttls += [struct.unpack("=i", data)[0] for at, what, data in ancillary if (at, what) == (level, kind)]


def counted(namespace, chain):
    """The packets that the counter of a chain's one rule has seen."""
    items = json.loads(namespace.run("nft", "-j", "list", "chain", "ip6", "router", chain))["nftables"]
    (rule,) = (item["rule"] for item in items if "rule" in item)
    return next(statement["counter"]["packets"] for statement in rule["expr"] if "counter" in statement)


def to(group):
    """A frame of the test with that group; of fragments only the first one has ports."""
    return lambda frame: frame.destination == group and (
        frame.destination_port == PORT or frame.protocol == socket.IPPROTO_FRAGMENT
    )


def is_multicast(address):
    return 224 <= socket.inet_aton(address)[0] < 240


def multicast_mac(group):
    """RFC 1112, 6.4: the low 23 bits of the group."""
    first, second, third = socket.inet_aton(group)[1:]
    return f"01:00:5e:{first & 0x7F:02x}:{second:02x}:{third:02x}"


def inet6_aton(address):
    return socket.inet_pton(socket.AF_INET6, address)


def socket_address6(address):
    """struct sockaddr_in6"""
    return struct.pack("@HHI16sI", socket.AF_INET6, 0, 0, inet6_aton(address), 0)


def descending(ttls):
    return sorted(ttls, reverse=True)


def comparison(where, seen, expected):
    """ "TTL 4,3 on the wire, expected 4"; the links are named where several take part."""
    several = len({*seen, *expected}) > 1

    def text(ttls_by_device):
        return ", ".join(
            listing(ttls) + (f" ({device})" if several else "") for device, ttls in ttls_by_device.items()
        )

    return f"TTL {text(seen) or 'none'} {where}, expected {text(expected) or 'none'}"


def listing(ttls):
    return ",".join(map(str, ttls)) or "none"


main()
