#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""vrf-lookup: who answers a packet that a VRF routes to an address of the default VRF?

    lan-host (192.0.2.2) -- lan [192.0.2.1]  router  [10.0.0.1] blue1, in VRF blue -- blue-host (10.0.0.2)
                                                     [203.0.113.1] VRF red

The main table has 10.0.0.0/24 by way of VRF blue, the way back. Everything
runs under three settings of the router:

  default rules   the local table comes first: blue reaches 192.0.2.1 unasked
  leak route      the local table comes last, blue has a local route to 192.0.2.1
  overlap         the local table comes last, blue has a network 192.0.2.0/24 of its own

A kernel that offers tcp_l3mdev_accept=2 (a VRF's packets to the default VRF's
addresses reach unbound sockets) is asked for it, and so for UDP.
"""

import errno
import select
import socket
import struct
from contextlib import ExitStack
from itertools import count

from lab import ETH_P_IP, Ktap, Lab, save, wait_for

MAIN, BLUE, RED = "192.0.2.1", "10.0.0.1", "203.0.113.1"
BLUE_HOST, LAN_HOST = "10.0.0.2", "192.0.2.2"
TCP, UDP = socket.SOCK_STREAM, socket.SOCK_DGRAM
SECONDS = 5
TCP_SYN, TCP_RST = 0x02, 0x04
IP_PKTINFO = 8
TCP_REPAIR, TCP_REPAIR_QUEUE, TCP_QUEUE_SEQ, TCP_REPAIR_WINDOW = 19, 20, 21, 29
TCP_QUEUES = (1, 2)
TCP_WINDOW_SIZE = 20
TIME_WAIT = "06"

TESTS = 35

# Every test has ports of its own: no test meets another one's TIME_WAIT.
ports = count(2000)


def main():
    with Lab() as lab, Ktap(TESTS) as ktap:
        router, lan_host, blue_host = build(lab)
        wire = blue_host.capture("eth0")
        save_routing(router, "routing-default-rules")
        symptoms(ktap, router, blue_host, wire)
        wire.keep("symptom", lambda frame: frame.ethertype == ETH_P_IP)
        bindings(ktap, router, blue_host)
        default_vrf(ktap, router, lan_host)
        l3mdev_accept(ktap, router, blue_host)

        router.ip(
            "rule add pref 32765 table local", "rule del pref 0 table local", f"route add local {MAIN} dev lan table 10"
        )
        save_routing(router, "routing-leak-route")
        leak_route(ktap, router, blue_host)

        router.ip(f"route del local {MAIN} dev lan table 10", f"addr add {MAIN}/24 dev blue1")
        blue_host.ip(f"addr add {LAN_HOST}/24 dev eth0")
        save_routing(router, "routing-overlap")
        overlap(ktap, router, lan_host, blue_host)


def build(lab):
    router, lan_host, blue_host = lab.namespace("router"), lab.namespace("lan-host"), lab.namespace("blue-host")
    for setting in ("all", "default"):
        router.sysctl(f"net.ipv4.conf.{setting}.rp_filter", 0)
    # Every refusal is to be told at once.
    router.sysctl("net.ipv4.icmp_ratelimit", 0)
    lab.veth(router, "lan", lan_host, "eth0")
    lab.veth(router, "blue1", blue_host, "eth0")
    router.ip(
        "link add blue type vrf table 10",
        "link set blue up",
        "link set blue1 master blue",
        f"addr add {MAIN}/24 dev lan",
        f"addr add {BLUE}/24 dev blue1",
        "route add 10.0.0.0/24 dev blue",
        # A second VRF, whose address VRF blue can reach.
        "link add red type vrf table 20",
        "link set red up",
        f"addr add {RED}/32 dev red",
        f"route add local {RED} dev red table 10",
    )
    lan_host.ip(f"addr add {LAN_HOST}/24 dev eth0")
    blue_host.ip(f"addr add {BLUE_HOST}/24 dev eth0", f"route add default via {BLUE}")
    set_l3mdev_accept(router, "2")
    return router, lan_host, blue_host


def set_l3mdev_accept(router, value):
    """Sets both sysctls; a kernel without the value keeps what it has."""
    for protocol in ("tcp", "udp"):
        try:
            router.sysctl(f"net.ipv4.{protocol}_l3mdev_accept", value)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise


def save_routing(router, name):
    commands = "rule show\nroute show table all type unicast\nroute show table all type local\n"
    save(name, router.run("ip", "-batch", "-", input=commands))


# The symptoms: unbound sockets of the default VRF, and packets of VRF blue to its address.


def symptoms(ktap, router, blue_host, wire):
    expect(ktap, "tcp-in", "connected", attempt(TCP, blue_host, MAIN, [(router, MAIN, None)]))
    # What sshd does, and what `ss` shows as *:22.
    expect(ktap, "tcp-in-wildcard", "connected", attempt(TCP, blue_host, MAIN, [(router, "::", None)]))
    syn_cookies(ktap, router, blue_host)
    time_wait(ktap, router, blue_host, wire)
    kept(ktap, router, blue_host)
    tcp_out(ktap, router, blue_host, wire)
    expect(ktap, "udp-in", "connected", attempt(UDP, blue_host, MAIN, [(router, MAIN, None)]))


def syn_cookies(ktap, router, blue_host):
    """With SYN cookies the handshake's last ACK has no socket but the listener."""
    router.sysctl("net.ipv4.tcp_syncookies", 2)
    expect(ktap, "tcp-in-syn-cookie", "connected", attempt(TCP, blue_host, MAIN, [(router, MAIN, None)]))
    router.sysctl("net.ipv4.tcp_syncookies", 1)


