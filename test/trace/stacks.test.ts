import {describe, expect, it} from 'vitest'
import {type TraceEvent} from '../../src/trace/events.js'
import {callersOf, foldStacks, isUnder} from '../../src/trace/stacks.js'
import {recordedTrace} from './recorded.js'

const hit = (name: string, ...stack: string[]): TraceEvent => ({name, time: 0, task: 'a-1', cpu: 0, fields: {}, text: '', stack})
const ON = new Map([['probe', 'f'], ['other', 'f']])
const RECORDER = ['kprobe_trace_func', 'kprobe_dispatcher', 'kprobe_ftrace_handler', '0xffffffffc04f20de']

describe('recorded stacks', () => {
  it.each(['6.1', '6.12'])('of %s show who destroyed the entry', (line) => {
    const {stacks} = recordedTrace(`nat-${line}`)
    expect(stacks).toHaveLength(2)
    const [drop, end] = stacks
    expect(isUnder(drop!, 'nf_nat_inet_fn', 'nf_ct_delete')).toBe(true)
    expect(drop!.folded).toMatch(/;ip_output;nf_hook_slow;nf_nat_ipv4_out \[nf_nat\];nf_nat_inet_fn \[nf_nat\];nf_ct_delete \[nf_conntrack\] 1$/)
    expect(isUnder(end!, 'nf_nat_inet_fn', 'nf_ct_delete')).toBe(false)
    expect(isUnder(end!, 'cleanup_net', 'nf_ct_delete')).toBe(true)
    expect(callersOf(stacks, 'destroyed')).toEqual([['nf_nat_inet_fn [nf_nat]', 1], ['nf_ct_iterate_cleanup [nf_conntrack]', 1]])
  })

  it('are folded where they are the same', () => {
    const {stacks, probes} = recordedTrace('hairpin-6.12')
    for (const name of ['dev_loopback_xmit', 'enqueue_to_backlog', 'process_backlog']) {
      const counted = stacks.filter(({probe}) => probe === name).reduce((sum, {count}) => sum + count, 0)
      expect([name, counted]).toEqual([name, probes.find((probe) => probe.name === name)!.hits])
    }
    expect(stacks.filter(({probe}) => probe === 'enqueue_to_backlog').map(({count}) => count)).toEqual([4, 4, 1])
    expect(stacks.some(({folded}) => folded.includes('kprobe'))).toBe(false)
  })
})

describe('a folded stack', () => {
  it('begins outside and ends with the probed function, without what recorded it', () => {
    expect(foldStacks([hit('probe', ...RECORDER, 'f', 'g [m]', 'h')], ON)).toEqual([{probe: 'probe', frames: ['h', 'g [m]', 'f'], count: 1, caller: 'g [m]', folded: 'h;g [m];f 1'}])
  })

  it('of a return ends with the caller', () => {
    const trampoline = ['kretprobe_trace_func', 'rethook_trampoline_handler', 'arch_rethook_trampoline_callback', 'arch_rethook_trampoline']
    expect(foldStacks([hit('probe', ...trampoline, 'g', 'h')], ON)[0]).toMatchObject({folded: 'h;g 1', caller: 'g'})
  })

  it('is counted by its probe, the most frequent first', () => {
    const events = [hit('probe', 'f', 'g'), hit('other', 'f', 'h'), hit('other', 'f', 'h'), hit('unknown', 'f', 'g')]
    expect(foldStacks(events, ON).map(({probe, folded}) => `${probe}: ${folded}`)).toEqual(['other: h;f 2', 'probe: g;f 1'])
  })

  it('has a caller where the stack goes that far', () => {
    expect(foldStacks([hit('probe', 'f')], ON)[0]!.caller).toBe('')
    const ways = foldStacks([hit('probe', 'f', 'g', 'x'), hit('probe', 'f', 'h'), hit('probe', 'f', 'h'), hit('probe', 'f', 'g'), hit('probe', 'f', 'g')], ON)
    expect(callersOf(ways, 'probe')).toEqual([['g', 3], ['h', 2]])
  })

  it('is none where none was recorded', () => {
    expect(foldStacks([hit('probe')], ON)).toEqual([])
  })
})
