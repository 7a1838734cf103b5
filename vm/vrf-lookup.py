#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""vrf-lookup: who answers a packet that a VRF routes to an address of the default VRF?

    lan-host (192.0.2.2) -- lan [192.0.2.1]  router  [10.0.0.1] blue1, in VRF blue -- blue-host (10.0.0.2)
                                                     [203.0.113.1] VRF red

The main table has 10.0.0.0/24 by way of VRF blue, the way back. IPv6 is alike,
see Family. Everything runs under three settings of the router:

  default rules   the local table comes first: blue reaches 192.0.2.1 unasked
  leak route      the local table comes last, blue has a local route to 192.0.2.1
  overlap         the local table comes last, blue has a network 192.0.2.0/24 of its own

A kernel that offers tcp_l3mdev_accept=2 (a VRF's packets to the default VRF's
addresses reach unbound sockets) is asked for it, and so for UDP. Both sysctls
are for IPv6 as well. The livepatch has a switch of its own.
"""

import ctypes
import errno
import os
import select
import socket
import struct
from contextlib import ExitStack
from itertools import count
from typing import NamedTuple

from lab import ETH_P_IP, ETH_P_IPV6, Ktap, Lab, internet_checksum, save, wait_for


class Family(NamedTuple):
    suffix: str
    ip: str
    any: str
    main: str
    blue: str
    red: str
    blue_host: str
    lan_host: str
    # Behind blue-host, which does not forward.
    beyond: str
    length: int
    host_length: int

    def network(self, address):
        """The network of an address, which is ADDRESS.1 or ADDRESS::1."""
        return f"{address[:-1]}{'' if self.suffix else '0'}/{self.length}"


V4 = Family(
    "", "-4", "0.0.0.0", "192.0.2.1", "10.0.0.1", "203.0.113.1", "10.0.0.2", "192.0.2.2", "198.51.100.1", 24, 32
)
V6 = Family(
    "6", "-6", "::", "2001:db8:2::1", "2001:db8:a::1", "2001:db8:cb::1", "2001:db8:a::2", "2001:db8:2::2",
    "2001:db8:c6::1", 64, 128,
)  # fmt: skip
FAMILIES = (V4, V6)
BLUE_LINK_LOCAL = "fe80::b1"

TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
PROTOCOLS = ((TCP, "tcp"), (UDP, "udp"))
SECONDS = 5
TCP_SYN, TCP_RST = 0x02, 0x04
IP_PKTINFO, IPV6_PKTINFO, IPV6_FREEBIND = 8, 50, 78
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_WINDOW = 19, 20, 21, 29
TCP_QUEUES = (1, 2)
TCP_WINDOW_SIZE = 20
TIME_WAIT = "06"
LIVEPATCH = "/sys/module/livepatch_vrf_lookup/parameters/enable"
SO_ATTACH_REUSEPORT_EBPF = 52
SYS_BPF, BPF_PROG_LOAD, BPF_PROG_TYPE_SK_REUSEPORT = 321, 5, 21
# mov r0, SK_DROP; exit
BPF_DROP = bytes.fromhex("b700000000000000" "9500000000000000")

TESTS = 92

# Every test has ports of its own: no test meets another one's TIME_WAIT.
ports = count(2000)


def main():
    with Lab() as lab, Ktap(TESTS) as ktap:
        router, lan_host, blue_host = build(lab)
        wire = blue_host.capture("eth0")
        save_routing(router, "routing-default-rules")
        for family in FAMILIES:
            symptoms(ktap, family, router, blue_host, wire)
        wire.keep("symptom", lambda frame: frame.ethertype in (ETH_P_IP, ETH_P_IPV6))
        for family in FAMILIES:
            bindings(ktap, family, router, blue_host)
            default_vrf(ktap, family, router, lan_host)
        link_local(ktap, router, blue_host)
        for family in FAMILIES:
            l3mdev_accept(ktap, family, router, blue_host)

        for family in FAMILIES:
            rules = "rule add pref 32765 table local\nrule del pref 0 table local\n"
            router.run("ip", family.ip, "-batch", "-", input=rules)
        router.ip(*(f"route add local {family.main} dev lan table 10" for family in FAMILIES))
        save_routing(router, "routing-leak-route")
        for family in FAMILIES:
            leak_route(ktap, family, router, blue_host)

        router.ip(
            *(f"route del local {family.main} dev lan table 10" for family in FAMILIES),
            *(f"addr add {family.main}/{family.length} dev blue1" for family in FAMILIES),
        )
        blue_host.ip(*(f"addr add {family.lan_host}/{family.length} dev eth0" for family in FAMILIES))
        save_routing(router, "routing-overlap")
        for family in FAMILIES:
            overlap(ktap, family, router, lan_host, blue_host)


def build(lab):
    router, lan_host, blue_host = lab.namespace("router"), lab.namespace("lan-host"), lab.namespace("blue-host")
    for setting in ("all", "default"):
        router.sysctl(f"net.ipv4.conf.{setting}.rp_filter", 0)
    # Every refusal is to be told at once.
    for namespace in (router, blue_host):
        namespace.sysctl("net.ipv4.icmp_ratelimit", 0)
        namespace.sysctl("net.ipv6.icmp.ratelimit", 0)
    lab.veth(router, "lan", lan_host, "eth0")
    lab.veth(router, "blue1", blue_host, "eth0")
    commands = [
        "link add blue type vrf table 10",
        "link set blue up",
        "link set blue1 master blue",
        f"addr add {BLUE_LINK_LOCAL}/64 dev blue1",
        # A second VRF, whose address VRF blue can reach.
        "link add red type vrf table 20",
        "link set red up",
    ]
    for family in FAMILIES:
        commands += [
            f"addr add {family.main}/{family.length} dev lan",
            f"addr add {family.blue}/{family.length} dev blue1",
            f"route add {family.network(family.blue)} dev blue",
            f"addr add {family.red}/{family.host_length} dev red",
            f"route add local {family.red} dev red table 10",
            f"route add {family.beyond} dev blue",
            f"route add {family.beyond} via {family.blue_host} dev blue1 table 10",
        ]
    router.ip(*commands)
    lan_host.ip(*(f"addr add {family.lan_host}/{family.length} dev eth0" for family in FAMILIES))
    blue_host.ip(
        *(f"addr add {family.blue_host}/{family.length} dev eth0" for family in FAMILIES),
        *(f"route add default via {family.blue}" for family in FAMILIES),
    )
    set_l3mdev_accept(router, "tcp", 2)
    set_l3mdev_accept(router, "udp", 2)
    return router, lan_host, blue_host


def set_l3mdev_accept(router, protocol, value):
    """Sets a sysctl; a kernel without the value 2 does what its default 0 does."""
    name = f"net.ipv4.{protocol}_l3mdev_accept"
    router.sysctl(name, 0)
    try:
        router.sysctl(name, value)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise


def save_routing(router, name):
    commands = "rule show\nroute show table all type unicast\nroute show table all type local\n"
    text = [router.run("ip", family.ip, "-batch", "-", input=commands) for family in FAMILIES]
    save(name, "\n".join(text))


# The symptoms: unbound sockets of the default VRF, and packets of VRF blue to its address.


def symptoms(ktap, family, router, blue_host, wire):
    tcp, udp = f"tcp{family.suffix}", f"udp{family.suffix}"

    def case(name, kind, address):
        expect(ktap, name, "connected", attempt(kind, blue_host, family.main, [(router, address, None)]))

    case(f"{tcp}-in", TCP, family.main)
    # What sshd does, and what `ss` shows as *:22.
    case(f"{tcp}-in-wildcard", TCP, "::")
    syn_cookies(ktap, family, router, blue_host)
    time_wait(ktap, family, router, blue_host, wire)
    kept(ktap, family, router, blue_host)
    tcp_out(ktap, family, router, blue_host, wire)
    tcp_out_unreachable(ktap, family, router, blue_host, wire)
    case(f"{udp}-in", UDP, family.main)
    case(f"{udp}-in-wildcard", UDP, family.any)
    kept_udp(ktap, family, router, blue_host)
    udp_out_refused(ktap, family, router)


def syn_cookies(ktap, family, router, blue_host):
    """With SYN cookies the handshake's last ACK has no socket but the listener."""
    router.sysctl("net.ipv4.tcp_syncookies", 2)
    observed = attempt(TCP, blue_host, family.main, [(router, family.main, None)])
    router.sysctl("net.ipv4.tcp_syncookies", 1)
    expect(ktap, f"tcp{family.suffix}-in-syn-cookie", "connected", observed)


