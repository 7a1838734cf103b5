import {z} from 'zod'
import {type Judged} from '../../capture/judge.js'
import {isGroup} from '../../capture/packet.js'
import {printable} from '../../lib/text.js'

/** Who takes part in a capture, by MAC address. */
export type Parties = {nameOf: (mac: string) => string; addressOf: (name: string) => string}

const list = z.array(z.string().max(64)).max(200)

/** parties.json of vm/lib/lab.py: the namespaces of a reproducer with their addresses at its end. */
const schema = z.record(z.string().max(64).transform(printable), z.object({macs: list, addresses: list}))

type Named = z.infer<typeof schema>

/** The names that the reproducer left; none where it left none. */
export function readParties(text: string | undefined): Named {
  try {
    return schema.parse(JSON.parse(text ?? '{}'))
  } catch {
    return {}
  }
}

/**
 * Names the stations of a capture: as the reproducer did, by the address that
 * a MAC address was announced for, by what is first sent from it, or not at all.
 */
export function partiesOf(packets: readonly Judged[], named: Named): Parties {
  const names = new Map<string, string>()
  const addresses = new Map<string, string>()
  const owner = (address: string) => Object.entries(named).find(([, one]) => one.addresses.includes(address))?.[0]
  for (const [name, {macs}] of Object.entries(named)) for (const mac of macs) names.set(mac, name)
  for (const {announces} of packets) {
    if (!announces || announces.address.startsWith('fe80:')) continue
    const name = names.get(announces.mac) ?? owner(announces.address) ?? announces.address
    names.set(announces.mac, name)
    if (!addresses.has(name)) addresses.set(name, announces.address)
  }
  const sources = new Set<string>()
  for (const {from, ip} of packets) {
    if (!ip || sources.has(ip.source)) continue
    sources.add(ip.source)
    const name = names.get(from) ?? owner(ip.source) ?? ip.source
    if (!names.has(from)) names.set(from, name)
    if (!addresses.has(name)) addresses.set(name, ip.source)
  }
  const nameOf = (mac: string) => (isGroup(mac) ? 'all' : (names.get(mac) ?? mac))
  return {nameOf, addressOf: (name) => (addresses.get(name) === name ? '' : (addresses.get(name) ?? ''))}
}
