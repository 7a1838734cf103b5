import {mkdir, rm} from 'node:fs/promises'
import {join} from 'node:path'
import pLimit from 'p-limit'
import {type Case, candidateOf, candidateVariant, isForLine, type Livepatch, livepatchOf} from '../case/case.js'
import {type BuiltKernel, isBuilt} from '../kernel/built.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, EXIT} from '../lib/errors.js'
import {keyOf, sha256File} from '../lib/hash.js'
import {runTasks, type Task} from '../lib/tasks.js'
import {buildLivepatch, type LivepatchModule} from '../livepatch/build.js'
import {replacedWords} from '../livepatch/frompatch.js'
import {type Accelerator} from '../machine/qemu.js'
import {BadSnapshot, runSession, type SessionResult} from '../machine/session.js'
import {forgetSnapshot, type Snapshot} from '../machine/snapshot.js'
import {planSessions, type SessionPlan} from '../plan/plan.js'
import {type Firewall4} from '../ruleset/firewall4.js'
import {hasRulesets, keepRuleset, type KeptRuleset, rulesetOf} from '../ruleset/ruleset.js'
import {compared, type Trace} from '../trace/trace.js'
import {exitCodeOf} from '../verdict/exit.js'
import {type Suite} from '../verdict/suite.js'
import {type Variant, type VariantRun} from '../verdict/verdict.js'
import {caseSnapshot} from './machines.js'
import {outcomesOf} from './outcome.js'
import {madeOfSeries, type Patched, patchedWith} from './patched.js'
import {type Cell, type Fix, ownNotes, type Result, resultOf} from './results.js'
import {runSelftests, type SelftestRow} from './selftests.js'
import {type Loadable, sessionJob, sessionLimits} from './sessions.js'
import {suiteOf} from './suites.js'
import {differences, prepareProbes, readTrace, untraced} from './traced.js'

/** A case, a kernel and the variants that are run on it; `patched` needs one that is built from a source. */
export type Target = {
  one: Case
  kernel: Kernel | BuiltKernel
  variants: readonly Variant[]
  /** Modules that are there already, by the livepatch's name; the others are built here. */
  modules?: Readonly<Record<string, LivepatchModule>>
}

export type CompareInput = {
  targets: readonly Target[]
  repeats: number
  /** How many machines run side by side. */
  jobs: number
  /** Whether probes are recorded, in sessions of their own. */
  trace: boolean
  /** Whether the other cases are run when one is not as expected. */
  keepGoing: boolean
  accelerator: Accelerator
  /** A guest root that the user brought. */
  rootTar?: string
  /** What renders the rulesets of cases of the tree firewall4. */
  firewall4?: Firewall4
  /** The run's folder, where the evidence goes. */
  folder: string
  /** The last sessions into this folder, by the place of their evidence: one that nothing has changed for is not run again. */
  kept?: Map<string, KeptSession>
}

/** What a session came to, and the key of all that could change it. */
export type KeptSession = {
  key: string
  outcomes: ReadonlyMap<Variant, VariantRun>
  record: PairRecord['sessions'][number]
  selftests?: readonly SelftestRow[]
  /** The artefacts that it ran on. */
  kernel: string
  snapshot: string
}

export type Comparison = {
  results: Result[]
  pairs: PairRecord[]
  /** What was asked for and is not claimed, a sentence each. */
  leftOut: string[]
}

/** What was used for a case on a kernel, and how long its sessions took. */
export type PairRecord = {
  case: string
  title: string
  /** The reproducer's parameters as they were used. */
  parameters: Record<string, string>
  /** Each livepatch as it was loaded. */
  livepatches: {name: string; module: string; parameters: Record<string, string>}[]
  /** Each candidate as it was applied. */
  candidates: {name: string; patches: string[]; /** What its diffs do, see series/identity.ts. */ series: string; tree: string}[]
  /** Each ruleset as it was loaded, that of base first; none where the case is not about rulesets. */
  rulesets: KeptRuleset[]
  kernel: string
  release: string
  origin: Record<string, string>
  /** The modules that were loaded, by the livepatch's name. */
  modules: Record<string, LivepatchModule>
  sessions: {variants: readonly Variant[]; livepatch: string | null; candidate: string | null; traced: boolean; /** What booting its machine took, s; often in an earlier run. */ boot: number; seconds: SessionResult['seconds']; steps: Record<string, number>}[]
}

