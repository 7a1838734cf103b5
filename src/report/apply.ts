import {printable} from '../lib/text.js'
import {type HunkReport} from '../series/place.js'
import {type Applied, type PatchReport, type PatchState} from '../tree/apply.js'
import {type FileReport} from '../tree/explain.js'

const SAID: Record<PatchState, string> = {
  applied: 'applies',
  merged: 'applies, merged',
  'already-applied': 'is in the tree already',
  conflict: 'does not apply',
  'not-tried': 'was not tried',
}

/** What came of a series, as one JSON document; keys are added, never renamed, within a schema number. */
export function applyJson({applied, where, origin, base, tree, commit, branch, cover, patches}: Applied): string {
  const listed = patches.map(({where, subject, author, state, words, files}) => ({where, subject, author, state, git: words, files}))
  return JSON.stringify({schema: 1, applied, where, origin: origin ?? {git: base}, base, tree, commit, branch, cover, patches: listed}, null, 2)
}

/** What came of a series, for a reader: what fits in a line, what does not with the place where it might belong. */
export function applyText(result: Applied): string {
  const {patches, base, where} = result
  const lines = patches.flatMap((patch, index) => patchLines(patch, `${index + 1}/${patches.length}`))
  return printable([`on ${base.slice(0, 12)} of ${where}`, ...lines, '', ending(result)].join('\n'))
}

function patchLines({subject, state, where, words, files}: PatchReport, number: string): string[] {
  return [`${number}  ${SAID[state]}: ${subject}  (${where})`, ...files.flatMap(fileLines), ...words.map((line) => `       git: ${line}`)]
}

function fileLines({path, state, renamedTo, hunks}: FileReport): string[] {
  if (state === 'missing') return [`       ${path}: is not in the tree, and no rename of it was found`]
  if (state === 'exact') return [`       ${path}: fits`]
  const notes: Partial<Record<FileReport['state'], string>> = {
    renamed: `is ${renamedTo} now`,
    exists: 'is to be made, but is there already',
    'already-applied': 'is as the patch leaves it already',
  }
  const note = notes[state]
  return [`       ${path}:${note ? ` ${note}` : ''}`, ...hunks.flatMap(hunkLines)]
}

function hunkLines({line, state, offset, nearest, difference}: HunkReport): string[] {
  const head = `         hunk at line ${line}`
  if (state === 'exact') return [`${head} fits`]
  if (state === 'offset') return [`${head} fits ${Math.abs(offset ?? 0)} ${Math.abs(offset ?? 0) === 1 ? 'line' : 'lines'} further ${(offset ?? 0) > 0 ? 'down' : 'up'}`]
  if (state === 'already-applied') return [`${head} is applied already`]
  if (nearest === null) return [`${head} fits nowhere, and nothing in the file is like it`]
  const shown = difference === null ? [] : ['           - the patch expects  + the file has', ...difference.split('\n').map((one) => `           ${one}`)]
  return [`${head} fits nowhere; the nearest place is line ${nearest}:`, ...shown]
}

function ending({applied, tree, commit, branch, patches}: Applied): string {
  if (!applied) {
    const failed = patches.findIndex(({state}) => state === 'conflict')
    return `does not apply: patch ${failed + 1} of ${patches.length} does not; the tree is as it was`
  }
  return `applied${branch === null ? '' : ` on ${branch}`}: tree ${tree}, commit ${commit}`
}
