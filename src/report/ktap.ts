import {type StoredRun} from '../run/folder.js'
import {type Result, type TestRow} from '../run/results.js'
import {titleOf} from './symptom.js'

/**
 * A run as KTAP (Documentation/dev-tools/ktap.rst): a result a cell, with its
 * tests below it. A cell is ok when its verdict is the expected one. Of a test
 * that fails as it should, a symptom on base, the directive is XFAIL.
 */
export function runKtap({results}: StoredRun): string {
  const lines = results.flatMap((result, index) => cellLines(result, index + 1))
  return ['KTAP version 1', `1..${results.length}`, ...lines].join('\n')
}

function cellLines(result: Result, number: number): string[] {
  const {verdict, expected, reasons, tests} = result
  const name = nameOf(`${result.case}, ${result.kernel}, ${titleOf(result)}`)
  const met = verdict === expected
  const nested = tests.flatMap((test, index) => testLines(test, index + 1, result, met)).map((line) => `  ${line}`)
  const about = [`verdict ${verdict}, expected ${expected}`, ...reasons].flatMap(commentLines)
  return ['  KTAP version 1', `  # Subtest: ${name}`, `  1..${tests.length}`, ...nested, ...about, `${met ? 'ok' : 'not ok'} ${number} ${name}${!met && verdict === 'could-not-run' ? ' # ERROR could not run' : ''}`]
}

function testLines(test: TestRow, number: number, {variant}: Result, met: boolean): string[] {
  const seen = commentLines(test.observed.variant)
  const name = nameOf(test.name)
  if (test.variant === 'skipped') return [`ok ${number} ${name} # SKIP ${nameOf(test.observed.variant)}`.trimEnd()]
  if (test.variant === 'missing') return [`${met ? 'ok' : 'not ok'} ${number} ${name} # ERROR no result`]
  if (test.variant === 'passed') return [...seen, `ok ${number} ${name}`]
  const isExpected = met || (test.role === 'symptom' && (!test.claimed || variant === 'base' || variant === 'reverted'))
  return [...seen, isExpected ? `ok ${number} ${name} # XFAIL` : `not ok ${number} ${name}`]
}

/** What a guest said cannot become a result line, a plan or a directive. */
function commentLines(text: string): string[] {
  return text === '' ? [] : text.split('\n').map((line) => `# ${line}`)
}

/** A text within a line of KTAP: a # begins a directive. */
function nameOf(text: string): string {
  return text.replace(/\s+/g, ' ').replaceAll('#', '\\#').trim()
}
