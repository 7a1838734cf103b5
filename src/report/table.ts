import Table from 'cli-table3'
import {styleText} from 'node:util'
import {printable} from '../lib/text.js'
import {type Result} from '../run/results.js'
import {controlsText, symptomText} from './symptom.js'

/** No lines around cells: the table is read on terminals and in mail. */
const BARE = {
  ...{top: '', 'top-mid': '', 'top-left': '', 'top-right': ''},
  ...{bottom: '', 'bottom-mid': '', 'bottom-left': '', 'bottom-right': ''},
  ...{left: '', 'left-mid': '', mid: '', 'mid-mid': '', right: '', 'right-mid': '', middle: '  '},
}

/** Rows of text in columns, without borders. */
export function plainTable(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const style = {head: [], border: [], 'padding-left': 0, 'padding-right': 0}
  const table = new Table({head: [...head], chars: BARE, style})
  for (const row of rows) table.push(row.map(printable))
  return table
    .toString()
    .split('\n')
    .map((line) => line.trimEnd())
    .join('\n')
}

/**
 * The comparison as a table, a line a cell; below it why a verdict is not the plain one.
 *
 * @param colour whether the reader is a terminal that wants colour
 */
export function comparisonTable(results: readonly Result[], colour: boolean): string {
  const named = hasChoiceOfFixes(results)
  const rows = results.map((result, index) => {
    const before = results[index - 1]
    const sameCase = before?.case === result.case && before.kernel === result.kernel
    return [
      sameCase ? '' : result.case,
      sameCase ? '' : result.kernel,
      result.variant,
      ...(named ? [result.candidate ?? ''] : []),
      symptomText(result),
      controlsText(result),
      verdictText(result),
    ]
  })
  const head = ['case', 'kernel', 'variant', ...(named ? ['fix'] : []), 'symptom', 'controls', 'verdict']
  const lines = plainTable(head, rows).split('\n')
  const painted = lines.map((line, index) => paint(line, results[index - 1], colour))
  return [...painted, ...reasons(results), ...traces(results)].join('\n')
}

function verdictText({verdict, expected, repeats}: Result): string {
  const missed = verdict === expected ? '' : ` (expected ${expected})`
  return `${verdict}${missed}${repeats > 1 ? `, ${repeats} times` : ''}`
}

/** Where no case has more than one fix, naming it says nothing. */
function hasChoiceOfFixes(results: readonly Result[]): boolean {
  const fixes = new Map<string, Set<string>>()
  for (const {case: name, candidate} of results) {
    if (candidate) fixes.set(name, (fixes.get(name) ?? new Set()).add(candidate))
  }
  return [...fixes.values()].some(({size}) => size > 1)
}

function paint(line: string, result: Result | undefined, colour: boolean): string {
  if (!colour || !result) return line
  const end = line.lastIndexOf(verdictText(result))
  const style = result.verdict !== result.expected ? 'red' : result.verdict === 'shown' || result.verdict === 'restored' ? 'yellow' : 'green'
  return line.slice(0, end) + styleText(style, line.slice(end))
}

function reasons(results: readonly Result[]): string[] {
  return results.flatMap((result) =>
    result.reasons.map((reason) => `\n${result.case}, ${result.kernel}, ${cellOf(result)}: ${reason}`),
  )
}

/** What was traced, a line a cell, and what was not: once where it is so of all cells of a kernel, else with the cells. */
function traces(results: readonly Result[]): string[] {
  const traced = results.flatMap((result) => (result.trace ? [{trace: result.trace, pair: `${result.case}, ${result.kernel}`, cell: cellOf(result)}] : []))
  const hits = traced.map(({pair, cell, trace}) => {
    const counts = trace.probes.map((probe) => `${probe.name} ${probe.hits}`).join(', ') || 'nothing'
    return `${pair}, ${cell}: traced ${counts}`
  })
  const notes = traced.flatMap(({pair, trace}) => {
    const cells = traced.filter((one) => one.pair === pair)
    return trace.notes.map((note) => {
      const own = cells.filter((one) => one.trace.notes.includes(note)).map(({cell}) => cell)
      return `${[pair, ...(own.length < cells.length ? own : [])].join(', ')}: ${printable(note)}`
    })
  })
  return traced.length > 0 ? ['', ...hits, ...new Set(notes)] : []
}

function cellOf({variant, candidate}: Result): string {
  return `${variant}${candidate ? ` (${candidate})` : ''}`
}
