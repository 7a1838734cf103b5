import {readdir, readFile, rm, rmdir, symlink, writeFile} from 'node:fs/promises'
import {availableParallelism, homedir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {simpleGit} from 'simple-git'
import {type Case, caseNames, loadCase} from '../case/case.js'
import {givenKernel} from '../kernel/given.js'
import {type Kernel} from '../kernel/kernel.js'
import {packagedKernel} from '../kernel/packaged.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {makeFolder} from '../lib/files.js'
import {run} from '../lib/process.js'
import {projectPath, projectRoot} from '../lib/project.js'
import {runTasks} from '../lib/tasks.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {type Accelerator, QEMU} from '../machine/qemu.js'
import {comparisonJson} from '../report/json.js'
import {comparisonMarkdown} from '../report/markdown.js'
import {comparisonTable} from '../report/table.js'
import {compare, type CompareInput, type Comparison} from '../run/compare.js'
import {exitCodeOf} from '../verdict/exit.js'
import {type Variant} from '../verdict/verdict.js'

export type KernelOptions = {kernel?: string; modules?: string; headers?: string; refresh?: boolean}

export type CompareOptions = KernelOptions & {
  cases?: string
  variant?: Variant[]
  livepatch?: string[]
  repeat: number
  jobs?: number
  keepGoing: boolean
  accel: Accelerator | 'auto'
  root?: string
  set: string[]
  output?: string
  json?: boolean
}

const DEFAULT_LINE = '6.12'

/** `patchbench compare [CASE...]`: the main job. */
export async function compareCommand(
  context: Context,
  names: readonly string[],
  options: CompareOptions,
  command: string,
): Promise<{text: string; exit: number; comparison: Comparison}> {
  const cases = await chosenCases(names, options)
  const kernels = await chosenKernels(context, options)
  const claimed = casesFor(context, cases, kernels, options)
  const {accelerator, why} = await chooseAccelerator(context, options.accel, kernels[0]!)
  const date = new Date()
  const folder = await runFolder(options.output, date)
  // Asked while the machines run: neither depends on the other.
  const about = Promise.all([ownVersion(), toolVersions(context)])
  about.catch(() => {})
  const comparison = await compareIn(context, folder, {
    cases: claimed,
    kernels,
    repeats: options.repeat,
    jobs: options.jobs ?? availableParallelism(),
    keepGoing: options.keepGoing,
    accelerator,
    ...(options.variant ? {variants: options.variant} : {}),
    ...(options.root ? {rootTar: resolve(options.root)} : {}),
  })
  const exit = exitCodeOf(comparison.results)
  const json = comparisonJson(comparison, {folder, exit})
  const [version, tools] = await about
  const facts = {date: date.toISOString(), ...version, command, folder, tools, accelerator: `${accelerator} (${why})`}
  await writeFile(join(folder, 'results.json'), `${json}\n`)
  await writeFile(join(folder, 'report.md'), await comparisonMarkdown(comparison, facts))
  if (!options.output) await pointLatest(folder)
  const table = comparisonTable(comparison.results, useColour())
  const text = options.json ? json : `${table}\n\nunder ${facts.accelerator}; evidence and report.md are in ${folder}`
  return {text, exit, comparison}
}

/** Runs a comparison in its folder; one that left nothing there leaves no folder. */
async function compareIn(context: Context, folder: string, input: Omit<CompareInput, 'folder'>): Promise<Comparison> {
  try {
    return await compare(context, {...input, folder})
  } catch (error) {
    await rmdir(folder).catch(() => {})
    throw error
  }
}

/** The cases that can be run as they were asked for; the others are named. */
function casesFor(context: Context, cases: readonly Case[], kernels: readonly Kernel[], options: CompareOptions): Case[] {
  const left = cases.map((one) => ({one, why: whyNot(one, kernels, options)}))
  const reasons = left.flatMap(({one, why}) => (why ? [`${one.name} ${why}`] : []))
  if (reasons.length === cases.length) throw new InputError(reasons.join('; '))
  for (const reason of reasons) context.progress(`left out: ${reason}`)
  return left.flatMap(({one, why}) => (why ? [] : [one]))
}

function whyNot(one: Case, kernels: readonly Kernel[], options: CompareOptions): string | undefined {
  if (options.variant?.some((variant) => variant !== 'base') && one.livepatches.length === 0) return 'has no livepatch, only base'
  if (kernels.some((kernel) => claims(one, kernel, options))) return undefined
  return `is for kernels ${one.kernels.join(', ')}, not for ${kernels.map(({line}) => line).join(', ')}`
}

async function chosenCases(names: readonly string[], {cases: folder, set, livepatch}: CompareOptions): Promise<Case[]> {
  const chosen = names.length > 0 ? names : await caseNames(folder)
  if (chosen.length === 0) throw new InputError(`there is no case in ${folder ?? projectPath('patches')}`)
  const loaded = await Promise.all([...new Set(chosen)].map(async (name) => await loadCase(name, folder && resolve(folder))))
  return withLivepatches(loaded, livepatch).map((one) => withParameters(one, set))
}

/** Only the livepatches of --livepatch, of whichever cases have them. */
function withLivepatches(cases: readonly Case[], wanted: readonly string[] | undefined): Case[] {
  if (!wanted) return [...cases]
  const known = cases.flatMap(({livepatches}) => livepatches.map(({name}) => name))
  const unknown = wanted.find((name) => !known.includes(name))
  if (unknown !== undefined) throw new InputError(`--livepatch ${unknown}: there is none of that name; there are ${known.join(', ') || 'none'}`)
  return cases.map((one) => ({...one, livepatches: one.livepatches.filter(({name}) => wanted.includes(name))}))
}

/** Reproducer parameters from --set NAME=VALUE, over those of case.yaml. */
export function withParameters(one: Case, settings: readonly string[]): Case {
  const parameters = {...one.reproducer.parameters}
  for (const setting of settings) {
    const [name, ...value] = setting.split('=')
    if (!name || value.length === 0) throw new InputError(`--set ${setting}: write NAME=VALUE`)
    if (!(name in parameters)) {
      const known = Object.keys(parameters).join(', ') || 'none'
      throw new InputError(`--set ${setting}: the case '${one.name}' has no parameter '${name}'; it has ${known}`)
    }
    parameters[name] = value.join('=')
  }
  return {...one, reproducer: {...one.reproducer, parameters}}
}

/** The kernels of --kernel: lines of the archive, or one image at hand. */
export async function chosenKernels(context: Context, {kernel = DEFAULT_LINE, modules, headers, refresh}: KernelOptions): Promise<Kernel[]> {
  if (modules !== undefined || kernel.includes('/')) {
    if (modules === undefined) throw new InputError(`--kernel ${kernel} is a file: its modules are needed too, as --modules <lib/modules/RELEASE>`)
    return [await givenKernel({vmlinuz: resolve(kernel), modules: resolve(modules), headers: headers && resolve(headers)})]
  }
  const lines = [...new Set(kernel.split(','))]
  const found = await runTasks(
    context,
    lines.map((line) => ({title: `kernel ${line}`, run: async (own) => await packagedKernel(own, line, refresh)})),
  )
  // 6.12 and 6.12.117 may be one kernel.
  return [...new Map(found.map((one) => [one.key, one])).values()]
}

/** A kernel at hand is taken at the user's word; of the archive's lines, a case says which it is for. */
function claims(one: Case, kernel: Kernel, {modules}: KernelOptions): boolean {
  return modules !== undefined || one.kernels.includes(kernel.line)
}

async function runFolder(output: string | undefined, date: Date): Promise<string> {
  const name = date.toISOString().replaceAll(/[-:]/g, '').replace('T', '-').slice(0, 15)
  const state = process.env.XDG_STATE_HOME ?? join(homedir(), '.local/state')
  const folder = output ? resolve(output) : join(state, 'patchbench/runs', `${name}-${process.pid}`)
  await makeFolder(folder)
  if ((await readdir(folder)).length > 0) throw new InputError(`--output ${folder} is not empty: name a new folder, so that no evidence is mixed`)
  return folder
}

async function pointLatest(folder: string): Promise<void> {
  const latest = join(dirname(folder), 'latest')
  await rm(latest, {force: true})
  // Two runs at once may both point here; either is a fair answer.
  await symlink(folder, latest).catch(() => {})
}

/** Which patchbench this is: its version, and the commit where it is a checkout. */
async function ownVersion(): Promise<{version: string; revision: string}> {
  const {version} = JSON.parse(await readFile(projectPath('package.json'), 'utf8')) as {version: string}
  try {
    const git = simpleGit(projectRoot)
    const revision = (await git.revparse(['--short', 'HEAD'])).trim()
    return {version, revision: (await git.status()).isClean() ? revision : `${revision}, changed`}
  } catch {
    return {version, revision: ''}
  }
}

/** The tools that a result may depend on, in their own words. */
async function toolVersions(context: Context): Promise<string[]> {
  const outputs = await Promise.all([QEMU, 'gcc'].map(async (tool) => await run(tool, ['--version'], {signal: context.signal, allowedExits: 'any'})))
  return outputs.map(({all}) => all.split('\n')[0] ?? '').filter(Boolean)
}

function useColour(): boolean {
  return process.stdout.isTTY && !process.env.NO_COLOR
}
