import {type Variant} from '../verdict/verdict.js'

/** One machine session: variants that are run in one boot, in this order. */
export type SessionPlan = {
  variants: readonly Variant[]
  /** The livepatch that the session loads. */
  livepatch?: string
  /** The candidate whose kernel the session boots, or whose ruleset it loads. */
  candidate?: string
  repeat: number
  /** Whether the session records the case's probes. It is run besides, and no verdict is drawn from it. */
  traced?: true
}

export type PlanInput = {
  /** The livepatches of the case, and those of its candidates that are for the kernel. */
  livepatches: readonly string[]
  candidates: readonly string[]
  /** What its candidates are: `patched` kernels, or each a `ruleset` for the kernel as it is. */
  candidateVariant: 'patched' | 'ruleset'
  variants: readonly Variant[]
  repeats: number
  /** Whether there is a traced session of each variant, but of `reverted`, whose code is base's. */
  trace: boolean
}

/**
 * The sessions that a case needs on a kernel. Base has one of its own; each
 * livepatch is loaded, run, unloaded and run again in another, so that nothing
 * of a livepatch can have touched base; each candidate is a kernel of its own, or
 * a ruleset for a machine of its own.
 * Base is always run: without it no verdict. Traced sessions come last.
 */
export function planSessions(input: PlanInput): SessionPlan[] {
  const repeats = Array.from({length: input.repeats}, (_, repeat) => sessionsOf(input, input.variants).map((session) => ({...session, repeat})))
  if (!input.trace) return repeats.flat()
  const traced = sessionsOf(input, input.variants.filter((variant) => variant !== 'reverted'))
  return [...repeats.flat(), ...traced.map((session) => ({...session, repeat: 0, traced: true as const}))]
}

function sessionsOf({livepatches, candidates, candidateVariant}: PlanInput, variants: readonly Variant[]): Omit<SessionPlan, 'repeat'>[] {
  const live = (['livepatched', 'reverted'] as const).filter((variant) => variants.includes(variant))
  return [
    {variants: ['base']},
    ...(live.length > 0 ? livepatches.map((livepatch) => ({variants: live, livepatch})) : []),
    ...(variants.includes(candidateVariant) ? candidates.map((candidate) => ({variants: [candidateVariant], candidate})) : []),
  ]
}
