import {lstat, mkdir, readdir, readFile, rename, rm, utimes, writeFile} from 'node:fs/promises'
import {homedir} from 'node:os'
import {join, relative, resolve} from 'node:path'
import {type Context} from './context.js'
import {CouldNotRun, InputError, systemCode} from './errors.js'
import {sha256File} from './hash.js'
import {withLock} from './lock.js'

/** A finished artefact: a folder that is never written to again. */
export type Artefact = {
  directory: string
  /** SHA-256 by path of the artefact's files, as they were made. */
  files: Record<string, string>
}

type Manifest = {inputs: unknown; files: Record<string, FileSeal>}
type FileSeal = {sha256: string; stat: string}

const MANIFEST = 'manifest.json'
const PARTIAL = '.partial'

/**
 * Where artefacts are kept: $PATCHBENCH_CACHE, else the XDG cache folder.
 *
 * @throws InputError when the kernel's build system could not work in it
 */
export function cacheDirectory(env: NodeJS.ProcessEnv = process.env): string {
  const path = env.PATCHBENCH_CACHE || join(env.XDG_CACHE_HOME || join(homedir(), '.cache'), 'patchbench')
  const [odd] = /[^\w@%+=./~-]/.exec(path) ?? []
  if (odd === undefined) return resolve(path)
  throw new InputError(`the cache ${path} has '${odd}' in its path, where modules cannot be built: set PATCHBENCH_CACHE to a plain one`)
}

/**
 * The artefact of a kind with this key: taken from the cache when it is there
 * and whole, else made. It is made in a folder beside its place and renamed
 * when complete, under a lock, so that a kill at any moment leaves either
 * nothing or all of it, and concurrent runs make it once.
 *
 * @param kind a room of the cache, such as `module`
 * @param key from keyOf(inputs)
 * @param inputs what the key was made of, kept for the reader of the manifest
 * @param make writes the artefact's files into the folder that it is given
 * @param counts which files are kept under a checksum, by path; all of them where it is left out
 */
export async function artefact(
  context: Context,
  kind: string,
  key: string,
  inputs: unknown,
  make: (directory: string) => Promise<void>,
  counts: (path: string) => boolean = () => true,
): Promise<Artefact> {
  const directory = join(context.cache, kind, key)
  const present = await open(directory)
  if (present) return present
  const wait = () => context.progress(`waiting: this ${kind} is being made already`)
  return withLock(`${directory}.lock`, context.signal, async () => await build(context, kind, directory, {inputs, make, counts}), wait)
}

async function build(
  context: Context,
  kind: string,
  directory: string,
  {inputs, make, counts}: {inputs: unknown; make: (directory: string) => Promise<void>; counts: (path: string) => boolean},
): Promise<Artefact> {
  const madeMeanwhile = await open(directory)
  if (madeMeanwhile) return madeMeanwhile
  if (await exists(directory)) context.progress(`a cached ${kind} was damaged and is made anew`)
  const partial = `${directory}${PARTIAL}`
  try {
    await rm(directory, {recursive: true, force: true})
    await rm(partial, {recursive: true, force: true})
    await mkdir(partial, {recursive: true})
    await make(partial)
    const manifest: Manifest = {inputs, files: await seal(partial, counts)}
    await writeFile(join(partial, MANIFEST), JSON.stringify(manifest, null, 1))
    await rename(partial, directory)
    return {directory, files: checksums(manifest)}
  } catch (error) {
    await rm(partial, {recursive: true, force: true})
    if (systemCode(error) === 'ENOSPC') {
      throw new CouldNotRun(`the disk that holds ${context.cache} is full: free some space or set PATCHBENCH_CACHE to a larger disk`)
    }
    throw error
  }
}

/** Forgets an artefact that turned out to be unusable in spite of its checksum. */
export async function forget(context: Context, kind: string, key: string): Promise<void> {
  const directory = join(context.cache, kind, key)
  await withLock(`${directory}.lock`, context.signal, async () => {
    for (const place of [directory, `${directory}${PARTIAL}`]) await rm(place, {recursive: true, force: true})
  })
}

