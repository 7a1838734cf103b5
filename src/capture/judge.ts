import {isGroup, type Packet} from './packet.js'

/** What a packet's MAC address and TTL are worth. */
export type Judged = Packet & {
  /** Whether it goes where its destination said that it is; undefined where nobody said. */
  mac?: {right: boolean; expected: string}
  /** Which appearance of one packet it is, the highest TTL first: 1 is the forwarded one, more is a loop. */
  hops?: number
  right: boolean | undefined
}

/**
 * What is right and wrong in a capture, by what is in it:
 *
 * - an address belongs to whom ARP or neighbour discovery says, and to the MAC
 *   address that its own packets come from later. A packet for it that goes
 *   elsewhere goes wrong.
 * - a packet may come by twice, the second time forwarded and with a lower TTL.
 *   One that comes by again and again loops.
 */
export function judge(packets: readonly Packet[]): Judged[] {
  const neighbours = new Map<string, string>()
  const hops = hopsOf(packets)
  return packets.map((packet) => {
    learn(packet, neighbours)
    const mac = macOf(packet, neighbours)
    const hop = hops.get(packet)
    const verdicts = [...(mac ? [mac.right] : []), ...(hop === undefined ? [] : [hop < 2])]
    const right = verdicts.length === 0 ? undefined : verdicts.every(Boolean)
    return {...packet, ...(mac ? {mac} : {}), ...(hop === undefined ? {} : {hops: hop}), right}
  })
}

function learn({from, ip, announces}: Packet, neighbours: Map<string, string>): void {
  if (announces) return void neighbours.set(announces.address, announces.mac)
  if (!ip || !neighbours.has(ip.source)) return
  // What a router passes on comes from the router, which has an address of its own.
  const others = [...neighbours].some(([address, mac]) => mac === from && address !== ip.source)
  if (!others) neighbours.set(ip.source, from)
}

function macOf({to, ip}: Packet, neighbours: Map<string, string>): {right: boolean; expected: string} | undefined {
  const expected = ip && !isGroup(to) ? neighbours.get(ip.destination) : undefined
  return expected === undefined ? undefined : {right: expected === to, expected}
}

/** For each packet that comes by more than once, which of its appearances it is. */
function hopsOf(packets: readonly Packet[]): Map<Packet, number> {
  const journeys = new Map<string, Packet[]>()
  const hops = new Map<Packet, number>()
  for (const packet of packets) {
    if (!packet.ip) continue
    const {identity, ttl} = packet.ip
    const journey = journeys.get(identity) ?? []
    // With a TTL that was there before it is another packet with the same content.
    if (journey.some(({ip}) => ip!.ttl === ttl)) journey.length = 0
    journey.push(packet)
    journeys.set(identity, journey)
    // They need not come by in order: a copy may overtake the packet that it was made of.
    const sorted = [...journey].sort((a, b) => b.ip!.ttl - a.ip!.ttl)
    if (sorted.length > 1) for (const [index, one] of sorted.entries()) hops.set(one, index)
  }
  return hops
}
