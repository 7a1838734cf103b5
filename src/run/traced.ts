import {readdir, readFile, writeFile} from 'node:fs/promises'
import {basename, join} from 'node:path'
import {type Case, type Probe} from '../case/case.js'
import {type Kernel} from '../kernel/kernel.js'
import {memberOffsets, type Offsets} from '../kernel/offsets.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError} from '../lib/errors.js'
import {type GuestProbe} from '../machine/job.js'
import {parseTrace} from '../trace/events.js'
import {packetsOf} from '../trace/packets.js'
import {conntrackEvents} from '../trace/timeline.js'
import {parseAbout, type Trace, traceOf} from '../trace/trace.js'
import {type VariantRun} from '../verdict/verdict.js'

/** What a session can record of a case's probes on a kernel, and why it cannot record the others. */
export type Prepared = {probes: GuestProbe[]; notes: string[]}

/** A case's probes with the offsets of a kernel. */
export async function prepareProbes(context: Context, {probes}: Case, kernel: Kernel): Promise<Prepared> {
  const members = probes.flatMap(membersOf)
  const prepared: Prepared = {probes: [], notes: []}
  let offsets: Offsets
  try {
    offsets = await memberOffsets(context, kernel, members)
  } catch (error) {
    context.signal.throwIfAborted()
    if (!(error instanceof CouldNotRun || error instanceof InputError)) throw error
    offsets = new Map(members.map((member) => [member, error.message]))
  }
  for (const probe of probes) {
    const unknown = membersOf(probe).find((member) => typeof offsets.get(member) !== 'number')
    if (unknown === undefined) prepared.probes.push(guestProbe(probe, offsets))
    else prepared.notes.push(`the probe ${probe.name} was not installed: where ${unknown} is, is not known: ${offsets.get(unknown)}`)
  }
  return prepared
}

const MEMBERS = /\{([^}]*)\}/g

/** The `struct.member`s of what a probe fetches. */
function membersOf({fetch}: Probe): string[] {
  return Object.values(fetch).flatMap((argument) => [...argument.matchAll(MEMBERS)].flatMap(([, sum]) => sum!.split('+')))
}

function guestProbe({name, function: functions, module, fetch, filter, stack, return: returns}: Probe, offsets: Offsets): GuestProbe {
  const resolved = (argument: string) => argument.replaceAll(MEMBERS, (_, sum: string) => String(sum.split('+').reduce((total, member) => total + Number(offsets.get(member)), 0)))
  const words = Object.entries(fetch).map(([field, argument]) => `${field}=${resolved(argument)}`)
  return {name, functions, module: module ?? null, fetch: words, filter: filter ?? null, stack, return: returns}
}

/** How large a file of a trace may be: the guest's own limits are lower. */
const LARGEST = 64 << 20

/**
 * The trace that a session left in a variant's folder; the folded stacks are
 * written beside it, for flamegraph.pl.
 *
 * @param evidence the session's folder
 */
export async function readTrace(one: Case, evidence: string, variant: string, notes: readonly string[]): Promise<Trace> {
  const folder = join(evidence, variant)
  const about = parseAbout(await readText(join(folder, 'trace.json')))
  const place = join(basename(evidence), variant)
  if (!about) return {...untraced([...notes, 'the guest left no trace']), evidence: place}
  const files = (await readdir(folder)).sort()
  const captures = files.filter((name) => name.endsWith('.pcap'))
  const packets = await Promise.all(
    captures.map(async (name) => {
      const capture = name.replace(/\.pcap$/, '')
      const [pcap, text] = await Promise.all([readFile(join(folder, name)), readText(join(folder, `${capture}.txt`))])
      return packetsOf(pcap, text).map((packet) => ({...packet, capture}))
    }),
  )
  const lists = files.filter((name) => name.endsWith('.conntrack'))
  const conntrack = await Promise.all(lists.map(async (name) => conntrackEvents(await readText(join(folder, name)), name.replace(/\.conntrack$/, ''))))
  const optional = one.probes.filter((probe) => probe.optional).map(({name}) => name)
  const events = parseTrace((await readText(join(folder, 'trace'))).slice(0, LARGEST))
  const trace = traceOf({about, events, packets: packets.flat(), conntrack: conntrack.flat(), optional})
  await writeFile(join(folder, 'stacks.folded'), trace.stacks.map(({folded}) => `${folded}\n`).join(''))
  return {...trace, evidence: place, notes: [...notes, ...trace.notes]}
}

/** The trace of a session that left none. */
export function untraced(notes: string[]): Trace {
  return {evidence: '', notes, clock: null, probes: [], stacks: [], timeline: []}
}

async function readText(path: string): Promise<string> {
  return await readFile(path, 'utf8').catch(() => '')
}

/** Where a traced run differs from the one that the verdict is drawn from: probes cost time. */
export function differences(traced: VariantRun, judged: VariantRun | undefined): string[] {
  // That nothing runs there is said with the verdict.
  if (!judged || judged.failure !== undefined) return []
  if (traced.failure !== undefined) return [`the traced run is no result: ${traced.failure.split('\n')[0]}`]
  return judged.tests.flatMap(({name, status}) => {
    const again = traced.tests.find((test) => test.name === name)?.status ?? 'missing'
    return again === status ? [] : [`with probes the test '${name}' ${again}, without them ${status}: the trace may be of another course`]
  })
}
