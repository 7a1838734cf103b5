// Whether a livepatch may be loaded on a host: judged from what the host said of itself and what the module says of
// itself. Pure: no process, no file, no clock.

import {type ModuleFacts} from '../livepatch/elf.js'
import {type HostFacts, type LoadedLivepatch} from './facts.js'

export type Row = {
  check: Check
  /** `not-known` where the host does not let it be seen; the kernel has the last word then. */
  status: 'passed' | 'failed' | 'not-known'
  reason: string
  /** What to do about it; empty where nothing is. */
  todo: string
}

export type Check =
  | 'access'
  | 'kernel'
  | 'livepatching'
  | 'vermagic'
  | 'symbols'
  | 'functions'
  | 'tracers'
  | 'modules'
  | 'signature'
  | 'taint'
  | 'livepatches'
  | 'memory'
  | 'verified'

/** What is to be loaded. */
export type Plan = {
  module: ModuleFacts
  /** Kernel lines that the livepatch is for. */
  lines: readonly string[]
  /** Bytes of the module's file. */
  size: number
  /** Build of the kernel that the module was built for, as uname -v; undefined where it is not known. */
  builtFor: string | undefined
  /** Build IDs of modules as the kernel's package has them, by name. */
  packaged: Readonly<Record<string, string>>
  /** Of the module's signature, in hexadecimal: the identifier or serial number of the key; undefined where there is none, or it is not known. */
  signer: string | undefined
  /** The run in a machine here that says what the livepatch is worth on this kernel; undefined where there is none. */
  verified: Verified | undefined
  /** Why there is no such run. */
  whyUnverified: string
}

/** What came of a livepatch on a kernel in a machine here. */
export type Verified = {
  /** The run's name or folder. */
  run: string
  kernel: string
  verdict: string
  /** Whether that is the verdict that the case expects of it. */
  asExpected: boolean
  date: string
}

type Judge = (facts: HostFacts, plan: Plan) => Omit<Row, 'check'>

/** All rows, in the order in which they are shown. */
export function judge(facts: HostFacts, plan: Plan): Row[] {
  return (Object.entries(JUDGES) as [Check, Judge][]).map(([check, of]) => ({check, ...of(facts, plan)}))
}

/** Whether a livepatch may be loaded by these rows. */
export function isFit(rows: readonly Row[], {forceUnverified = false}: {forceUnverified?: boolean} = {}): boolean {
  return rows.every(({check, status}) => status !== 'failed' || (check === 'verified' && forceUnverified))
}

const JUDGES: Record<Check, Judge> = {access, kernel, livepatching, vermagic, symbols, functions, tracers, modules, signature, taint, livepatches, memory, verified}

const passed = (reason: string): Omit<Row, 'check'> => ({status: 'passed', reason, todo: ''})
const failed = (reason: string, todo: string): Omit<Row, 'check'> => ({status: 'failed', reason, todo})
const unknown = (reason: string, todo = ''): Omit<Row, 'check'> => ({status: 'not-known', reason, todo})

export function access({uid, missing}: HostFacts): Omit<Row, 'check'> {
  if (uid !== 0) return failed(`the user there is ${uid === undefined ? 'not known' : `number ${uid}`}, not root`, 'name a user who is root, like --host root@lab1')
  if (missing.length > 0) return failed(`${missing.join(', ')} not there`, 'install coreutils, kmod and util-linux, or busybox with these')
  return passed('root, with all programs that are needed')
}

export function kernel({release, machine}: HostFacts, {lines}: Plan): Omit<Row, 'check'> {
  if (machine !== 'x86_64') return failed(`the host is ${machine}`, 'modules are built for x86_64 alone')
  const line = /^\d+\.\d+/.exec(release)?.[0] ?? release
  if (!lines.includes(line)) return failed(`${release}: the livepatch is for ${lines.join(', ')}`, 'compare the function with that of this kernel, and add the line to the livepatch')
  return passed(release)
}

