import {EXIT} from '../lib/errors.js'
import {type VerdictName} from './verdict.js'

/**
 * The exit code of a comparison. A verdict that is not the expected one is
 * certain and wins over a cell that could not run, of which nothing is known.
 */
export function exitCodeOf(results: readonly {verdict: VerdictName; expected: VerdictName}[]): number {
  const missed = results.filter(({verdict, expected}) => verdict !== expected)
  if (missed.some(({verdict}) => verdict !== 'could-not-run')) return EXIT.missed
  return missed.length > 0 ? EXIT.couldNotRun : EXIT.ok
}
