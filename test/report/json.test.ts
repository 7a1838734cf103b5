import {expect, it} from 'vitest'
import {comparisonJson} from '../../src/report/json.js'
import {FIXED, RECORD, resultWith} from '../support/results.js'

const ABOUT = {date: '2026-11-20T12:00:00.000Z', command: 'patchbench compare one', accelerator: 'tcg'}

it('is the results and the run, under a schema number', () => {
  const text = comparisonJson({results: FIXED, pairs: [RECORD], leftOut: []}, {folder: '/runs/1', exit: 0, ...ABOUT})
  expect(JSON.parse(text)).toEqual({schema: 1, run: {folder: '/runs/1', exit: 0, ...ABOUT}, results: FIXED, pairs: [RECORD], leftOut: []})
})

it('has the keys that readers rely on', () => {
  const {results} = JSON.parse(comparisonJson({results: [resultWith({})], pairs: [], leftOut: []}, {folder: '/runs/1', exit: 1, ...ABOUT})) as {results: Record<string, unknown>[]}
  const keys = ['candidate', 'case', 'evidence', 'expected', 'kernel', 'reasons', 'repeats', 'selftests', 'tests', 'variant', 'verdict']
  expect(Object.keys(results[0]!).sort()).toEqual(keys)
  const [test] = results[0]!.tests as Record<string, unknown>[]
  expect(Object.keys(test!).sort()).toEqual(['base', 'claimed', 'name', 'observed', 'role', 'variant'])
})

it('says that there is no candidate with null, not by leaving it out', () => {
  expect(comparisonJson({results: [resultWith({})], pairs: [], leftOut: []}, {folder: '/', exit: 0, ...ABOUT})).toContain('"candidate": null')
})
