import {copyFile, cp, mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, test} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {type Result} from '../../src/run/results.js'
import {isUnder} from '../../src/trace/stacks.js'
import {LONG} from '../support/machine.js'
import {compare, compareTraced, copyOfCase, reasons, scratch} from '../support/patchbench.js'

const NAME = 'nat-oif-change'

/** The case with one more candidate: the mended rules with the early accept back in iptables' form of them. */
async function withHalfMended(): Promise<string> {
  const folder = await scratch()
  const cases = join(folder, 'patches')
  await cp(projectPath('patches', NAME), join(cases, NAME), {recursive: true})
  await mkdir(join(folder, 'vm'))
  await copyFile(projectPath('vm', `${NAME}.py`), join(folder, 'vm', `${NAME}.py`))
  const file = join(cases, NAME, 'case.yaml')
  const own = 'candidates:\n  - name: half-mended\n    expect: {ruleset: not-fixed}\n'
  await writeFile(file, (await readFile(file, 'utf8')).replace('candidates:\n', own))
  const rulesets = join(cases, NAME, 'ruleset')
  const mended = (await readdir(rulesets)).filter((file) => file.startsWith('save-mark.'))
  for (const file of mended) await copyFile(join(rulesets, file), join(rulesets, file.replace('save-mark', 'half-mended')))
  const marks = '-A Optimized -j MARK --set-xmark 0x36/0xff\n'
  const text = await readFile(join(rulesets, 'half-mended.iptables'), 'utf8')
  expect(text).toContain(marks)
  await writeFile(join(rulesets, 'half-mended.iptables'), text.replace(marks, `${marks}-A Optimized -j ACCEPT\n`))
  return cases
}

test('a masqueraded connection outlives its mark with the mended rules, and not where they are mended by half', {timeout: 600_000}, async () => {
  const {exit, folder, results} = await compareTraced([NAME, '--cases', await withHalfMended(), '--candidate', 'save-mark,half-mended'])
  expect(results.map(({candidate, verdict}) => [candidate, verdict])).toEqual([
    [null, 'shown'],
    ['half-mended', 'not-fixed'],
    ['save-mark', 'fixed'],
  ])
  expect(exit).toBe(0)
  const still = ['entry', 'transfer', 'wire', 'datagrams'].map((test) => `the symptom '${test}-iptables' still shows`)
  expect(reasons(results).match(/the symptom '.*?' still shows/g)).toEqual(still)
  const [base, , mended] = results
  // Entries time out as well, on whichever variant.
  const isKilledByNat = ({trace}: Result) => trace!.stacks.some((stack) => isUnder(stack, 'nf_nat_inet_fn', 'nf_ct_delete'))
  expect([base!, mended!].map(isKilledByNat)).toEqual([true, false])
  expect(base!.tests.find(({name}) => name === 'entry-nft4')!.observed.base).toMatch(/^\[UPDATE\] .*mark=48, then \[DESTROY\] ESTABLISHED \[ASSURED\] mark=48$/)
  expect(await readFile(join(folder, 'report.md'), 'utf8')).toMatch(/On the wire: symptom-wan1\n[^]*203\.0\.113\.1\.443 > 198\.51\.100\.1/)
})

test.runIf(LONG)('a ruleset that leaves no way through fails its tests, and ends no reproducer', {timeout: 900_000}, async () => {
  const cases = await copyOfCase(NAME)
  const rulesets = join(cases, NAME, 'ruleset')
  const candidates = {
    // The server has no route to what is not masqueraded.
    unreachable: (text: string) => text.replaceAll(/^.*masquerade$/gim, ''),
    'black-hole': (text: string) => text.replace('meta mark set ct mark', 'drop').replace('-A PREROUTING -j CONNMARK --restore-mark', '-A PREROUTING -j DROP'),
  }
  const own = Object.keys(candidates).map((name) => `  - name: ${name}\n    expect: {ruleset: regressed}\n`)
  const file = join(cases, NAME, 'case.yaml')
  await writeFile(file, (await readFile(file, 'utf8')).replace('candidates:\n', `candidates:\n${own.join('')}`))
  for (const [name, change] of Object.entries(candidates)) {
    for (const form of ['nft', 'iptables', 'ip6tables']) {
      const mended = await readFile(join(rulesets, `save-mark.${form}`), 'utf8')
      expect(change(mended)).not.toBe(mended)
      await writeFile(join(rulesets, `${name}.${form}`), change(mended))
    }
  }
  const {exit, results} = await compare([NAME, '--cases', cases, '--candidate', Object.keys(candidates).join(',')])
  expect(results.map(({candidate, verdict}) => [candidate, verdict])).toEqual([[null, 'shown'], ['unreachable', 'regressed'], ['black-hole', 'regressed']])
  expect(exit).toBe(0)
  const symptoms = results.slice(1).flatMap(({tests}) => tests.filter(({role, name}) => role === 'symptom' && !name.startsWith('entry-')))
  expect(symptoms.filter(({variant}) => variant !== 'failed').map(({name}) => name)).toEqual([])
})