def time_wait(ktap, family, router, blue_host, wire):
    """A SYN that reuses the addresses and ports of a connection in TIME_WAIT is a new connection."""
    port = next(ports)
    with ExitStack() as stack:
        server = listen(stack, TCP, router, family.main, port)
        first = connect(stack, TCP, blue_host, family.main, port)
        observed = converse(first, [server])
        if observed == "connected":
            source = first.getsockname()
            first.close()
            waiting = wait_for(lambda: TIME_WAIT in tcp_states(router, family, port), SECONDS)
            second = connect(stack, TCP, blue_host, family.main, port, source)
            observed = converse(second, [server]) if waiting else "no TIME_WAIT"
            # Refused at first, the SYN's answer resets the TIME_WAIT, and a second SYN gets through.
            if len(wire.matching(lambda frame: frame.destination_port == port and frame.tcp_flags & TCP_SYN)) > 2:
                observed += " by a retransmitted SYN"
    expect(ktap, f"tcp{family.suffix}-in-time-wait", "connected", observed)


def tcp_states(namespace, family, port):
    """The states of the sockets with this local port, as /proc/net/tcp and tcp6 write them."""
    with namespace(), open(f"/proc/net/tcp{family.suffix}") as file:
        lines = [line.split() for line in file]
    return [fields[3] for fields in lines if fields[1].endswith(f":{port:04X}")]


