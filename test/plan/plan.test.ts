import {describe, expect, it} from 'vitest'
import {planSessions, type PlanInput} from '../../src/plan/plan.js'
import {type Variant} from '../../src/verdict/verdict.js'

const PLAIN: PlanInput = {livepatches: ['fix'], candidates: [], candidateVariant: 'patched', variants: ['base', 'livepatched', 'reverted'], repeats: 1, trace: false}

/** The sessions in short: what runs in each, and with which fix. */
function sessions(input: Partial<PlanInput>): string[] {
  const plan = planSessions({...PLAIN, ...input})
  return plan.map(({variants, livepatch, candidate}) => [variants.join('+'), livepatch ?? candidate ?? ''].filter(Boolean).join(' of '))
}

describe('a plan', () => {
  it('gives base a session of its own, and the livepatch another', () => {
    expect(planSessions(PLAIN)).toEqual([
      {variants: ['base'], repeat: 0},
      {variants: ['livepatched', 'reverted'], livepatch: 'fix', repeat: 0},
    ])
  })

  it('has base alone for a case without a livepatch', () => {
    expect(sessions({livepatches: []})).toEqual(['base'])
    expect(sessions({livepatches: [], variants: ['livepatched']})).toEqual(['base'])
  })

  it('gives each livepatch a session of its own, and base only one', () => {
    expect(sessions({livepatches: ['proposed', 'revised']})).toEqual(['base', 'livepatched+reverted of proposed', 'livepatched+reverted of revised'])
  })

  it('gives each candidate a session of its own where patched kernels are asked for', () => {
    const candidates = ['revised', 'as-proposed']
    expect(sessions({candidates})).toEqual(['base', 'livepatched+reverted of fix'])
    expect(sessions({candidates, variants: ['patched']})).toEqual(['base', 'patched of revised', 'patched of as-proposed'])
  })

  it('has livepatches and candidates side by side, a candidate in no session of a livepatch', () => {
    const plan = planSessions({...PLAIN, candidates: ['fix'], variants: ['base', 'livepatched', 'reverted', 'patched']})
    expect(plan).toEqual([
      {variants: ['base'], repeat: 0},
      {variants: ['livepatched', 'reverted'], livepatch: 'fix', repeat: 0},
      {variants: ['patched'], candidate: 'fix', repeat: 0},
    ])
  })

  it('gives each candidate that is a ruleset a session of its own, and no kernel', () => {
    const input = {livepatches: [], candidates: ['saved', 'snat'], candidateVariant: 'ruleset'} as const
    expect(sessions({...input, variants: ['base', 'livepatched', 'reverted', 'ruleset']})).toEqual(['base', 'ruleset of saved', 'ruleset of snat'])
    expect(sessions({...input, variants: ['patched']})).toEqual(['base'])
    expect(sessions({...input, candidateVariant: 'patched', variants: ['ruleset']})).toEqual(['base'])
  })

  it('ends with a traced session of each cell, but of what is base again', () => {
    const plan = planSessions({...PLAIN, candidates: ['series'], variants: ['base', 'livepatched', 'reverted', 'patched'], repeats: 2, trace: true})
    expect(plan.filter(({traced}) => !traced)).toHaveLength(6)
    expect(plan.slice(6)).toEqual([
      {variants: ['base'], repeat: 0, traced: true},
      {variants: ['livepatched'], livepatch: 'fix', repeat: 0, traced: true},
      {variants: ['patched'], candidate: 'series', repeat: 0, traced: true},
    ])
  })

  it('has base alone where no candidate is for the kernel', () => {
    expect(sessions({candidates: [], variants: ['patched']})).toEqual(['base'])
  })

  it('repeats candidates as well', () => {
    expect(sessions({candidates: ['one'], variants: ['patched'], repeats: 2})).toEqual(['base', 'patched of one', 'base', 'patched of one'])
  })

  it.each<[Variant[], string[]]>([
    [['base'], ['base']],
    [['livepatched'], ['base', 'livepatched of fix']],
    [['reverted'], ['base', 'reverted of fix']],
    [['reverted', 'livepatched'], ['base', 'livepatched+reverted of fix']],
    [[], ['base']],
  ])('asked for %j runs them, and always base', (variants, expected) => {
    expect(sessions({variants})).toEqual(expected)
  })

  it('has every session as often as asked, numbered', () => {
    const plan = planSessions({...PLAIN, livepatches: ['proposed', 'revised'], repeats: 3})
    expect(plan).toHaveLength(3 * 3)
    const keys = plan.map(({variants, livepatch, repeat}) => `${variants.join('+')} ${livepatch} ${repeat}`)
    expect(new Set(keys).size).toBe(plan.length)
    expect(plan.filter(({livepatch}) => livepatch === 'revised').map(({repeat}) => repeat)).toEqual([0, 1, 2])
  })
})
