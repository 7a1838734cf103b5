import {type Mail} from './mails.js'

/** The number that a subject has in its series, as in `[PATCH net v2 2/6]`. */
type Place = {number: number; total: number}

/**
 * The patches of one numbered series in the order of their numbers, as b4 and
 * patchwork have it, and what a reader has to be told of that. Where they are
 * not all of one series (one without a number, two totals, a number twice), they
 * stay in the order in which they came, as git am has it.
 */
export function inOrder<T extends Pick<Mail, 'subject'>>(patches: readonly T[]): {patches: T[]; notes: string[]} {
  const placed = patches.flatMap((patch) => {
    const place = placeOf(patch)
    return place ? [{patch, ...place}] : []
  })
  const total = placed[0]?.total ?? 0
  const numbers = placed.map(({number}) => number)
  const isOne = placed.length === patches.length && placed.every((one) => one.total === total && one.number >= 1 && one.number <= total)
  if (!isOne || new Set(numbers).size !== numbers.length) return {patches: [...patches], notes: []}
  const sorted = placed.toSorted((a, b) => a.number - b.number)
  const isSorted = sorted.every((one, index) => one === placed[index])
  const came = isSorted ? [] : [`the patches came as ${numbers.map((number) => `${number}/${total}`).join(', ')}: they were put in the order of their numbers`]
  return {patches: sorted.map(({patch}) => patch), notes: [...came, ...missing(sorted.map(({number}) => number), total)]}
}

function placeOf({subject}: Pick<Mail, 'subject'>): Place | undefined {
  const [prefix] = /^(?:\s*(?:re:|\[[^\]]*\]))*/i.exec(subject)!
  const [, number, total] = /\b(\d+)\/(\d+)\b/.exec(prefix) ?? []
  return number === undefined ? undefined : {number: Number(number), total: Number(total)}
}

/** Names the numbers of a series that are not there; runs of them by their ends, as of one of 400 mails. */
function missing(numbers: readonly number[], total: number): string[] {
  const ends = [0, ...numbers, total + 1]
  const names = ends.slice(1).flatMap((next, index) => {
    const [from, to] = [ends[index]! + 1, next - 1]
    if (from > to) return []
    if (from === to) return [`${from}/${total}`]
    return from + 1 === to ? [`${from}/${total}`, `${to}/${total}`] : [`${from}/${total} to ${to}/${total}`]
  })
  if (names.length === 0) return []
  const list = names.length === 1 ? names[0]! : `${names.slice(0, -1).join(', ')} and ${names.at(-1)}`
  return [`${list} ${total - numbers.length === 1 ? 'is' : 'are'} missing from the series`]
}
