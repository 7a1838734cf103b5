import {describe, expect, it} from 'vitest'
import {type Case} from '../../src/case/case.js'
import {type StepResult} from '../../src/machine/session.js'
import {whyNotLoaded} from '../../src/run/outcome.js'
import {rulesetJob, sessionJob, shellJob} from '../../src/run/sessions.js'

const CASE = {
  name: 'one',
  ruleset: {devices: ['lan', 'wan']},
  reproducer: {program: '/cases/one/reproduce', modules: ['xt_mark'], deadline: 10, parameters: {'how-many': '3'}},
} as unknown as Case
const HARDWARE = {accelerator: 'tcg', memory: 512, cpus: 1, virtualTime: false} as const
const RULESET = {name: 'saved', files: {nft: '/run/saved.nft', iptables: '/run/saved.iptables'}, sha256: {}, notes: []}

describe('a session with a ruleset', () => {
  const {steps, files} = sessionJob(CASE, ['ruleset'], {ruleset: RULESET}, HARDWARE)

  it('loads it on trial before the reproducer, which may overlook that it does not load', () => {
    expect(steps.map(({name}) => name)).toEqual(['modules', 'check-ruleset', 'ruleset'])
    expect(steps[1]).toMatchObject({op: 'reproduce', program: 'check-ruleset', deadline: 40})
  })

  it('gives both the files, by their forms', () => {
    expect(files).toMatchObject({reproduce: '/cases/one/reproduce', 'ruleset.nft': '/run/saved.nft', 'ruleset.iptables': '/run/saved.iptables'})
    expect(Object.keys(files)).not.toContain('ruleset.ip6tables')
    const paths = {PATCHBENCH_RULESET_NFT: '/run/job/ruleset.nft', PATCHBENCH_RULESET_IPTABLES: '/run/job/ruleset.iptables'}
    expect(steps[1]).toMatchObject({environment: {...paths, PATCHBENCH_DEVICES: 'lan wan'}})
    expect(steps[2]).toMatchObject({environment: {...paths, PATCHBENCH_HOW_MANY: '3'}})
  })

  it('is one step where only loading is asked for', () => {
    const job = rulesetJob(CASE, RULESET, HARDWARE)
    expect(job.steps.map(({name}) => name)).toEqual(['modules', 'check-ruleset'])
    expect(Object.keys(job.files)).toEqual(['ruleset.nft', 'ruleset.iptables', 'check-ruleset'])
  })

  it('that is a shell has the files, and nothing was run in it', () => {
    const job = shellJob(CASE, 'ruleset', {ruleset: RULESET}, HARDWARE, {rows: 24, columns: 80})
    expect(job.steps.map(({name}) => name)).toEqual(['modules', 'shell'])
    expect(job.steps[1]).toMatchObject({environment: {PATCHBENCH_RULESET_NFT: '/run/job/ruleset.nft', PATCHBENCH_VARIANT: 'ruleset'}})
    expect(job.files).toMatchObject({'ruleset.nft': '/run/saved.nft'})
  })
})

it('a session without one has nothing of it', () => {
  const {steps, files} = sessionJob(CASE, ['base'], {}, HARDWARE)
  expect(steps.map(({name}) => name)).toEqual(['modules', 'base'])
  expect(files).toEqual({reproduce: '/cases/one/reproduce'})
  expect(steps[1]).toMatchObject({environment: {PATCHBENCH_HOW_MANY: '3'}})
})

describe('a ruleset that does not load', () => {
  const step: StepResult = {name: 'check-ruleset', status: 'done', exit: 1, ktap: []}

  it('is told in the words of what loads it', () => {
    expect(whyNotLoaded(step, 'ruleset.nft does not load (nft):\n1:1-3: Error: syntax error\n')).toBe('ruleset.nft does not load (nft):\n1:1-3: Error: syntax error')
    expect(whyNotLoaded(step, '')).toBe('check-ruleset ended with exit code 1')
  })

  it('is none that loads, and no other step', () => {
    expect(whyNotLoaded({...step, exit: 0}, 'a warning')).toBeUndefined()
    expect(whyNotLoaded({...step, name: 'ruleset'}, 'words')).toBeUndefined()
    expect(whyNotLoaded({...step, status: 'failed'}, 'words')).toBeUndefined()
  })
})
