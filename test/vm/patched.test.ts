import {execa} from 'execa'
import {rm, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, test} from 'vitest'
import {findVng, vngArguments} from '../../src/machine/vng.js'
import {context} from '../support/machine.js'
import {BIN, compare, copyOfCase, reasons, verdicts} from '../support/patchbench.js'
import {newFile, withLine, withoutHunk, withPatches} from '../support/series.js'

const MINUTES = 60_000
const PATCHED = ['ipmr-loopback', '--variant', 'base,patched', '--candidate', 'local-input']
const DECLARATION = '+\tbool forwarded;'

/** What `patchbench build kernel --json` says. */
async function buildKernel(args: readonly string[]) {
  const {exitCode, stdout, stderr} = await execa('node', [BIN, 'build', 'kernel', 'ipmr-loopback', '--json', ...args], {reject: false, stdin: 'ignore'})
  return {exit: exitCode, said: stdout ? JSON.parse(stdout) : undefined, stderr}
}

test('a candidate is built, and fixes on the kernel that base was built of', {timeout: 30 * MINUTES}, async () => {
  const {exit, results} = await compare(PATCHED)
  expect(verdicts(results)).toEqual({base: 'shown', patched: 'fixed'})
  expect(new Set(results.map(({kernel}) => kernel))).toEqual(new Set([expect.stringMatching(/^built 6\.12\.\d+$/)]))
  expect(exit).toBe(0)
})

describe('a sabotaged candidate is not called fixed', () => {
  test('without the hunk that fixes it', {timeout: 10 * MINUTES}, async () => {
    const cases = await withPatches('ipmr-loopback', 'local-input', '6.12', (patch) => withoutHunk(patch, 'ip_local_deliver;'))
    const {exit, results} = await compare([...PATCHED, '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', patched: 'not-fixed'})
    expect(exit).toBe(1)
  })

  test('where the series changes nothing that is compiled in, which is said', {timeout: 10 * MINUTES}, async () => {
    const cases = await withPatches('ipmr-loopback', 'local-input', '6.12', () => newFile('Documentation/new.rst', 'docs: say it', 'It is said.'))
    const {exit, results} = await compare([...PATCHED, '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', patched: 'not-fixed'})
    expect(reasons(results)).toContain('this series changes nothing that is compiled in')
    expect(exit).toBe(1)
  })

  test('nor for the selftests that it brings, which are run on both kernels', {timeout: 10 * MINUTES}, async () => {
    const folder = 'tools/testing/selftests/patchbench'
    const series = newFile(`${folder}/Makefile`, 'selftests: add a collection', 'TEST_PROGS := said.sh') + newFile(`${folder}/said.sh`, 'selftests: say it', '#!/bin/sh\necho "said on $(uname -s)"')
    const cases = await withPatches('ipmr-loopback', 'local-input', '6.12', () => series)
    const {exit, results} = await compare([...PATCHED, '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', patched: 'not-fixed'})
    const said = expect.stringContaining('said on Linux')
    expect(results.flatMap(({selftests}) => selftests)).toEqual([{name: 'selftests: patchbench: said.sh', base: 'passed', patched: 'passed', observed: {base: said, patched: said}}])
    expect(exit).toBe(1)
  })

  test('nor one that does not build, which is shown with file and line', {timeout: 10 * MINUTES}, async () => {
    const cases = await withPatches('ipmr-loopback', 'local-input', '6.12', (patch) => withLine(patch, DECLARATION, 'this is no C;'))
    const {exit, results} = await compare([...PATCHED, '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', patched: 'could-not-run'})
    expect(reasons(results)).toMatch(/does not build: net\/ipv4\/ip_output\.c:\d+:\d+: error: /)
    expect(exit).toBe(69)
  })

  test('nor one that does not apply', {timeout: 10 * MINUTES}, async () => {
    const cases = await withPatches('ipmr-loopback', 'local-input', '6.12', (patch) => patch.replaceAll('ip_mc_finish_output', 'no_such_function').replaceAll('new_rt', 'no_rt'))
    const {exit, results} = await compare([...PATCHED, '--cases', cases])
    expect(verdicts(results)).toEqual({base: 'shown', patched: 'could-not-run'})
    expect(reasons(results)).toContain('candidate local-input does not apply to linux 6.12')
    expect(exit).toBe(69)
  })
})

test('a series is built commit by commit, and the first bad one is named', {timeout: 15 * MINUTES}, async () => {
  const good = await buildKernel(['--candidate', 'local-input', '--per-commit'])
  expect(good.said.complaint).toBeNull()
  expect(good.exit).toBe(0)
  const cases = await withPatches('ipmr-loopback', 'local-input', '6.12', (patch) => withLine(patch, DECLARATION, '\tint unused;'))
  const bad = await buildKernel(['--candidate', 'local-input', '--per-commit', '--cases', cases])
  expect(bad.said.complaint).toMatch(/adds a warning: net\/ipv4\/ip_output\.c:\d+:\d+: warning: unused variable .unused./)
  expect(bad.exit).toBe(1)
})

test('a livepatch is built and proved on a built kernel as well', {timeout: 10 * MINUTES}, async () => {
  const {exit, results} = await compare(['ipmr-loopback', '--built', '--variant', 'livepatched,reverted'])
  expect(verdicts(results)).toEqual({base: 'shown', livepatched: 'fixed', reverted: 'restored'})
  expect(exit).toBe(0)
})

test.each([
  ['that kconfig drops, with the dependency that is not met', '# CONFIG_IPV6 is not set\n', /network\.config:\d+: CONFIG_NF_TABLES_INET=y was dropped: it depends on .*IPV6 \[=n\]/],
  ['that the tree has not, before anything is checked out', 'CONFIG_NO_SUCH_OPTION=y\n', /extra\.config:1: linux \S+ has no option CONFIG_NO_SUCH_OPTION/],
])('an option is an error %s', {timeout: 10 * MINUTES}, async (_, fragment, said) => {
  const cases = await copyOfCase('ipmr-loopback')
  await writeFile(join(cases, 'ipmr-loopback/extra.config'), fragment)
  await writeFile(join(cases, 'ipmr-loopback/case.yaml'), 'kconfig: extra.config\n', {flag: 'a'})
  const {exit, stderr} = await buildKernel(['--cases', cases])
  expect(stderr).toMatch(said)
  expect(exit).toBe(2)
})

test('plain vng boots what was built', {timeout: 10 * MINUTES}, async () => {
  const {said} = await buildKernel([])
  const {program, env} = await findVng(context)
  const home = await execa('mktemp', ['-d'])
  // Without udev on the host there is no way back for a script's output: the console tells.
  const words = [...vngArguments(said.vmlinuz, 'tcg'), '--verbose', '--exec', 'uname -r']
  const {all} = await execa(program, words, {env: {...env, HOME: home.stdout}, reject: false, all: true, stdin: 'ignore', timeout: 5 * MINUTES})
  await rm(home.stdout, {recursive: true})
  expect(all).toContain('-patchbench')
  expect(all).toContain('script returned {0}')
})
