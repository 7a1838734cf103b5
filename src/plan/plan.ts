import {type Variant} from '../verdict/verdict.js'

/** One machine session: variants that are run in one boot, in this order. */
export type SessionPlan = {
  variants: readonly Variant[]
  /** The livepatch that the session loads. */
  livepatch?: string
  /** The candidate whose kernel the session boots, or whose ruleset it loads. */
  candidate?: string
  repeat: number
}

export type PlanInput = {
  /** The livepatches of the case, and those of its candidates that are for the kernel. */
  livepatches: readonly string[]
  candidates: readonly string[]
  /** What its candidates are: `patched` kernels, or each a `ruleset` for the kernel as it is. */
  candidateVariant: 'patched' | 'ruleset'
  variants: readonly Variant[]
  repeats: number
}

/**
 * The sessions that a case needs on a kernel. Base has one of its own; each
 * livepatch is loaded, run, unloaded and run again in another, so that nothing
 * of a livepatch can have touched base; each candidate is a kernel of its own, or
 * a ruleset for a machine of its own.
 * Base is always run: without it no verdict.
 */
export function planSessions({livepatches, candidates, candidateVariant, variants, repeats}: PlanInput): SessionPlan[] {
  const live = (['livepatched', 'reverted'] as const).filter((variant) => variants.includes(variant))
  const sessions: SessionPlan[] = []
  for (let repeat = 0; repeat < repeats; repeat++) {
    sessions.push({variants: ['base'], repeat})
    if (live.length > 0) sessions.push(...livepatches.map((livepatch) => ({variants: live, livepatch, repeat})))
    if (variants.includes(candidateVariant)) sessions.push(...candidates.map((candidate) => ({variants: [candidateVariant], candidate, repeat})))
  }
  return sessions
}
