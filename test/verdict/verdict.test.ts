import {describe, expect, it} from 'vitest'
import {type TestOutcome} from '../../src/verdict/ktap.js'
import {type Splat} from '../../src/verdict/splat.js'
import {decide, type Claim, type Variant, type VariantRun, type VerdictName} from '../../src/verdict/verdict.js'

type Status = TestOutcome['status'] | 'missing'
type Splats = 'none' | 'on base only' | 'new on the variant' | 'same on both'
type Cell = {variant: Variant; baseSymptom: Status; symptom: Status; baseControl: Status; control: Status; splats: Splats}

const STATUSES: Status[] = ['passed', 'failed', 'skipped', 'missing']
const SPLATS: Splats[] = ['none', 'on base only', 'new on the variant', 'same on both']
const VARIANTS: Variant[] = ['patched', 'livepatched', 'reverted']
const CLAIM: Claim = {symptoms: ['symptom'], controls: ['control']}

const SPLAT: Splat = {kind: 'warning', title: 'WARNING: at foo.c', fingerprint: 'warning: foo', text: 'WARNING: at foo.c'}
const OTHER: Splat = {...SPLAT, title: 'BUG: bar', fingerprint: 'bug: bar'}

function run(statuses: Record<string, Status>, splats: Splat[] = []): VariantRun {
  const tests = Object.entries(statuses).flatMap(([name, status]) => (status === 'missing' ? [] : [{name, status, observed: ''}]))
  return {tests, splats}
}

const SHOWS = run({symptom: 'failed', control: 'passed'})
const GONE = run({symptom: 'passed', control: 'passed'})

function all(): Cell[] {
  const cells: Cell[] = []
  for (const variant of VARIANTS) {
    for (const baseSymptom of STATUSES) {
      for (const symptom of STATUSES) {
        for (const baseControl of STATUSES) {
          for (const control of STATUSES) {
            for (const splats of SPLATS) cells.push({variant, baseSymptom, symptom, baseControl, control, splats})
          }
        }
      }
    }
  }
  return cells
}

function verdictOf({variant, baseSymptom, symptom, baseControl, control, splats}: Cell): VerdictName {
  const onBase = splats === 'on base only' || splats === 'same on both' ? [SPLAT] : []
  const onVariant = splats === 'new on the variant' || splats === 'same on both' ? [SPLAT] : []
  const base = run({symptom: baseSymptom, control: baseControl}, onBase)
  return decide(variant, CLAIM, [base], [run({symptom, control}, onVariant)]).verdict
}

/** The design's table of verdicts, written down a second time. */
function oracle({variant, baseSymptom, symptom, baseControl, control, splats}: Cell): VerdictName {
  const ran = (status: Status) => status === 'passed' || status === 'failed'
  const crashed = splats === 'new on the variant'
  if (!ran(baseSymptom) || !ran(baseControl)) return 'could-not-run'
  if (!crashed && !(ran(symptom) && ran(control))) return 'could-not-run'
  if (baseSymptom === 'passed') return 'not-reproduced'
  if (crashed || (baseControl === 'passed' && control === 'failed')) return 'regressed'
  if (variant === 'reverted') return symptom === 'failed' ? 'restored' : 'not-restored'
  if (symptom === 'failed') return 'not-fixed'
  return baseControl === 'failed' ? 'not-reproduced' : 'fixed'
}

