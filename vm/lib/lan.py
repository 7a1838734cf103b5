# SPDX-License-Identifier: GPL-2.0-only
"""A router whose policy leads to a gateway on its own LAN, and flows through it.

    client   eth0 -- lan1 \\
    gateway  eth0 -- lan2  br-lan ---- router  wan -- eth0  server
    pbr      eth0 -- lan3 /            |
    tagged   eth0 -- lan4  br-vlan10 --+

Packets with PBR_MARK are routed to pbr, which is on the client's own LAN;
gateway is a second uplink with a bad metric. A query is a datagram or a line
with a number, and the server echoes it.
"""

import itertools
import os
import socket
import struct
import time
from collections import Counter

from lab import drain, reaches, save, wait_for

PORT, DISCARD = 53, 9
VALID = ("REACHABLE", "STALE", "DELAY", "PROBE")
PBR_MARK = 0xFF
CONNECT = 30  # how long a connection may take, in s: on a busy machine it takes its time


class Ip:
    """The addresses of one IP version."""

    def __init__(self, digit, family, length, default, host_length, lan, vlan, wan, remote, server):
        self.digit, self.family, self.default = digit, family, default
        self.length, self.host_length = length, host_length
        self.router, self.client, self.gateway, self.pbr = (f"{lan}{host}" for host in (1, 2, 3, 4))
        self.vlan_router, self.tagged = vlan + "1", vlan + "2"
        self.wan_router, self.wan_server = wan + "1", wan + "2"
        self.remote, self.remote_net = remote + "2", f"{remote}0/{length}"
        self.server = server


IP4 = Ip(4, socket.AF_INET, 24, "0.0.0.0/0", 32,
         "10.0.0.", "10.0.10.", "203.0.113.", "10.9.0.", "198.51.100.53")  # fmt: skip
IP6 = Ip(6, socket.AF_INET6, 64, "::/0", 128,
         "2001:db8:0:1::", "2001:db8:0:10::", "2001:db8:0:2::", "2001:db8:9::", "2001:db8:53::53")  # fmt: skip

