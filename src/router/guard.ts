// The guard against seed 000's wrong reply MAC: one condition on firewall4's only flow statement. A flow that the
// policy routing marked, or that a reply would offload, stays on the slow path. A rule with `return` before the
// statement would end the chain for marked packets, and an include comes after it: neither is a guard.

import {literally} from '../lib/text.js'

/** The templates of firewall4 that a router renders its ruleset with. */
export const TEMPLATE = '/usr/share/firewall4/templates/ruleset.uc'

const MATCH = 'meta l4proto { tcp, udp }'
const VERDICT = 'flow offload @ft;'

/** The statement as firewall4 has it. */
export const PLAIN = `${MATCH} ${VERDICT}`

/** The statement with the guard, for the bits of the mark that choose a route. */
export function guarded(mask: number): string {
  const bits = `0x${mask.toString(16)}`
  return `${MATCH} ct direction original meta mark & ${bits} == 0 ct mark & ${bits} == 0 ${VERDICT}`
}

/** What a template does about offloading. */
export type Form =
  | {form: 'plain'}
  | {form: 'guarded'; mask: number}
  /** firewall4 has the option flow_offloading_mask itself. */
  | {form: 'option'}
  | {form: 'none'}
  | {form: 'other'; lines: string[]}

const GUARDED = new RegExp(`^${literally(guarded(1)).replaceAll('0x1', '(0x[\\da-f]+)')}$`)

/** In which form the flow statement is in a template. Comments of ucode templates ({# #}) are not looked for: fw4's have none there. */
export function formOf(template: string): Form {
  if (template.includes('flow_offloading_mask')) return {form: 'option'}
  const lines = template.split('\n').filter((line) => /\bflow\s+(offload|add)\b/.test(line)).map((line) => line.trim())
  const [line] = lines
  if (line === undefined) return {form: 'none'}
  if (lines.length === 1 && line === PLAIN) return {form: 'plain'}
  const [, meta, ct] = GUARDED.exec(line) ?? []
  if (lines.length === 1 && meta !== undefined && meta === ct) return {form: 'guarded', mask: Number(meta)}
  return {form: 'other', lines}
}

/** The flow statement of a template in one of the two forms that we know; undefined in any other. */
export function statementOf(form: Form): string | undefined {
  if (form.form === 'plain') return PLAIN
  return form.form === 'guarded' ? guarded(form.mask) : undefined
}
