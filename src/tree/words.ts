import {type HunkReport} from '../series/place.js'
import {type FileReport} from './explain.js'

/** What is to be said of a hunk, in a line. */
export function hunkWords(hunk: HunkReport): string {
  const {line, state, offset} = hunk
  return `hunk at line ${line} ${state === 'conflict' ? misfit(hunk) : state === 'offset' ? moved(offset ?? 0) : {exact: 'fits', 'already-applied': IN_TREE}[state]}`
}

/** Of a patch, a file or a hunk that the tree has, one word everywhere. */
export const IN_TREE = 'is in the tree already'

function moved(lines: number): string {
  const count = Math.abs(lines)
  return `fits ${count} ${count === 1 ? 'line' : 'lines'} further ${lines > 0 ? 'down' : 'up'}`
}

function misfit({nearest, differs, difference}: HunkReport): string {
  if (nearest === null) return 'fits nowhere, and nothing in the file is like it'
  if (differs === 'line-ends') return `would fit at line ${nearest} but for line ends: ${lineEnds(difference ?? '')}`
  if (differs === 'whitespace') return `would fit at line ${nearest} but for whitespace`
  return `fits nowhere; the nearest place is line ${nearest}`
}

function lineEnds(difference: string): string {
  const ends = (mark: string) => (difference.split('\n').some((line) => line.startsWith(mark) && line.endsWith('\r')) ? 'CR LF' : 'LF')
  const [patch, file] = [ends('-'), ends('+')]
  return patch === file ? 'the patch and the file mix CR LF and LF' : `the patch has ${patch}, the file has ${file}`
}

/** What is to be said of a file as a whole, where its hunks do not say it. */
export function fileWords({state, renamedTo}: Pick<FileReport, 'state' | 'renamedTo'>): string | undefined {
  const words: Partial<Record<FileReport['state'], string>> = {
    missing: 'is not in the tree, and no rename of it was found',
    renamed: `is ${renamedTo} now`,
    exists: 'is to be made, but is there with another content',
    'already-applied': IN_TREE,
  }
  return words[state]
}

/** What is in the way of a file, a line each; none where all of it fits or is in the tree. */
export function obstacles({path, state, renamedTo, hunks}: FileReport): string[] {
  const own = state === 'already-applied' ? undefined : fileWords({state, renamedTo})
  return [...(own ? [`${path} ${own}`] : []), ...hunks.filter((hunk) => hunk.state === 'conflict').map((hunk) => `${path}: ${hunkWords(hunk)}`)]
}

/** What git am's complaints mean, for somebody who did not run it; those that repeat what is said of the hunks are left out. */
export function gitWords(words: readonly string[]): string[] {
  const said = words.map((line) => line.replace(/^(?:error|fatal): /, '')).flatMap(meaning)
  return [...new Set(said)]
}

const NO_ORIGIN = 'no three-way merge: the version of the file that the patch was made from is not in this repository'

/** git's sentences, and what they say of a mail; see builtin/am.c (build_fake_ancestor, fall_back_threeway) and apply.c. */
const MEANINGS: readonly [RegExp, string][] = [
  [/^patch failed: |: patch does not apply$/, ''],
  [/^Failed to merge in the changes\.$/, ''],
  [/^(?:could not build fake ancestor|Repository lacks necessary blobs to fall back on 3-way merge\.)$/, NO_ORIGIN],
  [/^sha1 information is lacking or useless \((.*)\)\.?$/, NO_ORIGIN],
  [/^It does not apply to blobs recorded in its index\.$/, ''],
  [/^Did you hand edit your patch\?$/, 'no three-way merge: the patch does not fit the version that it says it was made from, so it was changed after that'],
  [/^CONFLICT \(content\): Merge conflict in (.*)$/, 'the three-way merge left a conflict in $1'],
  [/^(.*): does not exist in index$/, '$1 is not in the tree'],
  [/^(.*): already exists in (?:index|working directory)$/, '$1 is there with another content'],
]

function meaning(line: string): string[] {
  for (const [pattern, words] of MEANINGS) if (pattern.test(line)) return words === '' ? [] : [line.replace(pattern, words)]
  return [line]
}