class Site:
    """The machines of the drawing above."""

    router_mac = "02:00:00:00:00:01"
    offload = True  # whether flows are expected to be offloaded at all
    ports = (PORT,)  # where the servers listen

    def __init__(self, lab):
        for name in ("router", "client", "gateway", "pbr", "tagged", "server"):
            setattr(self, name, lab.namespace(name))
        self.lab = lab
        self.macs, self.wires, self.servers, self.evidence = {}, {}, [], []
        self._links()
        self._router()
        for index, name in enumerate(("client", "gateway", "pbr", "tagged"), 1):
            self._lan_host(name, f"02:00:00:00:{index:02x}:00")
        for ip in (IP4, IP6):
            self.server.ip(
                f"addr add {ip.wan_server}/{ip.length} dev eth0",
                f"route add {ip.default} via {ip.wan_router}",
            )
            # Two servers, each reached in two ways: behind wan and behind pbr, behind gateway and behind pbr.
            for name in ("server", "pbr"):
                self.serve(name, ip, ip.server)
            for name in ("gateway", "pbr"):
                self.serve(name, ip, ip.remote)
        self.pbr.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.greeters = {ip: self.router.socket(ip.family) for ip in (IP4, IP6)}
        self.ready("br-lan", "br-vlan", "br-vlan10", "lan1", "lan2", "lan3", "lan4", "wan")

    def _links(self):
        router = self.router
        for port, host in (("lan1", "client"), ("lan2", "gateway"), ("lan3", "pbr"), ("lan4", "tagged")):
            self.lab.veth(router, port, getattr(self, host), "eth0")
        self.lab.veth(router, "wan", self.server, "eth0")
        router.ip(
            f"link add br-lan address {self.router_mac} type bridge",
            *(f"link set {port} master br-lan" for port in ("lan1", "lan2", "lan3")),
            "link set br-lan up",
            f"link add br-vlan address {self.router_mac} type bridge vlan_filtering 1 vlan_default_pvid 0",
            "link set lan4 master br-vlan",
            "link add link br-vlan name br-vlan10 type vlan id 10",
            "link set br-vlan up",
            "link set br-vlan10 up",
        )
        router.run("bridge", "vlan", "add", "vid", "10", "dev", "lan4", "pvid", "untagged")
        router.run("bridge", "vlan", "add", "vid", "10", "dev", "br-vlan", "self")

    def _router(self):
        router = self.router
        # With br_netfilter, bridged frames would go through the IP hooks, and be marked, before they are routed.
        for version in ("iptables", "ip6tables"):
            if os.path.exists(f"/proc/sys/net/bridge/bridge-nf-call-{version}"):
                router.sysctl(f"net.bridge.bridge-nf-call-{version}", 0)
        router.sysctl("net.ipv4.ip_forward", 1)
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        router.sysctl("net.ipv4.conf.all.send_redirects", 0)
        for ip in (IP4, IP6):
            router.ip(
                f"addr add {ip.wan_router}/{ip.length} dev wan",
                f"route add {ip.default} via {ip.wan_server}",
            )
            router.run("ip", f"-{ip.digit}", "rule", "add", "fwmark", str(PBR_MARK), "lookup", "100")
        self.give_addresses("br-lan", "br-vlan10")

    def give_addresses(self, lan, vlan):
        """Gives the router its addresses in the LANs, and the routes that lead there."""
        router, self.lan = self.router, lan
        # Marked queries leave by the LAN they came from; redirects would lead the client round the router.
        router.sysctl(f"net.ipv4.conf.{lan}.send_redirects", 0)
        for version in ("ipv4", "ipv6"):
            # So that REACHABLE, STALE, DELAY and PROBE go by in seconds.
            router.sysctl(f"net.{version}.neigh.{lan}.base_reachable_time_ms", 3000)
            router.sysctl(f"net.{version}.neigh.{lan}.delay_first_probe_time", 1)
        for ip in (IP4, IP6):
            router.ip(
                f"addr add {ip.router}/{ip.length} dev {lan}",
                f"addr add {ip.vlan_router}/{ip.length} dev {vlan}",
                f"route add {ip.default} via {ip.pbr} table 100",
                f"route add {ip.remote_net} via {ip.gateway}",
                # A second uplink, which only a lookup for packets out of the LAN's device finds.
                f"route add {ip.default} via {ip.gateway} metric 5000",
            )

    def _lan_host(self, name, mac):
        host = getattr(self, name)
        for version, device in (("ipv4", "all"), ("ipv4", "eth0"), ("ipv6", "eth0")):
            host.sysctl(f"net.{version}.conf.{device}.accept_redirects", 0)
        # Else its ARP requests would make the router know addresses that are behind it as neighbours.
        host.sysctl("net.ipv4.conf.all.arp_announce", 2)
        host.ip(f"link set eth0 address {mac}")
        for ip in (IP4, IP6):
            router = ip.vlan_router if name == "tagged" else ip.router
            host.ip(f"addr add {getattr(ip, name)}/{ip.length} dev eth0", f"route add {ip.default} via {router}")
        self.macs[name] = mac
        self.wires[name] = host.capture("eth0")

    def ready(self, *links):
        """Waits until every link is up: a link that comes up renews the routes, and with them the flows."""
        wait_for(lambda: all("state UP" in self.router.run("ip", "link", "show", link) for link in links))

    def meet(self, ip):
        """Makes the router know its LAN: it cannot follow the bridge to a neighbour that it does not know."""

        def known():
            table = self.neighbours(ip)
            for name, mac in self.macs.items():
                if table.get(getattr(ip, name), "") not in {f"{mac} {state}" for state in VALID}:
                    reaches(self.greeters[ip].sendto, b"", (getattr(ip, name), DISCARD))
                    return False
            return True

        wait_for(known, 10)

    def serve(self, name, ip, address):
        """Gives a namespace a server's address, which it keeps to itself on the LAN, and the server's sockets."""
        namespace = getattr(self, name)
        namespace.ip(f"addr replace {address}/{ip.host_length} dev lo")
        for port in self.ports:
            sock = namespace.socket(ip.family)
            sock.bind((address, port))
            sock.setblocking(False)
            self.servers.append((name, (address, port), sock))

    def slow_packets(self, ip):
        """How many packets of an IP version the router's stack forwarded: those that the flowtable did not take."""
        if ip.digit == 6:
            return int(self._proc("snmp6").split("Ip6OutForwDatagrams")[1].split()[0])
        names, values = (line.split() for line in self._proc("snmp").splitlines() if line.startswith("Ip:"))
        return int(values[names.index("ForwDatagrams")])

    def conntrack(self):
        return self._proc("nf_conntrack")

    def _proc(self, name):
        with self.router(), open(f"/proc/thread-self/net/{name}") as table:
            return table.read()

    def neighbours(self, ip):
        """The router's neighbour table: an address and its entry in short, the MAC address and the state."""
        table = {}
        for line in self.router.run("ip", f"-{ip.digit}", "neigh", "show").splitlines():
            address, *words = line.split()
            mac = words[words.index("lladdr") + 1] + " " if "lladdr" in words else ""
            table[address] = mac + words[-1]
        return table

    def keep_tables(self, title):
        """The router's tables at this moment, for the evidence."""
        tables = [("cat /proc/net/nf_conntrack", self.conntrack())]
        for version in ("-4", "-6"):
            for table in ("rule", "route show table all", "neigh"):
                tables.append((f"ip {version} {table}", self.router.run("ip", version, *table.split())))
        for command in ("bridge fdb", "nft list ruleset"):
            tables.append((command, self.router.run(*command.split())))
        self.evidence.append(f"==== {title}\n" + "".join(f"$ {command}\n{text}" for command, text in tables))

    def save(self):
        save("tables.log", "".join(self.evidence))
        for name, wire in self.wires.items():
            wire.keep(f"symptom-{name}")


