import {mkdir, rm, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {type Context} from '../lib/context.js'
import {git} from '../lib/git.js'
import {makeFolder} from '../lib/files.js'
import {keyOf} from '../lib/hash.js'
import {withLock} from '../lib/lock.js'
import {type Tree} from './tree.js'

/** What the user's own settings would do to a patch, and what git would ask or run. */
export const NEUTRAL = [
  ...['commit.gpgSign=false', 'core.autocrlf=false', 'core.safecrlf=false', 'core.attributesFile=/dev/null', 'i18n.commitEncoding=UTF-8'],
  ...['am.messageid=false', 'mailinfo.scissors=false', 'apply.ignoreWhitespace=no', 'apply.whitespace=nowarn'],
  ...['rerere.enabled=false', 'core.untrackedCache=false', 'index.sparse=false', 'core.splitIndex=false'],
  ...['core.sparseCheckout=true', 'core.sparseCheckoutCone=false'],
]

/**
 * Gives work a throw-away worktree of the user's tree, and removes it
 * afterwards, however the work ends. Only the files that matter are checked
 * out: a kernel has eighty thousand.
 *
 * A worktree that a killed run left behind is removed by the next one: its
 * place is known and under a lock, which died with its owner.
 */
export async function withWorktree<T>(
  context: Context,
  tree: Tree,
  commit: string,
  paths: readonly string[],
  work: (folder: string) => Promise<T>,
): Promise<T> {
  const home = join(context.cache, 'worktrees', keyOf(tree.common))
  const folder = join(home, 'patchbench')
  await makeFolder(home)
  const wait = () => context.progress(`waiting: another patchbench works on ${tree.directory}`)
  const locked = async () => {
    await removeWorktree(tree, folder)
    try {
      await addWorktree(context.signal, tree, folder, commit, paths)
      return await work(folder)
    } finally {
      await removeWorktree(tree, folder)
    }
  }
  return await withLock(`${home}.lock`, context.signal, locked, wait)
}

async function addWorktree(signal: AbortSignal, tree: Tree, folder: string, commit: string, paths: readonly string[]): Promise<void> {
  await git(tree.directory, ['worktree', 'add', '--no-checkout', '--detach', folder, commit], {signal}, NEUTRAL)
  const {stdout: patterns} = await git(folder, ['rev-parse', '--path-format=absolute', '--git-path', 'info/sparse-checkout'], {signal})
  await mkdir(dirname(patterns), {recursive: true})
  // What a pattern cannot say is matched by a wildcard: more files do no harm.
  const lines = paths.map((path) => `/${path.replace(/[\s\\*?[\]!#]/g, '?')}\n`)
  await writeFile(patterns, lines.join(''))
  await git(folder, ['read-tree', '-m', '-u', commit], {signal}, NEUTRAL)
}

/** Works without the user's signal: what was begun is cleaned up after Ctrl-C as well. */
async function removeWorktree(tree: Tree, folder: string): Promise<void> {
  const {signal} = new AbortController()
  // Twice forced: one that was killed while it was made is locked. Never `git worktree prune`, it would
  // also forget worktrees of the user's that are on a disk which is not there now.
  await git(tree.directory, ['worktree', 'remove', '--force', '--force', folder], {signal, allowedExits: 'any'})
  await rm(folder, {recursive: true, force: true})
}
