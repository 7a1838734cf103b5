import {type Host, type HostOptions, withHost} from '../host/ssh.js'
import {type Context, uninterrupted} from '../lib/context.js'
import {CouldNotRun} from '../lib/errors.js'
import {writeJournal} from './journal.js'
import {isFit, type Row} from './preflight.js'
import {prepareFor, type Prepared, type PrepareInput} from './prepare.js'
import {checkBegun, forgetOnHost, keepOnHost, loadOnHost, type Outcome, persistOnHost, statusOfHost, unloadOnHost} from './remote.js'
import {type Check, splatCheck, verifyOnHost} from './verify.js'

export type LoadInput = PrepareInput & {
  ssh: HostOptions
  /** Whether what was loaded is looked at over a new connection, with the livepatch's probe. */
  check: boolean
  /** How long the transition may take, in s. */
  deadline: number
  /** After how many s the host takes the livepatch back by itself, once nobody called that off; undefined where only the load is to be guarded. */
  revertAfter: number | undefined
  forceUnverified: boolean
  forceTransition: boolean
  /** Whether it is loaded at every boot from now on, or no longer; undefined where that stays as it is. */
  persist: boolean | undefined
}

/**
 * `unfit`: the preflight refused. `loaded`: it is on. `taken-back`: it was on, and what was looked at afterwards was not right.
 * `reversed`, `stuck`: the transition stalled. `unsound`: it was on before, and what was looked at now is not right. `on-trial`: it is on until the host takes it back, unless somebody keeps it.
 */
export type LoadResult = 'unfit' | 'loaded' | 'on-trial' | 'already' | 'refused' | 'reversed' | 'stuck' | 'taken-back' | 'unsound'

export type Loaded = {
  release: string
  module: {name: string; sha256: string; path: string}
  preflight: Row[]
  result: LoadResult
  /** Why it is that, a sentence each. */
  reasons: string[]
  outcome: Outcome | undefined
  verification: Check[]
  /** When the host takes it back, in s from the load; null where it does not. */
  revertAfter: number | null
  persistent: boolean
}

/** The switch of a load that asks for none: longer than any load may take. */
const GUARD = 600

/**
 * Loads a case's livepatch on a host: preflight, copy, insmod, transition, and a look at what came of it. Done twice
 * it changes nothing.
 */
export async function loadLivepatch(context: Context, name: string, input: LoadInput): Promise<Loaded> {
  return await withHost(context, name, input.ssh, async (host) => {
    const prepared = await prepareFor(context, host, input)
    const {module, rows, facts} = prepared
    const about = {release: facts.release, module: {name: module.facts.name, sha256: module.sha256, path: module.path}, preflight: rows, outcome: undefined, verification: [], revertAfter: null, persistent: false}
    if (!isFit(rows, input)) return {...about, result: 'unfit', reasons: []}
    const outcome = await loadOnHost(context, host, {
      path: module.path,
      module: module.facts.name,
      buildId: module.facts.buildId ?? '',
      parameters: prepared.livepatch.parameters,
      deadline: input.deadline,
      revertAfter: input.revertAfter ?? GUARD,
      force: input.forceTransition,
    })
    const journal = async (result: string) =>
      await writeJournal(name, {verb: 'load', case: input.one.name, livepatch: prepared.livepatch.name, module: module.facts.name, sha256: module.sha256, release: facts.release, result})
    await journal(outcome.result)
    const after = await afterLoad(context, host, input, prepared, outcome)
    if (after.result !== outcome.result) await journal(after.result)
    // Where it is on, that is what there is to say; else nothing came of it, as was asked for.
    if (!['loaded', 'already', 'on-trial'].includes(after.result)) context.signal.throwIfAborted()
    return {...about, outcome, ...after}
  })
}

type After = Pick<Loaded, 'result' | 'reasons' | 'verification' | 'revertAfter' | 'persistent'>

async function afterLoad(context: Context, host: Host, input: LoadInput, prepared: Prepared, outcome: Outcome): Promise<After> {
  const nothing = {verification: [], revertAfter: null, persistent: false}
  const {said, stalled, result} = outcome
  checkBegun(outcome, host.name)
  if (result === 'other') {
    throw new CouldNotRun(`${host.name} has a ${prepared.module.facts.name} of another build, with other parameters, or in transition: unload that first, by 'patchbench livepatch unload'`)
  }
  if (result === 'already') return await confirmAgain(context, host, input, prepared)
  if (result === 'refused') return {...nothing, result, reasons: [`the kernel refused it: ${[said, outcome.log].filter(Boolean).join('; ') || 'without a word'}`]}
  if (result === 'no-livepatch') return {...nothing, result: 'refused', reasons: ['it was loaded, is no livepatch, and was removed']}
  if (result === 'reversed') return {...nothing, result, reasons: [`the transition stalled for ${input.deadline} s and was reversed; stalled tasks:\n${stalled}`]}
  if (result === 'stuck') return {...nothing, result, reasons: [`the transition stalled, and its reversal as well; the switch tries again; stalled tasks:\n${stalled}`]}
  if (result !== 'loaded' && result !== 'forced') throw new CouldNotRun(`${host.name}: the load ended as '${result}'`)
  const reasons = result === 'forced' ? [`the transition stalled and was forced: the module can never be removed; stalled tasks:\n${stalled}`] : []
  return await confirm(context, host, input, prepared, {outcome, reasons})
}