def kept(ktap, family, router, blue_host):
    """A connection stays with its socket when a listener bound to the VRF appears on the same port."""
    port = next(ports)
    with ExitStack() as stack:
        server = listen(stack, TCP, router, family.main, port)
        client = connect(stack, TCP, blue_host, family.main, port)
        observed, accepted = accept(stack, client, server)
        if accepted:
            try:
                listen(stack, TCP, router, family.any, port, "blue")
                observed = echo(client, accepted)
            except OSError as error:
                observed = f"connected, then bind: {error_name(error.errno)}"
    expect(ktap, f"tcp{family.suffix}-in-kept", "connected", observed)


def kept_udp(ktap, family, router, blue_host):
    """A connected unbound socket keeps its peer's datagrams when one bound to the VRF has the same port."""
    port, source = next(ports), (family.blue_host, next(ports))
    with ExitStack() as stack:
        server = listen(stack, UDP, router, family.main, port)
        server.connect(source)
        bound = listen(stack, UDP, router, family.any, port, "blue")
        observed = converse(connect(stack, UDP, blue_host, family.main, port, source), [server, bound])
    expect(ktap, f"udp{family.suffix}-in-kept", "connected to no device", observed)


def tcp_out(ktap, family, router, blue_host, wire):
    """Unbound client in the default VRF: does it accept the SYN-ACK that comes through the VRF?"""
    port = next(ports)
    with ExitStack() as stack:
        server = listen(stack, TCP, blue_host, family.blue_host, port)
        client = connect(stack, TCP, router, family.blue_host, port, (family.main, next(ports)), wait=False)

        def refused():
            return wire.matching(lambda frame: frame.destination_port == port and frame.tcp_flags & TCP_RST)

        wait_for(lambda: finished(client) or refused(), SECONDS)
        observed = converse(client, [server]) if finished(client) else ""
        if observed != "connected" and refused():
            observed = "SYN-ACK refused"
    expect(ktap, f"tcp{family.suffix}-out", "connected", observed or "no answer")


