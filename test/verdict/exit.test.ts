import {describe, expect, it} from 'vitest'
import {EXIT} from '../../src/lib/errors.js'
import {exitCodeOf} from '../../src/verdict/exit.js'
import {type VerdictName} from '../../src/verdict/verdict.js'

const VERDICTS: VerdictName[] = [
  ...(['shown', 'fixed', 'not-fixed', 'not-reproduced', 'regressed', 'flaky', 'restored', 'not-restored'] as const),
]

describe('the exit code', () => {
  it('has the numbers that users rely on', () => {
    expect(EXIT).toEqual({ok: 0, missed: 1, input: 2, couldNotRun: 69, interrupted: 130})
  })

  it('is 0 when every verdict is the expected one, good or bad', () => {
    expect(exitCodeOf(VERDICTS.map((verdict) => ({verdict, expected: verdict})))).toBe(0)
    expect(exitCodeOf([])).toBe(0)
  })

  it.each(VERDICTS)('is 1 for %s where another was expected', (verdict) => {
    for (const expected of VERDICTS) {
      if (expected !== verdict) expect(exitCodeOf([{verdict: 'shown', expected: 'shown'}, {verdict, expected}])).toBe(1)
    }
  })

  it('is 69 when something could not run and nothing else is amiss', () => {
    expect(exitCodeOf([{verdict: 'fixed', expected: 'fixed'}, {verdict: 'could-not-run', expected: 'fixed'}])).toBe(69)
  })

  it('is 1 when a missed verdict is certain, whatever could not run beside it', () => {
    const lost = {verdict: 'could-not-run', expected: 'fixed'} as const
    const missed = {verdict: 'flaky', expected: 'fixed'} as const
    expect(exitCodeOf([lost, missed])).toBe(1)
    expect(exitCodeOf([missed, lost])).toBe(1)
  })
})
