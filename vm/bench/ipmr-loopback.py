#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""Packets per second through ip_mc_finish_output()'s ordinary path.

A program sends multicast to a group that the same machine has joined, so every
packet is looped back once and nothing is forwarded. No socket is bound to the
port: the looped copies end in UDP, and no receiver's speed is measured.
"""

import socket
import struct
import time

from lab import Lab, parameter

ROUNDS = parameter("rounds", 4)
PACKETS = parameter("packets", 5000)
GROUP, PORT = "239.1.1.1", 5001


def main():
    with Lab() as lab:
        sender = lab.namespace("sender")
        sender.ip("link add wire type dummy", "addr add 192.0.2.1/24 dev wire", "link set wire up")
        sock = sender.socket(device="wire")
        # struct ip_mreqn
        membership = struct.pack("=4s4si", socket.inet_aton(GROUP), bytes(4), sender.ifindex("wire"))
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        sock.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_LOOP, 1)
        sock.connect((GROUP, PORT))

        looped_before = looped(sender)
        send(sock)  # warms the caches; TCG translates on the way
        for _ in range(ROUNDS):
            print(f"pps {PACKETS / send(sock):.0f}", flush=True)
        expected = (ROUNDS + 1) * PACKETS
        seen = looped(sender) - looped_before
        if seen < expected:
            raise SystemExit(f"{seen} packets were looped back, expected {expected}: this was not the path")


def send(sock):
    """Sends a round; the seconds it took."""
    payload = bytes(64)
    started = time.perf_counter_ns()
    for _ in range(PACKETS):
        sock.send(payload)
    return (time.perf_counter_ns() - started) / 1e9


def looped(namespace):
    """Multicast packets that came in (InMcastPkts): on a dummy device, only looped ones can."""
    with namespace(), open("/proc/thread-self/net/netstat") as file:
        rows = [line.split() for line in file if line.startswith("IpExt:")]
    return int(dict(zip(*rows))["InMcastPkts"])


main()
