import {type TestOutcome} from './ktap.js'
import {type Verdict} from './verdict.js'

/** What one selftest of a series said on base and on the series' own kernel; null where it gave no result. */
export type Selftest = {name: string; base: TestOutcome['status'] | null; patched: TestOutcome['status'] | null}

/**
 * The verdict on a series with what its own selftests say. One that fails on
 * the series' kernel is a symptom that still shows, or a control that broke;
 * one that passes is no proof, the reproducer's tests are.
 */
export function withSelftests({verdict, reasons}: Verdict, selftests: readonly Selftest[]): Verdict {
  const words = selftests.map(wordsOf)
  if (verdict !== 'fixed') return {verdict, reasons: [...reasons, ...words]}
  const failed = selftests.filter(({patched}) => patched === 'failed')
  if (failed.length === 0) return {verdict, reasons: [...reasons, ...words]}
  return {verdict: failed.some(({base}) => base === 'passed') ? 'regressed' : 'not-fixed', reasons: [...words, ...reasons]}
}

function wordsOf({name, base, patched}: Selftest): string {
  const here = patched ?? 'gave no result'
  if (base === patched) return `the series' own selftest '${name}' ${here} on base and here${patched === 'passed' ? ': it does not notice the bug' : ''}`
  return `the series' own selftest '${name}' ${base ?? 'gave no result'} on base and ${here} here`
}
