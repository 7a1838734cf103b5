import {describe, expect, it} from 'vitest'
import {comparisonMarkdown} from '../../src/report/markdown.js'
import {comparisonTable} from '../../src/report/table.js'
import {clockText, stacksText, timelineText, timesText} from '../../src/report/trace.js'
import {type Trace} from '../../src/trace/trace.js'
import {FIXED, RECORD} from '../support/results.js'
import {recordedTrace} from '../trace/recorded.js'

const TRACE: Trace = {...recordedTrace('nat-6.12', ['excused']), evidence: 'base-traced/base'}
const RESULTS = FIXED.map((result) => (result.variant === 'reverted' ? result : {...result, trace: TRACE}))
const FACTS = {date: '', version: '', revision: '', command: '', folder: '/', tools: [], accelerator: 'tcg', why: 'asked for'}

describe('a trace in a report', () => {
  it('has hits, notes, stacks and times of each traced variant', async () => {
    const text = await comparisonMarkdown({results: RESULTS, pairs: [RECORD], leftOut: []}, FACTS)
    expect(text.match(/^### Trace: .*$/gm)).toEqual(['### Trace: base', '### Trace: livepatched, input'])
    expect(text).toContain('(`base-traced/base`)')
    expect(text).toContain('- the probe no_argument was not installed: nf_ct_delete: Invalid register name')
    expect(text).toContain('| destroyed | nf_ct_delete | 2 | nf_nat_inet_fn [nf_nat] 1, nf_ct_iterate_cleanup [nf_conntrack] 1 |\n| kept | return of nf_nat_inet_fn | 6 |  |')
    expect(text).toMatch(/^entry_\S+;.*nf_nat_inet_fn \[nf_nat\];nf_ct_delete \[nf_conntrack\] 1$/m)
    expect(text).toMatch(/^ +\d\.\d{6} {2}probe {6}destroyed {4}source=\{10,0,0,2\} mark=0 from nf_nat_inet_fn \[nf_nat\] \(python3-149\)$/m)
    expect(text).toContain('(trace clock tai, exact to the microsecond; conntrack(8) stamps an event when it reads it,')
    expect(text).not.toMatch(/\[object Object\]|undefined/)
  })

  it('is left out where none was recorded', async () => {
    expect(await comparisonMarkdown({results: FIXED, pairs: [RECORD], leftOut: []}, FACTS)).not.toContain('### Trace')
  })

  it('cannot end the block that it is quoted in', async () => {
    const timeline = [{time: 0, kind: 'test' as const, name: '```\n# all is well', text: ''}]
    const stacks = [{probe: 'p', frames: ['```'], count: 1, caller: '```', folded: '``` 1'}]
    const text = await comparisonMarkdown({results: [{...FIXED[0]!, trace: {...TRACE, timeline, stacks}}], pairs: [RECORD], leftOut: []}, FACTS)
    expect(text.match(/^```/gm)).toHaveLength(4)
  })
})

describe('a trace on a terminal', () => {
  it('is a line a cell, and each note once', () => {
    const lines = comparisonTable(RESULTS, false).split('\n').slice(4)
    expect(lines.slice(0, 3)).toEqual([
      '',
      'one, debian 6.12.90, base: traced destroyed 2, kept 6, another_mark 0',
      'one, debian 6.12.90, livepatched (input): traced destroyed 2, kept 6, another_mark 0',
    ])
    expect(lines.slice(3)).toEqual(TRACE.notes.map((note) => `one, debian 6.12.90: ${note}`))
  })

  it('names the cells that a note is about where it is not about all', () => {
    const odd = {...TRACE, notes: ['odd']}
    const [base, livepatched] = FIXED
    expect(comparisonTable([{...base!, trace: odd}, {...livepatched!, trace: {...TRACE, notes: []}}], false)).toMatch(/\none, debian 6\.12\.90, base: odd$/)
    expect(comparisonTable([{...base!, trace: odd}, {...livepatched!, trace: odd}], false)).toMatch(/\none, debian 6\.12\.90: odd$/)
  })

  it('says that nothing was traced', () => {
    const trace = {...TRACE, probes: [], notes: ['nothing was traced: this kernel has no tracefs']}
    expect(comparisonTable([{...FIXED[0]!, trace}], false)).toMatch(/: traced nothing\none, .*: nothing was traced: this kernel has no tracefs$/)
  })
})

describe('the texts', () => {
  it('name the probe of each stack, and who called', () => {
    const stack = {probe: 'a', frames: [], count: 1, caller: ''}
    const called = {...stack, caller: 'f'}
    const stacks = [{...called, count: 2, folded: 'e;f;g 2'}, {...stack, probe: 'b', folded: 'h 1'}, {...stack, folded: 'g 1'}, {...called, folded: 'f;g 1'}]
    expect(stacksText(stacks)).toBe('a from f, 3:\ne;f;g 2\nf;g 1\na:\ng 1\nb:\nh 1')
  })

  it('count time from the first entry, and leave out what a frame says of its link', () => {
    const packet = {time: 1_795_178_558_000_000, kind: 'packet' as const, name: 'wire', text: 'a > b, ethertype IPv4 (0x0800), length 45: (tos 0x0, ttl 63)'}
    expect(timelineText([packet, {...packet, time: packet.time + 1500, kind: 'test', name: 'ok 1 a'}])).toBe(
      '2026-11-20T12:42:38.000Z is 0\n  0.000000  packet     wire  a > b (tos 0x0, ttl 63)\n  0.001500  test       ok 1 a',
    )
    expect(timelineText([])).toBe('')
  })

  it('say how exact the clock is, and that conntrack comes late where there are events of it', () => {
    const packet = {time: 0, kind: 'packet' as const, name: 'wire', text: ''}
    expect(timesText(null, [packet])).toBe('')
    expect(timesText(null, [packet, {...packet, kind: 'conntrack'}])).toMatch(/^conntrack\(8\) stamps/)
    expect(clockText({name: 'mono', ahead: -70_000, uncertainty: 1900})).toBe('trace clock mono, off by 2 us at the most')
  })
})
