import {chmod, mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {afterEach, describe, expect, it} from 'vitest'
import {type BuiltKernel} from '../../src/kernel/built.js'
import {artefact} from '../../src/lib/cache.js'
import {keyOf} from '../../src/lib/hash.js'
import {checkBuilds} from '../../src/submit/builds.js'
import {type Row} from '../../src/submit/rows.js'
import {repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {DELEGATE} from '../support/series.js'

const PATH = process.env.PATH
afterEach(() => void (process.env.PATH = PATH))

/** A compiler and a sparse that say what stands in a file, see test/kernel/percommit.test.ts. */
const MAKEFILE = `%.o: ../%.c FORCE
	@sed -n 's|^//[$(if $(C),S,!E$(W))] |$<:1:1: |p' $<
	@! grep -q '//E' $<
	@touch $@
bzImage: one.o
modules:
FORCE:
`

/** What checkBuilds says of a change of one.c, after a build whose image is the same as base's or not. */
async function rows(changed: string, {unchanged = false, sparse = true} = {}): Promise<Row[]> {
  const repo = await repository({'one.c': 'one\n'})
  const [commit, folder, context] = [await repo.git('rev-parse', 'HEAD'), join(await scratch(), 'source'), contextIn(await scratch())]
  await mkdir(join(folder, 'build'), {recursive: true})
  for (const [path, text] of Object.entries({Makefile: DELEGATE, 'build/Makefile': MAKEFILE, 'one.c': 'one\n', 'build/.one.o.cmd': ''})) await writeFile(join(folder, path), text)
  const tip = await repo.commit({'one.c': changed}, 'net: change it')
  const tree = await repo.git('rev-parse', 'HEAD^{tree}')
  const inputs = {base: 'base', tree}
  await artefact(context, 'patched', keyOf(inputs), inputs, async (into) => await writeFile(join(into, 'about.json'), JSON.stringify({objects: 1, unchanged})))
  await programs(sparse)
  const base = {key: 'base', label: 'built', origin: {}, release: '6.12.7', source: {directory: repo.folder, commit, label: 'linux 6.12.7'}, options: {}, folder: async () => folder} as unknown as BuiltKernel
  return await checkBuilds(context, base, {commit: tip, tree})
}

/** A PATH on which sparse is, or is not. */
async function programs(sparse: boolean): Promise<void> {
  const bin = join(await scratch(), 'bin')
  await mkdir(bin)
  if (sparse) {
    await writeFile(join(bin, 'sparse'), '#!/bin/sh\n')
    await chmod(join(bin, 'sparse'), 0o755)
    process.env.PATH = `${bin}:${PATH}`
    return
  }
  const {execa} = await import('execa')
  for (const name of ['git', 'make', 'sh', 'sed', 'grep', 'touch', 'cp', 'setpriv', 'env', 'chrt', 'flock', 'cat']) {
    await execa('ln', ['-s', (await execa('sh', ['-c', `command -v ${name}`])).stdout, join(bin, name)])
  }
  process.env.PATH = bin
}

function brief(all: readonly Row[]): string[] {
  return all.map(({check, state, place, reason}) => [check, state, place, reason].filter(Boolean).join(' '))
}

describe('the rows of the build', () => {
  it('pass where there is nothing new', async () => {
    expect(brief(await rows('two\n'))).toEqual(['build passed', 'sparse passed', 'compiled-in passed'])
  })

  it.each<[string, string, string[]]>([
    ['a new warning', '//1 warning: new\n', ['build failed one.c:1 warning: new', 'sparse passed', 'compiled-in passed']],
    ['what sparse finds', '//S warning: new\n', ['build passed', 'sparse warned one.c:1 warning: new', 'compiled-in passed']],
    ['what does not build', '//E error: no\n', ['build failed one.c:1 error: no', 'sparse not-run it does not build', 'compiled-in not-run it does not build']],
  ])('say %s', async (_, changed, expected) => {
    expect(brief(await rows(changed))).toEqual(expected)
  })

  it('say that nothing of it is compiled in', async () => {
    expect(brief(await rows('two\n', {unchanged: true})).at(-1)).toMatch(/^compiled-in failed this series changes nothing that is compiled in/)
  })

  it('say that sparse is not installed, which is no pass', async () => {
    expect(brief(await rows('//S warning: unseen\n', {sparse: false}))).toEqual(['build passed', 'sparse not-run sparse is not installed', 'compiled-in passed'])
  })
})
