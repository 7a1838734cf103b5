import {expect, it} from 'vitest'
import {checkAnnotations, checkJson, checkKtap, checkTable} from '../../src/report/check.js'
import {type Row} from '../../src/submit/rows.js'
import {parseKtap} from '../../src/verdict/ktap.js'

const ROWS: Row[] = [
  {check: 'applies', patch: 1, state: 'passed', place: '', reason: ''},
  {check: 'applies', patch: 2, state: 'passed', place: '', reason: ''},
  {check: 'applies', patch: 3, state: 'failed', place: 'net/a.c:7', reason: 'does not apply'},
  {check: 'checkpatch', patch: 1, state: 'warned', place: 'net/a.c:9', reason: 'LONG_LINE: 100% of # \u001b[2J'},
  {check: 'checkpatch', patch: 1, state: 'warned', place: '0001.patch', reason: 'TYPO: teh'},
  {check: 'build', patch: null, state: 'not-run', place: '', reason: '--no-build'},
]
const CHECKED = {case: 'one', candidate: 'fix', source: 'linux 6.12.7', patches: ['a', 'b', 'c'], rows: ROWS}

it('is one table in which patches of which the same is said share a line', () => {
  expect(checkTable(CHECKED, false).split('\n')).toEqual([
    ...['fix of one for linux 6.12.7', ''],
    'check       patch  result   place       reason',
    'applies     1-2    passed',
    'applies     3      failed   net/a.c:7   does not apply',
    'checkpatch  1      warned   net/a.c:9   LONG_LINE: 100% of #',
    'checkpatch  1      warned   0001.patch  TYPO: teh',
    'build       -      not run              --no-build',
    ...['', '1 failed, 2 warned, 2 passed, 1 not run'],
  ])
})

it('is JSON with every row', () => {
  expect(JSON.parse(checkJson(CHECKED, 1))).toEqual({schema: 1, ...CHECKED, exit: 1})
})

it('is KTAP that our own reader takes, in which what was not run is skipped', () => {
  const text = checkKtap(CHECKED)
  const {tests, broken} = parseKtap(text)
  expect(broken).toBeUndefined()
  expect(tests.map(({name, status}) => [name, status])).toEqual([
    ['applies-1', 'passed'],
    ['applies-2', 'passed'],
    ['applies-3', 'failed'],
    ['checkpatch-1', 'passed'],
    ['build', 'skipped'],
  ])
  expect(text).toContain('# failed: net/a.c:7: does not apply\nnot ok 3 applies-3')
  expect(text).not.toContain('\u001b')
})

it('is annotations for GitHub that no text can end', () => {
  const rows: Row[] = [...ROWS, {check: 'x', patch: 2, state: 'failed', place: 'a,b:c:3', reason: 'two\n::error::lines'}]
  expect(checkAnnotations({...CHECKED, rows}).split('\n')).toEqual([
    '::error file=net/a.c,line=7,title=applies%2C patch 3::does not apply',
    '::warning file=net/a.c,line=9,title=checkpatch%2C patch 1::LONG_LINE: 100%25 of # ',
    '::warning file=0001.patch,title=checkpatch%2C patch 1::TYPO: teh',
    '::notice title=build::not run: --no-build',
    '::error file=a%2Cb%3Ac,line=3,title=x%2C patch 2::two%0A::error::lines',
  ])
})
