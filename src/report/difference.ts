import {type StoredRun} from '../run/folder.js'
import {type Result, type TestRow} from '../run/results.js'
import {plainTable} from './table.js'
import {titleOf} from './symptom.js'

type Status = TestRow['variant']

/** What changed of a cell from one run to another. */
export type CellChange = {
  case: string
  variant: string
  candidate: string | null
  /** The kernels' labels; null where the run has no such cell. */
  kernel: {before: string | null; after: string | null}
  verdict: {before: string | null; after: string | null}
  tests: {name: string; role: string; before: Status | null; after: Status | null; observed: {before: string; after: string}}[]
  same: boolean
}

/** Two runs, cell by cell and test by test. Pure. */
export function compareRuns(before: readonly Result[], after: readonly Result[]): CellChange[] {
  const left = [...after]
  const pairs = before.map((one): [Result, Result | undefined] => {
    const match = left.find((other) => isSameCell(one, other) && one.kernel === other.kernel) ?? left.find((other) => isSameCell(one, other) && lineOf(one) === lineOf(other))
    if (match) left.splice(left.indexOf(match), 1)
    return [one, match]
  })
  return [...pairs.map(([one, other]) => changeOf(one, other)), ...left.map((one) => changeOf(undefined, one))]
}

function isSameCell(one: Result, other: Result): boolean {
  return one.case === other.case && one.variant === other.variant && one.candidate === other.candidate
}

/** `debian 6.12.117` is compared with `debian 6.12.120`, where neither run has the other's. */
function lineOf({kernel}: Result): string {
  return kernel.replace(/(\d+\.\d+)\.\S+/, '$1')
}

function changeOf(one: Result | undefined, other: Result | undefined): CellChange {
  const {case: name, variant, candidate} = (one ?? other)!
  const names = [...new Set([...(one?.tests ?? []), ...(other?.tests ?? [])].map((test) => test.name))]
  const tests = names.flatMap((test) => testChange(one?.tests.find((row) => row.name === test), other?.tests.find((row) => row.name === test)))
  const verdict = {before: one?.verdict ?? null, after: other?.verdict ?? null}
  const known = one !== undefined && other !== undefined
  return {
    ...{case: name, variant, candidate, verdict},
    kernel: {before: one?.kernel ?? null, after: other?.kernel ?? null},
    tests: known ? tests : [],
    same: known && verdict.before === verdict.after && tests.length === 0,
  }
}

function testChange(before: TestRow | undefined, after: TestRow | undefined): CellChange['tests'] {
  const statuses = {before: before?.variant ?? null, after: after?.variant ?? null}
  if (statuses.before === statuses.after) return []
  const {name, role} = (before ?? after)!
  return [{name, role, ...statuses, observed: {before: before?.observed.variant ?? '', after: after?.observed.variant ?? ''}}]
}

/** What changed, as one JSON document; keys are added, never renamed, within a schema number. */
export function differenceJson(runs: {before: StoredRun; after: StoredRun}, cells: readonly CellChange[]): string {
  const about = ({folder, about}: StoredRun) => ({folder, date: about.date ?? null, command: about.command ?? null})
  return JSON.stringify({schema: 1, before: about(runs.before), after: about(runs.after), same: cells.every(({same}) => same), cells}, null, 2)
}

/** What changed, for a reader: a row a cell, and below it the tests that did. */
export function differenceText(cells: readonly CellChange[]): string {
  const changed = cells.filter(({same}) => !same)
  const count = `${cells.length - changed.length} of ${cells.length} cells are the same`
  if (changed.length === 0) return count
  const rows = changed.flatMap((cell) => [
    [cell.case, arrow(cell.kernel.before, cell.kernel.after), titleOf(cell as Pick<Result, 'variant' | 'candidate'>), arrow(cell.verdict.before, cell.verdict.after), ''],
    ...cell.tests.map(({name, before, after, observed}) => ['', '', `  ${name}`, arrow(before, after), wordsOf(observed)]),
  ])
  return `${plainTable(['case', 'kernel', 'cell and test', 'before > after', 'seen before > seen after'], rows)}\n\n${count}`
}

function arrow(before: string | null, after: string | null): string {
  return before === after ? (before ?? '') : `${before ?? 'not there'} > ${after ?? 'not there'}`
}

function wordsOf({before, after}: {before: string; after: string}): string {
  const first = (text: string) => text.split(/[\n;]/)[0]!
  return before === after ? '' : `${first(before) || '-'} > ${first(after) || '-'}`
}
