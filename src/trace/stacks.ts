import {type TraceEvent} from './events.js'

/** A way to a probe, and how often it was taken. */
export type FoldedStack = {
  probe: string
  /** Outermost first; the last one is the probe's function. */
  frames: string[]
  count: number
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
    const known = counts.get(key) ?? {probe: name, frames, count: 0, folded: ''}
    known.count += 1
    counts.set(key, {...known, folded: `${path} ${known.count}`})
  }
  return [...counts.values()].sort((a, b) => b.count - a.count)
}

/** A stack from the probed function on, or, of a return, from its caller on. */
function ownFrames(stack: readonly string[], probed: string): string[] {
  const start = stack.findIndex((frame) => frame === probed || frame.startsWith(`${probed} [`))
  if (start >= 0) return stack.slice(start)
  const after = stack.findIndex((frame) => !MACHINERY.test(frame))
  return stack.slice(Math.max(after, 0))
}

/** Whether a stack leads to `inner` through `outer`. */
export function isUnder({frames}: Pick<FoldedStack, 'frames'>, outer: string, inner: string): boolean {
  const at = (name: string) => frames.findIndex((frame) => frame.split(' ')[0] === name)
  return at(outer) >= 0 && at(inner) > at(outer)
}
