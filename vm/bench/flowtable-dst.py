#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What flowtable-dst's livepatch costs: packets a second through an offloaded flow, and new flows a second.

    client  eth0 -- lan  br-lan  router  wan -- eth0  server

Prints a line a round and figure: `pps` for one UDP flow that the flowtable
forwards, `fps` for UDP flows that are made, answered and offloaded.
"""

import socket
import time

from lab import Lab, parameter, wait_for

ROUNDS = parameter("rounds", 3)
PACKETS, FLOWS = parameter("packets", 3000), parameter("flows", 200)
SERVER, PORT = "203.0.113.2", 53


def main():
    with Lab() as lab:
        router, client, server = topology(lab)
        echo = server.socket()
        echo.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        echo.bind((SERVER, PORT))
        echo.settimeout(2)

        def new_flow():
            sock = client.socket()
            sock.settimeout(2)
            sock.connect((SERVER, PORT))
            # Query, reply, query: with the third packet the flow is in the table.
            for _ in range(2):
                sock.send(b"query")
                _, peer = echo.recvfrom(64)
                echo.sendto(b"reply", peer)
                sock.recv(64)
            return sock

        steady = new_flow()
        if not wait_for(lambda: "[OFFLOAD]" in conntrack(router)):
            raise SystemExit("the flow was not offloaded: this is not the path")
        pps(steady, echo)
        for _ in range(ROUNDS):
            print(f"pps {pps(steady, echo):.0f}", flush=True)
            started = time.perf_counter()
            for _ in range(FLOWS):
                new_flow().close()
            print(f"fps {FLOWS / (time.perf_counter() - started):.0f}", flush=True)


def pps(sock, echo):
    """Packets a second from the client's send to the server's socket."""
    payload = bytes(64)
    started = time.perf_counter()
    for number in range(PACKETS):
        sock.send(payload)
        if number % 100 == 99:
            for _ in range(100):
                echo.recv(128)
    return PACKETS / (time.perf_counter() - started)


def topology(lab):
    router, client, server = (lab.namespace(name) for name in ("router", "client", "server"))
    router.sysctl("net.ipv4.ip_forward", 1)
    lab.veth(router, "lan", client, "eth0")
    lab.veth(router, "wan", server, "eth0")
    router.ip(
        "link add br-lan type bridge", "link set lan master br-lan", "link set br-lan up",
        "addr add 10.0.0.1/24 dev br-lan", "addr add 203.0.113.1/24 dev wan",
    )  # fmt: skip
    client.ip("addr add 10.0.0.2/24 dev eth0", "route add default via 10.0.0.1")
    server.ip("addr add 203.0.113.2/24 dev eth0", "route add default via 203.0.113.1")
    wait_for(lambda: all("state UP" in router.run("ip", "link", "show", link) for link in ("br-lan", "lan", "wan")))
    router.run("ping", "-n", "-c1", "-W2", "10.0.0.2")
    router.nft("""
        table inet lab {
            flowtable ft { hook ingress priority filter; devices = { lan, wan }; }
            chain forward { type filter hook forward priority filter; meta l4proto { tcp, udp } flow add @ft; }
            chain nat { type nat hook postrouting priority srcnat; oifname wan masquerade; }
        }""")
    return router, client, server


def conntrack(router):
    with router(), open("/proc/thread-self/net/nf_conntrack") as table:
        return table.read()


main()
