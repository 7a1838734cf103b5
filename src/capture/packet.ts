import {isIPv4} from 'node:net'
import {sha256} from '../lib/hash.js'
import {type Frame} from './pcap.js'

/** What a report has to know of a frame. */
export type Packet = {
  /** Since the epoch, in us. */
  time: number
  from: string
  to: string
  vlan?: number
  /** What it is, in a few words. */
  text: string
  ip?: IpPart
  /** Who says that an address is whose: the sender of ARP, the target of neighbour discovery. */
  announces?: {address: string; mac: string}
}

export type IpPart = {
  source: string
  destination: string
  /** TTL, or hop limit. */
  ttl: number
  protocol: number
  ports?: {from: number; to: number}
  /** The same for the same packet on its next hop: all but link header, TTL and checksum. */
  identity: string
}

const ARP = 0x0806
const IPV4 = 0x0800
const IPV6 = 0x86dd
const TAGS = [0x8100, 0x88a8]
const PPPOE_SESSION = 0x8864
const PPP: Record<number, number> = {0x0021: IPV4, 0x0057: IPV6}
const TCP = 6
const UDP = 17
const ICMP6 = 58
const FRAGMENT = 44
/** Extension headers of IPv6 that say how long they are: hop-by-hop, routing, destination options. */
const EXTENSIONS = [0, 43, 60]
const PROTOCOLS: Record<number, string> = {1: 'ICMP', 2: 'IGMP', [TCP]: 'TCP', [UDP]: 'UDP', [ICMP6]: 'ICMPv6', 103: 'PIM'}
/** RFC 4861 and RFC 2710, RFC 3810. */
const ICMP6_TYPES: Record<number, string> = {128: 'echo request', 129: 'echo reply', 133: 'router solicitation', 134: 'router advertisement', 135: 'neighbour solicitation', 136: 'neighbour advertisement', 143: 'multicast report'}
const FLAGS: readonly [number, string][] = [[2, 'SYN'], [1, 'FIN'], [4, 'RST'], [16, 'ACK']]

/** A frame's addresses and what is in it, as far as it is whole. */
export function readPacket({time, bytes}: Frame): Packet | undefined {
  if (bytes.length < 14) return undefined
  const packet = {time, to: mac(bytes, 0), from: mac(bytes, 6)}
  let [type, at] = [bytes.readUInt16BE(12), 14]
  let vlan: number | undefined
  while (TAGS.includes(type) && bytes.length >= at + 4) {
    vlan = bytes.readUInt16BE(at) & 0xfff
    ;[type, at] = [bytes.readUInt16BE(at + 2), at + 4]
  }
  if (type === PPPOE_SESSION && bytes.length >= at + 8) [type, at] = [PPP[bytes.readUInt16BE(at + 6)] ?? type, at + 8]
  return {...packet, ...(vlan === undefined ? {} : {vlan}), ...(contentOf(type, bytes.subarray(at)) ?? {text: `Ethernet type 0x${type.toString(16).padStart(4, '0')}`})}
}

function contentOf(type: number, bytes: Buffer): Pick<Packet, 'text' | 'ip' | 'announces'> | undefined {
  if (type === ARP) return arp(bytes)
  if (type === IPV4) return ipv4(bytes)
  return type === IPV6 ? ipv6(bytes) : undefined
}

/** RFC 826, for Ethernet and IPv4. */
function arp(bytes: Buffer): Pick<Packet, 'text' | 'announces'> | undefined {
  if (bytes.length < 28 || bytes.readUInt16BE(2) !== IPV4) return undefined
  const [sender, hardware, target] = [address4(bytes, 14), mac(bytes, 8), address4(bytes, 24)]
  // Who asks for its own address tells it (RFC 5227, 3).
  const text = bytes.readUInt16BE(6) === 2 || sender === target ? `ARP: ${sender} is at ${hardware}` : `ARP: who has ${target}? tell ${sender}`
  // A probe of RFC 5227 claims no address.
  return sender === '0.0.0.0' ? {text} : {text, announces: {address: sender, mac: hardware}}
}

function ipv4(bytes: Buffer): Pick<Packet, 'text' | 'ip'> | undefined {
  if (bytes.length < 20) return undefined
  const [header, protocol, fragment] = [(bytes[0]! & 15) * 4, bytes[9]!, bytes.readUInt16BE(6) & 0x1fff]
  const body = bytes.subarray(header, Math.max(bytes.readUInt16BE(2), header))
  const route = {source: address4(bytes, 12), destination: address4(bytes, 16), ttl: bytes[8]!, protocol}
  const text = transportText(protocol, fragment > 0 ? undefined : body)
  return {text: fragment > 0 ? `${text}, fragment at ${fragment * 8}` : text, ip: withIdentity(route, fragment, body)}
}

