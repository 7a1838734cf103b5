import {lstat} from 'node:fs/promises'
import {join} from 'node:path'
import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {type Tree, unfinishedWork} from './tree.js'

/** The branch that a series is to be applied on, and where it was when it was asked for. */
export type Branch = {name: string; commit: string}

/**
 * The checked-out branch, ready for a series.
 *
 * @throws InputError when there is none, or something on it that is not committed
 */
export async function readyBranch(signal: AbortSignal, tree: Tree, base: string): Promise<Branch> {
  if (tree.bare) throw new InputError(`--in-place: ${tree.directory} is a bare repository without a checked-out branch: leave --in-place out`)
  const work = await unfinishedWork(signal, tree)
  if (work) throw new InputError(`--in-place: a ${work} is in progress in ${tree.directory}: end it with '${work} --continue' or '${work} --abort'`)
  // With the user's own settings: they decide what counts as changed.
  const {stdout: changes} = await git(tree.directory, ['status', '--porcelain', '-z', '--untracked-files=no'], {signal})
  if (changes !== '') {
    const path = changes.split('\0')[0]!.slice(3)
    throw new InputError(`--in-place: ${tree.directory} has changes that are not committed (${path}): commit them or 'git stash' them first`)
  }
  const branch = await current(signal, tree)
  if (branch.name === '') throw new InputError(`--in-place: no branch is checked out in ${tree.directory}: 'git switch' to one, or leave --in-place out`)
  if (branch.commit !== base) throw new InputError(`--in-place applies on the checked-out branch, whose commit is not --base: leave --base out, or 'git switch' to it`)
  return branch
}

/**
 * Moves the checked-out branch, its index and its files to a commit that was
 * built on it elsewhere; where something is in the way, all stays as it is.
 */
export async function moveBranch(signal: AbortSignal, tree: Tree, branch: Branch, commit: string): Promise<void> {
  const now = await current(signal, tree)
  if (now.name !== branch.name || now.commit !== branch.commit) {
    throw new InputError(`--in-place: ${tree.directory} was switched or committed to in the meantime: start again`)
  }
  // A merge that is refused leaves an ORIG_HEAD: ask first. What .gitignore names git would overwrite unasked.
  const covered = await coveredFile(signal, tree, branch.commit, commit)
  if (covered !== undefined) throw inTheWay(tree, `'${covered}' would be overwritten`)
  // read-tree takes a file for changed whose times are not those of the index, as in a copied tree.
  await git(tree.directory, ['update-index', '-q', '--refresh'], {signal, allowedExits: [0, 1]})
  const asked = await git(tree.directory, ['read-tree', '-n', '-m', '-u', branch.commit, commit], {signal, allowedExits: [0, 128]})
  if (asked.exitCode !== 0) throw inTheWay(tree, asked.stderr)
  const settings = ['merge.verifySignatures=false', 'merge.autoStash=false', 'commit.gpgSign=false']
  const words = ['merge', '--quiet', '--ff-only', '--no-autostash', '--no-overwrite-ignore', commit]
  const merged = await git(tree.directory, words, {signal, allowedExits: [0, 1, 2, 128]}, settings)
  if (merged.exitCode !== 0) throw inTheWay(tree, merged.stderr)
}

/** A file of the user's that is not in git and stands where the new commit has one. */
async function coveredFile(signal: AbortSignal, tree: Tree, before: string, after: string): Promise<string | undefined> {
  const {stdout} = await git(tree.directory, ['diff-tree', '-r', '-z', '--no-renames', '--diff-filter=A', '--name-only', before, after], {signal})
  for (const path of stdout.split('\0').filter(Boolean)) {
    const found = await lstat(join(tree.directory, path)).catch(() => undefined)
    if (found && !found.isDirectory()) return path
  }
  return undefined
}

function inTheWay(tree: Tree, stderr: string): InputError {
  const [, path] = /'(.+)' would be (?:overwritten|removed)/.exec(stderr) ?? /^\t(.+)$/m.exec(stderr) ?? []
  const what = path ? `the file ${path}, which is not committed, is in the way: move it` : `git says: ${stderr.trim().split('\n')[0] ?? ''}`
  return new InputError(`--in-place: the series applies, but not over what is in ${tree.directory}; ${what}`)
}

async function current(signal: AbortSignal, tree: Tree): Promise<Branch> {
  const name = await git(tree.directory, ['symbolic-ref', '--quiet', 'HEAD'], {signal, allowedExits: [0, 1]})
  const commit = await git(tree.directory, ['rev-parse', '--verify', 'HEAD'], {signal})
  return {name: name.stdout, commit: commit.stdout}
}
