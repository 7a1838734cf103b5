import {expect, test} from 'vitest'
import {type Selftest, withSelftests} from '../../src/verdict/selftests.js'

const FIXED = {verdict: 'fixed', reasons: []} as const
const selftest = (base: Selftest['base'], patched: Selftest['patched']): Selftest => ({name: 'selftests: net: a.sh', base, patched})

test('a selftest that fails on base and passes on its kernel leaves the verdict', () => {
  expect(withSelftests({...FIXED, reasons: []}, [selftest('failed', 'passed')])).toEqual({
    verdict: 'fixed',
    reasons: ["the series' own selftest 'selftests: net: a.sh' failed on base and passed here"],
  })
})

test.each([
  ['failed', 'failed', 'not-fixed'],
  ['passed', 'failed', 'regressed'],
  ['skipped', 'failed', 'not-fixed'],
  ['passed', 'passed', 'fixed'],
  ['failed', 'skipped', 'fixed'],
  ['failed', null, 'fixed'],
] as const)('a selftest that %s on base and %s on its kernel makes it %s', (base, patched, verdict) => {
  expect(withSelftests({...FIXED, reasons: []}, [selftest(base, patched)]).verdict).toBe(verdict)
})

test('one that passes on both does not notice the bug, and that is said', () => {
  expect(withSelftests({...FIXED, reasons: []}, [selftest('passed', 'passed')]).reasons).toEqual([expect.stringMatching(/passed on base and here: it does not notice the bug$/)])
})

test('one without a result is told of', () => {
  expect(withSelftests({...FIXED, reasons: []}, [selftest('failed', null)]).reasons).toEqual([expect.stringMatching(/failed on base and gave no result here$/)])
})

test('any other verdict stays, whatever a selftest says', () => {
  expect(withSelftests({verdict: 'regressed', reasons: ['a control']}, [selftest('failed', 'passed')])).toMatchObject({verdict: 'regressed'})
  expect(withSelftests({verdict: 'could-not-run', reasons: ['no boot']}, []).reasons).toEqual(['no boot'])
})
