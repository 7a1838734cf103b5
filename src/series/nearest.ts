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
export function nearestPlace(file: readonly string[], piece: readonly string[], expected: number): {at: number; difference: string | null} | undefined {
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
  const all = parts.flatMap(({added, removed, value}) => value.map((line): Marked => [added ? '+' : removed ? '-' : ' ', line]))
  const common = all.map(([mark]) => mark === ' ')
  const [first, last] = [common.indexOf(true), common.lastIndexOf(true)]
  if (first === -1) return {at: Math.max(0, at), difference: null}
  const [head, tail] = [edge(all.slice(0, first)), edge(all.slice(last + 1))]
  // Of the file's lines at an edge, those next to the piece.
  const above = head.there.slice(Math.max(0, head.there.length - head.missing.length))
  const below = tail.there.slice(0, tail.missing.length)
  const inner = [...head.missing, ...above, ...all.slice(first, last + 1), ...tail.missing, ...below]
  const lines = inner.map(([mark, line]) => `${mark}${withoutEnd(line)}`)
  const more = lines.length > SHOWN ? [`... and ${lines.length - SHOWN} lines more`] : []
  return {at: start + head.there.length - above.length, difference: [...lines.slice(0, SHOWN), ...more].join('\n')}
}

type Marked = [mark: '+' | '-' | ' ', line: string]

function edge(lines: readonly Marked[]): {missing: Marked[]; there: Marked[]} {
  return {missing: lines.filter(([mark]) => mark === '-'), there: lines.filter(([mark]) => mark === '+')}
}

function withoutEnd(line: string): string {
  return line.endsWith('\n') ? line.slice(0, -1) : `${line} (no newline at the end)`
}
