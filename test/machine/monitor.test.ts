import {PassThrough} from 'node:stream'
import {afterEach, beforeEach, describe, expect, it, vi} from 'vitest'
import {describeEnding, type Ending, watch} from '../../src/machine/monitor.js'
import {type GuestEvent} from '../../src/machine/protocol.js'

const LIMITS = {silence: 5_000, progress: 20_000, deadline: 60_000}

/** A machine that does what the test says. */
function fakeMachine() {
  const console = new PassThrough()
  const protocol = new PassThrough()
  let end!: (how: string) => void
  const ended = new Promise<{how: string}>((resolve) => (end = (how) => resolve({how})))
  const events: GuestEvent[] = []
  const printed: string[] = []
  let ending: Ending | undefined
  const watching = watch({
    machine: {console, protocol, ended},
    limits: LIMITS,
    onConsole: (text) => void printed.push(text),
    onEvent: (event) => {
      events.push(event)
      return event.event === 'end'
    },
  }).then((how) => (ending = how))
  return {
    console,
    protocol,
    end,
    events,
    printed,
    watching,
    say: (event: object) => void protocol.write(`${JSON.stringify(event)}\n`),
    ending: () => ending,
  }
}

const wait = async (seconds: number) => await vi.advanceTimersByTimeAsync(seconds * 1000)

beforeEach(() => void vi.useFakeTimers())
afterEach(() => void vi.useRealTimers())

describe('watching a machine', () => {
  it('ends when the event that is waited for is reached', async () => {
    const machine = fakeMachine()
    machine.say({event: 'start'})
    machine.say({event: 'step', index: 0, name: 'base'})
    await wait(1)
    expect(machine.ending()).toBeUndefined()
    machine.say({event: 'end'})
    await wait(0.001)
    expect(machine.ending()).toEqual({kind: 'reached'})
    expect(machine.events.map(({event}) => event)).toEqual(['start', 'step', 'end'])
  })

  it('reads an event that comes in pieces', async () => {
    const machine = fakeMachine()
    machine.protocol.write('{"event": ')
    await wait(1)
    machine.protocol.write('"end"}\n')
    await wait(0.001)
    expect(machine.ending()).toEqual({kind: 'reached'})
  })

  it('ends when the process does', async () => {
    const machine = fakeMachine()
    machine.end('with exit code 1')
    await wait(0)
    expect(machine.ending()).toEqual({kind: 'ended', how: 'with exit code 1'})
  })

  it('gives silence up, but not before its time', async () => {
    const machine = fakeMachine()
    await wait(4.9)
    expect(machine.ending()).toBeUndefined()
    await wait(0.2)
    expect(machine.ending()).toEqual({kind: 'silent', seconds: 5})
  })

  it('does not take a machine that prints for a silent one, but misses progress', async () => {
    const machine = fakeMachine()
    for (let second = 0; second < 19; second++) {
      machine.console.write('still here\n')
      await wait(1)
    }
    expect(machine.ending()).toBeUndefined()
    machine.console.write('still here\n')
    await wait(1.5)
    expect(machine.ending()).toEqual({kind: 'no-progress', seconds: 20})
  })

  it('takes an event for progress and for a sign of life', async () => {
    const machine = fakeMachine()
    for (let second = 0; second < 56; second += 4) {
      machine.say({event: 'ktap', line: 'ok'})
      await wait(4)
    }
    expect(machine.ending()).toBeUndefined()
  })

  it('ends at the deadline whatever goes on', async () => {
    const machine = fakeMachine()
    for (let second = 0; second < 62; second++) {
      machine.say({event: 'ktap', line: 'ok'})
      machine.console.write('.')
      await wait(1)
    }
    expect(machine.ending()).toEqual({kind: 'deadline', seconds: 60})
  })

  it('does not trust a channel that sends something else', async () => {
    const machine = fakeMachine()
    machine.protocol.write(`BUG: ${'x'.repeat(500)}\n`)
    await wait(0.001)
    expect(machine.ending()).toEqual({kind: 'lost-channel', why: `the guest sent 'BUG: ${'x'.repeat(75)}', which is no event`})
    expect(machine.events).toEqual([])
  })

  it('loses a channel that closes', async () => {
    const machine = fakeMachine()
    machine.protocol.end()
    await wait(1)
    expect(machine.ending()).toEqual({kind: 'lost-channel', why: 'the guest closed the protocol port'})
  })

  it('lets the end of the process explain a channel that closed before', async () => {
    const machine = fakeMachine()
    machine.protocol.end()
    machine.console.end()
    await wait(0.1)
    machine.end('by SIGKILL')
    await wait(1)
    expect(machine.ending()).toEqual({kind: 'ended', how: 'by SIGKILL'})
  })

  it('keeps to the first ending', async () => {
    const machine = fakeMachine()
    machine.say({event: 'end'})
    await wait(0.001)
    machine.end('by SIGTERM')
    await wait(100)
    expect(await machine.watching).toEqual({kind: 'reached'})
  })

  it('passes the console on', async () => {
    const machine = fakeMachine()
    machine.console.write('[    0.000000] Linux')
    machine.console.write(' version\n')
    await wait(0.001)
    expect(machine.printed.join('')).toBe('[    0.000000] Linux version\n')
  })

  it('leaves no timer behind', async () => {
    const machine = fakeMachine()
    machine.say({event: 'end'})
    await wait(1)
    await machine.watching
    expect(vi.getTimerCount()).toBe(0)
  })
})

describe('an ending', () => {
  it.each<[Ending, string]>([
    [{kind: 'ended', how: 'by SIGKILL'}, "the machine ended while doing 'base' (QEMU ended by SIGKILL)"],
    [{kind: 'silent', seconds: 5}, "the machine printed nothing for 5 s while doing 'base'"],
    [{kind: 'no-progress', seconds: 20}, "the machine printed for 20 s without progress while doing 'base'"],
    [{kind: 'deadline', seconds: 60}, "the machine was not done after 60 s while doing 'base'"],
    [{kind: 'lost-channel', why: 'it closed'}, "the channel to the machine was lost while doing 'base': it closed"],
  ])('is one sentence: %j', (ending, sentence) => {
    expect(describeEnding(ending, "doing 'base'")).toBe(sentence)
  })
})
