import {type Context} from '../lib/context.js'
import {git} from '../lib/git.js'
import {type Series} from '../series/series.js'
import {type Applied, applySeries, type PatchReport} from '../tree/apply.js'
import {gitWords, hunkWords, IN_TREE, obstacles} from '../tree/words.js'
import {type Source, sourceTree, type WantedSource} from '../tree/source.js'
import {type Complaint, notRun, type Row, rowsOf} from './rows.js'

/** The last lines that tools leave in a mail: what it is for, and b4's name of the series. */
export type Stated = {base?: string; changeId?: string}

/** What a series says of itself, as `git format-patch --base` and `b4 prep` write it. */
export function statedIn({cover, patches}: Series): Stated {
  const texts = [...cover, ...patches].map(({body, diff}) => `${body}\n${diff}`)
  const find = (pattern: RegExp) => texts.map((text) => pattern.exec(text)?.[1]).find(Boolean)
  const [base, changeId] = [find(/^base-commit: ([\da-f]{40}(?:[\da-f]{24})?)$/m), find(/^change-id: ([\w.@-]+)$/m)]
  return {...(base === undefined ? {} : {base}), ...(changeId === undefined ? {} : {changeId})}
}

/**
 * The source that a series is for: at the commit that it states, where a git
 * folder of the user's has that.
 */
export async function sourceFor(context: Context, series: Series, wanted: WantedSource): Promise<Source> {
  const source = await sourceTree(context, wanted)
  const {base} = statedIn(series)
  if (base === undefined || base === source.commit || wanted.from === undefined || wanted.base !== undefined) return source
  const {exitCode} = await git(source.directory, ['cat-file', '-e', `${base}^{commit}`], {signal: context.signal, allowedExits: [0, 1, 128]})
  return exitCode === 0 ? await sourceTree(context, {...wanted, base}) : source
}

/** Applies a series to a source, and says how every patch fits. */
export async function checkApplies(context: Context, series: Series, source: Source): Promise<{applied: Applied; rows: Row[]}> {
  const applied = await applySeries(context, series, {git: source.directory, base: source.commit, where: source.label})
  return {applied, rows: [...applied.patches.flatMap((patch, index) => applyRows(patch, index + 1)), baseRow(statedIn(series), source)]}
}

function applyRows({state, where, words, files}: PatchReport, patch: number): Row[] {
  if (state === 'not-tried') return [notRun('applies', patch, 'an earlier patch does not apply')]
  const complaints: Record<typeof state, Complaint[]> = {
    applied: [],
    merged: [{state: 'warned', place: where, reason: 'applies by a three-way merge only: rebase it'}],
    'already-applied': [{state: 'failed', place: where, reason: IN_TREE}],
    conflict: [firstConflict(files) ?? {state: 'failed', place: where, reason: gitWords(words)[0] ?? 'does not apply'}],
  }
  return rowsOf('applies', patch, complaints[state])
}

function firstConflict(files: PatchReport['files']): Complaint | undefined {
  const bad = files.find((file) => obstacles(file).length > 0)
  const hunk = bad?.hunks.find(({state}) => state === 'conflict')
  if (bad && hunk) return {state: 'failed', place: `${bad.path}:${hunk.nearest ?? hunk.line}`, reason: hunkWords(hunk)}
  return bad && {state: 'failed', place: bad.path, reason: obstacles(bad)[0]!}
}

function baseRow({base}: Stated, {commit, label}: Source): Row {
  if (base === undefined) return notRun('base-commit', null, `the series states none; it was applied to ${label}`)
  if (base === commit) return rowsOf('base-commit', null, [], `${base.slice(0, 12)}, on which it was applied`)[0]!
  return notRun('base-commit', null, `the series states ${base.slice(0, 12)}; it was applied to ${commit.slice(0, 12)} of ${label}`)
}