def time_wait(ktap, router, blue_host, wire):
    """A SYN that reuses the addresses and ports of a connection in TIME_WAIT is a new connection."""
    port = next(ports)
    with ExitStack() as stack:
        server = listen(stack, TCP, router, MAIN, port)
        first = connect(stack, TCP, blue_host, MAIN, port)
        observed = converse(first, [server])
        if observed == "connected":
            source = first.getsockname()
            first.close()
            waiting = wait_for(lambda: TIME_WAIT in tcp_states(router, port), SECONDS)
            second = connect(stack, TCP, blue_host, MAIN, port, source)
            observed = converse(second, [server]) if waiting else "no TIME_WAIT"
            # Refused at first, the SYN's answer resets the TIME_WAIT, and a second SYN gets through.
            if len(wire.matching(lambda frame: frame.destination_port == port and frame.tcp_flags & TCP_SYN)) > 2:
                observed += " by a retransmitted SYN"
    expect(ktap, "tcp-in-time-wait", "connected", observed)


def tcp_states(namespace, port):
    """The states of the sockets with this local port, as /proc/net/tcp writes them."""
    with namespace(), open("/proc/net/tcp") as file:
        lines = [line.split() for line in file]
    return [fields[3] for fields in lines if fields[1].endswith(f":{port:04X}")]


def kept(ktap, router, blue_host):
    """A connection stays with its socket when a listener bound to the VRF appears on the same port."""
    port = next(ports)
    with ExitStack() as stack:
        server = listen(stack, TCP, router, MAIN, port)
        client = connect(stack, TCP, blue_host, MAIN, port)
        observed, accepted = accept(stack, client, server)
        if accepted:
            listen(stack, TCP, router, "0.0.0.0", port, "blue")
            observed = echo(client, accepted)
    expect(ktap, "tcp-in-kept", "connected", observed)


