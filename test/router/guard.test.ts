import {readFile} from 'node:fs/promises'
import {describe, expect, it} from 'vitest'
import {projectPath} from '../../src/lib/project.js'
import {formOf, guarded, PLAIN, statementOf} from '../../src/router/guard.js'

const template = async (statement: string) =>
  (await readFile(projectPath('test/support/router/ruleset.uc'), 'utf8')).replace(PLAIN, () => statement)

describe('the form of the flow statement', () => {
  it('is plain as firewall4 has it', async () => {
    expect(formOf(await template(PLAIN))).toEqual({form: 'plain'})
    expect(statementOf({form: 'plain'})).toBe(PLAIN)
  })

  it.each([0x1, 0xff00, 0xffffffff])('is guarded with the mask %d as we write it', async (mask) => {
    const form = formOf(await template(guarded(mask)))
    expect(form).toEqual({form: 'guarded', mask})
    expect(statementOf(form)).toBe(guarded(mask))
  })

  it('is none where there is no statement', async () => {
    expect(formOf(await template(''))).toEqual({form: 'none'})
    expect(formOf('')).toEqual({form: 'none'})
  })

  it("is an option where firewall4 has one for it", async () => {
    expect(formOf(await template(`{%+ if (fw4.default_option("flow_offloading_mask")): -%} ${PLAIN}`))).toEqual({form: 'option'})
  })

  it.each([
    ['a return before it', `meta mark != 0 return\n\t\t${PLAIN.replace('tcp, udp', 'tcp')}`],
    ['only one protocol', 'meta l4proto tcp flow offload @ft;'],
    ['another guard', 'meta l4proto { tcp, udp } meta mark 0 flow add @ft;'],
    ['two of them', `${PLAIN}\n\t\t${PLAIN}`],
    ['a guard whose masks differ', guarded(1).replace('ct mark & 0x1 ', 'ct mark & 0x2 ')],
    ['something after it', `${PLAIN} comment "mine"`],
  ])('is another with %s', async (_, statement) => {
    const form = formOf(await template(statement))
    expect(form.form).toBe('other')
    expect(statementOf(form)).toBeUndefined()
  })
})

it('the guard asks for the direction, and for no such bits in both marks', () => {
  expect(guarded(0xff)).toBe('meta l4proto { tcp, udp } ct direction original meta mark & 0xff == 0 ct mark & 0xff == 0 flow offload @ft;')
})