describe('every combination of outcomes', () => {
  const table = all().map((cell) => ({...cell, verdict: verdictOf(cell)}))

  it('has the verdict of the design', () => {
    expect(table).toHaveLength(3 * 4 ** 5)
    expect(table).toEqual(all().map((cell) => ({...cell, verdict: oracle(cell)})))
  })

  it('is fixed only when the symptom went from failed to passed and nothing else is amiss', () => {
    const fixed = table.filter(({verdict}) => verdict === 'fixed')
    expect(fixed.length).toBe(2 * 3)
    for (const cell of fixed) {
      expect(cell).toMatchObject({baseSymptom: 'failed', symptom: 'passed', baseControl: 'passed', control: 'passed'})
      expect(cell.variant).not.toBe('reverted')
      expect(cell.splats).not.toBe('new on the variant')
    }
  })

  it('could not run whenever base lacks a result, whatever the variant says', () => {
    const lacking = table.filter(({baseSymptom, baseControl}) => [baseSymptom, baseControl].some((one) => one === 'missing' || one === 'skipped'))
    expect(lacking.length).toBeGreaterThan(0)
    expect(new Set(lacking.map(({verdict}) => verdict))).toEqual(new Set(['could-not-run']))
  })

  it('claims nothing when base does not show the symptom', () => {
    const unshown = table.filter(({baseSymptom}) => baseSymptom === 'passed')
    expect(new Set(unshown.map(({verdict}) => verdict))).toEqual(new Set(['could-not-run', 'not-reproduced']))
  })

  it('keeps restored and not-restored to reverted, fixed and not-fixed to the others', () => {
    const names = (reverted: boolean) => new Set(table.filter(({variant}) => (variant === 'reverted') === reverted).map(({verdict}) => verdict))
    expect(names(true)).toEqual(new Set(['could-not-run', 'not-reproduced', 'regressed', 'restored', 'not-restored']))
    expect(names(false)).toEqual(new Set(['could-not-run', 'not-reproduced', 'regressed', 'fixed', 'not-fixed']))
  })

  it('gives a reason for every verdict that is not the plain one', () => {
    const base = (cell: Cell) => run({symptom: cell.baseSymptom, control: cell.baseControl})
    for (const cell of all()) {
      const {verdict, reasons} = decide(cell.variant, CLAIM, [base(cell)], [run({symptom: cell.symptom, control: cell.control})])
      expect(reasons.length > 0).toBe(!['fixed', 'restored'].includes(verdict))
    }
  })
})

describe('base itself', () => {
  const verdicts = (symptom: Status, control: Status, splats: Splat[] = []) => {
    const base = [run({symptom, control}, splats)]
    return decide('base', CLAIM, base, base).verdict
  }

  it.each<[Status, Status, VerdictName]>([
    ['failed', 'passed', 'shown'],
    ['passed', 'passed', 'not-reproduced'],
    ['failed', 'failed', 'not-reproduced'],
    ['passed', 'failed', 'not-reproduced'],
    ['skipped', 'passed', 'could-not-run'],
    ['failed', 'skipped', 'could-not-run'],
    ['missing', 'passed', 'could-not-run'],
    ['failed', 'missing', 'could-not-run'],
  ])('symptom %s and control %s is %s', (symptom, control, verdict) => {
    expect(verdicts(symptom, control)).toBe(verdict)
  })

  it('is no regression against itself when its own log has a splat', () => {
    expect(verdicts('failed', 'passed', [SPLAT])).toBe('shown')
  })
})

