import {randomBytes} from 'node:crypto'
import {NotTaken, runCopied} from '../host/copy.js'
import {type Host, type Remote, scriptOnHost} from '../host/ssh.js'
import {type Context, uninterrupted} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {readFile} from 'node:fs/promises'
import {sectionsOf} from './sections.js'

/** What is loaded, and how. */
export type Load = {
  /** The module's file here, and its name there. */
  path: string
  module: string
  buildId: string
  parameters: Readonly<Record<string, string>>
  /** How long the transition may take, in s. */
  deadline: number
  /** After how many s the livepatch is taken back unless that is called off. */
  revertAfter: number
  /** Whether a transition that does not end is forced rather than reversed. */
  force: boolean
}

export type Outcome = {
  /** The last word of the script there. */
  result: Result
  /** Of this load; the switch knows it by that. */
  id: string
  /** How long insmod and the transition took, in s. */
  seconds: number
  /** Tasks that held the transition up, with their stacks; empty where none did. */
  stalled: string
  /** The kernel's log since insmod; undefined where it no longer reaches back to it. */
  log: string | undefined
  /** What insmod said. */
  said: string
  /** How the host takes it back by itself: systemd, at, or a shell. */
  switch: string
}

export type Result =
  | 'loaded'
  | 'forced'
  | 'already'
  | 'other'
  | 'refused'
  | 'no-livepatch'
  | 'no-room'
  | 'reversed'
  | 'stuck'
  | 'busy'
  | 'unloaded'
  | 'absent'
  | 'kept'
  | 'seen'
  | 'persisted'
  | 'not-persisted'
  | 'no-modules-load'
  | 'forgotten'
  | 'still-persistent'

/** What goes on besides the transition, in ms: above all the way back, which has two minutes there. */
const ASIDE = 240_000

const SCRIPT = 'src/deploy/livepatch.sh'

/**
 * Loads a module on a host. From the moment that the script there begins it sees
 * itself through: to the end, or back.
 *
 * @throws CouldNotRun when the connection was lost, with what the host does then
 */
export async function loadOnHost(context: Context, host: Host, load: Load): Promise<Outcome> {
  const {path, module, buildId, parameters, deadline, revertAfter, force} = load
  const id = randomBytes(4).toString('hex')
  const words = [module, buildId, id, deadline, revertAfter, force ? 'force' : 'reverse', ...assignments(parameters)].map(String)
  context.signal.throwIfAborted()
  context.progress(`${host.name}: copying and loading ${module}`)
  const limits = {deadline: 4000 * deadline + ASIDE, limit: 4 << 20}
  // A transition is over sooner than it is understood where it stands.
  const {stdout} = await runWithModule(uninterrupted(context), host, {path, module}, ['load', ...words], limits).catch((error: unknown) => {
    if (!(error instanceof CouldNotRun) || error instanceof NotTaken) throw error
    const alone = `if all had arrived there, the host goes on by itself, and takes back what it loads ${revertAfter} s later unless 'patchbench livepatch keep' calls that off`
    throw new CouldNotRun(`${error.message}; ${alone}`, error.detail)
  })
  return {...outcomeOf(stdout, host), id}
}

/** A module and our script go to a host in one piece, and the script runs there and removes both. */
async function runWithModule(context: Context, host: Host, {path, module}: Pick<Load, 'path' | 'module'>, [verb, ...rest]: readonly [string, ...string[]], limits: {deadline: number; limit: number}): Promise<Remote> {
  return await runCopied(context, host, {[`${module}.ko`]: path, 'livepatch.sh': projectPath(SCRIPT)}, ['livepatch.sh', verb, ...rest], limits)
}

/** NAME=VALUE of module parameters. */
export function assignments(parameters: Readonly<Record<string, string>>): string[] {
  return Object.entries(parameters).map(([name, value]) => `${name}=${value}`)
}

export async function unloadOnHost(context: Context, host: Host, module: string, deadline: number): Promise<Outcome> {
  return await ask(context, host, ['unload', module, String(deadline)], 4000 * deadline + ASIDE)
}

/** Calls off that the host takes a livepatch back by itself; of one load alone where its id is given. */
export async function keepOnHost(context: Context, host: Host, module: string, id = ''): Promise<Outcome> {
  return await ask(context, host, ['keep', module, id])
}

/** Makes a loaded module one that is loaded at every boot of this kernel. */
export async function persistOnHost(context: Context, host: Host, {path, module, parameters}: Pick<Load, 'path' | 'module' | 'parameters'>): Promise<Outcome> {
  const {stdout} = await runWithModule(context, host, {path, module}, ['persist', module, ...assignments(parameters)], {deadline: ASIDE, limit: 1 << 20})
  return outcomeOf(stdout, host)
}

