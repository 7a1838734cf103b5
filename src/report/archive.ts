import {stat} from 'node:fs/promises'
import {list, type ReadEntry} from 'tar'
import {InputError} from '../lib/errors.js'

/** What a file of an archive may hold, and all of it, in bytes. */
const LIMIT = {file: 16 << 20, all: 128 << 20}

/**
 * The texts of an archive that `router collect` made, by name below router/.
 *
 * @throws InputError when it is none
 */
export async function readRouterArchive(path: string): Promise<Map<string, string>> {
  if (!(await stat(path).catch(() => undefined))?.isFile()) throw new InputError(`--router ${path} is no file: name what 'router collect' wrote`)
  const texts = new Map<string, string>()
  let size = 0
  const take = (entry: ReadEntry) => {
    const name = /^router\/([\w./-]+)$/.exec(entry.path)?.[1]
    size += entry.size
    if (name === undefined || entry.type !== 'File' || entry.size > LIMIT.file || size > LIMIT.all) return entry.resume()
    const chunks: Buffer[] = []
    entry.on('data', (chunk: Buffer) => chunks.push(chunk))
    entry.on('end', () => texts.set(name, Buffer.concat(chunks).toString('utf8')))
    return undefined
  }
  await list({file: path, strict: true, onReadEntry: (entry) => void take(entry)}).catch(() => {})
  if (!texts.has('manifest.json')) throw new InputError(`--router ${path} is no archive of 'router collect': it has no router/manifest.json`)
  return texts
}
