import {describe, expect, it} from 'vitest'
import {clockOf, conntrackEvents, timeline} from '../../src/trace/timeline.js'
import {recordedTrace} from './recorded.js'

const EXACT = {name: 'tai', ahead: 0, uncertainty: 0}
const event = (name: string, time: number, text = '') => ({name, time, task: 'a-1', cpu: 0, fields: {mark: '7'}, text})

describe('a recorded timeline', () => {
  it.each(['6.1', '6.12'])('of %s has probes, packets and conntrack in the order of cause and effect', (line) => {
    const steps = recordedTrace(`nat-${line}`).timeline.map(({kind, name, text}) => [kind, name, /^\[\w+\]|verdict=\d|source=\S+/.exec(text)?.[0] ?? ''].join(' ').trim())
    const wanted = ['packet router-wan1', 'conntrack router [NEW]', 'probe destroyed source={10,0,0,2}', 'probe kept verdict=0', 'conntrack router [DESTROY]', 'packet router-wan2', 'test not ok 1 entry-stays']
    const at = wanted.map((one) => steps.indexOf(one))
    expect(at).not.toContain(-1)
    expect(at).toEqual([...at].sort((a, b) => a - b))
  })

  it('shows where the hairpin packet loses its flag', () => {
    const hits = recordedTrace('hairpin-6.12').timeline.filter(({kind}) => kind === 'probe')
    const copies = new Set(hits.filter(({name}) => name === 'dev_loopback_xmit').map(({fields}) => fields!.skb))
    const flags = (name: string) => new Set(hits.filter((one) => one.name === name && copies.has(one.fields!.skb!)).map(({fields}) => fields!.flags))
    for (const name of ['dev_loopback_xmit', 'enqueue_to_backlog', 'process_backlog', 'ip_rcv']) expect([name, flags(name)]).toEqual([name, new Set(['0x1'])])
    for (const name of ['ip_rcv_core', 'ip_mr_input']) expect([name, flags(name)]).toEqual([name, new Set(['0x0'])])
  })
})

describe('a timeline', () => {
  it('is in order, on the clock of the packets', () => {
    const clock = {name: 'mono', ahead: -5_000_000, uncertainty: 0}
    const entries = timeline([{...event('late', 3000), caller: 'f [m]'}, event('tracing_mark_write', 1000, 'ok 1 a')], clock, [{time: 7000, capture: 'wire', text: 'a > b'}], [{time: 6500, source: 'router', text: '[NEW]'}])
    expect(entries).toEqual([
      {time: 6000, kind: 'test', name: 'ok 1 a', text: ''},
      {time: 6500, kind: 'conntrack', name: 'router', text: '[NEW]'},
      {time: 7000, kind: 'packet', name: 'wire', text: 'a > b'},
      {time: 8000, kind: 'probe', name: 'late', text: 'mark=7 from f [m] (a-1)', fields: {mark: '7'}},
    ])
  })
})

it('a frame that two captures hold is one packet, of the first', () => {
  const packets = [{time: 5, capture: 'a', text: 'x > y'}, {time: 5, capture: 'a', text: 'y > x'}, {time: 5, capture: 'b', text: 'x > y'}, {time: 6, capture: 'b', text: 'x > y'}]
  expect(timeline([], EXACT, packets, []).map(({time, name, text}) => `${time} ${name} ${text}`)).toEqual(['5 a x > y', '5 a y > x', '6 b x > y'])
})

describe("a trace's clock", () => {
  const measured = (ahead: number, uncertainty = 1500) => ({ahead, uncertainty})

  it.each<[string, number, number]>([
    ['TAI without leap seconds', 900, 0],
    ['TAI with them', 37_000_000_800, 37_000_000_000],
  ])('is exact where it is %s', (_, ahead, whole) => {
    expect(clockOf('tai', measured(ahead), measured(ahead - 300))).toEqual({name: 'tai', ahead: whole, uncertainty: 0})
  })

  it('is what was measured elsewhere, and as exact as that', () => {
    expect(clockOf('mono', measured(-70_000, 900), measured(-70_400, 1500))).toEqual({name: 'mono', ahead: -70_000, uncertainty: 1900})
    expect(clockOf('tai', measured(400_000_000), measured(400_000_000))).toEqual({name: 'tai', ahead: 400_000_000, uncertainty: 1500})
  })
})

describe("conntrack's events", () => {
  it('have the time at which they were read', () => {
    const text = '[1795178558.788392]\t[DESTROY] udp      17 src=10.0.0.2 [UNREPLIED] mark=48\nconntrack v1.4.7: 1 flow events have been shown.\n[12.5] no event\n'
    expect(conntrackEvents(text, 'router')).toEqual([{time: 1_795_178_558_788_392, source: 'router', text: '[DESTROY] udp 17 src=10.0.0.2 [UNREPLIED] mark=48'}])
  })
})

it('a timeline compares as many decimals as conntrack prints', () => {
  expect(timeline([], EXACT, [], conntrackEvents('[7.000009]\t[NEW] a', 'r'))[0]!.time).toBe(7_000_009)
})
