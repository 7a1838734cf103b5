import {mkdir, mkdtemp, rm, stat} from 'node:fs/promises'
import {join, relative, resolve} from 'node:path'
import {compareCells, differencesOf, exitOf, madeDifferences} from '../bundle/agree.js'
import {madeOf} from '../bundle/bundle.js'
import {fetchBundle, isUrl} from '../bundle/fetch.js'
import {refused} from '../bundle/manifest.js'
import {checkSignature} from '../bundle/sign.js'
import {unpackBundle} from '../bundle/unpack.js'
import {asLivepatches, type Case, candidateOf, livepatchOf, loadCase} from '../case/case.js'
import {builtKernel} from '../kernel/built.js'
import {type Kernel} from '../kernel/kernel.js'
import {packagedKernel} from '../kernel/packaged.js'
import {bubblewrap} from '../lib/confine.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {type Accelerator} from '../machine/qemu.js'
import {type Reproduction, reproductionJson, reproductionText} from '../report/reproduction.js'
import {type Target} from '../run/compare.js'
import {type KernelRecord, type RunRecord} from '../run/record.js'
import {type Firewall4, FIREWALL4_PAGE} from '../ruleset/firewall4.js'
import {findUcode} from '../ruleset/ucode.js'
import {isRemote} from '../tree/remote.js'
import {sourceTree} from '../tree/source.js'
import {compareTargets} from './compare.js'
import {checkSource, kernelAtHand, type KernelOptions} from './kernels.js'
import {inRunFolder} from './runfolder.js'

export type ReproduceOptions = Pick<KernelOptions, 'kernel' | 'modules' | 'headers' | 'source' | 'base' | 'idle' | 'refresh'> & {
  quick?: boolean
  verify?: string
  trust?: boolean
  /** Whether the probes of cases are recorded here. */
  trace?: boolean
  ucode?: string
  jobs?: number
  accel: Accelerator | 'auto'
  root?: string
  output?: string
  json?: boolean
}

/** `patchbench reproduce FILE|URL`: a bundle's run, repeated here. */
export async function reproduceCommand(context: Context, where: string, options: ReproduceOptions, command: string): Promise<{text: string; exit: number}> {
  const scratch = join(context.cache, 'scratch')
  await makeFolder(scratch)
  const folder = await mkdtemp(join(scratch, 'reproduce-'))
  try {
    const reproduction = await reproduce(context, await atHand(context, where, folder), folder, options, command)
    return {text: options.json ? reproductionJson(reproduction) : reproductionText(reproduction), exit: reproduction.exit}
  } finally {
    await rm(folder, {recursive: true, force: true})
  }
}

/** The bundle as a file or folder of this machine. */
async function atHand(context: Context, where: string, folder: string): Promise<string> {
  if (isUrl(where)) {
    const file = join(folder, 'fetched.tar.zst')
    await fetchBundle(context, where, file)
    return file
  }
  if (!(await stat(where).catch(() => undefined))) throw new InputError(`${where} is not there: name a bundle's file, its URL, or the folder where it was unpacked`)
  return resolve(where)
}

async function reproduce(context: Context, file: string, folder: string, options: ReproduceOptions, command: string): Promise<Reproduction> {
  const into = join(folder, 'bundle')
  await mkdir(into)
  const {manifest, signed} = await unpackBundle(context, file, into)
  const signer = options.verify === undefined ? null : await checkSignature(context.signal, options.verify, signed.manifest, signed.signature)
  const chosen = chosenOf(manifest.run, options.quick ?? false)
  const cases = new Map<string, Case>()
  for (const {name} of manifest.run.cases) cases.set(name, await caseOf(into, manifest.run, name))
  const own = await contextFor(context, manifest.run, chosen, cases, options.trust ?? false)
  const {firewall4, ...others} = await firewall4For(own, manifest.run, chosen.map(({case: name}) => cases.get(name)!), options)
  const run = {repeat: manifest.run.repeats, keepGoing: true, trace: options.trace ?? false, accel: options.accel, ...(firewall4 ? {firewall4} : {}), ...(options.jobs ? {jobs: options.jobs} : {}), ...(options.root ? {root: options.root} : {})}
  const {kernels, ...ours} = await inRunFolder(context, options.output, async (place) => {
    const {targets, kernels} = await targetsOf(own, manifest.run, chosen, cases, others.options)
    return {kernels, ...(await compareTargets(own, targets, run, {...place, command}))}
  })
  const {results, pairs} = ours.comparison
  const cells = compareCells(manifest.results, results, kernels, chosen)
  const differences = [...differencesOf(manifest.run, ours.record, kernels), ...madeDifferences(manifest, madeOf(pairs), kernels)]
  return {exit: exitOf(cells), signer, signed: signed.signature !== undefined, differences, cells, folder: ours.folder, accelerator: ours.accelerator}
}

