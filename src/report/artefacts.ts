// What the maintainers of a flow offloading bug ask for, out of a run's evidence and a router's archive.

/** A listing that goes with a report, or how to get it where it is missing. */
export type Artefact = {title: string; parts: {from: string; text: string}[]; missing?: string}

/** One moment of tables.log: its title, and the tables by the command that printed them. */
export type Moment = {title: string; tables: Map<string, string>}

const MAC = /\b(?:[\da-f]{2}:){5}[\da-f]{2}\b/g

/** Reads tables.log: `==== TITLE`, then `$ COMMAND` and what it printed. */
export function parseMoments(text: string): Moment[] {
  return `\n${text}`
    .split('\n==== ')
    .slice(1)
    .map((block) => {
      const [title = '', ...rest] = block.split('\n')
      const tables = `\n${rest.join('\n')}`.split('\n$ ').slice(1).map((table): [string, string] => {
        const end = table.indexOf('\n')
        return end < 0 ? [table, ''] : [table.slice(0, end), table.slice(end + 1)]
      })
      return {title, tables: new Map(tables)}
    })
}

/**
 * The moment that a symptom is about: the one with most of the MAC addresses
 * that were seen in it, those in its title above all, of those of its IP version.
 */
export function momentOf(moments: readonly Moment[], symptom: {name: string; observed: string}): Moment | undefined {
  const macs = macsOf(symptom.observed)
  const version = /[46]$/.exec(symptom.name)?.[0]
  const ofVersion = moments.filter(({title}) => version === undefined || title.endsWith(version))
  const score = ({title, tables}: Moment) => {
    const inTitle = macs.filter((mac) => title.includes(mac)).length
    const inTables = macs.filter((mac) => [...tables.values()].some((text) => text.includes(mac))).length
    return inTitle * 100 + inTables
  }
  // Of equals the first: sort() keeps their order.
  return [...(ofVersion.length > 0 ? ofVersion : moments)].sort((a, b) => score(b) - score(a))[0]
}

export function macsOf(text: string): string[] {
  return [...new Set(text.match(MAC) ?? [])]
}

/** The entries of a conntrack listing that are offloaded. */
export function offloaded(conntrack: string): string[] {
  return conntrack.split('\n').filter((line) => line.includes('OFFLOAD]'))
}

/** The entries of a conntrack listing to the servers that some entries are to. */
export function likewise(conntrack: string, entries: readonly string[]): string[] {
  const server = (entry: string) => /\b(dst=\S+ )sport=\d+ (dport=\d+)/.exec(entry)?.slice(1).join('')
  const servers = new Set(entries.map(server))
  return conntrack.split('\n').filter((line) => server(line) !== undefined && servers.has(server(line)))
}

/** The rules of a ruleset that count packets. */
export function counters(ruleset: string): string[] {
  return ruleset.split('\n').filter((line) => /\bcounter packets \d/.test(line)).map((line) => line.trim())
}

/**
 * Of a capture (tcpdump -e), the frames of some connections to some MAC
 * addresses, each with its further lines.
 *
 * @param entries lines of conntrack, which name the connections by who opened them
 * @param most how many frames to each address, the last ones: the first may be of a time before the symptom
 */
export function framesTo(capture: string, macs: readonly string[], entries: readonly string[], most: number): string[] {
  const ends = entries.flatMap((entry) => endpoints(entry))
  const frames = capture.split(/\n(?=\d\d:\d\d:\d\d\.\d+ )/)
  return macs.flatMap((mac) => {
    const found = frames.filter((frame) => frame.includes(`> ${mac}, ethertype IP`) && ends.some((end) => frame.includes(`> ${end}:`)))
    return found.slice(-most).map((frame) => frame.trimEnd())
  })
}

/** Who opened each connection, as tcpdump writes it: address and port. */
function endpoints(entry: string): string[] {
  const [, address, port] = /\bsrc=(\S+) dst=\S+ sport=(\d+)/.exec(entry) ?? []
  return address === undefined || port === undefined ? [] : [`${short(address)}.${port}`]
}

/** conntrack writes IPv6 addresses in full. */
function short(address: string): string {
  return address.includes(':') ? new URL(`http://[${address}]`).hostname.slice(1, -1) : address
}