def tcp_out(ktap, router, blue_host, wire):
    """Unbound client in the default VRF: does it accept the SYN-ACK that comes through the VRF?"""
    port = next(ports)
    with ExitStack() as stack:
        server = listen(stack, TCP, blue_host, BLUE_HOST, port)
        client = connect(stack, TCP, router, BLUE_HOST, port, (MAIN, next(ports)), wait=False)

        def refused():
            return wire.matching(lambda frame: frame.destination_port == port and frame.tcp_flags & TCP_RST)

        wait_for(lambda: finished(client) or refused(), SECONDS)
        observed = converse(client, [server]) if finished(client) else ""
        if observed != "connected" and refused():
            observed = "SYN-ACK refused"
    expect(ktap, "tcp-out", "connected", observed or "no answer")


# The controls: what the kernel does today and has to go on doing.


def bindings(ktap, router, blue_host):
    """Default rules: the columns of the table in patches/vrf-lookup/README.md, for TCP and UDP."""
    for kind, prefix in ((TCP, "tcp"), (UDP, "udp")):

        def case(name, expected, address, *servers):
            observed = attempt(kind, blue_host, address, [(router, *server) for server in servers])
            expect(ktap, f"{prefix}-{name}", expected, observed)

        # A socket bound to a VRF cannot bind an address that is not the VRF's.
        case("bound-vrf", "connected", MAIN, ("0.0.0.0", "blue"))
        case("bound-slave", "connected", MAIN, ("0.0.0.0", "blue1"))
        case("bound-lan", "refused", MAIN, (MAIN, "lan"))
        case("bound-first", "connected to blue", MAIN, (MAIN, None), ("0.0.0.0", "blue"))
        case("vrf-address", "refused", BLUE, ("0.0.0.0", None))
        case("vrf-address-bound", "connected to blue", BLUE, ("0.0.0.0", None), (BLUE, "blue"))
        case("other-vrf-address", "refused", RED, ("0.0.0.0", None))


def default_vrf(ktap, router, lan_host):
    """The default VRF's own traffic."""
    expect(ktap, "tcp-lan", "connected", attempt(TCP, lan_host, MAIN, [(router, MAIN, None)]))
    expect(ktap, "tcp-lan-bound-vrf", "refused", attempt(TCP, lan_host, MAIN, [(router, "0.0.0.0", "blue")]))


def l3mdev_accept(ktap, router, blue_host):
    """With tcp_l3mdev_accept=1 unbound sockets answer on every address, and what they accept is bound to the VRF."""
    set_l3mdev_accept(router, "1")
    for kind, name in ((TCP, "tcp-l3mdev-accept"), (UDP, "udp-l3mdev-accept")):
        expected = "connected, bound to blue" if kind == TCP else "connected"
        observed = [attempt(kind, blue_host, address, [(router, "0.0.0.0", None)]) for address in (MAIN, BLUE)]
        expect(ktap, name, f"{expected}; {expected}", "; ".join(observed))
    set_l3mdev_accept(router, "0")
    set_l3mdev_accept(router, "2")


def leak_route(ktap, router, blue_host):
    """The local table last, and 192.0.2.1 leaked into VRF blue by a local route."""

    def case(name, expected, address, *servers):
        expect(ktap, name, expected, attempt(TCP, blue_host, address, [(router, *server) for server in servers]))

    case("leak-route-tcp-in", "connected", MAIN, (MAIN, None))
    case("leak-route-bound-vrf", "connected", MAIN, ("0.0.0.0", "blue"))
    case("leak-route-bound-slave", "connected", MAIN, ("0.0.0.0", "blue1"))
    case("leak-route-bound-lan", "refused", MAIN, (MAIN, "lan"))
    case("leak-route-vrf-address", "refused", BLUE, ("0.0.0.0", None))


def overlap(ktap, router, lan_host, blue_host):
    """VRF blue has 192.0.2.0/24 of its own: the same addresses and ports are two connections."""
    for kind, prefix in ((TCP, "tcp"), (UDP, "udp")):
        expect(ktap, f"{prefix}-overlap", "refused", attempt(kind, blue_host, MAIN, [(router, MAIN, None)]))
    overlap_established(ktap, router, lan_host, blue_host, bound=False)
    overlap_established(ktap, router, lan_host, blue_host, bound=True)
    overlap_segment(ktap, router, lan_host, blue_host)