export function livepatching({livepatch, config}: HostFacts): Omit<Row, 'check'> {
  if (livepatch) return passed('the kernel has CONFIG_LIVEPATCH')
  if (config?.CONFIG_LIVEPATCH === 'y') return failed('CONFIG_LIVEPATCH is set, and /sys/kernel/livepatch is not there', 'mount sysfs on /sys')
  return failed('the kernel has no CONFIG_LIVEPATCH', 'boot a kernel with it: nothing can be loaded into this one')
}

/** The flags after the release, as include/linux/vermagic.h of x86 puts them together. */
export function vermagicOf(release: string, config: Readonly<Record<string, string>>): string {
  const has = (name: string) => config[`CONFIG_${name}`] === 'y'
  const preempt = has('PREEMPT_BUILD') ? 'preempt' : has('PREEMPT_RT') ? 'preempt_rt' : ''
  const flags = [has('SMP') && 'SMP', preempt, has('MODULE_UNLOAD') && 'mod_unload', has('MODVERSIONS') && 'modversions', has('RANDSTRUCT') && 'RANDSTRUCT']
  return [release, ...flags.filter(Boolean)].join(' ')
}

export function vermagic({release, config}: HostFacts, {module}: Plan): Omit<Row, 'check'> {
  const own = module.vermagic
  const todo = `build it for ${release}`
  if (own.split(' ')[0] !== release) return failed(`the module is for ${own.split(' ')[0]}, the host runs ${release}`, todo)
  if (config === undefined) return unknown(`the release fits; the host shows no configuration to compare '${own}' with`)
  const theirs = vermagicOf(release, config)
  // A plugin's seed is no option of the configuration.
  const same = own.replace(/ RANDSTRUCT_\w+$/, ' RANDSTRUCT') === theirs
  return same ? passed(own) : failed(`the module has '${own}', the host's kernel '${theirs}'`, todo)
}

export function symbols({version, symvers, crcs}: HostFacts, {module, builtFor}: Plan): Omit<Row, 'check'> {
  const names = Object.keys(module.crcs)
  if (names.length === 0) return unknown('the module has no CRCs to compare (CONFIG_MODVERSIONS)')
  if (symvers !== undefined) {
    const other = names.filter((name) => crcs[name] !== undefined && crcs[name] !== module.crcs[name])
    const none = names.filter((name) => crcs[name] === undefined)
    const todo = "build it from the host's own headers"
    if (other.length > 0) return failed(`the host's kernel has other CRCs of ${some(other)}`, todo)
    if (none.length > 0) return failed(`the host's kernel does not export ${some(none)}`, todo)
    return passed(`${names.length} CRCs are those of ${symvers}`)
  }
  if (builtFor === version) return passed(`${names.length} CRCs are of this very build of the kernel (${version})`)
  if (builtFor === undefined) return unknown('the host has no Module.symvers to compare the CRCs with')
  return unknown(`the host's kernel is another build (${version}) than the one that the module is for (${builtFor}), and has no Module.symvers to compare with`, 'update the host to this build, or install its headers there')
}

export function functions({symbols: found, tracing, traceable}: HostFacts, {module}: Plan): Omit<Row, 'check'> {
  const names = module.functions.map(({name}) => name)
  if (names.length === 0) return unknown('which functions the module replaces could not be read from it')
  const missing = names.filter((name) => !found.some((one) => one.name === name))
  if (missing.length > 0) return failed(`${some(missing)} ${missing.length > 1 ? 'are' : 'is'} not in the running kernel`, 'load the module that has it; where there is none, the kernel was built without it, or the compiler inlined it')
  const ambiguous = module.functions.find(({name, position}) => position === 0 && new Set(found.filter((one) => one.name === name).map((one) => one.module)).size < found.filter((one) => one.name === name).length)
  if (ambiguous) return failed(`there are several functions ${ambiguous.name}, and the livepatch does not say which one (old_sympos)`, 'set .old_sympos in its struct klp_func')
  if (!tracing) return unknown(`${some(names)} found in kallsyms; ftrace's list could not be read`, 'mount tracefs on /sys/kernel/tracing')
  const untraceable = names.filter((name) => !traceable.includes(name))
  if (untraceable.length > 0) return failed(`ftrace cannot patch ${some(untraceable)} (it is not in available_filter_functions)`, 'livepatch a function that calls it')
  return passed(`${some(names)}: found and patchable`)
}

