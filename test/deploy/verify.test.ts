import {expect, it} from 'vitest'
import {type HostState} from '../../src/deploy/remote.js'
import {checksOf, splatCheck} from '../../src/deploy/verify.js'

const PATCH: HostState['livepatches'][number] = {
  ...{name: 'livepatch_one', enabled: true, transition: false, buildId: 'abcd', due: undefined, persistent: false, parameters: {}},
  functions: [{object: 'vmlinux', patched: true, name: 'ip_rcv'}],
}

/** The checks that did not pass, for a host with this livepatch. */
function complaints(change: Partial<typeof PATCH>): string[] {
  const state = {release: '6.12', tainted: 0, busy: false, livepatches: [{...PATCH, ...change}], pending: [], atBoot: [], journal: []}
  return checksOf(state, {module: 'livepatch_one', buildId: 'abcd'}).filter(({status}) => status !== 'passed').map(({check, status, reason}) => `${check} ${status}: ${reason}`)
}

it('a livepatch that does its work passes', () => {
  expect(complaints({})).toEqual([])
})

it.each<[string, Partial<typeof PATCH>, string]>([
  ['is disabled', {enabled: false}, 'enabled failed: it is disabled'],
  ['is in transition', {transition: true}, 'enabled failed: its transition is not done'],
  ['is another build', {buildId: 'ef'}, 'module failed: another build (ef)'],
  ['replaces nothing', {functions: []}, 'functions failed: none is replaced'],
  ['waits for a module', {functions: [...PATCH.functions, {object: 'vrf', patched: false, name: 'vrf_rcv'}]}, 'functions not-known: vrf:vrf_rcv patched when its module is loaded; 1 of 2 are now'],
  ['is not there', {name: 'livepatch_other'}, 'enabled failed: livepatch_one is not there'],
])('one that %s is told', (_, change, complaint) => {
  expect(complaints(change)).toEqual([complaint])
})

it('the kernel log is searched for splats, as far as it reaches', () => {
  expect(splatCheck("[  1.0] livepatch: 'livepatch_one': patching complete\n")).toMatchObject({status: 'passed'})
  expect(splatCheck('[  1.0] WARNING: CPU: 0 PID: 1 at net/core/dev.c:1 dev_open+0x1/0x2\n')).toMatchObject({status: 'failed', reason: expect.stringContaining('dev.c:1') as string})
  expect(splatCheck(undefined)).toMatchObject({status: 'not-known'})
})
