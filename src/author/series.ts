import {mkdir, rm} from 'node:fs/promises'
import {type Case} from '../case/case.js'
import {git} from '../lib/git.js'
import {formatPatches} from './mails.js'
import {commitTree, workTreeOf} from './snapshot.js'
import {type Editing} from './worktree.js'

/** The case with the series that a worktree has now, uncommitted work as one more patch, written into a folder. */
export async function withWork(signal: AbortSignal, one: Case, {tree, base, candidate, line}: Editing, into: string): Promise<Case> {
  const {head, tree: work} = await workTreeOf(signal, tree.directory)
  const {stdout: committed} = await git(tree.directory, ['rev-parse', `${head}^{tree}`], {signal})
  const tip = committed.trim() === work ? head : await commitTree(signal, tree.directory, work, head, 'work that is not committed')
  await rm(into, {recursive: true, force: true})
  await mkdir(into, {recursive: true})
  await formatPatches(signal, tree.directory, {base, tip, into, words: ['--zero-commit', '--no-signature']})
  const candidates = one.candidates.map((own) => (own.name === candidate ? {...own, series: {...own.series, [line]: into}} : own))
  return {...one, candidates}
}
