import {basename, resolve} from 'node:path'
import {type Case, livepatchOf, loadCase} from '../case/case.js'
import {kernelFromHost, kernelOfName} from '../deploy/headers.js'
import {hostsOf} from '../deploy/hosts.js'
import {writeJournal} from '../deploy/journal.js'
import {loadLivepatch, type LoadInput, type Loaded} from '../deploy/load.js'
import {isFit, type Row, type Verified} from '../deploy/preflight.js'
import {prepareFor, type PrepareInput} from '../deploy/prepare.js'
import {checkBegun, type HostState, keepOnHost, type Outcome, statusOfHost, unloadOnHost} from '../deploy/remote.js'
import {recallVerified, rememberVerified} from '../deploy/verified.js'
import {type Check} from '../deploy/verify.js'
import {type Host, type HostOptions, withHost} from '../host/ssh.js'
import {type Kernel} from '../kernel/kernel.js'
import {kernelOfRelease} from '../kernel/packaged.js'
import {type Context, uninterrupted} from '../lib/context.js'
import {CouldNotRun, EXIT, InputError, Interrupted} from '../lib/errors.js'
import {printable} from '../lib/text.js'
import {type LivepatchModule} from '../livepatch/build.js'
import {signingKey} from '../livepatch/sign.js'
import {type Accelerator} from '../machine/qemu.js'
import {plainTable} from '../report/table.js'
import {compareTargets, withFixes} from './compare.js'
import {chosenKernels, type KernelOptions, onlyOne} from './kernels.js'
import {refuseIdle} from './options.js'
import {inRunFolder} from './runfolder.js'

export type HostsOptions = {host: string[]; hosts?: string; sshConfig?: string; json?: boolean}

export type PreflightOptions = HostsOptions & Pick<KernelOptions, 'kernel' | 'modules' | 'headers'> & {
  cases?: string
  livepatch?: string
  accel: Accelerator | 'auto'
  root?: string
  forceUnverified?: boolean
  sign?: string | true
  buildOn: 'here' | 'host'
}

export type LoadOptions = PreflightOptions & {verify?: boolean; deadline: number; revertAfter?: number; forceTransition?: boolean; persist?: boolean}

type Told = {text: string; exit: number; /** What went wrong, by host; for standard error. */ complaints: string[]}

/** What came of one host: what is printed of it, and what its part of the JSON holds. */
type PerHost = {host: string; exit: number; text: string; facts: object}

/** `patchbench livepatch preflight CASE`: whether the case's livepatch may be loaded on hosts. */
export async function preflightCommand(context: Context, name: string, options: PreflightOptions): Promise<Told> {
  const input = await inputFor(context, name, options)
  const ssh = sshOf(options)
  const results = await sideBySide(context, await hostsOf(options.host, options.hosts), async (own, host) => {
    const {rows, facts, module} = await withHost(own, host, ssh, async (connected) => await prepareFor(own, connected, input))
    const fit = isFit(rows, options)
    return {
      host,
      exit: fit ? EXIT.ok : EXIT.missed,
      text: `${rowsTable(rows)}\n\n${host} (${facts.release}): ${fit ? 'fit' : 'not fit'} for ${module.facts.name}`,
      facts: {release: facts.release, module: {name: module.facts.name, path: module.path, sha256: module.sha256}, fit, preflight: rows},
    }
  })
  return told(results, {case: name, livepatch: input.livepatch.name}, options)
}

/** `patchbench livepatch load CASE`: on one host after another, and on no more after one where it failed. */
export async function loadCommand(context: Context, name: string, options: LoadOptions): Promise<Told> {
  const prepared = await inputFor(context, name, options)
  const {deadline, revertAfter} = options
  const least = 2 * deadline + 30
  if (revertAfter !== undefined && revertAfter < least) throw new InputError(`--revert-after: a load may take ${least} s with this --deadline: give it more`)
  const input: LoadInput = {
    ...prepared,
    ...{ssh: sshOf(options), check: options.verify === true, deadline, revertAfter},
    ...{forceUnverified: options.forceUnverified === true, forceTransition: options.forceTransition === true, persist: options.persist},
  }
  if (input.persist === true && revertAfter !== undefined && !input.check) throw new InputError('--persist is for good, and --revert-after for a trial: add --verify, or leave one of them')
  const results = await oneByOne(context, await hostsOf(options.host, options.hosts), async (own, host) => {
    const loaded = await loadLivepatch(own, host, input)
    return {host, exit: exitOf(loaded), text: loadedText(host, loaded), facts: loaded}
  })
  return told(results, {case: name, livepatch: input.livepatch.name}, options)
}

