import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {describe, expect, it, vi} from 'vitest'
import {type Case} from '../../src/case/case.js'
import {type CompareOptions, targetsFor} from '../../src/commands/compare.js'
import {chosenBuilds, chosenKernels, chosenTargets, type KernelOptions, onlyOne} from '../../src/commands/kernels.js'
import {type Variant} from '../../src/verdict/verdict.js'
import {complaint} from '../support/complaint.js'
import {repository} from '../support/repository.js'
import {contextIn, scratch} from '../support/scratch.js'
import {LINUX} from '../support/tarball.js'

// What the archive would give for a line.
vi.mock('../../src/kernel/packaged.js', () => ({
  packagedKernel: async (_: unknown, line: string) => ({label: `debian ${line}`, line: line.split('.').slice(0, 2).join('.'), key: line}),
}))
vi.mock('../../src/tree/distribution.js', async () => {
  const {repository: make} = await import('../support/repository.js')
  return {
    packagedSource: async (_: unknown, line: string) => {
      const [version, patchlevel] = line.split('.')
      const makefile = LINUX.Makefile.replace('VERSION = 6', `VERSION = ${version}`).replace('PATCHLEVEL = 12', `PATCHLEVEL = ${patchlevel}`)
      const repo = await make({...LINUX, Makefile: makefile})
      return {package: {name: `linux-source-${line}`, version: '1', sha256: '00ff'}, directory: repo.folder, commit: await repo.git('rev-parse', 'HEAD')}
    },
  }
})

const OLD = {name: 'old', tree: 'linux', kernels: ['6.1', '6.12']} as Case
const NEW = {name: 'new', tree: 'linux', kernels: ['6.12', '7.2']} as Case
const RULES = {name: 'rules', tree: 'ruleset', kernels: ['6.12']} as Case

type Options = KernelOptions & {variant?: readonly Variant[]}

async function targets(options: Options, cases = [OLD, NEW]): Promise<string[]> {
  const chosen = await chosenTargets(contextIn(await scratch()), cases, options)
  return chosen.map(({one, kernel, variants}) => `${one.name} on ${kernel.label}: ${variants.join(' ')}`)
}

async function image(): Promise<{kernel: string; modules: string}> {
  const folder = await scratch()
  const header = Buffer.alloc(0x4000)
  header.write('HdrS', 0x202, 'latin1')
  header.writeUInt16LE(0x3000, 0x20e)
  header.write('5.10.1-test (builder@host)\0', 0x3200, 'latin1')
  await writeFile(join(folder, 'vmlinuz'), header)
  await mkdir(join(folder, '5.10.1-test'))
  await writeFile(join(folder, '5.10.1-test/modules.dep'), '')
  return {kernel: join(folder, 'vmlinuz'), modules: join(folder, '5.10.1-test')}
}

