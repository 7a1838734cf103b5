import {type TestOutcome} from './ktap.js'
import {type Verdict} from './verdict.js'

/** What the tree's own tests said, by name. */
export type Suite = Record<string, Exclude<TestOutcome['status'], 'skipped'>>

/**
 * Reads what firewall4's run_tests.sh prints: a line a test, below the name of
 * its folder; a test that fails begins with a line that ends in `!`, then says
 * what differs.
 *
 * @returns undefined when it is not whole: the last line counts what went before
 */
export function parseSuite(text: string): Suite | undefined {
  const suite: Suite = {}
  let group = ''
  for (const line of text.split('\n')) {
    group = /^## Running (\S+) tests$/.exec(line)?.[1] ?? group
    const [, name, status] = /^(\S+) \.{2,} (OK|FAILED \(\d+\/\d+\))$/.exec(line) ?? []
    if (name !== undefined) suite[`${group}/${name}`] = status === 'OK' ? 'passed' : 'failed'
  }
  const [, ran, okay, failures] = /^Ran (\d+) tests, (\d+) okay, (\d+) failures$/m.exec(text) ?? []
  const statuses = Object.values(suite)
  const passed = statuses.filter((status) => status === 'passed').length
  const whole = ran !== undefined && Number(ran) === statuses.length && Number(okay) === passed && Number(failures) === statuses.length - passed
  return whole && statuses.length > 0 ? suite : undefined
}

/**
 * The verdict on a candidate with what its tree's own tests say. A test that
 * passes on base has to pass here, and one that the candidate brings as well.
 * One that passes is no proof: the reproducer's tests are.
 */
export function withSuite({verdict, reasons}: Verdict, base: Suite, own: Suite): Verdict {
  const broken = Object.keys({...base, ...own}).sort().flatMap((name) => complaint(name, base[name], own[name]))
  const undecided = verdict === 'could-not-run' || verdict === 'flaky' || verdict === 'not-reproduced'
  return {verdict: broken.length > 0 && !undecided ? 'regressed' : verdict, reasons: [...reasons, ...broken, `firewall4's own tests: ${counted(own)} pass`]}
}

function complaint(name: string, before: Suite[string] | undefined, after: Suite[string] | undefined): string[] {
  if (after === undefined) return before === 'passed' ? [`firewall4's own test '${name}' passes on base and is gone here`] : []
  if (after === 'passed' || before === 'failed') return []
  return [before === 'passed' ? `firewall4's own test '${name}' passes on base and fails here` : `firewall4's own test '${name}', which is new, fails`]
}

function counted(suite: Suite): string {
  const statuses = Object.values(suite)
  return `${statuses.filter((status) => status === 'passed').length} of ${statuses.length}`
}
