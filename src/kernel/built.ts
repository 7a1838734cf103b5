import pLimit from 'p-limit'
import {copyFile, mkdir, readFile, rm, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {artefact} from '../lib/cache.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {keyOf, sha256File} from '../lib/hash.js'
import {run} from '../lib/process.js'
import {projectPath} from '../lib/project.js'
import {checkOut} from '../tree/checkout.js'
import {optionsOf} from '../tree/options.js'
import {type Source} from '../tree/source.js'
import {configure} from './configure.js'
import {DEBUG_SETS, type DebugSet} from './debug.js'
import {type Asked, fragmentText, readFragments} from './fragment.js'
import {includeFolders, writeChangedHeaders} from './include.js'
import {type Kernel, type KernelImage} from './kernel.js'
import {compilerVersion, make, MAKE_ENVIRONMENT} from './make.js'
import {checkOutOver, copyBuild} from './copy.js'

/** What every kernel of ours is asked for, in this order; see the files for the reasons. */
export const FRAGMENTS = ['boot', 'virtme', 'network', 'livepatch', 'tracing']

/** About how many objects a build of the fragments has, for the progress of the first one. */
const OBJECTS = 1600

export type BuildOptions = {
  debug?: readonly DebugSet[]
  /** A fragment of the case's own. */
  fragment?: string | undefined
  /** Whether to build when nobody else wants the processor. */
  idle?: boolean
}

/** A kernel that is built from a source, with all that a patched one starts from. */
export type BuiltKernel = Kernel & {
  source: Source
  /** The tree it was built in, with its objects in build/. */
  folder: (context: Context) => Promise<string>
  options: BuildOptions
}

export function isBuilt(kernel: Kernel): kernel is BuiltKernel {
  return 'source' in kernel
}

/** What kbuild writes into a build folder, without the folder's own place: modules are built there after it has moved. */
const MOVABLE = `export KBUILD_OUTPUT := $(patsubst %/,%,$(dir $(abspath $(lastword $(MAKEFILE_LIST)))))
include $(KBUILD_OUTPUT)/../Makefile
`

/** A build uses every core by itself: the next one waits. */
const turn = pLimit(1)

/**
 * The kernel of a source as it is, built once per source, configuration and
 * compiler. Nothing is built until its image is asked for.
 */
export async function builtKernel(context: Context, source: Source, given: BuildOptions = {}): Promise<BuiltKernel> {
  // In one order, however they were asked for: it is the same kernel.
  const debug = DEBUG_SETS.filter((set) => given.debug?.includes(set))
  const options = {...given, debug}
  const asked = await askedOf(source, options)
  const inputs = {source: source.treeHash, asked: fragmentText(asked), compiler: await compilerVersion(context), make: MAKE_ENVIRONMENT, steps: 1}
  const key = keyOf(inputs)
  const folder = async (own: Context) => {
    const build = async (into: string) => await turn(async () => await buildBase(own, source, asked, {into, key, idle: options.idle ?? false}))
    const {directory} = await artefact(own, 'built', key, inputs, build, isSealed)
    return join(directory, 'source')
  }
  const release = releaseOf(source)
  return {
    label: ['built', source.version, ...debug.map((set) => `+${set}`)].join(' '),
    line: source.line,
    release,
    key,
    origin: {...source.origin, commit: source.commit},
    source,
    options,
    folder,
    image: async (own) => imageIn(join(await folder(own), 'build'), release),
    headers: async (own) => {
      const tree = await folder(own)
      return {build: join(tree, 'build'), prefix: tree}
    },
  }
}

/** The .config of a built kernel; undefined as long as nobody has built it. */
export async function configAtHand({cache}: Context, {key}: BuiltKernel): Promise<string | undefined> {
  return await readFile(join(cache, 'built', key, 'source/build/.config'), 'utf8').catch(() => undefined)
}

/**
 * The kernel of a source with a series on it: a copy of the built base in which
 * only what the series touches is built again.
 */
export function patchedKernel(base: BuiltKernel, name: string, applied: {commit: string; tree: string}): Kernel {
  const inputs = {base: base.key, tree: applied.tree}
  const key = keyOf(inputs)
  const folder = async (own: Context) => {
    const build = async (into: string) => {
      // Before it is our turn: base may have to be built first, which takes a turn of its own.
      const from = await base.folder(own)
      await turn(async () => await buildPatched(own, base, {name, from, commit: applied.commit}, {into, key}))
    }
    return (await artefact(own, 'patched', key, inputs, build)).directory
  }
  return {
    label: `${base.label} ${name}`,
    line: base.line,
    release: base.release,
    key,
    origin: {...base.origin, series: applied.tree},
    image: async (own) => {
      const directory = await folder(own)
      const about = JSON.parse(await readFile(join(directory, 'about.json'), 'utf8')) as {unchanged: boolean}
      const notes = about.unchanged ? ['this series changes nothing that is compiled in'] : []
      return {...imageIn(directory, base.release), notes}
    },
    headers: async (own) => {
      const write = async (into: string) => await writeChangedHeaders(own, {directory: base.source.directory, from: base.source.commit, to: applied.commit}, join(await folder(own), '.config'), into)
      const {directory} = await artefact(own, 'include', key, inputs, write)
      return {...(await base.headers(own)), before: includeFolders(directory)}
    },
  }
}

async function askedOf({line}: Source, {debug = [], fragment}: BuildOptions): Promise<Asked[]> {
  const files = [...FRAGMENTS.map((name) => `${name}.config`), ...debug.map((set) => `debug/${set}.config`)]
  return await readFragments([...files.map((file) => projectPath('kconfigs', file)), ...(fragment ? [fragment] : [])], line)
}

/** uname -r: the version of the top Makefile with our LOCALVERSION. */
function releaseOf({version}: Source): string {
  return `${version}${MAKE_ENVIRONMENT.LOCALVERSION}`
}

function imageIn(build: string, release: string): KernelImage {
  return {
    vmlinuz: join(build, 'arch/x86/boot/bzImage'),
    modules: join(build, 'modules/lib/modules', release),
    config: join(build, '.config'),
  }
}

/** Checksums are kept of what was built; the sources beside it are git's. */
function isSealed(path: string): boolean {
  return path.startsWith('source/build/')
}

type Place = {into: string; key: string}

async function buildBase(context: Context, source: Source, asked: readonly Asked[], {into, key, idle}: Place & {idle: boolean}): Promise<void> {
  const what = source.label
  const tree = join(into, 'source')
  const build = join(tree, 'build')
  await checkNames(context, source, asked)
  context.progress(`checking out ${what}`)
  await mkdir(tree)
  await checkOut(context.signal, source.directory, source.commit, tree)
  await mkdir(build)
  context.progress(`configuring ${what}`)
  await configure(context, build, asked)
  await makeKernel(context, what, build, releaseOf(source), {log: await newLog(context, key), expected: OBJECTS, idle})
  // Not written through a link that make left there.
  await rm(join(build, 'Makefile'), {force: true})
  await writeFile(join(build, 'Makefile'), MOVABLE)
}

/** What kconfig drops it says when the tree is checked out; a name that is nowhere in it can be told before. */
async function checkNames({signal}: Context, source: Source, asked: readonly Asked[]): Promise<void> {
  const wanted = asked.filter(({value}) => value !== 'n')
  const known = await optionsOf(signal, source, wanted.map(({symbol}) => symbol))
  const unknown = wanted.filter(({symbol}) => !known.has(symbol)).map(({symbol, where}) => `${where}: ${source.label} has no option CONFIG_${symbol}`)
  if (unknown.length > 0) throw new InputError(unknown.join('\n'))
}

type Patch = {name: string; /** The built base. */ from: string; commit: string}

async function buildPatched(context: Context, base: BuiltKernel, {name, from, commit}: Patch, {into, key}: Place): Promise<void> {
  const what = `${base.source.label} with ${name}`
  context.progress(`copying the built ${base.source.label}`)
  const tree = join(into, 'source')
  const build = join(tree, 'build')
  await copyBuild(context.signal, from, tree)
  await checkOutOver(context.signal, base.source.directory, base.source.commit, commit, tree)
  const {objects} = await makeKernel(context, what, build, base.release, {log: await newLog(context, key), idle: base.options.idle ?? false})
  const unchanged = (await sha256File(join(build, 'vmlinux'))) === (await sha256File(join(from, 'build/vmlinux')))
  await mkdir(join(into, 'arch/x86/boot'), {recursive: true})
  for (const file of ['arch/x86/boot/bzImage', '.config']) await copyFile(join(build, file), join(into, file))
  await run('cp', ['-a', join(build, 'modules'), into], {signal: context.signal})
  await writeFile(join(into, 'about.json'), JSON.stringify({objects, unchanged}))
  await rm(tree, {recursive: true})
}

/** Builds image and modules, and installs the modules beside them. */
async function makeKernel(context: Context, what: string, build: string, release: string, options: {log: string; expected?: number; idle: boolean}) {
  const made = await make(context, what, {build, arguments: ['bzImage', 'modules'], ...options})
  const modules = join(build, 'modules')
  await rm(modules, {recursive: true, force: true})
  await make(context, what, {build, arguments: [`INSTALL_MOD_PATH=${modules}`, 'modules_install'], log: options.log})
  await rm(join(modules, 'lib/modules', release, 'build'), {force: true})
  return made
}

/** A log that a failed build leaves for its reader. */
async function newLog(context: Context, key: string): Promise<string> {
  const log = join(context.cache, 'logs', `${key}.log`)
  await mkdir(dirname(log), {recursive: true})
  await writeFile(log, '')
  return log
}