export function tracers({tracing, traced, kprobes, livepatches: loaded}: HostFacts, {module}: Plan): Omit<Row, 'check'> {
  const names = module.functions.map(({name}) => name)
  if (!tracing) return unknown("ftrace's list of its users could not be read", 'mount tracefs on /sys/kernel/tracing')
  const ours = (name: string) => loaded.some((one) => one.functions.some((target) => target.name === name))
  const taken = names.find((name) => !ours(name) && traced.some((one) => one.name === name && one.flags.includes('I')))
  if (taken !== undefined) {
    const probe = kprobes.find(({name}) => name === taken)
    const who = probe ? `a kprobe with a post handler (${probe.text})` : 'another user of ftrace'
    return failed(`${taken} is taken: ${who} changes where it goes on (IPMODIFY), and there can be one`, 'end that user: a kprobe without a post handler, as perf, trace-cmd and bpftrace set, is none')
  }
  const probed = kprobes.filter(({name}) => names.includes(name))
  if (probed.length > 0) return passed(`${some(probed.map(({text}) => text))}: fires on the replaced function's entry alone, which the livepatch leaves in place`)
  return passed('nobody else has one of the functions')
}

export function modules({modules: loaded, builds, symbols: found}: HostFacts, {module, packaged}: Plan): Omit<Row, 'check'> {
  const missing = module.depends.filter((name) => !loaded.includes(name))
  if (missing.length > 0) return failed(`${some(missing)} not loaded`, `modprobe ${missing.join(' ')} there`)
  const targets = [...new Set([...module.depends, ...found.flatMap((one) => one.module ?? [])])]
  if (targets.length === 0) return passed('it needs no other module')
  const other = targets.filter((name) => builds[name] !== undefined && packaged[name] !== undefined && builds[name] !== packaged[name])
  if (other.length > 0) return failed(`${some(other)}: another build is loaded there than the kernel's package has`, 'load the module of the package: the livepatch was compared with that one')
  const unseen = targets.filter((name) => builds[name] === undefined || packaged[name] === undefined)
  if (unseen.length > 0) return unknown(`${some(unseen)} loaded; which build it is could not be compared`)
  return passed(`${some(targets)} loaded, of the kernel's own package`)
}

export function signature({enforced, config, lockdown, keys}: HostFacts, {module, signer}: Plan): Omit<Row, 'check'> {
  const locked = lockdown !== undefined && lockdown !== 'none'
  const forced = enforced === true || config?.CONFIG_MODULE_SIG_FORCE === 'y' || locked
  const why = locked ? `the kernel is locked down (${lockdown})` : 'the kernel takes signed modules alone (module.sig_enforce, MODULE_SIG_FORCE)'
  const known = signer !== undefined && keys.some((key) => key.toLowerCase().endsWith(`: ${signer.toLowerCase()}`))
  if (forced && !module.signed) return failed(`${why}, and the module is not signed`, 'sign it: --sign KEY,CERT with a key that this kernel knows')
  if (forced && signer !== undefined && !known) return failed(`${why}, and does not know the key of the module's signature (${signer.slice(0, 16)})`, 'enroll the certificate there (mokutil --import, or in the build of the kernel), or sign with a key that it knows')
  if (forced && signer === undefined) return unknown(`${why}; by which key the module is signed could not be read`)
  if (enforced === undefined && config === undefined) return unknown('whether the kernel wants signatures is not known')
  if (known) return passed('signed, with a key that the kernel knows')
  return passed(`no signature is wanted${lockdown === undefined ? ' (as far as can be seen: securityfs is not mounted)' : ''}; ${module.signed ? 'the module has one' : 'the module has none, and taints the kernel (E)'}`)
}