/** What was on before stays on; one that nobody had kept is kept when it was found to be right. */
async function confirmAgain(context: Context, host: Host, input: LoadInput, prepared: Prepared): Promise<After> {
  const {check, ssh, revertAfter} = input
  const {name} = prepared.module.facts
  const verification = check ? await looksRight(context, host, ssh, prepared) : []
  const failed = verification.filter(({status}) => status === 'failed')
  if (failed.length > 0) return {result: 'unsound', reasons: failed.map(({check: what, reason}) => `${what}: ${reason}`), verification, revertAfter: null, persistent: false}
  if (check) await keepOnHost(context, host, name)
  const due = check ? undefined : (await statusOfHost(context, host)).livepatches.find((one) => one.name === name)?.due
  if (due && !due.alive) throw new CouldNotRun(`${host.name}: ${name} is loaded already, on a trial that nothing ends any more (its switch, ${due.by}, was killed): 'patchbench livepatch keep' or 'unload' it`)
  if (!check && !due && revertAfter !== undefined) throw new CouldNotRun(`${host.name}: ${name} is loaded already and stays, and a trial begins with the load: unload it first, or leave --revert-after out`)
  const reasons = due && revertAfter !== undefined ? ['--revert-after does not change a trial that goes on'] : []
  return {result: 'already', reasons, verification, revertAfter: due?.seconds ?? null, persistent: await persist(context, host, input, prepared)}
}

/** Looks at what was loaded, and calls the switch off or takes the livepatch back. */
async function confirm(context: Context, host: Host, input: LoadInput, prepared: Prepared, {outcome, reasons}: {outcome: Outcome; reasons: string[]}): Promise<After> {
  const {facts} = prepared.module
  const {check, revertAfter, deadline, ssh} = input
  // What was begun here is ended here: an interruption takes it back as well.
  const own = uninterrupted(context)
  const takeBack = async (why: string[], verification: Check[]): Promise<After> => {
    context.progress(`${host.name}: taking ${facts.name} back`)
    const {result, stalled} = await unloadOnHost(own, host, facts.name, deadline).catch((error: unknown) => {
      if (!(error instanceof CouldNotRun)) throw error
      const due = `${error.message}; the livepatch is to go (${why.join('; ') || 'interrupted'}), and the host takes it back by itself within ${revertAfter ?? GUARD} s`
      throw new CouldNotRun(due, error.detail)
    })
    const stays = result === 'unloaded' ? [] : [`it could not be taken back (${result})${stalled && `; stalled tasks:\n${stalled}`}`]
    if (stays.length === 0) {
      context.progress(`${host.name}: ${facts.name} is taken back`)
      context.signal.throwIfAborted()
    }
    return {result: stays.length > 0 ? 'stuck' : 'taken-back', reasons: [...reasons, ...why, ...stays], verification, revertAfter: null, persistent: false}
  }
  if (context.signal.aborted) return await takeBack([], [])
  const log = splatCheck(outcome.log)
  if (log.status === 'failed') return await takeBack([`the kernel complained: ${log.reason}`], [log])
  const verification = check ? await looksRight(context, host, ssh, prepared) : []
  const failed = verification.filter(({status}) => status === 'failed')
  if (context.signal.aborted || failed.length > 0) return await takeBack(failed.map(({check: what, reason}) => `${what}: ${reason}`), verification)
  if (!check && revertAfter !== undefined) return {result: 'on-trial', reasons, verification, revertAfter, persistent: false}
  const kept = await keepOnHost(own, host, facts.name, outcome.id)
  if (kept.result !== 'kept') throw new CouldNotRun(`${host.name}: the livepatch was taken back by the host meanwhile (${kept.result}): give it more time by --revert-after`)
  return {result: 'loaded', reasons, verification, revertAfter: null, persistent: await persist(own, host, input, prepared)}
}

async function looksRight(context: Context, host: Host, ssh: HostOptions, {module, livepatch}: Prepared): Promise<Check[]> {
  context.progress(`${host.name}: verifying`)
  const wanted = {module: module.facts.name, buildId: module.facts.buildId ?? '', probe: livepatch.probe}
  try {
    return await withHost(context, host.name, ssh, async (anew) => await verifyOnHost(context, anew, wanted))
  } catch (error) {
    if (context.signal.aborted) return []
    if (!(error instanceof CouldNotRun)) throw error
    return [{check: 'connection', status: 'failed', reason: `${error.message}${error.detail && `: ${error.detail.split('\n')[0]}`}`}]
  }
}

async function persist(context: Context, host: Host, {persist: wanted, one}: LoadInput, {module, livepatch}: Prepared): Promise<boolean> {
  if (wanted === undefined) return false
  const journal = async (verb: 'persist' | 'forget', result: string) => await writeJournal(host.name, {verb, case: one.name, livepatch: livepatch.name, module: module.facts.name, result})
  if (!wanted) {
    const {result: gone, said} = await forgetOnHost(context, host, module.facts.name)
    await journal('forget', gone)
    if (gone === 'still-persistent') throw new CouldNotRun(`${host.name}: it is loaded, and at every boot as before:${said} cannot be removed`)
    return false
  }
  const {result} = await persistOnHost(context, host, {path: module.path, module: module.facts.name, parameters: livepatch.parameters})
  await journal('persist', result)
  if (result === 'no-modules-load') throw new CouldNotRun(`${host.name} has no /etc/modules-load.d, so nothing there loads modules at boot: the livepatch is loaded, and ends with the next boot`)
  if (result !== 'persisted') throw new CouldNotRun(`${host.name}: the livepatch is loaded, and could not be made persistent: /lib/modules, /etc/modprobe.d or /etc/modules-load.d cannot be written`)
  return true
}