function ipv6(bytes: Buffer): Pick<Packet, 'text' | 'ip' | 'announces'> | undefined {
  if (bytes.length < 40) return undefined
  let [protocol, at, fragment] = [bytes[6]!, 40, 0]
  while (EXTENSIONS.includes(protocol) && bytes.length >= at + 8) [protocol, at] = [bytes[at]!, at + 8 + bytes[at + 1]! * 8]
  const isFragment = protocol === FRAGMENT && bytes.length >= at + 8
  if (isFragment) [protocol, fragment, at] = [bytes[at]!, bytes.readUInt16BE(at + 2) & 0xfff8, at + 8]
  const body = bytes.subarray(at, Math.max(bytes.readUInt16BE(4) + 40, at))
  const route = {source: address6(bytes, 8), destination: address6(bytes, 24), ttl: bytes[7]!, protocol}
  const text = transportText(protocol, fragment > 0 ? undefined : body)
  const announces = protocol === ICMP6 && fragment === 0 ? neighbour(body, route.source) : undefined
  return {text: isFragment ? `${text}, fragment at ${fragment}` : text, ip: withIdentity(route, fragment, body), ...(announces ? {announces} : {})}
}

function withIdentity(route: Omit<IpPart, 'identity' | 'ports'>, fragment: number, body: Buffer): IpPart {
  const hasPorts = (route.protocol === TCP || route.protocol === UDP) && fragment === 0 && body.length >= 4
  const ports = hasPorts ? {ports: {from: body.readUInt16BE(0), to: body.readUInt16BE(2)}} : {}
  const identity = sha256([route.source, route.destination, route.protocol, fragment, body.toString('latin1')].join(' '))
  return {...route, ...ports, identity}
}

/** Neighbour discovery (RFC 4861, 4.3 and 4.4): whose address is where, by its link-layer address option. */
function neighbour(body: Buffer, source: string): {address: string; mac: string} | undefined {
  const type = body[0]
  if ((type !== 135 && type !== 136) || body.length < 32) return undefined
  const option = type === 135 ? 1 : 2
  if (body[24] !== option || body[25] !== 1) return undefined
  const address = type === 135 ? source : address6(body, 8)
  return address === '::' ? undefined : {address, mac: mac(body, 26)}
}

function transportText(protocol: number, body: Buffer | undefined): string {
  const name = PROTOCOLS[protocol] ?? `protocol ${protocol}`
  if (!body || body.length < 4) return name
  if (protocol === ICMP6) return `${name} ${ICMP6_TYPES[body[0]!] ?? `type ${body[0]}`}`
  if (protocol !== TCP && protocol !== UDP) return name
  const ports = `${name} ${body.readUInt16BE(0)} > ${body.readUInt16BE(2)}`
  if (protocol === UDP || body.length < 20) return ports
  const flags = FLAGS.filter(([bit]) => (body[13]! & bit) !== 0).map(([, word]) => word)
  const data = body.length - (body[12]! >> 4) * 4
  return [ports, ...flags, ...(data > 0 ? [`${data} bytes`] : [])].join(' ')
}

function mac(bytes: Buffer, at: number): string {
  return [...bytes.subarray(at, at + 6)].map((byte) => byte.toString(16).padStart(2, '0')).join(':')
}

function address4(bytes: Buffer, at: number): string {
  return bytes.subarray(at, at + 4).join('.')
}

/** RFC 5952, as the URL standard writes it. */
function address6(bytes: Buffer, at: number): string {
  const groups = Array.from({length: 8}, (_, index) => bytes.readUInt16BE(at + index * 2).toString(16))
  return new URL(`http://[${groups.join(':')}]`).hostname.slice(1, -1)
}

/** Whether a frame is for more than one station. */
export function isGroup(address: string): boolean {
  return (Number.parseInt(address.slice(0, 2), 16) & 1) === 1
}

/** Whether a packet's address is one of a group: RFC 5771, RFC 4291. */
export function isGroupAddress(address: string): boolean {
  if (isIPv4(address)) return Number(address.split('.')[0]) >= 224
  return address.startsWith('ff')
}
