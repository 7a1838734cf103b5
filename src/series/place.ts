import {type Hunk} from './diff.js'
import {listed, type Marked, nearestPlace} from './nearest.js'

export type HunkState = 'exact' | 'offset' | 'already-applied' | 'conflict'

/** Where a hunk belongs in a file. */
export type HunkReport = {
  /** The line that the hunk names, in the file before the patch. */
  line: number
  state: HunkState
  /** How many lines further down it fits; negative is further up. */
  offset: number | null
  /** Where it fits nowhere: the line of the file that is most like it. */
  nearest: number | null
  /** What the hunk expects there (-) and the file has (+). */
  difference: string | null
  /** What alone differs there, where it is nothing that a reader would see. */
  differs: 'line-ends' | 'whitespace' | null
}

/** A line of the file; one that a hunk has written is no context of another, as in git apply. */
type Line = {text: string; written: boolean}

/** A piece of a file: its lines, and whether it must touch the file's ends. */
type Piece = {lines: string[]; first: boolean; last: boolean}

/** How lines are compared to find out that they differ in nothing that is seen. */
const LOOSELY = [
  {differs: 'line-ends', plain: (line: string) => line.replace(/\r+\n$/, '\n')},
  {differs: 'whitespace', plain: (line: string) => line.replace(/[^\S\n]+/g, '')},
] as const

/** Lines with their line ends: a last line without one differs from one with. */
export function linesOf(text: string): string[] {
  return text.match(/[^\n]*\n|[^\n]+$/g) ?? []
}

/** Of a hunk that is where it belongs. */
const NOTHING = {nearest: null, difference: null, differs: null} as const

/** Places the hunks of a file in their order, each in what the earlier ones left. */
export function placeHunks(text: string, hunks: readonly Hunk[]): {reports: HunkReport[]; text: string} {
  const image: Line[] = linesOf(text).map((line) => ({text: line, written: false}))
  const done: {at: number; growth: number}[] = []
  let lost = 0
  const reports = hunks.map((hunk) => {
    const expected = Math.max(0, hunk.newStart - 1 - lost)
    const before = sideOf(hunk, '-')
    const after = sideOf(hunk, '+')
    const at = find(image, before, expected)
    if (at !== undefined) {
      image.splice(at, before.lines.length, ...after.lines.map((line) => ({text: line, written: true})))
      done.push({at, growth: after.lines.length - before.lines.length})
      return {line: hunk.oldStart, state: at === expected ? 'exact' : 'offset', offset: at - expected, ...NOTHING} as const
    }
    if (find(image, after, expected) !== undefined) return {line: hunk.oldStart, state: 'already-applied', offset: null, ...NOTHING} as const
    lost += after.lines.length - before.lines.length
    const place = placeLoosely(image, before, expected) ?? nearestPlace(image.map(({text}) => text), before.lines, expected)
    // In the file as the user has it, without what the earlier hunks added.
    const added = done.filter(({at}) => at <= (place?.at ?? 0)).reduce((sum, {growth}) => sum + growth, 0)
    return {line: hunk.oldStart, state: 'conflict', offset: null, nearest: place ? place.at - added + 1 : null, difference: place?.difference ?? null, differs: place?.differs ?? null} as const
  })
  return {reports, text: image.map(({text}) => text).join('')}
}

/** What a hunk expects (-) or leaves (+). */
export function sideOf({lines, oldStart}: Hunk, side: '-' | '+'): Piece {
  const piece: string[] = []
  let kept = false
  for (const line of lines) {
    if (line.startsWith('\\')) {
      if (kept) piece.push(piece.pop()!.replace(/\n$/, ''))
      continue
    }
    kept = line === '' || line.startsWith(' ') || line.startsWith(side)
    if (kept) piece.push(`${line.slice(1)}\n`)
  }
  const last = lines.findLast((line) => !line.startsWith('\\'))
  return {lines: piece, first: oldStart <= 1, last: last !== undefined && /^[-+]/.test(last)}
}

/** The place of a piece that stands there but for its line ends or whitespace, with the lines that differ in pairs. */
function placeLoosely(image: readonly Line[], piece: Piece, expected: number): {at: number; difference: string; differs: HunkReport['differs']} | undefined {
  for (const {differs, plain} of LOOSELY) {
    const loose = image.map(({text, written}) => ({text: plain(text), written}))
    const at = find(loose, {...piece, lines: piece.lines.map(plain)}, expected)
    if (at === undefined) continue
    const pairs = piece.lines.map((line, index) => [line, image[at + index]!.text] as const)
    const marked = pairs.flatMap(([line, own]): Marked[] => (line === own ? [[' ', line]] : [['-', line], ['+', own]]))
    return {at, difference: listed(marked), differs}
  }
  return undefined
}

/** The place nearest to the expected one at which a piece stands. */
function find(image: readonly Line[], piece: Piece, expected: number): number | undefined {
  const highest = image.length - piece.lines.length
  const places = piece.first ? [0] : piece.last ? [highest] : undefined
  if (places) return places.find((at) => stands(image, piece, at))
  for (let distance = 0; distance <= image.length; distance += 1) {
    if (stands(image, piece, expected - distance)) return expected - distance
    if (stands(image, piece, expected + distance)) return expected + distance
  }
  return undefined
}

function stands(image: readonly Line[], {lines, first, last}: Piece, at: number): boolean {
  if (at < 0 || at + lines.length > image.length) return false
  if ((first && at > 0) || (last && at + lines.length < image.length)) return false
  return lines.every((line, index) => image[at + index]!.text === line && !image[at + index]!.written)
}
