import {execa} from 'execa'
import {chmodSync, mkdirSync, writeFileSync} from 'node:fs'
import {lstat, readFile} from 'node:fs/promises'
import {dirname, join, relative} from 'node:path'
import {Transform} from 'node:stream'
import {pipeline} from 'node:stream/promises'
import {Parser, type ReadEntry} from 'tar'
import {type Context} from '../lib/context.js'
import {InputError, Interrupted, systemCode} from '../lib/errors.js'
import {sha256} from '../lib/hash.js'
import {dyingWithUs, lastLines} from '../lib/process.js'
import {checkPath, LIMIT, type Manifest, MANIFEST, parseManifest, refused, SIGNATURE, TOP} from './manifest.js'

/** A bundle whose manifest was read and whose files are as it says. */
export type Unpacked = {
  manifest: Manifest
  /** Where its files are. */
  folder: string
  /** The manifest's bytes, and their signature where it has one. */
  signed: {manifest: Buffer; signature: Buffer | undefined}
}

/** What tar adds to the files, and the manifest, in bytes. */
const OVERHEAD = LIMIT.manifest + LIMIT.files * 2048

/** What a bundle has before anything else; no other format that our reader would know begins so. */
const BEGINNING = Buffer.from(`${TOP}/${MANIFEST}\0`)

/**
 * Unpacks a bundle, which is a stranger's, into a new folder. It is read as a
 * stream and left at the first thing that is not as it has to be. Nothing is
 * written but plain files that the manifest, which comes first, has named, of
 * the size and SHA-256 that it gives.
 *
 * @param path an archive, or the folder where one was unpacked
 * @param into an empty folder
 * @throws InputError that says what is wrong with the bundle
 */
export async function unpackBundle(context: Context, path: string, into: string): Promise<Unpacked> {
  const about = await lstat(path)
  const taken: Taken = {into, files: new Map(), manifest: undefined, entries: 0}
  if (about.isDirectory()) await takeFolder(taken, path)
  else await takeArchive(context, taken, path)
  return whole(taken)
}

/** What has come of a bundle so far. */
type Taken = {into: string; manifest: Manifest | undefined; files: Map<string, Buffer | undefined>; entries: number}

type Entry = Pick<ReadEntry, 'path' | 'size'> & {type: string; mode?: number | undefined; linkpath?: string | undefined}

async function takeFolder(taken: Taken, folder: string): Promise<void> {
  const take = async (path: string) => {
    const place = join(folder, path)
    const about = await lstat(place).catch(() => undefined)
    if (!about) return
    const type = about.isFile() ? 'File' : about.isSymbolicLink() ? 'SymbolicLink' : about.isDirectory() ? 'Directory' : 'device'
    const name = admit(taken, {path: `${TOP}/${path}`, size: about.size, type, mode: about.mode})
    accept(taken, name, await readFile(place))
  }
  await take(MANIFEST)
  if (!taken.manifest) throw new InputError(`${folder} holds no ${MANIFEST}: it is no folder that a bundle was unpacked in`)
  for (const path of [SIGNATURE, ...Object.keys(taken.manifest.files)]) await take(path)
}

async function takeArchive(context: Context, taken: Taken, path: string): Promise<void> {
  const {size} = await lstat(path)
  if (size > LIMIT.archive) throw refused(`it has ${size} bytes, and ${LIMIT.archive} are the most`)
  const [program, words] = dyingWithUs('TERM', 'zstd', ['--decompress', '--stdout', '--quiet', '--memory=64MB', '--', path])
  const child = execa(program, words, {stdin: 'ignore', buffer: {stdout: false}, reject: false, cancelSignal: context.signal, maxBuffer: 10_000})
  let failure: unknown
  const fail = (error: unknown) => {
    failure ??= error
    child.stdout.destroy(failure as Error)
  }
  try {
    await pipeline(child.stdout, measured(), parserFor(taken, fail))
  } catch (error) {
    failure ??= error
    child.kill('SIGKILL')
  }
  const {exitCode, stderr} = await child
  if (context.signal.aborted) throw new Interrupted()
  if (failure === undefined && exitCode === 0) return
  if (failure instanceof InputError || systemCode(failure) === 'ENOSPC') throw failure
  const why = failure instanceof Error && exitCode !== 1 ? failure.message : lastLines(stderr, 1)
  throw refused(`it is no archive of a bundle, or a damaged one (${why.replace(/^.*?zstd: /, '').trim()})`)
}