/** `patchbench livepatch unload CASE`: on one host after another. */
export async function unloadCommand(context: Context, name: string, options: HostsOptions & {cases?: string; livepatch?: string; deadline: number}): Promise<Told> {
  return await changeHosts(context, name, options, {
    verb: 'unload',
    change: async (own, host, module) => await unloadOnHost(own, host, module, options.deadline),
    says: {unloaded: 'unloaded', absent: 'was not loaded'},
  })
}

/** `patchbench livepatch keep CASE`: what is on trial stays. */
export async function keepCommand(context: Context, name: string, options: HostsOptions & {cases?: string; livepatch?: string}): Promise<Told> {
  return await changeHosts(context, name, options, {
    verb: 'keep',
    change: async (own, host, module) => await keepOnHost(own, host, module),
    says: {kept: 'stays', already: 'stays already'},
    missed: {absent: 'is not loaded and enabled: it may have been taken back meanwhile'},
  })
}

type ChangeOfHosts = {
  verb: 'unload' | 'keep'
  change: (context: Context, host: Host, module: string) => Promise<Outcome>
  /** What the results that are right mean, and those that are not. */
  says: Partial<Record<Outcome['result'], string>>
  missed?: Partial<Record<Outcome['result'], string>>
}

async function changeHosts(
  context: Context,
  name: string,
  options: HostsOptions & {cases?: string; livepatch?: string},
  {verb, change, says, missed = {}}: ChangeOfHosts,
): Promise<Told> {
  const livepatch = livepatchOf(await loadCase(name, options.cases && resolve(options.cases)), options.livepatch)
  const {module} = livepatch
  const results = await oneByOne(context, await hostsOf(options.host, options.hosts), async (own, host) => {
    // A script that has begun sees itself through; we wait for what it says.
    const outcome = await withHost(own, host, sshOf(options), async (connected) => await change(uninterrupted(own), connected, module))
    const {result, stalled, said} = outcome
    await writeJournal(host, {verb, case: name, livepatch: livepatch.name, module, result})
    checkBegun(outcome, host)
    if (result === 'still-persistent') throw new CouldNotRun(`${host}: ${module} is not loaded any more, but will be at the next boot:${said} cannot be removed`)
    const words = says[result] ?? missed[result]
    if (words === undefined) throw new CouldNotRun(`${host}: ${module} stays: ${said.split('\n')[0] || result}`, stalled && `stalled tasks:\n${stalled}`)
    return {host, exit: says[result] === undefined ? EXIT.missed : EXIT.ok, text: `${host}: ${module} ${words}`, facts: {module, result}}
  })
  return told(results, {case: name, livepatch: livepatch.name}, options)
}

/** `patchbench livepatch status [CASE]`: what is loaded on hosts, by whomever. */
export async function statusCommand(context: Context, name: string | undefined, options: HostsOptions & {cases?: string; livepatch?: string}): Promise<Told> {
  const module = name === undefined ? undefined : livepatchOf(await loadCase(name, options.cases && resolve(options.cases)), options.livepatch).module
  const results = await sideBySide(context, await hostsOf(options.host, options.hosts), async (own, host) => {
    const state = await withHost(own, host, sshOf(options), async (connected) => await statusOfHost(own, connected))
    const livepatches = state.livepatches.filter((one) => module === undefined || one.name === module)
    // Asked for one, its absence is an answer that scripts want to see.
    const exit = module !== undefined && !livepatches.some(({enabled}) => enabled) ? EXIT.missed : EXIT.ok
    return {host, exit, text: statusText(host, {...state, livepatches}, module), facts: {...state, livepatches}}
  })
  return told(results, {case: name ?? null}, options)
}