async function open(directory: string): Promise<Artefact | undefined> {
  const manifest = await readManifest(directory)
  if (!manifest) return undefined
  await noteUse(directory)
  for (const [path, {sha256, stat}] of Object.entries(manifest.files)) {
    const file = join(directory, path)
    const now = await identity(file)
    if (now === undefined) return undefined
    // As git's index does: an unchanged inode, size and ctime mean unchanged
    // bytes; only after a copy or a touch is the file read again.
    if (now !== stat && (await sha256File(file)) !== sha256) return undefined
  }
  return {directory, files: checksums(manifest)}
}

/** The manifest's own time is when the artefact was last wanted. */
async function noteUse(directory: string): Promise<void> {
  const now = new Date()
  // A cache that somebody else owns is good enough for reading.
  await utimes(join(directory, MANIFEST), now, now).catch(() => {})
}

/** An artefact as it lies in the cache. */
export type Kept = {
  /** Its room, such as `snapshot`. */
  kind: string
  key: string
  /** What it takes of the disk. */
  bytes: number
  /** When it was made or last taken. */
  used: Date
}

/** All artefacts of the cache, the largest first. What else is there, such as package lists, is small or a user's work. */
export async function keptArtefacts({cache, signal}: Context): Promise<Kept[]> {
  const kept: Kept[] = []
  for (const kind of await foldersIn(cache)) {
    for (const name of await foldersIn(join(cache, kind))) {
      signal.throwIfAborted()
      const directory = join(cache, kind, name)
      // What was begun and never ended, by a kill, has no manifest.
      const isPartial = name.endsWith(PARTIAL)
      const used = await lstat(isPartial ? directory : join(directory, MANIFEST)).then(({mtime}) => mtime, () => undefined)
      if (used) kept.push({kind, key: isPartial ? name.slice(0, -PARTIAL.length) : name, bytes: await diskUse(directory), used})
    }
  }
  return kept.sort((one, other) => other.bytes - one.bytes)
}

async function foldersIn(directory: string): Promise<string[]> {
  const entries = await readdir(directory, {withFileTypes: true}).catch(() => [])
  return entries.filter((entry) => entry.isDirectory()).map(({name}) => name)
}

/** As du(1) counts: blocks, so that a sparse image is not larger than it is. Files may go while it is counted. */
async function diskUse(directory: string): Promise<number> {
  let bytes = 0
  for (const entry of await readdir(directory, {recursive: true, withFileTypes: true}).catch(() => [])) {
    bytes += await lstat(join(entry.parentPath, entry.name)).then(({blocks}) => blocks * 512, () => 0)
  }
  return bytes
}

async function readManifest(directory: string): Promise<Manifest | undefined> {
  try {
    const manifest = JSON.parse(await readFile(join(directory, MANIFEST), 'utf8')) as Partial<Manifest>
    return manifest.files ? {inputs: manifest.inputs, files: manifest.files} : undefined
  } catch {
    return undefined
  }
}

function checksums(manifest: Manifest): Record<string, string> {
  return Object.fromEntries(Object.entries(manifest.files).map(([path, {sha256}]) => [path, sha256]))
}

async function seal(directory: string, counts: (path: string) => boolean): Promise<Record<string, FileSeal>> {
  const files: Record<string, FileSeal> = {}
  for (const entry of await readdir(directory, {recursive: true, withFileTypes: true})) {
    const path = join(entry.parentPath, entry.name)
    if (!entry.isFile() || !counts(relative(directory, path))) continue
    files[relative(directory, path)] = {sha256: await sha256File(path), stat: (await identity(path)) ?? ''}
  }
  return files
}

async function identity(path: string): Promise<string | undefined> {
  try {
    const {ino, size, mtimeNs, ctimeNs} = await lstat(path, {bigint: true})
    return `${ino} ${size} ${mtimeNs} ${ctimeNs}`
  } catch {
    return undefined
  }
}

async function exists(path: string): Promise<boolean> {
  return (await identity(path)) !== undefined
}
