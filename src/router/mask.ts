import {BlockList, isIPv4, isIPv6} from 'node:net'

/** What was masked so far, and how often; one for an archive, so that an address has the same name everywhere. */
export type Mask = {
  text: (text: string) => string
  count: () => {secrets: number; addresses: number}
}

/** Options of UCI whose value is a secret, or says whose line it is (PPPoE user names). */
const SECRET_NAMES = '\\w*(?:passw|secret|psk|private|preshared|token|auth|pincode|username|api_?key|wpakey|cookie)\\w*|key\\d?|pass|pin|pw|login'
/** A value of UCI: words in quotes and without, joined; quotes may go over lines. */
const UCI_VALUE = `(?:'[^']*'|"(?:\\\\[\\s\\S]|[^"\\\\])*"|\\\\[\\s\\S]|[^\\s'"\\\\])+`
const UCI_SECRET = new RegExp(`^([ \\t]*(?:option|list)[ \\t]+(['"]?)(?:${SECRET_NAMES})\\2[ \\t]+)${UCI_VALUE}`, 'gim')
/** Secrets that are known by their looks: PEM keys, and Curve25519 keys of WireGuard in base64. */
const PEM = /-----BEGIN [A-Z ]*PRIVATE KEY-----[\s\S]*?(?:-----END [A-Z ]*PRIVATE KEY-----|$)/g
const WIREGUARD = /(?<![\w+/=])[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]=(?![\w+/=])/g

const MASKED = 'MASKED'

/**
 * Takes secrets out of texts of a router, and public addresses where it is
 * asked for. Each public address is called by a number of its own, so that it
 * can be told apart; private ones, which say what is wrong, stay.
 */
export function createMask({addresses}: {addresses: boolean}): Mask {
  const names = new Map<string, string>()
  let secrets = 0
  const masked = (before = '') => {
    secrets += 1
    return `${before}${MASKED}`
  }
  const named = (address: string) => {
    const key = canonical(address)
    if (!names.has(key)) names.set(key, `public-${isIPv4(address) ? 4 : 6}-${names.size + 1}`)
    return names.get(key)!
  }
  return {
    text(text) {
      const kept = text
        .replace(UCI_SECRET, (_, before: string) => masked(`${before}'`) + "'")
        .replace(PEM, () => masked())
        .replace(WIREGUARD, () => masked())
      return addresses ? maskAddresses(kept, named) : kept
    },
    count: () => ({secrets, addresses: names.size}),
  }
}

const V4 = /(?<![\w.])\d{1,3}(?:\.\d{1,3}){3}(?!\w)/g
const V6 = /(?<![\w:])(?:[\da-f]{0,4}:){2,7}(?:\d{1,3}(?:\.\d{1,3}){3}|[\da-f]{0,4})(?![\w:])/gi

function maskAddresses(text: string, named: (address: string) => string): string {
  const replace = (is: (text: string) => boolean) => (word: string) => {
    // tcpdump ends an address with a colon.
    const address = is(word) ? word : word.replace(/:$/, '')
    return is(address) && isPublic(address) ? named(address) + word.slice(address.length) : word
  }
  return text.replace(V6, replace(isIPv6)).replace(V4, replace(isIPv4))
}

/** Addresses that name no line of anybody's: RFC 6890 and what is like it. */
const SPECIAL = new BlockList()
const SPECIAL_V4 = [
  ...['0.0.0.0/8', '10.0.0.0/8', '100.64.0.0/10', '127.0.0.0/8', '169.254.0.0/16', '172.16.0.0/12', '192.0.0.0/24', '192.0.2.0/24'],
  ...['192.168.0.0/16', '198.18.0.0/15', '198.51.100.0/24', '203.0.113.0/24', '224.0.0.0/3'],
]
const SPECIAL_V6 = ['::/127', 'fc00::/7', 'fe80::/10', 'fec0::/10', 'ff00::/8', '2001:db8::/32']
for (const [type, networks] of [['ipv4', SPECIAL_V4], ['ipv6', SPECIAL_V6]] as const) {
  for (const network of networks) {
    const [address, bits] = network.split('/') as [string, string]
    SPECIAL.addSubnet(address, Number(bits), type)
  }
}

function isPublic(address: string): boolean {
  return !SPECIAL.check(address, isIPv4(address) ? 'ipv4' : 'ipv6')
}

/** conntrack writes IPv6 addresses in full, ip(8) in short. */
function canonical(address: string): string {
  return isIPv4(address) ? address : new URL(`http://[${address}]`).hostname
}
