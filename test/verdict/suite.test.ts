import {describe, expect, it} from 'vitest'
import {parseSuite, type Suite, withSuite} from '../../src/verdict/suite.js'
import {type Verdict} from '../../src/verdict/verdict.js'

/** What run_tests.sh prints, with one test that fails. */
const PRINTED = `
##
## Running configuration tests
##

01_ruleset .............................. OK
02_rule_order ........................... !
Testcase #1: Expected stdout did not match:
--- Expected stdout
+++ Resulting stdout
@@ -1,2 +1,2 @@
-	meta l4proto { tcp, udp } flow offload @ft;
+	flow offload @ft;
---
02_rule_order ........................... FAILED (1/1)

##
## Running zones tests
##

01_ruleset .............................. OK

Ran 3 tests, 2 okay, 1 failures
`

describe('what run_tests.sh prints', () => {
  it('is a line a test, below its folder', () => {
    expect(parseSuite(PRINTED)).toEqual({'configuration/01_ruleset': 'passed', 'configuration/02_rule_order': 'failed', 'zones/01_ruleset': 'passed'})
  })

  it.each([
    ['has no last line', PRINTED.replace(/Ran.*/, '')],
    ['counts more than it shows', PRINTED.replace('Ran 3 tests, 2', 'Ran 4 tests, 3')],
    ['counts other failures than it shows', PRINTED.replace('2 okay, 1', '3 okay, 0')],
    ['ran nothing', 'Ran 0 tests, 0 okay, 0 failures\n'],
    ['is empty', ''],
  ])('is no run when it %s', (_, text) => {
    expect(parseSuite(text)).toBeUndefined()
  })
})

describe('a verdict with the tests of the tree', () => {
  const FIXED: Verdict = {verdict: 'fixed', reasons: []}
  const BASE: Suite = {'a/1': 'passed', 'a/2': 'failed'}

  it.each<[what: string, own: Suite, reasons: string[]]>([
    ['that pass as on base', BASE, ["firewall4's own tests: 1 of 2 pass"]],
    ['of which one more passes, and a new one', {'a/1': 'passed', 'a/2': 'passed', 'a/3': 'passed'}, ["firewall4's own tests: 3 of 3 pass"]],
    ['of which one that failed is gone', {'a/1': 'passed'}, ["firewall4's own tests: 1 of 1 pass"]],
  ])('%s stays', (_, own, reasons) => {
    expect(withSuite(FIXED, BASE, own)).toEqual({verdict: 'fixed', reasons})
  })

  it.each<[what: string, own: Suite, reason: string]>([
    ['fails that passes on base', {'a/1': 'failed', 'a/2': 'failed'}, "firewall4's own test 'a/1' passes on base and fails here"],
    ['is gone that passes on base', {'a/2': 'failed'}, "firewall4's own test 'a/1' passes on base and is gone here"],
    ['is new and fails', {...BASE, 'a/3': 'failed'}, "firewall4's own test 'a/3', which is new, fails"],
  ])('is regressed when one %s', (_, own, reason) => {
    for (const verdict of ['fixed', 'not-fixed', 'regressed'] as const) {
      expect(withSuite({verdict, reasons: ['why']}, BASE, own)).toEqual({verdict: 'regressed', reasons: ['why', reason, expect.stringContaining("firewall4's own tests: ") as string]})
    }
  })

  it.each(['could-not-run', 'flaky', 'not-reproduced'] as const)('cannot make more of %s', (verdict) => {
    expect(withSuite({verdict, reasons: []}, BASE, {}).verdict).toBe(verdict)
  })
})
