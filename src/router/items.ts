/** One thing that is gathered from a router: a shell script, and the file that its output becomes. */
export type Item = {file: string; script: string}

/** Its own ssh connection is in none of the tables' ways, but would fill a capture. */
const NOT_US = '[ -z "$SSH_CONNECTION" ] || { set -- $SSH_CONNECTION; own="not (host $1 and tcp port $4)"; }'

const needs = (program: string) => `command -v ${program} >/dev/null || { echo '${program} is not installed there' >&2; exit 127; }`

/** What upstream asks for with a report about flow offloading; each with what busybox's own programs can say where the whole ones are missing. */
export const ITEMS: readonly Item[] = [
  {file: 'system.txt', script: 'cat /etc/openwrt_release /etc/os-release 2>/dev/null; uname -a; uptime; cat /proc/cmdline; date'},
  {
    file: 'packages.txt',
    script: "{ opkg list-installed 2>/dev/null || apk list --installed 2>/dev/null || dpkg-query -W; } | grep -E 'firewall4|nftables|nft-|netfilter|conntrack|ucode|pbr|mwan3|sqm|^kernel'",
  },
  {file: 'nft/ruleset.txt', script: 'nft list ruleset'},
  {file: 'nft/flowtables.txt', script: 'nft list flowtables'},
  {file: 'firewall4/rendered.txt', script: 'fw4 print'},
  {file: 'firewall4/ruleset.uc', script: 'cat /usr/share/firewall4/templates/ruleset.uc'},
  {file: 'firewall4/check.txt', script: `${needs('fw4')}\nfw4 check 2>&1`},
  ...['firewall', 'network', 'pbr', 'mwan3'].map((name) => ({file: `uci/${name}.txt`, script: `uci export ${name} 2>/dev/null || cat /etc/config/${name}`})),
  {file: 'ip/links.txt', script: 'ip -d -s link show 2>/dev/null || ip link show'},
  {file: 'ip/addresses.txt', script: 'ip address show'},
  {file: 'ip/rules4.txt', script: 'ip -4 rule show'},
  {file: 'ip/rules6.txt', script: 'ip -6 rule show'},
  {file: 'ip/routes4.txt', script: 'ip -4 route show table all'},
  {file: 'ip/routes6.txt', script: 'ip -6 route show table all'},
  {file: 'ip/neighbours.txt', script: 'ip -s neigh show 2>/dev/null || ip neigh show'},
  {file: 'ip/bridge-fdb.txt', script: 'bridge fdb show 2>/dev/null || for bridge in /sys/class/net/*/bridge; do bridge=${bridge%/bridge}; echo "${bridge##*/}:"; brctl showmacs "${bridge##*/}" || exit 1; done'},
  // The kernel's own listing shows [OFFLOAD] and [HW_OFFLOAD].
  {file: 'conntrack.txt', script: 'cat /proc/net/nf_conntrack 2>/dev/null || conntrack -L'},
  {file: 'conntrack-offloaded.txt', script: "{ cat /proc/net/nf_conntrack 2>/dev/null || conntrack -L; } | grep OFFLOAD || echo '(no entry is offloaded now)'"},
  {file: 'conntrack-statistics.txt', script: 'cat /proc/net/stat/nf_conntrack'},
  {
    file: 'ethtool.txt',
    script: `${needs('ethtool')}
for device in /sys/class/net/*; do device=\${device##*/}; echo "$device: $(ethtool -k "$device" | grep hw-tc-offload)"; done`,
  },
]

/** The devices whose packets tell most: those of the flowtables and the bridges above them, a name a line. */
export const DEVICES = `{
	nft list flowtables | tr -d '"' | sed -n 's/.*devices = {\\(.*\\)}.*/\\1/p' | tr -s ', \\t' '\\n'
	for master in /sys/class/net/*/master; do readlink "$master"; done | sed 's|.*/||'
} | sort -u`

/** Prints what passes a device for some seconds, with link-layer addresses; busybox has no timeout(1) on every router. */
export function captureItem(device: string, seconds: number, packets: number): Item {
  const script = `${needs('tcpdump')}
${NOT_US}
tcpdump -i '${device}' -e -nn -v -l -c ${packets} $own &
capture=$!
{ sleep ${seconds}; kill $capture; } >/dev/null 2>&1 &
wait $capture
# As a rule it is ended by the signal.
[ $? -ne 1 ]`
  return {file: `captures/${device}.txt`, script}
}