def tcp_out_unreachable(ktap, family, router, blue_host, wire):
    """Unbound client in the default VRF: does it get the ICMP error that a router behind the VRF sends?"""
    port = next(ports)
    with ExitStack() as stack:
        client = connect(stack, TCP, router, family.beyond, port, (family.main, next(ports)), wait=False)
        syn = wire.wait(lambda frame: frame.destination_port == port)
        observed = "no SYN"
        if syn:
            # By hand: an error that comes while connect() holds the socket would be soft.
            observed = icmp_error(router, client, lambda: send_unreachable(stack, family, blue_host, syn[0]))
    expect(ktap, f"tcp{family.suffix}-out-unreachable", "unreachable", observed)


def send_unreachable(stack, family, namespace, frame):
    """Host unreachable (RFC 792), address unreachable (RFC 4443), about a frame."""
    about = frame.data[14:]
    protocol = socket.IPPROTO_ICMPV6 if family is V6 else socket.IPPROTO_ICMP
    sock = stack.enter_context(namespace.socket(family_of(family.main), socket.SOCK_RAW, protocol))
    if family is V6:
        # The kernel fills in the checksum.
        message = struct.pack("!BBHI", 1, 3, 0, 0) + about
    else:
        about += bytes(len(about) % 2)
        checksum = internet_checksum(struct.pack("!BBHI", 3, 1, 0, 0) + about)
        message = struct.pack("!BBHI", 3, 1, checksum, 0) + about
    sock.sendto(message, (frame.source, 0))


def udp_out_refused(ktap, family, router):
    """Unbound client in the default VRF: does it get the port unreachable that comes through the VRF?"""
    with ExitStack() as stack:
        source = (family.main, next(ports))
        client = stack.enter_context(router.socket(family_of(family.main), UDP))
        client.bind(source)
        client.connect((family.blue_host, next(ports)))
        observed = icmp_error(router, client, lambda: client.send(b"question"))
    expect(ktap, f"udp{family.suffix}-out-refused", "refused", observed)


def icmp_error(router, client, cause):
    """The error that a socket of the router gets."""
    before = icmp_in_errors(router)
    cause()

    def told():
        return wait_until(client, 0, 0)

    # An error that is nobody's is counted.
    wait_for(lambda: told() or icmp_in_errors(router) > before, SECONDS)
    return error_name(client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)) if told() else "no error"


def icmp_in_errors(namespace):
    with namespace():
        with open("/proc/net/snmp") as file:
            names, values = (line.split() for line in file if line.startswith("Icmp:"))
        with open("/proc/net/snmp6") as file:
            counters = dict(line.split() for line in file)
    return int(values[names.index("InErrors")]) + int(counters["Icmp6InErrors"])


# The controls: what the kernel does today and has to go on doing.


def bindings(ktap, family, router, blue_host):
    """Default rules: the columns of the table in patches/vrf-lookup/README.md, for TCP and UDP."""
    for kind, protocol in PROTOCOLS:

        def case(name, expected, address, *servers):
            observed = attempt(kind, blue_host, address, [(router, *server) for server in servers])
            expect(ktap, f"{protocol}{family.suffix}-{name}", expected, observed)

        # A socket bound to a VRF cannot bind an address that is not the VRF's.
        case("bound-vrf", "connected", family.main, (family.any, "blue"))
        case("bound-slave", "connected", family.main, (family.any, "blue1"))
        case("bound-lan", "refused", family.main, (family.main, "lan"))
        case("bound-first", "connected to blue", family.main, (family.main, None), (family.any, "blue"))
        case("vrf-address", "refused", family.blue, (family.any, None))
        case("vrf-address-bound", "connected to blue", family.blue, (family.any, None), (family.blue, "blue"))
        case("other-vrf-address", "refused", family.red, (family.any, None))
    bound_drop(ktap, family, router, blue_host)


def bound_drop(ktap, family, router, blue_host):
    """What a reuseport program of a VRF-bound socket drops is not given to an unbound one."""
    port = next(ports)
    with ExitStack() as stack:
        unbound = listen(stack, UDP, router, family.any, port, reuseport=True)
        bound = listen(stack, UDP, router, family.any, port, "blue", reuseport=True)
        program = drop_program()
        bound.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_EBPF, program)
        os.close(program)
        observed = converse(connect(stack, UDP, blue_host, family.main, port), [unbound, bound])
    expect(ktap, f"udp{family.suffix}-bound-drop", "refused", observed)


