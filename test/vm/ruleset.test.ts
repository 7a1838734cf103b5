import {execa} from 'execa'
import {appendFile, cp, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, test} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {BIN, compare, reasons, scratch} from '../support/patchbench.js'

/** The case `ports` with one more candidate, whose ruleset does not load, and a reproducer that overlooks it. */
async function withUnloadable(): Promise<string> {
  const cases = await scratch()
  await cp(projectPath('test/fixtures/rulesets'), cases, {recursive: true})
  const file = (name: string) => join(cases, 'ports', name)
  await appendFile(file('case.yaml'), '  - name: unloadable\n    expect: {ruleset: fixed}\n')
  const good = await readFile(file('ruleset/opened.nft'), 'utf8')
  // Its words are sound; it is the kernel that has no such device.
  await writeFile(file('ruleset/unloadable.nft'), good.replace('{ lan0 }', '{ wan0 }'))
  const reproducer = await readFile(file('reproduce'), 'utf8')
  await writeFile(file('reproduce'), reproducer.replace('router.load_ruleset()', 'router.run("nft", "-f", "/run/job/ruleset.nft", check=False)'))
  return cases
}

test('each ruleset has the verdict that it earns, and one that does not load has none', {timeout: 300_000}, async () => {
  const cases = await withUnloadable()
  const {exit, folder, results} = await compare(['ports', '--cases', cases])
  expect(results.map(({variant, candidate, verdict}) => [variant, candidate, verdict])).toEqual([
    ['base', null, 'shown'],
    ['ruleset', 'opened', 'fixed'],
    ['ruleset', 'another-port', 'not-fixed'],
    ['ruleset', 'all-ports', 'regressed'],
    ['ruleset', 'unloadable', 'could-not-run'],
  ])
  expect(exit).toBe(69)
  expect(reasons(results)).toMatch(/ruleset\.nft does not load \(nft\):\n.*No such file or directory/)
  const report = await readFile(join(folder, 'report.md'), 'utf8')
  expect(report).toMatch(/^- ruleset opened: .*rulesets\/opened\.nft/m)
  expect(report).toContain('+\t\tudp dport { 1000, 2000 } accept')
  // What the kernel itself says that it holds.
  expect(await readFile(join(results[1]!.evidence, 'opened-ruleset-1/check-ruleset/ruleset-nft.nft'), 'utf8')).toContain('udp dport { 1000, 2000 } accept')

  const build = async (candidate: string) => await execa('node', [BIN, 'build', 'ruleset', 'ports', '--cases', cases, '--candidate', candidate], {reject: false})
  const [good, bad] = await Promise.all([build('opened'), build('unloadable')])
  expect(good).toMatchObject({exitCode: 0, stdout: expect.stringMatching(/^opened {2}.*opened\.nft {2}sha256:[\da-f]{64}$/) as string})
  expect(bad).toMatchObject({exitCode: 69, stderr: expect.stringContaining('the ruleset unloadable of ports does not load on debian 6.12') as string})
})
