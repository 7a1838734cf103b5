import {type Case, type Livepatch, RULESET_FORMATS} from '../case/case.js'
import {projectPath} from '../lib/project.js'
import {type LivepatchModule} from '../livepatch/build.js'
import {type GuestProbe, type Job, type Step} from '../machine/job.js'
import {type Limits} from '../machine/monitor.js'
import {type Hardware} from '../machine/qemu.js'
import {type KeptRuleset} from '../ruleset/ruleset.js'
import {type Variant} from '../verdict/verdict.js'

/** How long a livepatch's transition may take, in s on the guest's clock; it takes 0.35 s on an idle machine. */
const TRANSITION = 15

/** How much slower than under KVM a guest may be. */
const SLOWNESS = {kvm: 1, tcg: 4} as const

/** A livepatch and the module that was built of it. */
export type Loadable = {livepatch: Livepatch; module: LivepatchModule}

/** What a session's variants are with: a livepatch to load, a ruleset for the reproducer to load, probes to record meanwhile. */
export type Fitting = {loadable?: Loadable | undefined; ruleset?: KeptRuleset | undefined; probes?: readonly GuestProbe[]}

/** The job of a session that runs these variants of a case, in order. */
export function sessionJob(one: Case, variants: readonly Variant[], {loadable, ruleset, probes = []}: Fitting, hardware: Hardware): Job {
  const {reproducer} = one
  const steps = modulesOf(one)
  if (ruleset) steps.push(rulesetStep(one, ruleset, hardware))
  for (const variant of variants) {
    if (loadable) steps.push(...transitionTo(variant, loadable.livepatch, variants))
    const step = reproduceStep(one, variant, ruleset, hardware)
    steps.push(probes.length > 0 ? {...step, probes} : step)
  }
  const files = {reproduce: reproducer.program, ...(loadable ? {'livepatch.ko': loadable.module.path} : {}), ...rulesetFiles(ruleset)}
  return {steps, files}
}

/** The job that says whether a ruleset loads, and nothing else. */
export function rulesetJob(one: Case, ruleset: KeptRuleset, hardware: Hardware): Job {
  return {steps: [...modulesOf(one), rulesetStep(one, ruleset, hardware)], files: rulesetFiles(ruleset)}
}

function modulesOf({reproducer: {modules}}: Case): Step[] {
  return modules.length > 0 ? [{op: 'modprobe', name: 'modules', modules}] : []
}

/** The job of an interactive session: the way to the variant's state, then a shell. */
export function shellJob(
  one: Case,
  variant: Variant,
  fitting: Fitting,
  hardware: Hardware,
  terminal: {rows: number; columns: number},
): Job {
  const {steps, files} = sessionJob(one, [variant], fitting, hardware)
  const before = steps.filter(({op}) => op !== 'reproduce')
  const environment = {...environmentOf(one, fitting.ruleset), PATCHBENCH_CASE: one.name, PATCHBENCH_VARIANT: variant, TERM: process.env.TERM ?? 'linux'}
  return {steps: [...before, {op: 'shell', name: 'shell', environment, ...terminal}], files}
}

function transitionTo(variant: Variant, livepatch: Livepatch, variants: readonly Variant[]): Step[] {
  const load = loadStep(livepatch, 'load', 'livepatch.ko')
  const unload = unloadStep(livepatch, 'unload')
  if (variant === 'livepatched') return [load]
  return variants.includes('livepatched') ? [unload] : [load, unload]
}

/** Loads a livepatch with its parameters from a file of the job, and waits for its transition. */
export function loadStep({module, parameters}: Livepatch, name: string, file: string): Step {
  const words = Object.entries(parameters).map(([parameter, value]) => `${parameter}=${value}`)
  return {op: 'load', name, module: file, livepatch: module, parameters: words, deadline: TRANSITION}
}

export function unloadStep({module}: Livepatch, name: string): Step {
  return {op: 'unload', name, livepatch: module, deadline: TRANSITION}
}

function reproduceStep(one: Case, variant: Variant, ruleset: KeptRuleset | undefined, {accelerator, virtualTime}: Hardware) {
  const step = {op: 'reproduce' as const, name: variant, program: 'reproduce', environment: environmentOf(one, ruleset)}
  // In virtual time the guest's clock says nothing about how long it took us.
  return virtualTime ? step : {...step, deadline: one.reproducer.deadline * SLOWNESS[accelerator]}
}

/** The step that loads a ruleset into a namespace of its own: a reproducer may overlook that one does not load. */
export const RULESET_STEP = 'check-ruleset'

function rulesetStep(one: Case, ruleset: KeptRuleset, {accelerator, virtualTime}: Hardware): Step {
  const devices = one.ruleset?.devices.join(' ') ?? ''
  const environment = {...rulesetEnvironment(ruleset), PATCHBENCH_DEVICES: devices}
  const step = {op: 'reproduce' as const, name: RULESET_STEP, program: RULESET_STEP, environment}
  return virtualTime ? step : {...step, deadline: one.reproducer.deadline * SLOWNESS[accelerator]}
}

/** A ruleset's files as the guest sees them, and the program that says whether they load. */
function rulesetFiles(ruleset: KeptRuleset | undefined): Record<string, string> {
  if (ruleset === undefined) return {}
  const files = Object.entries(ruleset.files).map(([format, path]) => [`ruleset.${format}`, path])
  return {...Object.fromEntries(files), [RULESET_STEP]: projectPath('vm/check-ruleset.py')} as Record<string, string>
}

/** Where the guest finds each form of the ruleset: PATCHBENCH_RULESET_NFT and its like. */
function rulesetEnvironment(ruleset: KeptRuleset | undefined): Record<string, string> {
  const there = RULESET_FORMATS.filter((format) => ruleset?.files[format] !== undefined)
  return Object.fromEntries(there.map((format) => [`PATCHBENCH_RULESET_${format.toUpperCase()}`, `/run/job/ruleset.${format}`]))
}

/** A reproducer's parameters as vm/lib/lab.py reads them: `queries` is PATCHBENCH_QUERIES. */
function environmentOf({reproducer}: Case, ruleset: KeptRuleset | undefined): Record<string, string> {
  const variable = (name: string) => `PATCHBENCH_${name.toUpperCase().replaceAll('-', '_')}`
  const parameters = Object.entries(reproducer.parameters).map(([name, value]) => [variable(name), value])
  return {...(Object.fromEntries(parameters) as Record<string, string>), ...rulesetEnvironment(ruleset)}
}

/** The same for the selftests of a series, which are none of the case's; `each` is a collection's deadline on the guest's clock, in s. */
export function selftestLimits(one: Case, collections: number, hardware: Hardware): Limits & {each: number | undefined} {
  const each = hardware.virtualTime ? undefined : one.reproducer.deadline * SLOWNESS[hardware.accelerator]
  return {...sessionLimits(one, Array<Variant>(collections).fill('patched'), hardware), each}
}

/** How long the host waits for a session; the guest's own deadline comes first, and brings evidence home. */
export function sessionLimits({reproducer}: Case, variants: readonly Variant[], {accelerator, virtualTime}: Hardware): Limits {
  const factor = SLOWNESS[accelerator] * (virtualTime ? 2 : 1)
  const once = reproducer.deadline * factor * 1000
  const transitions = variants.length * TRANSITION * 2000
  return {silence: once + 20_000, progress: once + 30_000, deadline: variants.length * once + transitions + 60_000}
}