def drop_program():
    """A loaded BPF program that drops all (bpf(2))."""
    libc = ctypes.CDLL(None, use_errno=True)
    instructions, license = ctypes.create_string_buffer(BPF_DROP), ctypes.create_string_buffer(b"GPL")
    attributes = struct.pack(
        "=IIQQ", BPF_PROG_TYPE_SK_REUSEPORT, len(BPF_DROP) // 8, ctypes.addressof(instructions),
        ctypes.addressof(license),
    ).ljust(48, b"\0")  # fmt: skip
    program = libc.syscall(SYS_BPF, BPF_PROG_LOAD, attributes, len(attributes))
    if program < 0:
        raise OSError(ctypes.get_errno(), "bpf")
    return program


def default_vrf(ktap, family, router, lan_host):
    """The default VRF's own traffic."""
    for kind, protocol in PROTOCOLS:

        def case(name, expected, *server):
            expect(ktap, name, expected, attempt(kind, lan_host, family.main, [(router, *server)]))

        case(f"{protocol}{family.suffix}-lan", "connected", family.main, None)
        case(f"{protocol}{family.suffix}-lan-bound-vrf", "refused", family.any, "blue")


def link_local(ktap, router, blue_host):
    """A link-local address of the VRF's port is an address of the VRF."""
    for kind, protocol in PROTOCOLS:
        observed = attempt(kind, blue_host, BLUE_LINK_LOCAL, [(router, "::", None)])
        expect(ktap, f"{protocol}6-vrf-link-local", "refused", observed)


def l3mdev_accept(ktap, family, router, blue_host):
    """The values that kernels have today."""

    def observe(kind):
        return "; ".join(
            attempt(kind, blue_host, address, [(router, family.any, None)]) for address in (family.main, family.blue)
        )

    # 1: unbound sockets answer on every address, and what they accept is bound to the VRF.
    for kind, protocol in PROTOCOLS:
        set_l3mdev_accept(router, protocol, 1)
        expected = "connected, bound to blue" if kind == TCP else "connected"
        expect(ktap, f"{protocol}{family.suffix}-l3mdev-accept", f"{expected}; {expected}", observe(kind))
        set_l3mdev_accept(router, protocol, 2)
    # 0: unbound sockets answer on none, whatever the other protocol's sysctl says.
    for kind, protocol in PROTOCOLS:
        set_l3mdev_accept(router, protocol, 0)
        switch_livepatch(0)
        expect(ktap, f"{protocol}{family.suffix}-l3mdev-accept-off", "refused; refused", observe(kind))
        switch_livepatch(1)
        set_l3mdev_accept(router, protocol, 2)


def switch_livepatch(value):
    if os.path.exists(LIVEPATCH):
        with open(LIVEPATCH, "w") as file:
            file.write(str(value))


def leak_route(ktap, family, router, blue_host):
    """The local table last, and the main table's address leaked into VRF blue by a local route."""
    prefix = f"leak-route{family.suffix}"

    def case(name, expected, address, *server, kind=TCP):
        expect(ktap, name, expected, attempt(kind, blue_host, address, [(router, *server)]))

    for kind, protocol in PROTOCOLS:
        case(f"leak-route-{protocol}{family.suffix}-in", "connected", family.main, family.main, None, kind=kind)
    case(f"{prefix}-bound-vrf", "connected", family.main, family.any, "blue")
    case(f"{prefix}-bound-slave", "connected", family.main, family.any, "blue1")
    case(f"{prefix}-bound-lan", "refused", family.main, family.main, "lan")
    case(f"{prefix}-vrf-address", "refused", family.blue, family.any, None)


def overlap(ktap, family, router, lan_host, blue_host):
    """VRF blue has the main table's network once more: the same addresses and ports are two connections."""
    for kind, protocol in PROTOCOLS:
        observed = attempt(kind, blue_host, family.main, [(router, family.main, None)])
        expect(ktap, f"{protocol}{family.suffix}-overlap", "refused", observed)
    overlap_established(ktap, family, router, lan_host, blue_host, bound=False)
    overlap_established(ktap, family, router, lan_host, blue_host, bound=True)
    overlap_segment(ktap, family, router, lan_host, blue_host)


