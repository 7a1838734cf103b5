import {scaleLinear} from 'd3-scale'
import {basename, join} from 'node:path'
import {z} from 'zod'
import {evidenceText, filesOf, type SessionFolder} from '../evidence.js'
import {readCapture} from './captures.js'

/** A session in time: its steps, the livepatch's state, and the packets meanwhile. Lengths in px. */
export type Timeline = {
  width: number
  height: number
  title: string
  steps: {x: number; width: number; name: string; label: string; odd: boolean}[]
  states: {x: number; width: number; state: 'on' | 'transition'}[]
  /** How long each transition took, s. */
  transitions: {kind: string; seconds: string}[]
  packets: Bar[]
  wrong: Bar[]
  ticks: {x: number; label: string}[]
  counts: {step: string; total: number; wrong: number}[]
}

type Bar = {x: number; y: number; width: number; height: number}

const WIDTH = 760
const LEFT = 92
const RIGHT = 12
const BARS = {count: 90, height: 34, packets: 108, wrong: 156}

const clocks = z.array(z.object({name: z.string().max(100), monotonic: z.number(), real: z.number(), seconds: z.number().nonnegative()})).max(100)

type Clock = z.infer<typeof clocks>[number]

const LIMIT = 1 << 20
const TRANSITION = /^\[\s*(\d+\.\d+)\] livepatch: '[^']*': (starting|completing|patching complete|unpatching complete)\b(?: (patching|unpatching) transition)?/

/** The timeline of a session with a livepatch; undefined where it says too little of its clocks. */
export async function timelineOf(session: SessionFolder): Promise<Timeline | undefined> {
  const steps = readClocks((await evidenceText(join(session.path, 'steps.json'), LIMIT))?.text)
  const [first] = steps
  if (!first) return undefined
  const zero = first.monotonic
  const last = steps.at(-1)!
  const scale = scaleLinear([0, last.monotonic + last.seconds - zero], [LEFT, WIDTH - RIGHT])
  const x = (seconds: number) => round(scale(seconds))
  const span = (from: number, to: number) => ({x: x(from), width: Math.max(round(scale(to) - scale(from)), 2)})
  const changes = await changesOf(session, steps, zero)
  const packets = (await Promise.all(steps.map(async (step) => await packetsIn(session, step, zero)))).flat()
  if (changes.length === 0) return undefined
  const highest = Math.max(...bins(packets, scale.domain()[1]!), 1)
  const bars = (some: typeof packets, bottom: number) => barsOf(bins(some, scale.domain()[1]!), highest, bottom)
  return {
    ...{width: WIDTH, height: 196},
    title: `${basename(session.path)}: the steps, the livepatch's state and the packets over time`,
    steps: steps.map(({name, monotonic, seconds}, index) => {
      const place = span(monotonic - zero, monotonic - zero + seconds)
      return {...place, name, label: place.width > name.length * 6.6 + 6 ? name : '', odd: index % 2 === 1}
    }),
    states: statesOf(changes, scale.domain()[1]!).map(({from, to, state}) => ({...span(from, to), state})),
    transitions: changes.map(({kind, from, to}) => ({kind, seconds: (to - from).toFixed(2)})),
    packets: bars(packets, BARS.packets),
    wrong: bars(packets.filter(({wrong}) => wrong), BARS.wrong),
    ticks: scale.ticks(8).map((tick) => ({x: x(tick), label: `${tick} s`})),
    counts: steps.flatMap(({name}) => {
      const own = packets.filter(({step}) => step === name)
      return own.length === 0 ? [] : [{step: name, total: own.length, wrong: own.filter(({wrong}) => wrong).length}]
    }),
  }
}

function readClocks(text: string | undefined): Clock[] {
  try {
    return clocks.parse(JSON.parse(text ?? '[]'))
  } catch {
    return []
  }
}

type Change = {kind: 'load' | 'unload'; from: number; to: number}

/** The livepatch's transitions, by the kernel log: in s since the session's first step. */
async function changesOf(session: SessionFolder, steps: readonly Clock[], zero: number): Promise<Change[]> {
  const logs = await Promise.all(steps.map(async ({name}) => (await evidenceText(join(session.path, name, 'kernel.log'), LIMIT))?.text ?? ''))
  const changes: Change[] = []
  let start: number | undefined
  for (const line of logs.join('\n').split('\n')) {
    const parts = TRANSITION.exec(line)
    if (!parts) continue
    const time = Number(parts[1]) - zero
    if (parts[2] === 'starting') start = time
    else if (start !== undefined && parts[2]!.endsWith('complete')) {
      changes.push({kind: parts[2] === 'patching complete' ? 'load' : 'unload', from: start, to: time})
      start = undefined
    }
  }
  return changes
}

function statesOf(changes: readonly Change[], end: number): {from: number; to: number; state: 'on' | 'transition'}[] {
  return changes.flatMap(({kind, from, to}, index) => {
    const transition = {from, to, state: 'transition' as const}
    if (kind === 'unload') return [transition]
    return [transition, {from: to, to: changes[index + 1]?.from ?? end, state: 'on' as const}]
  })
}

type TimedPacket = {time: number; step: string; wrong: boolean}

async function packetsIn(session: SessionFolder, {name, monotonic, real}: Clock, zero: number): Promise<TimedPacket[]> {
  const folder = join(session.path, name)
  const captures = (await filesOf(folder)).filter((file) => file.endsWith('.pcap'))
  const judged = (await Promise.all(captures.map(async (file) => await readCapture(join(folder, file))))).flat()
  return judged.map(({time, right}) => ({time: time / 1e6 - real + monotonic - zero, step: name, wrong: right === false}))
}

function bins(packets: readonly TimedPacket[], end: number): number[] {
  const counts = Array<number>(BARS.count).fill(0)
  for (const {time} of packets) {
    const index = Math.min(Math.max(Math.floor((time / end) * BARS.count), 0), BARS.count - 1)
    counts[index]! += 1
  }
  return counts
}

function barsOf(counts: readonly number[], highest: number, bottom: number): Bar[] {
  const width = (WIDTH - LEFT - RIGHT) / counts.length
  return counts.flatMap((count, index) => {
    if (count === 0) return []
    // By the root: one packet is to be seen beside a thousand.
    const height = round(Math.max(Math.sqrt(count / highest) * BARS.height, 3))
    return [{x: round(LEFT + index * width), y: round(bottom - height), width: round(Math.max(width - 1, 2)), height}]
  })
}

function round(value: number): number {
  return Math.round(value * 10) / 10
}
