import {readFile, stat} from 'node:fs/promises'
import {join} from 'node:path'
import {type Case, type Livepatch} from '../case/case.js'
import {type Host, onHost} from '../host/ssh.js'
import {imageVersion} from '../kernel/given.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {buildLivepatch, type LivepatchModule} from '../livepatch/build.js'
import {type ModuleFacts, readModule} from '../livepatch/elf.js'
import {signModule, type SigningKey} from '../livepatch/sign.js'
import {buildOnHost} from './build.js'
import {gatherFacts, type HostFacts} from './facts.js'
import {judge, type Row, type Verified} from './preflight.js'

/** A livepatch, built for a host's kernel, and whether it may be loaded there. */
export type Prepared = {
  kernel: Kernel
  livepatch: Livepatch
  module: LivepatchModule & {facts: ModuleFacts}
  facts: HostFacts
  rows: Row[]
}

export type PrepareInput = {
  one: Case
  livepatch: Livepatch
  /** Whose make and compiler build it. */
  buildOn: 'here' | 'host'
  /** The kernel of this release that a host runs. */
  kernelOf: (context: Context, host: Host, release: string) => Promise<Kernel>
  /** What the module is signed with, if it is. */
  sign?: SigningKey | undefined
  /** What the livepatch is worth on a kernel in a machine here, or why that is not known. */
  verify: (context: Context, livepatch: Livepatch, kernel: Kernel, module: LivepatchModule) => Promise<Verified | string>
}

/** Of the names that a host is asked about, in characters: what fits on a command line. */
const MOST = 1 << 16

/** Builds a livepatch for the kernel that a host runs, and judges the host. Nothing is changed there; what a build there takes is gone at its end. */
export async function prepareFor(context: Context, host: Host, {one, livepatch, buildOn, kernelOf, sign, verify}: PrepareInput): Promise<Prepared> {
  context.progress(`${host.name}: asking which kernel it runs`)
  const release = (await onHost(context, host, ['uname', '-r'])).stdout.toString('utf8').trim()
  const kernel = await kernelOf(context, host, release)
  const built = buildOn === 'host' ? await buildOnHost(context, host, livepatch, release) : await buildLivepatch(context, livepatch, kernel)
  const ready = sign === undefined ? built : await signModule(context, built, kernel, sign)
  const module = await factsOf(ready, livepatch)
  context.progress(`${host.name}: looking at it`)
  const facts = await gatherFacts(context, host, questionsOf(module))
  const verified = await verify(context, livepatch, kernel, built)
  const named = [...module.depends, ...facts.symbols.flatMap(({module: name}) => name ?? [])]
  const image = kernel.imageless ? undefined : await kernel.image(context)
  const plan = {
    module,
    lines: livepatch.kernels ?? one.kernels,
    size: (await stat(ready.path)).size,
    builtFor: image && buildOf(await imageVersion(image.vmlinuz)),
    packaged: image ? await packagedBuilds(image.modules, named) : {},
    signer: sign?.id,
    ...(typeof verified === 'string' ? {verified: undefined, whyUnverified: verified} : {verified, whyUnverified: ''}),
  }
  return {kernel, livepatch, module: {...ready, facts: module}, facts, rows: judge(facts, plan)}
}

async function factsOf({path}: LivepatchModule, {module}: Livepatch): Promise<ModuleFacts> {
  const facts = readModule(await readFile(path))
  if (!facts?.livepatch) throw new CouldNotRun(`${path} is no livepatch module for x86-64`)
  // It may have been built by somebody else, and the name goes into paths.
  if (facts.name !== module) throw new CouldNotRun(`${path} is the module ${facts.name}, and not ${module}`)
  if (JSON.stringify(questionsOf(facts)).length > MOST) throw new CouldNotRun(`${path} names more functions and symbols than any livepatch does`)
  return facts
}

function questionsOf({functions, depends, crcs}: ModuleFacts) {
  return {functions: [...new Set(functions.map(({name}) => name))], modules: depends, symbols: Object.keys(crcs)}
}

/** What `uname -v` says of an image: what is behind release and builder, cut as the kernel cuts it (__NEW_UTS_LEN). */
export function buildOf(version: string | undefined): string | undefined {
  return /^\S+ \([^)]*\) (#.*)$/.exec(version ?? '')?.[1]?.slice(0, 64)
}

/** The build IDs of modules of a kernel's package; those that cannot be read are left out. */
async function packagedBuilds(folder: string, names: readonly string[]): Promise<Record<string, string>> {
  const paths = (await readFile(join(folder, 'modules.dep'), 'utf8')).split('\n').map((line) => line.split(':')[0]!)
  const builds = names.map(async (name) => {
    const path = paths.find((one) => one.replace(/^.*\//, '').replaceAll('-', '_') === `${name}.ko`)
    const id = path === undefined ? undefined : readModule(await readFile(join(folder, path)))?.buildId
    return id === undefined ? [] : [[name, id] as const]
  })
  return Object.fromEntries((await Promise.all(builds)).flat())
}
