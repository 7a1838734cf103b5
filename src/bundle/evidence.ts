import {readdir, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type RunRecord} from '../run/record.js'

/** How much of one file is shipped, in bytes. */
const MOST = 64 << 10

/** What is told of a file that was cut. */
const CUT = (left: number) => `\n... patchbench bundle left out ${left} bytes here ...\n`

/** A file of a bundle. */
export type Content = {path: string; data: Buffer; executable?: boolean}

/**
 * The evidence of a run that is small enough to ship: all KTAP; of the first
 * repeats the kernel logs, tables, traces and the beginning of captures as well.
 *
 * @param clean takes what this machine is called out of a text
 */
export async function evidenceOf(folder: string, {targets}: RunRecord, clean: (text: string) => string): Promise<Content[]> {
  const found: Content[] = []
  for (const target of targets) {
    const own = join(target.case, target.kernel.replaceAll(' ', '-'))
    const entries = await readdir(join(folder, own), {recursive: true, withFileTypes: true}).catch(() => [])
    for (const entry of entries.filter((one) => one.isFile())) {
      const place = join(entry.parentPath, entry.name)
      const path = place.slice(folder.length + 1)
      const session = path.split('/')[2] ?? ''
      if (entry.name !== 'ktap' && !isFirst(session)) continue
      const data = shipped(entry.name, await readFile(place), clean)
      if (data) found.push({path: join('evidence', path), data})
    }
  }
  return found
}

/** Of a session's folder: NAME-1 is the first repeat, and selftests have no number. */
function isFirst(session: string): boolean {
  return !/-\d+$/.test(session) || session.endsWith('-1')
}

function shipped(name: string, data: Buffer, clean: (text: string) => string): Buffer | undefined {
  if (name.endsWith('.pcap')) return cutCapture(data)
  // What is neither text nor a capture, nobody reads in a bundle.
  if (data.includes(0)) return undefined
  return Buffer.from(cutText(clean(data.toString('utf8'))))
}

/** The first and the last lines of a text that is too long: a kernel log tells at its end what went wrong. */
export function cutText(text: string): string {
  if (text.length <= MOST) return text
  const head = text.slice(0, text.lastIndexOf('\n', MOST / 2) + 1)
  const tail = text.slice(text.indexOf('\n', text.length - MOST / 2) + 1)
  return `${head}${CUT(text.length - head.length - tail.length)}${tail}`
}

/** The first packets of a capture that is too long; it is whole again (pcap-savefile(5)). */
export function cutCapture(data: Buffer): Buffer {
  if (data.length <= MOST) return data
  const magic = data.readUInt32LE(0)
  const little = magic === 0xa1b2c3d4 || magic === 0xa1b23c4d
  let end = 24
  while (end + 16 <= data.length) {
    const length = little ? data.readUInt32LE(end + 8) : data.readUInt32BE(end + 8)
    if (end + 16 + length > Math.min(MOST, data.length)) break
    end += 16 + length
  }
  return data.subarray(0, end)
}
