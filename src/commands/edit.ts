import {join, resolve} from 'node:path'
import {commitWork, type Committed} from '../author/commit.js'
import {checkOutSeries, editingOf, placeOf} from '../author/worktree.js'
import {recoverSeries} from '../author/replace.js'
import {candidateOf, type Case, caseNames, loadCase} from '../case/case.js'
import {casesFolder} from '../case/folder.js'
import {type Context} from '../lib/context.js'
import {EXIT, InputError} from '../lib/errors.js'
import {runTasks} from '../lib/tasks.js'
import {printable} from '../lib/text.js'
import {applyText} from '../report/apply.js'
import {readSeries} from '../series/series.js'
import {applySeries} from '../tree/apply.js'
import {sourceTree} from '../tree/source.js'
import {hasCommit, openTree, resolveCommit} from '../tree/tree.js'
import {DEFAULT_LINE} from './kernels.js'

export type EditOptions = {candidate?: string; kernel?: string; git?: string; base?: string; cases?: string; json?: boolean}

/** `patchbench edit CASE [FOLDER]`: the series of a candidate as commits in a folder of git's. */
export async function editCommand(context: Context, name: string, folder: string | undefined, options: EditOptions): Promise<{text: string; exit: number}> {
  const {signal} = context
  const one = await loadCase(name, options.cases && resolve(options.cases))
  const candidate = candidateOf(one, options.candidate)
  const line = lineFor(one, candidate.series, options.kernel)
  if (options.base !== undefined && options.git === undefined) throw new InputError(`--base ${options.base} is a revision of --git, which is missing`)
  const editing = await editingOf(signal, one)
  if (editing) throw new InputError(`'${name}' is edited in ${editing.tree.directory} already: 'patchbench commit ${name}' takes the work in it; remove it${folderNote(one, editing.tree.directory)} to begin anew`)
  const series = await readSeries(signal, [candidate.series[line]!])
  const [done] = await runTasks(context, [
    {
      title: `${candidate.name} of ${name}, for ${line}`,
      run: async (own) => {
        const from = await whereFrom(own, line, candidate.base, options)
        const applied = await applySeries(own, series, {git: from.directory, base: from.base, where: from.label})
        if (applied.commit === null) return {applied}
        const place = resolve(folder ?? placeOf(one))
        const checkout = {one, candidate: candidate.name, line, folder: place, from: {...from, tip: applied.commit}, isOwn: options.git !== undefined}
        return {applied, place, branch: await checkOutSeries(own, checkout)}
      },
    },
  ])
  const {applied, place, branch} = done!
  if (place === undefined) return {text: options.json ? JSON.stringify({schema: 1, case: name, folder: null}) : applyText(applied), exit: EXIT.missed}
  const facts = {case: name, candidate: candidate.name, line, folder: place, branch, base: applied.base, patches: applied.patches.map(({subject}) => subject)}
  if (options.json) return {text: JSON.stringify({schema: 1, ...facts}, null, 2), exit: EXIT.ok}
  const text = [
    `${candidate.name} for ${line} is in ${place}, on the branch ${branch}: ${facts.patches.length} on top of ${applied.where}`,
    ...facts.patches.map((title, index) => `  ${index + 1}  ${title}`),
    `change files there; 'patchbench watch ${name}' follows, 'patchbench commit ${name}' makes them part of the series`,
  ]
  return {text: printable(text.join('\n')), exit: EXIT.ok}
}

/** `patchbench commit CASE`: the work in the folder of `edit` as the series. */
export async function commitCommand(context: Context, name: string, options: {patch?: string; cases?: string; json?: boolean}): Promise<{text: string; exit: number}> {
  const cases = options.cases === undefined ? await casesFolder() : resolve(options.cases)
  if ((await caseNames(cases)).includes(name)) await recoverSeries(join(cases, name), 'linux')
  const one = await loadCase(name, cases)
  const done = await commitWork(context, one, options.patch)
  if (options.json) return {text: JSON.stringify({schema: 1, case: name, ...done}, null, 2), exit: EXIT.ok}
  return {text: printable(committedText(done)), exit: EXIT.ok}
}

function committedText({candidate, line, changes, patches, untracked, series, changed}: Committed): string {
  const numbered = (title: string) => `${patches.indexOf(title) + 1} '${title}'`
  return [
    ...changes.map(({path, line: at, patch}) => `${path}${at > 0 ? `:${at}` : ''} went into ${numbered(patch)}`),
    changed ? `the series of ${candidate} for ${line} is written anew in ${series}` : `the series of ${candidate} for ${line} is as it was`,
    ...patches.map((title, index) => `  ${index + 1}  ${title}`),
    ...(untracked.length > 0 ? [`not part of it, as git does not know them ('git add -f' them): ${untracked.slice(0, 5).join(', ')}${untracked.length > 5 ? ` and ${untracked.length - 5} more` : ''}`] : []),
  ].join('\n')
}

/** The user's own tree, or the distribution's source of the line. */
async function whereFrom(context: Context, line: string, stated: string | undefined, {git, base}: EditOptions): Promise<{directory: string; base: string; label: string}> {
  if (git === undefined) {
    const {directory, commit, label} = await sourceTree(context, {tree: 'linux', line})
    return {directory, base: commit, label}
  }
  const tree = await openTree(context.signal, git)
  const known = base ?? (stated !== undefined && (await hasCommit(context.signal, tree.directory, stated)) ? stated : 'HEAD')
  return {directory: tree.directory, base: await resolveCommit(context.signal, tree, known), label: tree.directory}
}

function lineFor({name, tree}: Case, series: Readonly<Record<string, string>>, wanted: string | undefined): string {
  const lines = Object.keys(series)
  if (tree !== 'linux') throw new InputError(`the case '${name}' is for ${tree}: only series for linux can be edited`)
  const line = wanted ?? (lines.includes(DEFAULT_LINE) ? DEFAULT_LINE : lines[0]!)
  if (!lines.includes(line)) throw new InputError(`--kernel ${line}: the candidate has no series for it, only for ${lines.join(', ')}`)
  return line
}

function folderNote(one: Case, folder: string): string {
  return folder === placeOf(one) ? '' : `, and the link ${placeOf(one)},`
}
