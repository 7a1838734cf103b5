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
import itertools
import os
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
PORTS, PLUGGED = "lan1, lan2, lan3, lan4, wan", "lan, vlan10, wan"
PPP_ROUTER, PPP_SERVER = "192.0.2.1", "192.0.2.2"
PBR_MARK, OTHER_MARK = 0xFF, 0x7
TOLERATED = 2  # packets that may be lost while a change is noticed
VIA6 = "10.7.0."  # an IPv4 net behind the gateway's IPv6 address
WATCHED = 20  # seconds that an unchanged flow is watched
NOTICED = 20  # seconds within which a silent change has to be noticed
LET_GO = 5  # seconds within which an idle flow has to be given up; without a reason it takes 30


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
        self._serve("gateway", IP4, VIA6 + "2")
        self.pbr.sysctl("net.ipv4.conf.all.arp_ignore", 1)
        self.greeters = {ip: self.router.socket(ip.family) for ip in (IP4, IP6)}
        self._ready("br-lan", "br-vlan", "br-vlan10", "lan1", "lan2", "lan3", "lan4", "wan")

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
        self._addresses("br-lan", "br-vlan10")
        router.ip(f"route add {VIA6}0/24 via inet6 {IP6.gateway} dev br-lan")

    def _addresses(self, lan, vlan):
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

    def ppp(self):
        """A PPPoE session over br-lan, from the router to the gateway, and a server at its other end."""
        self._ppp_end(self.router, "br-lan", self.macs["gateway"], PPP_ROUTER, PPP_SERVER)
        self._ppp_end(self.gateway, "eth0", self.router_mac, PPP_SERVER, PPP_ROUTER)
        self.gateway.ip(f"route add {IP4.vlan_router[:-1]}0/{IP4.length} dev ppp0")
        self._serve("gateway", IP4, PPP_SERVER)

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
        self._addresses("lan", "vlan10")
        self._ready("lan", "vlan10")

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

    def _ready(self, *links):
        """Waits until every link is up: a link that comes up renews the routes, and with them the flows."""
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

    def stays_settled(self):
        """Sends until the flow is offloaded; whether it is, and still is when what it replaced is cleared away."""
        if not self.settle():
            return False
        time.sleep(2)
        return self.settle()

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
    """What the mark does not concern is offloaded as before, by a query: then conntrack sees no reply."""
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
        site = Site(lab)

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
        ktap.test("via6-stays-offloaded4", *stays_offloaded(site, Flow(site, IP4, "tagged", VIA6 + "2")))
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
            ktap.test(f"mark-query-route{ip.digit}", *in_turn(site, Flow(site, ip)))
            ktap.test(f"mark-one-query-each{ip.digit}", *one_each(site, ip))
            site.rules(PLUGGED)
            ktap.test(f"unmarked-stays-offloaded{ip.digit}", *stays_offloaded(site, Flow(site, ip)))
        for ip in (IP4, IP6):
            site.rules(PLUGGED, OTHER_MARK)
            ktap.test(f"harmless-mark-stays-offloaded{ip.digit}", *stays_offloaded(site, Flow(site, ip)))
        site.save()


if __name__ == "__main__":
    main()
