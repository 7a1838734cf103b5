import {stripVTControlCharacters} from 'node:util'
import {afterEach, describe, expect, it, vi} from 'vitest'
import {comparisonTable, plainTable} from '../../src/report/table.js'
import {FIXED, resultWith} from '../support/results.js'

const cells = (line: string) => line.split(/ {2,}/)

afterEach(() => void vi.unstubAllEnvs())

describe('a plain table', () => {
  it('has columns and neither borders nor blanks at line ends', () => {
    expect(plainTable(['what', 'state'], [['qemu', 'there'], ['a long one', 'x']])).toBe('what        state\nqemu        there\na long one  x')
  })
})

describe('a comparison', () => {
  it('has a line a cell, and names case and kernel once', () => {
    const lines = comparisonTable(FIXED, false).split('\n')
    expect(cells(lines[0]!)).toEqual(['case', 'kernel', 'variant', 'symptom', 'controls', 'verdict'])
    expect(cells(lines[1]!)).toEqual(['one', 'debian 6.12.90', 'base', 'TTL 5,4,3', '2/2', 'shown'])
    expect(cells(lines[2]!)).toEqual(['', 'livepatched', 'TTL 4', '2/2', 'fixed'])
    expect(cells(lines[3]!)).toEqual(['', 'reverted', 'TTL 5,4,3', '2/2', 'restored'])
    expect(lines).toHaveLength(4)
  })

  it('names case and kernel again where they change', () => {
    const lines = comparisonTable([resultWith({}), resultWith({kernel: 'debian 6.1.174'}), resultWith({case: 'two', kernel: 'debian 6.1.174'})], false).split('\n')
    expect(lines.slice(1).map((line) => cells(line).slice(0, 2))).toEqual([
      ['one', 'debian 6.12.90'],
      ['one', 'debian 6.1.174'],
      ['two', 'debian 6.1.174'],
    ])
  })

  it('names the fix where a case has several', () => {
    const cell = (candidate: string) => resultWith({variant: 'livepatched', candidate, verdict: 'fixed', expected: 'fixed', reasons: ['odd']})
    const text = comparisonTable([resultWith({}), cell('proposed'), cell('revised')], false)
    const lines = text.split('\n')
    expect(cells(lines[0]!)).toEqual(['case', 'kernel', 'variant', 'fix', 'symptom', 'controls', 'verdict'])
    expect(lines[2]).toContain('livepatched  proposed  ')
    expect(lines[3]).toContain('livepatched  revised ')
    expect(text).toContain('\none, debian 6.12.90, livepatched (revised): odd')
    expect(comparisonTable([cell('proposed')], false).split('\n')[0]).not.toContain('fix')
  })

  it('says what was expected instead, how often it ran, and why', () => {
    const text = comparisonTable([resultWith({variant: 'livepatched', verdict: 'not-fixed', expected: 'fixed', repeats: 3, reasons: ["the symptom 'one-copy' still shows"]})], false)
    expect(text).toContain('not-fixed (expected fixed), 3 times')
    expect(text).toContain("\n\none, debian 6.12.90, livepatched: the symptom 'one-copy' still shows")
  })

  it('counts the controls that pass', () => {
    const tests = [{name: 'a', role: 'control' as const}, {name: 'b', role: 'control' as const, variant: 'failed' as const}, {name: 'c', role: 'control' as const, variant: 'missing' as const}]
    expect(cells(comparisonTable([resultWith({tests})], false).split('\n')[1]!)).toContain('1/3')
  })

  it('counts no control where none was run', () => {
    const tests = [{name: 'a', role: 'control' as const, variant: 'missing' as const}]
    expect(cells(comparisonTable([resultWith({tests})], false).split('\n')[1]!)).not.toContain('0/1')
  })

  it('shows a symptom that still shows before one that is gone, and how many more', () => {
    const symptom = (name: string, variant: 'passed' | 'failed') => ({name, base: 'failed' as const, variant, observed: {base: '', variant: `saw ${name}`}})
    const line = (tests: Parameters<typeof resultWith>[0]['tests']) => comparisonTable([resultWith({tests: tests ?? []})], false).split('\n')[1]!
    expect(line([symptom('a', 'passed'), symptom('b', 'failed'), symptom('c', 'failed')])).toContain('saw b (and 1 more)')
    expect(line([symptom('a', 'passed'), symptom('b', 'passed')])).toContain('saw a (and 1 more)')
    expect(line([{...symptom('a', 'failed'), claimed: false}, symptom('b', 'passed')])).toContain('saw b')
    expect(line([{name: 'a', base: 'failed', variant: 'missing'}])).toMatch(/ - /)
    expect(line([{name: 'a', base: 'failed', variant: 'failed'}])).toContain('a failed')
  })

  it('is the same text in colour', () => {
    vi.stubEnv('NO_COLOR', undefined)
    vi.stubEnv('FORCE_COLOR', '1')
    const results = [...FIXED, resultWith({variant: 'livepatched', verdict: 'not-fixed', expected: 'fixed'})]
    const painted = comparisonTable(results, true)
    expect(stripVTControlCharacters(painted)).toBe(comparisonTable(results, false))
    expect(comparisonTable(results, false)).not.toContain('\u001B')
    expect(painted).toContain('\u001B[32mfixed')
    expect(painted).toContain('\u001B[33mshown')
    expect(painted).toContain('\u001B[31mnot-fixed (expected fixed)')
  })

  it('has the whole verdict in colour, also where it is a part of the expected one', () => {
    vi.stubEnv('NO_COLOR', undefined)
    vi.stubEnv('FORCE_COLOR', '1')
    expect(comparisonTable([resultWith({variant: 'livepatched', verdict: 'fixed', expected: 'not-fixed'})], true)).toContain('\u001B[31mfixed (expected not-fixed)')
  })
})
