import {printable} from '../lib/text.js'
import {type HunkReport} from '../series/place.js'
import {type Applied, type PatchReport, type PatchState} from '../tree/apply.js'
import {type FileReport} from '../tree/explain.js'
import {fileWords, gitWords, hunkWords, IN_TREE} from '../tree/words.js'

const SAID: Record<PatchState, string> = {
  applied: 'applies',
  merged: 'applies, merged',
  'already-applied': IN_TREE,
  conflict: 'does not apply',
  'not-tried': 'was not tried',
}

/** What came of a series, as one JSON document; keys are added, never renamed, within a schema number. */
export function applyJson({applied, where, origin, base, tree, commit, branch, cover, notes, patches}: Applied): string {
  const listed = patches.map(({where, subject, author, state, words, files, mergedInto}) => ({where, subject, author, state, git: words, files, mergedInto}))
  return JSON.stringify({schema: 1, applied, where, origin: origin ?? {git: base}, base, tree, commit, branch, cover, notes, patches: listed}, null, 2)
}

/** What came of a series, for a reader: what fits in a line, what does not with the place where it might belong. */
export function applyText(result: Applied): string {
  const {patches, base, where, notes} = result
  const lines = patches.flatMap((patch, index) => patchLines(patch, `${index + 1}/${patches.length}`))
  return printable([`on ${base.slice(0, 12)} of ${where}`, ...notes.map((note) => `note: ${note}`), ...lines, '', ending(result)].join('\n'))
}

function patchLines({subject, state, where, words, files, mergedInto}: PatchReport, number: string): string[] {
  return [`${number}  ${SAID[state]}: ${subject}  (${where})`, ...files.flatMap((file) => fileLines(file, mergedInto)), ...gitWords(words).map((line) => `       git: ${line}`)]
}

function fileLines(file: FileReport, mergedInto: readonly string[]): string[] {
  const {path, state, hunks} = file
  const note = fileWords(file)
  const merged = mergedInto.length === 0 ? '' : `: git merged it into ${mergedInto.join(', ')}`
  if (state === 'missing') return [`       ${path}: ${note}${merged}`]
  if (state === 'exact') return [`       ${path}: fits`]
  return [`       ${path}:${note ? ` ${note}` : ''}`, ...hunks.flatMap(hunkLines)]
}

function hunkLines(hunk: HunkReport): string[] {
  const {nearest, difference, differs} = hunk
  const head = `         ${hunkWords(hunk)}`
  // Of line ends there is nothing to be seen.
  if (nearest === null || difference === null || differs === 'line-ends') return [head]
  const lines = difference.split('\n').map((line) => `           ${differs === 'whitespace' ? visible(line) : line}`)
  const legend = differs === 'whitespace' ? ", shown as by 'cat -A'" : ''
  return [`${head}:`, `           - the patch expects  + the file has${legend}`, ...lines]
}

function visible(line: string): string {
  return `${line.replaceAll('\t', '^I').replaceAll('\r', '^M')}$`
}

function ending(result: Applied): string {
  const {applied, tree, commit, branch, patches} = result
  const there = patches.filter(({state}) => state === 'already-applied').length
  const on = branch === null ? '' : ` on ${branch}`
  const made = `tree ${tree}, commit ${commit}`
  if (!applied) return refused(result)
  if (there === patches.length) return `nothing was applied${on}, all of it ${IN_TREE}: ${made}`
  return `applied${on}${there === 0 ? '' : `, but for ${there} of ${patches.length}, which ${there === 1 ? 'is' : 'are'} in the tree already`}: ${made}`
}

function refused({patches}: Applied): string {
  const failed = patches.findIndex(({state}) => state === 'conflict')
  const isSpoilt = patches[failed]!.files.some(({hunks}) => hunks.some(({differs}) => differs !== null))
  const advice = isSpoilt ? "\nwhitespace is in the way: take the patch from 'git format-patch' or the list's archive, not from a mail program's copy" : ''
  return `does not apply: patch ${failed + 1} of ${patches.length} does not; the tree is as it was${advice}`
}
