import {printable} from '../lib/text.js'

/** A report of the kernel that something is wrong with it. */
export type Splat = {
  kind: SplatKind
  title: string
  /** What makes two splats the same one: the kind and the innermost functions. */
  fingerprint: string
  text: string
}

export type SplatKind =
  | 'panic'
  | 'oops'
  | 'bug'
  | 'warning'
  | 'lockdep'
  | 'kasan'
  | 'ubsan'
  | 'soft-lockup'
  | 'rcu-stall'
  | 'hung-task'
  | 'leak'

/** How splats begin, the most specific first. Each is matched at the start of a message. */
const BEGINNINGS: readonly [SplatKind, RegExp][] = [
  ['kasan', /^BUG: K[ACM]SAN: /], // mm/kasan/report.c, kcsan and kmsan alike
  ['ubsan', /^UBSAN: /], // lib/ubsan.c
  ['soft-lockup', /^watchdog: BUG: soft lockup - /], // kernel/watchdog.c
  ['soft-lockup', /^watchdog: (?:CPU\d+: )?Watchdog detected hard LOCKUP|^NMI watchdog: Watchdog detected hard LOCKUP/],
  ['soft-lockup', /^BUG: workqueue lockup - /], // kernel/workqueue.c
  ['lockdep', /^WARNING: (?:possible (?:circular|recursive|irq lock inversion|irq-unsafe|.*deadlock)|inconsistent lock state|bad unlock balance|suspicious RCU usage|held lock freed|lock held when returning|.*lock(?:ing)? (?:dependency|order))/],
  ['lockdep', /^(?:INFO|BUG): (?:possible recursive locking|inconsistent lock state|trying to register non-static key)/],
  ['lockdep', /^BUG: (?:sleeping function called from invalid context|scheduling while atomic|MAX_LOCK|held lock)/],
  ['rcu-stall', /^rcu: INFO: \w+ (?:self-)?detected (?:expedited )?stalls? /], // kernel/rcu/tree_stall.h
  ['hung-task', /^INFO: task .+ blocked for more than \d+ seconds/], // kernel/hung_task.c
  ['lockdep', /^\[ BUG: Invalid wait context \]/], // kernel/locking/lockdep.c
  ['leak', /^unregister_netdevice: waiting for \S+ to become free/], // net/core/dev.c
  ['leak', /^kmemleak: \d+ new suspected memory leaks/], // mm/kmemleak.c
  ['oops', /^BUG: (?:unable to handle|kernel NULL pointer|stack guard page)/], // arch/x86/mm/fault.c
  ['oops', /^(?:general protection fault|stack segment|invalid opcode|divide error|double fault|int3|traps: PANIC)\b.*\[#\d+\]|^Oops: /],
  ['bug', /^kernel BUG at /],
  ['bug', /^BUG: (?!in pid)/],
  ['warning', /^WARNING: (?:CPU: \d+ PID: \d+ at |\S+:\d+ at )/], // kernel/panic.c, __warn()
  ['warning', /^refcount_t: |^list_(?:add|del) corruption/],
  ['panic', /^Kernel panic - not syncing/],
]

/** Functions that report a splat rather than cause one. */
const REPORTERS = /^(?:dump_stack|show_stack|print_report|kasan_report|check_region|__warn|warn_slowpath|report_bug|handle_bug|exc_|asm_exc_|panic|__die|die|oops_|page_fault_oops|__schedule|schedule|lock_acquire|__lock_acquire|check_noncircular|print_circular|__ubsan|ubsan_|__might_resched|__schedule_bug|rcu_|sysrq|irq_work|__asan)/

/** How many functions tell one splat from another. */
const FRAMES = 3

/** Reports that are one line, without a stack. */
const ONE_LINE = /^unregister_netdevice: |^kmemleak: |^BUG: Bad rss-counter state /

/** The kernel's own framing around one report. */
const SEPARATOR = /^(?:={10,}|-{10,}\[ cut here \]|-{3}\[ end (?:trace|Kernel panic))/

/** Finds the splats in a kernel log, as dmesg or a serial console writes it. */
export function findSplats(log: string): Splat[] {
  const lines = printable(log).split('\n').map(stripPrefix)
  const splats: Splat[] = []
  for (let index = 0; index < lines.length; index++) {
    const kind = kindOf(lines[index]!)
    if (!kind) continue
    const end = endOfSplat(lines, index)
    splats.push(describe(kind, lines.slice(index, end)))
    index = end - 1
  }
  return splats
}

/** The splats of a variant that base does not have. */
export function newSplats(variant: readonly Splat[], base: readonly Splat[]): Splat[] {
  const known = new Set(base.map(({fingerprint}) => fingerprint))
  return variant.filter(({fingerprint}) => !known.has(fingerprint))
}

function stripPrefix(line: string): string {
  return line.replace(/^(?:<\d+>)?\[\s*\d+\.\d+\](?:\[\s*[CT]\d+\])?\s/, '')
}

function kindOf(line: string): SplatKind | undefined {
  return BEGINNINGS.find(([, pattern]) => pattern.test(line))?.[0]
}

/**
 * One report ends where the kernel says so; an oops that becomes a panic is
 * one splat, and so is a BUG with the trap that it raises.
 */
function endOfSplat(lines: readonly string[], start: number): number {
  if (ONE_LINE.test(lines[start]!)) return start + 1
  const limit = Math.min(lines.length, start + 200)
  for (let index = start + 1; index < limit; index++) {
    const line = lines[index]!
    if (/^---\[ end trace/.test(line)) return endOfPanic(lines, index + 1)
    const sawTrace = lines.slice(start, index).some((earlier) => earlier.startsWith('Call Trace:'))
    if (SEPARATOR.test(line) && sawTrace) return index + 1
    if (sawTrace && kindOf(line) && kindOf(line) !== 'panic') return index
  }
  return limit
}

/** Where an oops ends that the kernel does not survive: with the panic that follows it, else where it ended. */
function endOfPanic(lines: readonly string[], end: number): number {
  const following = lines.slice(end, end + 60)
  const panic = following.findIndex((line) => /^Kernel panic - not syncing: (?:Fatal exception|Aiee)/.test(line))
  const another = following.findIndex((line) => kindOf(line) !== undefined && kindOf(line) !== 'panic')
  if (panic < 0 || (another >= 0 && another < panic)) return end
  const last = following.findIndex((line) => /^---\[ end Kernel panic/.test(line))
  return end + Math.max(panic, last) + 1
}

function describe(kind: SplatKind, lines: readonly string[]): Splat {
  const title = lines[0]!.trim()
  const functions = framesOf(lines).slice(0, FRAMES)
  const where = functions.length > 0 ? functions.join(' < ') : normalise(title)
  return {kind, title, fingerprint: `${kind}: ${where}`, text: lines.join('\n').trimEnd()}
}

function framesOf(lines: readonly string[]): string[] {
  const frames: string[] = []
  const rip = lines.map((line) => /^RIP: \w+:([\w.]+)\+0x/.exec(line)?.[1]).find(Boolean)
  if (rip) frames.push(rip)
  for (const line of lines) {
    const name = /^ ([\w.]+)\+0x[\da-f]+\/0x[\da-f]+/.exec(line)?.[1]
    if (name && !REPORTERS.test(name) && name !== rip) frames.push(name)
  }
  return frames.map((name) => name.replace(/\.(?:constprop|isra|part|cold)\b.*$/, ''))
}

/** A title without the numbers that differ from run to run. */
function normalise(title: string): string {
  return title.replace(/0x[\da-f]+|\b[\da-f]{8,}\b|\d+/g, 'N')
}
