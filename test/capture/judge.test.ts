import {readFile} from 'node:fs/promises'
import {describe, expect, it} from 'vitest'
import {choose, excerpt} from '../../src/capture/excerpt.js'
import {judge, type Judged} from '../../src/capture/judge.js'
import {type Packet, readPacket} from '../../src/capture/packet.js'
import {readPcap} from '../../src/capture/pcap.js'
import {capture} from '../support/run.js'

async function packets(name: string): Promise<Packet[]> {
  return readPcap(await readFile(capture(name))).flatMap((frame) => readPacket(frame) ?? [])
}

const judged = async (name: string): Promise<Judged[]> => judge(await packets(name))

describe('a capture', () => {
  it('is read with its times, addresses and TTLs', async () => {
    const [first, second] = await packets('ipmr-base')
    expect(first).toMatchObject({from: '02:00:00:00:00:01', to: '01:00:5e:01:01:01', text: 'UDP 1 > 5001', ip: {source: '192.0.2.9', destination: '239.1.1.1', ttl: 5}})
    expect(new Date(first!.time / 1000).toISOString()).toBe('2026-11-20T11:07:34.649Z')
    expect(second!.time - first!.time).toBe(1732)
  })

  it('is read as far as it is whole, and not at all where it is none', async () => {
    const whole = await readFile(capture('ipmr-base'))
    for (const length of [0, 10, 24, 30, 41, 90, 130, 200, 300, whole.length]) {
      expect(readPcap(whole.subarray(0, length))).toHaveLength(Math.max(0, Math.floor((length - 24) / 67)))
    }
    expect(readPcap(Buffer.from('no capture at all, but longer than a header'))).toEqual([])
    const claimsMuch = Buffer.from(whole)
    claimsMuch.writeUInt32LE(0xffffffff, 24 + 8)
    expect(readPcap(claimsMuch)).toEqual([])
  })

  it('may hold frames that are cut anywhere', async () => {
    for (const name of ['ipmr-base', 'flowtable-base', 'vrf-base']) {
      for (const {time, bytes} of readPcap(await readFile(capture(name)))) {
        for (let length = 0; length < bytes.length; length++) expect(() => readPacket({time, bytes: bytes.subarray(0, length)})).not.toThrow()
      }
    }
  })

  it('tells TCP flags, and who has an address', async () => {
    expect((await packets('vrf-base')).filter(({ip}) => ip?.protocol === 6).slice(0, 2).map(({text}) => text)).toEqual([expect.stringMatching(/^TCP \d+ > 2000 SYN$/), expect.stringMatching(/^TCP 2000 > \d+ RST ACK$/)])
    const announced = (await packets('flowtable-base')).flatMap(({announces}) => announces ?? [])
    expect(announced).toContainEqual({address: '10.0.0.2', mac: '02:00:00:00:01:01'})
  })
})

describe('right and wrong in a capture', () => {
  it('is a TTL by how often the packet came by', async () => {
    expect((await judged('ipmr-base')).map(({ip, hops, right}) => [ip!.ttl, hops, right])).toEqual([[5, 0, true], [4, 1, true], [3, 2, false], [2, 3, false], [1, 4, false]])
    expect((await judged('ipmr-fixed')).map(({right}) => right)).toEqual([true, true])
  })

  it('does not depend on the order in which copies come by', async () => {
    const seen = (await judged('ipmr-local-base')).map(({ip, right}) => [ip!.ttl, right])
    expect(seen).toEqual([[4, true], [3, false], [2, false], [1, false], [5, true]])
  })

  it('is a MAC address by who said last that the address is there', async () => {
    const replies = (await judged('flowtable-base')).filter(({ip}) => ip?.ports?.from === 53)
    const wrong = replies.filter(({right}) => right === false)
    expect(wrong.length).toBe(9)
    expect(wrong[0]).toMatchObject({to: '02:00:00:00:01:00', mac: {right: false, expected: '02:00:00:00:01:01'}})
    expect(replies.slice(0, 3).map(({right}) => right)).toEqual([true, true, true])
    expect((await judged('flowtable-fixed')).filter(({right}) => right === false)).toEqual([])
  })

  it('is nothing where nobody said', async () => {
    expect((await judged('vrf-base')).map(({right}) => right)).not.toContain(false)
  })

  it('takes the same packet sent again for another one', async () => {
    const [first] = await packets('ipmr-base')
    expect(judge([first!, first!]).map(({hops}) => hops)).toEqual([undefined, undefined])
  })
})

describe('an excerpt', () => {
  it('is the whole of a short capture', async () => {
    const all = await judged('ipmr-base')
    expect(choose(all)).toBeUndefined()
    expect(excerpt(all, undefined)).toMatchObject({packets: all, before: 0, after: 0, total: 5})
  })

  it('of a long one is the conversation that goes wrong, and the same packets of another run', async () => {
    const base = await judged('flowtable-base')
    const choice = choose(base)
    const [before, after] = [excerpt(base, choice), excerpt(await judged('flowtable-fixed'), choice)]
    expect(before).toMatchObject({conversation: 'UDP 10.0.0.2 port 20000 and 198.51.100.53 port 53', before: 11, after: 8, wrongAfter: 4})
    expect(before.packets.filter(({right}) => right === false)).toHaveLength(5)
    expect(before.packets.map(({text}) => text)).toContain('ARP: 10.0.0.2 is at 02:00:00:00:01:01')
    expect(after.packets.map(({text}) => text)).toEqual(before.packets.map(({text}) => text))
    expect(after.wrongAfter).toBe(0)
  })

  it('of TCP is the refused connection, whichever port it has in another run', async () => {
    const choice = choose(await judged('vrf-base'))
    const fixed = excerpt(await judged('vrf-fixed'), choice)
    expect(fixed.packets.slice(0, 3).map(({text}) => text.replace(/\d{5}/, 'N'))).toEqual(['TCP N > 2000 SYN', 'TCP 2000 > N SYN ACK', 'TCP N > 2000 ACK'])
  })

  it('is empty where there is none of it', () => {
    expect(excerpt([], {conversation: 'a and b', loosely: 'a', addresses: [], from: 3})).toMatchObject({packets: [], before: 0, after: 0, total: 0})
  })
})
