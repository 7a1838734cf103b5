import {MARK, type TraceEvent} from './events.js'
import {type Packet} from './packets.js'

/** How a trace's clock relates to CLOCK_REALTIME, which packets are stamped with. */
export type TraceClock = {
  /** As in trace_clock: `tai` or `mono`. */
  name: string
  /** How far it is ahead of CLOCK_REALTIME, in ns. */
  ahead: number
  /** How exactly that is known, in ns, either way. A trace prints microseconds. */
  uncertainty: number
}

/** One thing that happened, on one clock with all others. */
export type TimelineEntry = {
  /** CLOCK_REALTIME, in us since the epoch. */
  time: number
  kind: 'probe' | 'packet' | 'conntrack' | 'test'
  /** The probe, the capture or the list of events that it is from; of a test, the mark itself. */
  name: string
  text: string
  /** What a probe fetched. */
  fields?: Record<string, string>
}

/** The offset as it was measured before and after the run: CLOCK_TAI is ahead by whole seconds, exactly. */
export function clockOf(name: string, before: {ahead: number; uncertainty: number}, after: {ahead: number; uncertainty: number}): TraceClock {
  const uncertainty = Math.max(before.uncertainty, after.uncertainty) + Math.abs(after.ahead - before.ahead)
  const whole = Math.round(before.ahead / 1e9) * 1e9 + 0
  if (name === 'tai' && Math.abs(before.ahead - whole) <= uncertainty) return {name, ahead: whole, uncertainty: 0}
  return {name, ahead: before.ahead, uncertainty}
}

/** What happened, in order; of things in one microsecond, nobody knows. */
export function timeline(
  events: readonly TraceEvent[],
  clock: TraceClock,
  packets: readonly (Packet & {capture: string})[],
  conntrack: readonly ConntrackEvent[],
): TimelineEntry[] {
  const entries: TimelineEntry[] = [
    ...events.map((event) => traceEntry(event, clock)),
    ...once(packets).map(({time, capture, text}) => ({time, kind: 'packet' as const, name: capture, text})),
    ...conntrack.map(({time, source, text}) => ({time, kind: 'conntrack' as const, name: source, text})),
  ]
  return entries.sort((a, b) => a.time - b.time)
}

/** A frame that several captures of one device hold is one packet, of the first of them. */
function once<T extends Packet & {capture: string}>(packets: readonly T[]): T[] {
  const holders = new Map<string, string>()
  return packets.filter(({time, text, capture}) => {
    const frame = `${time} ${text}`
    if (!holders.has(frame)) holders.set(frame, capture)
    return holders.get(frame) === capture
  })
}

function traceEntry({name, time, task, fields, text, caller}: TraceEvent, {ahead}: TraceClock): TimelineEntry {
  const real = time - Math.round(ahead / 1000)
  if (name === MARK) return {time: real, kind: 'test', name: text, text: ''}
  const values = Object.entries(fields).map(([field, value]) => `${field}=${value}`)
  return {time: real, kind: 'probe', name, text: [...values, ...(caller ? [`from ${caller}`] : []), `(${task})`].join(' '), fields}
}

export type ConntrackEvent = {/** When conntrack(8) read it, in us since the epoch: later than it happened. */ time: number; source: string; text: string}

/** The events of `conntrack -E -o timestamp`. */
export function conntrackEvents(text: string, source: string): ConntrackEvent[] {
  return text.split('\n').flatMap((line) => {
    const parts = /^\[(\d+)\s*\.(\d+)\s*\]\s+(\[\w+\].*)$/.exec(line)
    if (!parts) return []
    return [{time: Number(parts[1]) * 1_000_000 + Number(parts[2]), source, text: parts[3]!.replace(/\s+/g, ' ').trim()}]
  })
}
