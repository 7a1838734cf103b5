import {type Judged} from './judge.js'

/** The packets of a capture that tell, and what is left out. */
export type Excerpt = {
  packets: Judged[]
  /** How many come before and after, of the same conversation where one was chosen. */
  before: number
  after: number
  /** Of those after, how many go wrong. */
  wrongAfter: number
  /** Whose packets these are, where not all are shown. */
  conversation?: string
  /** Of the whole capture. */
  total: number
}

/** Which packets of the captures of one name are shown: the same conversation of all of them, from the same packet on. */
export type Choice = {conversation: string; /** The same without the port of one's own, which may differ from run to run. */ loosely: string; addresses: readonly string[]; from: number}

/** How many packets a drawing holds. */
const MOST = 12
/** How many of them are before the first that goes wrong. */
const LEAD = 3

/** What to show of captures like this one; undefined where it is short enough to be shown whole. */
export function choose(base: readonly Judged[]): Choice | undefined {
  if (base.length <= MOST) return undefined
  const first = base.find(({right, ip}) => right === false && ip) ?? base.find(isRefusal) ?? base.find(({ip}) => ip?.ports)
  if (!first) return undefined
  const {source, destination} = first.ip!
  const choice = {conversation: conversationOf(first)!, loosely: looselyOf(first)!, addresses: [source, destination], from: 0}
  return {...choice, from: Math.max(0, conversation(base, choice).indexOf(first) - LEAD)}
}

/** The part of a capture that is shown. */
export function excerpt(packets: readonly Judged[], choice: Choice | undefined): Excerpt {
  const own = choice ? conversation(packets, choice) : [...packets]
  const from = choice?.from ?? 0
  const left = own.slice(from + MOST)
  return {
    packets: own.slice(from, from + MOST),
    before: Math.min(from, own.length),
    after: left.length,
    wrongAfter: left.filter(({right}) => right === false).length,
    total: packets.length,
    ...(choice ? {conversation: choice.conversation} : {}),
  }
}

function isRefusal({text}: Judged): boolean {
  return / RST/.test(text)
}

/** A conversation's packets, and what is announced of its addresses meanwhile. */
function conversation(packets: readonly Judged[], choice: Choice): Judged[] {
  const like = packets.find((packet) => conversationOf(packet) === choice.conversation) ?? packets.find((packet) => looselyOf(packet) === choice.loosely)
  const key = like && conversationOf(like)
  const isOwn = (packet: Judged) => key !== undefined && conversationOf(packet) === key
  const start = packets.findIndex(isOwn)
  if (start < 0) return []
  const end = packets.findLastIndex(isOwn)
  const known = new Map<string, string>()
  return packets.filter((packet, index) => {
    const {announces} = packet
    if (!announces) return isOwn(packet)
    const isNews = known.get(announces.address) !== announces.mac
    known.set(announces.address, announces.mac)
    return index >= start && index <= end && isNews && choice.addresses.includes(announces.address)
  })
}

/** `UDP 10.0.0.2 port 20000 and 198.51.100.53 port 53`, whichever way a packet goes. */
function conversationOf({ip}: Judged): string | undefined {
  if (!ip) return undefined
  const ends = [`${ip.source}${ip.ports ? ` port ${ip.ports.from}` : ''}`, `${ip.destination}${ip.ports ? ` port ${ip.ports.to}` : ''}`].sort()
  return `${protocolOf(ip.protocol)}${ends.join(' and ')}`
}

/** The same with the lower port alone: the other is the client's own, or the same. */
function looselyOf({ip}: Judged): string | undefined {
  if (!ip?.ports) return undefined
  const {from, to} = ip.ports
  return `${protocolOf(ip.protocol)}${[ip.source, ip.destination].sort().join(' and ')} port ${Math.min(from, to)}`
}

function protocolOf(number: number): string {
  const name = {6: 'TCP', 17: 'UDP'}[number]
  return name ? `${name} ` : ''
}
