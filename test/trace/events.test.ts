import {describe, expect, it} from 'vitest'
import {MARK, parseTrace} from '../../src/trace/events.js'
import {recorded} from './recorded.js'

const LINE = '         python3-149     [000] .Ns1. 1795178373.846393: ip_rcv: (ip_rcv+0x4/0x1f0) skb=0xff34fb89df30b300 flags=0x1 ttl=5'

describe('a recorded trace', () => {
  it.each(['6.1', '6.12'])('of %s has the hits, what they fetched, and the marks', (line) => {
    const events = parseTrace(recorded(`nat-${line}`, 'trace'))
    const destroyed = events.filter(({name}) => name === 'destroyed')
    expect(destroyed.map(({fields}) => fields)).toEqual([
      {source: '{10,0,0,2}', mark: '0'},
      {source: '{10,0,0,2}', mark: '0'},
    ])
    expect(events.filter(({name}) => name === 'kept').map(({fields}) => fields.verdict)).toEqual(['1', '1', '1', '0', '1', '1'])
    expect(events.filter(({name}) => name === MARK).map(({text}) => text)).toEqual(['not ok 1 entry-stays'])
    expect(events.map(({time}) => time)).toEqual(events.map(({time}) => time).sort((a, b) => a - b))
  })

  it.each(['6.1', '6.12'])('of %s has a stack where one was asked for', (line) => {
    const events = parseTrace(recorded(`nat-${line}`, 'trace'))
    for (const {name, stack} of events) expect([name, stack !== undefined]).toEqual([name, name === 'destroyed'])
    const stack = events.find(({name}) => name === 'destroyed')!.stack!
    expect(stack.slice(stack.indexOf('nf_ct_delete [nf_conntrack]')).slice(0, 4)).toEqual([
      'nf_ct_delete [nf_conntrack]',
      'nf_nat_inet_fn [nf_nat]',
      'nf_nat_ipv4_out [nf_nat]',
      'nf_hook_slow',
    ])
  })
})

describe('a line of a trace', () => {
  it('is read whole', () => {
    expect(parseTrace(LINE)).toEqual([
      {
        name: 'ip_rcv',
        time: 1_795_178_373_846_393,
        task: 'python3-149',
        cpu: 0,
        fields: {skb: '0xff34fb89df30b300', flags: '0x1', ttl: '5'},
        text: '(ip_rcv+0x4/0x1f0) skb=0xff34fb89df30b300 flags=0x1 ttl=5',
      },
    ])
  })

  it.each([
    ['a blank and a hyphen in the task', 'my - task-7', /^\s+python3-149/, '   my - task-7'],
    ['brackets in the task', 'a [000] b-7', /^\s+python3-149/, '   a [000] b-7'],
  ])('may have %s', (_, task, from, to) => {
    expect(parseTrace(LINE.replace(from, to)).map((event) => [event.task, event.name])).toEqual([[task, 'ip_rcv']])
  })

  it('may fetch texts and arrays', () => {
    const [event] = parseTrace('  a-1 [003] d..1. 7.000001: probe: (f+0x0/0x10 <- g) name="a b=c" list={1,2} none=(fault)')
    expect(event).toMatchObject({cpu: 3, time: 7_000_001, fields: {name: 'a b=c', list: '{1,2}', none: '(fault)'}})
  })

  it('that is none of a trace is passed over', () => {
    expect(parseTrace('# tracer: nop\n\nCPU:0 [LOST 12 EVENTS]\n => stray+0x1/0x2\nhello\n')).toEqual([])
  })

  it('gives a mark no fields: its text is anybody\'s', () => {
    const [event] = parseTrace('  a-1 [000] ..... 7.000001: tracing_mark_write+0xdf/0x280: ok 1 name=value')
    expect(event).toMatchObject({name: MARK, fields: {}, text: 'ok 1 name=value'})
  })
})

describe('a stack', () => {
  it('belongs to the hit before it on its CPU', () => {
    const text = [
      '  a-1 [000] d..1. 7.000001: one: (f+0x0/0x10)',
      '  b-2 [001] d..1. 7.000002: two: (f+0x0/0x10)',
      '  a-1 [000] d..1. 7.000003: <stack trace>',
      ' => f+0x5/0x10',
      ' => g+0x5/0x10 [module]',
      '  b-2 [001] d..1. 7.000004: <stack trace>',
      ' => f+0x5/0x10',
      ' => h+0x5/0x10',
      '  b-2 [001] d..1. 7.000005: <stack trace>',
      ' => nobody+0x5/0x10',
    ]
    expect(parseTrace(text.join('\n')).map(({name, stack}) => [name, stack])).toEqual([
      ['one', ['f', 'g [module]']],
      ['two', ['f', 'h']],
    ])
  })
})
