/** One packet of a capture. */
export type Packet = {/** Since the epoch, in us. */ time: number; /** tcpdump's words, on one line and without its time. */ text: string}

/**
 * The packets of a capture: when, from the file itself (pcap-savefile(5), made
 * on a little-endian machine), and what, from tcpdump's text beside it.
 */
export function packetsOf(pcap: Buffer, text: string): Packet[] {
  const times = packetTimes(pcap)
  const words = packetTexts(text)
  return times.map((time, index) => ({time, text: words[index] ?? ''}))
}

/** The times of a pcap file's packets, in us since the epoch; as far as the file is whole. */
export function packetTimes(pcap: Buffer): number[] {
  if (pcap.length < 24) return []
  const magic = pcap.readUInt32LE(0)
  if (magic !== 0xa1b23c4d && magic !== 0xa1b2c3d4) return []
  const perMicro = magic === 0xa1b23c4d ? 1000 : 1
  const times: number[] = []
  for (let at = 24; at + 16 <= pcap.length; at += 16 + pcap.readUInt32LE(at + 8)) {
    times.push(pcap.readUInt32LE(at) * 1_000_000 + Math.floor(pcap.readUInt32LE(at + 4) / perMicro))
  }
  return times
}

/** Each packet's text: a line that begins with a time, and those below it that do not. */
function packetTexts(text: string): string[] {
  const packets: string[] = []
  for (const line of text.split('\n')) {
    const start = /^\d\d:\d\d:\d\d\.\d+ (.*)$/.exec(line)
    if (start) packets.push(start[1]!)
    else if (packets.length > 0 && line.trim() !== '') packets[packets.length - 1] += ` ${line.trim()}`
  }
  return packets
}
