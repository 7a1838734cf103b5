import {copyFile, mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join, resolve} from 'node:path'
import {git} from '../lib/git.js'
import {NOBODY} from '../tree/am.js'

/** Commits of ours that are squashed or thrown away. */
export const OURS = {...NOBODY, GIT_AUTHOR_NAME: NOBODY.GIT_COMMITTER_NAME, GIT_AUTHOR_EMAIL: NOBODY.GIT_COMMITTER_EMAIL}

/** A work tree as it is now. */
export type WorkTree = {head: string; /** git's name for the tree of its tracked files. */ tree: string}

/** The tracked files of a work tree as a tree of git's; the user's index stays as it is. */
export async function workTreeOf(signal: AbortSignal, folder: string): Promise<WorkTree> {
  const {stdout: head} = await git(folder, ['rev-parse', '--verify', 'HEAD'], {signal})
  const {stdout: path} = await git(folder, ['rev-parse', '--git-path', 'index'], {signal})
  const tree = await withIndex(async (index) => {
    // Its copy knows the times of the files: unchanged ones are not read.
    await copyFile(resolve(folder, path.trim()), index)
    const env = {GIT_INDEX_FILE: index}
    await git(folder, ['add', '--update', '.'], {signal, env})
    return (await git(folder, ['write-tree'], {signal, env})).stdout.trim()
  })
  return {head: head.trim(), tree}
}

/** Gives work the path of an index of its own. */
export async function withIndex<T>(work: (index: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp(join(tmpdir(), 'patchbench-index-'))
  try {
    return await work(join(folder, 'index'))
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

/** A commit of a tree on another commit. */
export async function commitTree(signal: AbortSignal, folder: string, tree: string, parent: string, message: string): Promise<string> {
  return (await git(folder, ['commit-tree', tree, '-p', parent, '-m', message], {signal, env: OURS}, ['commit.gpgSign=false'])).stdout.trim()
}
