import {expect, it} from 'vitest'
import {comparisonJson} from '../../src/report/json.js'
import {type RunFacts} from '../../src/report/markdown.js'
import {FIXED, RECORD, resultWith} from '../support/results.js'

const FACTS: RunFacts = {folder: '/runs/1', date: '2026-11-20T12:00:00.000Z', command: 'patchbench compare one', accelerator: 'tcg', why: 'asked for', version: '0.1.0', revision: '', tools: ['gcc 12']}

it('is the results and the run, under a schema number', () => {
  const text = comparisonJson({results: FIXED, pairs: [RECORD], leftOut: []}, {...FACTS, exit: 0})
  expect(JSON.parse(text)).toEqual({schema: 1, run: {...FACTS, exit: 0}, results: FIXED, pairs: [RECORD], leftOut: []})
})

it('has the keys that readers rely on', () => {
  const {results} = JSON.parse(comparisonJson({results: [resultWith({})], pairs: [], leftOut: []}, {...FACTS, exit: 1})) as {results: Record<string, unknown>[]}
  const keys = ['candidate', 'case', 'evidence', 'expected', 'kernel', 'reasons', 'repeats', 'selftests', 'tests', 'variant', 'verdict']
  expect(Object.keys(results[0]!).sort()).toEqual(keys)
  const [test] = results[0]!.tests as Record<string, unknown>[]
  expect(Object.keys(test!).sort()).toEqual(['base', 'claimed', 'name', 'observed', 'role', 'variant'])
})

it('says that there is no candidate with null, not by leaving it out', () => {
  expect(comparisonJson({results: [resultWith({})], pairs: [], leftOut: []}, {...FACTS, exit: 0})).toContain('"candidate": null')
})