describe('what is no result', () => {
  it('was never run', () => {
    expect(decide('livepatched', CLAIM, [SHOWS], [])).toEqual({verdict: 'could-not-run', reasons: ['it was not run']})
    expect(decide('livepatched', CLAIM, [], [GONE])).toEqual({verdict: 'could-not-run', reasons: ['nothing can be said without base']})
  })

  it('failed, with the machinery\'s own words', () => {
    const lost = {...GONE, failure: 'the machine printed nothing for 50 s'}
    expect(decide('livepatched', CLAIM, [SHOWS], [lost])).toEqual({
      verdict: 'could-not-run',
      reasons: ['the machine printed nothing for 50 s'],
    })
    expect(decide('livepatched', CLAIM, [{...SHOWS, failure: 'no boot'}], [GONE]).reasons).toEqual(['nothing can be said without base'])
  })

  it('contradicts itself: a test that is reported twice', () => {
    const twice = {...GONE, tests: [...GONE.tests, {name: 'symptom', status: 'failed' as const, observed: ''}]}
    expect(decide('patched', CLAIM, [SHOWS], [twice])).toEqual({
      verdict: 'could-not-run',
      reasons: ["the test 'symptom' was reported 2 times"],
    })
  })

  it('lacks a test, or skipped it, and says which and why', () => {
    expect(decide('patched', CLAIM, [SHOWS], [run({symptom: 'passed'})]).reasons).toEqual(["the test 'control' is missing"])
    const skipped = {...GONE, tests: [GONE.tests[0]!, {name: 'control', status: 'skipped' as const, observed: 'no module vrf'}]}
    expect(decide('patched', CLAIM, [SHOWS], [skipped]).reasons).toEqual(["the test 'control' was skipped: no module vrf"])
  })

  it('is any one failed repeat, which no other can make up for', () => {
    const lost = {...GONE, failure: 'lost'}
    expect(decide('patched', CLAIM, [SHOWS, SHOWS], [GONE, lost]).verdict).toBe('could-not-run')
    expect(decide('patched', CLAIM, [{...SHOWS, failure: 'lost'}, SHOWS], [GONE, GONE]).verdict).toBe('could-not-run')
  })

  it('says the same reason of several repeats once', () => {
    const lost = {...GONE, failure: 'lost'}
    expect(decide('patched', CLAIM, [SHOWS], [lost, lost]).reasons).toEqual(['lost'])
  })
})

describe('repeats', () => {
  it('that agree are one result', () => {
    expect(decide('livepatched', CLAIM, [SHOWS, SHOWS, SHOWS], [GONE, GONE, GONE])).toEqual({verdict: 'fixed', reasons: []})
  })

  it.each<[string, VariantRun[], VariantRun[], string]>([
    ['base', [SHOWS, GONE], [GONE, GONE], 'nothing can be said without base'],
    ['the variant', [SHOWS, SHOWS], [GONE, SHOWS], 'repeats disagree on symptom (1 of 2 passed)'],
    ['a later repeat', [SHOWS], [GONE, GONE, SHOWS], 'repeats disagree on symptom (2 of 3 passed)'],
    ['a control', [SHOWS], [GONE, run({symptom: 'passed', control: 'failed'})], 'repeats disagree on control (1 of 2 passed)'],
    ['the kernel log', [SHOWS], [GONE, {...GONE, splats: [SPLAT]}], 'repeats disagree on kernel log (1 of 2 passed)'],
    ['the kernel log of base', [SHOWS, {...SHOWS, splats: [SPLAT]}], [GONE], 'nothing can be said without base'],
  ])('that disagree on %s are flaky', (_, base, runs, reason) => {
    expect(decide('livepatched', CLAIM, base, runs)).toEqual({verdict: 'flaky', reasons: [reason]})
  })

  it('are flaky, and not regressed, when only one of them crashes and loses tests', () => {
    expect(decide('livepatched', CLAIM, [SHOWS], [GONE, run({symptom: 'passed'}, [SPLAT])]).verdict).toBe('flaky')
  })

  const early = run({}, [SPLAT])
  const late = run({symptom: 'passed'}, [SPLAT])

  it('that crash a test later each time are regressed', () => {
    expect(decide('livepatched', CLAIM, [SHOWS], [early, late]).verdict).toBe('regressed')
  })

  it('that crash a test earlier each time are regressed as well', () => {
    expect(decide('livepatched', CLAIM, [SHOWS], [late, early]).verdict).toBe('regressed')
  })
})

