import {type FoldedStack} from '../trace/stacks.js'
import {type TimelineEntry, type TraceClock} from '../trace/timeline.js'

/** How wide a line of a timeline is at the most. */
const WIDTH = 160

/** What tcpdump says of a frame between its addresses and what is in it. */
const LINK = /, ethertype [^:]*:(?= )/

/** Folded stacks under the probe that they lead to. */
export function stacksText(stacks: readonly FoldedStack[]): string {
  const probes = [...new Set(stacks.map(({probe}) => probe))]
  return probes.flatMap((probe) => [`${probe}:`, ...stacks.filter((stack) => stack.probe === probe).map(({folded}) => folded)]).join('\n')
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

/** How exactly the trace's times can be compared with those of packets. */
export function clockText({name, uncertainty}: TraceClock): string {
  return uncertainty === 0 ? `trace clock ${name}, exact to the microsecond` : `trace clock ${name}, off by ${Math.ceil(uncertainty / 1000)} us at the most`
}
