#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-only
"""What firewall4's flow statement does to policy routing, and what a guard of it costs.

    client   eth0 -- lan1 \
    gateway  eth0 -- lan2  br-lan ---- router  wan -- eth0  server
    pbr      eth0 -- lan3 /            |
    tagged   eth0 -- lan4  br-vlan10 --+

The router has the ruleset that firewall4 renders for it, where the flowtable is
on the bridges and wan (patches/fw4-guard/router/ describes it), and then each
of its variations:

    hardware  flow_offloading_hw: the flowtable is on the bridges' ports and wan
    open      the policy of the chain forward is accept, not drop
    masked    only the mark bits 0xff choose a route (flow_offloading_mask)

Its rules mark what goes to port 53 and 1900 with 0xff, which leads to pbr, and
to port 5060 with 0x100, which leads nowhere. IPv4 is masqueraded, to wan and
to pbr, and IPv6 is not. What comes from pbr keeps a mark in conntrack, so that
the replies go back there.

Parameters: queries (how many at once), packets (how many in turn).
"""

import itertools
import os
import re
import subprocess

from lab import Ktap, Lab, drain, parameter, reaches, ruleset_path, save, wait_for
from lan import IP4, IP6, PBR_MARK, Flow, Site, TcpFlow, at_once, count, in_turn

QUERIES = parameter("queries", 2)
PACKETS = parameter("packets", 20)

POLICY, DROPPED, VOICE, PLAIN = 53, 1900, 5060, 443
PINGS = 3
TRIES = 4  # how often it is looked whether a flow is offloaded: a read of conntrack's table can miss an entry


class FirewallSite(Site):
    """The machines of the drawing above, and a router with the rulesets of firewall4."""

    ports = (POLICY, DROPPED, VOICE, PLAIN)

    def __init__(self, lab):
        super().__init__(lab)
        self.traces = []

    def load(self, variation=None):
        """The ruleset, or a variation of it, and what a package for two uplinks has beside it."""
        path = ruleset_path(variation=variation)
        ruleset = read(path)
        self.router.nft("flush ruleset")
        try:
            self.router.nft(ruleset)
        except RuntimeError as refused:
            # No device of the machine forwards flows in hardware; the rest of the ruleset is proved.
            if "flags offload;" not in ruleset or "not supported" not in str(refused):
                raise SystemExit(f"{os.path.basename(path)} does not load: {refused}")
            self.router.nft(ruleset.replace("flags offload;", ""))
        save(os.path.basename(path), self.router.run("nft", "list", "ruleset"))
        self.router.nft(f"""
            table inet uplinks {{
                chain prerouting {{
                    type filter hook prerouting priority mangle + 1;
                    iifname br-lan ip saddr {IP4.remote_net} ct direction original ct mark set {PBR_MARK}
                    iifname br-lan ip6 saddr {IP6.remote_net} ct direction original ct mark set {PBR_MARK}
                    ct direction reply ct mark {PBR_MARK} meta mark set ct mark
                }}
            }}""")

    def fate(self, port, send):
        """What the chain forward did with the first packet to a port that `send` sends, in nft's words, and send's result."""
        self.router.nft(f"""
            table inet trace {{
                chain prerouting {{
                    type filter hook prerouting priority raw - 1;
                    udp dport {port} meta nftrace set 1
                }}
            }}""")
        name = f"trace-{len(self.traces)}"
        with open(name, "w") as file, self.router():
            monitor = subprocess.Popen(["nft", "monitor", "trace"], stdout=file, stdin=subprocess.DEVNULL)
        try:
            wait_for(lambda: listens(monitor.pid))
            result = send()
            wait_for(lambda: re.search(r" fw4 (forward policy|\w*postrouting) |verdict drop\)", read(name)))
        finally:
            monitor.terminate()
            monitor.wait()
            self.router.nft("delete table inet trace")
        text = read(name)
        self.traces.append(f"==== to port {port}\n{text}")
        return last_steps(text), result

    def save(self):
        super().save()
        save("traces.log", "".join(self.traces))


def read(path):
    with open(path) as file:
        return file.read()


def last_steps(trace):
    """The last two things that happened in the chain forward, and where it leads, to the first packet of a trace."""
    first = re.match(r"trace id (\w+)", trace)
    lines = re.findall(rf"^trace id {first[1]} inet fw4 (\w+) (.*)$", trace, re.M) if first else []
    chains = [chain for chain, _ in lines]
    start = chains.index("forward") if "forward" in chains else len(lines)
    steps = itertools.takewhile(lambda line: not re.search("postrouting|srcnat", line[0]), lines[start:])
    words = [f"{chain}: {strip(what)}" for chain, what in steps if not what.startswith("packet:")]
    return ", then ".join(words[-2:]) or "never reached"


def strip(rule):
    """A rule of a trace without its counter, its comment and what follows from the rest."""
    rule = re.sub(r"^(policy \w+) .*", r"\1", rule)
    return re.sub(r"^rule |counter packets \d+ bytes \d+ |comment \"[^\"]*\" |^verdict |\(verdict \w+( \w+)?\)", "", rule).strip()


def listens(pid):
    """Whether a process is subscribed to a netfilter group (proc(5), /proc/net/netlink)."""
    rows = [line.split() for line in read(f"/proc/{pid}/net/netlink").splitlines()[1:]]
    return any(row[1] == "12" and int(row[3], 16) for row in rows)


