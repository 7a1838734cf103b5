import {describe, expect, it} from 'vitest'
import {type Case} from '../../src/case/case.js'
import {type Kernel} from '../../src/kernel/kernel.js'
import {InputError} from '../../src/lib/errors.js'
import {differences, prepareProbes} from '../../src/run/traced.js'
import {type VariantRun} from '../../src/verdict/verdict.js'
import {contextIn, scratch} from '../support/scratch.js'

const run = (...statuses: ('passed' | 'failed')[]): VariantRun => ({tests: statuses.map((status, index) => ({name: `test-${index}`, status, observed: ''})), splats: []})

describe('what a traced run does otherwise than the judged one', () => {
  it('is nothing where they agree', () => {
    expect(differences(run('failed', 'passed'), run('failed', 'passed'))).toEqual([])
  })

  it('is said test by test', () => {
    expect(differences(run('passed'), run('failed', 'passed'))).toEqual([
      "with probes the test 'test-0' passed, without them failed: the trace may be of another course",
      "with probes the test 'test-1' missing, without them passed: the trace may be of another course",
    ])
  })

  it('is one line where it is no result', () => {
    expect(differences({...run(), failure: 'the machine ended\n[ 1.0] its console'}, run('failed'))).toEqual(['the traced run is no result: the machine ended'])
  })

  it('is not said where the judged one is no result either', () => {
    expect(differences({...run(), failure: 'lost'}, {...run(), failure: 'lost'})).toEqual([])
    expect(differences({...run(), failure: 'lost'}, undefined)).toEqual([])
  })
})

describe('probes of a kernel without headers', () => {
  it('are those that need no offset, and why the others are not there is said', async () => {
    const plain = {module: undefined, filter: undefined, stack: true, return: false, optional: false}
    const probes = [
      {...plain, name: 'one', function: ['f', 'g'], fetch: {mark: '+{sk_buff.mark}($arg1):u32'}},
      {...plain, name: 'two', function: ['f'], fetch: {first: '$arg1:x64', text: '+0($arg2):string'}, filter: 'first != 0'},
    ]
    const headers = async () => Promise.reject(new InputError('this kernel has no headers'))
    const kernel = {label: 'linux', key: 'linux', headers} as unknown as Kernel
    expect(await prepareProbes(contextIn(await scratch()), {probes} as unknown as Case, kernel)).toEqual({
      probes: [{name: 'two', functions: ['f'], module: null, fetch: ['first=$arg1:x64', 'text=+0($arg2):string'], filter: 'first != 0', stack: true, return: false}],
      notes: ['the probe one was not installed: where sk_buff.mark is, is not known: this kernel has no headers'],
    })
  })
})
