import {mkdir, readdir, symlink, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {type Manifest, MANIFEST} from '../../src/bundle/manifest.js'
import {type ReproduceOptions, reproduceCommand} from '../../src/commands/reproduce.js'
import {CouldNotRun} from '../../src/lib/errors.js'
import {findProgram} from '../../src/lib/hostpath.js'
import {bundleOf, RUN} from '../support/bundle.js'
import {complaint} from '../support/complaint.js'
import {contextIn, scratch} from '../support/scratch.js'

const CASE = `schema: 1
title: one copy too many
tree: linux
kernels: ['6.12']
reproducer: {program: reproduce, time: real, deadline: 30}
symptoms: [{name: symptom, about: fails where the bug is}]
livepatches: [{name: input, source: livepatch/input, module: livepatch_input, expect: {livepatched: fixed, reverted: restored}}]
`

const FILES = {'cases/one/case.yaml': CASE, 'cases/one/reproduce': '#!/bin/sh\n', 'cases/one/livepatch/input/livepatch-input.c': '\n'}

/** What becomes of a bundle that never gets as far as a machine. */
async function attempt(files: Record<string, string>, change: (manifest: Manifest) => unknown = () => {}, options: Partial<ReproduceOptions> = {}): Promise<unknown> {
  const {manifest, contents} = bundleOf(files, change)
  const [folder, cache] = [await scratch(), await scratch()]
  for (const {path, data} of [{path: MANIFEST, data: manifest}, ...contents]) {
    await mkdir(dirname(join(folder, path)), {recursive: true})
    await writeFile(join(folder, path), data)
  }
  try {
    return await reproduceCommand(contextIn(cache), folder, {accel: 'tcg', output: join(await scratch(), 'run'), ...options}, 'patchbench reproduce')
  } finally {
    expect(await readdir(join(cache, 'scratch'))).toEqual([])
  }
}

const edited = (from: string, to: string) => ({...FILES, 'cases/one/case.yaml': CASE.replace(from, to)})

describe('a bundle whose case reaches for files of this machine is refused', () => {
  it.each([
    ['a reproducer', edited('program: reproduce', 'program: /bin/true'), /names \/bin\/true, a file of this machine/],
    ['a livepatch', edited('source: livepatch/input', 'source: ../../../../../../../../../etc'), /names \/etc, a file of this machine/],
    ['a kernel configuration', edited('tree: linux', 'tree: linux\nkconfig: /etc/hostname'), /names \/etc\/hostname, a file of this machine/],
  ])('%s', async (_, files, words) => {
    expect(await complaint(attempt(files))).toMatch(words)
  })

  it('a router', async () => {
    const router = await scratch()
    await mkdir(join(router, 'uci'))
    await writeFile(join(router, 'uci/firewall.json'), '{}')
    const text = CASE.replace('tree: linux', `tree: firewall4\nfirewall4: {router: ${router}}`).replace(/livepatches.*\n/, '')
    const run = (manifest: Manifest) => (manifest.run = {...RUN, cases: [{...RUN.cases[0]!, livepatches: []}]})
    expect(await complaint(attempt({...FILES, 'cases/one/case.yaml': text}, run))).toContain(`names ${router}, a file of this machine`)
  })
})

describe('a bundle', () => {
  it('whose case is none is refused, in the words of the bundle', async () => {
    expect(await complaint(attempt(edited('deadline: 30', 'deadline: soon')))).toMatch(/^the bundle is refused: cases\/one\/case\.yaml:5: reproducer\.deadline/)
  })

  it('that sets a parameter that its case does not have is refused', async () => {
    const run = (manifest: Manifest) => (manifest.run = {...RUN, cases: [{...RUN.cases[0]!, parameters: {PATH: '/tmp'}}]})
    expect(await complaint(attempt(FILES, run))).toMatch(/has no parameter 'PATH', which its manifest sets/)
  })

  it('without a livepatch on a packaged kernel has nothing for --quick', async () => {
    const run = (manifest: Manifest) => (manifest.run = {...RUN, targets: [{...RUN.targets[0]!, variants: ['base']}]})
    expect(await complaint(attempt(FILES, run, {quick: true}))).toMatch(/^--quick: this bundle has no livepatch on a packaged kernel/)
  })

  it('of a kernel at hand, or of a tree of the author\'s, says what has to be named', async () => {
    const kernel = {...RUN.kernels[0]!, origin: {image: 'sha256:00ff'}}
    const given = (manifest: Manifest) => (manifest.run = {...RUN, kernels: [{...kernel, kind: 'given'}]})
    expect(await complaint(attempt(FILES, given, {trust: true}))).toMatch(/an image at hand.*name one with --kernel, --modules and --headers/)
    const built = (manifest: Manifest) => (manifest.run = {...RUN, kernels: [{...kernel, kind: 'built', origin: {git: 'c0ffee'}, tree: '7ee'}]})
    expect(await complaint(attempt(FILES, built, {trust: true}))).toMatch(/git c0ffee; git tree 7ee\): name a clone that has it with --source DIR --base COMMIT/)
  })

  it('of firewall4 says which tree it needs', async () => {
    const files = {
      'cases/one/case.yaml': CASE.replace('tree: linux', 'tree: firewall4\nfirewall4: {router: router}').replace(/livepatches.*\n/, ''),
      ...{'cases/one/reproduce': '', 'cases/one/router/uci/firewall.json': '{}'},
    }
    const with_ = (firewall4: Manifest['run']['firewall4']) => (manifest: Manifest) => (manifest.run = {...RUN, firewall4, cases: [{...RUN.cases[0]!, livepatches: []}]})
    expect(await complaint(attempt(files, with_(null), {trust: true}))).toMatch(/is of the tree firewall4, and its manifest does not say which/)
    const tree = {version: 'c0ffee', commit: 'c0ffee', tree: '7ee', origin: {git: 'c0ffee', url: 'https://example.org/fw4.git'}, ucode: {}}
    expect(await complaint(attempt(files, with_(tree), {trust: true}))).toMatch(/git tree 7ee\): name a clone or a git URL.*--source \(https:\/\/example\.org\/fw4\.git\), and ucode with --ucode/)
  })

  it('builds nothing where there is no bubblewrap, and says what to do', async () => {
    const before = process.env.PATH
    process.env.PATH = await pathWithout('bwrap')
    try {
      const refused = attempt(FILES)
      await expect(refused).rejects.toThrow(CouldNotRun)
      await expect(refused).rejects.toMatchObject({message: expect.stringMatching(/in a sandbox only: bwrap is not installed: 'patchbench doctor'/) as string, detail: expect.stringContaining('--trust builds without a sandbox') as string})
    } finally {
      process.env.PATH = before
    }
  })

  it('is none where its address is', async () => {
    const context = contextIn(await scratch())
    expect(await complaint(reproduceCommand(context, '/nowhere/x.tar.zst', {accel: 'tcg'}, ''))).toMatch(/\/nowhere\/x\.tar\.zst is not there: name a bundle's file, its URL/)
  })
})

/** A PATH with the programs of this one but one, which is in no other folder. */
async function pathWithout(name: string): Promise<string> {
  const place = await findProgram(name)
  if (place === undefined) return process.env.PATH ?? ''
  const folder = await scratch()
  for (const program of await readdir(dirname(place))) if (program !== name) await symlink(join(dirname(place), program), join(folder, program)).catch(() => {})
  return folder
}
