import {z} from 'zod'
import {printable} from '../lib/text.js'
import {type TraceEvent} from './events.js'
import {callerOf, type FoldedStack, foldStacks} from './stacks.js'
import {clockOf, type ConntrackEvent, timeline, type TimelineEntry, type TraceClock} from './timeline.js'
import {type Packet} from './packets.js'

/** How many entries of a timeline are kept in a result; the evidence holds all of them. */
const ENTRIES = 2000

/** What a traced session of a cell left. It says nothing about the verdict. */
export type Trace = {
  /** The folder with the raw trace and the captures, by the run's. */
  evidence: string
  /** What could not be recorded and why, and what a reader has to know, a sentence each. */
  notes: string[]
  /** null where nothing was traced. */
  clock: TraceClock | null
  probes: TracedProbe[]
  stacks: FoldedStack[]
  timeline: TimelineEntry[]
}

export type TracedProbe = {
  name: string
  /** The function that it is on. */
  function: string
  return: boolean
  /** Its definition, as kprobe_events shows it. */
  event: string
  hits: number
}

const offset = z.object({ahead: z.number(), uncertainty: z.number()})
const words = z.string().max(4000).transform(printable)

/** trace.json of vm/lib/probes.py. */
const aboutSchema = z.object({
  clock: z.object({name: words, before: offset, after: offset.optional()}).nullable(),
  notes: z.array(words).max(100),
  probes: z
    .array(
      z.object({
        name: words,
        stack: z.boolean(),
        return: z.boolean(),
        function: words.optional(),
        event: words.optional(),
        waits: z.boolean().default(false),
        passed_over: z.array(words).max(10).default([]),
        missed: z.number().optional(),
        error: words.optional(),
      }),
    )
    .max(100),
  lost: z.number().default(0),
  cut: z.boolean().default(false),
})

export type AboutTrace = z.infer<typeof aboutSchema>

/** What the guest says about its trace; undefined when that is nothing of the kind. */
export function parseAbout(text: string): AboutTrace | undefined {
  try {
    return aboutSchema.parse(JSON.parse(text))
  } catch {
    return undefined
  }
}

export type TraceInput = {
  about: AboutTrace
  events: readonly TraceEvent[]
  packets: readonly (Packet & {capture: string})[]
  conntrack: readonly ConntrackEvent[]
  /** Probes that a kernel need not have. */
  optional: readonly string[]
}

/** A trace from what the guest left. */
export function traceOf({about, events, packets, conntrack, optional}: TraceInput): Omit<Trace, 'evidence'> {
  const functions = new Map(about.probes.flatMap(({name, function: on}) => (on === undefined ? [] : [[name, on] as const])))
  const probes = about.probes.flatMap((probe) => {
    const {name, function: on, event} = probe
    if (on === undefined || event === undefined) return []
    return [{name, function: on, return: probe.return, event, hits: events.filter((one) => one.name === name).length}]
  })
  const clock = about.clock && clockOf(about.clock.name, about.clock.before, about.clock.after ?? about.clock.before)
  const called = events.map((event) => (event.stack && functions.has(event.name) ? {...event, caller: callerOf(event.stack, functions.get(event.name)!)} : event))
  const whole = clock ? timeline(called, clock, packets, conntrack) : []
  const waiting = about.probes.filter(({waits}) => waits).map(({name}) => name)
  const silent = probes.filter(({name, hits}) => hits === 0 && !waiting.includes(name)).map(silence)
  const notes = [...notesOf(about, optional), ...silent]
  if (whole.length > ENTRIES) notes.push(`the timeline has ${whole.length} entries; the first ${ENTRIES} are here, the others in the evidence`)
  const entries = whole.slice(0, ENTRIES).map((entry) => ({...entry, name: printable(entry.name), text: printable(entry.text)}))
  const stacks = foldStacks(events, functions).map((stack) => ({...stack, folded: printable(stack.folded), frames: stack.frames.map(printable), caller: printable(stack.caller)}))
  return {notes, clock, probes, stacks, timeline: entries}
}

function silence({name, function: on}: TracedProbe): string {
  return `the probe ${name} never fired: nothing called ${on} itself (the compiler may have put its code into its callers), or the filter left all out`
}

/** The traces of one kernel's cells: where a probe fired in one of them, the compiler is no reason in the others. */
export function compared(traces: readonly Trace[]): Trace[] {
  const fired = new Set(traces.flatMap(({probes}) => probes.filter(({hits}) => hits > 0).map(keyOf)))
  return traces.map((trace) => {
    const plain = new Map(trace.probes.filter((probe) => fired.has(keyOf(probe))).map((probe) => [silence(probe), silenceHere(probe)]))
    return {...trace, notes: trace.notes.map((note) => plain.get(note) ?? note)}
  })
}

function keyOf({name, function: on}: TracedProbe): string {
  return `${name} ${on}`
}

function silenceHere({name, function: on}: TracedProbe): string {
  return `the probe ${name} never fired here: nothing called ${on}, or the filter left all out`
}

function notesOf({notes, probes, lost, cut}: AboutTrace, optional: readonly string[]): string[] {
  const missing = probes.flatMap(({name, error}) => (error === undefined || optional.includes(name) ? [] : [`the probe ${name} was not installed: ${plainly(error)}`]))
  const others = probes.flatMap(({name, function: on, passed_over: before}) => (on === undefined || before.length === 0 ? [] : [`the probe ${name} is on ${on}, not on ${before.map(plainly).join('; nor on ')}`]))
  const waiting = probes.flatMap(({name, waits}) => (waits && !optional.includes(name) ? [`the probe ${name} is in a module that was not loaded when the run began`] : []))
  const missed = probes.flatMap(({name, missed: count = 0}) => (count > 0 ? [`the kernel missed ${count} hits of the probe ${name}`] : []))
  const full = lost > 0 ? [`${lost} events found no room in the trace: a filter makes them fewer`] : []
  const short = cut ? ['the trace is longer than what is kept of it: a filter makes it shorter'] : []
  return [...notes, ...missing, ...others, ...waiting, ...missed, ...full, ...short]
}

/** A complaint about a function without what the kernel says of a symbol that it cannot find, where that is said before it. */
function plainly(complaint: string): string {
  return complaint.replaceAll(/(?<=\bthis kernel has [^();]*) \(Invalid probed address or symbol\)/g, '')
}
