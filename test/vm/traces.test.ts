import {readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {expect, test} from 'vitest'
import {isUnder} from '../../src/trace/stacks.js'
import {compareTraced, FIXTURES, verdicts} from '../support/patchbench.js'

const MINUTES = 60_000

test('a traced session shows what destroyed an entry, and says what it could not record', {timeout: 5 * MINUTES}, async () => {
  const {exit, results} = await compareTraced(['traced', '--cases', FIXTURES])
  expect(verdicts(results)).toEqual({base: 'shown'})
  expect(exit).toBe(0)
  const {trace, evidence, tests} = results[0]!
  expect(tests).toHaveLength(1)
  const {stacks, timeline, probes, notes, clock} = trace!
  expect(stacks.some((stack) => isUnder(stack, 'nf_nat_inet_fn', 'nf_ct_delete'))).toBe(true)
  expect(clock).toEqual({name: 'tai', ahead: 0, uncertainty: 0})
  expect(probes.map(({name, function: on}) => `${name} on ${on}`)).toEqual(['destroyed on nf_ct_delete', 'kept on nf_nat_inet_fn', 'another_mark on nf_ct_delete', 'waiting on livepatch_no_such_function'])

  // The order of things, on one clock.
  const at = (kind: string, what: RegExp) => timeline.findIndex((entry) => entry.kind === kind && what.test(`${entry.name} ${entry.text}`))
  const order = [at('packet', /^router-wan1 /), at('probe', /^destroyed source=\{10,0,0,2\}/), at('probe', /^kept verdict=0/), at('packet', /^router-wan2 /), at('test', /^not ok 1 entry-stays/)]
  expect(order).toEqual([...order].sort((a, b) => a - b))
  expect(order).not.toContain(-1)
  expect(at('conntrack', /\[DESTROY\]/)).toBeGreaterThan(at('probe', /^destroyed/))

  const about = notes.join('\n')
  for (const name of ['absent', 'no_member', 'no_field', 'no_argument', 'constant_propagated']) expect(about).toContain(`the probe ${name} was not installed: `)
  expect(about).toContain('the probe another_mark never fired')
  expect(about).toContain('the probe kept is on nf_nat_inet_fn, not on no_such_function')
  expect(about).toContain('the probe waiting is in a module that was not loaded when the run began')
  expect(about).not.toContain('excused')

  expect(await readFile(join(evidence, trace!.evidence, 'trace'), 'utf8')).toContain('# tracer: nop')
  expect(await readFile(join(evidence, trace!.evidence, 'stacks.folded'), 'utf8')).toMatch(/nf_nat_inet_fn \[nf_nat\];nf_ct_delete \[nf_conntrack\] 1$/m)
  await expect(readFile(join(evidence, 'base-1/base/trace'), 'utf8')).rejects.toThrow('ENOENT')
})
