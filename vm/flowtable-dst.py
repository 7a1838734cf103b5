#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Two bugs of the nftables flowtable: a stale MAC, and a route looked up with the wrong mark.

    client   eth0 -- lan1 \\
    gateway  eth0 -- lan2  br-lan ---- router  wan -- eth0  server
    pbr      eth0 -- lan3 /            |
    tagged   eth0 -- lan4  br-vlan.10 -+

Group stale-*: the flowtable is on the bridges' ports and wan, so replies into
the LAN are sent with what was true when the flow was made: the host's MAC
address, or the gateway that leads to it.
Group mark-*: the flowtable is on br-lan and wan. The client's queries are
marked, and the mark routes them to pbr, which is on the client's own LAN. The
flowtable looks one direction's route up with the other direction's mark.

A query is a UDP datagram with a number, and the server echoes it. Neighbour
states are the subject of some tests, so it is made for virtual time.

Parameters: offload (is there a flowtable), mark (are queries marked), queries
(how many at once in group mark-*), packets (exchanges after a change).
"""

import itertools
import socket
import struct
import time
from collections import Counter

from lab import Ktap, Lab, parameter, save, wait_for

OFFLOAD = parameter("offload", True)
MARK = parameter("mark", True)
QUERIES = parameter("queries", 2)
PACKETS = parameter("packets", 20)

PORT, DISCARD = 53, 9
VALID = ("REACHABLE", "STALE", "DELAY", "PROBE")
PORTS, BRIDGES = "lan1, lan2, lan3, lan4, wan", "br-lan, br-vlan.10, wan"
PBR_MARK, OTHER_MARK = 0xFF, 0x7
TOLERATED = 2  # packets that may be lost while a change is noticed
WATCHED = 20  # seconds that an unchanged flow is watched
NOTICED = 20  # seconds within which a silent change has to be noticed


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
                self._serve(name, ip, ip.server)
            for name in ("gateway", "pbr"):
                self._serve(name, ip, ip.remote)
        self.pbr.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.greeters = {ip: self.router.socket(ip.family) for ip in (IP4, IP6)}
        self._ready()

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
            "link add link br-vlan name br-vlan.10 type vlan id 10",
            "link set br-vlan up",
            "link set br-vlan.10 up",
        )
        router.run("bridge", "vlan", "add", "vid", "10", "dev", "lan4", "pvid", "untagged")
        router.run("bridge", "vlan", "add", "vid", "10", "dev", "br-vlan", "self")

    def _router(self):
        router = self.router
        router.sysctl("net.ipv4.ip_forward", 1)
        router.sysctl("net.ipv6.conf.all.forwarding", 1)
        # Marked queries leave by the LAN they came from; redirects would lead the client round the router.
        router.sysctl("net.ipv4.conf.all.send_redirects", 0)
        router.sysctl("net.ipv4.conf.br-lan.send_redirects", 0)
        for version in ("ipv4", "ipv6"):
            # So that REACHABLE, STALE, DELAY and PROBE go by in seconds.
            router.sysctl(f"net.{version}.neigh.br-lan.base_reachable_time_ms", 3000)
            router.sysctl(f"net.{version}.neigh.br-lan.delay_first_probe_time", 1)
        for ip in (IP4, IP6):
            router.ip(
                f"addr add {ip.router}/{ip.length} dev br-lan",
                f"addr add {ip.vlan_router}/{ip.length} dev br-vlan.10",
                f"addr add {ip.wan_router}/{ip.length} dev wan",
                f"route add {ip.default} via {ip.wan_server}",
                f"route add {ip.default} via {ip.pbr} table 100",
                f"route add {ip.remote_net} via {ip.gateway}",
            )
            router.run("ip", f"-{ip.digit}", "rule", "add", "fwmark", str(PBR_MARK), "lookup", "100")

    def _lan_host(self, name, mac):
        host = getattr(self, name)
        for version, device in (("ipv4", "all"), ("ipv4", "eth0"), ("ipv6", "eth0")):
            host.sysctl(f"net.{version}.conf.{device}.accept_redirects", 0)
        host.ip(f"link set eth0 address {mac}")
        for ip in (IP4, IP6):
            router = ip.vlan_router if name == "tagged" else ip.router
            host.ip(f"addr add {getattr(ip, name)}/{ip.length} dev eth0", f"route add {ip.default} via {router}")
        self.macs[name] = mac
        self.wires[name] = host.capture("eth0")

    def _ready(self):
        """Waits until every link is up: a link that comes up renews the routes, and with them the flows."""
        links = ("br-lan", "br-vlan", "br-vlan.10", "lan1", "lan2", "lan3", "lan4", "wan")
        wait_for(lambda: all("state UP" in self.router.run("ip", "link", "show", link) for link in links))

    def meet(self, ip):
        """Makes the router know its LAN: it cannot follow the bridge to a neighbour that it does not know."""

        def known():
            table = self.neighbours(ip)
            for name, mac in self.macs.items():
                if table.get(getattr(ip, name), "") not in {f"{mac} {state}" for state in VALID}:
                    self.greeters[ip].sendto(b"", (getattr(ip, name), DISCARD))
                    return False
            return True

        wait_for(known, 10)

    def _serve(self, name, ip, address):
        """Gives a namespace a server's address, which it keeps to itself on the LAN, and the server's socket."""
        namespace = getattr(self, name)
        namespace.ip(f"addr replace {address}/{ip.host_length} dev lo")
        sock = namespace.socket(ip.family)
        sock.bind((address, PORT))
        sock.setblocking(False)
        self.servers.append((name, address, sock))

    def rules(self, devices, mark=None):
        """A fresh ruleset: the flowtable on these devices, and a mark on the queries that come from the LAN."""
        self.router.nft(f"""
            flush ruleset
            table inet lab {{
                {f"flowtable ft {{ hook ingress priority filter; devices = {{ {devices} }}; }}" if OFFLOAD else ""}
                chain marking {{
                    type filter hook prerouting priority mangle;
                    {f"iifname br-lan udp dport {PORT} meta mark set {mark}" if mark and MARK else ""}
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
        for command in ("ip -4 neigh", "ip -6 neigh", "bridge fdb", "nft list ruleset"):
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

    def __init__(self, site, ip, host="client", server=None):
        self.site, self.ip, self.host, self.server, self.number = site, ip, host, server or ip.server, 0
        self.neighbour_address, self.answers = getattr(ip, host), Counter()
        self.port = next(Flow.ports)
        site.meet(ip)
        self._connect(ip.remote if host == "gateway" else getattr(ip, host))
        self.socket.setblocking(False)

    def _connect(self, source):
        self.socket = getattr(self.site, self.host).socket(self.ip.family)
        self.socket.bind((source, self.port))
        self.socket.connect((self.server, PORT))

    def _send(self):
        self.number += 1
        self.socket.send(b"%d" % self.number)

    def _echo(self):
        count = 0
        for name, address, server in self.site.servers:
            if address == self.server:
                for data, peer in drain(server):
                    server.sendto(data, peer)
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
            server.sendto(b"%d" % (self.number + number), peer)
        return collect(self._receive, count)

    def entry(self):
        """This flow's conntrack entry."""
        for line in self.site.conntrack().splitlines():
            if f" {self.protocol} " in line and f" sport={self.port} dport={PORT} " in line:
                return line
        return ""

    def close(self):
        """Ends the flow's traffic: a connection that lost its replies would go on repeating them."""
        self.socket.close()

    def flags(self):
        return " ".join(word for word in self.entry().split() if word.startswith("[")) or "no flag"

    def offloaded(self):
        """Whether conntrack says OFFLOAD and no packet goes the slow way. Always, if there is no flowtable."""
        if not OFFLOAD:
            return True
        before = self.site.slow_packets(self.ip)
        self.exchange(3)
        return self.site.slow_packets(self.ip) == before and "[OFFLOAD]" in self.entry()

    def settle(self):
        """Sends until the flow is offloaded; whether it is."""
        self.exchange(3)
        return wait_for(self.offloaded, 5)

    def seen(self, host, since):
        """The destination MACs of this flow's echoes that reached a LAN host's port after a query, and how many."""
        frames = self.site.wires[host].matching(
            lambda f: not f.outgoing and f.source_port == PORT and f.destination_port == self.port
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
            listener = socket.create_server((self.server, PORT), family=self.ip.family)
        with listener:
            self.socket = getattr(self.site, self.host).socket(self.ip.family, socket.SOCK_STREAM)
            self.socket.bind((source, self.port))
            self.socket.connect((self.server, PORT))
            self.peer, _ = listener.accept()
        self.peer.setblocking(False)
        self.site.server.closables.append(self.peer)
        for sock in (self.socket, self.peer):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # An end that is closed says RST: it repeats nothing into the tests after.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def _send(self):
        self.number += 1
        self.socket.send(b"%d\n" % self.number)

    def _echo(self):
        data = b"".join(data for data, _ in drain(self.peer))
        if data:
            self.peer.send(data)
        return data.count(b"\n")

    def _receive(self):
        return sum(data.count(b"\n") for data, _ in drain(self.socket))

    def close(self):
        super().close()
        self.peer.close()

    def exchange(self, count=1, at_once=1):
        replies = super().exchange(count, at_once)
        if replies < count:
            replies += collect(self._receive, count - replies, 3)
        return replies


def drain(sock):
    """Everything that waits in a socket, with where it came from."""
    messages = []
    while True:
        try:
            message = sock.recvfrom(65536)
        except BlockingIOError:
            return messages
        if not message[0]:
            return messages
        messages.append(message)


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
    again = flow.settle()
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


def at_once(site, flow, queries, where_to):
    """So many queries from one socket, back to back."""
    replies = flow.exchange(queries, queries)
    home, wrong = flow.seen("client", 0), flow.seen("pbr", 0)
    flags = flow.flags()
    site.keep_tables(f"{queries} queries at once to {where_to}, udp{flow.ip.digit}")
    return replies == queries, (
        f"{replies} of {queries} replies; {count(home, site.macs['client'])} (client), "
        f"{count(wrong, site.macs['pbr'])} (gateway); conntrack {flags}"
    )


def in_turn(site, flow):
    """Several queries from one socket, each after the reply to the one before: a reply offloads the flow."""
    replies, where_to = flow.exchange(PACKETS), "pbr" if MARK else "server"
    site.keep_tables(f"{PACKETS} queries in turn, udp{flow.ip.digit}")
    right = flow.answers[where_to]
    return replies == right == PACKETS, (
        f"{replies} of {PACKETS} replies; {flow.answers['pbr']} queries left through the gateway, "
        f"{flow.answers['server']} through wan; conntrack {flow.flags()}; "
        f"neighbour {flow.ip.server}: {site.neighbours(flow.ip).get(flow.ip.server, 'no entry')}"
    )


def one_each(site, ip):
    """One query from each of several sockets."""
    replies = sum(Flow(site, ip).exchange() for _ in range(5))
    return replies == 5, f"{replies} of 5 replies, one socket each"


def stays_offloaded(site, flow):
    """What the mark does not concern is offloaded as before."""
    replies, settled = flow.exchange(QUERIES, QUERIES), flow.settle()
    if not settled:
        site.keep_tables(f"not offloaded: {flow.protocol}{flow.ip.digit}, port {flow.port}")
    return replies == QUERIES and settled, (
        f"{replies} of {QUERIES} replies; conntrack {flow.flags()}; {'' if settled else 'not '}offloaded afterwards"
    )


def main():
    with Lab() as lab, Ktap(31) as ktap:
        site = Site(lab)

        site.rules(PORTS)
        for ip in (IP4, IP6):
            ktap.test(f"stale-mac-udp{ip.digit}", *mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-mac-tcp{ip.digit}", *mac_change(site, TcpFlow(site, ip)))
            ktap.test(f"stale-mac-vlan{ip.digit}", *mac_change(site, Flow(site, ip, "tagged")))
            ktap.test(f"stale-mac-gateway{ip.digit}", *mac_change(site, Flow(site, ip, "gateway")))
            ktap.test(f"stale-mac-unreplied{ip.digit}", *unreplied_mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-mac-silent{ip.digit}", *silent_mac_change(site, Flow(site, ip)))
            ktap.test(f"stale-route{ip.digit}", *route_change(site, Flow(site, ip, "tagged", ip.remote)))
        for flow, *result in unchanged(site, [Flow(site, IP4), Flow(site, IP6), TcpFlow(site, IP4)]):
            ktap.test(f"unchanged-stays-offloaded-{flow.protocol}{flow.ip.digit}", *result)
        site.rules(BRIDGES)
        for ip in (IP4, IP6):
            ktap.test(f"neigh-mode-mac{ip.digit}", *mac_change(site, Flow(site, ip)))
            ktap.test(f"neigh-mode-route{ip.digit}", *route_change(site, Flow(site, ip, "tagged", ip.remote)))

        for ip in (IP4, IP6):
            site.rules(BRIDGES, PBR_MARK)
            ktap.test(f"mark-reply-mac{ip.digit}", *at_once(site, Flow(site, ip), QUERIES, "pbr"))
            ktap.test(f"mark-query-route{ip.digit}", *in_turn(site, Flow(site, ip)))
            ktap.test(f"mark-one-query-each{ip.digit}", *one_each(site, ip))
            site.rules(BRIDGES)
            ktap.test(f"unmarked-stays-offloaded{ip.digit}", *stays_offloaded(site, Flow(site, ip)))
        for ip in (IP4, IP6):
            site.rules(BRIDGES, OTHER_MARK)
            ktap.test(f"harmless-mark-stays-offloaded{ip.digit}", *stays_offloaded(site, Flow(site, ip)))
        site.save()


if __name__ == "__main__":
    main()
