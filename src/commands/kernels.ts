import {stat} from 'node:fs/promises'
import {resolve} from 'node:path'
import {type Case, candidateVariant} from '../case/case.js'
import {builtKernel, type BuiltKernel, isBuilt} from '../kernel/built.js'
import {type DebugSet} from '../kernel/debug.js'
import {checkFragment} from '../kernel/fragment.js'
import {givenKernel} from '../kernel/given.js'
import {type Kernel, lineOf} from '../kernel/kernel.js'
import {packagedKernel} from '../kernel/packaged.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {runTasks} from '../lib/tasks.js'
import {type Target} from '../run/compare.js'
import {type Source, sourceTree} from '../tree/source.js'
import {type Variant} from '../verdict/verdict.js'
import {checkRefresh, refuseIdle} from './options.js'

export type KernelOptions = {
  kernel?: string
  modules?: string
  headers?: string
  refresh?: boolean
  /** Whether base and livepatches run on a kernel built from source as well. */
  built?: boolean
  /** A git folder, a git URL or a tarball instead of the distribution's source. */
  source?: string
  base?: string
  debug?: DebugSet[]
  idle?: boolean
  /** Whether livepatches are made of candidates, which needs the source. */
  fromPatch?: boolean
}

/** The line that is meant where none is named. */
export const DEFAULT_LINE = '6.12'

/** Where nothing is asked for, no kernel need be built. */
const QUICK: readonly Variant[] = ['base', 'livepatched', 'reverted', 'ruleset']
const ALL: readonly Variant[] = [...QUICK, 'patched']

/** The kernels of --kernel: lines of the archive, or one image at hand. */
export async function chosenKernels(context: Context, options: KernelOptions): Promise<Kernel[]> {
  checkSource(options)
  const given = await kernelAtHand(options)
  return given ? [given] : await stockKernels(context, linesOf(options), options)
}

/** What cases are run on: stock kernels, and built ones where candidates or the options want them. */
export async function chosenTargets(context: Context, cases: readonly Case[], options: KernelOptions & {variant?: readonly Variant[]}): Promise<Target[]> {
  checkSource(options)
  const allBuilt = wantsBuilt(options)
  const variants = variantsOrAll(options)
  if (!allBuilt && !variants.includes('patched')) refuseIdle({idle: options.idle}, 'is about building kernels, and none is built: ask for --built or --variant patched, or leave it out')
  const given = await kernelAtHand(options)
  if (given && (allBuilt || variants.includes('patched'))) {
    throw notBuildable(options)
  }
  // A kernel at hand and a source of one's own are taken at the user's word.
  if (given) return cases.map((one) => ({one, kernel: given, variants: variantsOf(one, variants)}))
  if (allBuilt || variants.includes('patched')) for (const {kconfig} of cases) await checkFragment(kconfig)
  const lines = linesOf(options).filter((line) => cases.some((one) => claims(one, line)))
  const stock = allBuilt || isOnlyPatched(variants) ? [] : await stockKernels(context, lines, options)
  const sources = allBuilt || variants.includes('patched') ? await chosenSources(context, lines, options) : []
  const onStock = cases.flatMap((one) =>
    stock.filter(({line}) => claims(one, line)).map((kernel) => ({one, kernel, variants: variantsOf(one, variants).filter((variant) => variant !== 'patched')})),
  )
  const buildable = allBuilt ? cases : cases.filter((one) => candidateVariant(one) === 'patched')
  const onBuilt = buildable.flatMap((one) =>
    sources
      .filter(({line}) => options.source !== undefined || claims(one, line))
      .map(async (source) => ({one, kernel: await buildOf(context, one, source, options), variants: allBuilt ? variantsOf(one, variants) : (['base', 'patched'] as const)})),
  )
  return [...onStock, ...(await Promise.all(onBuilt))]
}

/** The variants that were asked for; where none was, all that need nothing more than is built anyway. */
export function variantsOrAll(options: KernelOptions & {variant?: readonly Variant[]}): readonly Variant[] {
  return options.variant ?? (wantsBuilt(options) ? ALL : QUICK)
}

/** Of two that candidates may run in, a case has one. */
function variantsOf(one: Case, variants: readonly Variant[]): Variant[] {
  return variants.filter((variant) => (variant !== 'patched' && variant !== 'ruleset') || variant === candidateVariant(one))
}

/** The kernels of --kernel or --source, to be built for a case. */
export async function chosenBuilds(context: Context, one: Case, options: KernelOptions): Promise<BuiltKernel[]> {
  checkSource(options)
  if (options.kernel?.includes('/')) throw notBuildable(options)
  refuseIdle({modules: options.modules, headers: options.headers}, 'is about an image at hand, and this kernel is built: leave it out')
  await checkFragment(one.kconfig)
  const sources = await chosenSources(context, linesOf(options), options)
  return await Promise.all(sources.map(async (source) => await buildOf(context, one, source, options)))
}

