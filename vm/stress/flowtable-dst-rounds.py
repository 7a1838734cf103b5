#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Loads and unloads livepatch-flowtable-dst again and again under steady traffic, and counts what is lost.

    client  eth0 -- lan  br-lan  router  wan -- eth0  server

The flowtable is on lan and wan. The traffic is UDP and TCP over IPv4 and IPv6,
an echo for each packet, the same sockets from the first round to the last.
First the traffic runs as long without a load, then through all rounds.

Parameters: rounds, module (the .ko), flows (UDP sockets for each IP version).
"""

import glob
import json
import os
import socket
import struct
import subprocess
import time

from lab import Ktap, Lab, parameter, save, wait_for

ROUNDS = parameter("rounds", 50)
FLOWS = parameter("flows", 4)
MODULE = parameter("module", (glob.glob("/run/job/*.ko") or [""])[0])

NAME = "livepatch_flowtable_dst"
STATE = f"/sys/kernel/livepatch/{NAME}"
PORT = 53
INTERVAL = 0.01
BAD_NEWS = ("WARNING", "BUG:", "Oops", "Call Trace", "refcount_t", "stall", "INFO: task", "waiting for")


def main():
    with Ktap(6) as ktap:
        log = open("/dev/kmsg", "rb", buffering=0)
        os.lseek(log.fileno(), 0, os.SEEK_END)
        os.set_blocking(log.fileno(), False)
        with RouteCounter() as counter:
            with Lab() as lab:
                rounds(lab, ktap)
            started = time.monotonic()
            gone = namespaces_go()
            seconds = time.monotonic() - started
            ktap.test("namespaces-go", gone, f"{'gone' if gone else 'still there'} after {seconds:.1f} s")
            wait_for(lambda: counter.made() == counter.destroyed(), 10)
            made, destroyed = counter.made(), counter.destroyed()
            ktap.test("no-route-leaks", made == destroyed and made >= ROUNDS, f"{made} routes were made, {destroyed} of them destroyed")
        bad = [line for line in kernel_log(log) if any(words in line for words in BAD_NEWS)]
        ktap.test("clean-kernel-log", not bad, "\n".join(bad[:10]) or "no warning in the kernel log")


def rounds(lab, ktap):
    router, client, server = topology(lab)
    traffic = Traffic(client, server)
    traffic.start()
    settled = wait_for(lambda: entries(router).count("[OFFLOAD]") >= 2 * FLOWS + 2, 10)
    loads, unloads, watched = [], [], []
    started = time.monotonic()
    before_rounds = traffic.pause_count()
    for number in range(ROUNDS):
        loads.append(timed(load))
        # Other routes come and go, so that each round holds routes of its own.
        others = f"192.0.2.{number}/32 dev lan-dummy", f"2001:db8:ffff::{number:x}/128 dev lan-dummy"
        router.ip(*(f"route add {other}" for other in others))
        wait_for(lambda: read_watched() >= 2 * FLOWS + 2, 5)
        watched.append(read_watched())
        unloads.append(timed(unload))
        router.ip(*(f"route del {other}" for other in others))
    seconds = time.monotonic() - started
    during = traffic.pause_count()
    # As long again, without a load.
    time.sleep(seconds)
    after = traffic.stop()
    lost_with, lost_without = during["lost"] - before_rounds["lost"], after["lost"] - during["lost"]
    numbers = {"loads": loads, "unloads": unloads, "watched": watched, "during": during, "after": after}
    save("rounds.json", json.dumps(numbers))
    ktap.test("rounds-end", len(unloads) == ROUNDS and settled, (
        f"{len(unloads)} of {ROUNDS} rounds in {seconds:.1f} s; a load took {max(loads):.2f} s at most, an unload "
        f"{max(unloads):.2f} s; the flows were {'' if settled else 'not '}offloaded before"
    ))  # fmt: skip
    ktap.test("running-flows-are-covered", min(watched) >= 2 * FLOWS + 2, (
        f"{min(watched)} to {max(watched)} flows were watched in each round, expected {2 * FLOWS + 2} or more"
    ))  # fmt: skip
    ktap.test("no-loss", lost_with <= lost_without and not after["broken"], (
        f"{lost_with} of {during['sent'] - before_rounds['sent']} packets lost in the rounds, {lost_without} of "
        f"{after['sent'] - during['sent']} in as long a time without; TCP connections that broke: {after['broken']}"
    ))  # fmt: skip


def topology(lab):
    router, client, server = (lab.namespace(name) for name in ("router", "client", "server"))
    router.sysctl("net.ipv4.ip_forward", 1)
    router.sysctl("net.ipv6.conf.all.forwarding", 1)
    lab.veth(router, "lan", client, "eth0")
    lab.veth(router, "wan", server, "eth0")
    router.ip(
        "link add br-lan type bridge", "link set lan master br-lan", "link set br-lan up",
        "link add lan-dummy type dummy", "link set lan-dummy up",
        "addr add 10.0.0.1/24 dev br-lan", "addr add 2001:db8:0:1::1/64 dev br-lan",
        "addr add 203.0.113.1/24 dev wan", "addr add 2001:db8:0:2::1/64 dev wan",
    )  # fmt: skip
    client.ip("addr add 10.0.0.2/24 dev eth0", "route add 0.0.0.0/0 via 10.0.0.1",
              "addr add 2001:db8:0:1::2/64 dev eth0", "route add ::/0 via 2001:db8:0:1::1")  # fmt: skip
    server.ip("addr add 203.0.113.2/24 dev eth0", "route add 0.0.0.0/0 via 203.0.113.1",
              "addr add 2001:db8:0:2::2/64 dev eth0", "route add ::/0 via 2001:db8:0:2::1")  # fmt: skip
    wait_for(lambda: all("state UP" in router.run("ip", "link", "show", link) for link in ("br-lan", "lan", "wan")))
    for address in ("10.0.0.2", "2001:db8:0:1::2"):
        router.run("ping", "-n", "-c1", "-W2", address)
    router.nft("""
        table inet lab {
            flowtable ft { hook ingress priority filter; devices = { lan, wan }; }
            chain forward { type filter hook forward priority filter; meta l4proto { tcp, udp } flow add @ft; }
            chain nat { type nat hook postrouting priority srcnat; oifname wan masquerade; }
        }""")
    return router, client, server


class Traffic:
    """A child that sends on every socket, echoes what arrives, and says how much was lost when it is asked."""

    def __init__(self, client, server):
        self.udp, self.servers, self.tcp = [], [], []
        for family, address in ((socket.AF_INET, "203.0.113.2"), (socket.AF_INET6, "2001:db8:0:2::2")):
            sock = server.socket(family)
            sock.bind((address, PORT))
            self.servers.append(sock)
            for _ in range(FLOWS):
                sock = client.socket(family)
                sock.connect((address, PORT))
                self.udp.append(sock)
            with server():
                listener = socket.create_server((address, PORT), family=family)
            sock = client.socket(family, socket.SOCK_STREAM)
            sock.connect((address, PORT))
            self.tcp.append((sock, listener.accept()[0]))
            listener.close()
        for sock in [*self.udp, *self.servers, *(end for pair in self.tcp for end in pair)]:
            sock.setblocking(False)

    def start(self):
        self.ours, theirs = socket.socketpair()
        self.child = os.fork()
        if self.child == 0:
            self.ours.close()
            try:
                self._run(theirs)
            finally:
                os._exit(1)
        theirs.close()

    def pause_count(self):
        """What was sent and lost until now; the traffic holds still for a moment so that nothing is under way."""
        self.ours.send(b"?")
        return json.loads(self.ours.recv(4096))

    def stop(self):
        count = self.pause_count()
        self.ours.close()
        os.waitpid(self.child, 0)
        for pair in self.tcp:
            for end in pair:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                end.close()
        return count

    def _run(self, orders):
        orders.setblocking(False)
        sent = received = broken = 0
        tcp_sent, tcp_received = [0] * len(self.tcp), [0] * len(self.tcp)
        while True:
            for sock in self.udp:
                sock.send(b"x")
                sent += 1
            for index, (near, _) in enumerate(self.tcp):
                if tcp_sent[index] - tcp_received[index] < 1000:
                    near.send(b"x")
                    tcp_sent[index] += 1
            received += self._echo(tcp_received)
            time.sleep(INTERVAL)
            order = take(orders, 16)
            if order == b"":
                os._exit(0)
            if order:
                deadline = time.monotonic() + 2
                while time.monotonic() < deadline and (received < sent or tcp_received != tcp_sent):
                    received += self._echo(tcp_received)
                    time.sleep(INTERVAL)
                broken = sum(got != out for got, out in zip(tcp_received, tcp_sent))
                orders.send(json.dumps({"sent": sent, "lost": sent - received, "broken": broken}).encode())

    def _echo(self, tcp_received):
        received = 0
        for server in self.servers:
            try:
                while True:
                    server.sendto(*server.recvfrom(64))
            except BlockingIOError:
                pass
        for sock in self.udp:
            while take(sock, 64):
                received += 1
        for index, (near, far) in enumerate(self.tcp):
            if data := take(far, 65536):
                far.send(data)
            tcp_received[index] += len(take(near, 65536) or b"")
        return received


def take(sock, size):
    try:
        return sock.recv(size)
    except BlockingIOError:
        return None


def entries(router):
    with router(), open("/proc/thread-self/net/nf_conntrack") as table:
        return table.read()


def load():
    subprocess.run(["insmod", MODULE], check=True)
    if not wait_for(lambda: read(STATE + "/transition") == "0", 30):
        raise RuntimeError("the transition to the livepatch did not end")


def unload():
    with open(STATE + "/enabled", "w") as enabled:
        enabled.write("0")
    if not wait_for(lambda: not os.path.exists(STATE), 30):
        raise RuntimeError("the transition back did not end")
    wait_for(lambda: subprocess.run(["rmmod", NAME], stderr=subprocess.DEVNULL).returncode == 0, 10)


def timed(action):
    start = time.monotonic()
    action()
    return round(time.monotonic() - start, 3)


def read(path):
    try:
        with open(path) as file:
            return file.read().strip()
    except OSError:
        return None


def read_watched():
    return int(read(f"/sys/module/{NAME}/parameters/watched") or 0)


class RouteCounter:
    """Counts routes (struct dst_entry) that are made and destroyed, with kprobe events."""

    EVENTS = {"made": "dst_alloc", "destroyed4": "ipv4_dst_destroy", "destroyed6": "ip6_dst_destroy"}
    TRACING = "/sys/kernel/tracing"

    def __enter__(self):
        with open(f"{self.TRACING}/kprobe_events", "w") as events:
            for name, function in self.EVENTS.items():
                events.write(f"p:{name} {function}\n")
                events.flush()
        self._enable("1")
        return self

    def __exit__(self, *_):
        self._enable("0")
        open(f"{self.TRACING}/kprobe_events", "w").close()

    def _enable(self, value):
        with open(f"{self.TRACING}/events/kprobes/enable", "w") as enable:
            enable.write(value)

    def _hits(self, name):
        for line in read(f"{self.TRACING}/kprobe_profile").splitlines():
            if line.split()[0] == name:
                return int(line.split()[1])
        return 0

    def made(self):
        return self._hits("made")

    def destroyed(self):
        return self._hits("destroyed4") + self._hits("destroyed6")


def namespaces_go():
    """Whether the namespaces that were deleted are taken down.

    The kernel takes them down one batch after the other, and a batch with a
    reference to a device that nobody drops never ends. The first namespace
    made here may be in the lab's batch, the second is in one after it.
    """
    for name in ("first", "second"):
        subprocess.run(["ip", "netns", "add", name], check=True)
        subprocess.run(["ip", "link", "add", name, "type", "veth", "peer", "name", "peer", "netns", name], check=True)
        subprocess.run(["ip", "netns", "del", name], check=True)
        if not wait_for(lambda: not os.path.exists(f"/sys/class/net/{name}"), 30):
            return False
    return True


def kernel_log(log):
    while True:
        try:
            yield log.read(8192).decode(errors="replace").split("\n")[0]
        except (BlockingIOError, AttributeError):
            return


if __name__ == "__main__":
    main()
