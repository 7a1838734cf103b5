import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Candidate, type Case, candidateOf} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {readSeries} from '../series/series.js'
import {ownIdentity} from '../tree/am.js'
import {entriesOf, readBlob, type Tree, unfinishedWork} from '../tree/tree.js'
import {NEUTRAL, withWorktree} from '../tree/worktree.js'
import {attribute, type Change, changesBetween, type Commit, commitsBetween, patchOf, withHunks} from './attribute.js'
import {replaceSeries} from './replace.js'
import {commitTree, OURS, withIndex, workTreeOf} from './snapshot.js'
import {type Editing, editingOf, placeOf} from './worktree.js'

/** What became of the work on a series. */
export type Committed = {
  candidate: string
  line: string
  folder: string
  /** Each change, and the patch that has it now. */
  changes: {path: string; line: number; patch: string}[]
  patches: string[]
  /** Files that git does not know, which are no part of the series. */
  untracked: string[]
  /** The folder of the series, and whether it differs from before. */
  series: string
  changed: boolean
}

/**
 * Turns the work in a case's worktree into its series again: what is not
 * committed goes into the patches that it belongs to, and the series is written
 * anew. The user's branch moves only when all of that has been done elsewhere.
 *
 * @param wanted the patch that takes every change; by the lines that they touch where it is left out
 * @throws InputError when a change belongs nowhere, or does not fit where it belongs
 */
export async function commitWork(context: Context, one: Case, wanted: string | undefined): Promise<Committed> {
  const {signal} = context
  const editing = await editingOf(signal, one)
  if (!editing) throw new InputError(`nobody edits '${one.name}': 'patchbench edit ${one.name}' checks its series out at ${placeOf(one)}`)
  const {tree, base, line} = editing
  const folder = tree.directory
  const candidate = candidateOf(one, editing.candidate)
  await checkReady(signal, editing)
  const {head, tree: work} = await workTreeOf(signal, folder)
  const commits = await commitsBetween(signal, folder, base, head)
  if (commits.length === 0) throw new InputError(`${folder} has no commit on top of its base ${base.slice(0, 12)}: commit the first patch there`)
  const {changes, tip} = await absorbed(context, editing, commits, {head, work}, wanted)
  const path = seriesPath(candidate, line)
  // Once the branch moves the series has to follow: from there on an interruption comes too late, and nothing is left half done.
  const whole = new AbortController().signal
  const changed = await replaceSeries(signal, {folder, base, tip, path}, async () => {
    signal.throwIfAborted()
    if (tip !== head) await moveHead(whole, folder, head, tip)
  })
  const now = await readSeries(whole, [path])
  return {
    ...{candidate: candidate.name, line, folder, series: path, changed},
    changes: changes.map((change) => ({path: change.path, line: change.line, patch: change.patch.subject})),
    patches: now.patches.map(({title}) => title),
    untracked: await untrackedIn(whole, folder),
  }
}

function seriesPath({name, series}: Candidate, line: string): string {
  const path = series[line]
  if (path === undefined) throw new InputError(`candidate ${name} has no series for ${line} any more, only for ${Object.keys(series).join(', ')}`)
  return path
}

async function checkReady(signal: AbortSignal, {tree, base}: Editing): Promise<void> {
  const work = await unfinishedWork(signal, tree)
  if (work) throw new InputError(`a ${work} is in progress in ${tree.directory}: end it with '${work} --continue' or '${work} --abort'`)
  const {exitCode} = await git(tree.directory, ['merge-base', '--is-ancestor', base, 'HEAD'], {signal, allowedExits: [0, 1, 128]})
  if (exitCode !== 0) throw new InputError(`${tree.directory} is not on top of ${base.slice(0, 12)}, which it was checked out on: rebase it onto that, or remove it and 'patchbench edit' on another --base`)
  const {stdout: merge} = await git(tree.directory, ['rev-list', '--merges', '--max-count=1', `${base}..HEAD`], {signal})
  if (merge !== '') throw new InputError(`${tree.directory} has the merge ${merge.slice(0, 12)} in it, which no series can have: rebase it first`)
}

