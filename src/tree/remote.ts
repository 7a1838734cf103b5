import {readdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {git} from '../lib/git.js'
import {keyOf} from '../lib/hash.js'
import {withLock} from '../lib/lock.js'
import {initialise} from './pristine.js'

/** What git may be asked to speak; others (`ext::`) run programs. */
const PROTOCOLS = ['https', 'http', 'git', 'ssh', 'file']

/** A server that says nothing for a minute is given up. */
const IMPATIENT = ['http.lowSpeedLimit=1', 'http.lowSpeedTime=60', 'fetch.writeCommitGraph=false', 'fetch.recurseSubmodules=false']

/** Whether a text is meant as the address of a repository elsewhere. */
export function isRemote(text: string): boolean {
  return /^[\w+.-]+:/.test(text) || /^[\w.-]+@[\w.-]+:/.test(text)
}

/**
 * A revision of a repository elsewhere, without its history, in a repository
 * of the cache. What was fetched once is kept until a refresh.
 *
 * @param base a branch, a tag or a full hash; the default branch where there is none
 */
export async function remoteSource(
  context: Context,
  url: string,
  base: string | undefined,
  refresh: boolean,
): Promise<{directory: string; commit: string; shown: string}> {
  checkUrl(url)
  if (base !== undefined) checkRevision(base)
  const directory = join(context.cache, 'repositories', `${keyOf({url})}.git`)
  const wanted: Wanted = {url, shown: withoutPassword(url), revision: base ?? 'HEAD', ref: `refs/patchbench/${keyOf(base ?? 'HEAD')}`}
  const wait = () => context.progress(`waiting: another patchbench fetches from ${wanted.shown}`)
  return await withLock(`${directory}.lock`, context.signal, async () => {
    const kept = refresh ? undefined : await commitOf(context.signal, directory, wanted)
    if (kept === undefined) await fetch(context, directory, wanted)
    const commit = kept ?? (await commitOf(context.signal, directory, wanted))
    if (commit === undefined) throw new InputError(`--base ${wanted.revision} is no commit in ${wanted.shown}`)
    return {directory, commit, shown: wanted.shown}
  }, wait)
}

type Wanted = {url: string; /** As it may be printed. */ shown: string; revision: string; /** Where it is kept. */ ref: string}

function checkUrl(url: string): void {
  const protocol = /^([\w+.-]+):\/\//.exec(url)?.[1]?.toLowerCase()
  // What begins like an option, a transport helper (ext::) or a host, git would take for one.
  const plain = protocol === undefined ? /^[\w.-]+@\w[\w.-]*:(?!:)[^:]/.test(url) : PROTOCOLS.includes(protocol) && /^\w+:\/\/[^-]/.test(url)
  if (plain && !url.startsWith('-') && !/[\s\u0000-\u001f]/.test(url)) return
  throw new InputError(`--source ${url} is no address that is fetched from: it begins with ${PROTOCOLS.map((one) => `${one}://`).join(', ')} or user@host:`)
}

/** What git would take for an option, a pattern or more than one. */
function checkRevision(revision: string): void {
  if (/^[\w][\w./+-]*$/.test(revision) && !revision.includes('..')) return
  throw new InputError(`--base ${revision} is not fetched from a URL: name a branch, a tag or a full hash`)
}

function withoutPassword(url: string): string {
  return url.replace(/^(\w+:\/\/[^/@:]*):[^/@]*@/, '$1@')
}

async function commitOf(signal: AbortSignal, directory: string, {ref}: Wanted): Promise<string | undefined> {
  const words = [`--git-dir=${directory}`, 'rev-parse', '--verify', '--quiet', `${ref}^{commit}`]
  const {stdout, exitCode} = await git('/', words, {signal, allowedExits: [0, 1, 128]})
  return exitCode === 0 ? stdout : undefined
}

async function fetch(context: Context, directory: string, {url, shown, revision, ref}: Wanted): Promise<void> {
  const {signal} = context
  context.progress(`fetching ${revision} from ${shown}`)
  await makeFolder(directory)
  await initialise(signal, directory)
  await removeLeftovers(directory, ref)
  const words = ['fetch', '--quiet', '--depth=1', '--no-tags', '--no-write-fetch-head', '--', url, `+${revision}:${ref}`]
  const env = {GIT_ALLOW_PROTOCOL: PROTOCOLS.join(':')}
  const {exitCode, all} = await git(directory, words, {signal, env, allowedExits: 'any'}, IMPATIENT)
  if (exitCode === 0) return
  if (all.includes('No space left on device')) throw new CouldNotRun('git fetch found the disk full: free some space', all)
  if (/couldn't find remote ref|not our ref|unadvertised object/i.test(all)) {
    throw new InputError(`--base ${revision} is not in ${shown}: name a branch, a tag or a full hash that is there`)
  }
  throw new CouldNotRun(`${shown} could not be fetched from: a local clone can be named instead`, all)
}

/** What a fetch that was killed leaves in the way of the next; the lock is ours. */
async function removeLeftovers(directory: string, ref: string): Promise<void> {
  const packs = join(directory, 'objects/pack')
  const unfinished = (await readdir(packs).catch(() => [])).filter((name) => name.startsWith('tmp_')).map((name) => join(packs, name))
  for (const path of [...unfinished, join(directory, 'shallow.lock'), join(directory, `${ref}.lock`)]) await rm(path, {force: true})
}
