import {join} from 'node:path'
import {type Case, livepatchOf, loadCase} from '../../src/case/case.js'
import {type Kernel} from '../../src/kernel/kernel.js'
import {packagedKernel} from '../../src/kernel/packaged.js'
import {cacheDirectory} from '../../src/lib/cache.js'
import {type Context} from '../../src/lib/context.js'
import {buildLivepatch} from '../../src/livepatch/build.js'
import {type Step} from '../../src/machine/job.js'
import {runSession, type SessionResult} from '../../src/machine/session.js'
import {caseSnapshot} from '../../src/run/machines.js'
import {type Loadable} from '../../src/run/sessions.js'
import {scratch} from './patchbench.js'

/** Whether the tests that take long are wanted: `npm run test:long`. */
export const LONG = Boolean(process.env.PATCHBENCH_LONG)

const PATIENCE = {silence: 600_000, progress: 600_000, deadline: 1_800_000}

export const context: Context = {signal: new AbortController().signal, cache: cacheDirectory(), progress: () => {}}

/** A livepatch of a shipped case, built for a kernel. */
export async function built(one: Case, kernel: Kernel): Promise<Loadable> {
  const livepatch = livepatchOf(one)
  return {livepatch, module: await buildLivepatch(context, livepatch, kernel)}
}

export async function kernelAndCases(line: string, names: readonly string[]): Promise<{kernel: Kernel; cases: Case[]}> {
  return {kernel: await packagedKernel(context, line), cases: await Promise.all(names.map(async (name) => await loadCase(name)))}
}

/** Runs steps of the test's own in a machine that fits a case; the evidence's folder comes with the result. */
export async function runSteps(
  one: Case,
  kernel: Kernel,
  steps: readonly Step[],
  files: Record<string, string>,
): Promise<SessionResult & {evidence: string}> {
  const evidence = join(await scratch(), 'evidence')
  const snapshot = await caseSnapshot(context, one, kernel, {accelerator: 'tcg'})
  const result = await runSession(context, {snapshot, job: {steps, files}, limits: PATIENCE, evidence})
  return {...result, evidence}
}
