import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, test} from 'vitest'
import {LONG} from '../support/machine.js'
import {caseWithLivepatch, compare, reasons, sabotaged, verdicts} from '../support/patchbench.js'

const MINUTES = 60_000
const FIX = 'new_rt->dst.input = ip_local_deliver;'

describe.each(['6.12', '6.1'])('on the stock %s', (line) => {
  test.each(['ipmr-loopback', 'vrf-lookup'])('%s shows, is fixed and comes back', {timeout: 5 * MINUTES}, async (name) => {
    const {exit, results} = await compare([name, '--kernel', line])
    expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'fixed', reverted: 'restored'})
    const controls = results.flatMap(({tests}) => tests.filter(({role}) => role === 'control'))
    expect(controls.filter(({variant}) => variant !== 'passed')).toEqual([])
    expect(exit).toBe(0)
  })
})

test('repeats agree', {timeout: 60 * MINUTES}, async () => {
  const repeats = LONG ? 20 : 2
  const {exit, results} = await compare(['ipmr-loopback', 'vrf-lookup', '--repeat', String(repeats)])
  expect(results.map(({verdict}) => verdict)).toEqual(['shown', 'fixed', 'restored', 'shown', 'fixed', 'restored'])
  expect(new Set(results.map((result) => result.repeats))).toEqual(new Set([repeats]))
  expect(exit).toBe(0)
})

describe('a sabotaged fix is not called fixed', () => {
  test('ipmr-loopback without the line that fixes it', {timeout: 5 * MINUTES}, async () => {
    const cases = await sabotaged('ipmr-loopback', (source) => source.replace(FIX, '(void)0;'))
    const {exit, results} = await compare(['ipmr-loopback', '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'not-fixed', reverted: 'restored'})
    expect(exit).toBe(1)
  })

  test('vrf-lookup loaded but not enabled', {timeout: 5 * MINUTES}, async () => {
    const cases = await sabotaged('vrf-lookup', (source) => source.replaceAll('READ_ONCE(enable)', 'false'))
    const {exit, results} = await compare(['vrf-lookup', '--cases', cases])
    expect(verdicts(results).livepatched).toBe('not-fixed')
    expect(exit).toBe(1)
  })

  test('one that drops the looped packet breaks a control', {timeout: 5 * MINUTES}, async () => {
    const cases = await sabotaged('ipmr-loopback', (source) => source.replace(FIX, '{ kfree_skb(skb); return 0; }'))
    const {exit, results} = await compare(['ipmr-loopback', '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'regressed', reverted: 'restored'})
    expect(reasons(results)).toContain("the control 'hairpin-delivered' passes on base and fails here")
    expect(exit).toBe(1)
  })
})

describe('a livepatch that harms the kernel is regressed', () => {
  test('by a warning', {timeout: 5 * MINUTES}, async () => {
    const cases = await sabotaged('ipmr-loopback', (source) => source.replace(FIX, `{ WARN_ON_ONCE(1); ${FIX} }`))
    const {exit, results} = await compare(['ipmr-loopback', '--cases', cases])
    expect(verdicts(results).livepatched).toBe('regressed')
    expect(reasons(results)).toMatch(/splat that base's has not: WARNING: CPU: \d+ PID: \d+ at .*livepatch-ipmr-loopback\.c/)
    expect(exit).toBe(1)
  })

  test('by a crash that ends the machine', {timeout: 5 * MINUTES}, async () => {
    const cases = await sabotaged('ipmr-loopback', (source) => source.replace(FIX, '*(volatile int *)8 = 0;'))
    const {exit, results} = await compare(['ipmr-loopback', '--cases', cases])
    expect(verdicts(results)).toMatchObject({base: 'shown', livepatched: 'regressed', reverted: 'could-not-run'})
    expect(reasons(results)).toContain('BUG: kernel NULL pointer dereference')
    expect(exit).toBe(1)
  })
})

test('a module that does not compile is shown with file and line', {timeout: 5 * MINUTES}, async () => {
  const cases = await sabotaged('ipmr-loopback', (source) => source.replace(FIX, 'this is no C;'))
  const {exit, results} = await compare(['ipmr-loopback', '--cases', cases])
  expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'could-not-run', reverted: 'could-not-run'})
  expect(reasons(results)).toMatch(/livepatch-ipmr-loopback\.c:\d+:\d+: error: /)
  expect(exit).toBe(69)
})

test('a module that the kernel refuses is told with its reason', {timeout: 5 * MINUTES}, async () => {
  const {exit, results} = await compare(['refused', '--cases', await caseWithLivepatch('refused', 'no_such_function')])
  expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'could-not-run', reverted: 'could-not-run'})
  expect(reasons(results)).toMatch(/the kernel refused livepatch_refused: .*symbol 'no_such_function' not found/)
  expect(exit).toBe(69)
})

test('a stalled transition names the task and its stack, and is reverted', {timeout: 5 * MINUTES}, async () => {
  // kthreadd sleeps in its function for as long as the machine runs.
  const {exit, results} = await compare(['stall', '--cases', await caseWithLivepatch('stall', 'kthreadd')])
  expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'could-not-run', reverted: 'could-not-run'})
  expect(reasons(results)).toMatch(/the transition stalled for 15 s and was reverted; stalled tasks:\nkthreadd\/2\n(.*\n)*.*kthreadd\+0x/)
  const log = await readFile(join(results[0]!.evidence, 'stall-livepatched+reverted-1/load/kernel.log'), 'utf8')
  expect(log).toContain("livepatch: 'livepatch_stall': unpatching complete")
  expect(exit).toBe(69)
})
