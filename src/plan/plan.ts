import {type Variant} from '../verdict/verdict.js'

/** One machine session: variants that are run in one boot, in this order. */
export type SessionPlan = {case: string; kernel: string; variants: readonly Variant[]; repeat: number}

export type PlanInput = {
  /** Which variants a case can be run in. */
  cases: readonly {name: string; variants: readonly Variant[]}[]
  kernels: readonly string[]
  /** The variants asked for; all that a case has where it is left out. */
  variants?: readonly Variant[]
  repeats: number
}

/**
 * The sessions that a comparison needs. Base has one of its own; a livepatch
 * is loaded, run, unloaded and run again in another, so that nothing of the
 * livepatch can have touched base. Base is always run: without it no verdict.
 */
export function planSessions({cases, kernels, variants, repeats}: PlanInput): SessionPlan[] {
  const sessions: SessionPlan[] = []
  for (const one of cases) {
    const wanted = one.variants.filter((variant) => !variants || variants.includes(variant))
    const live = wanted.filter((variant) => variant === 'livepatched' || variant === 'reverted')
    const groups: (readonly Variant[])[] = live.length > 0 ? [['base'], live] : [['base']]
    for (const kernel of kernels) {
      for (let repeat = 0; repeat < repeats; repeat++) {
        for (const group of groups) sessions.push({case: one.name, kernel, variants: group, repeat})
      }
    }
  }
  return sessions
}
