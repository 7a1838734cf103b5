import {Readable} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {extract} from 'tar'

/** What a guest may send at most: it runs code under test and is not trusted. */
const LIMIT = {bytes: 256 << 20, files: 10_000}
const HEADER = 256

/**
 * Reads the evidence from a guest (a line with the size, then a tar archive)
 * and unpacks plain files and folders of it, nothing else and nowhere else.
 */
export async function readEvidence(stream: Readable, folder: string): Promise<void> {
  const chunks = stream[Symbol.asyncIterator]() as AsyncIterator<Buffer>
  const {size, rest} = await readHeader(chunks)
  let files = 0
  const unpack = extract({
    cwd: folder,
    strict: true,
    preserveOwner: false,
    noMtime: true,
    filter: (_, entry) => {
      files += 1
      if (files > LIMIT.files || !('type' in entry) || (entry.type !== 'File' && entry.type !== 'Directory')) return false
      // No set-uid bits: these files belong to the user of this host.
      entry.mode = (entry.mode ?? 0o644) & 0o777
      return true
    },
  })
  await pipeline(Readable.from(exactly(size, rest, chunks)), unpack)
  if (files > LIMIT.files) throw new Error(`the guest sent ${files} files of evidence, and ${LIMIT.files} are the most`)
}

async function readHeader(chunks: AsyncIterator<Buffer>): Promise<{size: number; rest: Buffer}> {
  let head = Buffer.alloc(0)
  while (!head.includes(0x0a) && head.length < HEADER) {
    const {value, done} = await chunks.next()
    if (done) throw new Error('the guest sent no evidence')
    head = Buffer.concat([head, value as Buffer])
  }
  const end = head.indexOf(0x0a)
  const size = announcedSize(head.toString('utf8', 0, Math.max(end, 0)))
  if (size === undefined) throw new Error('what the guest sent is no evidence: its first line has no size')
  if (size > LIMIT.bytes) throw new Error(`the guest announced ${size} bytes of evidence, and ${LIMIT.bytes} are the most`)
  return {size, rest: head.subarray(end + 1)}
}

function announcedSize(line: string): number | undefined {
  try {
    const {size} = JSON.parse(line) as {size: unknown}
    return typeof size === 'number' && size >= 0 ? size : undefined
  } catch {
    return undefined
  }
}

async function* exactly(size: number, first: Buffer, chunks: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  let left = size
  let chunk = first
  while (true) {
    const part = chunk.subarray(0, left)
    if (part.length > 0) yield part
    left -= part.length
    if (left === 0) return
    const next = await chunks.next()
    if (next.done) throw new Error(`the guest's evidence ended ${left} bytes early`)
    chunk = next.value as Buffer
  }
}
