import {access, realpath, stat} from 'node:fs/promises'
import {resolve} from 'node:path'
import {InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'

/** A git repository of the user's. Nothing here changes it. */
export type Tree = {
  /** The top of its work tree; the repository itself where it is bare. */
  directory: string
  bare: boolean
  /** The repository that all its worktrees share. */
  common: string
}

export type Entry = {mode: string; oid: string}

/**
 * The git tree at a folder.
 *
 * @param option with which the user named it
 * @throws InputError when there is none that git would work in
 */
export async function openTree(signal: AbortSignal, path: string, option = '--git'): Promise<Tree> {
  if (path === '') throw new InputError(`${option} is empty: name the folder of a git tree`)
  const folder = resolve(path)
  const found = await stat(folder).catch(() => undefined)
  if (!found?.isDirectory()) throw new InputError(`${option} ${path} is not a folder: name the folder of a git tree`)
  const asked = await git(folder, ['rev-parse', '--is-bare-repository', '--git-common-dir'], {signal, allowedExits: [0, 128]})
  if (asked.exitCode !== 0) {
    const why = asked.stderr.split('\n').find((line) => line.startsWith('fatal: '))?.slice('fatal: '.length) ?? 'git does not say why'
    const [, owned] = /safe\.directory (.+)$/m.exec(asked.stderr) ?? []
    if (why.includes('dubious ownership')) {
      const remedy = `git config --global --add safe.directory ${owned ?? folder}`
      throw new InputError(`${option} ${path} belongs to another user, and git takes no tree of another's: '${remedy}' says that you trust it`)
    }
    throw new InputError(`${option} ${path} is not a git tree that can be used (${why}): name the folder of one`)
  }
  const [bare, common = ''] = asked.stdout.split('\n')
  if (bare === 'true') return {directory: folder, bare: true, common: await realpath(resolve(folder, common))}
  const top = await git(folder, ['rev-parse', '--show-toplevel'], {signal, allowedExits: [0, 128]})
  if (top.exitCode !== 0) throw new InputError(`${option} ${path} is inside a .git folder: name the tree that it belongs to`)
  return {directory: top.stdout, bare: false, common: await realpath(resolve(folder, common))}
}

/** The commit that a name stands for. */
export async function resolveCommit(signal: AbortSignal, tree: Tree, revision: string): Promise<string> {
  const words = ['rev-parse', '--verify', '--quiet', '--end-of-options', `${revision}^{commit}`]
  const {stdout, exitCode} = await git(tree.directory, words, {signal, allowedExits: [0, 1, 128]})
  if (exitCode === 0) return stdout.trim()
  if (revision === 'HEAD') throw new InputError(`${tree.directory} has no commit yet: there is nothing that a series could apply to`)
  throw new InputError(`--base ${revision} is no commit in ${tree.directory}: name a branch, a tag or a hash that 'git log' shows there`)
}

/** Whether the repository at a folder has a commit of this hash. */
export async function hasCommit(signal: AbortSignal, folder: string, hash: string): Promise<boolean> {
  const {exitCode} = await git(folder, ['cat-file', '-e', `${hash}^{commit}`], {signal, allowedExits: [0, 1, 128]})
  return exitCode === 0
}

/** What a commit has at some paths; folders may be left out of the answer. */
export async function entriesOf(signal: AbortSignal, folder: string, commit: string, paths: readonly string[]): Promise<Map<string, Entry>> {
  const entries = new Map<string, Entry>()
  const wanted = [...new Set(paths)]
  // A command line has an end.
  for (let at = 0; at < wanted.length; at += 200) {
    const {stdout} = await git(folder, ['ls-tree', '-z', '--full-tree', commit, '--', ...wanted.slice(at, at + 200)], {signal})
    for (const record of stdout.split('\0').filter(Boolean)) {
      const [, mode, oid, path] = /^(\d+) \w+ (\w+)\t(.*)$/s.exec(record) ?? []
      if (mode && oid && path !== undefined) entries.set(path, {mode, oid})
    }
  }
  return entries
}

/** The text of a blob, to its last byte. */
export async function readBlob(signal: AbortSignal, folder: string, oid: string): Promise<string> {
  // Batch mode ends the blob with a newline of its own, which is the one that `run` takes off.
  const {stdout} = await git(folder, ['cat-file', '--batch'], {signal, input: `${oid}\n`})
  return stdout.slice(stdout.indexOf('\n') + 1)
}

/** Work that git has begun in a tree and that the user has yet to end; undefined where there is none. */
export async function unfinishedWork(signal: AbortSignal, tree: Tree): Promise<string | undefined> {
  const works = {
    'rebase-apply/applying': 'git am',
    'rebase-apply': 'git rebase',
    'rebase-merge': 'git rebase',
    MERGE_HEAD: 'git merge',
    CHERRY_PICK_HEAD: 'git cherry-pick',
    REVERT_HEAD: 'git revert',
  }
  for (const [name, work] of Object.entries(works)) {
    const {stdout} = await git(tree.directory, ['rev-parse', '--git-path', name], {signal})
    const there = await access(resolve(tree.directory, stdout)).then(
      () => true,
      () => false,
    )
    if (there) return work
  }
  return undefined
}
