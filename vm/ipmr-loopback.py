#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""ipmr-loopback: a multicast packet that leaves where it came in is forwarded until its TTL is used up.

    host                  router
     h0 ----------------- r0   the link of the hairpin routes
     h1 ----------------- r1
     h2 ----------------- r2   both in the VRF blue, with its own multicast
     h3 ----------------- r3   routing table

Every test has a group of its own, so all packets are sent first and looked at
afterwards. No test waits for time to pass: see settle().
"""

import os
import socket
import struct

from lab import Ktap, Lab, save, udp_frame, wait_for

# include/uapi/linux/mroute.h
MRT_INIT, MRT_ADD_VIF, MRT_ADD_MFC, MRT_TABLE = 200, 202, 204, 209
VIFF_USE_IFINDEX = 0x8
MAXVIFS = 32
# include/uapi/linux/in.h
IP_RECVTTL, IP_MULTICAST_ALL = 12, 49

PORT = 5001
TTL = 5
MAIN, BLUE = 253, 100
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


def main():
    # The proof of settle() needs all softirqs of the lab on one CPU.
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    with Lab() as lab, Ktap(15) as ktap:
        router, host = build(lab)
        wires = [host.capture(f"h{number}") for number in range(4)]

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

        lan = Injector(host, "h0", router.mac("r0"), SOURCE)
        blue = Injector(host, "h2", router.mac("r2"), SOURCE_BLUE)
        for group in (HAIRPIN, UNJOINED, FORWARD, THRESHOLD_HIGH, THRESHOLD_EQUAL):
            lan.send(group)
        for group in (VRF_HAIRPIN, VRF_UNJOINED, VRF_FORWARD):
            blue.send(group)
        originate(router, "r0", LOCAL, LOCAL_FORWARD, LOCAL_UNJOINED, LOCAL_HAIRPIN, BROADCAST)
        settle(router, lan)

        def on_wire(group):
            """The TTLs of what the router sent to a group, for every link that carried some."""
            return {
                f"r{number}": descending(ttls)
                for number, wire in enumerate(wires)
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

        wires[0].keep("symptom", to(HAIRPIN))
        wires[2].keep("vrf-symptom", to(VRF_HAIRPIN))
        wires[0].keep("local-symptom", to(LOCAL_HAIRPIN))
        save("mroute", router.run("ip", "-s", "mroute", "show", "table", "all"))

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


def build(lab):
    router, host = lab.namespace("router"), lab.namespace("host")
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
        *(f"link set r{number} up" for number in range(4)),
    )
    host.ip(*(f"link set h{number} up" for number in range(4)))
    return router, host


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

    def _set(self, option, value):
        self.socket.setsockopt(socket.IPPROTO_IP, option, value)


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
        ttls = []
        while True:
            try:
                _, ancillary, _, _ = self.socket.recvmsg(64, 64)
            except BlockingIOError:
                return descending(ttls)
            ttls += [
                struct.unpack("=i", data)[0]
                for level, kind, data in ancillary
                if (level, kind) == (socket.IPPROTO_IP, socket.IP_TTL)
            ]


class Injector:
    """Puts frames of a host that does not exist on a link."""

    def __init__(self, namespace, device, router_mac, source):
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.bind((device, 0))
        self.router_mac, self.source = router_mac, source

    def send(self, destination, ttl=TTL, port=PORT, payload=b"multicast"):
        mac = multicast_mac(destination) if is_multicast(destination) else self.router_mac
        self.socket.send(udp_frame("02:00:00:00:00:01", mac, self.source, destination, ttl, 1, port, payload))


def originate(namespace, device, *destinations):
    """Sends from the router itself, looped back as IP_MULTICAST_LOOP says by default."""
    sock = namespace.socket(device=device)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_TTL, TTL)
    sock.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, TTL)
    for destination in destinations:
        sock.sendto(b"local", (destination, PORT))


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


def to(group):
    return lambda frame: frame.destination == group and frame.destination_port == PORT


def is_multicast(address):
    return 224 <= socket.inet_aton(address)[0] < 240


def multicast_mac(group):
    """RFC 1112, 6.4: the low 23 bits of the group."""
    first, second, third = socket.inet_aton(group)[1:]
    return f"01:00:5e:{first & 0x7F:02x}:{second:02x}:{third:02x}"


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
