import {type Case} from '../case/case.js'
import {type Trace} from '../trace/trace.js'
import {type TestOutcome} from '../verdict/ktap.js'
import {withSelftests} from '../verdict/selftests.js'
import {type Suite, withSuite} from '../verdict/suite.js'
import {decide, type Variant, type VariantRun, type VerdictName} from '../verdict/verdict.js'
import {type SelftestRow} from './selftests.js'

/** What a variant is with, a livepatch or a candidate: a verdict is about what it claims. */
export type Fix = {name: string; claims: readonly string[]; expect: {[variant in Variant]?: VerdictName | undefined}}

/** What is judged: a variant on a kernel, with one of the fixes that are proved on it. */
export type Cell = {kernel: string; variant: Variant; fixes: readonly Fix[]; fix?: Fix | undefined; /** What the reader has to know besides. */ notes?: readonly string[]; /** What the series' own selftests said. */ selftests?: readonly SelftestRow[]; /** What the tree's own tests said, on base and here. */ suites?: {base: Suite; own: Suite} | undefined}

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
  /** The selftests that the candidate's series brings. */
  selftests: readonly SelftestRow[]
  repeats: number
  /** The folder with what this cell left behind. */
  evidence: string
  /** What a traced session of the cell saw, where the case names probes. */
  trace?: Trace
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

/** What a fix's cell says besides: what is so of base as well is said there. */
export function ownNotes(notes: readonly string[] = [], base: readonly string[] = []): string[] {
  return notes.filter((note) => !base.includes(note))
}

type TestStatus = TestOutcome['status'] | 'missing'

/** The result of a cell, from the runs of its variant and those of base. */
export function resultOf(
  one: Case,
  {kernel, variant, fix, fixes, notes = [], selftests = [], suites}: Cell,
  runs: {base: readonly VariantRun[]; own: readonly VariantRun[]},
  evidence: string,
): Result {
  const claimed = fix?.claims ?? claimedByAny(one, fixes)
  const claim = {symptoms: claimed, controls: one.controls.map(({name}) => name)}
  const decided = withSelftests(decide(variant, claim, runs.base, runs.own), selftests)
  const {verdict, reasons} = suites ? withSuite(decided, suites.base, suites.own) : decided
  const tests = [
    ...one.symptoms.map(({name}) => testRow(name, 'symptom', claimed.includes(name), runs.base, runs.own)),
    ...one.controls.map(({name}) => testRow(name, 'control', true, runs.base, runs.own)),
  ]
  const candidate = fix?.name ?? null
  const expected = fix?.expect[variant] ?? 'shown'
  return {case: one.name, kernel, variant, candidate, verdict, expected, reasons: [...reasons, ...notes], tests, selftests, repeats: runs.own.length, evidence}
}

/** What base has to show: every symptom that some fix here is for, or all where there is no fix. */
function claimedByAny({symptoms}: Case, fixes: readonly Fix[]): string[] {
  const names = symptoms.map(({name}) => name)
  if (fixes.length === 0) return names
  return names.filter((name) => fixes.some(({claims}) => claims.includes(name)))
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
