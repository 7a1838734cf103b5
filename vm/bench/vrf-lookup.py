#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""TCP connections per second in the default VRF: a path that vrf-lookup's livepatch must not slow down.

Prints a line a round, of CONNECTIONS connects and accepts over a veth pair.
"""

import socket
import time

from lab import Lab, parameter

ROUNDS, CONNECTIONS = parameter("rounds", 4), parameter("connections", 500)
SERVER, CLIENT = "192.0.2.1", "192.0.2.2"

with Lab() as lab:
    router, host = lab.namespace("router"), lab.namespace("host")
    lab.veth(router, "lan", host, "eth0")
    # A VRF, or the kernel has no rules to look at.
    router.ip(f"addr add {SERVER}/24 dev lan", "link add blue type vrf table 10", "link set blue up")
    host.ip(f"addr add {CLIENT}/24 dev eth0")
    server = router.socket(kind=socket.SOCK_STREAM)
    server.bind((SERVER, 2000))
    server.listen(128)

    def one_round():
        started = time.perf_counter()
        with host():
            for _ in range(CONNECTIONS):
                client = socket.socket()
                # No TIME_WAIT: every round meets the same tables.
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                client.connect((SERVER, 2000))
                server.accept()[0].close()
                client.close()
        return CONNECTIONS / (time.perf_counter() - started)

    one_round()
    for _ in range(ROUNDS):
        print(f"cps {one_round():.0f}", flush=True)
