import {chmod, cp, lstat, mkdir, mkdtemp, readdir, readFile, realpath, rename, rm, symlink, writeFile} from 'node:fs/promises'
import {dirname, join, resolve} from 'node:path'
import {type Case} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {git} from '../lib/git.js'
import {AS_IT_IS} from '../tree/checkout.js'
import {openTree, type Tree} from '../tree/tree.js'
import {NEUTRAL} from '../tree/worktree.js'

/** A series that is being worked on in a folder of git's. */
export type Editing = {
  tree: Tree
  candidate: string
  /** The kernel line whose series it is. */
  line: string
  /** The commit that the series starts from. */
  base: string
}

/** The file in the folder's git directory that says whose series it is. */
const STATE = 'patchbench.json'

/** Where a case's series is worked on: a folder beside the case, or a link to one that the user named. */
export function placeOf({directory}: Pick<Case, 'directory'>): string {
  return `${directory}.edit`
}

/**
 * The work on a case's series; undefined where nobody edits it.
 *
 * @throws InputError when what stands in the place is something else
 */
export async function editingOf(signal: AbortSignal, one: Case): Promise<Editing | undefined> {
  const place = placeOf(one)
  if (!(await lstat(place).catch(() => undefined))) return undefined
  const folder = await realpath(place).catch(() => undefined)
  if (folder === undefined) throw new InputError(`${place} leads nowhere: the folder that '${one.name}' was edited in is gone; remove the link, and 'patchbench edit' again`)
  const tree = await openTree(signal, folder, `the folder of 'patchbench edit',`)
  const text = await readFile(await statePath(signal, tree.directory), 'utf8').catch(() => undefined)
  if (text === undefined) throw new InputError(`${place} was not made by 'patchbench edit': move it away`)
  const {candidate, line, base} = JSON.parse(text) as Omit<Editing, 'tree'>
  return {tree, candidate, line, base}
}

/** What is to be checked out, and where. */
export type Checkout = {
  one: Case
  candidate: string
  line: string
  /** The folder, absolute. */
  folder: string
  /** The repository, its base, and the commit that the series ends in there. */
  from: {directory: string; base: string; tip: string}
  /** Whether the repository is the user's own, and gets a worktree and a branch. */
  isOwn: boolean
}

/** Checks a series out for its author, all of it or nothing; the branch that it is on. */
export async function checkOutSeries(context: Context, checkout: Checkout): Promise<string> {
  const {one, folder, isOwn} = checkout
  const place = placeOf(one)
  for (const path of new Set([place, folder])) {
    if (await lstat(path).catch(() => undefined)) throw new InputError(`${path} is there already: 'patchbench commit ${one.name}' takes the work in it; remove it to begin anew`)
  }
  await makeFolder(dirname(folder))
  const branch = isOwn ? await addWorktree(context, checkout) : await ownRepository(context, checkout)
  if (folder !== place) await symlink(folder, place)
  return branch
}

async function addWorktree({signal, progress}: Context, {one, candidate, line, folder, from}: Checkout): Promise<string> {
  const branch = `patchbench/${one.name}-${candidate}-${line}`
  const there = await git(from.directory, ['rev-parse', '--verify', '--quiet', `refs/heads/${branch}`], {signal, allowedExits: [0, 1]})
  if (there.exitCode === 0) throw new InputError(`${from.directory} has a branch ${branch} already: rename it, or 'git branch -D' it if nothing of it is needed`)
  progress(`checking out ${branch}`)
  try {
    await git(from.directory, ['worktree', 'add', '--quiet', '-b', branch, folder, from.tip], {signal})
    await writeState(signal, folder, {candidate, line, base: from.base})
  } catch (error) {
    const {signal: calm} = new AbortController()
    await git(from.directory, ['worktree', 'remove', '--force', folder], {signal: calm, allowedExits: 'any'})
    await git(from.directory, ['branch', '--quiet', '-D', branch], {signal: calm, allowedExits: 'any'})
    throw error
  }
  return branch
}

/** A repository that needs no other: the cache may be deleted at any time, and what the user writes may not go with it. */
async function ownRepository({signal, progress}: Context, {candidate, line, folder, from}: Checkout): Promise<string> {
  const partial = await mkdtemp(`${folder}.`)
  try {
    await git(partial, ['init', '--quiet', '--template=', `--initial-branch=${candidate}`, '.'], {signal})
    const own = join(partial, '.git')
    await mkdir(join(own, 'info'))
    await writeFile(join(own, 'info/attributes'), AS_IT_IS)
    progress('copying the history')
    for (const objects of await objectFolders(signal, from.directory)) await copyPacks(join(objects, 'pack'), join(own, 'objects/pack'))
    // What came by git am is loose in the cache's repository.
    await git(from.directory, ['pack-objects', '--quiet', '--revs', '--unpacked', join(own, 'objects/pack/pack')], {signal, input: `${from.tip}\n`})
    for (const [name, commit] of [['tags/base', from.base], [`heads/${candidate}`, from.tip]]) await git(partial, ['update-ref', `refs/${name}`, commit!], {signal})
    progress('checking out the files')
    await git(partial, ['reset', '--quiet', '--hard'], {signal}, [...NEUTRAL, 'core.sparseCheckout=false'])
    await writeState(signal, partial, {candidate, line, base: from.base})
    // mkdtemp's folder is for its owner alone.
    await chmod(partial, 0o777 & ~process.umask())
    await rename(partial, folder)
  } finally {
    await rm(partial, {recursive: true, force: true})
  }
  return candidate
}

/** Where a repository's objects are: its own folder, and those that it borrows from. */
async function objectFolders(signal: AbortSignal, directory: string): Promise<string[]> {
  const {stdout} = await git(directory, ['rev-parse', '--git-path', 'objects'], {signal})
  const own = resolve(directory, stdout.trim())
  const borrowed = await readFile(join(own, 'info/alternates'), 'utf8').catch(() => '')
  return [own, ...borrowed.split('\n').filter(Boolean).map((path) => resolve(own, path))]
}

async function copyPacks(from: string, to: string): Promise<void> {
  for (const name of await readdir(from).catch(() => [])) {
    if (/\.(?:pack|idx)$/.test(name)) await cp(join(from, name), join(to, name), {recursive: true})
  }
}

async function statePath(signal: AbortSignal, folder: string): Promise<string> {
  const {stdout} = await git(folder, ['rev-parse', '--git-path', STATE], {signal})
  return resolve(folder, stdout.trim())
}

async function writeState(signal: AbortSignal, folder: string, state: Omit<Editing, 'tree'>): Promise<void> {
  await writeFile(await statePath(signal, folder), `${JSON.stringify({schema: 1, ...state}, null, 2)}\n`)
}
