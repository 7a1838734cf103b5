import {writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it} from 'vitest'
import {type BuildOptions, builtKernel, FRAGMENTS, isBuilt, patchedKernel} from '../../src/kernel/built.js'
import {readFragments} from '../../src/kernel/fragment.js'
import {type Kernel} from '../../src/kernel/kernel.js'
import {DEBUG_SETS} from '../../src/kernel/debug.js'
import {projectPath} from '../../src/lib/project.js'
import {type Source, sourceTree} from '../../src/tree/source.js'
import {complaint} from '../support/complaint.js'
import {repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {LINUX} from '../support/tarball.js'

const SOURCE: Source = {
  ...{tree: 'linux', label: 'linux 6.12.7', version: '6.12.7', line: '6.12', directory: '/nowhere/linux', commit: 'c0ffee', treeHash: '7ee'},
  origin: {'linux-source-6.12': '6.12.7-1 sha256:00ff'},
}

async function built(options: BuildOptions = {}, source: Partial<Source> = {}) {
  return await builtKernel(contextIn('/nowhere'), {...SOURCE, ...source}, options)
}

async function fragment(text: string): Promise<string> {
  const file = join(await scratch(), 'extra.config')
  await writeFile(file, text)
  return file
}

describe('a built kernel', () => {
  it('is known before anything is built', async () => {
    const kernel = await built()
    expect(kernel).toMatchObject({
      ...{label: 'built 6.12.7', line: '6.12', release: '6.12.7-patchbench'},
      origin: {'linux-source-6.12': '6.12.7-1 sha256:00ff', commit: 'c0ffee'},
    })
    expect(isBuilt(kernel)).toBe(true)
    expect(isBuilt({label: 'debian 6.12.7'} as Kernel)).toBe(false)
  })

  it.each<[string, BuildOptions, string]>([
    ['its debug sets', {debug: ['kasan', 'lockdep']}, 'built 6.12.7 +kasan +lockdep'],
    ['them in one order', {debug: ['lockdep', 'kasan']}, 'built 6.12.7 +kasan +lockdep'],
    ['each of them once', {debug: ['kmemleak', 'kmemleak']}, 'built 6.12.7 +kmemleak'],
    ['no set where none is asked for', {debug: [], idle: true}, 'built 6.12.7'],
  ])('is called by %s', async (_, options, label) => {
    expect((await built(options)).label).toBe(label)
  })

  it('has the release of its version', async () => {
    expect((await built({}, {version: '7.2.0-rc1'})).release).toBe('7.2.0-rc1-patchbench')
  })

  it('has another key for another tree, debug set or fragment', async () => {
    const option = async (text: string) => (await built({fragment: await fragment(text)})).key
    const keys = [
      (await built()).key,
      (await built({}, {treeHash: '7ef'})).key,
      ...(await Promise.all(DEBUG_SETS.map(async (set) => (await built({debug: [set]})).key))),
      (await built({debug: [...DEBUG_SETS]})).key,
      await option('CONFIG_NET_SCH_NETEM=y\n'),
      await option('CONFIG_NET_SCH_NETEM=m\n'),
      await option('CONFIG_NET_SCH_PRIO=y\n'),
    ]
    expect(new Set(keys).size).toBe(keys.length)
    expect(keys[0]).toMatch(/^[0-9a-f]{32}$/)
  })

  it('has the same key for what does not change it', async () => {
    const {key} = await built()
    const same: [BuildOptions, Partial<Source>][] = [
      [{idle: true}, {}],
      [{debug: []}, {}],
      [{fragment: await fragment('# nothing\n')}, {}],
      // Two commits and two places of one tree.
      [{}, {commit: 'decaf', directory: '/elsewhere', origin: {git: 'decaf'}}],
    ]
    for (const [options, source] of same) expect((await built(options, source)).key).toBe(key)
    expect((await built({debug: ['lockdep', 'kasan', 'kasan']})).key).toBe((await built({debug: ['kasan', 'lockdep']})).key)
  })

  it('is refused with a bad fragment, named with its line', async () => {
    expect(await complaint(built({fragment: await fragment('CONFIG_A=y\nA=y\n')}))).toMatch(/extra\.config:2: 'A=y' is no option/)
  })
})

it('an option that the tree has nowhere is told before the tree is checked out', async () => {
  // All that kconfigs/ asks for, and nothing else.
  const fragments = await readFragments(FRAGMENTS.map((name) => projectPath('kconfigs', `${name}.config`)))
  const repo = await repository({...LINUX, Kconfig: fragments.map(({symbol}) => `config ${symbol}\n`).join('')})
  const context = contextIn(await scratch())
  const source = await sourceTree(context, {tree: 'linux', from: repo.folder})
  const kernel = await builtKernel(context, source, {fragment: await fragment('CONFIG_NET=y\nCONFIG_NO_SUCH=y\n# CONFIG_NONE is not set\n')})
  expect(await complaint(kernel.image(context))).toMatch(/extra\.config:2: linux 6\.12\.7 has no option CONFIG_NO_SUCH$/)
  expect(context.said).toEqual([])
})

describe('a patched kernel', () => {
  it('is base with a series, under its name', async () => {
    const base = await built({debug: ['kasan']})
    const kernel = patchedKernel(base, 'local-input', {commit: 'decaf', tree: '7ef'})
    expect(kernel).toMatchObject({
      ...{label: 'built 6.12.7 +kasan local-input', line: '6.12', release: base.release},
      origin: {...base.origin, series: '7ef'},
    })
    expect(isBuilt(kernel)).toBe(false)
  })

  it('has a key of base and the patched tree, whatever its commit and name', async () => {
    const key = async (tree: string, {commit = 'decaf', name = 'fix', options = {} as BuildOptions} = {}) => patchedKernel(await built(options), name, {commit, tree}).key
    expect(await key('7ef')).toBe(await key('7ef', {commit: 'c0ffee', name: 'other'}))
    const keys = [(await built()).key, await key('7ef'), await key('7f0'), await key('7ef', {options: {debug: ['kasan']}})]
    expect(new Set(keys).size).toBe(keys.length)
  })
})
