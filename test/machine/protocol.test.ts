import {describe, expect, it} from 'vitest'
import {type GuestEvent, parseEvent} from '../../src/machine/protocol.js'

describe('a line of the protocol', () => {
  it.each<GuestEvent>([
    {event: 'ready', release: '6.12.90+deb12-amd64', log: '[    0.000000] Linux version 6.12\n'},
    {event: 'start'},
    {event: 'step', index: 0, name: 'base'},
    {event: 'ktap', line: 'not ok 1 one-copy'},
    {event: 'done', index: 0, seconds: 1.25, exit: 0},
    {event: 'done', index: 1, seconds: 0.5},
    {event: 'failed', index: 1, reason: 'the transition stalled'},
    {event: 'shell'},
    {event: 'end'},
  ])('is an event: $event', (event) => {
    expect(parseEvent(JSON.stringify(event))).toEqual(event)
  })

  it('may have fields that a later agent adds', () => {
    expect(parseEvent('{"event": "start", "more": 1}')).toEqual({event: 'start'})
  })

  it.each([
    '',
    'Kernel panic - not syncing: Fatal exception',
    '{"event": "end"',
    '{"event": "reboot"}',
    '{"event": "step", "index": "0", "name": "base"}',
    '{"event": "step", "index": 0}',
    '{"event": "ktap"}',
    '{"event": "done", "index": 0}',
    '{"event": "failed", "index": 0, "reason": null}',
    '[]',
    'null',
    '"end"',
    '\u0000\u0000{"event": "end"}',
  ])('is none: %j', (line) => {
    expect(parseEvent(line)).toBeUndefined()
  })
})
