import {mkdir, mkdtemp, rm} from 'node:fs/promises'
import {join} from 'node:path'
import {type Case} from '../case/case.js'
import {type BuiltKernel} from '../kernel/built.js'
import {changedPaths} from '../kernel/copy.js'
import {type Context} from '../lib/context.js'
import {makeFolder} from '../lib/files.js'
import {projectPath} from '../lib/project.js'
import {type Step} from '../machine/job.js'
import {runSession} from '../machine/session.js'
import {type Snapshot} from '../machine/snapshot.js'
import {checkOutSelftests, type Collection, selftestsOf} from '../tree/selftests.js'
import {parseKtap, type TestOutcome} from '../verdict/ktap.js'
import {type Selftest} from '../verdict/selftests.js'
import {selftestLimits} from './sessions.js'

/** A selftest's outcome, with what it printed. */
export type SelftestRow = Selftest & {observed: {base: string; patched: string}}

export type SelftestInput = {
  one: Case
  kernel: BuiltKernel
  /** The commit of the source with the series. */
  commit: string
  /** The machines that are compared, booted. */
  machines: {base: Snapshot; patched: Snapshot}
  /** The folder of the case on this kernel, and the candidate's name in it. */
  folder: string
  candidate: string
}

/**
 * Runs the selftests that a series brings, on base and on the series' kernel,
 * each in a session of its own: what they leave behind is in nobody's way.
 */
export async function runSelftests(context: Context, input: SelftestInput): Promise<SelftestRow[]> {
  const {source} = input.kernel
  const paths = await changedPaths(context.signal, source.directory, source.commit, input.commit)
  const collections = await selftestsOf(context.signal, source.directory, input.commit, paths)
  if (collections.length === 0) return []
  const home = join(context.cache, 'scratch')
  await makeFolder(home)
  const scratch = await mkdtemp(join(home, 'selftests-'))
  try {
    await checkOutSelftests(context.signal, source.directory, input.commit, collections, scratch)
    const base = await outcomesOn(context, input, 'base', collections, scratch)
    const patched = await outcomesOn(context, input, 'patched', collections, scratch)
    return collections.flatMap(({name, tests}) => tests.map((test) => rowOf(`selftests: ${name}: ${test}`, base, patched)))
  } finally {
    await rm(scratch, {recursive: true, force: true})
  }
}

async function outcomesOn(context: Context, {one, machines, folder, candidate}: SelftestInput, on: 'base' | 'patched', collections: readonly Collection[], files: string): Promise<TestOutcome[]> {
  const snapshot = machines[on]
  context.progress(`running ${candidate}'s selftests on ${on}`)
  const evidence = join(folder, `${candidate}-selftests-${on}`)
  await mkdir(evidence, {recursive: true})
  const limits = selftestLimits(one, collections.length, snapshot.hardware)
  const steps = collections.map((collection) => selftestStep(collection, limits.each))
  const {steps: results} = await runSession(context, {snapshot, job: {steps, files: {run: projectPath('vm/selftests'), selftests: files}}, limits, evidence})
  return results.flatMap(({ktap}) => parseKtap(ktap.join('\n')).tests)
}

function selftestStep({name, tests}: Collection, deadline: number | undefined): Step {
  const environment = {PATCHBENCH_COLLECTION: name, PATCHBENCH_TESTS: tests.join('\n')}
  return {op: 'reproduce', name: `selftests-${name.replaceAll('/', '-')}`, program: 'run', environment, ...(deadline === undefined ? {} : {deadline})}
}

function rowOf(name: string, base: readonly TestOutcome[], patched: readonly TestOutcome[]): SelftestRow {
  // The runner says behind a failed test's name why: `# exit=1`, `# TIMEOUT 45 seconds`.
  const find = (outcomes: readonly TestOutcome[]) => outcomes.find((outcome) => outcome.name === name || outcome.name.startsWith(`${name} #`))
  const [before, after] = [find(base), find(patched)]
  return {name, base: before?.status ?? null, patched: after?.status ?? null, observed: {base: before?.observed ?? '', patched: after?.observed ?? ''}}
}