class Inbound(Flow):
    """One UDP socket behind pbr that sends to a host of the other LAN; the host echoes."""

    def __init__(self, site, ip):
        super().__init__(site, ip, "pbr", ip.tagged, PLAIN)

    def _connect(self, source):
        super()._connect(self.ip.remote)
        self.peer = self.site.tagged.socket(self.ip.family)
        self.peer.bind(self.server)
        self.peer.setblocking(False)

    def _echo(self):
        queries = drain(self.peer)
        for data, peer in queries:
            reaches(self.peer.sendto, data, peer)
        return len(queries)

    def close(self):
        super().close()
        self.peer.close()


def from_outside(site, ip):
    """A host behind pbr sends to one of the LAN: the replies have to go back by pbr, as the connection's mark says."""
    flow = Inbound(site, ip)
    replies = flow.exchange(PACKETS, QUERIES)
    back, wrong, flags = flow.seen("pbr", 0), flow.seen("gateway", 0), flow.flags()
    site.keep_tables(f"{PACKETS} datagrams from outside, udp{ip.digit}")
    flow.close()
    return replies == PACKETS, (
        f"{replies} of {PACKETS} replies; {count(back, site.macs['pbr'])} (the uplink that they came from), "
        f"{count(wrong, site.macs['gateway'])} (the other); conntrack {flags}"
    )


def keep_to_policy(site, flow):
    """Marked queries in turn, and whether the reply to the first of them, which has no mark, made a flow."""
    flow.exchange()
    by_reply = "[OFFLOAD]" in flow.flags()
    passed, observed = in_turn(site, flow, PACKETS, "pbr")
    return passed, f"the first reply made {'the' if by_reply else 'no'} flow, then {observed}"


def marked_passes(site, ip, host):
    """Marked queries, each from a socket of its own, and what the chain did with the first."""
    fate, replies = site.fate(POLICY, lambda: sum(Flow(site, ip, host).exchange() for _ in range(5)))
    return replies == 5, f"{replies} of 5 replies, the last steps of the first query: {fate}"


def later_rules_hold(site):
    """Marked datagrams that a rule behind the flow statement drops."""
    flow = Flow(site, IP4, service=DROPPED)
    fate, _ = site.fate(DROPPED, lambda: flow.exchange(5, 5))
    passed = sum(flow.answers.values())
    return not passed, f"{passed} of 5 datagrams that a rule drops arrived, the last steps of the first: {fate}"


def offloaded(flow):
    """A flow that no guard is meant for: its second or third packet is to make it."""
    flow.exchange(3)
    settled = any(flow.offloaded() for _ in range(TRIES))
    return settled, f"{'' if settled else 'not '}offloaded; conntrack {flow.flags()}"


def status_matches(site):
    """How many packets of a masqueraded flow that is never offloaded (ping) each way to write the set matches."""
    site.router.nft("""
        table inet status {
            chain forward {
                type filter hook forward priority filter - 1;
                meta l4proto icmp ct status { dnat, snat } counter
                meta l4proto icmp ct status dnat,snat counter
            }
        }""")
    site.client.run("ping", "-q", "-c", str(PINGS), "-i", "0.01", "-W", "1", IP4.wan_server, check=False)
    exact, bits = re.findall(r"counter packets (\d+)", site.router.run("nft", "list", "table", "inet", "status"))
    site.router.nft("delete table inet status")
    return (
        f"of {2 * PINGS} packets of a masqueraded ping `ct status {{ dnat, snat }}` matches {exact} and "
        f"`ct status dnat,snat` {bits}"
    )


def main():
    os.makedirs("/etc/nftables.d", exist_ok=True)
    with Lab() as lab, Ktap(19) as ktap:
        site = FirewallSite(lab)

        site.load()
        ktap.test("marked-reply-mac4", *at_once(site, Flow(site, IP4), QUERIES, "pbr"))
        ktap.test("marked-query-route4", *keep_to_policy(site, Flow(site, IP4)))
        ktap.test("marked-query-route6", *keep_to_policy(site, Flow(site, IP6, "tagged")))
        for ip in (IP4, IP6):
            ktap.test(f"connmark-reply-route{ip.digit}", *from_outside(site, ip))
        ktap.test("marked-passes-policy4", *marked_passes(site, IP4, "client"))
        ktap.test("marked-passes-policy6", *marked_passes(site, IP6, "tagged"))
        settled, observed = offloaded(Flow(site, IP4, service=PLAIN))
        ktap.test("nat-kept-off4", not settled, f"{status_matches(site)}; a masqueraded flow is {observed}")
        ktap.test("nat-stays-offloaded4", settled, observed)
        ktap.test("tcp-stays-offloaded4", *offloaded(TcpFlow(site, IP4, service=PLAIN)))
        ktap.test("unmarked-stays-offloaded6", *offloaded(Flow(site, IP6, service=PLAIN)))

        site.load("hardware")
        ktap.test("hw-marked-reply-mac4", *at_once(site, Flow(site, IP4), QUERIES, "pbr"))
        ktap.test("hw-marked-query-route4", *keep_to_policy(site, Flow(site, IP4)))
        ktap.test("hw-unmarked-stays-offloaded4", *offloaded(Flow(site, IP4, service=PLAIN)))

        site.load("open")
        ktap.test("later-rules-hold4", *later_rules_hold(site))

        site.load("masked")
        ktap.test("masked-reply-mac4", *at_once(site, Flow(site, IP4), QUERIES, "pbr"))
        ktap.test("masked-query-route4", *keep_to_policy(site, Flow(site, IP4)))
        ktap.test("masked-connmark-reply-route4", *from_outside(site, IP4))
        ktap.test("harmless-mark-stays-offloaded4", *offloaded(Flow(site, IP4, service=VOICE)))
        site.save()


if __name__ == "__main__":
    main()
