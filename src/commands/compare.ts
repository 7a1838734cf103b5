import {writeFile} from 'node:fs/promises'
import {availableParallelism} from 'node:os'
import {join, resolve} from 'node:path'
import {simpleGit} from 'simple-git'
import {asLivepatches, type Case, candidateVariant, caseNames, loadCase} from '../case/case.js'
import {casesFolder} from '../case/folder.js'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {run} from '../lib/process.js'
import {projectRoot, projectVersion} from '../lib/project.js'
import {chooseAccelerator} from '../machine/accelerator.js'
import {type Accelerator, QEMU} from '../machine/qemu.js'
import {comparisonJson} from '../report/json.js'
import {comparisonMarkdown} from '../report/markdown.js'
import {comparisonTable} from '../report/table.js'
import {compare, type CompareInput, type Comparison, type Target} from '../run/compare.js'
import {checkFromPatch} from '../run/patched.js'
import {recordInputs, recordRun, type RunRecord} from '../run/record.js'
import {exitCodeOf} from '../verdict/exit.js'
import {type Variant} from '../verdict/verdict.js'
import {chosenFirewall4, type Firewall4Options} from './firewall4.js'
import {buildBases, chosenTargets, DEFAULT_LINE, type KernelOptions, variantsOrAll} from './kernels.js'
import {checkFixes, refuseIdle} from './options.js'
import {inRunFolder, type RunPlace} from './runfolder.js'

export type CompareOptions = KernelOptions & Firewall4Options & {
  cases?: string
  variant?: Variant[]
  livepatch?: string[]
  candidate?: string[]
  repeat: number
  jobs?: number
  trace: boolean
  keepGoing: boolean
  accel: Accelerator | 'auto'
  root?: string
  set: string[]
  output?: string
  json?: boolean
}

/** `patchbench compare [CASE...]`: the main job. */
export async function compareCommand(
  context: Context,
  names: readonly string[],
  options: CompareOptions,
  command: string,
): Promise<{text: string; exit: number; comparison: Comparison}> {
  if (options.fromPatch) refuseIdle({livepatch: options.livepatch}, 'names livepatches that are written by hand: name a --candidate with --from-patch')
  const chosen = await chosenCases(names, options)
  return await inRunFolder(context, options.output, async (place) => {
    const cases = names.length > 0 ? chosen : withoutFirewall4(context, chosen)
    const {options: others, firewall4} = await chosenFirewall4(context, cases, options)
    checkFixes(cases, variantsOrAll(others), options)
    const targets = await targetsFor(context, cases, others)
    return await compareTargets(context, targets, {...options, ...(firewall4 ? {firewall4} : {})}, {...place, command})
  })
}

/** How targets are compared, whoever chose them. */
export type RunOptions = Pick<CompareOptions, 'repeat' | 'jobs' | 'keepGoing' | 'accel' | 'root' | 'json' | 'trace'> & Pick<CompareInput, 'firewall4'>

export type Compared = {text: string; exit: number; comparison: Comparison; folder: string; record: RunRecord; accelerator: string}

/** Compares targets in a run's folder, and leaves results, reports and what they were made of in it. */
export async function compareTargets(context: Context, targets: readonly Target[], options: RunOptions, {folder, date, command}: RunPlace & {command: string}): Promise<Compared> {
  for (const {one, kernel} of targets) await checkFromPatch(context, one, kernel)
  await buildBases(context, targets)
  const {accelerator, why} = await chooseAccelerator(context, options.accel, targets[0]!.kernel)
  // Asked while the machines run: neither depends on the other.
  const about = Promise.all([ownVersion(), toolVersions(context)])
  about.catch(() => {})
  const input = {
    targets,
    repeats: options.repeat,
    jobs: options.jobs ?? availableParallelism(),
    trace: options.trace,
    keepGoing: options.keepGoing,
    accelerator,
    ...(options.root ? {rootTar: resolve(options.root)} : {}),
    ...(options.firewall4 ? {firewall4: options.firewall4} : {}),
    folder,
  }
  await recordInputs(folder, targets)
  const comparison = await compare(context, input)
  const exit = exitCodeOf(comparison.results)
  const [version, tools] = await about
  const facts = {folder, date: date.toISOString(), command, accelerator, why, ...version, tools}
  const json = comparisonJson(comparison, {...facts, exit})
  await writeFile(join(folder, 'results.json'), `${json}\n`)
  await writeFile(join(folder, 'report.md'), await comparisonMarkdown(comparison, facts))
  const record = await recordRun(context, input, {date: facts.date, patchbench: version, command, accelerator, tools}, comparison)
  const table = [comparisonTable(comparison.results, useColour()), ...comparison.leftOut.map((one) => `\nleft out: ${one}`)].join('\n')
  const text = options.json ? json : `${table}\n\nunder ${accelerator} (${why}); evidence and report.md are in ${folder}`
  return {text, exit, comparison, folder, record, accelerator: `${accelerator} (${why})`}
}

