import {execa} from 'execa'
import {readFile, truncate, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, test} from 'vitest'
import {loadCase} from '../../src/case/case.js'
import {packagedKernel} from '../../src/kernel/packaged.js'
import {sha256File} from '../../src/lib/hash.js'
import {caseSnapshot} from '../../src/run/machines.js'
import {context} from '../support/machine.js'
import {BIN, compare, eventually, FIXTURES, processesOn, scratch, verdicts} from '../support/patchbench.js'

const MINUTES = 60_000
const FIXED = {base: 'shown', livepatched: 'fixed', reverted: 'restored'}

/** Where a cold run can be stopped, by what it says then, in the order in which it gets there. */
const STAGES = ['extracting', 'downloading linux-image', 'unpacking linux-image', 'booting', 'downloading linux-headers', 'building', 'running base']

/** Starts a cold comparison and stops it with a signal as soon as it says that it is at a stage. */
async function stopAt(stage: string, signal: 'SIGINT' | 'SIGKILL', cache: string): Promise<number | string> {
  const output = await scratch()
  // Where KVM can be probed, the kernel would come before the root.
  const child = execa('node', [BIN, 'compare', 'ipmr-loopback', '--accel', 'tcg', '--output', output], {
    env: {PATCHBENCH_CACHE: cache},
    reject: false,
    stdin: 'ignore',
    all: true,
  })
  let said = ''
  child.all.on('data', (chunk: Buffer) => {
    const before = said.includes(stage)
    said += chunk.toString('utf8')
    if (!before && said.includes(stage)) child.kill(signal)
  })
  const {exitCode, signal: by} = await child
  return exitCode ?? by ?? 'unknown'
}

test('a cold run can be stopped anywhere, and a plain one after it works', {timeout: 20 * MINUTES}, async () => {
  const cache = await scratch()
  for (const stage of STAGES) {
    expect([stage, await stopAt(stage, 'SIGINT', cache)]).toEqual([stage, 130])
    expect(await processesOn(cache)).toEqual([])
    expect([stage, await stopAt(stage, 'SIGKILL', cache)]).toEqual([stage, 'SIGKILL'])
    expect(await eventually(async () => (await processesOn(cache)).length === 0, 30), `nothing is left after ${stage}`).toBe(true)
  }
  // Two at once: both are right, and what is missing is made once.
  const [one, two] = await Promise.all([1, 2].map(async () => await compare(['ipmr-loopback'], {PATCHBENCH_CACHE: cache})))
  expect([verdicts(one!.results), verdicts(two!.results)]).toEqual([FIXED, FIXED])
  expect(`${one!.stderr}${two!.stderr}`.match(/building livepatch_/g)).toHaveLength(1)
  // The case names probes, and nobody asked for a trace.
  for (const result of one!.results) expect(result).not.toHaveProperty('trace')
})

describe('a snapshot that does not restore', () => {
  async function snapshotFile(cases: string, name: string): Promise<string> {
    const [one, kernel] = await Promise.all([loadCase('shown', cases), packagedKernel(context, '6.12')])
    const {folder} = await caseSnapshot(context, one, kernel, {accelerator: 'tcg'})
    return join(folder, name)
  }

  /** A case with a memory size of its own has a snapshot of its own, which may be broken. */
  async function caseOfItsOwn(): Promise<string> {
    const folder = await scratch()
    await execa('cp', ['-r', join(FIXTURES, 'shown'), join(folder, 'shown')])
    const file = join(folder, 'shown/case.yaml')
    await writeFile(file, (await readFile(file, 'utf8')).replace('deadline: 30', 'deadline: 30\n  memory: 300'))
    return folder
  }

  test('because a file of it was truncated is made anew', {timeout: 5 * MINUTES}, async () => {
    const cases = await caseOfItsOwn()
    await compare(['shown', '--cases', cases, '--accel', 'tcg'])
    await truncate(await snapshotFile(cases, 'ram'), 4096)
    const again = await compare(['shown', '--cases', cases, '--accel', 'tcg'])
    expect(again.stderr).toContain('a cached snapshot was damaged and is made anew')
    expect(verdicts(again.results)).toEqual({base: 'shown'})
  })

  test('because QEMU does not take its state is made anew', {timeout: 5 * MINUTES}, async () => {
    const cases = await caseOfItsOwn()
    await compare(['shown', '--cases', cases, '--accel', 'tcg'])
    const state = await snapshotFile(cases, 'state')
    await writeFile(state, 'another QEMU wrote this')
    const manifest = join(state, '../manifest.json')
    const text = await readFile(manifest, 'utf8')
    const {files} = JSON.parse(text) as {files: {state: {sha256: string}}}
    await writeFile(manifest, text.replace(files.state.sha256, await sha256File(state)))
    const again = await compare(['shown', '--cases', cases, '--accel', 'tcg'])
    expect(again.stderr).toContain('a snapshot does not restore with this QEMU and is made anew')
    expect(verdicts(again.results)).toEqual({base: 'shown'})
  })
})

test('a full disk is one clear sentence', {timeout: 5 * MINUTES}, async ({skip}) => {
  const mount = await scratch()
  const tiny = 'mount -t tmpfs -o size=64m tmpfs "$1" && shift && exec "$@"'
  const probe = await execa('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', tiny, 'sh', mount, 'true'], {reject: false})
  if (probe.exitCode !== 0) return skip('this machine lets nobody mount a small file system')
  const command = ['node', BIN, 'build', 'livepatch', 'ipmr-loopback']
  const {exitCode, stderr, stdout} = await execa('unshare', ['--user', '--map-root-user', '--mount', 'sh', '-c', tiny, 'sh', mount, ...command], {
    reject: false,
    env: {PATCHBENCH_CACHE: mount},
    stdin: 'ignore',
  })
  expect(`${stdout}${stderr}`).toMatch(/full|space/)
  expect(`${stdout}${stderr}`).not.toMatch(/at .*\.js:\d+/)
  expect(exitCode).toBe(69)
})
