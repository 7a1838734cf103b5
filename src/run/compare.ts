import {mkdir} from 'node:fs/promises'
import {join} from 'node:path'
import pLimit from 'p-limit'
import {type Case, livepatchOf} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, EXIT} from '../lib/errors.js'
import {runTasks, type Task} from '../lib/tasks.js'
import {buildLivepatch, type LivepatchModule} from '../livepatch/build.js'
import {type Accelerator} from '../machine/qemu.js'
import {BadSnapshot, runSession, type SessionResult} from '../machine/session.js'
import {forgetSnapshot, type Snapshot} from '../machine/snapshot.js'
import {planSessions, type SessionPlan} from '../plan/plan.js'
import {exitCodeOf} from '../verdict/exit.js'
import {type Variant, type VariantRun} from '../verdict/verdict.js'
import {caseSnapshot} from './machines.js'
import {outcomesOf} from './outcome.js'
import {type Result, resultOf} from './results.js'
import {type Loadable, sessionJob, sessionLimits} from './sessions.js'

export type CompareInput = {
  cases: readonly Case[]
  kernels: readonly Kernel[]
  /** The variants asked for; every one that a case has where it is left out. */
  variants?: readonly Variant[]
  repeats: number
  /** How many machines run side by side. */
  jobs: number
  /** Whether the other cases are run when one is not as expected. */
  keepGoing: boolean
  accelerator: Accelerator
  /** A guest root that the user brought. */
  rootTar?: string
  /** The run's folder, where the evidence goes. */
  folder: string
}

export type Comparison = {results: Result[]; pairs: PairRecord[]}

/** What was used for a case on a kernel, and how long its sessions took. */
export type PairRecord = {
  case: string
  title: string
  /** The reproducer's parameters as they were used. */
  parameters: Record<string, string>
  /** Each livepatch as it was loaded. */
  livepatches: {name: string; module: string; parameters: Record<string, string>}[]
  kernel: string
  release: string
  origin: Record<string, string>
  /** The modules that were loaded, by the livepatch's name. */
  modules: Record<string, LivepatchModule>
  sessions: {variants: readonly Variant[]; livepatch: string | null; seconds: SessionResult['seconds']; steps: Record<string, number>}[]
}

/** A case on a kernel, and what came of its sessions so far. */
type Pair = {one: Case; kernel: Kernel; plan: SessionPlan[]; folder: string; runs: Map<string, VariantRun[]>; record: PairRecord}

type Limit = ReturnType<typeof pLimit>

/** Runs every session of the plan, as many side by side as there are jobs, and draws the verdicts. */
export async function compare(context: Context, input: CompareInput): Promise<Comparison> {
  const limit = pLimit(input.jobs)
  const remade = new Map<string, Promise<Snapshot>>()
  const pairs = pairsOf(input)
  const task = (pair: Pair) => ({
    title: `${pair.one.name} on ${pair.kernel.label}`,
    run: async (own: Context) => await runPair(own, pair, input, limit, remade),
  })
  if (input.keepGoing) await runTasks(context, pairs.map(task))
  else await runUntilMissed(context, pairs, task)
  return {results: pairs.flatMap(resultsOf), pairs: pairs.map(({record}) => record)}
}

/** One case after another, as far as the verdicts are the expected ones; those after that are left out. */
async function runUntilMissed(context: Context, pairs: Pair[], task: (pair: Pair) => Task<void>): Promise<void> {
  for (const [index, pair] of pairs.entries()) {
    await runTasks(context, [task(pair)])
    if (exitCodeOf(resultsOf(pair)) !== EXIT.ok) pairs.length = index + 1
  }
}

function pairsOf({cases, kernels, variants, repeats, folder}: CompareInput): Pair[] {
  return cases.flatMap((one) =>
    kernels.map((kernel) => ({
      one,
      kernel,
      plan: planSessions({livepatches: one.livepatches.map(({name}) => name), repeats, ...(variants ? {variants} : {})}),
      folder: join(folder, one.name, kernel.label.replaceAll(' ', '-')),
      runs: new Map(),
      record: recordOf(one, kernel),
    })),
  )
}

function recordOf(one: Case, kernel: Kernel): PairRecord {
  return {
    case: one.name,
    title: one.title,
    parameters: one.reproducer.parameters,
    livepatches: one.livepatches.map(({name, module, parameters}) => ({name, module, parameters})),
    kernel: kernel.label,
    release: kernel.release,
    origin: kernel.origin,
    modules: {},
    sessions: [],
  }
}