type State = {head: string; work: string}

/** The tip of the series with the changes in it; head itself where there are none. */
async function absorbed(context: Context, {tree, base}: Editing, commits: readonly Commit[], {head, work}: State, wanted: string | undefined): Promise<{changes: Change[]; tip: string}> {
  const {signal} = context
  const folder = tree.directory
  // A patch that is not there is told whether anything changed or not.
  const named = wanted === undefined ? undefined : patchOf(commits, wanted)
  const {stdout: committed} = await git(folder, ['rev-parse', `${head}^{tree}`], {signal})
  const fixups = await unsquashed(signal, folder, base, head)
  if (committed.trim() === work && !fixups) return {changes: [], tip: head}
  const files = await changesBetween(signal, folder, committed.trim(), work)
  const changes = named === undefined ? await attribute(signal, folder, commits, {base, tip: head}, files) : byName(files, named)
  const chain = await fixupChain(signal, folder, changes, {head, work})
  const paths = await pathsBetween(signal, folder, base, chain)
  const tip = await squashed(context, tree, {base, chain, paths})
  const {stdout: after} = await git(folder, ['rev-parse', `${tip}^{tree}`], {signal})
  if (after.trim() !== work) throw new CouldNotRun(`the changes in ${folder} could not be put into the series as they are: commit them there by hand; nothing was changed`)
  return {changes, tip}
}

/** Whether the author made fixup commits in the worktree, for which autosquash is there. */
async function unsquashed(signal: AbortSignal, folder: string, base: string, head: string): Promise<boolean> {
  const {stdout} = await git(folder, ['log', '--format=%s', `${base}..${head}`], {signal})
  return /^(?:fixup|squash|amend)! /m.test(stdout)
}

function byName(files: Awaited<ReturnType<typeof changesBetween>>, patch: Commit): Change[] {
  return files.map(({path, hunks}) => ({path, line: hunks[0]?.oldStart ?? 0, patch}))
}

/** A fixup commit for every patch that takes changes, one after another on head. */
async function fixupChain(signal: AbortSignal, folder: string, changes: readonly Change[], {head, work}: State): Promise<string> {
  const patches = [...new Map(changes.map(({patch}) => [patch.hash, patch])).values()]
  let tip = head
  for (const [index, patch] of patches.entries()) {
    const taken = new Set(patches.slice(0, index + 1).map(({hash}) => hash))
    // The last one has what is in the work tree, to the byte.
    const tree = index === patches.length - 1 ? work : await partOf(signal, folder, changes.filter((change) => taken.has(change.patch.hash)), {head, work})
    tip = await commitTree(signal, folder, tree, tip, `fixup! ${patch.hash}`)
  }
  return tip
}

/** The tree of head with some of the changes. */
async function partOf(signal: AbortSignal, folder: string, changes: readonly Change[], {head, work}: State): Promise<string> {
  const paths = [...new Set(changes.map(({path}) => path))]
  const [before, after] = [await entriesOf(signal, folder, head, paths), await entriesOf(signal, folder, work, paths)]
  return await withIndex(async (index) => {
    const env = {GIT_INDEX_FILE: index}
    await git(folder, ['read-tree', head], {signal, env})
    for (const path of paths) {
      const own = changes.filter((change) => change.path === path)
      const entry = after.get(path)
      if (own.some(({hunk}) => hunk === undefined) || !entry || !before.has(path)) {
        const words = entry ? ['--add', '--cacheinfo', `${entry.mode},${entry.oid},${path}`] : ['--force-remove', '--', path]
        await git(folder, ['update-index', ...words], {signal, env})
        continue
      }
      const text = withHunks(await readBlob(signal, folder, before.get(path)!.oid), own.flatMap(({hunk}) => hunk ?? []))
      const {stdout: oid} = await git(folder, ['hash-object', '-w', '--stdin'], {signal, input: text})
      await git(folder, ['update-index', '--cacheinfo', `${entry.mode},${oid.trim()},${path}`], {signal, env})
    }
    return (await git(folder, ['write-tree'], {signal, env})).stdout.trim()
  })
}

