#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""nat-oif-change: does a masqueraded connection outlive the mark that its first packet was routed by?

               172.17.0.1 lan  +--------+ wan0 192.0.2.1 ---- 192.0.2.2 eth0    +----------+
    clients -- eth0            | router |                                       | internet | 203.0.113.1
            -- eth1   spare    +--------+ wan1 198.51.100.1 - 198.51.100.2 eth1 +----------+

172.17.0.2 is the client that the ruleset gives mark 0x36, which is routed by
wan1. 172.17.0.3 and everything else gets 0x30 and wan0. IPv6 is alike, see
Family. The ruleset that is loaded is the variant's, once as nft's and once as
iptables', which are tested one after another on the same router.
"""

import fcntl
import os
import re
import socket
import struct
from collections import Counter
from itertools import count
from typing import NamedTuple

from lab import Ktap, Lab, drain, reaches, ruleset_path, save, wait_for


class Family(NamedTuple):
    version: int
    socket: int
    network: str
    length: int
    host_length: int
    router: str
    # The client that the policy is for, and another.
    client: str
    other: str
    # The second link between router and clients.
    spare_router: str
    spare_client: str
    # Router and provider of each uplink.
    wan0: str
    wan0_gateway: str
    wan1: str
    wan1_gateway: str
    server: str


V4 = Family(
    4, socket.AF_INET, "172.17.0.0", 24, 32, "172.17.0.1", "172.17.0.2", "172.17.0.3", "172.18.0.1", "172.18.0.2",
    "192.0.2.1", "192.0.2.2", "198.51.100.1", "198.51.100.2", "203.0.113.1",
)  # fmt: skip
V6 = Family(
    6, socket.AF_INET6, "fd00:17::", 64, 128, "fd00:17::1", "fd00:17::2", "fd00:17::3", "fd00:18::1", "fd00:18::2",
    "2001:db8:2::1", "2001:db8:2::2", "2001:db8:64::1", "2001:db8:64::2", "2001:db8:cb::1",
)  # fmt: skip
FAMILIES = (V4, V6)

# What a ruleset is loaded as, and the name of its tests by family.
FORMS = {("nft",): {V4: "nft4", V6: "nft6"}, ("iptables", "ip6tables"): {V4: "iptables", V6: "ip6tables"}}
TESTS_OF_EACH = 10

PORT = 443
CHUNKS, CHUNK = 4, 1000
DATAGRAMS = 6
# How long something may take that comes at once: a busy machine is none that loses packets.
SECONDS = 30
# How long, once that was too short: a ruleset that lets nothing through is to fail its tests before the deadline.
IMPATIENT = 1
TCP_RST = 0x04
SIOCOUTQ = 0x5411

# No two flows share a port, so none meets an entry of another.
ports = count(2000)


def main():
    with Lab() as lab, Ktap(TESTS_OF_EACH * sum(map(len, FORMS.values()))) as ktap:
        site = Site(lab)
        for forms, names in FORMS.items():
            for form in forms:
                site.router.load_ruleset(form)
            for family, name in names.items():
                symptoms(ktap, site, family, name)
                controls(ktap, site, family, name)
            for form in forms:
                site.load_with_snat(form)
            for family, name in names.items():
                snat(ktap, site, family, name)
            site.router.run("nft", "flush", "ruleset")
        site.keep_tables()
        for wire in site.wires.values():
            wire.keep()


def ip(namespace, family, *commands):
    """ip -batch for one family: rules and routes are of IPv4 where nothing else is said."""
    namespace.run("ip", f"-{family.version}", "-batch", "-", input="".join(command + "\n" for command in commands))


class Site:
    """The namespaces, and what is seen of them."""

    def __init__(self, lab):
        self.seconds = SECONDS
        self.clients, self.router, self.internet = (lab.namespace(name) for name in ("clients", "router", "internet"))
        lab.veth(self.clients, "eth0", self.router, "lan")
        lab.veth(self.clients, "eth1", self.router, "spare")
        lab.veth(self.internet, "eth0", self.router, "wan0")
        lab.veth(self.internet, "eth1", self.router, "wan1")
        for family in FAMILIES:
            self._address(family)
        self.router.sysctl("net.ipv4.ip_forward", 1)
        self.router.sysctl("net.ipv6.conf.all.forwarding", 1)
        self.wires = {device: self.router.capture(device) for device in ("lan", "spare", "wan0", "wan1")}
        self.router.conntrack_events()
        self.listeners = {family: self._listen(family) for family in FAMILIES}
        self.echoes = {family: self._echo(family) for family in FAMILIES}

    def _address(self, family):
        length, host = family.length, family.host_length
        ip(
            self.clients,
            family,
            *(f"addr add {address}/{length} dev eth0" for address in (family.client, family.other)),
            f"addr add {family.spare_client}/{length} dev eth1",
            f"route add default via {family.router}",
        )
        ip(
            self.router,
            family,
            f"addr add {family.router}/{length} dev lan",
            f"addr add {family.spare_router}/{length} dev spare",
            f"addr add {family.wan0}/{length} dev wan0",
            f"addr add {family.wan1}/{length} dev wan1",
            f"route add default via {family.wan0_gateway}",
            f"route add default via {family.wan0_gateway} table 30",
            f"route add default via {family.wan1_gateway} table 36",
            # What is on a link is there whatever the mark; an uplink's own address leaves by it.
            f"rule add pref 5 lookup main suppress_prefixlength 0",
            f"rule add pref 8 from {family.wan0} lookup 30",
            f"rule add pref 8 from {family.wan1} lookup 36",
            f"rule add pref 9 fwmark 0x30/0xff lookup 30",
            f"rule add pref 9 fwmark 0x36/0xff lookup 36",
        )
        ip(
            self.internet,
            family,
            f"addr add {family.wan0_gateway}/{length} dev eth0",
            f"addr add {family.wan1_gateway}/{length} dev eth1",
            f"addr add {family.server}/{host} dev lo",
        )

    def _listen(self, family):
        listener = self.internet.socket(family.socket, socket.SOCK_STREAM)
        listener.bind((family.server, PORT))
        listener.listen(16)
        return listener

    def _echo(self, family):
        echo = self.internet.socket(family.socket)
        echo.bind((family.server, PORT))
        echo.setblocking(False)
        return echo

    def load_with_snat(self, form):
        """The variant's ruleset, but that SNAT to the uplink's address stands for MASQUERADE."""
        with open(ruleset_path(form)) as file:
            text = file.read()
        if form == "nft":
            rules = [f'oifname "{wan}" snat {ip} to {getattr(family, wan)}' for wan in ("wan0", "wan1") for ip, family in (("ip", V4), ("ip6", V6))]
            text = text.replace('oifname "wan*" masquerade', "\n".join(rules))
            self.router.nft(text)
        else:
            family = V4 if form == "iptables" else V6
            rules = [f"-A POSTROUTING -o {wan} -j SNAT --to-source {getattr(family, wan)}" for wan in ("wan0", "wan1")]
            text = text.replace("-A POSTROUTING -o wan+ -j MASQUERADE", "\n".join(rules))
            self.router.run(f"{form}-nft-restore", input=text)

    def events(self, port):
        """What conntrack -E said of a flow so far, oldest first."""
        with open(os.path.join(os.environ.get("PATCHBENCH_EVIDENCE", "."), "router.conntrack")) as file:
            lines = [line for line in file if line.endswith("\n") and f" sport={port} dport={PORT} " in line]
        return [re.sub(r"^\[[\d.]+\]\s*", "", line.strip()) for line in lines]

    def wait(self, condition):
        """Waits for what comes at once where it comes at all; whether it came."""
        value = wait_for(condition, self.seconds)
        if not value:
            self.seconds = IMPATIENT
        return value

    def settle(self, family):
        """
        Waits until everything that was sent before has arrived and every event
        of it was printed: a datagram to a port of its own is behind it. Where a
        ruleset lets no new flow through, there is nothing to wait for.
        """
        fence = Datagrams(self, family, family.other)
        reaches(fence.socket.send, b"fence")
        self.wait(lambda: self.events(fence.port))

    def keep_tables(self):
        """The router's tables, for the evidence."""
        commands = [f"ip -{version} {table}" for version in (4, 6) for table in ("rule", "route show table all", "neigh")]
        commands += ["conntrack -L", "conntrack -L -f ipv6"]
        save("tables.log", "==== the router\n" + "".join(f"$ {command}\n{self.router.run(*command.split())}" for command in commands))

    def departures(self, port):
        """How many packets of a flow left by each uplink, and with which address."""
        found = Counter()
        for uplink in ("wan0", "wan1"):
            for frame in self.wires[uplink].matching(lambda frame: frame.outgoing and (frame.source_port, frame.destination_port) == (port, PORT)):
                found[uplink, frame.source] += 1
        return found