def overlap_established(ktap, family, router, lan_host, blue_host, bound):
    """blue-host uses the very 4-tuple of a connection that lan-host has with an unbound server."""
    port, source = next(ports), (family.lan_host, next(ports))
    with ExitStack() as stack:
        server = listen(stack, TCP, router, family.main, port)
        client = connect(stack, TCP, lan_host, family.main, port, source)
        observed, accepted = accept(stack, client, server)
        servers = [server]
        try:
            if bound:
                servers.append(listen(stack, TCP, router, family.main, port, "blue"))
            observed_other = converse(connect(stack, TCP, blue_host, family.main, port, source), servers)
        except OSError as error:
            observed_other = f"bind: {error_name(error.errno)}"
        if accepted:
            observed = echo(client, accepted)
    name, expected = ("bound-vrf", "connected to blue") if bound else ("established", "refused")
    expect(
        ktap, f"overlap{family.suffix}-{name}", f"{expected}, lan-host connected",
        f"{observed_other}, lan-host {observed}",
    )  # fmt: skip


def overlap_segment(ktap, family, router, lan_host, blue_host):
    """blue-host sends the next segment of lan-host's connection: same 4-tuple, same sequence numbers."""
    port, source = next(ports), (family.lan_host, next(ports))
    with ExitStack() as stack:
        server = listen(stack, TCP, router, family.main, port)
        client = connect(stack, TCP, lan_host, family.main, port, source)
        observed, accepted = accept(stack, client, server)
        observed_twin = "none"
        if accepted:
            twin = twin_of(stack, client, blue_host)
            twin.send(b"intruder")
            wait_until(twin, select.POLLIN)
            observed_twin = error_name(twin.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            observed = echo(client, accepted)
    expect(
        ktap, f"overlap{family.suffix}-segment", "reset, lan-host connected", f"{observed_twin}, lan-host {observed}"
    )


def twin_of(stack, sock, namespace):
    """The established connection of a socket once more, in another namespace (TCP_REPAIR, tcp(7))."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    twin = stack.enter_context(namespace.socket(sock.family, TCP))
    twin.setblocking(False)
    twin.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    twin.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    for queue in TCP_QUEUES:
        sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        twin.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_QUEUE, queue)
        sequence = sock.getsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, 4)
        twin.setsockopt(socket.IPPROTO_TCP, TCP_QUEUE_SEQ, sequence)
    twin.bind(sock.getsockname())
    twin.connect(sock.getpeername())
    window = sock.getsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, TCP_WINDOW_SIZE)
    twin.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR_WINDOW, window)
    for repaired in (sock, twin):
        repaired.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, -1)
    return twin


# The means


def expect(ktap, name, expected, observed):
    ktap.test(name, observed == expected, observed if observed == expected else f"{observed}, expected {expected}")


def attempt(kind, client, address, servers):
    """Listens with every server (namespace, address, device) on one port, connects, sends data both ways.

    "connected", with several servers "connected to DEVICE"; "refused" or what else came.
    """
    port = next(ports)
    with ExitStack() as stack:
        try:
            listening = [listen(stack, kind, namespace, where, port, device) for namespace, where, device in servers]
        except OSError as error:
            return f"bind: {error_name(error.errno)}"
        return converse(connect(stack, kind, client, address, port), listening)


def listen(stack, kind, namespace, address, port, device=None, reuseport=False):
    sock = stack.enter_context(namespace.socket(family_of(address), kind, device=device))
    if reuseport:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    elif kind == UDP:
        # Lets two devices share a port, which TCP does unasked.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind == TCP:
        sock.listen()
    return sock


def connect(stack, kind, namespace, address, port, source=None, wait=True):
    """A socket that tries to connect; a UDP one has sent its first datagram."""
    sock = stack.enter_context(namespace.socket(family_of(address), kind))
    sock.setblocking(False)
    if source:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(source)
    # A link-local address is of the hosts' only link.
    scope = (0, namespace.ifindex("eth0")) if address == BLUE_LINK_LOCAL else ()
    sock.connect_ex((address, port, *scope))
    if kind == UDP:
        sock.send(b"question")
    elif wait:
        wait_until(sock, select.POLLOUT)
    return sock


def converse(client, servers):
    """Data from the client to the server that answers, and back; the server hangs up first."""
    if client.type == UDP:
        return converse_udp(client, servers)
    with ExitStack() as stack:
        failure = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if failure or not finished(client):
            return error_name(failure)
        answering = wait_for(lambda: [server for server in servers if readable(server)], SECONDS)
        if not answering:
            return "connected to no server"
        observed, accepted = accept(stack, client, answering[0])
        if accepted:
            observed = echo(client, accepted)
        if observed == "connected" and len(servers) > 1:
            observed += f" to {device_of(answering[0])}"
        if accepted and device_of(accepted) != device_of(answering[0]):
            observed += f", bound to {device_of(accepted)}"
        return observed


def converse_udp(client, servers):
    poll = select.poll()
    for sock in (client, *servers):
        poll.register(sock, select.POLLIN)
    ready = [fd for fd, _ in poll.poll(SECONDS * 1000)]
    answering = [server for server in servers if server.fileno() in ready]
    try:
        if answering:
            data, address = answering[0].recvfrom(100)
            # From the address that was asked: a socket bound to the VRF would take the VRF's.
            answering[0].sendmsg([data[::-1]], [source_of(answering[0], client.getpeername()[0])], 0, address)
            wait_until(client, select.POLLIN)
        answer = client.recv(100)
    except BlockingIOError:
        return "no answer"
    except OSError as error:
        return error_name(error.errno)
    if answer != b"question"[::-1]:
        return f"wrong answer {answer}"
    return "connected" if len(servers) == 1 else f"connected to {device_of(answering[0])}"


def source_of(sock, address):
    """The control message that sends a datagram from an address, be it the socket's VRF's or not."""
    if sock.family == socket.AF_INET:
        return socket.IPPROTO_IP, IP_PKTINFO, struct.pack("=i4s4x", 0, socket.inet_aton(address))
    sock.setsockopt(socket.IPPROTO_IPV6, IPV6_FREEBIND, 1)
    return socket.IPPROTO_IPV6, IPV6_PKTINFO, socket.inet_pton(socket.AF_INET6, address) + bytes(4)


def accept(stack, client, server):
    """What is observed, and the accepted socket if there is one."""
    failure = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
    if failure or not finished(client):
        return error_name(failure), None
    if not wait_until(server, select.POLLIN):
        return "connected to no server", None
    return "connected", stack.enter_context(server.accept()[0])


def echo(client, accepted):
    """Some data each way over an established connection."""
    for sender, receiver, data in ((client, accepted, b"question"), (accepted, client, b"answer")):
        receiver.settimeout(SECONDS)
        try:
            sender.sendall(data)
            received = receiver.recv(100)
        except TimeoutError:
            return "connected, then silent"
        except OSError as error:
            return f"connected, then {error_name(error.errno)}"
        if received != data:
            return f"connected, then received {received}"
    return "connected"


def finished(sock):
    """Whether an attempt to connect has ended, either way."""
    return bool(wait_until(sock, select.POLLOUT, 0))


def readable(sock):
    return bool(wait_until(sock, select.POLLIN, 0))


def wait_until(sock, event, seconds=SECONDS):
    poll = select.poll()
    poll.register(sock, event)
    return poll.poll(seconds * 1000)


def family_of(address):
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def device_of(sock):
    """The device that a socket is bound to."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode() or "no device"


def error_name(number):
    names = {
        0: "no answer",
        errno.ECONNREFUSED: "refused",
        errno.ECONNRESET: "reset",
        errno.EHOSTUNREACH: "unreachable",
        errno.ENETUNREACH: "unreachable",
    }
    return names.get(number, errno.errorcode.get(number, str(number)))


main()
