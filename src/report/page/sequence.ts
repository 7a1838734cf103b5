import {type Excerpt} from '../../capture/excerpt.js'
import {type Judged} from '../../capture/judge.js'
import {isGroup} from '../../capture/packet.js'
import {type Parties} from './parties.js'

/** A packet sequence, laid out: what the template writes as SVG. Lengths are in px of a drawing WIDTH wide. */
export type Sequence = {
  width: number
  height: number
  bottom: number
  title: string
  parties: {x: number; /** Where its name is, and how it is set there. */ at: number; anchor: string; name: string; address: string}[]
  rows: Row[]
  /** What is left out before and after. */
  before: string
  after: string
}

type State = 'right' | 'wrong' | 'plain'

type Row = {
  y: number
  left: number
  right: number
  middle: number
  toLeft: boolean
  toRight: boolean
  state: State
  /** Since the first packet that is shown. */
  time: string
  ttl: {text: string; state: State} | null
  text: string
  /** The destination MAC address, and what is wrong. */
  detail: string
  detailState: State
}

const WIDTH = 344
const MARGIN = 44
const HEAD = 52
const ROW = 56

/** Lays a part of a capture out as a sequence between the stations in it. */
export function sequenceOf({packets, before, after, wrongAfter}: Excerpt, parties: Parties, title: string): Sequence {
  const names = stations(packets, parties)
  const step = names.length > 1 ? (WIDTH - 2 * MARGIN) / (names.length - 1) : 0
  const columns = new Map(names.map((name, index) => [name, MARGIN + index * step]))
  const start = packets[0]?.time ?? 0
  const top = HEAD + (before > 0 ? 20 : 0)
  const rows = packets.map((packet, index) => rowOf(packet, {columns, parties, start, y: top + 30 + index * ROW}))
  const bottom = top + packets.length * ROW + 6
  return {
    ...{width: WIDTH, height: bottom + (after > 0 ? 22 : 4), bottom, title, rows},
    parties: names.map((name, index) => ({x: columns.get(name)!, ...labelAt(index, names.length, columns.get(name)!), name: short(name, names.length > 2 ? 14 : 22), address: short(parties.addressOf(name), 22)})),
    before: before > 0 ? `${before} packets before` : '',
    after: after > 0 ? `${after} more, ${wrongAfter > 0 ? `${wrongAfter} of them wrong` : 'none of them wrong'}` : '',
  }
}

/** The outer names begin and end with the drawing, so that none is cut. */
function labelAt(index: number, count: number, x: number): {at: number; anchor: string} {
  if (index === 0) return {at: 4, anchor: 'start'}
  return index === count - 1 ? {at: WIDTH - 4, anchor: 'end'} : {at: x, anchor: 'middle'}
}

/** The stations from left to right: as they come up, whatever is for all at the end where nobody else hears it. */
function stations(packets: readonly Judged[], parties: Parties): string[] {
  const names = new Set<string>()
  for (const {from, to} of packets) {
    names.add(parties.nameOf(from))
    if (!isGroup(to)) names.add(parties.nameOf(to))
  }
  if (names.size < 2) names.add('all')
  return [...names]
}

function rowOf(packet: Judged, place: {columns: Map<string, number>; parties: Parties; start: number; y: number}): Row {
  const {columns, parties, start, y} = place
  const from = columns.get(parties.nameOf(packet.from))!
  const to = isGroup(packet.to) ? [...columns.values()].filter((x) => x !== from) : [columns.get(parties.nameOf(packet.to))!]
  const [left, right] = [Math.min(from, ...to), Math.max(from, ...to)]
  const {detail, state: detailState} = detailOf(packet)
  return {
    ...{y, left, right, middle: WIDTH / 2, toLeft: left < from, toRight: right > from},
    state: stateOf(packet.right),
    time: `+${timeText(packet.time - start)}`,
    ttl: packet.ip ? {text: `TTL ${packet.ip.ttl}`, state: packet.hops === undefined ? 'plain' : stateOf(packet.hops < 2)} : null,
    text: short(packet.text, packet.ip ? 34 : 44),
    detail,
    detailState,
  }
}

/** What is said below the arrow: the MAC address that it goes to, and what is wrong with the packet. */
function detailOf({to, mac, hops = 0, announces}: Judged): {detail: string; state: State} {
  if (hops >= 2) return {detail: `again, forwarded ${hops} times: a loop`, state: 'wrong'}
  if (hops === 1) return {detail: 'forwarded, as it should be', state: 'right'}
  if (mac) return mac.right ? {detail: `to ${to}`, state: 'right'} : {detail: `to ${to}, not ${mac.expected}`, state: 'wrong'}
  return {detail: announces ? '' : `to ${to}`, state: 'plain'}
}

function stateOf(right: boolean | undefined): State {
  if (right === undefined) return 'plain'
  return right ? 'right' : 'wrong'
}

/** A length of time for a reader, from microseconds. */
export function timeText(us: number): string {
  if (Math.abs(us) < 1000) return `${us} us`
  return Math.abs(us) < 1_000_000 ? `${(us / 1000).toFixed(1)} ms` : `${(us / 1_000_000).toFixed(1)} s`
}

function short(text: string, length: number): string {
  return text.length > length ? `${text.slice(0, length - 1)}…` : text
}