/** The only one of some kernels. */
export function onlyOne<T extends Kernel>(kernels: readonly T[]): T {
  const [kernel, ...others] = kernels
  if (others.length > 0) throw new InputError(`this is about one kernel, and --kernel names ${kernels.map(({label}) => label).join(' and ')}: leave one of them`)
  return kernel!
}

/** Builds what several tasks will start from, a line each. */
export async function buildBases(context: Context, targets: readonly Target[]): Promise<void> {
  const kernels = new Map(targets.flatMap(({kernel}) => (isBuilt(kernel) ? [[kernel.key, kernel] as const] : [])))
  if (kernels.size === 0) return
  const tasks = [...kernels.values()].map((kernel) => ({title: kernel.label, run: async (own: Context) => await kernel.image(own)}))
  await runTasks(context, tasks)
}

/** Whether everything is to run on built kernels, stock ones left aside. */
export function wantsBuilt({built, source, debug, fromPatch}: KernelOptions): boolean {
  return built === true || fromPatch === true || source !== undefined || debug !== undefined
}

/** Whether a case is for a kernel line or version; what is neither is left to be complained of. */
function claims({kernels}: Case, version: string): boolean {
  return kernels.includes(lineOf(version)) || !/^\d+\.\d+/.test(version)
}

function isOnlyPatched(variants: readonly Variant[]): boolean {
  return variants.includes('patched') && variants.every((variant) => variant === 'patched' || variant === 'base')
}

function notBuildable({kernel}: KernelOptions): InputError {
  return new InputError(`--kernel ${kernel} is an image: a kernel is built from a line, like 6.12, or from --source`)
}

/** The kernel lines of --kernel, each once. */
export function linesOf({kernel = DEFAULT_LINE}: KernelOptions): string[] {
  const lines = kernel.split(',')
  if (lines.includes('')) throw new InputError(`--kernel '${kernel}' has an empty name in it: give lines like 6.12, with a comma between them`)
  return [...new Set(lines)]
}

/** The image of --kernel with --modules; undefined where none is named. */
export async function kernelAtHand({kernel, modules, headers, refresh}: KernelOptions): Promise<Kernel | undefined> {
  if (modules === undefined && !kernel?.includes('/')) {
    refuseIdle({headers}, 'is about an image at hand: name that by --kernel and --modules, or leave it out')
    return undefined
  }
  refuseIdle({refresh}, `looks for what is newer than the cache has, and an image at hand is taken as it is: leave it out`)
  if (kernel === undefined || !(kernel.includes('/') || (await stat(kernel).catch(() => undefined)))) {
    const line = kernel ?? DEFAULT_LINE
    throw new InputError(`--modules belongs to the image of a kernel, and --kernel ${line}${kernel === undefined ? ', the default,' : ''} names none: leave --modules out, or name the image by its path`)
  }
  if (modules === undefined && !(await stat(kernel).catch(() => undefined))) throw new InputError(`--kernel ${kernel} is not there: name the image of a kernel, or a line like 6.12`)
  if (modules === undefined) throw new InputError(`--kernel ${kernel} is a file: its modules are needed too, as --modules <lib/modules/RELEASE>`)
  return await givenKernel({vmlinuz: resolve(kernel), modules: resolve(modules), headers: headers && resolve(headers)})
}

async function stockKernels(context: Context, lines: readonly string[], {refresh}: KernelOptions): Promise<Kernel[]> {
  const tasks = lines.map((line) => ({title: `kernel ${line}`, run: async (own: Context) => await packagedKernel(own, line, refresh)}))
  const found = await runTasks(context, tasks)
  // 6.12 and 6.12.117 may be one kernel.
  return [...new Map(found.map((one) => [one.key, one])).values()]
}

/** Refuses options that contradict each other. */
export function checkSource({source, base, kernel}: KernelOptions): void {
  if (source !== undefined && kernel !== undefined) throw new InputError('--source is a kernel of its own: leave --kernel out')
  if (source === undefined && base !== undefined) throw new InputError('--base is a revision of --source, which is missing')
}

/** The sources of --source or of kernel lines. */
export async function chosenSources(context: Context, lines: readonly string[], {source: from, base, refresh}: KernelOptions): Promise<Source[]> {
  await checkRefresh({source: from, refresh})
  const wanted = from === undefined ? lines.map((line) => ({title: `source of linux ${line}`, line: lineOf(line) || line})) : [{title: `source ${from}`, from, base}]
  const tasks = wanted.map(({title, ...where}) => ({title, run: async (own: Context) => await sourceTree(own, {tree: 'linux', refresh, ...where})}))
  const sources = await runTasks(context, tasks)
  const other = sources.find(({version}, index) => from === undefined && /\d+\.\d+\./.test(lines[index]!) && version !== lines[index])
  if (other) throw new InputError(`the distribution's source of ${other.line} is ${other.version}: ask for that, or name another with --source`)
  return sources
}

async function buildOf(context: Context, {kconfig}: Case, source: Source, {debug = [], idle = false}: KernelOptions): Promise<BuiltKernel> {
  return await builtKernel(context, source, {debug, idle, fragment: kconfig})
}