describe('what cases are run on', () => {
  const QUICK = 'base livepatched reverted'

  it.each<[string, Options, string[]]>([
    ['is the default line, without patched', {}, [`old on debian 6.12: ${QUICK}`, `new on debian 6.12: ${QUICK}`]],
    ['is of several lines those that each claims', {kernel: '6.1,6.12,7.2'}, [`old on debian 6.1: ${QUICK}`, `old on debian 6.12: ${QUICK}`, `new on debian 6.12: ${QUICK}`, `new on debian 7.2: ${QUICK}`]],
    ['is a line once', {kernel: '6.1,6.1'}, [`old on debian 6.1: ${QUICK}`]],
    ['is a version of a line', {kernel: '6.1.9'}, [`old on debian 6.1.9: ${QUICK}`]],
    ['is nothing for a line that none claims', {kernel: '5.10'}, []],
    ['is nothing built for a line that none claims', {kernel: '5.10', variant: ['patched']}, []],
    ['is the variants that are asked for', {kernel: '6.1', variant: ['livepatched']}, ['old on debian 6.1: livepatched']],
    ['is a built kernel alone for patched', {kernel: '6.1', variant: ['base', 'patched']}, ['old on built 6.1.7: base patched']],
    ['is a built kernel beside the stock one for patched beside livepatched', {kernel: '6.1', variant: ['livepatched', 'patched']}, ['old on debian 6.1: livepatched', 'old on built 6.1.7: base patched']],
    ['is a built kernel for all with --built', {kernel: '6.1', built: true}, [`old on built 6.1.7: ${QUICK} patched`]],
    ['is one with debug sets for all with --debug', {kernel: '7.2', debug: ['kasan'], variant: ['livepatched']}, ['new on built 7.2.7 +kasan: livepatched']],
  ])('%s', async (_, options, expected) => {
    expect(await targets(options)).toEqual(expected)
  })

  it('is rulesets where the case has those, on stock kernels unless all are built', async () => {
    expect(await targets({}, [RULES])).toEqual(['rules on debian 6.12: base livepatched reverted ruleset'])
    expect(await targets({variant: ['base', 'patched', 'ruleset']}, [NEW, RULES])).toEqual([
      ...['new on debian 6.12: base', 'rules on debian 6.12: base ruleset'],
      'new on built 6.12.7: base patched',
    ])
    expect(await targets({built: true}, [RULES])).toEqual(['rules on built 6.12.7: base livepatched reverted ruleset'])
  })

  it('is a source of one\'s own whatever it claims', async () => {
    const source = (await repository({...LINUX, Makefile: LINUX.Makefile.replace('12', '99')})).folder
    expect(await targets({source, variant: ['base', 'patched']})).toEqual(['old on built 6.99.7: base patched', 'new on built 6.99.7: base patched'])
    expect(await targets({source, base: 'HEAD'}, [NEW])).toEqual([`new on built 6.99.7: ${QUICK} patched`])
  })

  it('is an image whatever it claims', async () => {
    expect(await targets(await image(), [OLD])).toEqual([`old on 5.10.1-test: ${QUICK}`])
  })

  it.each<[string, Options]>([
    ['patched', {variant: ['base', 'patched']}],
    ['built kernels', {built: true}],
    ['debug sets', {debug: ['lockdep']}],
  ])('is no image with %s', async (_, options) => {
    const given = await image()
    const sentence = `--kernel ${given.kernel} is an image: a kernel is built from a line, like 6.12, or from --source`
    expect(await complaint(targets({...given, ...options}))).toBe(sentence)
  })

  it.each<[Options, string | RegExp]>([
    [{source: '/nowhere', kernel: '6.12'}, '--source is a kernel of its own: leave --kernel out'],
    [{base: 'v6.12'}, '--base is a revision of --source, which is missing'],
    [{base: 'v6.12', kernel: '6.12', variant: ['patched']}, '--base is a revision of --source, which is missing'],
    [{kernel: '/etc/hostname'}, '--kernel /etc/hostname is a file: its modules are needed too, as --modules <lib/modules/RELEASE>'],
    [{kernel: '/boot/nothing'}, '--kernel /boot/nothing is not there: name the image of a kernel, or a line like 6.12'],
    [{kernel: ''}, "--kernel '' has an empty name in it: give lines like 6.12, with a comma between them"],
    [{kernel: ','}, "--kernel ',' has an empty name in it: give lines like 6.12, with a comma between them"],
    [{kernel: '6.1,,6.12', built: true}, "--kernel '6.1,,6.12' has an empty name in it: give lines like 6.12, with a comma between them"],
    [{kernel: '6.12', modules: '/tmp'}, '--modules belongs to the image of a kernel, and --kernel 6.12 names none: leave --modules out, or name the image by its path'],
    [{modules: '/tmp'}, '--modules belongs to the image of a kernel, and --kernel 6.12, the default, names none: leave --modules out, or name the image by its path'],
    [{kernel: '6.12.9', built: true}, "the distribution's source of 6.12 is 6.12.7: ask for that, or name another with --source"],
  ])('is refused for %j', async (options, sentence) => {
    expect(await complaint(targets(options))).toBe(sentence)
  })

  it.each([
    [{}, /^future is for kernels 9\.9, not for 6\.12, the default: name one with --kernel$/],
    [{kernel: '6.1'}, /^future is for kernels 9\.9, not for 6\.1$/],
  ])('is said to be nothing, and of what line: %j', async (options, words) => {
    const future = {name: 'future', tree: 'linux', kernels: ['9.9'], candidates: [], livepatches: []} as unknown as Case
    expect(await complaint(targetsFor(contextIn(await scratch()), [future], options as CompareOptions))).toMatch(words)
  })
})

it('a fragment that cannot be read is told before a source is asked for', async () => {
  const kconfig = join(await scratch(), 'a.config')
  await writeFile(kconfig, 'CONFIG_NET=y\nNET=y\n')
  const one = {...OLD, kconfig}
  const wrong = /a\.config:2: 'NET=y' is no option/
  expect(await complaint(chosenBuilds(contextIn('/nowhere'), one, {source: '/nowhere'}))).toMatch(wrong)
  expect(await complaint(targets({source: '/nowhere'}, [one]))).toMatch(wrong)
  expect(await complaint(targets({kernel: 'nowhere', variant: ['base', 'patched']}, [one]))).toMatch(wrong)
  // Nothing is built, and nobody asks for it.
  expect(await targets({kernel: '6.1', variant: ['base']}, [one])).toEqual(['old on debian 6.1: base'])
})

describe('the kernels that are built for a case', () => {
  it('are of the lines, and of no image', async () => {
    const built = await chosenBuilds(contextIn(await scratch()), OLD, {kernel: '6.1,6.12'})
    expect(built.map(({label}) => label)).toEqual(['built 6.1.7', 'built 6.12.7'])
    expect(await complaint(chosenBuilds(contextIn('/nowhere'), OLD, {kernel: '/boot/vmlinuz'}))).toMatch(/^--kernel \/boot\/vmlinuz is an image: /)
    expect(await complaint(chosenBuilds(contextIn('/nowhere'), OLD, {base: 'v6.12'}))).toMatch(/^--base is a revision of --source/)
  })

  it('are one where only one is meant', async () => {
    const built = await chosenBuilds(contextIn(await scratch()), OLD, {kernel: '6.1,6.12'})
    expect(onlyOne(built.slice(1)).label).toBe('built 6.12.7')
    expect(() => onlyOne(built)).toThrow('this is about one kernel, and --kernel names built 6.1.7 and built 6.12.7: leave one of them')
  })
})

it('a revision without a source is refused for stock kernels as well', async () => {
  expect(await complaint(chosenKernels(contextIn('/nowhere'), {base: 'v6.12'}))).toMatch(/^--base is a revision of --source/)
})