class Connection:
    """A TCP connection to the server, which sends in chunks, the next when the client has acknowledged the one before."""

    protocol = socket.SOCK_STREAM

    def __init__(self, site, family, source, namespace=None):
        self.site, self.family, self.port = site, family, next(ports)
        self.socket = (namespace or site.clients).socket(family.socket, self.protocol)
        self.socket.bind((source, self.port))
        self.socket.settimeout(site.seconds)
        self.connected = self._connect()
        self.peer, self.acknowledged, self.error = None, 0, None

    def _connect(self):
        connected = reaches(self.socket.connect, (self.family.server, PORT))
        if not connected:
            self.site.seconds = IMPATIENT
        return connected

    def transfer(self, chunks=CHUNKS):
        """Asks, and is sent so many chunks; whether all of them were acknowledged."""
        if not self.connected:
            return False
        if self.peer is None:
            if not reaches(self.socket.send, b"request"):
                return False
            listener = self.site.listeners[self.family]
            listener.settimeout(self.site.seconds)
            try:
                self.peer, _ = listener.accept()
            except TimeoutError:
                return False
        for _ in range(chunks):
            if not self._send_chunk():
                return False
        return True

    def _send_chunk(self):
        try:
            self.peer.send(bytes(CHUNK))
            self.site.wait(lambda: self._in_flight() == 0 or self._failed())
        except OSError as error:
            self.error = self.error or error.errno
        if self.error or self._in_flight():
            return False
        self.acknowledged += 1
        return True

    def _in_flight(self):
        return struct.unpack("i", fcntl.ioctl(self.peer, SIOCOUTQ, bytes(4)))[0]

    def _failed(self):
        self.error = self.error or self.peer.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        return self.error

    def story(self):
        """What came of the transfer."""
        if not self.connected:
            return "no connection"
        words = f"{self.acknowledged} of {CHUNKS} chunks acknowledged"
        return f"{words}; the server's end has {os.strerror(self.error)}" if self.error else words

    def destroyed(self):
        """The event that says that the entry is gone, with the one before it; None while it lives."""
        self.site.settle(self.family)
        events = self.site.events(self.port)
        for before, event in zip([""] + events, events):
            if event.startswith("[DESTROY]"):
                return f"{brief(before)}, then {brief(event)}"
        return None

    def close(self):
        """Ends it at once: what TCP would go on repeating is no part of another test."""
        for end in filter(None, (self.socket, self.peer)):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            end.close()