/** The case's livepatch, and how it is built and verified. */
async function inputFor(context: Context, name: string, options: PreflightOptions): Promise<PrepareInput> {
  const one = await loadCase(name, options.cases && resolve(options.cases))
  const livepatch = livepatchOf(one, options.livepatch)
  const {buildOn} = options
  if (buildOn === 'host') refuseIdle({headers: options.headers}, 'is about building here, and --build-on host takes the headers that are there: leave one of them out')
  const fromHost = options.headers === 'host'
  if (fromHost && options.kernel !== undefined) throw new InputError('--headers host are those of the kernel that the host runs: leave --kernel out')
  const given = options.kernel === undefined && options.modules === undefined ? undefined : onlyOne(await chosenKernels(context, options))
  const runs = new Map<string, Promise<Verified | string>>()
  return {
    ...{one, livepatch, buildOn, sign: options.sign === undefined ? undefined : await signingKey(options.sign)},
    kernelOf: async (own, host, release) => await kernelFor(own, host, release, {given, fromHost, buildOn}),
    verify: async (own, wanted, kernel, module) => {
      const known = await recallVerified(own, wanted, kernel, module)
      if (known) return known
      if (options.forceUnverified) return 'it was not tried in a machine here (--force-unverified)'
      if (kernel.imageless) return `there is no image of ${printable(kernel.release)} to boot here`
      // Of hosts that are asked at once, several may run it.
      const key = `${kernel.key} ${module.sha256}`
      let run = runs.get(key)
      if (run === undefined) {
        run = verifyHere(own, withFixes(one, {livepatch: [wanted.name], candidate: []}), {kernel, modules: {[wanted.name]: module}}, options)
        runs.set(key, run)
      }
      const verified = await run
      if (typeof verified !== 'string') await rememberVerified(own, wanted, kernel, module, verified)
      return verified
    },
  }
}

/** Runs a case on base and with its only livepatch in a machine here. */
async function verifyHere(context: Context, one: Case, {kernel, modules}: {kernel: Kernel; modules: Record<string, LivepatchModule>}, {accel, root}: PreflightOptions): Promise<Verified | string> {
  const command = `patchbench livepatch preflight ${one.name}`
  const targets = [{one, kernel, variants: ['base', 'livepatched', 'reverted'] as const, modules}]
  const options = {repeat: 1, trace: false, keepGoing: true, accel, ...(root === undefined ? {} : {root})}
  const {comparison, folder} = await inRunFolder(context, undefined, async (place) => await compareTargets(context, targets, options, {...place, command}))
  const {results} = comparison
  const failed = results.find(({verdict}) => verdict === 'could-not-run')
  if (failed) return `it could not be run in a machine here: ${failed.reasons[0] ?? 'no reason is known'}`
  const {verdict} = results.find(({variant}) => variant === 'livepatched')!
  return {run: basename(folder), kernel: kernel.label, verdict, asExpected: results.every((result) => result.verdict === result.expected), date: new Date().toISOString()}
}

/** The kernel of a host's release: the one that was named, the distribution's, or what the host itself has of it. */
async function kernelFor(context: Context, host: Host, release: string, {given, fromHost, buildOn}: {given: Kernel | undefined; fromHost: boolean; buildOn: 'here' | 'host'}): Promise<Kernel> {
  if (given !== undefined && given.release !== release) throw new InputError(`the host runs ${printable(release)}, and --kernel is ${given.release}: name the one that it runs`)
  const kernel = given ?? (fromHost ? await kernelFromHost(context, host, release) : await kernelOfRelease(context, release))
  if (kernel) return kernel
  if (buildOn === 'host') return kernelOfName(release)
  if (fromHost) throw new InputError(`${host.name} has no headers of the kernel ${printable(release)} that it runs: install them there`)
  throw new InputError(`the archive has no kernel ${printable(release)}: take the host's own headers by --headers host, build there by --build-on host, or name files of yours as --kernel VMLINUZ --modules DIR --headers DIR`)
}

/** Hosts that only answer are asked at once; all of them end before the first failure is thrown. */
async function sideBySide(context: Context, hosts: readonly string[], work: (context: Context, host: string) => Promise<PerHost>): Promise<PerHost[]> {
  const results = await Promise.allSettled(hosts.map(async (host) => await work(context, host)))
  context.signal.throwIfAborted()
  const failed = results.find((one) => one.status === 'rejected')
  if (hosts.length === 1 && failed) throw failed.reason
  return results.map((one, index) => (one.status === 'fulfilled' ? one.value : notDone(hosts[index]!, one.reason)))
}

/** Changes one host after another, and none after one where it failed. */
async function oneByOne(context: Context, hosts: readonly string[], work: (context: Context, host: string) => Promise<PerHost>): Promise<PerHost[]> {
  const results: PerHost[] = []
  for (const host of hosts) {
    if (context.signal.aborted) {
      results.push({host, exit: EXIT.interrupted, text: `${host}: not begun`, facts: {result: 'not-begun'}})
      continue
    }
    if (results.some(({exit}) => exit !== EXIT.ok)) {
      results.push({host, exit: EXIT.couldNotRun, text: `${host}: not begun, because of the host before`, facts: {result: 'not-begun'}})
      continue
    }
    try {
      results.push(await work(context, host))
    } catch (error) {
      if (hosts.length === 1) throw error
      results.push(error instanceof Interrupted ? {host, exit: EXIT.interrupted, text: `${host}: interrupted, and as it was before`, facts: {result: 'interrupted'}} : notDone(host, error))
    }
  }
  return results
}