class Flow:
    """One UDP socket of a LAN host; the servers echo what it sends."""

    protocol = "udp"
    ports = itertools.count(20000)  # no two flows share a conntrack entry

    def __init__(self, site, ip, host="client", server=None, service=PORT):
        self.site, self.ip, self.host, self.number = site, ip, host, 0
        self.server = server or ip.server, service
        self.neighbour_address, self.answers = getattr(ip, host), Counter()
        self.port = next(Flow.ports)
        site.meet(ip)
        self._connect(ip.remote if host == "gateway" else getattr(ip, host))
        self.socket.setblocking(False)

    def _connect(self, source):
        self.socket = getattr(self.site, self.host).socket(self.ip.family)
        self.socket.bind((source, self.port))
        self.socket.connect(self.server)

    def _send(self):
        self.number += 1
        reaches(self.socket.send, b"%d" % self.number)

    def _echo(self):
        count = 0
        for name, address, server in self.site.servers:
            if address == self.server:
                for data, peer in drain(server):
                    reaches(server.sendto, data, peer)
                    self.last_query = server, peer
                    self.answers[name] += 1
                    count += 1
        return count

    def _receive(self):
        return len(drain(self.socket))

    def exchange(self, count=1, at_once=1):
        """Sends queries, so many back to back, and has them echoed; how many echoes came."""
        replies = 0
        for _ in range(0, count, at_once):
            for _ in range(at_once):
                self._send()
            replies += collect(self._receive, collect(self._echo, at_once))
        return replies

    def push(self, count):
        """The server sends on its own to whom it answered last; how many datagrams came."""
        server, peer = self.last_query
        for number in range(count):
            reaches(server.sendto, b"%d" % (self.number + number), peer)
        return collect(self._receive, count)

    def entry(self):
        """This flow's conntrack entry."""
        for line in self.site.conntrack().splitlines():
            if f" {self.protocol} " in line and f" sport={self.port} dport={self.server[1]} " in line:
                return line
        return ""

    def close(self):
        """Ends the flow's traffic: a connection that lost its replies would go on repeating them."""
        self.socket.close()

    def flags(self):
        return " ".join(word for word in self.entry().split() if word.startswith("[")) or "no flag"

    def offloaded(self):
        """Whether conntrack says OFFLOAD and no packet goes the slow way. Always, if there is no flowtable."""
        if not self.site.offload:
            return True
        before = self.site.slow_packets(self.ip)
        self.exchange(3)
        return self.site.slow_packets(self.ip) == before and "[OFFLOAD]" in self.entry()

    def settle(self):
        """Sends until the flow is offloaded; whether it is."""
        self.exchange(3)
        return wait_for(self.offloaded, 5)

    def stays_settled(self):
        """Sends until the flow is offloaded; whether it is, and still is when what it replaced is cleared away."""
        if not self.settle():
            return False
        time.sleep(2)
        return self.settle()

    def seen(self, host, since):
        """The destination MACs of this flow's echoes that reached a LAN host's port after a query, and how many."""
        frames = self.site.wires[host].matching(
            lambda f: not f.outgoing and f.source_port == self.server[1] and f.destination_port == self.port
            and f.payload and int(f.payload.split()[-1]) > since
        )  # fmt: skip
        return Counter(frame.destination_mac for frame in frames)

    def neighbour(self):
        return self.site.neighbours(self.ip).get(self.neighbour_address, "no entry")


