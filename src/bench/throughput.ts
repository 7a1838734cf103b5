import {mkdtemp, rm} from 'node:fs/promises'
import {tmpdir} from 'node:os'
import {join} from 'node:path'
import {type Case, livepatchOf} from '../case/case.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {type LivepatchModule} from '../livepatch/build.js'
import {type Job, type Step} from '../machine/job.js'
import {runSession} from '../machine/session.js'
import {type Snapshot} from '../machine/snapshot.js'
import {loadStep, unloadStep} from '../run/sessions.js'

/** How long a machine may take for all rounds, in ms. */
const PATIENCE = {silence: 300_000, progress: 300_000, deadline: 1_200_000}
const DEADLINE = 120

/**
 * Runs a guest program without and with a case's livepatch by turns, in one
 * boot, and compares each loaded round with the mean of its two neighbours.
 *
 * @returns for every figure that the program prints (`NAME NUMBER`), the ratio of each round
 */
export async function loadedOverUnloaded(
  context: Context,
  one: Case,
  program: string,
  module: LivepatchModule,
  snapshot: Snapshot,
  rounds: number,
): Promise<Map<string, number[]>> {
  const {reproducer} = one
  const livepatch = livepatchOf(one)
  const measure = (name: string): Step => ({op: 'reproduce', name, program: 'program', environment: {}, deadline: DEADLINE})
  const steps: Step[] = [measure('warm-up'), measure('without-0')]
  if (reproducer.modules.length > 0) steps.unshift({op: 'modprobe', name: 'modules', modules: reproducer.modules})
  for (let round = 1; round <= rounds; round++) {
    steps.push(loadStep(livepatch, `load-${round}`, 'livepatch.ko'))
    steps.push(measure(`with-${round}`))
    steps.push(unloadStep(livepatch, `unload-${round}`))
    steps.push(measure(`without-${round}`))
  }
  const figures = await runJob(context, {steps, files: {program, 'livepatch.ko': module.path}}, snapshot)
  return ratios(figures, rounds)
}

/** The median of each figure, by step and name. */
async function runJob(context: Context, job: Job, snapshot: Snapshot): Promise<Map<string, Map<string, number>>> {
  const evidence = await mkdtemp(join(tmpdir(), 'patchbench-bench-'))
  try {
    const {steps, failure} = await runSession(context, {snapshot, job, limits: PATIENCE, evidence})
    const broken = steps.find((step) => step.status !== 'done' || step.exit)
    if (failure ?? broken) throw new CouldNotRun(failure ?? `the benchmark's step ${broken!.name} failed: ${broken!.reason ?? `exit ${broken!.exit}`}`)
    return new Map(steps.map(({name, ktap}) => [name, parseFigures(ktap)]))
  } finally {
    await rm(evidence, {recursive: true, force: true})
  }
}

function parseFigures(lines: readonly string[]): Map<string, number> {
  const values = new Map<string, number[]>()
  for (const line of lines) {
    const [, name, value] = /^([\w-]+) ([\d.]+)$/.exec(line) ?? []
    if (name && value) values.set(name, [...(values.get(name) ?? []), Number(value)])
  }
  const median = (list: number[]) => [...list].sort((a, b) => a - b)[Math.floor(list.length / 2)]!
  return new Map([...values].map(([name, list]) => [name, median(list)]))
}

function ratios(figures: Map<string, Map<string, number>>, rounds: number): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const name of figures.get('without-0')?.keys() ?? []) {
    const figure = (step: string) => figures.get(step)!.get(name)!
    const list = Array.from({length: rounds}, (_, index) => {
      const neighbours = (figure(`without-${index}`) + figure(`without-${index + 1}`)) / 2
      return figure(`with-${index + 1}`) / neighbours
    })
    found.set(name, list)
  }
  return found
}
