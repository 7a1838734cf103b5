import {describe, expect, it} from 'vitest'
import {compared, parseAbout, traceOf} from '../../src/trace/trace.js'
import {recordedTrace} from './recorded.js'

const PROBE = {name: 'probe', stack: false, return: false, function: 'f', event: 'p:patchbench/probe f', passed_over: [], missed: 0}
const ABOUT = {clock: {name: 'tai', before: {ahead: 0, uncertainty: 9}}, notes: [], probes: [PROBE], lost: 0, cut: false}

const notes = (about: object, optional: string[] = []) => traceOf({about: parseAbout(JSON.stringify({...ABOUT, ...about}))!, events: [], packets: [], conntrack: [], optional}).notes

describe('a recorded trace', () => {
  it('has what was installed, and says of what was not why', () => {
    const {probes, notes: said, clock} = recordedTrace('nat-6.12', ['excused'])
    expect(probes.map(({name, function: on, hits}) => `${name} on ${on}: ${hits}`)).toEqual(['destroyed on nf_ct_delete: 2', 'kept on nf_nat_inet_fn: 6', 'another_mark on nf_ct_delete: 0'])
    expect(clock).toEqual({name: 'tai', ahead: 0, uncertainty: 0})
    expect(said).toEqual([
      'the probe absent was not installed: no_such_function: this kernel has no function of that name',
      "the probe no_field was not installed: nf_ct_delete: the filter 'nothing == 1' is refused: parse_error: Field not found",
      'the probe no_argument was not installed: nf_ct_delete: Invalid register name',
      'the probe constant_propagated was not installed: ip_rcv_finish_core: this kernel has it only as ip_rcv_finish_core.constprop.0, whose arguments may differ',
      'the probe kept is on nf_nat_inet_fn, not on no_such_function: this kernel has no function of that name',
      'the probe another_mark never fired: nothing called nf_ct_delete itself (the compiler may have put its code into its callers), or the filter left all out',
    ])
  })

  it('says of an optional probe nothing, and of another something', () => {
    expect(recordedTrace('nat-6.1', ['excused']).notes.join()).not.toContain('excused')
    expect(recordedTrace('nat-6.1').notes.join()).toContain('the probe excused was not installed')
  })
})

describe('a trace says', () => {
  it.each<[string, object, string]>([
    ['what the guest noted', {notes: ['nothing was traced: this kernel has no tracefs']}, 'nothing was traced: this kernel has no tracefs'],
    ['that events were lost', {lost: 12}, '12 events found no room in the trace: a filter makes them fewer'],
    ['that it was cut', {cut: true}, 'the trace is longer than what is kept of it: a filter makes it shorter'],
    ['that a module was not loaded', {probes: [{...PROBE, waits: true}]}, 'the probe probe is in a module that was not loaded when the run began'],
    ['that hits were missed', {probes: [{...PROBE, missed: 3}]}, 'the kernel missed 3 hits of the probe probe'],
  ])('%s', (_, about, sentence) => {
    expect(notes(about)).toContain(sentence)
  })
})

it('a probe that fired in another cell is silent for no reason of the compiler', () => {
  const silent = {...traceOf({about: parseAbout(JSON.stringify(ABOUT))!, events: [], packets: [], conntrack: [], optional: []}), evidence: ''}
  const fired = {...silent, notes: ['other'], probes: silent.probes.map((probe) => ({...probe, hits: 1}))}
  expect(compared([silent, fired]).map((trace) => trace.notes)).toEqual([['the probe probe never fired here: nothing called f, or the filter left all out'], ['other']])
  expect(compared([silent, silent])).toEqual([silent, silent])
})

it('a probe of a module that is not loaded is not called silent, and an optional one nothing at all', () => {
  expect(notes({probes: [{...PROBE, waits: true}]})).toHaveLength(1)
  expect(notes({probes: [{...PROBE, waits: true}]}, ['probe'])).toEqual([])
})

describe("a guest's trace.json", () => {
  it.each(['', 'no JSON', 'null', '{}', '{"clock": null, "notes": "x", "probes": []}', JSON.stringify({...ABOUT, probes: [{}]})])('that is %j is none', (text) => {
    expect(parseAbout(text)).toBeUndefined()
  })

  it('cannot write to the terminal', () => {
    expect(notes({notes: ['\u001b[2Jhello']})[0]).toBe('hello')
  })
})

it('a long timeline is cut, and that is said', () => {
  const packets = Array.from({length: 2100}, (_, time) => ({time, capture: 'wire', text: ''}))
  const {timeline, notes: said} = traceOf({about: parseAbout(JSON.stringify(ABOUT))!, events: [], packets, conntrack: [], optional: []})
  expect(timeline).toHaveLength(2000)
  expect(said).toContain('the timeline has 2100 entries; the first 2000 are here, the others in the evidence')
})
