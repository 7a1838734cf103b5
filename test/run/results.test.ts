import {describe, expect, it} from 'vitest'
import {type Case} from '../../src/case/case.js'
import {type Cell, type Fix, ownNotes, resultOf} from '../../src/run/results.js'
import {type VariantRun} from '../../src/verdict/verdict.js'

const CASE = {name: 'one', symptoms: [{name: 'tcp'}, {name: 'udp'}], controls: [{name: 'lan'}]} as Case

const TCP: Fix = {name: 'tcp-only', claims: ['tcp'], expect: {livepatched: 'fixed', reverted: 'restored'}}
const BOTH: Fix = {name: 'both', claims: ['tcp', 'udp'], expect: {patched: 'regressed'}}

/** A run in which these tests fail. */
function run(...failed: string[]): VariantRun {
  const tests = ['tcp', 'udp', 'lan'].map((name) => ({name, status: failed.includes(name) ? 'failed' : 'passed', observed: `${name} seen`}) as const)
  return {tests, splats: []}
}

function result(cell: Partial<Cell>, base: VariantRun[], own: VariantRun[] = base) {
  return resultOf(CASE, {kernel: 'built 6.12.7', variant: 'base', fixes: [], ...cell}, {base, own}, '/evidence')
}

describe('the row of base', () => {
  it.each<[string, Fix[], VariantRun, string]>([
    ['has to show every symptom without a fix', [], run('tcp', 'udp'), 'shown'],
    ['does not do with one of them', [], run('tcp'), 'not-reproduced'],
    ['has to show what the only fix of its kernel is for', [TCP], run('tcp'), 'shown'],
    ['has to show what any fix of its kernel is for', [TCP, BOTH], run('tcp'), 'not-reproduced'],
    ['shows it all', [TCP, BOTH], run('tcp', 'udp'), 'shown'],
  ])('%s', (_, fixes, base, verdict) => {
    expect(result({fixes}, [base])).toMatchObject({variant: 'base', candidate: null, expected: 'shown', verdict})
  })

  it('says which symptoms some fix claims', () => {
    const {tests} = result({fixes: [TCP]}, [run('tcp', 'udp')])
    expect(tests.map(({name, role, claimed}) => [name, role, claimed])).toEqual([['tcp', 'symptom', true], ['udp', 'symptom', false], ['lan', 'control', true]])
  })
})

describe('the row of a fix', () => {
  it('is judged by its own claims, whatever others claim', () => {
    const cell = {variant: 'livepatched', fixes: [TCP, BOTH], fix: TCP} as const
    expect(result(cell, [run('tcp', 'udp')], [run('udp')])).toMatchObject({candidate: 'tcp-only', verdict: 'fixed', reasons: []})
    expect(result({...cell, variant: 'patched', fix: BOTH}, [run('tcp', 'udp')], [run('udp')])).toMatchObject({candidate: 'both', verdict: 'not-fixed'})
  })

  it.each<[Cell['variant'], Fix, string]>([
    ['livepatched', TCP, 'fixed'],
    ['reverted', TCP, 'restored'],
    ['patched', BOTH, 'regressed'],
  ])('%s is expected to be what the fix says of it', (variant, fix, expected) => {
    expect(result({variant, fix, fixes: [fix]}, [run('tcp', 'udp')]).expected).toBe(expected)
  })

  it('has its notes after the reasons, and is no other verdict for them', () => {
    const cell = {variant: 'patched', fix: BOTH, fixes: [BOTH], notes: ['this series changes nothing']} as const
    expect(result(cell, [run('tcp', 'udp')])).toMatchObject({
      verdict: 'not-fixed',
      reasons: ["the symptom 'tcp' still shows: tcp seen", "the symptom 'udp' still shows: udp seen", 'this series changes nothing'],
    })
    expect(result(cell, [run('tcp', 'udp')], [run()])).toMatchObject({verdict: 'fixed', reasons: ['this series changes nothing']})
  })

  it('of a fix says not again what is said of base', () => {
    expect(ownNotes(['of both', 'of its own'], ['of both', 'of base'])).toEqual(['of its own'])
    expect(ownNotes(['of its own'], undefined)).toEqual(['of its own'])
  })

  it('has what was seen on base and here, of the first repeat', () => {
    const own = {...run(), tests: run().tests.filter(({name}) => name !== 'udp')}
    const {tests, repeats, evidence} = result({variant: 'livepatched', fix: TCP, fixes: [TCP]}, [run('tcp')], [own, own])
    expect(tests[0]).toMatchObject({base: 'failed', variant: 'passed', observed: {base: 'tcp seen', variant: 'tcp seen'}})
    expect(tests[1]).toMatchObject({base: 'passed', variant: 'missing', observed: {base: 'udp seen', variant: ''}})
    expect({repeats, evidence}).toEqual({repeats: 2, evidence: '/evidence'})
  })

  it("is regressed by a test of the tree's own that fails", () => {
    const suites = {base: {'a/1': 'passed'}, own: {'a/1': 'failed'}} as const
    const cell = {variant: 'patched', fix: BOTH, fixes: [BOTH]} as const
    expect(result({...cell, suites}, [run('tcp', 'udp')], [run()])).toMatchObject({verdict: 'regressed', reasons: [expect.stringContaining('a/1'), expect.any(String)]})
    expect(result({...cell, suites: {base: suites.base, own: suites.base}}, [run('tcp', 'udp')], [run()]).verdict).toBe('fixed')
  })

  it('that was not run could not run, and still says what is known of base', () => {
    const {verdict, tests} = result({variant: 'patched', fix: BOTH, fixes: [BOTH]}, [run('tcp', 'udp')], [])
    expect(verdict).toBe('could-not-run')
    expect(tests[0]).toMatchObject({base: 'failed', variant: 'missing'})
  })
})