type Chosen = RunRecord['targets']

/** What of the author's run is repeated: all of it, or what needs no kernel to be built. */
function chosenOf({targets, kernels}: RunRecord, quick: boolean): Chosen {
  if (!quick) return targets
  const packaged = kernels.filter(({kind}) => kind === 'packaged').map(({label}) => label)
  const found = targets.filter(({kernel, variants}) => packaged.includes(kernel) && variants.some((variant) => variant === 'livepatched' || variant === 'reverted'))
  if (found.length === 0) throw new InputError('--quick: this bundle has no livepatch on a packaged kernel: leave --quick out, and its kernels are built')
  return found
}

/** A context whose builds are confined, where there is anything to build or to render: what is built is a stranger's. */
async function contextFor(context: Context, {kernels}: RunRecord, chosen: Chosen, cases: ReadonlyMap<string, Case>, trust: boolean): Promise<Context> {
  const builds = chosen.some(({case: name, kernel, variants}) => {
    const {tree, livepatches} = cases.get(name)!
    const isBuilt = kernels.some(({label, kind}) => label === kernel && kind === 'built')
    return isBuilt || tree === 'firewall4' || (variants.some((variant) => variant !== 'base') && livepatches.length > 0)
  })
  if (!builds) return context
  if (trust) {
    context.progress("--trust: what this bundle builds runs as you, with your files and your network")
    return context
  }
  try {
    return {...context, confine: await bubblewrap(context.signal)}
  } catch (error) {
    if (!(error instanceof CouldNotRun)) throw error
    const detail = [error.detail, "--trust builds without a sandbox, for a bundle whose author you trust with your account"].filter(Boolean).join('\n')
    throw new CouldNotRun(`what a stranger's patch makes run is built in a sandbox only: ${error.message}`, detail)
  }
}

/** A case of the bundle, with the fixes and parameters of the author's run; no file of it is outside the bundle. */
async function caseOf(into: string, {cases}: RunRecord, name: string): Promise<Case> {
  const record = cases.find((one) => one.name === name)!
  const one = await loadCase(name, join(into, 'cases')).catch((error: unknown) => {
    if (!(error instanceof InputError)) throw error
    // Its place is gone when this is read.
    throw refused([relative(process.cwd(), into), into].reduce((text, place) => text.replaceAll(`${place}/`, ''), error.message))
  })
  const optional = [one.kconfig, one.firewall4?.router].filter((path) => path !== undefined)
  const files = [one.reproducer.program, ...optional, ...one.livepatches.map(({source}) => source)]
  const outside = files.find((path) => !path.startsWith(`${one.directory}/`))
  if (outside !== undefined) throw refused(`its case '${name}' names ${outside}, a file of this machine`)
  const unknown = Object.keys(record.parameters).find((parameter) => !(parameter in one.reproducer.parameters))
  if (unknown !== undefined) throw refused(`its case '${name}' has no parameter '${unknown}', which its manifest sets`)
  const fixes = record.fromPatch ? {...one, livepatches: asLivepatches(one)} : one
  return {
    ...one,
    reproducer: {...one.reproducer, parameters: {...one.reproducer.parameters, ...record.parameters}},
    livepatches: record.livepatches.map((fix) => livepatchOf(fixes, fix)),
    candidates: record.candidates.map((fix) => candidateOf(one, fix)),
  }
}

