import {mkdir, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {type Context} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {lastLines} from '../lib/process.js'
import {printable} from '../lib/text.js'
import {readEvidence} from './evidence.js'
import {type Job, packJob} from './job.js'
import {describeEnding, type Ending, type Limits, watch} from './monitor.js'
import {type GuestEvent} from './protocol.js'
import {type Machine, startMachine, STATE} from './qemu.js'
import {Qmp} from './qmp.js'
import {CAPABILITIES, migrated, type Snapshot} from './snapshot.js'

/** What became of one step of a session. */
export type StepResult = {
  name: string
  /** `failed` carries the guest's reason; `unfinished` means that the machine was lost before its end. */
  status: 'done' | 'failed' | 'unfinished'
  reason?: string
  /** The program's exit code. */
  exit?: number
  /** On the guest's clock. */
  seconds?: number
  /** KTAP lines as they arrived: they survive the machine. */
  ktap: string[]
}

export type SessionResult = {
  steps: StepResult[]
  /** Why the machine was lost, and the end of its console; undefined when it did its job to the end. */
  failure?: string
  console: string
  /** On the host's clock, in s: until the machine ran again, and in all. */
  seconds: {restore: number; total: number}
}

/** How long the rest of the evidence may take when the guest says that it has sent all of it, in ms. */
const ARRIVAL = 30_000

/** How much of the console is told of a machine that was lost. */
const CONSOLE_LINES = 10

export type SessionOptions = {
  snapshot: Snapshot
  job: Job
  limits: Limits
  /** Where the evidence goes, a folder a step; created. */
  evidence: string
  onEvent?: (event: GuestEvent) => void
}

/** A snapshot that QEMU could not restore. */
export class BadSnapshot extends CouldNotRun {
  override name = 'BadSnapshot'
}

/**
 * Restores a machine, gives it a job, and brings its evidence home.
 *
 * @throws BadSnapshot when the snapshot does not restore
 */
export async function runSession(context: Context, options: SessionOptions): Promise<SessionResult> {
  const started = Date.now()
  await mkdir(options.evidence, {recursive: true})
  const machine = await restore(context, options.snapshot)
  try {
    const restored = Date.now()
    const followed = await follow(context, machine, options)
    const seconds = {restore: (restored - started) / 1000, total: (Date.now() - started) / 1000}
    await writeFile(join(options.evidence, 'console.log'), followed.console)
    return {...followed, seconds}
  } finally {
    await machine.kill()
    context.signal.throwIfAborted()
  }
}

/** A machine in the state of the snapshot, running. */
export async function restore(context: Context, {hardware, folder}: Snapshot): Promise<Machine> {
  const machine = startMachine(context, hardware, {folder, shared: false, arguments: ['-incoming', 'defer']})
  try {
    const qmp = await Qmp.connect(machine.monitor)
    await qmp.execute('migrate-set-capabilities', CAPABILITIES)
    await qmp.execute('migrate-incoming', {uri: STATE.read})
    await migrated(qmp)
    await qmp.execute('cont')
    return machine
  } catch (error) {
    await machine.kill()
    context.signal.throwIfAborted()
    throw new BadSnapshot(`the snapshot does not restore: QEMU ended ${(await machine.ended).how}`, String(error))
  }
}

async function follow(context: Context, machine: Machine, {job, limits, evidence, onEvent}: SessionOptions) {
  const steps: StepResult[] = job.steps.map(({name}) => ({name, status: 'unfinished', ktap: []}))
  let console = ''
  // Read from the start: the guest says that it has ended when all of it is sent.
  const arrival = readEvidence(machine.outward, evidence).catch((error: unknown) => error)
  machine.inward.write(await packJob(job))
  let current = 0
  const ending = await watch({
    machine,
    limits,
    onConsole: (text) => (console += text),
    onEvent: (event) => {
      onEvent?.(event)
      if (event.event === 'step') current = event.index
      note(steps[current], event)
      return event.event === 'end'
    },
  })
  context.signal.throwIfAborted()
  const why = await whyLost(ending, arrival, steps[current]?.name ?? 'starting')
  return {steps, console, ...(why === undefined ? {} : {failure: `${why}\n${lastLines(printable(console), CONSOLE_LINES)}`.trimEnd()})}
}

function note(step: StepResult | undefined, event: GuestEvent): void {
  if (!step) return
  if (event.event === 'ktap') step.ktap.push(event.line)
  if (event.event === 'failed') Object.assign(step, {status: 'failed', reason: event.reason})
  if (event.event === 'done') {
    const {seconds, exit} = event
    Object.assign(step, {status: 'done', seconds, ...(exit === undefined ? {} : {exit})})
  }
}

/** Why a session is no result; undefined when the machine did its job and all of its evidence is here. */
async function whyLost(ending: Ending, arrival: Promise<unknown>, step: string): Promise<string | undefined> {
  if (ending.kind !== 'reached') return describeEnding(ending, `doing '${step}'`)
  const late = new Promise((resolve) => setTimeout(resolve, ARRIVAL, new Error('it was announced longer than it is')).unref())
  const error = await Promise.race([arrival, late])
  return error === undefined ? undefined : `the evidence did not arrive: ${error instanceof Error ? lastLines(error.message, 1) : String(error)}`
}
