import {type Case} from '../case/case.js'
import {type TestOutcome} from '../verdict/ktap.js'
import {decide, type Variant, type VariantRun, type VerdictName} from '../verdict/verdict.js'

/** One row of a report: what is known about a case on a kernel in a variant. */
export type Result = {
  case: string
  kernel: string
  variant: Variant
  candidate: string | null
  verdict: VerdictName
  expected: VerdictName
  /** Why the verdict is not the plain one. */
  reasons: string[]
  tests: TestRow[]
  repeats: number
  /** The folder with what this cell left behind. */
  evidence: string
}

export type TestRow = {
  name: string
  role: 'symptom' | 'control'
  /** Whether the fix says that it mends this symptom. */
  claimed: boolean
  base: TestStatus
  variant: TestStatus
  /** What was seen, in the reproducer's words. */
  observed: {base: string; variant: string}
}

export type TestStatus = TestOutcome['status'] | 'missing'

/** The result of a cell, from all runs of its case on its kernel. */
export function resultOf(
  one: Case,
  kernel: string,
  variant: Variant,
  runs: Readonly<Partial<Record<Variant, readonly VariantRun[]>>>,
  evidence: string,
): Result {
  const base = runs.base ?? []
  const own = runs[variant] ?? []
  const claimed = claimedSymptoms(one)
  const claim = {symptoms: claimed, controls: one.controls.map(({name}) => name)}
  const {verdict, reasons} = decide(variant, claim, base, own)
  const tests = [
    ...one.symptoms.map(({name}) => testRow(name, 'symptom', claimed.includes(name), base, own)),
    ...one.controls.map(({name}) => testRow(name, 'control', true, base, own)),
  ]
  return {case: one.name, kernel, variant, candidate: null, verdict, expected: expectation(one, variant), reasons, tests, repeats: own.length, evidence}
}

/** A livepatch may claim less than all symptoms; what it claims is what base has to show. */
function claimedSymptoms({symptoms, livepatch}: Case): string[] {
  return livepatch?.claims ?? symptoms.map(({name}) => name)
}

/** The verdict that case.yaml says this cell has. */
function expectation({livepatch}: Case, variant: Variant): VerdictName {
  if (variant === 'livepatched' || variant === 'reverted') return livepatch!.expect[variant]
  return 'shown'
}

function testRow(name: string, role: TestRow['role'], claimed: boolean, base: readonly VariantRun[], own: readonly VariantRun[]): TestRow {
  const before = outcome(name, base)
  const after = outcome(name, own)
  return {
    name,
    role,
    claimed,
    base: before?.status ?? 'missing',
    variant: after?.status ?? 'missing',
    observed: {base: before?.observed ?? '', variant: after?.observed ?? ''},
  }
}

function outcome(name: string, runs: readonly VariantRun[]): TestOutcome | undefined {
  return runs[0]?.tests.find((test) => test.name === name)
}
