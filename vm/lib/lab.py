# SPDX-License-Identifier: GPL-2.0-only
"""What reproducers are written with: network namespaces, captures and KTAP.

    with Lab() as lab, Ktap(2) as ktap:
        router, host = lab.namespace("router"), lab.namespace("host")
        lab.veth(router, "lan", host, "eth0")
        router.ip("addr add 192.0.2.1/24 dev lan")
        wire = host.capture("eth0")
        ...
        ktap.test("one-copy", ttls == [4], f"TTL {ttls} on the wire, expected 4")

A Lab leaves nothing behind: its namespaces, processes and sockets end with it.
"""

import ctypes
import errno
import json
import os
import signal
import socket
import struct
import subprocess
import time
from contextlib import contextmanager

_libc = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWNET = 0x40000000

ETH_P_ALL = 0x0003
ETH_P_IP = 0x0800
ETH_P_IPV6 = 0x86DD
SO_RCVBUFFORCE = 33
SO_TIMESTAMPNS = 35
PACKET_OUTGOING = 4


def parameter(name, default):
    """A reproducer parameter of case.yaml or --set, as the type of its default."""
    text = os.environ.get("PATCHBENCH_" + name.upper().replace("-", "_"))
    if text is None:
        return default
    if isinstance(default, bool):
        return text in ("1", "true", "yes", "on")
    return type(default)(text)


# What loads each form of a ruleset (nft(8), iptables-restore(8)), and what lists it again.
RULESET_LOADERS = {"nft": ["nft", "-f"], "iptables": ["iptables-nft-restore"], "ip6tables": ["ip6tables-nft-restore"]}
_RULESET_LISTERS = {"nft": ["nft", "list", "ruleset"], "iptables": ["iptables-nft-save"], "ip6tables": ["ip6tables-nft-save"]}


def ruleset_path(form="nft", variation=None):
    """Where this form of the variant's ruleset is, or a variation of it, for cases that are about rulesets; None where it has none."""
    path = os.environ.get(f"PATCHBENCH_RULESET_{form.upper()}")
    return path if path is None or variation is None else f"{path.removesuffix(form)}{variation}.{form}"


def save(name, text):
    """Leaves a text (a table, a listing) as evidence of this variant."""
    with open(_evidence(name), "w") as file:
        file.write(text)