/** A case on a kernel, and what came of its sessions so far. */
type Pair = {
  one: Case
  kernel: Kernel | BuiltKernel
  plan: SessionPlan[]
  folder: string
  runs: Map<string, VariantRun[]>
  /** What the traced sessions left, by cell; notes on them are made when all runs are there. */
  traces: Map<string, {run: VariantRun; trace: Trace}>
  /** The kernels of the candidates, by name. */
  patched: Map<string, Promise<Patched>>
  /** The rulesets of base and of the candidates, by name. */
  rulesets: Map<string, Promise<KeptRuleset>>
  /** What sessions start from, by kernel. */
  snapshots: Map<string, Promise<Snapshot>>
  notes: Map<string, readonly string[]>
  /** What the candidates' own selftests said. */
  selftests: Map<string, readonly SelftestRow[]>
  /** What the tests of the tree that rendered a ruleset said, by the ruleset's name. */
  suites: Map<string, Suite>
  record: PairRecord
}

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
  return {results: pairs.flatMap(resultsOf), pairs: pairs.map(({record}) => record), leftOut: unclaimed(input)}
}

/** One case after another, as far as the verdicts are the expected ones; those after that are left out. */
async function runUntilMissed(context: Context, pairs: Pair[], task: (pair: Pair) => Task<void>): Promise<void> {
  for (const [index, pair] of pairs.entries()) {
    await runTasks(context, [task(pair)])
    if (exitCodeOf(resultsOf(pair)) !== EXIT.ok) pairs.length = index + 1
  }
}

function pairsOf(input: CompareInput): Pair[] {
  const {targets, repeats, trace, folder} = input
  return targets.map(({one, kernel, variants, modules}) => {
    const of = (fixes: readonly {name: string; isFor: boolean}[]) => fixes.filter(({isFor}) => isFor).map(({name}) => name)
    const livepatches = of(one.livepatches.map(({name, kernels}) => ({name, isFor: kernels?.includes(kernel.line) ?? true})))
    const candidates = of(one.candidates.map((candidate) => ({name: candidate.name, isFor: isForLine(one, candidate, kernel.line)})))
    const plan = planSessions({livepatches, candidates, candidateVariant: candidateVariant(one), variants, repeats, trace: trace && one.probes.length > 0})
    const pair = {one, kernel, plan, folder: join(folder, one.name, kernel.label.replaceAll(' ', '-'))}
    return {...pair, runs: new Map(), traces: new Map(), patched: new Map(), rulesets: new Map(), snapshots: new Map(), notes: new Map(), selftests: new Map(), suites: new Map(), record: {...recordOf(one, kernel, input), modules: {...modules}}}
  })
}

/** Fixes that were asked for and do not claim a kernel's line: no failure, but to be said. */
function unclaimed({targets}: CompareInput): string[] {
  return targets.flatMap(({one, kernel: {line}, variants}) => {
    const candidates = variants.includes('patched') ? one.candidates : []
    const livepatches = variants.includes('livepatched') ? one.livepatches : []
    return [
      ...candidates.filter(({series}) => !(line in series)).map(({name, series}) => `${one.name}: candidate ${name} is for ${Object.keys(series).join(', ')}, not for ${line}`),
      ...livepatches.filter(({kernels}) => kernels && !kernels.includes(line)).map(({name, kernels}) => `${one.name}: livepatch ${name} is for ${kernels!.join(', ')}, not for ${line}`),
    ]
  })
}

function recordOf(one: Case, kernel: Kernel, {firewall4}: CompareInput): PairRecord {
  return {
    case: one.name,
    title: one.title,
    parameters: one.reproducer.parameters,
    livepatches: one.livepatches.map(({name, module, parameters}) => ({name, module, parameters})),
    candidates: [],
    rulesets: [],
    kernel: kernel.label,
    release: kernel.release,
    origin: {...kernel.origin, ...(one.tree === 'firewall4' && firewall4 ? originOf(firewall4) : {})},
    modules: {},
    sessions: [],
  }
}

function originOf({source, ucode}: Firewall4): Record<string, string> {
  const from = Object.entries(source.origin).map(([kind, what]) => `${kind} ${what}`)
  return {firewall4: [source.version, ...from].join(', '), ucode: `${ucode.path} sha256:${ucode.files[ucode.path] ?? 'unknown'}`}
}