async function pathsBetween(signal: AbortSignal, folder: string, base: string, tip: string): Promise<string[]> {
  const {stdout} = await git(folder, ['log', '-z', '--format=', '--name-only', '--no-renames', `${base}..${tip}`], {signal})
  return [...new Set(stdout.split(/[\0\n]/).filter(Boolean))]
}

/** The commits after `git rebase --autosquash`, in a worktree of the cache. */
async function squashed(context: Context, tree: Tree, {base, chain, paths}: {base: string; chain: string; paths: readonly string[]}): Promise<string> {
  const identity = await ownIdentity(context.signal, tree)
  return await withWorktree(context, tree, chain, paths, async (folder) => {
    const words = ['rebase', '--quiet', '--interactive', '--autosquash', '--no-autostash', '--no-fork-point', '--keep-empty', '--empty=keep', base]
    // The list of what is to be done is taken as git proposes it.
    const env = {...identity, GIT_SEQUENCE_EDITOR: 'true'}
    const {signal} = context
    const {exitCode, all} = await git(folder, words, {signal, env, allowedExits: [0, 1, 128]}, [...NEUTRAL, 'rebase.updateRefs=false', 'rebase.missingCommitsCheck=ignore', 'core.commentChar=#'])
    if (exitCode !== 0) {
      const {stdout: stuck} = await git(folder, ['diff', '--name-only', '--diff-filter=U'], {signal, allowedExits: 'any'})
      const why = stuck.trim().split('\n').filter(Boolean).join(', ') || all.trim().split('\n').at(-1)
      throw new InputError(`what was changed does not fit the patch that it belongs to without the later ones (${why}): name a later patch by --patch, or rebase by hand in the worktree; nothing was changed`)
    }
    return (await git(folder, ['rev-parse', '--verify', 'HEAD'], {signal})).stdout.trim()
  })
}

/** Moves the branch and the index; the files are what they are to be already, and what was saved meanwhile stays a change. */
async function moveHead(signal: AbortSignal, folder: string, before: string, after: string): Promise<void> {
  const moved = await git(folder, ['update-ref', '-m', 'patchbench commit', 'HEAD', after, before], {signal, env: OURS, allowedExits: [0, 1, 128]})
  if (moved.exitCode !== 0) throw new InputError(`${folder} was committed to in the meantime: start again; nothing was changed`)
  await git(folder, ['read-tree', after], {signal})
  await git(folder, ['update-index', '-q', '--refresh'], {signal, allowedExits: [0, 1]})
}

/** What make leaves of the kinds of files that people write. */
const GENERATED = ['*.mod.c', '**/generated/**', 'include/config/**', 'build/**']
const WRITTEN = /(?:\.(?:[chS]|rst|sh|py)|Kconfig|Makefile)$/

/** Files that git does not know; the .gitignore of a distribution's source may leave out all that is new, so it has no say in sources. */
async function untrackedIn(signal: AbortSignal, folder: string): Promise<string[]> {
  const others = async (...words: string[]) => (await git(folder, ['ls-files', '-z', '--others', ...words], {signal})).stdout.split('\0').filter(Boolean)
  const plain = await others('--exclude-standard')
  const sources = (await others(...GENERATED.map((pattern) => `--exclude=${pattern}`))).filter((path) => WRITTEN.test(path))
  const top = await others(...(await rulesForTop(folder)).map((rule) => `--exclude=${rule}`))
  return [...new Set([...plain, ...sources, ...top.filter((path) => !path.includes('/'))])].sort()
}

/** What the tree's .gitignore says of the files beside it, without the rule of a distribution that leaves out all that is new; all where that is not there. */
async function rulesForTop(folder: string): Promise<string[]> {
  const lines = (await readFile(join(folder, '.gitignore'), 'utf8').catch(() => '')).split('\n')
  const kept = lines.filter((line) => line !== '/*' && line.trim() !== '' && !line.startsWith('#'))
  return lines.includes('/*') ? kept : ['*']
}
