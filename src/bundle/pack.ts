import {chmod, mkdir, mkdtemp, rename, rm, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {create} from 'tar'
import {type Context} from '../lib/context.js'
import {InputError, systemCode} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {run} from '../lib/process.js'
import {type Content} from './evidence.js'
import {MANIFEST, SIGNATURE, TOP} from './manifest.js'

/** The end of 1980, which no file system finds odd; no time of the author's. */
const TIME = new Date('1980-12-31T00:00:00Z')

/** zstd's: 19 takes ten times as long for a tenth less. */
const LEVEL = 12

/** Gives the detached signature of a file's content. */
export type Sign = (file: string) => Promise<Buffer>

/**
 * Writes a bundle. The same contents are the same bytes with the same zstd:
 * order, times, owners and modes are fixed, and nothing is compressed in
 * threads. (The program zstd, and no library: Node has it since 22.15 only,
 * the ones for older Nodes hold all of an archive in memory or are binaries.)
 */
export async function packBundle(context: Context, contents: readonly Content[], manifest: string, output: string, sign?: Sign): Promise<void> {
  const home = join(context.cache, 'scratch')
  await makeFolder(home)
  const scratch = await mkdtemp(join(home, 'bundle-'))
  try {
    const top = join(scratch, TOP)
    await put(top, {path: MANIFEST, data: Buffer.from(manifest)})
    const signature = await sign?.(join(top, MANIFEST))
    if (signature) await put(top, {path: SIGNATURE, data: signature})
    for (const content of contents) await put(top, content)
    const paths = contents.map(({path}) => path).sort(byBytes)
    const archive = join(scratch, 'bundle.tar')
    const options = {cwd: scratch, file: archive, portable: true, mtime: TIME, noDirRecurse: true, strict: true}
    await create(options, [MANIFEST, ...(signature ? [SIGNATURE] : []), ...paths].map((path) => join(TOP, path)))
    context.progress('compressing')
    await run('zstd', ['--quiet', '--force', `-${LEVEL}`, '--single-thread', '--check', '-o', join(scratch, 'bundle.tar.zst'), archive], {signal: context.signal})
    await moveTo(join(scratch, 'bundle.tar.zst'), output, context)
  } finally {
    await rm(scratch, {recursive: true, force: true})
  }
}

/** The order of LC_ALL=C: that of a language is another one elsewhere. */
export function byBytes(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a), Buffer.from(b))
}

async function put(top: string, {path, data, executable}: Content): Promise<void> {
  const place = join(top, path)
  await mkdir(dirname(place), {recursive: true})
  await writeFile(place, data, {flag: 'wx'})
  await chmod(place, executable ? 0o755 : 0o644)
}

/** Puts a file in its place, all of it or nothing. */
async function moveTo(file: string, output: string, context: Context): Promise<void> {
  const partial = `${output}.${process.pid}.partial`
  try {
    // The cache may be on another disk.
    await run('cp', ['--no-preserve=all', '--', file, partial], {signal: context.signal})
    await rename(partial, output)
  } catch (error) {
    await rm(partial, {force: true})
    if (systemCode(error) === 'EISDIR') throw new InputError(`--output ${output} is a folder: name a file`)
    throw error
  }
}