/** A failure of one of several hosts; what is a bug of ours is thrown. */
function notDone(host: string, error: unknown): PerHost {
  if (!(error instanceof CouldNotRun) && !(error instanceof InputError)) throw error
  const detail = error instanceof CouldNotRun ? error.detail : ''
  return {host, exit: error instanceof InputError ? EXIT.input : EXIT.couldNotRun, text: [`${host}: ${error.message}`, detail].filter(Boolean).join('\n'), facts: {error: error.message, detail}}
}

function told(results: readonly PerHost[], about: object, {json}: HostsOptions): Told {
  const exit = results.find((one) => one.exit !== EXIT.ok)?.exit ?? EXIT.ok
  const failed = (one: PerHost) => 'error' in one.facts
  const complaints = results.filter(failed).map(({text}) => text)
  if (json) return {text: JSON.stringify({schema: 1, ...about, hosts: results.map(({host, exit: own, facts}) => ({host, exit: own, ...facts}))}, null, 2), exit, complaints}
  return {text: results.filter((one) => !failed(one)).map(({text}) => printable(text)).join('\n\n'), exit, complaints}
}

function exitOf({result}: Loaded): number {
  if (result === 'unfit' || result === 'taken-back' || result === 'unsound') return EXIT.missed
  return result === 'refused' || result === 'reversed' || result === 'stuck' ? EXIT.couldNotRun : EXIT.ok
}

function rowsTable(rows: readonly (Row | Check)[]): string {
  return plainTable(['check', '', 'why'], rows.map((row) => [row.check, row.status, 'todo' in row && row.todo !== '' ? `${row.reason}: ${row.todo}` : row.reason]))
}

function loadedText(host: string, {preflight, module, result, reasons, outcome, verification, revertAfter, persistent}: Loaded): string {
  // Of a host that is fit, its rows are what nobody asked for.
  const rows = result === 'unfit' ? [rowsTable(preflight), ''] : preflight.filter(({status}) => status !== 'passed').map(({check, status, reason}) => `${check}: ${status}: ${reason}`)
  const checks = verification.length > 0 ? [rowsTable(verification), ''] : []
  const words: Record<Loaded['result'], string> = {
    'unfit': 'not fit; nothing was copied',
    'loaded': `loaded${outcome && outcome.seconds > 0 ? ` in ${outcome.seconds} s` : ''}`,
    'on-trial': `loaded on trial: in ${revertAfter} s the host takes it back, unless 'patchbench livepatch keep' says that it stays`,
    'already': `loaded already${revertAfter === null ? '' : `, on trial for ${revertAfter} s more`}`,
    'refused': 'not loaded',
    'reversed': 'not loaded',
    'stuck': 'NEITHER LOADED NOR UNLOADED',
    'taken-back': 'was loaded and taken back',
    'unsound': 'loaded already, and not as it should be',
  }
  return [...rows, ...checks, `${host}: ${module.name} ${words[result]}${persistent ? ', and at every boot of this kernel' : ''}`, ...reasons].join('\n')
}

function statusText(host: string, {release, busy, livepatches, pending, atBoot, journal}: HostState, module: string | undefined): string {
  const rows = livepatches.map(({name, enabled, transition, functions, due, persistent}) => [
    name,
    transition ? 'in transition' : enabled ? 'enabled' : 'disabled',
    functions.map(({object, name: target, patched}) => `${object}:${target}${patched ? '' : ' (not yet)'}`).join(' '),
    [due && (due.alive ? `taken back in ${due.seconds} s by ${due.by}` : `on trial, and its switch (${due.by}) was killed: nothing takes it back`), persistent && 'loaded at boot'].filter(Boolean).join(', '),
  ])
  const none = module === undefined ? 'no livepatch is loaded' : `${module} is not loaded`
  return [
    `${host}: ${release}${busy ? ', a patchbench is at work there' : ''}`,
    rows.length > 0 ? plainTable(['livepatch', 'state', 'functions', ''], rows) : none,
    ...pending.map((name) => `${name}: is not there, but the switch of its load is still set`),
    ...atBoot.map((name) => `${name}: is not there, but is loaded at every boot`),
    ...(journal.length > 0 ? ['', ...journal.slice(-5)] : []),
  ].join('\n')
}

function sshOf({sshConfig}: {sshConfig?: string}): HostOptions {
  return {config: sshConfig === undefined ? undefined : resolve(sshConfig)}
}