/** What is compared here, and our kernel for each of the author's. */
async function targetsOf(context: Context, run: RunRecord, chosen: Chosen, cases: ReadonlyMap<string, Case>, options: ReproduceOptions): Promise<{targets: Target[]; kernels: Map<string, string>}> {
  const {kernel: _, ...sources} = options
  checkSource(sources)
  const targets: Target[] = []
  const kernels = new Map<string, string>()
  for (const {case: name, kernel: label, variants} of chosen) {
    const one = cases.get(name)!
    const kernel = await kernelFor(context, run.kernels.find((known) => known.label === label)!, one, options)
    const twice = [...kernels].find(([theirs, ours]) => theirs !== label && ours === kernel.label)
    if (twice) throw new InputError(`the author's kernels ${twice[0]} and ${label} are both ${kernel.label} here: they cannot be told apart`)
    kernels.set(label, kernel.label)
    targets.push({one, kernel, variants})
  }
  return {targets, kernels}
}

/** What renders the rulesets of cases of firewall4, of which --source and --base then speak, and the options without it. */
async function firewall4For(context: Context, {firewall4: theirs}: RunRecord, cases: readonly Case[], options: ReproduceOptions): Promise<{options: ReproduceOptions; firewall4?: Firewall4}> {
  const {source: from, base, ucode, ...others} = options
  const one = cases.find(({tree}) => tree === 'firewall4')
  if (!one) return {options}
  if (!theirs) throw refused(`its case '${one.name}' is of the tree firewall4, and its manifest does not say which`)
  if (from === undefined) {
    const where = theirs.origin.url ?? FIREWALL4_PAGE
    throw new InputError(`${one.name} needs a tree of firewall4, ${wordsOf(theirs.origin)} (git tree ${theirs.tree}): name a clone or a git URL that has it with --source (${where}), and ucode with --ucode`)
  }
  // A tarball is one revision; of a repository the author's is meant.
  const isRepository = isRemote(from) || ((await stat(from).catch(() => undefined))?.isDirectory() ?? false)
  const source = await sourceTree(context, {tree: 'firewall4', from, base: base ?? (isRepository ? theirs.origin.git : undefined), refresh: others.refresh})
  return {options: others, firewall4: {source, ucode: await findUcode(context, ucode)}}
}

function wordsOf(origin: Record<string, string>): string {
  return Object.entries(origin).map(([name, value]) => `${name} ${value}`).join(', ')
}

/** Our kernel for one of the author's: the same where this machine's archive has it. */
async function kernelFor(context: Context, record: KernelRecord, one: Case, options: ReproduceOptions): Promise<Kernel> {
  if (record.kind === 'packaged') return await packagedFor(context, record, options.refresh)
  if (record.kind === 'built') return await builtFor(context, record, one, options)
  const given = await kernelAtHand(options)
  if (!given) throw new InputError(`this bundle was made with an image at hand, ${record.label} (${Object.values(record.origin)[0]}), which is not in it: name one with --kernel, --modules and --headers`)
  return given
}

async function packagedFor(context: Context, {version, line}: KernelRecord, refresh: boolean | undefined): Promise<Kernel> {
  try {
    return await packagedKernel(context, version, refresh)
  } catch (error) {
    // An archive keeps the newest; that it is another one is said with the result.
    if (!(error instanceof InputError)) throw error
    return await packagedKernel(context, line, refresh)
  }
}

async function builtFor(context: Context, {line, label, tree, origin, debug}: KernelRecord, one: Case, {source: from, base, idle = false, refresh}: ReproduceOptions): Promise<Kernel> {
  if (from === undefined && !(`linux-source-${line}` in origin)) {
    throw new InputError(`${label} was built from a source of the author's own (${wordsOf(origin)}; git tree ${tree}): name a clone that has it with --source DIR --base COMMIT`)
  }
  const source = await sourceTree(context, from === undefined ? {tree: 'linux', line, refresh} : {tree: 'linux', from, base, refresh})
  return await builtKernel(context, source, {debug, idle, fragment: one.kconfig})
}
