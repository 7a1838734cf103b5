import {readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, test} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {type Step} from '../../src/machine/job.js'
import {parseKtap} from '../../src/verdict/ktap.js'
import {findSplats} from '../../src/verdict/splat.js'
import {compare, copyOfCase, reasons} from '../support/patchbench.js'
import {built, kernelAndCases, LONG, runSteps} from '../support/machine.js'

const MINUTES = 60_000
const LINES = ['6.12', '6.1']

test.each(LONG ? LINES : LINES.slice(0, 1))('on the stock %s each fix mends what it claims, and both mend all', {timeout: 20 * MINUTES}, async (line) => {
  const fixes = LONG ? ['both', 'stale-mac', 'mark-route'] : ['both']
  const {exit, results} = await compare(['flowtable-dst', '--kernel', line, '--livepatch', fixes.join(',')])
  expect(results.map(({candidate, verdict}) => [candidate, verdict])).toEqual([
    [null, 'shown'],
    ...fixes.flatMap((fix) => [
      [fix, 'fixed'],
      [fix, 'restored'],
    ]),
  ])
  expect(exit).toBe(0)
})

test('one fix alone does not mend the other bug', {timeout: 20 * MINUTES}, async () => {
  const cases = await copyOfCase('flowtable-dst')
  const file = join(cases, 'flowtable-dst/case.yaml')
  const text = await readFile(file, 'utf8')
  // Each single fix now claims everything.
  await writeFile(file, text.replace(/ {4}claims:\n( {6}- .*\n)+/g, ''))
  const alone = LONG ? ['stale-mac', 'mark-route'] : ['stale-mac']
  const {exit, results} = await compare(['flowtable-dst', '--cases', cases, '--variant', 'livepatched', '--livepatch', alone.join(',')])
  const missing = (candidate: string) => reasons(results.filter((result) => result.candidate === candidate))
  expect(results.map(({verdict}) => verdict)).toEqual(['shown', ...alone.map(() => 'not-fixed')])
  expect(missing('stale-mac')).toMatch(/mark-reply-mac4/)
  // A livepatch does not look at a flow without packets, nor probe a neighbour that has gone.
  expect(missing('stale-mac')).not.toMatch(/stale-(?!\w+-idle|mac-gone)/)
  expect(exit).toBe(1)
  if (!LONG) return
  expect(missing('mark-route')).toMatch(/stale-mac-udp4/)
  expect(missing('mark-route')).not.toMatch(/mark-/)
})

test.each(LONG ? LINES : LINES.slice(0, 1))('on %s, loads and unloads under traffic lose nothing and leak nothing', {timeout: 20 * MINUTES}, async (line) => {
  const {kernel, cases} = await kernelAndCases(line, ['flowtable-dst'])
  const {module} = await built(cases[0]!, kernel)
  const environment = {PATCHBENCH_ROUNDS: LONG ? '50' : '5', PATCHBENCH_MODULE: '/run/job/livepatch.ko'}
  const step: Step = {op: 'reproduce', name: 'rounds', program: 'rounds', environment}
  const program = projectPath('vm/stress/flowtable-dst-rounds.py')
  // In real time: a steady flow and a leaping clock do not go together.
  const real = {...cases[0]!, reproducer: {...cases[0]!.reproducer, time: 'real' as const}}
  const session = await runSteps(real, kernel, [step], {rounds: program, 'livepatch.ko': module.path})
  const {tests, broken} = parseKtap(session.steps[0]!.ktap.join('\n'))
  expect(session.failure).toBeUndefined()
  expect(broken).toBeUndefined()
  expect(tests.filter(({status}) => status !== 'passed')).toEqual([])
  expect(findSplats(await readFile(join(session.evidence, 'rounds/kernel.log'), 'utf8'))).toEqual([])
})

describe('livepatches stacked on each other', () => {
  const names = ['ipmr-loopback', 'vrf-lookup', 'flowtable-dst']
  const orders = [[1, 0, 2], [0, 1, 2], [2, 1, 0], [0, 2, 1], [1, 2, 0], [2, 0, 1]]

  test.runIf(LONG).each(orders)('hold, and unloaded in the order %i, %i, %i each bug comes back alone', {timeout: 60 * MINUTES}, async (...order) => {
    const {kernel, cases} = await kernelAndCases('6.12', names)
    const loadables = await Promise.all(cases.map(async (one) => await built(one, kernel)))
    const reproduceAll = (when: string): Step[] =>
      names.map((name) => ({op: 'reproduce', name: `${when}-${name}`, program: name, environment: {}}))
    const steps: Step[] = loadables.map(({livepatch: {module, parameters}}, index) => ({
      ...{op: 'load', name: `load-${names[index]}`, module: `${names[index]}.ko`, livepatch: module, deadline: 60},
      parameters: Object.entries(parameters).map(([parameter, value]) => `${parameter}=${value}`),
    }))
    steps.push(...reproduceAll('stacked'))
    for (const index of order) {
      steps.push({op: 'unload', name: `unload-${names[index]}`, livepatch: loadables[index]!.livepatch.module, deadline: 60})
      steps.push(...reproduceAll(`without-${names[index]}`))
    }
    const files = Object.fromEntries(
      cases.flatMap((one, index) => [
        [one.name, one.reproducer.program],
        [`${one.name}.ko`, loadables[index]!.module.path],
      ]),
    )
    const session = await runSteps(cases[2]!, kernel, steps, files)
    expect(session.failure).toBeUndefined()
    expect(session.steps.filter(({status, exit}) => status !== 'done' || exit)).toEqual([])

    const shows = (when: string, index: number) => {
      const {ktap} = session.steps.find(({name}) => name === `${when}-${names[index]}`)!
      const {tests} = parseKtap(ktap.join('\n'))
      const failed = tests.filter(({status}) => status === 'failed').map(({name}) => name)
      const controls = cases[index]!.controls.map(({name}) => name)
      expect([when, names[index], failed.filter((name) => controls.includes(name))]).toEqual([when, names[index], []])
      return loadables[index]!.livepatch.claims.filter((name) => failed.includes(name)).length
    }
    expect(names.map((_, index) => shows('stacked', index))).toEqual([0, 0, 0])
    const gone = new Set<number>()
    for (const unloaded of order) {
      gone.add(unloaded)
      const expected = loadables.map(({livepatch}, index) => (gone.has(index) ? livepatch.claims.length : 0))
      expect(names.map((_, index) => shows(`without-${names[unloaded]}`, index))).toEqual(expected)
    }
  })
})

test.runIf(LONG)('twenty repeats of the flowtable agree', {timeout: 120 * MINUTES}, async () => {
  const {exit, results} = await compare(['flowtable-dst', '--livepatch', 'both', '--repeat', '20'])
  expect(reasons(results)).toBe('')
  expect(exit).toBe(0)
})
