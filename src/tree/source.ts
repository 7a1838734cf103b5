import {stat} from 'node:fs/promises'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {packagedSource} from './distribution.js'
import {type Kind, recognise} from './kinds.js'
import {isRemote, remoteSource} from './remote.js'
import {tarballSource} from './tarball.js'
import {openTree, resolveCommit, type Tree} from './tree.js'

export {checkOut} from './checkout.js'

/** A source tree at a commit of a git repository. */
export type Source = {
  tree: Kind
  /** As shown to users: `linux 6.12.117`. */
  label: string
  /** Of linux what its Makefile says; of others `git describe`. */
  version: string
  /** `6.12`; empty where the tree is not linux. */
  line: string
  /** The repository, and in it the base commit and its tree. */
  directory: string
  commit: string
  treeHash: string
  /** What it was taken from, for reports: a package with version and checksum, a commit, a tarball's checksum. */
  origin: Record<string, string>
}

export type WantedSource = {
  tree: Kind
  /** A kernel line, of the distribution. */
  line?: string | undefined
  /** A git folder, a git URL or a tarball. */
  from?: string | undefined
  /** A revision of the git folder or URL. */
  base?: string | undefined
  /** With which option the user named a folder, if not --source. */
  option?: string | undefined
  /** Asks the archive or the URL anew. */
  refresh?: boolean | undefined
}

/** Where a tree was found, before it is known to be one of its kind. */
type Found = Pick<Source, 'directory' | 'commit' | 'origin'> & {where: string}

/**
 * The tree that is wanted, in a repository that withWorktree may work on.
 *
 * @throws InputError when there is none, or one of another kind
 */
export async function sourceTree(context: Context, wanted: WantedSource): Promise<Source> {
  const {signal} = context
  const {where, directory, commit, origin} = await find(context, wanted)
  const {version, line} = await recognise(signal, wanted.tree, directory, commit, where)
  const {stdout: treeHash} = await git(directory, ['rev-parse', '--verify', `${commit}^{tree}`], {signal})
  return {tree: wanted.tree, label: `${wanted.tree} ${version}`, version, line, directory, commit, treeHash, origin}
}

async function find(context: Context, wanted: WantedSource): Promise<Found> {
  const {tree, line, from, base, refresh = false} = wanted
  if (from !== undefined) return await findFrom(context, from, base, {refresh, option: wanted.option ?? '--source'})
  if (tree !== 'linux') throw new InputError(`the distribution has no source of ${tree}: name a clone, a URL or a tarball`)
  if (line === undefined) throw new InputError('no source is named: name a kernel line, a git folder, a URL or a tarball')
  if (base !== undefined) throw new InputError(`--base ${base}: the distribution's source of ${line} has no history to choose from: leave --base out`)
  const {package: one, directory, commit} = await packagedSource(context, line, refresh)
  return {where: `${one.name} ${one.version}`, directory, commit, origin: {[one.name]: `${one.version} sha256:${one.sha256}`}}
}

async function findFrom(context: Context, from: string, base: string | undefined, {refresh, option}: {refresh: boolean; option: string}): Promise<Found> {
  const found = await stat(from).catch(() => undefined)
  if (!found && isRemote(from)) return await fromUrl(context, from, base, refresh)
  if (!found) throw new InputError(`--source ${from} is not there: name a kernel line like 6.12, a git folder, a URL or a tarball`)
  if (found.isDirectory()) return await fromFolder(context, from, base, option)
  if (base !== undefined) throw new InputError(`--base ${base}: a tarball has no history to choose from: leave --base out`)
  const {directory, commit, sha256} = await tarballSource(context, from)
  return {where: `--source ${from}`, directory, commit, origin: {tarball: `sha256:${sha256}`}}
}

async function fromUrl(context: Context, url: string, base: string | undefined, refresh: boolean): Promise<Found> {
  const {directory, commit, shown} = await remoteSource(context, url, base, refresh)
  return {where: `--source ${shown}`, directory, commit, origin: {git: commit, url: shown}}
}

async function fromFolder(context: Context, folder: string, base = 'HEAD', option: string): Promise<Found> {
  const tree = await openTree(context.signal, folder, option)
  const commit = await resolveCommit(context.signal, tree, base)
  if (await isChanged(context.signal, tree)) context.progress(`${tree.directory} has changes that are not committed: they are not part of what is used`)
  return {where: `${option} ${folder}`, directory: tree.directory, commit, origin: {git: commit}}
}

async function isChanged(signal: AbortSignal, tree: Tree): Promise<boolean> {
  if (tree.bare) return false
  const {stdout} = await git(tree.directory, ['status', '--porcelain', '--untracked-files=no', '--ignore-submodules'], {signal})
  return stdout !== ''
}
