import {stat} from 'node:fs/promises'
import {type Case, candidateVariant} from '../case/case.js'
import {InputError} from '../lib/errors.js'
import {type Variant} from '../verdict/verdict.js'

// Options that could not act are refused: their silence would be taken for consent.

/**
 * Refuses an option that was given and cannot act.
 *
 * @param given by name, without `--`; undefined, false and an empty list are not given
 * @param why ends the sentence `--NAME ...`
 */
export function refuseIdle(given: Record<string, unknown>, why: string): void {
  const isGiven = (value: unknown) => value !== undefined && value !== false && !(Array.isArray(value) && value.length === 0)
  const name = Object.keys(given).find((key) => isGiven(given[key]))
  if (name !== undefined) throw new InputError(`--${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} ${why}`)
}

/** Refuses fixes that were named and that none of the variants runs with. */
export function checkFixes(cases: readonly Case[], variants: readonly Variant[], {livepatch, candidate, fromPatch}: {livepatch?: unknown; candidate?: unknown; fromPatch?: unknown}): void {
  const isLive = variants.includes('livepatched') || variants.includes('reverted')
  if (!isLive) refuseIdle({livepatch, fromPatch}, `is about a livepatch, which is not loaded in ${variants.join(', ')}: ask for --variant livepatched, or leave it out`)
  // Livepatches are made of the candidates then.
  if (fromPatch) return
  const kinds = [...new Set(cases.filter(({candidates}) => candidates.length > 0).map(candidateVariant))]
  if (kinds.length === 0 || kinds.some((kind) => variants.includes(kind))) return
  refuseIdle({candidate}, `is about a candidate, which is not in ${variants.join(', ')}: ask for --variant ${kinds.join(' or ')}, or leave it out`)
}

/** Refuses to look for something newer than what the user has there. */
export async function checkRefresh({source, refresh}: {source?: string | undefined; refresh?: boolean | undefined}): Promise<void> {
  if (!refresh || source === undefined || !(await stat(source).catch(() => undefined))) return
  refuseIdle({refresh}, `looks for what is newer than the cache has, and ${source} is taken as it is: leave it out`)
}
