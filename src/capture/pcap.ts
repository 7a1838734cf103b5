/** A frame of a capture. */
export type Frame = {/** Since the epoch, in us. */ time: number; bytes: Buffer}

/** How many frames of one file are read: what a report draws is the first few of them. */
const MOST = 50_000
const HEADER = 24
const RECORD = 16
/** LINKTYPE_ETHERNET */
const ETHERNET = 1

/** A file's first word, whichever way round its machine wrote it, and how many parts of a second make a microsecond. */
const MAGIC: Record<number, number> = {0xa1b2c3d4: 1, 0xa1b23c4d: 1000}

/**
 * The Ethernet frames of a pcap file (pcap-savefile(5)), as far as the file is
 * whole; none where it is no such file. Its content is a guest's, and hostile.
 */
export function readPcap(file: Buffer): Frame[] {
  if (file.length < HEADER) return []
  const little = MAGIC[file.readUInt32LE(0)] !== undefined
  const number = (at: number) => (little ? file.readUInt32LE(at) : file.readUInt32BE(at))
  const perMicro = MAGIC[number(0)]
  if (perMicro === undefined || (number(20) & 0xffff) !== ETHERNET) return []
  const frames: Frame[] = []
  let at = HEADER
  while (at + RECORD <= file.length && frames.length < MOST) {
    const [start, length] = [at + RECORD, number(at + 8)]
    if (start + length > file.length) break
    frames.push({time: number(at) * 1_000_000 + Math.floor(number(at + 4) / perMicro), bytes: file.subarray(start, start + length)})
    at = start + length
  }
  return frames
}
