import {type Case, type Livepatch} from '../case/case.js'
import {type TestOutcome} from '../verdict/ktap.js'
import {decide, type Variant, type VariantRun, type VerdictName} from '../verdict/verdict.js'

/** One row of a report: what is known about a case on a kernel in a variant. */
export type Result = {
  case: string
  kernel: string
  variant: Variant
  /** The fix that the variant is with; null on base. */
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

type TestStatus = TestOutcome['status'] | 'missing'

/** The result of a cell, from the runs of its variant and those of base. */
export function resultOf(
  one: Case,
  cell: {kernel: string; variant: Variant; livepatch?: Livepatch},
  runs: {base: readonly VariantRun[]; own: readonly VariantRun[]},
  evidence: string,
): Result {
  const {kernel, variant, livepatch} = cell
  const claimed = livepatch?.claims ?? claimedByAny(one)
  const claim = {symptoms: claimed, controls: one.controls.map(({name}) => name)}
  const {verdict, reasons} = decide(variant, claim, runs.base, runs.own)
  const tests = [
    ...one.symptoms.map(({name}) => testRow(name, 'symptom', claimed.includes(name), runs.base, runs.own)),
    ...one.controls.map(({name}) => testRow(name, 'control', true, runs.base, runs.own)),
  ]
  const candidate = livepatch?.name ?? null
  const expected = expectation(variant, livepatch)
  return {case: one.name, kernel, variant, candidate, verdict, expected, reasons, tests, repeats: runs.own.length, evidence}
}

/** What base has to show: every symptom that some fix is for, or all where there is no fix yet. */
function claimedByAny({symptoms, livepatches}: Case): string[] {
  const names = symptoms.map(({name}) => name)
  if (livepatches.length === 0) return names
  return names.filter((name) => livepatches.some(({claims}) => claims.includes(name)))
}

/** The verdict that case.yaml says this cell has. */
function expectation(variant: Variant, livepatch: Livepatch | undefined): VerdictName {
  return livepatch && (variant === 'livepatched' || variant === 'reverted') ? livepatch.expect[variant] : 'shown'
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