class TcpFlow(Flow):
    """One TCP connection of a LAN host; what TCP repeats is not lost, so it is given time."""

    protocol = "tcp"

    def _connect(self, source):
        with self.site.server():
            listener = socket.create_server(self.server, family=self.ip.family)
        with listener:
            self.socket = getattr(self.site, self.host).socket(self.ip.family, socket.SOCK_STREAM)
            self.socket.bind((source, self.port))
            self.socket.settimeout(CONNECT)
            self.peer = listener.accept()[0] if reaches(self.socket.connect, self.server) else None
        if self.peer is None:
            return
        self.peer.setblocking(False)
        self.site.server.closables.append(self.peer)
        for sock in (self.socket, self.peer):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # An end that is closed says RST: it repeats nothing into the tests after.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _send(self):
        self.number += 1
        reaches(self.socket.send, b"%d\n" % self.number)

    def _echo(self):
        data = b"".join(data for data, _ in drain(self.peer)) if self.peer else b""
        if data:
            reaches(self.peer.send, data)
        return data.count(b"\n")

    def _receive(self):
        return sum(data.count(b"\n") for data, _ in drain(self.socket))

    def close(self):
        super().close()
        if self.peer:
            self.peer.close()

    def exchange(self, count=1, at_once=1):
        replies = super().exchange(count, at_once)
        if replies < count:
            replies += collect(self._receive, count - replies, 3)
        return replies


def collect(take, count, seconds=0.1):
    """Takes until so many came or the time is over; how many came."""
    total = 0

    def enough():
        nonlocal total
        total += take()
        return total >= count

    wait_for(enough, seconds)
    return total


def count(counter, mac):
    return f"{counter[mac]} to {mac}"


def at_once(site, flow, queries, where_to):
    """So many queries from one socket, back to back; all are answered, or the test has failed."""
    replies = flow.exchange(queries, queries)
    home, wrong = flow.seen("client", 0), flow.seen("pbr", 0)
    flags = flow.flags()
    site.keep_tables(f"{queries} queries at once to {where_to}, udp{flow.ip.digit}")
    return replies == queries, (
        f"{replies} of {queries} replies; {count(home, site.macs['client'])} (client), "
        f"{count(wrong, site.macs['pbr'])} (gateway); conntrack {flags}"
    )


def in_turn(site, flow, packets, where_to):
    """Several queries from one socket, each after the reply to the one before: a reply offloads the flow."""
    flow.answers.clear()
    replies = flow.exchange(packets)
    site.keep_tables(f"{packets} queries in turn, udp{flow.ip.digit}")
    right = flow.answers[where_to]
    return replies == right == packets, (
        f"{replies} of {packets} replies; {flow.answers['pbr']} queries left through the gateway, "
        f"{flow.answers['server']} through wan; conntrack {flow.flags()}; "
        f"neighbour {flow.ip.server}: {site.neighbours(flow.ip).get(flow.ip.server, 'no entry')}"
    )


def one_each(site, ip):
    """One query from each of several sockets."""
    replies = sum(Flow(site, ip).exchange() for _ in range(5))
    return replies == 5, f"{replies} of 5 replies, one socket each"
