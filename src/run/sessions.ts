import {type Case, type Livepatch} from '../case/case.js'
import {type LivepatchModule} from '../livepatch/build.js'
import {type Job, type Step} from '../machine/job.js'
import {type Limits} from '../machine/monitor.js'
import {type Hardware} from '../machine/qemu.js'
import {type Variant} from '../verdict/verdict.js'

/** How long a livepatch's transition may take, in s on the guest's clock; it takes 0.35 s on an idle machine. */
const TRANSITION = 15

/** How much slower than under KVM a guest may be. */
const SLOWNESS = {kvm: 1, tcg: 4} as const

/** A livepatch and the module that was built of it. */
export type Loadable = {livepatch: Livepatch; module: LivepatchModule}

/** The job of a session that runs these variants of a case, in order. */
export function sessionJob(one: Case, variants: readonly Variant[], loadable: Loadable | undefined, hardware: Hardware): Job {
  const {reproducer} = one
  const steps: Step[] = []
  if (reproducer.modules.length > 0) steps.push({op: 'modprobe', name: 'modules', modules: reproducer.modules})
  for (const variant of variants) {
    if (loadable) steps.push(...transitionTo(variant, loadable.livepatch, variants))
    steps.push(reproduceStep(one, variant, hardware))
  }
  const files = {reproduce: reproducer.program, ...(loadable ? {'livepatch.ko': loadable.module.path} : {})}
  return {steps, files}
}

/** The job of an interactive session: the way to the variant's state, then a shell. */
export function shellJob(
  one: Case,
  variant: Variant,
  loadable: Loadable | undefined,
  hardware: Hardware,
  terminal: {rows: number; columns: number},
): Job {
  const {steps, files} = sessionJob(one, [variant], loadable, hardware)
  const before = steps.filter(({op}) => op !== 'reproduce')
  const environment = {...environmentOf(one), PATCHBENCH_CASE: one.name, PATCHBENCH_VARIANT: variant, TERM: process.env.TERM ?? 'linux'}
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

function reproduceStep(one: Case, variant: Variant, {accelerator, virtualTime}: Hardware): Step {
  const step = {op: 'reproduce' as const, name: variant, program: 'reproduce', environment: environmentOf(one)}
  // In virtual time the guest's clock says nothing about how long it took us.
  return virtualTime ? step : {...step, deadline: one.reproducer.deadline * SLOWNESS[accelerator]}
}

/** A reproducer's parameters as vm/lib/lab.py reads them: `queries` is PATCHBENCH_QUERIES. */
function environmentOf({reproducer}: Case): Record<string, string> {
  const variable = (name: string) => `PATCHBENCH_${name.toUpperCase().replaceAll('-', '_')}`
  return Object.fromEntries(Object.entries(reproducer.parameters).map(([name, value]) => [variable(name), value]))
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
