import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {packagedSource} from './distribution.js'
import {type Kind, recognise} from './kinds.js'

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
  if (wanted.line !== undefined && wanted.tree === 'linux') return await fromDistribution(context, wanted.line, wanted.refresh)
  throw new InputError(`the distribution has no source of ${wanted.tree}: name a clone, a URL or a tarball`)
}

async function fromDistribution(context: Context, line: string, refresh = false): Promise<Found> {
  const {package: one, directory, commit} = await packagedSource(context, line, refresh)
  return {where: `${one.name} ${one.version}`, directory, commit, origin: {[one.name]: `${one.version} sha256:${one.sha256}`}}
}