def wait_for(condition, seconds=5):
    """The condition's value once it is true; the last value when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        value = condition()
        if value or time.monotonic() > deadline:
            return value
        time.sleep(0.005)


# What a socket says of somebody whom a ruleset, or a route that is not there, keeps it from.
_UNREACHABLE = (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ECONNREFUSED, errno.ECONNRESET, errno.EPIPE, errno.EPERM, errno.ETIMEDOUT)


def reaches(call, *arguments):
    """Calls a function of a socket; False where nobody is to be reached: that fails a test, and ends no reproducer."""
    try:
        call(*arguments)
    except OSError as error:
        if not isinstance(error, TimeoutError) and error.errno not in _UNREACHABLE:
            raise
        return False
    return True


def drain(sock):
    """Everything that waits in a socket that does not block, with where it came from; of a stream, until its end."""
    messages = []
    while True:
        try:
            message = sock.recvfrom(65536)
        except OSError as error:
            if not isinstance(error, BlockingIOError) and error.errno not in _UNREACHABLE:
                raise
            return messages
        if not message[0]:
            return messages
        messages.append(message)


def mark(text):
    """Puts a line into the trace, where there is one (Documentation/trace/ftrace.rst, trace_marker)."""
    path = os.environ.get("PATCHBENCH_TRACE_MARKER")
    if path:
        with open(path, "w") as marker:
            marker.write(text)


class Ktap:
    """Prints KTAP (Documentation/dev-tools/ktap.rst); each test is preceded by what was observed."""

    def __init__(self, count):
        self.number = 0
        print(f"KTAP version 1\n1..{count}", flush=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def test(self, name, passed, observed):
        self._result("ok" if passed else "not ok", name, observed)

    def skip(self, name, reason):
        self._result("ok", f"{name} # SKIP {reason}")

    def _result(self, word, name, observed=None):
        self.number += 1
        lines = [] if observed is None else [f"# {line}" for line in str(observed).splitlines()]
        print("\n".join([*lines, f"{word} {self.number} {name}"]), flush=True)
        mark(f"{word} {self.number} {name}")


class Lab:
    """The namespaces of one reproducer; leaving it removes them and what ran in them."""

    def __init__(self):
        self.namespaces = []

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._save_parties()
        for namespace in self.namespaces:
            namespace.close()
        if self.namespaces:
            _ip([], "".join(f"netns del {namespace.name}\n" for namespace in self.namespaces))

    def namespace(self, name):
        namespace = Namespace(name)
        self.namespaces.append(namespace)
        return namespace

    def _save_parties(self):
        """Leaves who has which addresses, so that a drawing of the captures can name them."""
        parties = {}
        for name in (namespace.name for namespace in self.namespaces):
            listed = subprocess.run(["ip", "-n", name, "-j", "addr"], capture_output=True, text=True).stdout
            links = [link for link in json.loads(listed or "[]") if link.get("link_type") == "ether"]
            parties[name] = {
                "macs": [link["address"] for link in links],
                "addresses": [address["local"] for link in links for address in link["addr_info"] if "local" in address],
            }
        save("parties.json", json.dumps(parties))

    def veth(self, left, left_name, right, right_name):
        """Links two namespaces with a veth pair, both ends up."""
        left.ip(f"link add {left_name} type veth peer name {right_name} netns {right.name}", f"link set {left_name} up")
        right.ip(f"link set {right_name} up")


class Namespace:
    def __init__(self, name):
        self.name = name
        self.processes, self.closables = [], []
        _ip([], f"netns add {name}\n")
        self.fd = os.open(f"/run/netns/{name}", os.O_RDONLY)
        # No duplicate address detection, no router solicitations: the lab's
        # packets are to be the only ones.
        self.sysctl("net.ipv6.conf.default.accept_dad", 0)
        self.sysctl("net.ipv6.conf.default.router_solicitations", 0)
        self.ip("link set lo up")

    @contextmanager
    def __call__(self):
        """Runs the block inside this network namespace: `with router(): ...`"""
        outside = os.open("/proc/self/ns/net", os.O_RDONLY)
        try:
            _setns(self.fd)
            yield self
        finally:
            _setns(outside)
            os.close(outside)

    def ip(self, *commands):
        """ip -batch in this namespace; any failing line ends the reproducer."""
        _ip(["-n", self.name], "".join(command + "\n" for command in commands))

    def sysctl(self, name, value):
        with self():
            with open("/proc/sys/" + name.replace(".", "/"), "w") as file:
                file.write(str(value))

    def run(self, *command, input=None, check=True):
        """Runs a program here; its standard output."""
        with self():
            done = subprocess.run(command, input=input, capture_output=True, text=True)
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(command)} in {self.name}: exit {done.returncode}: {done.stderr.strip()}")
        return done.stdout

    def start(self, *command):
        """Starts a program that runs until the lab ends."""
        with self():
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        self.processes.append(process)
        return process

    def conntrack_events(self, name=None):
        """Leaves what connection tracking does from now on as NAME.conntrack of the evidence (conntrack -E -o timestamp)."""
        with open(_evidence(f"{name or self.name}.conntrack"), "wb") as file, self():
            process = subprocess.Popen(["conntrack", "-E", "-o", "timestamp"], stdin=subprocess.DEVNULL, stdout=file)
        self.processes.append(process)

        def listens():
            # NETLINK_NETFILTER is 12; its groups are those of the events.
            with open(f"/proc/{process.pid}/net/netlink") as sockets:
                return any(line.split()[1] == "12" and int(line.split()[3], 16) for line in list(sockets)[1:])

        # A busy machine takes its time to start a program.
        if not wait_for(listens, 60):
            raise RuntimeError(f"conntrack -E in {self.name} does not listen")

    def nft(self, ruleset):
        return self.run("nft", "-f", "-", input=ruleset)

    def load_ruleset(self, form="nft", variation=None):
        """
        Loads the variant's ruleset, or a variation of it. One that does not load
        ends the reproducer with the loader's own words, which is no test result.
        """
        path = ruleset_path(form, variation)
        if path is None:
            raise SystemExit(f"the case has no ruleset for {form}: write ruleset/base.{form}")
        with self():
            done = subprocess.run([*RULESET_LOADERS[form], path], capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{os.path.basename(path)} does not load ({RULESET_LOADERS[form][0]}):\n{done.stderr.strip()}")

    def save_ruleset(self, form="nft"):
        """Leaves as evidence what the kernel holds of the ruleset that was loaded, in its listing's own words."""
        save(f"{self.name}.{form}", self.run(*_RULESET_LISTERS[form]))

    def socket(self, family=socket.AF_INET, kind=socket.SOCK_DGRAM, protocol=0, device=None):
        """A socket of this namespace, bound to a device if one is named."""
        with self():
            sock = socket.socket(family, kind, protocol)
        if device:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, device.encode() + b"\0")
        self.closables.append(sock)
        return sock

    def capture(self, device):
        """Records every frame on a device from now on."""
        capture = Capture(self, device)
        self.closables.append(capture)
        return capture

    def ifindex(self, device):
        with self():
            return socket.if_nametoindex(device)

    def mac(self, device):
        with self():
            return _mac_of(device)

    def close(self):
        for process in self.processes:
            process.send_signal(signal.SIGKILL)
            process.wait()
        for closable in self.closables:
            closable.close()
        os.close(self.fd)


