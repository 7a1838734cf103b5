import {styleText} from 'node:util'
import {printable} from '../lib/text.js'
import {type Row, type State, worst} from '../submit/rows.js'
import {plainTable} from './table.js'

/** What is checked, for a report's head. */
export type Checked = {case: string; candidate: string; source: string; patches: readonly string[]; rows: readonly Row[]}

const SAID: Record<State, string> = {passed: 'passed', warned: 'warned', failed: 'failed', 'not-run': 'not run'}
const STYLE: Record<State, Parameters<typeof styleText>[0]> = {passed: 'green', warned: 'yellow', failed: 'red', 'not-run': 'dim'}

/** One table: what each check says of each patch and of the series, and where. Patches of which it says the same share a line. */
export function checkTable({rows, ...about}: Checked, colour: boolean): string {
  const lines = merged(rows)
  const cells = lines.map(({check, patches, state, place, reason}) => [check, patches, SAID[state], place, reason])
  const [head = '', ...body] = plainTable(['check', 'patch', 'result', 'place', 'reason'], cells).split('\n')
  const painted = body.map((line, index) => paint(line, lines[index]!.state, colour))
  return [`${about.candidate} of ${about.case} for ${about.source}`, '', head, ...painted, '', summary(rows)].join('\n')
}

/** `3 failed, 1 warned, 20 passed, 4 not run`. */
export function summary(rows: readonly Row[]): string {
  const counts = (['failed', 'warned', 'passed', 'not-run'] as const).map((state) => [rows.filter((row) => row.state === state).length, SAID[state]] as const)
  return counts.filter(([count]) => count > 0).map(([count, word]) => `${count} ${word}`).join(', ')
}

type Line = Omit<Row, 'patch'> & {patches: string}

function merged(rows: readonly Row[]): Line[] {
  const lines: (Line & {numbers: number[]})[] = []
  for (const {patch, ...row} of rows) {
    const same = lines.find((line) => patch !== null && line.numbers.length > 0 && line.check === row.check && line.state === row.state && line.place === row.place && line.reason === row.reason)
    if (same) same.numbers.push(patch!)
    else lines.push({...row, patches: '', numbers: patch === null ? [] : [patch]})
  }
  return lines.map((line) => ({...line, reason: line.reason.split('\n')[0]!, patches: ranges(line.numbers)}))
}

/** `1-3,5`; `-` for the series as a whole. */
function ranges(numbers: readonly number[]): string {
  const parts: [number, number][] = []
  for (const number of numbers) {
    const last = parts.at(-1)
    if (last && number === last[1] + 1) last[1] = number
    else parts.push([number, number])
  }
  return parts.map(([from, to]) => (from === to ? `${from}` : `${from}-${to}`)).join(',') || '-'
}

function paint(line: string, state: State, colour: boolean): string {
  return colour ? line.replace(SAID[state], (word) => styleText(STYLE[state], word)) : line
}

/** All rows as one JSON document. */
export function checkJson({rows, ...about}: Checked, exit: number): string {
  return JSON.stringify({schema: 1, ...about, exit, rows}, null, 2)
}

/** A test a check and patch (Documentation/dev-tools/ktap.rst); warnings pass, with the reason above. */
export function checkKtap({rows}: Checked): string {
  const tests = new Map<string, Row[]>()
  for (const row of rows) {
    const name = `${row.check}${row.patch === null ? '' : `-${row.patch}`}`
    tests.set(name, [...(tests.get(name) ?? []), row])
  }
  const lines = [...tests].flatMap(([name, own], index) => {
    const complaints = own.filter(({state}) => state === 'warned' || state === 'failed')
    const state = worst(own)
    const skip = state === 'not-run' ? ` # SKIP ${oneLine(own[0]!.reason)}` : ''
    return [
      ...complaints.map((row) => `# ${SAID[row.state]}: ${[row.place, row.reason].filter(Boolean).map(oneLine).join(': ')}`),
      `${state === 'failed' ? 'not ok' : 'ok'} ${index + 1} ${name}${skip}`,
    ]
  })
  return ['KTAP version 1', `1..${tests.size}`, ...lines].join('\n')
}

/** Workflow commands, which GitHub shows beside the lines that they are about. */
export function checkAnnotations({rows}: Checked): string {
  const lines = rows
    .filter(({state}) => state !== 'passed')
    .map(({check, patch, state, place, reason}) => {
      const [, file, line] = /^(.*?)(?::(\d+))?$/.exec(place) ?? []
      const where = [...(file ? [`file=${property(file)}`] : []), ...(line ? [`line=${line}`] : []), `title=${property(`${check}${patch === null ? '' : `, patch ${patch}`}`)}`]
      const kind = state === 'failed' ? 'error' : state === 'warned' ? 'warning' : 'notice'
      return `::${kind} ${where.join(',')}::${data(state === 'not-run' ? `not run: ${reason}` : reason)}`
    })
  return lines.join('\n')
}

/** What a message may not hold as it is (GitHub's workflow commands end at a line end). */
function data(text: string): string {
  return printable(text).replaceAll('%', '%25').replaceAll('\r', '%0D').replaceAll('\n', '%0A')
}

function property(text: string): string {
  return data(text).replaceAll(':', '%3A').replaceAll(',', '%2C')
}

function oneLine(text: string): string {
  return printable(text).replace(/\s*\n\s*/g, ' ').replaceAll('#', '\\#')
}