def overlap_established(ktap, router, lan_host, blue_host, bound):
    """blue-host uses the very 4-tuple of a connection that lan-host has with an unbound server."""
    port, source = next(ports), (LAN_HOST, next(ports))
    with ExitStack() as stack:
        server = listen(stack, TCP, router, MAIN, port)
        client = connect(stack, TCP, lan_host, MAIN, port, source)
        observed, accepted = accept(stack, client, server)
        servers = [server]
        if bound:
            servers.append(listen(stack, TCP, router, MAIN, port, "blue"))
        other = connect(stack, TCP, blue_host, MAIN, port, source)
        observed_other = converse(other, servers)
        if accepted:
            observed = echo(client, accepted)
    name, expected = ("overlap-bound-vrf", "connected to blue") if bound else ("overlap-established", "refused")
    expect(ktap, name, f"{expected}, lan-host connected", f"{observed_other}, lan-host {observed}")


def overlap_segment(ktap, router, lan_host, blue_host):
    """blue-host sends the next segment of lan-host's connection: same 4-tuple, same sequence numbers."""
    port, source = next(ports), (LAN_HOST, next(ports))
    with ExitStack() as stack:
        server = listen(stack, TCP, router, MAIN, port)
        client = connect(stack, TCP, lan_host, MAIN, port, source)
        observed, accepted = accept(stack, client, server)
        observed_twin = "none"
        if accepted:
            twin = twin_of(stack, client, blue_host)
            twin.send(b"intruder")
            wait_until(twin, select.POLLIN)
            observed_twin = error_name(twin.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR))
            observed = echo(client, accepted)
    expect(ktap, "overlap-segment", "reset, lan-host connected", f"{observed_twin}, lan-host {observed}")


def twin_of(stack, sock, namespace):
    """The established connection of a socket once more, in another namespace (TCP_REPAIR, tcp(7))."""
    sock.setsockopt(socket.IPPROTO_TCP, TCP_REPAIR, 1)
    twin = stack.enter_context(namespace.socket(kind=TCP))
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
        listening = [listen(stack, kind, namespace, where, port, device) for namespace, where, device in servers]
        return converse(connect(stack, kind, client, address, port), listening)


def listen(stack, kind, namespace, address, port, device=None):
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    sock = stack.enter_context(namespace.socket(family, kind, device=device))
    if kind == UDP:
        # Lets two devices share a port, which TCP does unasked.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind((address, port))
    if kind == TCP:
        sock.listen()
    return sock


def connect(stack, kind, namespace, address, port, source=None, wait=True):
    """A socket that tries to connect; a UDP one has sent its first datagram."""
    sock = stack.enter_context(namespace.socket(kind=kind))
    sock.setblocking(False)
    if source:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(source)
    sock.connect_ex((address, port))
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
            source = struct.pack("=i4s4x", 0, socket.inet_aton(client.getpeername()[0]))
            answering[0].sendmsg([data[::-1]], [(socket.IPPROTO_IP, IP_PKTINFO, source)], 0, address)
            wait_until(client, select.POLLIN)
        answer = client.recv(100)
    except BlockingIOError:
        return "no answer"
    except OSError as error:
        return error_name(error.errno)
    if answer != b"question"[::-1]:
        return f"wrong answer {answer}"
    return "connected" if len(servers) == 1 else f"connected to {device_of(answering[0])}"


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


def device_of(sock):
    """The device that a socket is bound to."""
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, 16).rstrip(b"\0").decode() or "no device"


def error_name(number):
    return {0: "no answer", errno.ECONNREFUSED: "refused", errno.ECONNRESET: "reset"}.get(
        number, errno.errorcode.get(number, str(number))
    )


main()
