// The flow statement of firewall4 on a real kernel: with rulesets that a template of ours renders always, and with those of
// firewall4 where PATCHBENCH_FIREWALL4 names a clone of it and PATCHBENCH_UCODE a program ucode.
import {readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, test} from 'vitest'
import {type Result} from '../../src/run/results.js'
import {compare, copyOfCase, reasons} from '../support/patchbench.js'
import {FIREWALL4, HAS_FIREWALL4, withOwnRulesets} from '../support/firewall4.js'
import {LONG} from '../support/machine.js'

const MINUTES = 60_000

/** What a test of a candidate said and saw. */
function seen(results: readonly Result[], candidate: string, name: string): string {
  const {variant, observed} = results.find((result) => result.candidate === candidate)!.tests.find((one) => one.name === name)!
  return `${variant}: ${observed.variant}`
}

/** Each proposal has its verdict, for the reason that it has in truth. */
function expectVerdicts(results: readonly Result[]): void {
  expect(results.map(({candidate, verdict}) => [candidate, verdict])).toEqual([
    [null, 'shown'],
    ['revised', 'fixed'],
    ['as-proposed', 'regressed'],
    ['mark-only', 'not-fixed'],
    ['nat-bits', 'regressed'],
  ])
  const why = (candidate: string) => reasons(results.filter((result) => result.candidate === candidate))
  // Marked traffic is dropped by the policy, or passes the rules that would drop it; the match of a set is never true.
  expect(why('as-proposed')).toMatch(/'marked-passes-policy4'(.|\n)*'marked-passes-policy6'(.|\n)*'later-rules-hold4'/)
  expect(seen(results, 'as-proposed', 'marked-passes-policy4')).toMatch(/^failed: 0 of 5 replies, .*forward: meta mark != 0x0+ return, then forward: policy drop/)
  expect(seen(results, 'as-proposed', 'later-rules-hold4')).toMatch(/^failed: 5 of 5 datagrams that a rule drops arrived, .*forward: meta mark != 0x0+ return, then forward: policy accept/)
  expect(seen(results, 'as-proposed', 'nat-kept-off4')).toMatch(/^failed: of 6 packets .*`ct status \{ dnat, snat \}` matches 0 and `ct status dnat,snat` 5; a masqueraded flow is offloaded/)
  // A reply, which has no mark, makes the flow all the same.
  expect(why('mark-only')).toMatch(/'marked-query-route4' still shows(.|\n)*'marked-query-route6' still shows/)
  expect(seen(results, 'mark-only', 'marked-reply-mac4')).toMatch(/^passed: 2 of 2 replies/)
  expect(seen(results, 'mark-only', 'marked-query-route4')).toMatch(/^failed: the first reply made the flow, then \d+ of 20 replies/)
  // All that is masqueraded stays on the slow path, and what is not translated goes wrong still.
  expect(why('nat-bits')).toMatch(/'nat-stays-offloaded4'/)
  expect(seen(results, 'nat-bits', 'nat-kept-off4')).toMatch(/^passed: /)
  expect(seen(results, 'nat-bits', 'marked-query-route6')).toMatch(/^failed: /)
}

test('each proposal has its verdict and its reason, on rulesets of a template', {timeout: 20 * MINUTES}, async () => {
  const {exit, results} = await compare(['fw4-guard', '--cases', await withOwnRulesets()])
  expectVerdicts(results)
  expect(exit).toBe(0)
})

describe.runIf(HAS_FIREWALL4)('with firewall4', () => {
  const given = ['--source', FIREWALL4.source, '--ucode', FIREWALL4.ucode]

  test('each proposal has its verdict and its reason, and its own tests pass', {timeout: 20 * MINUTES}, async () => {
    const {exit, folder, results, stdout} = await compare(['fw4-guard', ...given])
    expectVerdicts(results)
    expect(exit).toBe(0)
    expect(reasons(results.filter(({candidate}) => candidate === null))).toContain("firewall4's own tests: 31 of 31 pass")
    expect(reasons(results.filter(({candidate}) => candidate === 'revised'))).toContain("firewall4's own tests: 35 of 35 pass")
    expect(stdout).toContain('"firewall4": "')
    expect(await readFile(join(folder, 'report.md'), 'utf8')).toContain('+\t\tmeta l4proto { tcp, udp } ct direction original meta mark and 0xffffffff == 0x0')
  })

  test('a candidate that breaks one of its tests is regressed', {timeout: 20 * MINUTES}, async () => {
    const cases = await copyOfCase('fw4-guard')
    const file = join(cases, 'fw4-guard/firewall4/mark-only/master/0001-ruleset-do-not-offload-marked-packets.patch')
    const text = await readFile(file, 'utf8')
    // The series without what it changes in the test.
    await writeFile(file, text.replace(/^diff --git a\/tests\/(.*\n)+?(?=\n|$)/m, ''))
    const {results} = await compare(['fw4-guard', '--cases', cases, '--candidate', 'mark-only', ...given])
    expect(results.map(({verdict}) => verdict)).toEqual(['shown', 'regressed'])
    expect(reasons(results)).toContain("firewall4's own test 'configuration/01_ruleset' passes on base and fails here")
  })

  test.runIf(LONG)('twenty repeats agree', {timeout: 120 * MINUTES}, async () => {
    const {exit, results} = await compare(['fw4-guard', '--repeat', '20', ...given])
    expectVerdicts(results)
    expect(exit).toBe(0)
  })
})
