import {createInterface} from 'node:readline'
import {printable} from '../lib/text.js'
import {type GuestEvent, parseEvent} from './protocol.js'
import {type Machine} from './qemu.js'

/** How long a machine may take, in ms on the host's clock: a guest's own clock may stand or leap. */
export type Limits = {
  /** Without any output, on the console or the protocol. */
  silence: number
  /** With output, but without an event on the protocol. */
  progress: number
  /** In all. */
  deadline: number
}

/** How watching a machine ended. Only `reached` is not a failure of the machinery. */
export type Ending =
  | {kind: 'reached'}
  | {kind: 'ended'; how: string}
  | {kind: 'silent'; seconds: number}
  | {kind: 'no-progress'; seconds: number}
  | {kind: 'deadline'; seconds: number}
  | {kind: 'lost-channel'; why: string}

export type Watched = {
  machine: Pick<Machine, 'console' | 'protocol' | 'ended'>
  limits: Limits
  /** Takes every event; true when it is the one that was waited for. */
  onEvent: (event: GuestEvent) => boolean
  onConsole?: (text: string) => void
}

/**
 * Watches four things apart from each other: the process, silence, output that
 * is no progress, and the deadline. Resolves with the first that happens.
 */
export async function watch({machine, limits, onEvent, onConsole}: Watched): Promise<Ending> {
  let resolve!: (ending: Ending) => void
  const first = new Promise<Ending>((settle) => (resolve = settle))
  const silence = timer(limits.silence, (seconds) => resolve({kind: 'silent', seconds}))
  const progress = timer(limits.progress, (seconds) => resolve({kind: 'no-progress', seconds}))
  const deadline = timer(limits.deadline, (seconds) => resolve({kind: 'deadline', seconds}))

  const takeConsole = (chunk: Buffer) => {
    silence.restart()
    onConsole?.(chunk.toString('utf8'))
  }
  const takeLine = (line: string) => {
    silence.restart()
    const event = parseEvent(line)
    if (!event) return resolve({kind: 'lost-channel', why: `the guest sent '${printable(line).slice(0, 80)}', which is no event`})
    progress.restart()
    if (onEvent(event)) resolve({kind: 'reached'})
  }
  machine.console.on('data', takeConsole)
  const lines = createInterface({input: machine.protocol})
  lines.on('line', takeLine)
  lines.on('close', () => {
    // When the process ends, its channels close as well: give its end the first word.
    setTimeout(() => resolve({kind: 'lost-channel', why: 'the guest closed the protocol port'}), 200)
  })
  void machine.ended.then(({how}) => resolve({kind: 'ended', how}))

  try {
    return await first
  } finally {
    for (const one of [silence, progress, deadline]) one.stop()
    machine.console.off('data', takeConsole)
    lines.close()
  }
}

/** One sentence for the user about an ending that is a failure. */
export function describeEnding(ending: Ending, while_: string): string {
  switch (ending.kind) {
    case 'reached':
      return `the machine did ${while_}`
    case 'ended':
      return `the machine ended while ${while_} (QEMU ended ${ending.how})`
    case 'silent':
      return `the machine printed nothing for ${ending.seconds} s while ${while_}`
    case 'no-progress':
      return `the machine printed for ${ending.seconds} s without progress while ${while_}`
    case 'deadline':
      return `the machine was not done after ${ending.seconds} s while ${while_}`
    case 'lost-channel':
      return `the channel to the machine was lost while ${while_}: ${ending.why}`
  }
}

function timer(ms: number, expire: (seconds: number) => void) {
  const seconds = Math.round(ms / 1000)
  let handle = setTimeout(expire, ms, seconds)
  return {
    restart() {
      clearTimeout(handle)
      handle = setTimeout(expire, ms, seconds)
    },
    stop() {
      clearTimeout(handle)
    },
  }
}