class Datagrams:
    """A UDP flow to the server, which echoes."""

    def __init__(self, site, family, source):
        self.site, self.family, self.port = site, family, next(ports)
        self.socket = site.clients.socket(family.socket)
        self.socket.bind((source, self.port))
        self.socket.connect((family.server, PORT))
        self.socket.setblocking(False)

    def exchange(self):
        """Sends one datagram and has it echoed; the address that the server saw, None if it saw nothing."""
        echo = self.site.echoes[self.family]
        reaches(self.socket.send, b"ping")
        self.site.settle(self.family)
        seen = None
        for data, peer in drain(echo):
            # The fences come here as well.
            if data == b"ping" and peer[1] == self.port:
                seen = peer[0]
                if reaches(echo.sendto, data, peer):
                    self.site.wait(lambda: drain(self.socket))
        return seen


def brief(event):
    """`[UPDATE] SYN_RECV mark=48`: an event of conntrack -E without the tuples."""
    kind, state, *_ = [*re.findall(r"\[[A-Z]+\]", event)[:1], *re.findall(r"\b[A-Z_]{5,}\b(?!\])", event)[:1], ""]
    flags = [word for word in event.split()[1:] if word in ("[ASSURED]", "[UNREPLIED]") or word.startswith("mark=")]
    return " ".join(filter(None, [kind, state, *flags])) or "nothing"


