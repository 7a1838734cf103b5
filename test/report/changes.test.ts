import {expect, it} from 'vitest'
import {changesBetween} from '../../src/report/changes.js'
import {FIXED, resultWith} from '../support/results.js'

it('what is as before is nothing to say', () => {
  expect(changesBetween(FIXED, FIXED)).toEqual([])
})

it('a verdict and the tests that made it', () => {
  const now = resultWith({
    variant: 'livepatched',
    candidate: 'input',
    verdict: 'not-fixed',
    tests: [{name: 'one-copy', base: 'failed', variant: 'failed', observed: {base: '', variant: 'TTL 5,4,3\non the wire'}}, {name: 'delivered', role: 'control'}, {name: 'unjoined', role: 'control', variant: 'missing'}],
  })
  expect(changesBetween(FIXED, [FIXED[0]!, now])).toEqual(['debian 6.12.90, livepatched, input: fixed -> not-fixed', '  one-copy: passed -> failed (TTL 5,4,3)', '  unjoined: passed -> missing'])
})

it('a cell that was not there', () => {
  expect(changesBetween([], [FIXED[1]!])).toEqual(['debian 6.12.90, livepatched, input: fixed'])
})

it('a test that was not there', () => {
  expect(changesBetween([resultWith({tests: []})], [resultWith({tests: [{name: 'new', variant: 'failed'}]})])).toEqual(['  new: missing -> failed'])
})