async function runPair(context: Context, pair: Pair, input: CompareInput, limit: Limit, remade: Map<string, Promise<Snapshot>>): Promise<void> {
  const sessions = pair.plan.map(async (session) =>
    limit(async () => {
      context.signal.throwIfAborted()
      await runPlanned(context, pair, session, input, remade)
    }),
  )
  const failed = (await Promise.allSettled(sessions)).find((one) => one.status === 'rejected')
  if (failed) throw failed.reason
}

/** Runs one planned session; a failure of the machinery becomes part of its variants' runs. */
async function runPlanned(context: Context, pair: Pair, plan: SessionPlan, input: CompareInput, remade: Map<string, Promise<Snapshot>>): Promise<void> {
  const {variants, livepatch, candidate, repeat, traced = false} = plan
  const evidence = join(pair.folder, `${[livepatch ?? candidate, variants.join('+')].filter(Boolean).join('-')}-${traced ? 'traced' : repeat + 1}`)
  try {
    const kernel = candidate !== undefined && variants.includes('patched') ? (await patch(context, pair, candidate)).kernel : pair.kernel
    const ruleset = hasRulesets(pair.one) ? await ruled(context, pair, input, candidate) : undefined
    // Before the module, though it could be made meanwhile: a run is where it says it is.
    const snapshot = await machineOf(context, pair, kernel, input)
    const loadable = livepatch === undefined ? undefined : await build(context, pair, livepatch)
    const key = input.kept && (await sessionKey(pair.one, kernel, plan, {loadable, ruleset}, input))
    const known = input.kept?.get(evidence)
    if (known && known.key === key) return takeKept(pair, plan, known)
    input.kept?.delete(evidence)
    // Of an earlier run into the same folder.
    await rm(evidence, {recursive: true, force: true})
    await mkdir(evidence, {recursive: true})
    const {probes, notes} = traced ? await prepareProbes(context, pair.one, kernel) : {probes: [], notes: []}
    if (traced && probes.length === 0) return leaveUntraced(pair, plan, notes)
    context.progress(`${traced ? 'tracing' : 'running'} ${candidate ? `${candidate}, ` : ''}${variants.join(', ')} (${pair.record.sessions.length} of ${pair.plan.length} sessions done)`)
    const session = async (machine: Snapshot) =>
      await runSession(context, {
        snapshot: machine,
        job: sessionJob(pair.one, variants, {loadable, ruleset, probes}, machine.hardware),
        limits: sessionLimits(pair.one, variants, machine.hardware),
        evidence,
      })
    const result = await session(snapshot).catch(async (error: unknown) => {
      if (!(error instanceof BadSnapshot)) throw error
      return await session(await remake(context, snapshot, remade, async () => await caseSnapshot(context, pair.one, kernel, input)))
    })
    const outcomes = await outcomesOf(pair.one, loadable?.livepatch, variants, result, evidence)
    for (const variant of variants) {
      const run = outcomes.get(variant)!
      if (traced) pair.traces.set(cellKey(variant, plan), {run, trace: await readTrace(pair.one, evidence, variant, notes)})
      else addRun(pair, plan, variant, run)
    }
    const steps = Object.fromEntries(result.steps.map(({name, seconds = 0}) => [name, seconds]))
    const record = {variants, livepatch: livepatch ?? null, candidate: candidate ?? null, traced, boot: snapshot.seconds.boot, seconds: result.seconds, steps}
    pair.record.sessions.push(record)
    const tested = candidate !== undefined && variants.includes('patched') && repeat === 0 && !traced
    if (tested) pair.selftests.set(candidate, await selftest(context, pair, candidate, input))
    // What the machinery could not do it may do the next time.
    if (key === undefined || traced || [...outcomes.values()].some(({failure}) => failure !== undefined)) return
    input.kept!.set(evidence, {key, outcomes, record, ...(tested ? {selftests: pair.selftests.get(candidate)!} : {}), kernel: kernel.key, snapshot: snapshot.key})
  } catch (error) {
    giveUp(context, pair, plan, error)
  }
}

