import {inShort, type TestOutcome} from './ktap.js'
import {newSplats, type Splat} from './splat.js'

/** The state that a reproducer runs in. */
export type Variant = 'base' | 'patched' | 'livepatched' | 'reverted' | 'ruleset'

/** What one run of the reproducer in one variant left behind. */
export type VariantRun = {
  tests: readonly TestOutcome[]
  splats: readonly Splat[]
  /** Why this run is no result, in one sentence: the machinery failed. */
  failure?: string
}

/** What is to be proved: symptoms that the fix claims, and what must keep working. */
export type Claim = {symptoms: readonly string[]; controls: readonly string[]}

export type VerdictName =
  | 'shown' // of base alone: every claimed symptom shows
  | 'fixed'
  | 'not-fixed'
  | 'not-reproduced'
  | 'regressed'
  | 'flaky'
  | 'could-not-run'
  | 'restored'
  | 'not-restored'

export type Verdict = {verdict: VerdictName; reasons: string[]}

/**
 * The verdict on a variant, from the repeats of its runs and of base's. Pure:
 * the same runs always give the same verdict.
 *
 * A verdict that claims less wins over one that claims more: what could not
 * run is no result, disagreeing repeats are none, and without the symptom on
 * base nothing can be said about a fix.
 */
export function decide(variant: Variant, claim: Claim, base: readonly VariantRun[], runs: readonly VariantRun[]): Verdict {
  const baseSplats = base.flatMap((run) => run.splats)
  return (
    couldNotRun(claim, 'base', base, variant) ??
    // A crash of its own is a finding about the variant, and is weighed as one.
    couldNotRun(claim, variant, runs, variant, (run) => newSplats(run.splats, baseSplats).length > 0) ??
    flaky('base', base, variant) ??
    flaky(variant, runs, variant) ??
    compare(variant, claim, base, runs)
  )
}

function couldNotRun(
  claim: Claim,
  ran: Variant,
  runs: readonly VariantRun[],
  judged: Variant,
  isFinding: (run: VariantRun) => boolean = () => false,
): Verdict | undefined {
  const reasons = runs.length === 0 ? ['it was not run'] : runs.filter((run) => !isFinding(run)).flatMap((run) => whyNoResult(claim, run))
  if (reasons.length === 0) return undefined
  return {verdict: 'could-not-run', reasons: ofAnother(ran, judged, [...new Set(reasons)])}
}

/** What is said about base need not be said again of every variant that is compared with it. */
function ofAnother(ran: Variant, judged: Variant, reasons: string[]): string[] {
  return ran === judged ? reasons : [`nothing can be said without ${ran}`]
}

function whyNoResult({symptoms, controls}: Claim, {tests, failure}: VariantRun): string[] {
  if (failure !== undefined) return [failure]
  const named = [...symptoms, ...controls]
  const reasons: string[] = []
  for (const name of named) {
    const outcomes = tests.filter((test) => test.name === name)
    if (outcomes.length === 0) reasons.push(`the test '${name}' is missing`)
    if (outcomes.length > 1) reasons.push(`the test '${name}' was reported ${outcomes.length} times`)
    if (outcomes[0]?.status === 'skipped') reasons.push(`the test '${name}' was skipped: ${outcomes[0].observed || 'no reason given'}`)
  }
  return reasons
}

function flaky(ran: Variant, runs: readonly VariantRun[], judged: Variant): Verdict | undefined {
  const [first, ...others] = runs
  const differing = new Set<string>()
  for (const run of others) {
    for (const {name, status} of first!.tests) {
      const again = run.tests.find((test) => test.name === name)?.status
      // A crash may come earlier the second time: what it left out disagrees with nothing.
      if (again !== status && !(again === undefined && run.splats.length > 0)) differing.add(name)
    }
    if ((run.splats.length > 0) !== (first!.splats.length > 0)) differing.add('kernel log')
  }
  if (differing.size === 0) return undefined
  const counts = [...differing].map((name) => `${name} (${passes(runs, name)} of ${runs.length} passed)`)
  return {verdict: 'flaky', reasons: ofAnother(ran, judged, [`repeats disagree on ${counts.join(', ')}`])}
}

function passes(runs: readonly VariantRun[], name: string): number {
  const passed = (run: VariantRun) => run.tests.find((test) => test.name === name)?.status === 'passed'
  return runs.filter((run) => (name === 'kernel log' ? run.splats.length === 0 : passed(run))).length
}

function compare(variant: Variant, claim: Claim, base: readonly VariantRun[], runs: readonly VariantRun[]): Verdict {
  const before = statusOf(base[0]!)
  const after = statusOf(runs[0]!)
  const seen = observedIn(runs[0]!)
  const shown = claim.symptoms.filter((name) => before(name) === 'failed')
  const hidden = claim.symptoms.filter((name) => before(name) !== 'failed')
  const unsound = claim.controls.filter((name) => before(name) !== 'passed')

  if (shown.length === 0) return {verdict: 'not-reproduced', reasons: ['base shows no symptom: nothing can be claimed']}
  const splats = newSplats(runs.flatMap((run) => run.splats), base.flatMap((run) => run.splats))
  const broken = claim.controls.filter((name) => before(name) === 'passed' && after(name) === 'failed')
  const regressions = [
    ...broken.map((name) => `the control '${name}' passes on base and fails here${seen(name)}`),
    ...splats.map(({title}) => `the kernel log has a splat that base's has not: ${title}`),
  ]
  const showing = shown.filter((name) => after(name) === 'failed')
  const failings = showing.map((name) => `the symptom '${name}' still shows${seen(name)}`)
  if (regressions.length > 0) return {verdict: 'regressed', reasons: [...new Set(regressions), ...(variant === 'reverted' ? [] : failings)]}

  if (variant === 'reverted') return reverted(shown, showing)
  if (variant !== 'base' && showing.length > 0) {
    return {verdict: 'not-fixed', reasons: failings}
  }
  const doubts = [
    ...hidden.map((name) => `the symptom '${name}' does not show on base`),
    ...unsound.map((name) => `the control '${name}' fails on base`),
  ]
  if (doubts.length > 0) return {verdict: 'not-reproduced', reasons: doubts}
  return {verdict: variant === 'base' ? 'shown' : 'fixed', reasons: []}
}

function reverted(shown: readonly string[], showing: readonly string[]): Verdict {
  const gone = shown.filter((name) => !showing.includes(name))
  if (gone.length === 0) return {verdict: 'restored', reasons: []}
  return {verdict: 'not-restored', reasons: gone.map((name) => `the symptom '${name}' does not show again after the unload`)}
}

/** What a run saw of a test, in short, behind a colon. */
function observedIn(run: VariantRun): (name: string) => string {
  return (name) => {
    const words = inShort(run.tests.find((test) => test.name === name)?.observed ?? '')
    return words && `: ${words}`
  }
}

function statusOf(run: VariantRun): (name: string) => TestOutcome['status'] | undefined {
  return (name) => run.tests.find((test) => test.name === name)?.status
}