describe('a crash', () => {
  const crashed = (splat: Splat): VariantRun => ({...run({symptom: 'passed'}, [splat]), failure: 'the machine ended'})

  it('of the variant alone is regressed, though tests are missing', () => {
    const {verdict, reasons} = decide('livepatched', CLAIM, [SHOWS], [crashed(SPLAT)])
    expect(verdict).toBe('regressed')
    expect(reasons).toEqual([`the kernel log has a splat that base's has not: ${SPLAT.title}`])
  })

  it('that base has as well is no finding: it could not run', () => {
    const base = {...SHOWS, splats: [SPLAT]}
    expect(decide('livepatched', CLAIM, [base], [crashed(SPLAT)])).toEqual({
      verdict: 'could-not-run',
      reasons: ['the machine ended'],
    })
    expect(decide('livepatched', CLAIM, [base], [crashed(OTHER)]).verdict).toBe('regressed')
  })

  it('of base is no result, whatever the variant does', () => {
    expect(decide('livepatched', CLAIM, [crashed(SPLAT)], [GONE]).verdict).toBe('could-not-run')
  })
})

describe('several tests', () => {
  const claim = {symptoms: ['one', 'two'], controls: ['control', 'other']}
  const cell = (one: Status, two: Status, control: Status = 'passed', other: Status = 'passed') => run({one, two, control, other})
  const base = [cell('failed', 'failed')]

  it('are fixed when every symptom is gone', () => {
    expect(decide('patched', claim, base, [cell('passed', 'passed')]).verdict).toBe('fixed')
  })

  it('are not fixed when one symptom still shows', () => {
    expect(decide('patched', claim, base, [cell('passed', 'failed')])).toEqual({
      verdict: 'not-fixed',
      reasons: ["the symptom 'two' still shows"],
    })
  })

  it('are not reproduced when one symptom does not show on base', () => {
    expect(decide('patched', claim, [cell('failed', 'passed')], [cell('passed', 'passed')])).toEqual({
      verdict: 'not-reproduced',
      reasons: ["the symptom 'two' does not show on base"],
    })
  })

  it('are regressed by a control, which weighs more than a symptom that still shows', () => {
    expect(decide('patched', claim, base, [cell('passed', 'failed', 'passed', 'failed')])).toEqual({
      verdict: 'regressed',
      reasons: ["the control 'other' passes on base and fails here", "the symptom 'two' still shows"],
    })
  })

  it('say in short what was seen of what fails', () => {
    const failing = cell('passed', 'failed', 'passed', 'failed')
    const tests = failing.tests.map((test) => ({...test, observed: `${test.name} was seen; and more`}))
    expect(decide('patched', claim, base, [{...failing, tests}]).reasons).toEqual([
      "the control 'other' passes on base and fails here: other was seen",
      "the symptom 'two' still shows: two was seen",
    ])
  })

  it('are not reproduced when a control fails on base, with or without the fix', () => {
    const unsound = [cell('failed', 'failed', 'failed')]
    const verdict = {verdict: 'not-reproduced', reasons: ["the control 'control' fails on base"]}
    expect(decide('patched', claim, unsound, [cell('passed', 'passed', 'failed')])).toEqual(verdict)
    expect(decide('patched', claim, unsound, [cell('passed', 'passed', 'passed')])).toEqual(verdict)
  })

  it('are restored only when every symptom shows again', () => {
    expect(decide('reverted', claim, base, [cell('failed', 'failed')])).toEqual({verdict: 'restored', reasons: []})
    expect(decide('reverted', claim, base, [cell('failed', 'passed')])).toEqual({
      verdict: 'not-restored',
      reasons: ["the symptom 'two' does not show again after the unload"],
    })
  })

  it('do not count when they are not claimed', () => {
    const narrow = {...claim, symptoms: ['one']}
    expect(decide('patched', narrow, base, [cell('passed', 'failed')]).verdict).toBe('fixed')
  })
})

it('leaves its inputs alone and says the same thing twice', () => {
  const base = [SHOWS]
  const runs = [{...GONE, splats: [SPLAT]}]
  const before = JSON.stringify({base, runs})
  expect(decide('patched', CLAIM, base, runs)).toEqual(decide('patched', CLAIM, base, runs))
  expect(JSON.stringify({base, runs})).toBe(before)
})
