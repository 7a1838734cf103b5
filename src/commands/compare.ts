import {mkdir, readFile, rm, symlink, writeFile} from 'node:fs/promises'
import {availableParallelism, homedir} from 'node:os'
import {dirname, join, resolve} from 'node:path'
import {simpleGit} from 'simple-git'
import {type Case, caseNames, loadCase} from '../case/case.js'
import {givenKernel} from '../kernel/given.js'
import {type Kernel} from '../kernel/kernel.js'
import {packagedKernel} from '../kernel/packaged.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {projectPath, projectRoot} from '../lib/project.js'
import {runTasks} from '../lib/tasks.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {type Accelerator} from '../machine/qemu.js'
import {comparisonJson} from '../report/json.js'
import {comparisonMarkdown} from '../report/markdown.js'
import {comparisonTable} from '../report/table.js'
import {compare, type Comparison} from '../run/compare.js'
import {exitCodeOf} from '../verdict/exit.js'
import {type Variant} from '../verdict/verdict.js'

export type KernelOptions = {kernel?: string; modules?: string; headers?: string; refresh?: boolean}

export type CompareOptions = KernelOptions & {
  cases?: string
  variant?: Variant[]
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
  const claimed = cases.filter((one) => kernels.some((kernel) => claims(one, kernel, options)))
  if (claimed.length === 0) {
    throw new InputError(`${cases.map(({name}) => name).join(', ')}: case.yaml is for kernels ${cases[0]!.kernels.join(', ')}, not for ${options.kernel}`)
  }
  const {accelerator, why} = await chooseAccelerator(context, options.accel, kernels[0]!)
  const date = new Date()
  const folder = await runFolder(options.output, date)
  const comparison = await compare(context, {
    cases: claimed,
    kernels,
    repeats: options.repeat,
    jobs: options.jobs ?? availableParallelism(),
    keepGoing: options.keepGoing,
    accelerator,
    folder,
    ...(options.variant ? {variants: options.variant} : {}),
    ...(options.root ? {rootTar: resolve(options.root)} : {}),
  })
  const exit = exitCodeOf(comparison.results)
  const json = comparisonJson(comparison, {folder, exit})
  const facts = {date: date.toISOString(), ...(await ownVersion()), command, accelerator: `${accelerator} (${why})`}
  await writeFile(join(folder, 'results.json'), `${json}\n`)
  await writeFile(join(folder, 'report.md'), await comparisonMarkdown(comparison, facts))
  const table = comparisonTable(comparison.results, useColour())
  const text = options.json ? json : `${table}\n\nunder ${facts.accelerator}; evidence and report.md are in ${folder}`
  return {text, exit, comparison}
}

async function chosenCases(names: readonly string[], {cases: folder, set}: CompareOptions): Promise<Case[]> {
  const chosen = names.length > 0 ? names : await caseNames(folder)
  if (chosen.length === 0) throw new InputError(`there is no case in ${folder ?? projectPath('patches')}`)
  const loaded = await Promise.all([...new Set(chosen)].map(async (name) => await loadCase(name, folder && resolve(folder))))
  return loaded.map((one) => withParameters(one, set))
}

/** Reproducer parameters from --set NAME=VALUE, over those of case.yaml. */
function withParameters(one: Case, settings: readonly string[]): Case {
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
  const lines = kernel.split(',')
  return await runTasks(
    context,
    lines.map((line) => ({title: `kernel ${line}`, run: async (own) => await packagedKernel(own, line, refresh)})),
  )
}

/** A kernel at hand is taken at the user's word; of the archive's lines, a case says which it is for. */
function claims(one: Case, kernel: Kernel, {modules}: KernelOptions): boolean {
  return modules !== undefined || one.kernels.includes(kernel.line)
}

async function runFolder(output: string | undefined, date: Date): Promise<string> {
  const name = date.toISOString().replaceAll(/[-:]/g, '').replace('T', '-').slice(0, 15)
  const state = process.env.XDG_STATE_HOME ?? join(homedir(), '.local/state')
  const folder = output ? resolve(output) : join(state, 'patchbench/runs', `${name}-${process.pid}`)
  await mkdir(folder, {recursive: true})
  if (!output) await pointLatest(folder)
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

function useColour(): boolean {
  return process.stdout.isTTY && !process.env.NO_COLOR
}
