import {diffArrays} from 'diff'

/** How far around its best place a hunk's lines are looked for. */
const MARGIN = 10
/** How many places of one line have a vote. */
const MOST = 200
/** How many lines of a difference are shown. */
const SHOWN = 40

/**
 * The place of a file that is most like some lines: every line votes for where
 * the piece would start, rare lines more than common ones (a lone brace).
 */
export function nearestPlace(file: readonly string[], piece: readonly string[], expected: number): {at: number; difference: string | null; differs?: null} | undefined {
  const places = new Map<string, number[]>()
  for (const [index, line] of file.entries()) places.set(line, [...(places.get(line) ?? []), index].slice(-MOST))
  const votes = new Map<number, number>()
  for (const [index, line] of piece.entries()) {
    const found = line.trim() === '' ? [] : (places.get(line) ?? [])
    for (const place of found) votes.set(place - index, (votes.get(place - index) ?? 0) + 1 / found.length)
  }
  const [best] = [...votes].sort(([a, votesA], [b, votesB]) => votesB - votesA || Math.abs(a - expected) - Math.abs(b - expected))
  return best && difference(file, piece, best[0])
}

function difference(file: readonly string[], piece: readonly string[], at: number): {at: number; difference: string | null} {
  const start = Math.max(0, at - MARGIN)
  const around = file.slice(start, Math.max(0, at) + piece.length + MARGIN)
  // Hostile input may make this dear: better no difference than no end.
  const parts = diffArrays([...piece], around, {timeout: 1000})
  if (!parts) return {at: Math.max(0, at), difference: null}
  const aligned = parts.flatMap(({added, removed, value}) => value.map((line): Marked => [added ? '+' : removed ? '-' : ' ', line]))
  const all = slid(slid(aligned).reverse()).reverse()
  const common = all.map(([mark]) => mark === ' ')
  const [first, last] = [common.indexOf(true), common.lastIndexOf(true)]
  if (first === -1) return {at: Math.max(0, at), difference: null}
  const [head, tail] = [edge(all.slice(0, first)), edge(all.slice(last + 1))]
  // Of the file's lines at an edge, those next to the piece.
  const above = head.there.slice(Math.max(0, head.there.length - head.missing.length))
  const below = tail.there.slice(0, tail.missing.length)
  const inner = [...head.missing, ...above, ...all.slice(first, last + 1), ...tail.missing, ...below]
  return {at: start + head.there.length - above.length, difference: listed(inner)}
}

/** A line, and whose it is: the patch's (-), the file's (+) or of both. */
export type Marked = readonly [mark: '+' | '-' | ' ', line: string]

/** A difference as a text, as much of it as can be read. */
export function listed(marked: readonly Marked[]): string {
  const lines = marked.map(([mark, line]) => `${mark}${withoutEnd(line)}`)
  const more = lines.length > SHOWN ? [`... and ${lines.length - SHOWN} lines more`] : []
  return [...lines.slice(0, SHOWN), ...more].join('\n')
}

/** An edge that stands nearer to the rest as well (a blank line) is taken to be there. */
function slid(lines: readonly Marked[]): Marked[] {
  const isCommon = ([mark]: Marked) => mark === ' '
  const start = lines.findIndex(isCommon)
  const run = upTo(lines.slice(start), (one) => !isCommon(one))
  const between = upTo(lines.slice(start + run.length), isCommon)
  const added = between.filter(([mark]) => mark === '+')
  const at = added.findLastIndex((_, index) => run.every(([, line], offset) => added[index + offset]?.[1] === line))
  if (start === -1 || at === -1) return [...lines]
  const before = [...run, ...added.slice(0, at)].map(([, line]): Marked => ['+', line])
  const after = [...between.filter(([mark]) => mark === '-'), ...added.slice(at + run.length)]
  return [...lines.slice(0, start), ...before, ...run, ...after, ...lines.slice(start + run.length + between.length)]
}

function upTo(lines: readonly Marked[], isEnd: (line: Marked) => boolean): readonly Marked[] {
  const end = lines.findIndex(isEnd)
  return end === -1 ? lines : lines.slice(0, end)
}

function edge(lines: readonly Marked[]): {missing: Marked[]; there: Marked[]} {
  return {missing: lines.filter(([mark]) => mark === '-'), there: lines.filter(([mark]) => mark === '+')}
}

function withoutEnd(line: string): string {
  return line.endsWith('\n') ? line.slice(0, -1) : `${line} (no newline at the end)`
}