class Capture:
    """An AF_PACKET socket on one device (packet(7)), and its frames as a pcap file of the evidence."""

    def __init__(self, namespace, device):
        self.name = f"{namespace.name}-{device}"
        self.socket = namespace.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 8 << 20)
        self.socket.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        self.socket.bind((device, ETH_P_ALL))
        self.socket.setblocking(False)
        self._frames = []

    def frames(self):
        """All frames so far, oldest first."""
        while True:
            try:
                data, ancillary, _, address = self.socket.recvmsg(65536, 128)
            except BlockingIOError:
                return self._frames
            self._frames.append(Frame(data, _timestamp(ancillary), address[2] == PACKET_OUTGOING))

    def matching(self, predicate):
        return [frame for frame in self.frames() if predicate(frame)]

    def wait(self, predicate, seconds=5):
        """Waits until a frame matches; the matching frames, none when the time is over."""
        return wait_for(lambda: self.matching(predicate), seconds)

    def keep(self, name=None, predicate=lambda frame: True):
        """Writes the frames to the evidence as NAME.pcap (nanosecond pcap, LINKTYPE_ETHERNET)."""
        with open(_evidence((name or self.name) + ".pcap"), "wb") as file:
            file.write(struct.pack("=IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 65535, 1))
            for frame in self.matching(predicate):
                seconds, nanoseconds = divmod(frame.time, 10**9)
                file.write(struct.pack("=IIII", seconds, nanoseconds, len(frame.data), len(frame.data)))
                file.write(frame.data)

    def close(self):
        self.socket.close()


class Frame:
    """One Ethernet frame with the fields that reproducers ask for; a missing field is None.

    time is in nanoseconds since the epoch; outgoing says which way it crossed the device.
    """

    def __init__(self, data, time_ns, outgoing):
        self.data, self.time, self.outgoing = data, time_ns, outgoing
        self.destination_mac, self.source_mac = _mac(data[0:6]), _mac(data[6:12])
        self.vlan = None
        self.source = self.destination = self.ttl = self.protocol = None
        self.source_port = self.destination_port = self.tcp_flags = None
        self.payload = b""
        (self.ethertype,) = struct.unpack_from("!H", data, 12)
        start = 14
        if self.ethertype == 0x8100:
            self.vlan, self.ethertype = struct.unpack_from("!HH", data, 14)
            self.vlan &= 0xFFF
            start = 18
        if self.ethertype == ETH_P_IP:
            self._ipv4(data[start:])
        elif self.ethertype == ETH_P_IPV6:
            self._ipv6(data[start:])

    def _ipv4(self, packet):
        self.ttl, self.protocol = packet[8], packet[9]
        self.source = socket.inet_ntop(socket.AF_INET, packet[12:16])
        self.destination = socket.inet_ntop(socket.AF_INET, packet[16:20])
        (length,) = struct.unpack_from("!H", packet, 2)
        self._transport(packet[(packet[0] & 15) * 4 : length])

    def _ipv6(self, packet):
        length, self.protocol, self.ttl = struct.unpack_from("!HBB", packet, 4)
        self.source = socket.inet_ntop(socket.AF_INET6, packet[8:24])
        self.destination = socket.inet_ntop(socket.AF_INET6, packet[24:40])
        self._transport(packet[40 : 40 + length])

    def _transport(self, segment):
        if self.protocol in (socket.IPPROTO_TCP, socket.IPPROTO_UDP) and len(segment) >= 8:
            self.source_port, self.destination_port = struct.unpack_from("!HH", segment)
            if self.protocol == socket.IPPROTO_UDP:
                self.payload = segment[8:]
            else:
                self.tcp_flags = segment[13]
                self.payload = segment[(segment[12] >> 4) * 4 :]


def udp_frame(source_mac, destination_mac, source, destination, ttl, source_port, destination_port, payload):
    """An Ethernet frame with IPv4 and UDP (RFC 791, RFC 768; no UDP checksum)."""
    udp = struct.pack("!HHHH", source_port, destination_port, 8 + len(payload), 0) + payload
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, ttl, socket.IPPROTO_UDP, 0,
        socket.inet_aton(source), socket.inet_aton(destination),
    )  # fmt: skip
    checksum = struct.pack("!H", internet_checksum(header))
    packet = header[:10] + checksum + header[12:] + udp
    return _mac_bytes(destination_mac) + _mac_bytes(source_mac) + struct.pack("!H", ETH_P_IP) + packet


def internet_checksum(data):
    """The checksum of RFC 1071, which takes an odd length as if a zero byte followed."""
    data = data + b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def _evidence(name):
    return os.path.join(os.environ.get("PATCHBENCH_EVIDENCE", "."), name)


def _ip(options, batch):
    done = subprocess.run(["ip", *options, "-batch", "-"], input=batch, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(options)}: {done.stderr.strip()}\n{batch}")


def _setns(fd):
    if _libc.setns(fd, _CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


def _timestamp(ancillary):
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack("=qq", data[:16])
            return seconds * 10**9 + nanoseconds
    return time.time_ns()


def _mac(data):
    return ":".join(f"{byte:02x}" for byte in data)


def _mac_bytes(text):
    return bytes.fromhex(text.replace(":", ""))


def _mac_of(device):
    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    try:
        sock.bind((device, 0))
        return _mac(sock.getsockname()[4])
    finally:
        sock.close()