/** Throws where the host could not begin. */
export function checkBegun({result}: Outcome, host: string): void {
  if (result === 'busy') throw new CouldNotRun(`another patchbench is at work on ${host}: nothing was changed`)
  if (result === 'no-room') throw new CouldNotRun(`${host}: /run/patchbench is full, or cannot be written: nothing was changed`)
}

export async function forgetOnHost(context: Context, host: Host, module: string): Promise<Outcome> {
  return await ask(context, host, ['forget', module])
}

/** A livepatch on a host, whoever loaded it. */
export type PatchState = {
  name: string
  enabled: boolean
  transition: boolean
  buildId: string
  /** In how many s the host takes it back, and how; undefined where it does not. Where that is not alive, somebody killed it. */
  due: {seconds: number; by: string; alive: boolean} | undefined
  /** Whether it is loaded at every boot. */
  persistent: boolean
  functions: {object: string; patched: boolean; name: string}[]
  parameters: Record<string, string>
}

export type HostState = {
  release: string
  tainted: number
  /** Whether a patchbench is at work there. */
  busy: boolean
  livepatches: PatchState[]
  /** Livepatches that a switch is left for, and that are not there. */
  pending: string[]
  /** Livepatches that are loaded at boot, and that are not there. */
  atBoot: string[]
  /** The last lines of the journal there. */
  journal: string[]
}

export async function statusOfHost(context: Context, host: Host): Promise<HostState> {
  const script = await readFile(projectPath(SCRIPT), 'utf8')
  const {stdout} = await scriptOnHost(context, host, script, ['status'])
  return stateOf(sectionsOf(printable(stdout.toString('utf8'))))
}

/** The state of a livepatch that was just loaded, what the kernel said since, and its taint flags before. */
export async function lookAtHost(context: Context, host: Host, module: string): Promise<HostState & {log: string | undefined; before: number | undefined}> {
  const script = await readFile(projectPath(SCRIPT), 'utf8')
  const {stdout} = await scriptOnHost(context, host, script, ['look', module], {limit: 4 << 20})
  const sections = sectionsOf(printable(stdout.toString('utf8')))
  const before = sections.get('before')?.[0] ?? ''
  return {...stateOf(sections), log: logIn(sections), before: /^\d+$/.test(before) ? Number(before) : undefined}
}

async function ask(context: Context, host: Host, words: readonly string[], deadline = ASIDE): Promise<Outcome> {
  const script = await readFile(projectPath(SCRIPT), 'utf8')
  const {stdout} = await scriptOnHost(context, host, script, words, {deadline, limit: 4 << 20})
  return outcomeOf(stdout, host)
}

function outcomeOf(stdout: Buffer, host: Host): Outcome {
  const sections = sectionsOf(printable(stdout.toString('utf8')))
  const text = (name: string) => (sections.get(name) ?? []).join('\n')
  const result = text('result') as Result | ''
  if (result === '') throw new CouldNotRun(`${host.name} did not say what became of it: see 'patchbench livepatch status'`, printable(stdout.toString('utf8')).slice(-500))
  const stalled = [text('stalled'), text('stalled-back')].filter(Boolean).join('\n')
  return {result, id: '', seconds: Number(text('seconds')), stalled, log: logIn(sections), said: text('said'), switch: text('switch').split(' ')[0] ?? ''}
}

function logIn(sections: ReadonlyMap<string, readonly string[]>): string | undefined {
  const log = (sections.get('log') ?? []).join('\n')
  return log.startsWith('(the mark is gone)') ? undefined : log
}

function stateOf(sections: ReadonlyMap<string, readonly string[]>): HostState {
  const state: HostState = {release: '', tainted: 0, busy: false, livepatches: [], pending: [], atBoot: [], journal: [...(sections.get('journal') ?? [])]}
  for (const line of sections.get('status') ?? []) {
    const [kind = '', name = '', ...rest] = line.split(' ')
    const patch = state.livepatches.find((one) => one.name === name)
    if (kind === 'release') state.release = name
    if (kind === 'tainted') state.tainted = Number(name)
    if (kind === 'busy') state.busy = true
    if (kind === 'pending') state.pending.push(name)
    if (kind === 'at-boot') state.atBoot.push(name)
    if (kind === 'patch') {
      const [enabled, transition, buildId = ''] = rest
      state.livepatches.push({name, enabled: enabled === '1', transition: transition === '1', buildId, due: undefined, persistent: false, functions: [], parameters: {}})
    }
    if (patch && kind === 'due') patch.due = {seconds: Number(rest[0]), alive: rest[1] === 'alive', by: rest[2] ?? ''}
    if (patch && kind === 'persistent') patch.persistent = true
    if (patch && kind === 'function') patch.functions.push({object: rest[0] ?? '', patched: rest[1] === '1', name: (rest[2] ?? '').replace(/,\d+$/, '')})
    if (patch && kind === 'parameter') {
      const [parameter = '', ...value] = rest.join(' ').split('=')
      patch.parameters[parameter] = value.join('=')
    }
  }
  return state
}
