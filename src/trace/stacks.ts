import {type TraceEvent} from './events.js'

/** A way to a probe, and how often it was taken. */
export type FoldedStack = {
  probe: string
  /** Outermost first; the last one is the probe's function. */
  frames: string[]
  count: number
  /** Who called the probed function: what the hits are told apart by. */
  caller: string
  /** `a;b;c N`, the format of flamegraph.pl. */
  folded: string
}

/** What records a hit is on top of the stack: of an entry down to the trampoline, of a return down to it as well. */
const MACHINERY = /^(?:0x[\da-f]+$|(?:kprobe|kretprobe|rethook|arch_rethook|opt_pre_handler|optimized_callback|aggr_pre_handler|ftrace)|(?:asm_)?exc_int3|do_int3)/

/** The stacks of some probes' hits, folded, the most frequent first. */
export function foldStacks(events: readonly TraceEvent[], functionOf: ReadonlyMap<string, string>): FoldedStack[] {
  const counts = new Map<string, FoldedStack>()
  for (const {name, stack} of events) {
    const probed = functionOf.get(name)
    if (probed === undefined || !stack || stack.length === 0) continue
    // A frame's name cannot hold what separates frames.
    const frames = ownFrames(stack, probed).reverse().map((frame) => frame.replaceAll(';', ':'))
    const path = frames.join(';')
    const key = `${name} ${path}`
    const known = counts.get(key) ?? {probe: name, frames, count: 0, caller: callerOf(stack, probed), folded: ''}
    known.count += 1
    counts.set(key, {...known, folded: `${path} ${known.count}`})
  }
  return [...counts.values()].sort((a, b) => b.count - a.count)
}

/** Who called the probed function; empty where the stack ends before. */
export function callerOf(stack: readonly string[], probed: string): string {
  const own = ownFrames(stack, probed)
  return own[isFrameOf(own[0], probed) ? 1 : 0] ?? ''
}

/** How often each caller led to a probe, the most frequent first. */
export function callersOf(stacks: readonly Pick<FoldedStack, 'probe' | 'caller' | 'count'>[], probe: string): [caller: string, count: number][] {
  const counts = new Map<string, number>()
  for (const {caller, count} of stacks.filter((stack) => stack.probe === probe)) counts.set(caller, (counts.get(caller) ?? 0) + count)
  return [...counts].sort(([, a], [, b]) => b - a)
}

/** A stack from the probed function on, or, of a return, from its caller on. */
function ownFrames(stack: readonly string[], probed: string): string[] {
  const start = stack.findIndex((frame) => isFrameOf(frame, probed))
  if (start >= 0) return stack.slice(start)
  const after = stack.findIndex((frame) => !MACHINERY.test(frame))
  return stack.slice(Math.max(after, 0))
}

function isFrameOf(frame: string | undefined, name: string): boolean {
  return frame === name || (frame?.startsWith(`${name} [`) ?? false)
}

/** Whether a stack leads to `inner` through `outer`. */
export function isUnder({frames}: Pick<FoldedStack, 'frames'>, outer: string, inner: string): boolean {
  const at = (name: string) => frames.findIndex((frame) => frame.split(' ')[0] === name)
  return at(outer) >= 0 && at(inner) > at(outer)
}
