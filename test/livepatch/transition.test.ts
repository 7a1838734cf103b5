import {describe, expect, it} from 'vitest'
import {checkTransition} from '../../src/livepatch/transition.js'

const LOAD = `[    4.000001] livepatch_one: loading out-of-tree module taints kernel.
[    4.000002] livepatch_one: tainting kernel with TAINT_LIVEPATCH
[    4.000003] livepatch: enabling patch 'livepatch_one'
[    4.000004] livepatch: 'livepatch_one': initializing patching transition
[    4.000005] livepatch: 'livepatch_one': starting patching transition
[    5.000005] livepatch: signaling remaining tasks
[    5.000006] livepatch: 'livepatch_one': completing patching transition
[    5.000007] livepatch: 'livepatch_one': patching complete
`
const UNLOAD = `[    6.000001] livepatch: 'livepatch_one': initializing unpatching transition
[    6.000002] livepatch: 'livepatch_one': starting unpatching transition
[    6.000003] livepatch: 'livepatch_one': completing unpatching transition
[    6.000004] livepatch: 'livepatch_one': unpatching complete
`

const without = (log: string, words: string) => log.split('\n').filter((line) => !line.includes(words)).join('\n')

describe('a transition', () => {
  it('in the kernel\'s order is in order', () => {
    expect(checkTransition('load', 'livepatch_one', LOAD)).toBeUndefined()
    expect(checkTransition('unload', 'livepatch_one', UNLOAD)).toBeUndefined()
  })

  it('is read from a serial console, too', () => {
    expect(checkTransition('load', 'livepatch_one', LOAD.replaceAll('\n', '\r\n').replaceAll('] ', '][  T342] '))).toBeUndefined()
  })

  it.each(['enabling patch', 'starting patching', 'patching complete'])('without "%s" is not', (words) => {
    const why = checkTransition('load', 'livepatch_one', without(LOAD, words))
    expect(why).toMatch(/of this load are not in order: expected 3, it said "livepatch: /)
  })

  it.each(['starting unpatching', 'unpatching complete'])('back without "%s" is not', (words) => {
    expect(checkTransition('unload', 'livepatch_one', without(UNLOAD, words))).toMatch(/of this unload are not in order/)
  })

  it('in another order is not', () => {
    expect(checkTransition('load', 'livepatch_one', LOAD.split('\n').reverse().join('\n'))).toMatch(/not in order/)
  })

  it('that was reverted on the way is not', () => {
    const reverted = without(LOAD, 'patching complete') + `livepatch: 'livepatch_one': unpatching complete\n`
    expect(checkTransition('load', 'livepatch_one', reverted)).toMatch(/unpatching complete/)
  })

  it('that happened twice is not', () => {
    expect(checkTransition('load', 'livepatch_one', LOAD + LOAD)).toMatch(/not in order/)
  })

  it('of another module says nothing about this one', () => {
    expect(checkTransition('load', 'livepatch', LOAD)).toMatch(/it said none of them$/)
    expect(checkTransition('load', 'livepatch_one', LOAD + LOAD.replaceAll('livepatch_one', 'livepatch_two'))).toBeUndefined()
  })

  it('one way is not the other', () => {
    expect(checkTransition('unload', 'livepatch_one', LOAD)).toMatch(/not in order/)
    expect(checkTransition('load', 'livepatch_one', '')).toMatch(/it said none of them$/)
  })
})
