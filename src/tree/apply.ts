import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {git} from '../lib/git.js'
import {shellWords} from '../lib/quote.js'
import {checkLinks, foldersOf} from '../series/links.js'
import {type Patch, type Series} from '../series/series.js'
import {amend, NOBODY, ownIdentity} from './am.js'
import {explainPatch, type FileReport, type Snapshot} from './explain.js'
import {moveBranch, readyBranch} from './inplace.js'
import {type Source} from './source.js'
import {entriesOf, openTree, resolveCommit, type Tree} from './tree.js'
import {withWorktree} from './worktree.js'
import {gitWords, obstacles} from './words.js'

/** How long renames are looked for in the history, for a whole series, in ms. */
const PATIENCE = 10_000

/** `merged`: not every hunk fits, and git's three-way merge took the patch all the same. */
export type PatchState = 'applied' | 'merged' | 'already-applied' | 'conflict' | 'not-tried'

export type PatchReport = {where: string; subject: string; author: string; state: PatchState; words: string[]; files: FileReport[]; /** Where git's merge put what the patch has for a file of another name, where no rename tells. */ mergedInto: string[]}

/** What came of a series; tree and commit are null where it does not apply. */
export type Applied = {
  applied: boolean
  /** How the tree is named to the user. */
  where: string
  /** Where the tree's source came from, where that is more than its commit. */
  origin?: Record<string, string>
  base: string
  tree: string | null
  commit: string | null
  branch: string | null
  cover: string[]
  /** What is to be known of the series itself; see Series. */
  notes: string[]
  patches: PatchReport[]
}

export type ApplyOptions = {git: string; base?: string | undefined; inPlace?: boolean | undefined; /** How the tree is named; its folder where this is left out. */ where?: string | undefined; origin?: Record<string, string>}

/** Applies a series to a tree, and explains how every part of it fits. */
export async function applySeries(context: Context, series: Series, options: ApplyOptions): Promise<Applied> {
  const {signal} = context
  const tree = await openTree(signal, options.git)
  const base = await resolveCommit(signal, tree, options.base ?? 'HEAD')
  const branch = options.inPlace ? await readyBranch(signal, tree, base) : undefined
  const paths = series.patches.flatMap(({files}) => files.flatMap(({oldPath, path}) => [oldPath, path]))
  await checkAgainst(signal, tree, base, series.patches, paths)
  const identity = branch ? await ownIdentity(signal, tree) : NOBODY
  return await withWorktree(context, tree, base, paths, async (folder) => {
    const {patches, commit} = await applyAll(context, folder, base, series.patches, identity)
    const facts = {where: options.where ?? tree.directory, ...(options.origin ? {origin: options.origin} : {}), base, cover: series.cover.map(({subject}) => subject), notes: series.notes, patches}
    if (commit === undefined) return {...facts, applied: false, tree: null, commit: null, branch: null}
    const {stdout: hash} = await git(folder, ['rev-parse', '--verify', `${commit}^{tree}`], {signal})
    if (branch) await moveBranch(signal, tree, branch, commit)
    return {...facts, applied: true, tree: hash, commit, branch: branch ? branch.name.replace(/^refs\/heads\//, '') : null}
  })
}

/**
 * Applies all of a series to a source; its commit, and what git calls its tree.
 *
 * @param what how the series is named to the user, and where it is
 * @throws CouldNotRun when it does not apply, with what is in the way of the first patch that does not
 */
export async function applyWhole(context: Context, series: Series, source: Source, what: {name: string; path: string}): Promise<{commit: string; tree: string}> {
  const {commit, tree, patches} = await applySeries(context, series, {git: source.directory, base: source.commit})
  if (commit !== null && tree !== null) return {commit, tree}
  const failed = patches.find(({state}) => state === 'conflict')!
  const why = [...failed.files.flatMap(obstacles), ...gitWords(failed.words)]
  const detail = [`${failed.subject} (${failed.where}):`, ...why.map((line) => `  ${line}`), `what differs there is shown by: ${commandFor(source, what.path)}`]
  throw new CouldNotRun(`${what.name} does not apply to ${source.label}`, detail.join('\n'))
}

/** The command that explains every hunk, ready to be run. */
function commandFor({tree, line, directory, commit, origin}: Source, path: string): string {
  const isPackaged = tree === 'linux' && Object.keys(origin).some((name) => name.startsWith('linux-source'))
  return shellWords(['patchbench', 'apply', path, ...(isPackaged ? ['--source', line] : ['--git', directory, '--base', commit])])
}

async function checkAgainst(signal: AbortSignal, tree: Tree, base: string, patches: readonly Patch[], paths: readonly string[]): Promise<void> {
  const entries = await entriesOf(signal, tree.directory, base, [...paths, ...paths.flatMap(foldersOf)])
  checkLinks(patches, new Map([...entries].map(([path, {mode}]) => [path, mode])))
}

/**
 * Explains and applies patch after patch, each on what git made of the earlier
 * ones. After one that does not apply, the rest is explained on what of it fits.
 */
async function applyAll(context: Context, folder: string, base: string, patches: readonly Patch[], identity: Record<string, string>) {
  const reports: PatchReport[] = []
  let snapshot: Snapshot = {folder, commit: base, changes: new Map(), patience: {left: PATIENCE}}
  let failed = false
  for (const patch of patches) {
    context.progress(`${patch.where}: ${patch.title}`)
    const files = await explainPatch(context.signal, snapshot, patch.files)
    const facts = {where: patch.where, subject: patch.title, author: patch.author, files, mergedInto: []}
    if (failed) {
      reports.push({...facts, state: 'not-tried', words: []})
      continue
    }
    const amended = await amend(context.signal, folder, patch, identity)
    failed = amended.state === 'conflict'
    if (amended.state === 'conflict') {
      reports.push({...facts, state: 'conflict', words: amended.words})
      continue
    }
    const fits = files.every(({state}) => state === 'exact' || state === 'offset')
    const state = amended.state === 'applied' && !fits ? 'merged' : amended.state
    reports.push({...facts, state, words: [], mergedInto: state === 'merged' ? await unnamed(context.signal, folder, amended.commit, files) : []})
    snapshot = {...snapshot, commit: amended.commit, changes: new Map()}
  }
  return {patches: reports, commit: failed ? undefined : snapshot.commit}
}

/** The files that a commit changes and that neither the patch which it was made of nor the history names. */
async function unnamed(signal: AbortSignal, folder: string, commit: string, files: readonly FileReport[]): Promise<string[]> {
  const {stdout} = await git(folder, ['diff-tree', '-r', '-z', '--no-commit-id', '--no-renames', '--name-only', commit], {signal})
  const named = new Set(files.flatMap(({path, renamedTo}) => [path, renamedTo]))
  return stdout.split('\0').filter((path) => path !== '' && !named.has(path))
}