/** Lets a tar stream of a bundle's size pass. */
function measured(): Transform {
  let bytes = 0
  let head = Buffer.alloc(0)
  return new Transform({
    transform(chunk: Buffer, _, done) {
      bytes += chunk.length
      if (head.length < BEGINNING.length) head = Buffer.concat([head, chunk])
      if (head.length >= BEGINNING.length && !head.subarray(0, BEGINNING.length).equals(BEGINNING)) return done(refused(`it does not begin with ${TOP}/${MANIFEST}`))
      if (bytes > LIMIT.bytes + OVERHEAD) return done(refused(`it unpacks to more than ${LIMIT.bytes + OVERHEAD} bytes`))
      done(null, chunk)
    },
  })
}

function parserFor(taken: Taken, fail: (error: unknown) => void): NodeJS.WritableStream {
  const guarded = (work: () => void) => {
    try {
      work()
    } catch (error) {
      fail(error)
    }
  }
  const parser = new Parser({strict: true})
  parser.on('ignoredEntry', (entry: ReadEntry) => guarded(() => void admit(taken, entry)))
  parser.on('entry', (entry: ReadEntry) => {
    guarded(() => {
      const path = admit(taken, entry)
      const chunks: Buffer[] = []
      entry.on('data', (chunk: Buffer) => void chunks.push(chunk))
      entry.on('end', () => guarded(() => accept(taken, path, Buffer.concat(chunks))))
    })
    entry.resume()
  })
  return parser as unknown as NodeJS.WritableStream
}

/** The path within a bundle of an entry that may be there; before any byte of it is kept. */
function admit(taken: Taken, {path, type, mode = 0o644, size, linkpath}: Entry): string {
  taken.entries += 1
  if (taken.entries > LIMIT.files + 2) throw refused(`it has more than ${LIMIT.files} files`)
  checkPath(path)
  if (type !== 'File') throw refused(`${path} is no plain file (${type}${linkpath ? ` to ${linkpath}` : ''})`)
  if ((mode & 0o7000) !== 0) throw refused(`${path} has set-uid, set-gid or sticky bits`)
  const name = relative(TOP, path)
  if (!path.startsWith(`${TOP}/`)) throw refused(`${path} is not in ${TOP}/`)
  if (taken.files.has(name)) throw refused(`${name} is in it twice`)
  const most = sizeOf(taken, name)
  if (size > most.size || (most.exact && size !== most.size)) throw refused(`${name} has ${size} bytes, and ${most.exact ? `the manifest says ${most.size}` : `${most.size} are the most`}`)
  taken.files.set(name, undefined)
  return name
}

/** How large a file may be. */
function sizeOf({manifest, files}: Taken, name: string): {size: number; exact: boolean} {
  if (name === MANIFEST) return {size: LIMIT.manifest, exact: false}
  if (!manifest) throw refused(`${name} comes before its manifest`)
  if (name === SIGNATURE && files.size === 1) return {size: LIMIT.signature, exact: false}
  const entry = Object.hasOwn(manifest.files, name) ? manifest.files[name] : undefined
  if (!entry) throw refused(`${name} is not in its manifest`)
  return {size: entry.size, exact: true}
}

/** Keeps a file that has come whole. */
function accept(taken: Taken, name: string, data: Buffer): void {
  if (name === MANIFEST || name === SIGNATURE) taken.files.set(name, data)
  if (name === MANIFEST) taken.manifest = parseManifest(data.toString('utf8'))
  const entry = taken.manifest!.files[name]
  if (entry && sha256(data) !== entry.sha256) throw refused(`${name} is not what its manifest says: its SHA-256 is another one`)
  const place = join(taken.into, name)
  mkdirSync(dirname(place), {recursive: true})
  writeFileSync(place, data, {flag: 'wx'})
  chmodSync(place, entry?.executable ? 0o755 : 0o644)
}

function whole({into, manifest, files}: Taken): Unpacked {
  if (!manifest) throw refused('it has no manifest')
  const missing = Object.keys(manifest.files).find((path) => !files.has(path))
  if (missing !== undefined) throw refused(`${missing} is in its manifest and not in it`)
  return {manifest, folder: into, signed: {manifest: files.get(MANIFEST)!, signature: files.get(SIGNATURE)}}
}