async function runPair(context: Context, pair: Pair, input: CompareInput, limit: Limit, remade: Map<string, Promise<Snapshot>>): Promise<void> {
  let snapshot: Snapshot
  try {
    snapshot = await caseSnapshot(context, pair.one, pair.kernel, input)
  } catch (error) {
    for (const session of pair.plan) giveUp(context, pair, session, error)
    return
  }
  const sessions = pair.plan.map(async (session) =>
    limit(async () => {
      context.signal.throwIfAborted()
      await runPlanned(context, pair, session, snapshot, async (bad) => await remake(context, bad, pair, input, remade))
    }),
  )
  const failed = (await Promise.allSettled(sessions)).find((one) => one.status === 'rejected')
  if (failed) throw failed.reason
}

/** Runs one planned session; a failure of the machinery becomes part of its variants' runs. */
async function runPlanned(
  context: Context,
  pair: Pair,
  plan: SessionPlan,
  snapshot: Snapshot,
  remakeSnapshot: (bad: Snapshot) => Promise<Snapshot>,
): Promise<void> {
  const {variants, livepatch, repeat} = plan
  const evidence = join(pair.folder, `${[livepatch, variants.join('+')].filter(Boolean).join('-')}-${repeat + 1}`)
  await mkdir(evidence, {recursive: true})
  try {
    const loadable = livepatch === undefined ? undefined : await build(context, pair, livepatch)
    context.progress(`running ${variants.join(', ')} (${pair.record.sessions.length} of ${pair.plan.length} sessions done)`)
    const session = async (machine: Snapshot) =>
      await runSession(context, {
        snapshot: machine,
        job: sessionJob(pair.one, variants, loadable, machine.hardware),
        limits: sessionLimits(pair.one, variants, machine.hardware),
        evidence,
      })
    const result = await session(snapshot).catch(async (error: unknown) => {
      if (!(error instanceof BadSnapshot)) throw error
      return await session(await remakeSnapshot(snapshot))
    })
    const outcomes = await outcomesOf(pair.one, loadable?.livepatch, variants, result, evidence)
    for (const variant of variants) addRun(pair, plan, variant, outcomes.get(variant)!)
    const steps = Object.fromEntries(result.steps.map(({name, seconds = 0}) => [name, seconds]))
    pair.record.sessions.push({variants, livepatch: livepatch ?? null, seconds: result.seconds, steps})
  } catch (error) {
    giveUp(context, pair, plan, error)
  }
}

async function build(context: Context, {one, kernel, record}: Pair, name: string): Promise<Loadable> {
  const livepatch = livepatchOf(one, name)
  record.modules[name] ??= await buildLivepatch(context, livepatch, kernel)
  return {livepatch, module: record.modules[name]}
}

/** A snapshot that does not restore is made anew, once for all sessions that start from it. */
async function remake(context: Context, bad: Snapshot, {one, kernel}: Pair, input: CompareInput, remade: Map<string, Promise<Snapshot>>): Promise<Snapshot> {
  let fresh = remade.get(bad.key)
  if (!fresh) {
    fresh = forgetSnapshot(context, bad).then(async () => await caseSnapshot(context, one, kernel, input))
    remade.set(bad.key, fresh)
  }
  return await fresh
}

function runsOf(pair: Pair, variant: Variant, livepatch?: string): VariantRun[] {
  return pair.runs.get(`${variant} ${livepatch ?? ''}`) ?? []
}

function addRun(pair: Pair, {livepatch}: SessionPlan, variant: Variant, run: VariantRun): void {
  pair.runs.set(`${variant} ${livepatch ?? ''}`, [...runsOf(pair, variant, livepatch), run])
}

/** What the machinery could not do is the runs' failure; anything else is not ours to explain. */
function giveUp(context: Context, pair: Pair, plan: SessionPlan, error: unknown): void {
  context.signal.throwIfAborted()
  if (!(error instanceof CouldNotRun)) throw error
  const failure = error.detail ? `${error.message}\n${error.detail}` : error.message
  for (const variant of plan.variants) addRun(pair, plan, variant, {tests: [], splats: [], failure})
}

function resultsOf(pair: Pair): Result[] {
  const {one, kernel, plan, folder} = pair
  const base = runsOf(pair, 'base')
  return plan
    .filter(({repeat}) => repeat === 0)
    .flatMap(({variants, livepatch}) =>
      variants.map((variant) => {
        const cell = {kernel: kernel.label, variant, ...(livepatch === undefined ? {} : {livepatch: livepatchOf(one, livepatch)})}
        return resultOf(one, cell, {base, own: runsOf(pair, variant, livepatch)}, folder)
      }),
    )
}
