import {execa} from 'execa'
import {cp, mkdir, readFile, writeFile} from 'node:fs/promises'
import {homedir} from 'node:os'
import {join} from 'node:path'
import {expect, test} from 'vitest'
import {type Manifest} from '../../src/bundle/manifest.js'
import {sha256} from '../../src/lib/hash.js'
import {BIN, caseWithLivepatch, compare, scratch} from '../support/patchbench.js'
import {NO_SANDBOX} from '../support/sandbox.js'

const MINUTES = 60_000

type Reproduced = {exit: number; reproduced: boolean; differences: {what: string}[]; cells: {variant: string; state: string; reasons: string[]}[]}

/** Runs `patchbench reproduce` as a reviewer would. */
async function reproduce(file: string, ...args: string[]): Promise<Reproduced & {stderr: string}> {
  const {stdout, stderr, exitCode} = await execa('node', [BIN, 'reproduce', file, '--json', '--output', await scratch(), ...args], {reject: false, stdin: 'ignore'})
  const parsed = (stdout ? JSON.parse(stdout) : {}) as Reproduced
  return {...parsed, exit: exitCode ?? -1, stderr}
}

/** An unpacked bundle after a change of somebody who knows what a checksum is. */
async function forged(folder: string, change: (manifest: Manifest) => void, files: Record<string, (text: string) => string> = {}): Promise<string> {
  const copy = join(await scratch(), 'forged')
  await cp(folder, copy, {recursive: true})
  const manifest = JSON.parse(await readFile(join(copy, 'manifest.json'), 'utf8')) as Manifest
  for (const [path, edit] of Object.entries(files)) {
    const before = await readFile(join(copy, path), 'utf8')
    const text = edit(before)
    if (text === before) throw new Error('the forgery changed nothing')
    await writeFile(join(copy, path), text)
    Object.assign(manifest.files[path]!, {sha256: sha256(text), size: Buffer.byteLength(text)})
  }
  change(manifest)
  await writeFile(join(copy, 'manifest.json'), JSON.stringify(manifest))
  return copy
}

test.skipIf(NO_SANDBOX)(`a bundle is repeated, a false one is not, and a hostile one is contained ${NO_SANDBOX}`, {timeout: 15 * MINUTES}, async () => {
  // The fixture always shows its symptom, so what the livepatch is worth is not-fixed: a fair claim.
  const cases = await caseWithLivepatch('handover', 'ip_mr_input')
  const {folder} = await compare(['handover', '--cases', cases])
  const file = join(await scratch(), 'one.tar.zst')
  await execa('node', [BIN, 'bundle', folder, '--output', file])

  const fair = await reproduce(file)
  expect(fair.cells?.map(({variant, state}) => `${variant} ${state}`)).toEqual(['base same', 'livepatched same', 'reverted same'])
  expect(fair).toMatchObject({exit: 0, reproduced: true, differences: []})

  const around = await scratch()
  await execa('tar', ['--zstd', '-xf', file, '-C', around])
  const unpacked = join(around, 'patchbench-bundle')
  const claimed = await forged(unpacked, ({results}) => {
    const cell = results.find(({variant}) => variant === 'livepatched')!
    Object.assign(cell, {verdict: 'fixed', reasons: []})
    Object.assign(cell.tests.find(({name}) => name === 'symptom')!, {variant: 'passed'})
  })
  const words = await execa('node', [BIN, 'reproduce', claimed, '--output', await scratch()], {reject: false, stdin: 'ignore'})
  expect(words.exitCode).toBe(1)
  expect(words.stdout).toContain("symptom: author's passed (broken), here failed (broken)")
  expect(words.stdout.split('\n').at(-1)).toMatch(/^not reproduced here: 2 of 3 cells/)

  // The compiler takes a file of ours into the module, from where a reproducer could print it.
  const secret = join(homedir(), '.patchbench-test-secret')
  await mkdir(homedir(), {recursive: true})
  await writeFile(secret, 'a key of mine\n')
  const source = 'cases/handover/livepatch/handover/livepatch-handover.c'
  const hostile = await forged(unpacked, () => {}, {[source]: (text) => `${text}\nasm(".incbin \\"${secret}\\"");\n`})
  const contained = await reproduce(hostile)
  await execa('rm', [secret])
  expect(contained.exit).toBe(69)
  expect(contained.cells.find(({variant}) => variant === 'livepatched')?.reasons.join()).toMatch(/does not build.*No such file or directory|file not found/)
})
