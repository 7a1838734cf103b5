import {readFile, stat} from 'node:fs/promises'
import {join} from 'node:path'
import pLimit from 'p-limit'
import {beforeAll, describe, expect, test} from 'vitest'
import {compare, type Compared, FIXTURES, reasons, verdicts} from '../support/patchbench.js'

const MINUTES = 60_000

/** What goes wrong in a machine, and what is said about it. */
const FAILURES: [name: string, reason: RegExp][] = [
  ['hang', /did not end within 8(\.0)? s of guest time/],
  ['freeze', /printed nothing for \d+ s while doing 'base'/],
  ['chatter', /printed for \d+ s without progress while doing 'base'/],
  ['panic', /the machine ended while doing 'base'/],
  ['poweroff', /the machine ended while doing 'base'/],
  ['garbled', /lost while doing 'base': the guest sent 'this is no event'/],
  ['exit-code', /ended with exit code 3/],
  ['stray', /reported 'surprise', which case.yaml does not name/],
]

/** Those that take longest, the longest last. */
const WAITING = ['hang', 'freeze', 'chatter']

/** What a comparison of each left; a test's folders go when it ends. */
type Left = Compared & {stacks: string; console: string}

describe('a machine that fails is could-not-run, never a verdict', () => {
  const ran = new Map<string, Left>()

  // Side by side, as most of them do nothing but wait for what does not come.
  beforeAll(async () => {
    const limit = pLimit(4)
    const inOrder = [...FAILURES].sort(([a], [b]) => WAITING.indexOf(b) - WAITING.indexOf(a))
    const run = async (name: string) => {
      const compared = await compare([name, '--cases', FIXTURES])
      const read = async (path: string) => await readFile(join(compared.results[0]?.evidence ?? '', 'base-1', path), 'utf8').catch(() => '')
      ran.set(name, {...compared, stacks: await read('base/stacks'), console: await read('console.log')})
    }
    await Promise.all(inOrder.map(async ([name]) => await limit(async () => await run(name))))
  }, 15 * MINUTES)

  test.each(FAILURES)('%s', (name, reason) => {
    const {exit, results} = ran.get(name)!
    expect(verdicts(results)).toEqual({base: 'could-not-run'})
    expect(reasons(results)).toMatch(reason)
    expect(exit).toBe(69)
  })

  test('a hung reproducer leaves the stacks of its tasks', () => {
    expect(ran.get('hang')!.stacks).toMatch(/sleep\/\d+\n.*hrtimer_nanosleep|sleep\/\d+\n(.*\n)*.*do_nanosleep/)
  })

  test('the last console lines of a lost machine are evidence', () => {
    expect(ran.get('panic')!.console).toContain('Kernel panic - not syncing')
  })
})

test('evidence of many megabytes comes home', {timeout: 5 * MINUTES}, async () => {
  const {results} = await compare(['bulky', '--cases', FIXTURES])
  expect(verdicts(results)).toEqual({base: 'shown'})
  expect((await stat(join(results[0]!.evidence, 'base-1/base/bulk'))).size).toBe(64 << 20)
})

test('no symptom on base is not-reproduced', {timeout: 5 * MINUTES}, async () => {
  const {exit, results} = await compare(['healthy', '--cases', FIXTURES])
  expect(verdicts(results)).toEqual({base: 'not-reproduced'})
  expect(exit).toBe(1)
})

test('repeats that disagree are flaky', {timeout: 5 * MINUTES}, async () => {
  const {exit, results} = await compare(['flaky', '--cases', FIXTURES, '--repeat', '20'])
  expect(verdicts(results)).toEqual({base: 'flaky'})
  expect(results[0]!.repeats).toBe(20)
  expect(exit).toBe(1)
})

test('a minute of waiting costs nothing in virtual time', {timeout: 5 * MINUTES}, async () => {
  await compare(['sleeper', '--cases', FIXTURES])
  const started = Date.now()
  const {results} = await compare(['sleeper', '--cases', FIXTURES])
  expect((Date.now() - started) / 1000).toBeLessThan(30)
  expect(verdicts(results)).toEqual({base: 'shown'})
  expect(results[0]!.tests[0]!.observed.base).toMatch(/^slept 6\d s$/)
})
