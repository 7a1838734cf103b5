import {execa} from 'execa'
import {createReadStream} from 'node:fs'
import {cp, mkdir, readFile, rm, writeFile} from 'node:fs/promises'
import {createServer} from 'node:http'
import {type AddressInfo} from 'node:net'
import {homedir} from 'node:os'
import {join} from 'node:path'
import {expect, test} from 'vitest'
import {type Manifest} from '../../src/bundle/manifest.js'
import {sha256} from '../../src/lib/hash.js'
import {LONG} from '../support/machine.js'
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

/** A bundle of a run: the fixture always shows its symptom, so what its livepatch is worth is not-fixed, a fair claim. */
async function bundled(...args: string[]): Promise<{file: string; unpacked: string}> {
  const cases = await caseWithLivepatch('handover', 'ip_mr_input')
  const {folder} = await compare(['handover', '--cases', cases, ...args])
  const file = join(await scratch(), 'one.tar.zst')
  await execa('node', [BIN, 'bundle', folder, '--output', file])
  const around = await scratch()
  await execa('tar', ['--zstd', '-xf', file, '-C', around])
  return {file, unpacked: join(around, 'patchbench-bundle')}
}

test.skipIf(NO_SANDBOX)(`a false claim is not reproduced, and the fair one beside it is ${NO_SANDBOX}`, {timeout: 15 * MINUTES}, async () => {
  const {unpacked} = await bundled('--variant', 'base,livepatched')
  const claimed = await forged(unpacked, ({results}) => {
    const cell = results.find(({variant}) => variant === 'livepatched')!
    Object.assign(cell, {verdict: 'fixed', reasons: []})
    Object.assign(cell.tests.find(({name}) => name === 'symptom')!, {variant: 'passed'})
  })
  const words = await execa('node', [BIN, 'reproduce', claimed, '--output', await scratch()], {reject: false, stdin: 'ignore'})
  expect(words.exitCode).toBe(1)
  expect(words.stdout).toMatch(/handover +debian \S+ +base +shown +shown +same\n/)
  expect(words.stdout).toContain("symptom: author's passed (broken), here failed (broken)")
  expect(words.stdout.split('\n').at(-1)).toMatch(/^not reproduced here: 1 of 2 cells/)
})

test.skipIf(NO_SANDBOX || !LONG)(`a bundle is repeated from a server and by the program in it, and a hostile one is contained ${NO_SANDBOX}`, {timeout: 30 * MINUTES}, async () => {
  const {file, unpacked} = await bundled()
  const same = ['base same', 'livepatched same', 'reverted same']

  const server = createServer((_, response) => void createReadStream(file).pipe(response))
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  try {
    const fair = await reproduce(`http://127.0.0.1:${(server.address() as AddressInfo).port}/one.tar.zst`)
    expect(fair.cells?.map(({variant, state}) => `${variant} ${state}`)).toEqual(same)
    expect(fair).toMatchObject({exit: 0, reproduced: true})
    // A file of ours may have been saved meanwhile, which makes it another patchbench.
    expect(fair.differences.filter(({what}) => what !== 'patchbench')).toEqual([])
  } finally {
    server.close()
  }

  const inside = await execa(join(unpacked, 'reproduce.sh'), ['--quick', '--json', '--output', await scratch()], {reject: false, stdin: 'ignore'})
  expect((JSON.parse(inside.stdout) as Reproduced).cells.map(({variant, state}) => `${variant} ${state}`)).toEqual(same)
  expect(inside.exitCode).toBe(0)

  // The compiler takes a file of ours into the module, from where a reproducer could print it.
  const secret = join(homedir(), '.patchbench-test-secret')
  await mkdir(homedir(), {recursive: true})
  await writeFile(secret, 'a key of mine\n')
  const source = 'cases/handover/livepatch/handover/livepatch-handover.c'
  const hostile = await forged(unpacked, () => {}, {[source]: (text) => `${text}\nasm(".incbin \\"${secret}\\"");\n`})
  const contained = await reproduce(hostile)
  await rm(secret)
  expect(contained.exit).toBe(69)
  expect(contained.cells.find(({variant}) => variant === 'livepatched')?.reasons.join()).toMatch(/does not build.*No such file or directory|file not found/)
})
