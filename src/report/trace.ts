import {callersOf, type FoldedStack} from '../trace/stacks.js'
import {type TimelineEntry, type TraceClock} from '../trace/timeline.js'

/** How wide a line of a timeline is at the most. */
const WIDTH = 160

/** What tcpdump says of a frame between its addresses and what is in it. */
const LINK = /, ethertype [^:]*:(?= )/

/** Folded stacks under the probe that they lead to and the caller that they come from. */
export function stacksText(stacks: readonly FoldedStack[]): string {
  const probes = [...new Set(stacks.map(({probe}) => probe))]
  return probes.flatMap((probe) => callersOf(stacks, probe).flatMap(([caller, count]) => [heading(probe, caller, count), ...foldedOf(stacks, probe, caller)])).join('\n')
}

function heading(probe: string, caller: string, count: number): string {
  return caller ? `${probe} from ${caller}, ${count}:` : `${probe}:`
}

function foldedOf(stacks: readonly FoldedStack[], probe: string, caller: string): string[] {
  return stacks.filter((stack) => stack.probe === probe && stack.caller === caller).map(({folded}) => folded)
}

/** `nf_nat_inet_fn [nf_nat] 10, nf_ct_iterate_cleanup [nf_conntrack] 1`: who called a probed function, and how often. */
export function callersText(stacks: readonly FoldedStack[], probe: string): string {
  return callersOf(stacks, probe).flatMap(([caller, count]) => (caller ? [`${caller} ${count}`] : [])).join(', ')
}

/** A line a thing that happened; times in seconds since the first. */
export function timelineText(entries: readonly TimelineEntry[]): string {
  const [first] = entries
  if (!first) return ''
  const width = Math.max(...entries.filter(({kind}) => kind !== 'test').map(({name}) => name.length), 0)
  const lines = entries.map(({time, kind, name, text}) => {
    const words = kind === 'test' ? name : `${name.padEnd(width)}  ${text.replace(LINK, '')}`
    return `${((time - first.time) / 1e6).toFixed(6).padStart(10)}  ${kind.padEnd(9)}  ${words}`.slice(0, WIDTH).trimEnd()
  })
  return [`${new Date(first.time / 1000).toISOString()} is 0`, ...lines].join('\n')
}

/** What the times of a timeline are worth. */
export function timesText(clock: TraceClock | null, timeline: readonly TimelineEntry[]): string {
  const late = timeline.some(({kind}) => kind === 'conntrack') ? ['conntrack(8) stamps an event when it reads it, which may be after what followed from it'] : []
  return [...(clock ? [clockText(clock)] : []), ...late].join('; ')
}

/** How exactly the trace's times can be compared with those of packets. */
export function clockText({name, uncertainty}: TraceClock): string {
  return uncertainty === 0 ? `trace clock ${name}, exact to the microsecond` : `trace clock ${name}, off by ${Math.ceil(uncertainty / 1000)} us at the most`
}
