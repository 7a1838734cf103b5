import {Interrupted} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {entriesOf} from './tree.js'

/** A path that never was there costs a walk through the whole history: how long all of them may take, in ms. */
export type Patience = {left: number}

/** How often a file may have been renamed. */
const MOST = 8

/** What a file that is not in a commit was renamed to; undefined when it was not, or not found out in time. */
export async function renamedTo(signal: AbortSignal, folder: string, commit: string, path: string, patience: Patience): Promise<string | undefined> {
  if (patience.left <= 0) return undefined
  const began = Date.now()
  const bounded = AbortSignal.any([signal, AbortSignal.timeout(patience.left)])
  try {
    let name = path
    for (let times = 0; times < MOST; times += 1) {
      const next = await nextName(bounded, folder, commit, name)
      if (next === undefined) return undefined
      name = next
      if ((await entriesOf(bounded, folder, commit, [name])).has(name)) return name
    }
  } catch (error) {
    if (!(error instanceof Interrupted) && !bounded.aborted) throw error
    signal.throwIfAborted()
  } finally {
    patience.left -= Date.now() - began
  }
  return undefined
}

/** The new name that the last commit which touched a path gave it. */
async function nextName(signal: AbortSignal, folder: string, commit: string, path: string): Promise<string | undefined> {
  const {stdout: last} = await git(folder, ['rev-list', '-1', commit, '--', path], {signal})
  if (last === '') return undefined
  const words = ['diff-tree', '-r', '-z', '-M', '-l2000', '--no-commit-id', '--diff-filter=R', '--name-status', last]
  const {stdout} = await git(folder, words, {signal})
  const [, ...names] = stdout.split('\0')
  // STATUS OLD NEW, again and again.
  for (let at = 0; at + 1 < names.length; at += 3) if (names[at] === path) return names[at + 1]
  return undefined
}
