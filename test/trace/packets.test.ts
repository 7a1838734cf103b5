import {describe, expect, it} from 'vitest'
import {packetsOf, packetTimes} from '../../src/trace/packets.js'

/** A pcap file by hand: packets of two bytes at these times. */
function pcap(times: [seconds: number, fraction: number][], magic = 0xa1b23c4d): Buffer {
  const header = Buffer.alloc(24)
  header.writeUInt32LE(magic, 0)
  const packets = times.map(([seconds, fraction]) => {
    const packet = Buffer.alloc(18)
    for (const [index, value] of [seconds, fraction, 2, 2].entries()) packet.writeUInt32LE(value, index * 4)
    return packet
  })
  return Buffer.concat([header, ...packets])
}

describe("a capture's packets", () => {
  it('have the times of the file and the words of tcpdump', () => {
    const text = '12:00:00.000001 a > b, IPv4 (ttl 5)\n    1.2.3.4 > 5.6.7.8: UDP\n12:00:01.5 c > d\n'
    expect(packetsOf(pcap([[7, 1999], [8, 5_000_000]]), text)).toEqual([
      {time: 7_000_001, text: 'a > b, IPv4 (ttl 5) 1.2.3.4 > 5.6.7.8: UDP'},
      {time: 8_005_000, text: 'c > d'},
    ])
  })

  it('have times in us as well as in ns', () => {
    expect(packetTimes(pcap([[7, 1999]], 0xa1b2c3d4))).toEqual([7_001_999])
  })

  it('are there without words where tcpdump had none', () => {
    expect(packetsOf(pcap([[7, 0]]), '')).toEqual([{time: 7_000_000, text: ''}])
  })

  it.each([
    ['empty', Buffer.alloc(0)],
    ['no capture', Buffer.alloc(100, 'x')],
    ['a header alone', pcap([])],
    ['cut in a packet header', pcap([[7, 0]]).subarray(0, 30)],
  ])('are none of a file that is %s', (_, file) => {
    expect(packetTimes(file)).toEqual([])
  })
})
