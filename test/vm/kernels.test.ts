// npm run test:kernels: every candidate on every line that it claims, and with each of its hunks dropped. Hours on two cores.
import {readdir, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, test} from 'vitest'
import {loadCase} from '../../src/case/case.js'
import {compare, reasons, verdicts} from '../support/patchbench.js'
import {hunksOf, withoutNth, withPatches} from '../support/series.js'

const HOURS = 3_600_000
const CASES = ['ipmr-loopback', 'vrf-lookup', 'flowtable-dst']
const LINES = ['6.12', '7.2', '6.1']
const wanted = Boolean(process.env.PATCHBENCH_KERNELS)

describe.runIf(wanted)('every candidate has the verdict that is expected of it', () => {
  test.each(CASES.flatMap((name) => LINES.map((line) => [name, line])))('%s on %s', {timeout: 4 * HOURS}, async (name, line) => {
    const {exit, results} = await compare([name!, '--variant', 'base,patched', '--kernel', line!])
    expect(results.map(({candidate, verdict}) => [candidate, verdict])).toEqual(results.map(({candidate, expected}) => [candidate, expected]))
    // A series' own selftest notices the bug.
    const selftests = results.flatMap((result) => result.selftests)
    expect(selftests.map(({base, patched}) => [base, patched])).toEqual(selftests.map(() => ['failed', 'passed']))
    expect(exit).toBe(0)
  })
})

describe.runIf(wanted)('no case leaves a splat under', () => {
  test.each(['kasan', 'lockdep'])('%s', {timeout: 8 * HOURS}, async (set) => {
    const {results} = await compare([...CASES, '--variant', 'base,patched', '--debug', set])
    expect(results.flatMap(({verdict, reasons}) => (verdict === 'regressed' || verdict === 'could-not-run' ? reasons : []))).toEqual([])
  })
})

describe.runIf(wanted)("a livepatch that the tree's klp-build makes of a candidate", () => {
  const args = ['ipmr-loopback', '--from-patch', '--candidate', 'local-input', '--variant', 'base,livepatched,reverted']

  test('is worth what the candidate is', {timeout: 2 * HOURS}, async () => {
    const {exit, results} = await compare([...args, '--kernel', '7.2'])
    expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'fixed', reverted: 'restored'})
    expect(reasons(results)).toContain('replaces ip_mc_finish_output')
    expect(exit).toBe(0)
  })

  test('is none of a tree that has no klp-build, which is told before anything is built', {timeout: HOURS}, async () => {
    const {exit, stderr} = await compare([...args, '--kernel', '6.12'])
    expect(stderr).toMatch(/^patchbench: linux 6\.12\.\d+ has no scripts\/livepatch\/klp-build .*: the case has one that is written by hand, [\w-]+: leave --from-patch out$/m)
    expect(exit).toBe(2)
  })
})

/** What no kernel is built of. */
const NO_CODE = /(?:MAINTAINERS|Documentation|tools\/testing)/

/** Hunks that only remove variables: without them the compiler warns, and the kernel is the same. */
const SAME_KERNEL = ['vrf-lookup opt-in 0002 3', 'vrf-lookup opt-in 0004 3']

describe.runIf(wanted)('a good candidate without one of its hunks is not called fixed', async () => {
  const sabotages = await Promise.all(CASES.map(sabotagesOf))
  test.each(sabotages.flat())('%s %s without hunk %i of %s', {timeout: HOURS}, async (name, candidate, index, file) => {
    const cases = await withPatches(name, candidate, '6.12', (patch, one) => (one === file ? withoutNth(patch, index) : patch))
    const {results} = await compare([name, '--cases', cases, '--variant', 'base,patched', '--candidate', candidate])
    expect(results.find(({variant}) => variant === 'patched')!.verdict).not.toBe('fixed')
  })
})

async function sabotagesOf(name: string): Promise<[string, string, number, string][]> {
  const {candidates} = await loadCase(name)
  const good = candidates.filter(({expect: {patched}, series}) => patched === 'fixed' && '6.12' in series)
  const found = await Promise.all(
    good.map(async ({name: candidate, series}) => {
      const folder = series['6.12']!
      const files = (await readdir(folder)).filter((file) => /^0*[1-9].*\.patch$/.test(file))
      const hunks = await Promise.all(files.map(async (file) => hunksOf(await readFile(join(folder, file), 'utf8')).map(({path}, index) => ({path, index, file}))))
      const code = hunks.flat().filter(({path, index, file}) => !NO_CODE.test(path) && !SAME_KERNEL.includes(`${name} ${candidate} ${file.slice(0, 4)} ${index}`))
      return code.map(({index, file}): [string, string, number, string] => [name, candidate, index, file])
    }),
  )
  return found.flat()
}