/** All that can change what a session comes to. */
async function sessionKey(one: Case, kernel: Kernel, {variants, repeat, traced}: SessionPlan, {loadable, ruleset}: {loadable: Loadable | undefined; ruleset: KeptRuleset | undefined}, {accelerator, rootTar}: CompareInput): Promise<string> {
  const {name, reproducer, symptoms, controls} = one
  const tests = [...symptoms, ...controls].map((test) => test.name)
  const livepatch = loadable && {module: loadable.module.sha256, parameters: loadable.livepatch.parameters}
  const ran = {name, reproducer, program: await sha256File(reproducer.program), tests, devices: one.ruleset, variants, repeat, traced}
  return keyOf({...ran, kernel: kernel.key, livepatch, ruleset, accelerator, rootTar})
}

/** Takes what a session came to that nothing has changed for. */
function takeKept(pair: Pair, plan: SessionPlan, {outcomes, record, selftests}: KeptSession): void {
  for (const variant of plan.variants) addRun(pair, plan, variant, outcomes.get(variant)!)
  pair.record.sessions.push(record)
  if (selftests) pair.selftests.set(plan.candidate!, selftests)
}

/** The machine that sessions on a kernel start from, made once. */
async function machineOf(context: Context, {one, snapshots}: Pair, kernel: Kernel, input: CompareInput): Promise<Snapshot> {
  let made = snapshots.get(kernel.key)
  if (!made) {
    made = caseSnapshot(context, one, kernel, input)
    snapshots.set(kernel.key, made)
  }
  return await made
}

async function build(context: Context, pair: Pair, name: string): Promise<Loadable> {
  const {one, kernel, record} = pair
  const livepatch = livepatchOf(one, name)
  record.modules[name] ??= livepatch.madeOf ? await klpBuild(context, pair, {...livepatch, madeOf: livepatch.madeOf}) : await buildLivepatch(context, livepatch, kernel)
  return {livepatch, module: record.modules[name]}
}

/** A livepatch of a candidate's series, and what its row says of it. */
async function klpBuild(context: Context, {one, kernel, notes}: Pair, livepatch: Livepatch & Required<Pick<Livepatch, 'madeOf'>>): Promise<LivepatchModule> {
  if (!isBuilt(kernel)) throw new TypeError(`${kernel.label} is not built from a source`)
  const {path, sha256, ...functions} = await madeOfSeries(context, one, livepatch, kernel)
  // A candidate and the livepatch that is made of it have one name.
  notes.set(cellKey('livepatched', {livepatch: livepatch.name}), replacedWords(functions))
  return {path, sha256}
}

/** The kernel with a candidate's series on it, built once for all of its sessions. */
async function patch(context: Context, pair: Pair, name: string): Promise<Patched> {
  const {kernel} = pair
  if (!isBuilt(kernel)) throw new TypeError(`${kernel.label} is not built from a source`)
  let made = pair.patched.get(name)
  if (!made) {
    made = patchedWith(context, candidateOf(pair.one, name), kernel)
    pair.patched.set(name, made)
  }
  const patched = await made
  const {patches, series, tree} = patched
  const {notes = []} = await patched.kernel.image(context)
  if (!pair.notes.has(name)) pair.record.candidates.push({name, patches, series, tree})
  pair.notes.set(name, notes)
  return patched
}

/** Runs the selftests that a candidate's series brings, on base and on its kernel. */
async function selftest(context: Context, pair: Pair, candidate: string, input: CompareInput): Promise<SelftestRow[]> {
  const {one, kernel, folder} = pair
  if (!isBuilt(kernel)) return []
  const {kernel: patched, commit} = await patch(context, pair, candidate)
  const machines = {base: await machineOf(context, pair, kernel, input), patched: await machineOf(context, pair, patched, input)}
  return await runSelftests(context, {one, kernel, commit, machines, folder, candidate})
}

/** The ruleset of a candidate or of base, made and copied into the evidence once for all of its sessions. */
async function ruled(context: Context, pair: Pair, {firewall4}: CompareInput, candidate?: string): Promise<KeptRuleset> {
  const {one, rulesets, record} = pair
  const name = candidate ?? 'base'
  let made = rulesets.get(name)
  if (!made) {
    made = rulesetOf(context, one, candidate === undefined ? undefined : candidateOf(one, candidate), firewall4).then(async (ruleset) => {
      const kept = await keepRuleset(ruleset, join(pair.folder, 'rulesets'))
      const order = ['base', ...one.candidates.map(({name}) => name)]
      record.rulesets = [...record.rulesets, kept].sort((a, b) => order.indexOf(a.name) - order.indexOf(b.name))
      pair.notes.set(candidate ?? '', ruleset.notes)
      if (candidate !== undefined && ruleset.applied) record.candidates.push({name: candidate, ...ruleset.applied})
      const suite = await suiteOf(kept)
      if (suite) pair.suites.set(name, suite)
      return kept
    })
    rulesets.set(name, made)
  }
  return await made
}

