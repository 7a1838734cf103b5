import Handlebars from 'handlebars'
import {mkdir, readFile, writeFile} from 'node:fs/promises'
import {join} from 'node:path'
import {projectPath} from '../../src/lib/project.js'
import {copyOfCase} from './patchbench.js'

/** A clone of firewall4 and a ucode, which the project neither brings nor fetches; tests with them are skipped where there are none. */
export const FIREWALL4 = {source: process.env.PATCHBENCH_FIREWALL4 ?? '', ucode: process.env.PATCHBENCH_UCODE ?? ''}
export const HAS_FIREWALL4 = FIREWALL4.source !== '' && FIREWALL4.ucode !== ''

const OFFLOAD = 'flow offload @ft'
const PROTOCOLS = 'meta l4proto { tcp, udp }'

/** The flow statement on base and with each candidate, by the mask that the router names. */
const FLOW: Record<string, (mask: string) => string[]> = {
  base: () => [`${PROTOCOLS} ${OFFLOAD}`],
  'as-proposed': () => ['meta mark != 0 return', 'ct status { dnat, snat } return', `${PROTOCOLS} ${OFFLOAD}`],
  'mark-only': () => [`${PROTOCOLS} meta mark 0x0 ${OFFLOAD}`],
  'nat-bits': () => [`${PROTOCOLS} meta mark 0x0 ct status & (snat | dnat) == 0x0 ${OFFLOAD}`],
  revised: (mask) => [`${PROTOCOLS} ct direction original meta mark and ${mask} == 0x0 ct mark and ${mask} == 0x0 ${OFFLOAD}`],
}

const VARIATIONS = {
  '': {},
  'hardware.': {hardware: true, devices: 'lan1, lan2, lan3, lan4, wan'},
  'open.': {policy: 'accept'},
  'masked.': {mask: '0xff'},
}

/** The case fw4-guard with rulesets that a template of ours renders, not firewall4; the folder for --cases. */
export async function withOwnRulesets(): Promise<string> {
  const cases = await copyOfCase('fw4-guard')
  const file = join(cases, 'fw4-guard/case.yaml')
  const text = await readFile(file, 'utf8')
  await writeFile(file, text.replace('tree: firewall4', 'tree: ruleset').replace(/^firewall4:\n(?: .*\n)+/m, ''))
  const folder = join(cases, 'fw4-guard/ruleset')
  await mkdir(folder)
  const render = Handlebars.compile(await readFile(projectPath('test/fixtures/fw4-guard/ruleset.nft.hbs'), 'utf8'), {strict: true, noEscape: true})
  for (const [candidate, flow] of Object.entries(FLOW)) {
    for (const [variation, settings] of Object.entries(VARIATIONS)) {
      const {mask, ...values} = {hardware: false, devices: 'br-lan, br-vlan10, wan', policy: 'drop', mask: '0xffffffff', ...settings}
      await writeFile(join(folder, `${candidate}.${variation}nft`), render({...values, flow: flow(mask)}))
    }
  }
  return cases
}