def came_from(address):
    """What became of a datagram, by the address that the server saw."""
    return f"came from {address}" if address else "was lost"


def symptoms(ktap, site, family, name):
    """The client that the policy sends by wan1."""
    flow = Connection(site, family, family.client)
    done = flow.transfer()
    gone = flow.destroyed()
    sent = len(site.wires["lan"].matching(lambda frame: not frame.outgoing and frame.source_port == flow.port))
    left = site.departures(flow.port)
    resets = len(
        site.wires["wan1"].matching(lambda frame: frame.source_port == flow.port and frame.outgoing and frame.tcp_flags & TCP_RST)
    )
    if name == "nft4":
        for device in ("lan", "wan1"):
            site.wires[device].keep(f"symptom-{device}", lambda frame: flow.port in (frame.source_port, frame.destination_port))
    flow.close()
    ktap.test(f"entry-{name}", flow.connected and gone is None, gone or ("the entry lives" if flow.connected else "no connection"))
    ktap.test(f"transfer-{name}", done, flow.story())
    right = left["wan1", family.wan1]
    others = ", ".join(f"{number} by {uplink} from {address}" for (uplink, address), number in left.items() if (uplink, address) != ("wan1", family.wan1))
    words = f"{sent} packets of the client, {right - resets} by wan1" + (f", {others}" if others else "")
    ktap.test(f"wire-{name}", right - resets == sent > 0 and not resets, words + (f", {resets} RST of the router" if resets else ""))
    datagrams = Datagrams(site, family, family.client)
    seen = [datagrams.exchange() for _ in range(DATAGRAMS)]
    arrived = seen.count(family.wan1)
    ktap.test(f"datagrams-{name}", arrived == DATAGRAMS, f"{arrived} of {DATAGRAMS} datagrams arrived by wan1")


def controls(ktap, site, family, name):
    router = site.router
    seen = Datagrams(site, family, family.client).exchange()
    ktap.test(f"policy-{name}", seen == family.wan1, f"the client's first datagram {came_from(seen)}")

    flow = Connection(site, family, family.other)
    done, gone = flow.transfer(), flow.destroyed()
    left = site.departures(flow.port)
    flow.close()
    ktap.test(f"one-uplink-{name}", done and not gone and set(left) == {("wan0", family.wan0)}, gone or flow.story())

    flow = Connection(site, family, family.wan1, router)
    done, gone = flow.transfer(), flow.destroyed()
    flow.close()
    ktap.test(f"own-{name}", done and not gone, gone or flow.story())

    flow = Connection(site, family, family.other)
    before = flow.transfer(1)
    detour = f"{family.other}/{family.host_length} via {family.spare_client} dev spare"
    ip(router, family, f"route add {detour}")
    done, gone = flow.transfer(CHUNKS - 1), flow.destroyed()
    spared = site.wires["spare"].matching(lambda frame: frame.outgoing and frame.destination_port == flow.port)
    ip(router, family, f"route del {detour}")
    flow.close()
    observed = gone or f"{flow.story()}, {len(spared)} packets by the other link"
    ktap.test(f"reply-route-{name}", before and done and not gone and len(spared) >= CHUNKS - 1, observed)

    flow = Datagrams(site, family, family.other)
    first = flow.exchange()
    set_default(router, family, family.wan1_gateway)
    later = [flow.exchange() for _ in range(3)]
    set_default(router, family, family.wan0_gateway)
    moved = family.wan1 in later and family.wan0 not in later
    ktap.test(f"uplink-gone-{name}", first == family.wan0 and moved, f"first a datagram {came_from(first)}, then one each: {', '.join(map(came_from, later))}")


def set_default(router, family, gateway):
    ip(router, family, *(f"route replace default via {gateway} table {table}" for table in ("main", 30)))


def snat(ktap, site, family, name):
    flow = Connection(site, family, family.client)
    done, gone = flow.transfer(), flow.destroyed()
    flow.close()
    ktap.test(f"snat-{name}", done and not gone, gone or flow.story())


main()