/** Documentation/admin-guide/tainted-kernels.rst: after these, what the kernel does is nobody's guess. */
const BROKEN: readonly [number, string][] = [
  [1, 'F: a module was loaded by force'],
  [3, 'R: a module was removed by force'],
  [4, 'M: the processor reported an error'],
  [5, 'B: a page table or a page was found damaged'],
  [7, 'D: the kernel has died once (oops or BUG)'],
  [14, 'L: a processor was stuck in the kernel'],
]
const WARNED = 9

export function taint({tainted}: HostFacts): Omit<Row, 'check'> {
  if (tainted === undefined) return unknown('the taint flags could not be read')
  const flags = BROKEN.filter(([bit]) => (tainted >>> bit) & 1).map(([, what]) => what)
  if (flags.length > 0) return failed(flags.join('; '), 'find out why, and boot the host anew: what a livepatch does in such a kernel says nothing')
  if ((tainted >>> WARNED) & 1) return unknown('W: the kernel has warned since it booted', 'look in its log whether that was about what is to be patched')
  return passed(tainted === 0 ? 'not tainted' : `tainted (${tainted}) by nothing that matters here`)
}

export function livepatches({livepatches: loaded}: HostFacts, {module}: Plan): Omit<Row, 'check'> {
  const others = loaded.filter(({name}) => name !== module.name)
  const moving = others.find(({transition}) => transition)
  if (moving) return failed(`${moving.name} is in transition, and there can be one`, `wait until /sys/kernel/livepatch/${moving.name}/transition is 0`)
  const names = module.functions.map(({name}) => name)
  const shared = others.flatMap((one) => one.functions.filter(({name}) => names.includes(name)).map(({name}) => `${name} (${one.name})`))
  if (shared.length > 0) return failed(`another livepatch has replaced ${some(shared)}: this one would hide what it mends there`, 'unload the other one first, or make one livepatch of both')
  if (module.replace && others.length > 0) return failed(`it replaces all others (.replace), and ${some(others.map(({name}) => name))} ${others.length > 1 ? 'are' : 'is'} loaded`, 'build it without .replace, or unload the others first')
  if (others.length === 0) return passed('no other one is loaded')
  return passed(`${some(others.map(describe))} loaded, on other functions`)
}

function describe({name, replace}: LoadedLivepatch): string {
  return replace ? `${name} (which replaced those before it)` : name
}

/** MiB that stay free: a livepatch is small, and a host that has less than this has other troubles. */
const LEAST = 32

export function memory({memory: free}: HostFacts, {size}: Plan): Omit<Row, 'check'> {
  const needed = LEAST + Math.ceil((2 * size) / (1 << 20))
  if (free === undefined) return unknown('how much memory is free could not be read')
  return free < needed ? failed(`${free} MiB are available, ${needed} are needed`, 'end something there') : passed(`${free} MiB are available`)
}

export function verified(_: HostFacts, {verified: by, whyUnverified}: Plan): Omit<Row, 'check'> {
  const todo = '--force-unverified loads it all the same'
  if (by === undefined) return failed(`unverified: ${whyUnverified}`, todo)
  if (!by.asExpected) return failed(`in a machine here it was ${by.verdict} on ${by.kernel}, by run ${by.run}`, `look at 'patchbench report ${by.run}'; ${todo}`)
  return passed(`verified on ${by.kernel} by run ${by.run}: ${by.verdict}`)
}

/** The first few of some names. */
function some(names: readonly string[]): string {
  const more = names.length - 4
  return more > 0 ? `${names.slice(0, 4).join(', ')} and ${more} more` : names.join(', ')
}
