import {type Result} from '../run/results.js'
import {inShort} from '../verdict/ktap.js'

/**
 * What a row says about the symptom: the first that shows on base, as it is in
 * this variant. Of what a reproducer saw, the part up to the first semicolon.
 */
export function symptomText({tests}: Result): string {
  const symptoms = tests.filter(({role, claimed}) => role === 'symptom' && claimed)
  const leftOver = tests.filter((test) => test.role === 'symptom' && !test.claimed && test.variant === 'failed')
  const telling = symptoms.find(({variant}) => variant === 'failed') ?? symptoms.find(({base}) => base === 'failed') ?? symptoms[0]
  if (!telling || telling.variant === 'missing') return '-'
  const others = symptoms.filter((one) => one !== telling && one.variant === telling.variant).length
  const seen = inShort(telling.observed.variant) || `${telling.name} ${telling.variant}`
  const text = others > 0 ? `${telling.name}: ${seen} (and ${others} more)` : seen
  return leftOver.length > 0 ? `${text}; not claimed and failing: ${leftOver.length}` : text
}

/** `6/7`: how many controls pass; `-` where none was run. */
export function controlsText({tests}: Result): string {
  const controls = tests.filter(({role}) => role === 'control')
  if (controls.length > 0 && controls.every(({variant}) => variant === 'missing')) return '-'
  return `${controls.filter(({variant}) => variant === 'passed').length}/${controls.length}`
}

/** `livepatched, local-input`: a result's variant, and the fix that it is with. */
export function titleOf({variant, candidate}: Pick<Result, 'variant' | 'candidate'>): string {
  return candidate ? `${variant}, ${candidate}` : variant
}
