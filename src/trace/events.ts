/** One line of a trace: a probe that fired, or a mark that somebody wrote. */
export type TraceEvent = {
  /** The event's name; `tracing_mark_write` of a mark. */
  name: string
  /** On the trace's clock, in us. */
  time: number
  task: string
  cpu: number
  /** What was fetched, as the kernel printed it. Of a mark, its text is in `text`. */
  fields: Record<string, string>
  text: string
  /** The way to it, innermost first, as `function` or `function [module]`; absent where no stack was recorded. */
  stack?: string[]
  /** Who called the probed function, where that is known. */
  caller?: string
}

export const MARK = 'tracing_mark_write'

/** `ping-164  [000] b.s2.  1795177735.803649: enqueue: (enqueue_to_backlog+0x0/0x3d0) a1=0x1`; a task's name may hold anything,
 * and a mark's own is a place in the kernel. */
const LINE = /^\s*(.+)-(\d+)\s+\[(\d+)\]\s+\S+\s+(\d+)\.(\d{6}): (?:(\w+)(?:\+0x[\da-f]+\/0x[\da-f]+)?: )?(.*)$/

/** ` => nf_nat_inet_fn+0xbc/0x2a0 [nf_nat]` */
const FRAME = /^ => (\S+?)(?:\+0x[\da-f]+(?:\/0x[\da-f]+)?)?(?: (\[[\w-]+\]))?$/

const FIELD = /(?:^| )(\w+)=("[^"]*"|\{[^}]*\}|\S+)/g

/**
 * Reads what tracefs prints (Documentation/trace/ftrace.rst, the file `trace`)
 * with sym-offset set. A stack belongs to the event before it on its CPU; lines
 * that are neither are passed over.
 */
export function parseTrace(text: string): TraceEvent[] {
  const events: TraceEvent[] = []
  const latest = new Map<number, TraceEvent>()
  let stack: string[] | undefined
  for (const line of text.split('\n')) {
    const frame = FRAME.exec(line)
    if (frame) {
      stack?.push(frame[2] ? `${frame[1]} ${frame[2]}` : frame[1]!)
      continue
    }
    stack = undefined
    const parts = LINE.exec(line)
    if (!parts) continue
    const [, command, pid, processor, seconds, micros, name, rest] = parts
    const cpu = Number(processor)
    if (name === undefined) {
      const owner = rest === '<stack trace>' ? latest.get(cpu) : undefined
      if (owner && !owner.stack) owner.stack = stack = []
      continue
    }
    const event = {name, time: Number(seconds) * 1_000_000 + Number(micros), task: `${command!.trim()}-${pid}`, cpu, fields: fieldsOf(name, rest!), text: rest!}
    latest.set(cpu, event)
    events.push(event)
  }
  return events
}

/** Not those of a mark: its text is anybody's. */
function fieldsOf(name: string, text: string): Record<string, string> {
  if (name === MARK) return {}
  const values = text.replace(/^\(.*?\)/, '')
  return Object.fromEntries([...values.matchAll(FIELD)].map(([, field, value]) => [field, value!.replace(/^"(.*)"$/, '$1')]))
}
