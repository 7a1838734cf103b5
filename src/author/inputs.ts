import {readdir} from 'node:fs/promises'
import {dirname, join, relative} from 'node:path'
import {type Case} from '../case/case.js'
import {git} from '../lib/git.js'
import {sha256File} from '../lib/hash.js'
import {workTreeOf} from './snapshot.js'
import {type Editing} from './worktree.js'

/** What a comparison hangs on and an author changes: hashes by the name that is shown. */
export type Inputs = ReadonlyMap<string, string>

/** The work tree's entry among the inputs. */
const WORK = 'the worktree'

/** Hashes what a case's comparison hangs on. */
export async function inputsOf(signal: AbortSignal, one: Case, editing: Editing | undefined): Promise<Inputs> {
  const inputs = new Map<string, string>()
  for (const file of await filesOf(one)) {
    // An editor replaces a file by removing it first: that is a change as well.
    inputs.set(relative(dirname(one.directory), file), await sha256File(file).catch(() => 'none'))
  }
  if (editing) {
    const {head, tree} = await workTreeOf(signal, editing.tree.directory)
    inputs.set(WORK, `${tree} ${head}`)
  }
  return inputs
}

/** The folders in which a change of them is seen. */
export async function foldersToFollow(signal: AbortSignal, one: Case, editing: Editing | undefined): Promise<Set<string>> {
  const series = one.candidates.flatMap((candidate) => Object.values(candidate.series))
  const folders = new Set([dirname(one.directory), one.directory, ...(await filesOf(one)).map(dirname), ...series.flatMap((path) => [path, dirname(path)])])
  if (!editing) return folders
  const {directory} = editing.tree
  folders.add(directory)
  for (const folder of await trackedFolders(signal, directory)) folders.add(join(directory, folder))
  return folders
}

/** The names of what differs; of a work tree its files. */
export async function changedInputs(signal: AbortSignal, before: Inputs, after: Inputs, editing: Editing | undefined): Promise<string[]> {
  const names = [...new Set([...before.keys(), ...after.keys()])].filter((name) => before.get(name) !== after.get(name))
  const [old, now] = [before.get(WORK), after.get(WORK)]
  if (!editing || !old || !now || old === now) return names
  const trees = [old, now].map((one) => one.split(' ')[0]!)
  const {stdout} = await git(editing.tree.directory, ['diff-tree', '-r', '-z', '--no-renames', '--name-only', ...trees], {signal})
  const files = stdout.split('\0').filter(Boolean)
  return [...names.filter((name) => name !== WORK), ...(files.length > 0 ? files : [`${WORK}'s commits`])]
}

async function filesOf(one: Case): Promise<string[]> {
  const {directory, reproducer, kconfig, livepatches, candidates} = one
  const sources = await Promise.all(livepatches.map(async ({source}) => await namesIn(source, /\.[ch]$/)))
  const series = await Promise.all(candidates.flatMap((candidate) => Object.values(candidate.series)).map(async (path) => await namesIn(path, /\.(?:patch|mbox|mbx|eml)$/)))
  const rulesets = [one.baseRuleset, ...candidates.map(({ruleset}) => ruleset)].flatMap((files = {}) => Object.values(files))
  return [join(directory, 'case.yaml'), reproducer.program, ...(kconfig ? [kconfig] : []), ...sources.flat(), ...series.flat(), ...rulesets]
}

async function namesIn(folder: string, wanted: RegExp): Promise<string[]> {
  const names = await readdir(folder).catch(() => [])
  return names.filter((name) => wanted.test(name)).sort().map((name) => join(folder, name))
}

/** A kernel has some five thousand, which inotify takes; its eighty thousand files it would not everywhere. */
async function trackedFolders(signal: AbortSignal, directory: string): Promise<Set<string>> {
  const {stdout} = await git(directory, ['ls-files', '-z'], {signal})
  const folders = new Set<string>()
  for (const path of stdout.split('\0')) if (path.includes('/')) folders.add(path.slice(0, path.lastIndexOf('/')))
  return folders
}