/** A snapshot that does not restore is made anew, once for all sessions that start from it. */
async function remake(context: Context, bad: Snapshot, remade: Map<string, Promise<Snapshot>>, make: () => Promise<Snapshot>): Promise<Snapshot> {
  let fresh = remade.get(bad.key)
  if (!fresh) {
    fresh = forgetSnapshot(context, bad).then(make)
    remade.set(bad.key, fresh)
  }
  return await fresh
}

/** Where the runs of a cell are kept. */
function cellKey(variant: Variant, {livepatch, candidate}: Pick<SessionPlan, 'livepatch' | 'candidate'>): string {
  return [variant, livepatch ?? candidate ?? ''].join(' ')
}

function runsOf(pair: Pair, variant: Variant, plan: Pick<SessionPlan, 'livepatch' | 'candidate'> = {}): VariantRun[] {
  return pair.runs.get(cellKey(variant, plan)) ?? []
}

function addRun(pair: Pair, plan: SessionPlan, variant: Variant, run: VariantRun): void {
  pair.runs.set(cellKey(variant, plan), [...runsOf(pair, variant, plan), run])
}

/** A traced session that would record nothing is not run. */
function leaveUntraced(pair: Pair, plan: SessionPlan, notes: string[], run: VariantRun = {tests: [], splats: []}): void {
  for (const variant of plan.variants) pair.traces.set(cellKey(variant, plan), {run, trace: untraced(notes)})
}

/** What the machinery could not do is the runs' failure; anything else is not ours to explain. */
function giveUp(context: Context, pair: Pair, plan: SessionPlan, error: unknown): void {
  context.signal.throwIfAborted()
  if (!(error instanceof CouldNotRun)) throw error
  const failure = error.detail ? `${error.message}\n${error.detail}` : error.message
  const run = {tests: [], splats: [], failure}
  if (plan.traced) leaveUntraced(pair, plan, [], run)
  else for (const variant of plan.variants) addRun(pair, plan, variant, run)
}

function resultsOf(pair: Pair): Result[] {
  const {one, kernel, plan, folder} = pair
  const base = runsOf(pair, 'base')
  const fixes = plan.flatMap((session) => fixOf(one, session) ?? [])
  const results = plan
    .filter(({repeat, traced}) => repeat === 0 && !traced)
    .flatMap((session) =>
      session.variants.map((variant) => {
        const candidate = session.candidate ?? ''
        const [notes, baseNotes] = [pair.notes.get(session.livepatch === undefined ? candidate : cellKey(variant, session)), pair.notes.get('')]
        const said = {notes: variant === 'base' ? baseNotes ?? [] : ownNotes(notes, baseNotes), selftests: pair.selftests.get(candidate) ?? [], suites: suitesOf(pair, session)}
        const own = runsOf(pair, variant, session)
        const result: Result = resultOf(one, {kernel: kernel.label, variant, fixes, fix: fixOf(one, session), ...said}, {base, own}, folder)
        const left = pair.traces.get(cellKey(variant, session))
        if (!left) return result
        return {...result, trace: {...left.trace, notes: [...left.trace.notes, ...differences(left.run, own[0])]}}
      }),
    )
  const traces = compared(results.flatMap(({trace}) => trace ?? []))
  return results.map((result) => (result.trace ? {...result, trace: traces.shift()!} : result))
}

/** What the tests of the tree said on base and with the session's candidate. */
function suitesOf({suites}: Pair, {candidate = 'base'}: SessionPlan): Cell['suites'] {
  const [base, own] = [suites.get('base'), suites.get(candidate)]
  return base && own && {base, own}
}

function fixOf(one: Case, {livepatch, candidate}: SessionPlan): Fix | undefined {
  if (livepatch !== undefined) return livepatchOf(one, livepatch)
  return candidate === undefined ? undefined : candidateOf(one, candidate)
}