/** Where all cases are meant, those that need a tree of their own are left out, which is said. */
function withoutFirewall4(context: Context, cases: readonly Case[]): readonly Case[] {
  const others = cases.filter(({tree}) => tree !== 'firewall4')
  if (others.length === 0) return cases
  for (const {name} of cases.filter((one) => !others.includes(one))) context.progress(`left out: ${name} needs a tree of firewall4: name the case, and the tree with --source`)
  return others
}

/** What each case is run on; cases that cannot be run as they were asked for are named. */
export async function targetsFor(context: Context, cases: readonly Case[], options: CompareOptions): Promise<Target[]> {
  const left = cases.map((one) => ({one, why: whyNot(one, options)}))
  const targets = await chosenTargets(context, left.flatMap(({one, why}) => (why ? [] : [one])), options)
  const reasons = left.flatMap(({one, why}) => {
    if (why) return [`${one.name} ${why}`]
    return targets.some((target) => target.one === one) ? [] : [`${one.name} is for kernels ${one.kernels.join(', ')}, not for ${options.kernel ?? `${DEFAULT_LINE}, the default: name one with --kernel`}`]
  })
  if (targets.length === 0) throw new InputError(reasons.join('; '))
  for (const reason of reasons) context.progress(`left out: ${reason}`)
  return targets
}

/** Asked for variants of fixes, a case needs one of them at the least. */
function whyNot(one: Case, {variant = []}: CompareOptions): string | undefined {
  const {candidates, livepatches} = one
  const isKind = (kind: Variant) => candidates.length > 0 && candidateVariant(one) === kind
  const kinds = [
    {wanted: variant.includes('patched'), has: isKind('patched'), word: candidates.length > 0 ? 'candidate that is a kernel patch' : 'candidate'},
    {wanted: variant.includes('ruleset'), has: isKind('ruleset'), word: 'candidate that is a ruleset'},
    {wanted: variant.includes('livepatched') || variant.includes('reverted'), has: livepatches.length > 0, word: 'livepatch'},
  ].filter(({wanted}) => wanted)
  if (kinds.length === 0 || kinds.some(({has}) => has)) return undefined
  return `has no ${kinds.map(({word}) => word).join(' and no ')}, only base`
}

async function chosenCases(names: readonly string[], {cases: folder, set, livepatch, candidate, fromPatch}: CompareOptions): Promise<Case[]> {
  const chosen = names.length > 0 ? names : await caseNames(folder)
  if (chosen.length === 0) throw new InputError(`there is no case in ${folder ?? (await casesFolder())}`)
  const loaded = await Promise.all([...new Set(chosen)].map(async (name) => await loadCase(name, folder && resolve(folder))))
  checkNames('--livepatch', livepatch, loaded.flatMap(({livepatches}) => livepatches))
  checkNames('--candidate', candidate, loaded.flatMap(({candidates}) => candidates))
  return loaded.map((one) => {
    const own = withFixes(one, {livepatch, candidate})
    return withParameters(fromPatch ? {...own, livepatches: asLivepatches(own)} : own, set)
  })
}

/** Only the fixes that were named, of whichever cases have them. */
export function withFixes(one: Case, {livepatch, candidate}: {livepatch?: string[] | undefined; candidate?: string[] | undefined}): Case {
  const livepatches = one.livepatches.filter(({name}) => livepatch?.includes(name) ?? true)
  const candidates = one.candidates.filter(({name}) => candidate?.includes(name) ?? true)
  return {...one, livepatches, candidates}
}

/** Refuses a name that no case has. */
export function checkNames(option: string, wanted: readonly string[] | undefined, known: readonly {name: string}[]): void {
  const unknown = wanted?.find((name) => !known.some((one) => one.name === name))
  if (unknown === undefined) return
  const names = [...new Set(known.map(({name}) => name))]
  throw new InputError(`${option} ${unknown}: there is none of that name; there are ${names.join(', ') || 'none'}`)
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

/** Which patchbench this is: its version, and the commit where it is a checkout. */
async function ownVersion(): Promise<{version: string; revision: string}> {
  const version = projectVersion()
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

/** Whether standard output is a terminal that wants colour. */
export function useColour(): boolean {
  return process.stdout.isTTY && !process.env.NO_COLOR
}
