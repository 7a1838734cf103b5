import Handlebars from 'handlebars'
import {readdir, readFile, stat} from 'node:fs/promises'
import {basename, join} from 'node:path'
import {choose, type Excerpt, excerpt as packetExcerpt} from '../capture/excerpt.js'
import {type Judged} from '../capture/judge.js'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {type Comparison, type PairRecord} from '../run/compare.js'
import {type Result, type TestRow} from '../run/results.js'
import {type FoldedStack} from '../trace/stacks.js'
import {type Artefact, counters, framesTo, likewise, macsOf, type Moment, momentOf, offloaded, parseMoments} from './artefacts.js'
import {rulesetDifferences} from './markdown.js'
import {readCapture} from './page/captures.js'
import {controlsText, symptomText, titleOf} from './symptom.js'
import {timelineText, timesText} from './trace.js'

/** Where a bug is reported: each has a template of its own. */
export const UPSTREAMS = {openwrt: 'bug-openwrt.md.hbs', netfilter: 'bug-netfilter.txt.hbs'} as const
export type Upstream = keyof typeof UPSTREAMS

export type BugOptions = {
  upstream: Upstream
  /** Which case of the run; it must be named where there are several. */
  case?: string | undefined
  /** Which symptom the listings are about; the first that shows where none is named. */
  symptom?: string | undefined
  /** What `router collect` gathered, by file. */
  router?: ReadonlyMap<string, string> | undefined
}

/** A run as it is in its folder. */
export type BugRun = Comparison & {folder: string; version: string; /** The command that it was made by. */ command?: string | undefined}

/** Of one listing, in lines; the run's folder has all of it. */
const MOST_LINES = 120
const MOST_FRAMES = 4
/** Of a trace: ways to probes, functions of each, and what was before and after the first of them on the timeline. */
const MOST_STACKS = 2
const MOST_CALLERS = 12
const AROUND = {before: 6, after: 8}
/** A capture of hours need not be read to its end. */
const LARGEST = 64 << 20

/** The report of a bug for upstream, with the listings that its maintainers ask for. */
export async function bugReport(run: BugRun, options: BugOptions): Promise<string> {
  const {pair, results, base} = chosenCase(run, options.case)
  const symptom = chosenSymptom(pair, base, options.symptom)
  const fixes = results.filter((result) => result !== base && result.verdict !== 'could-not-run')
  const mending = mendingFix(fixes, symptom)
  const evidence = await evidenceOf(base, mending, symptom)
  const {router} = options
  const rules = await rulesOf(pair, symptom)
  return await render(UPSTREAMS[options.upstream], {
    title: pair.title,
    pair,
    version: run.version,
    symptom: {name: symptom.name, observed: symptom.observed.base},
    others: sameBug(base, mending, symptom).map(({name, observed}) => ({name, observed: observed.base})),
    controls: controlsText(base),
    fixes: fixes.map((result) => ({...result, symptom: fixedText(result, symptom), controls: controlsText(result), reasons: result.reasons})),
    router: router && {system: router.get('system.txt') ?? '', ...release(router.get('system.txt') ?? '')},
    rules: rules !== undefined,
    mended: mending !== undefined,
    offloading: offloads(rules),
    artefacts: [
      ...tables(evidence, router, rules),
      ...(await changes(pair, mending)),
      ...traced(base, mending),
      ...(await wire(evidence, symptom, router)),
      ...(offloads(rules) ? [counted(evidence, router)] : []),
    ],
    folder: basename(run.folder),
    command: commandOf(run, pair),
  })
}

/** The command that the run was made by, for one of its cases, and without what is about the output alone. */
export function commandOf({command = '', pairs}: Pick<BugRun, 'command' | 'pairs'>, {case: name}: Pick<PairRecord, 'case'>): string {
  const words = (command.match(/(?:'[^']*'|\\.|[^\s'\\])+/g) ?? []).slice(2)
  if (!/^\S*patchbench compare( |$)/.test(command)) return `patchbench compare ${name}`
  const cases = new Set(pairs.map((pair) => pair.case))
  const silent = /^--(?:output|jobs)$/
  const kept = words.filter((word, index) => !cases.has(word) && !/^--(?:json$|(?:output|jobs)=)/.test(word) && !silent.test(word) && !silent.test(words[index - 1] ?? ''))
  return ['patchbench', 'compare', name, ...kept].join(' ')
}

/** The rules that a case is about, those of base, in the form that the symptom shows with; undefined where it is about a kernel. */
async function rulesOf({rulesets}: PairRecord, {name}: TestRow): Promise<Kept['rulesets'] | undefined> {
  const base = rulesets?.find((ruleset) => ruleset.name === 'base')
  if (!base) return undefined
  // A variation says again what its form says.
  const forms = Object.keys(base.files).filter((form) => !form.includes('.'))
  const own = forms.filter((form) => name.split('-').some((part) => part.replace(/\d$/, '') === form))
  return await Promise.all((own.length > 0 ? own : forms).map(async (form) => ({name: `base.${form}`, text: await readText(base.files[form]!)})))
}

/** Whether it can be about flow offloading: a ruleset without a flowtable is not. */
function offloads(rules: Kept['rulesets'] | undefined): boolean {
  return rules?.some(({text}) => /\bflowtable\b/.test(text)) ?? true
}

/** What the fix changes of the rules. */
async function changes({rulesets}: PairRecord, mending: Result | undefined): Promise<Artefact[]> {
  if (!mending || !rulesets || rulesets.length === 0) return []
  const found = (await rulesetDifferences(rulesets)).filter(({name, text}) => name === mending.candidate && text.trim() !== '')
  return found.map(({name, text}) => artefact(`What ${name} changes of the rules`, [{from: 'diff -u of the rulesets', text}]))
}

/**
 * The ways to the probes that base alone has, told apart by the caller, and
 * what happened around the first of them: of a case with probes.
 */
function traced({trace}: Result, mending: Result | undefined): Artefact[] {
  if (!trace || trace.stacks.length === 0) return []
  // Runs of older versions do not say who called.
  const key = ({probe, caller, frames}: FoldedStack) => `${probe} ${caller || frames.join(';')}`
  const healthy = new Set(mending?.trace?.stacks.map(key))
  // Of one caller the most frequent way stands for all.
  const own = [...new Map(trace.stacks.filter((stack) => !healthy.has(key(stack))).reverse().map((stack) => [key(stack), stack])).values()].reverse()
  const hits = (one: FoldedStack) => trace.stacks.filter((stack) => key(stack) === key(one)).reduce((sum, {count}) => sum + count, 0)
  const [first] = own
  const stacks = own.slice(0, MOST_STACKS).map((stack) => {
    const {probe, caller, frames} = stack
    const count = hits(stack)
    const calls = [...frames].reverse()
    const more = calls.length > MOST_CALLERS ? [`... and ${calls.length - MOST_CALLERS} more callers`] : []
    return {from: `${probe}${caller ? ` from ${caller}` : ''}, ${count} ${count === 1 ? 'time' : 'times'}, innermost first`, text: [...calls.slice(0, MOST_CALLERS), ...more].join('\n')}
  })
  const title = mending ? `Kernel stacks that ${titleOf(mending)} has not` : 'Kernel stacks'
  const at = trace.timeline.findIndex(({kind, name, text}) => kind === 'probe' && name === first?.probe && (first.caller === '' || text.includes(`from ${first.caller} `)))
  const around = at < 0 ? [] : trace.timeline.slice(Math.max(0, at - AROUND.before), at + AROUND.after)
  const times = timesText(trace.clock, around)
  return [
    artefact(title, stacks, 'what was traced on base was traced with the fix as well'),
    ...(around.length > 0 ? [artefact('Packets, probes and connection tracking around the first of them', [{from: `times in s${times ? ` (${times})` : ''}`, text: timelineText(around)}])] : []),
  ]
}

function chosenCase(run: BugRun, name: string | undefined): {pair: PairRecord; results: Result[]; base: Result} {
  const names = [...new Set(run.pairs.map((pair) => pair.case))]
  if (name === undefined && names.length > 1) throw new InputError(`the run has several cases: name one with --case (${names.join(', ')})`)
  const pair = run.pairs.find((one) => one.case === (name ?? names[0]))
  if (!pair) throw new InputError(`--case ${name}: the run has ${names.join(', ') || 'no case'}`)
  const results = run.results.filter((one) => one.case === pair.case && one.kernel === pair.kernel)
  const base = results.find(({variant}) => variant === 'base')
  if (!base) throw new InputError(`the run has no base of ${pair.case}: there is nothing to report`)
  return {pair, results, base}
}

function chosenSymptom(pair: PairRecord, base: Result, name: string | undefined): TestRow {
  const shown = base.tests.filter((test) => test.role === 'symptom' && test.base === 'failed')
  if (shown.length === 0) throw new InputError(`base of ${pair.case} shows no symptom on ${pair.kernel}: there is nothing to report`)
  const chosen = name === undefined ? shown[0] : shown.find((test) => test.name === name)
  if (!chosen) throw new InputError(`--symptom ${name}: base shows ${shown.map((test) => test.name).join(', ')}`)
  return chosen
}

/** Of the fixes that mend a symptom, the one that claims the least besides. */
function mendingFix(fixes: readonly Result[], symptom: TestRow): Result | undefined {
  const claims = ({tests}: Result) => tests.filter(({claimed, role}) => claimed && role === 'symptom').length
  return fixes
    .filter((one) => one.verdict === 'fixed' && one.tests.some(({name, variant}) => name === symptom.name && variant === 'passed'))
    .sort((a, b) => claims(a) - claims(b))[0]
}

/** What else shows of a bug: the symptoms that its fix claims too; all where none mends it. */
function sameBug(base: Result, mending: Result | undefined, symptom: TestRow): TestRow[] {
  const claimed = (name: string) => mending?.tests.some((test) => test.name === name && test.claimed) ?? true
  return base.tests.filter((test) => test.name !== symptom.name && test.role === 'symptom' && test.base === 'failed' && claimed(test.name))
}

/** How the symptom is with a fix, whether or not the fix claims it. */
function fixedText(result: Result, {name}: TestRow): string {
  const test = result.tests.find((one) => one.name === name)
  return test ? `${test.variant}: ${test.observed.variant.split('\n')[0] ?? ''}` : symptomText(result)
}

/** What a variant left: the tables of the moment in question, its captures and its rulesets. */
type Kept = {label: string; folder: string | undefined; moment: Moment | undefined; captures: {name: string; text: string}[]; rulesets: {name: string; text: string}[]}
type Evidence = {base: Kept; fixed: Kept | undefined}

async function evidenceOf(base: Result, mending: Result | undefined, symptom: TestRow): Promise<Evidence> {
  const observed = mending?.tests.find(({name}) => name === symptom.name)?.observed.variant ?? ''
  return {
    base: await keptBy(base, {name: symptom.name, observed: symptom.observed.base}),
    fixed: mending && (await keptBy(mending, {name: symptom.name, observed})),
  }
}

async function keptBy({evidence, variant, candidate}: Result, symptom: {name: string; observed: string}): Promise<Kept> {
  const label = [variant, candidate].filter(Boolean).join(', ')
  const folder = await variantFolder(evidence, variant, candidate)
  const names = folder === undefined ? [] : (await readdir(folder)).sort()
  const texts = async (pattern: RegExp) =>
    await Promise.all(names.filter((name) => pattern.test(name)).map(async (name) => ({name, text: await readText(join(folder!, name))})))
  const [tables] = await texts(/^tables\.log$/)
  return {
    label,
    folder,
    moment: tables && momentOf(parseMoments(tables.text), symptom),
    captures: await texts(/^.*symptom.*\.txt$/),
    rulesets: await texts(/\.nft$/),
  }
}

/** A session's folder is named by its fix and its variants; in it each variant has one. */
async function variantFolder(evidence: string, variant: string, candidate: string | null): Promise<string | undefined> {
  const sessions = (await readdir(evidence).catch(() => [])).sort()
  for (const session of sessions.filter((name) => candidate === null || name.startsWith(`${candidate}-`))) {
    const folder = join(evidence, session, variant)
    if ((await stat(folder).catch(() => undefined))?.isDirectory()) return folder
  }
  return undefined
}

async function readText(path: string): Promise<string> {
  const {size} = await stat(path)
  return size > LARGEST ? '' : await readFile(path, 'utf8')
}

type Router = ReadonlyMap<string, string> | undefined

/** Seed 000's list: ruleset and flowtables, rules, routes, neighbours, conntrack; of offloading where it can be about that. */
function tables({base}: Evidence, router: Router, rules: Kept['rulesets'] | undefined): Artefact[] {
  const shown = (...commands: RegExp[]) =>
    [...(base.moment?.tables ?? [])].filter(([command]) => commands.some((one) => one.test(command))).map(([command, text]) => ({from: `${command}, in the machine`, text}))
  const gathered = (...files: string[]) => files.flatMap((file) => (router?.get(file)?.trim() ? [{from: `${file}, from the router`, text: router.get(file)!}] : []))
  const rulesets = base.rulesets.map(({name, text}) => ({from: `${name}, in the machine`, text}))
  const listing = shown(/^nft list/)
  const loaded = (rules ?? []).map(({name, text}) => ({from: `${name}, as it was loaded in the machine`, text}))
  const seen = [listing, rulesets.slice(0, 1), loaded].find((some) => some.length > 0) ?? []
  const offloading = offloads(rules) || router !== undefined
  return [
    artefact(offloading ? 'Ruleset and flowtable' : 'Ruleset', [...gathered('nft/ruleset.txt', 'nft/flowtables.txt'), ...seen]),
    artefact('Policy rules (ip rule)', [...gathered('ip/rules4.txt', 'ip/rules6.txt'), ...shown(/^ip (-[46] )?rule/)]),
    artefact('Routes of all tables', [...gathered('ip/routes4.txt', 'ip/routes6.txt'), ...shown(/^ip (-[46] )?route/)]),
    artefact('Neighbours', [...gathered('ip/neighbours.txt'), ...shown(/^ip .*neigh/)]),
    ...(offloading
      ? [
          artefact('Connections that are offloaded', [
            ...gathered('conntrack-offloaded.txt'),
            ...shown(/conntrack/).map(({from, text}) => ({from: `${from}, the lines with OFFLOAD`, text: offloaded(text).join('\n')})),
          ]),
          artefact('Hardware offload (ethtool -k, hw-tc-offload)', gathered('ethtool.txt'), 'the machine has veth devices, which have none'),
        ]
      : []),
  ]
}

/** Frames to the MAC addresses that were seen in the symptom, on base and with a fix; where it names none, what tells of its captures. */
async function wire({base, fixed}: Evidence, symptom: TestRow, router: Router): Promise<Artefact[]> {
  const macs = macsOf(symptom.observed.base)
  if (macs.length === 0) return await tellingPackets({base, fixed}, symptom)
  const flows = offloaded(conntrackOf(base))
  const frames = (kept: Kept, entries: readonly string[]) =>
    kept.captures.flatMap(({name, text}) => {
      const found = framesTo(text, macs, entries, MOST_FRAMES)
      return found.length > 0 ? [{from: `tcpdump -e, ${name}, ${kept.label}`, text: found.join('\n')}] : []
    })
  const captured = [...(router ?? [])].filter(([file]) => file.startsWith('captures/')).map(([file, text]) => ({from: `${file}, from the router`, text}))
  const first = artefact(`On the wire, unpatched: ${symptom.observed.base.split('\n')[0] ?? ''}`, [...captured, ...frames(base, flows)])
  if (!fixed) return [first]
  // With a fix they need not be offloaded.
  const same = likewise(conntrackOf(fixed), flows)
  return [first, artefact(`On the wire, with ${fixed.label}`, frames(fixed, same), 'its captures have no such frame')]
}

/** Of each capture of the symptom the packets around the first that goes wrong or refuses, and the same conversation with the fix. */
async function tellingPackets({base, fixed}: Evidence, symptom: TestRow): Promise<Artefact[]> {
  const chosen = await Promise.all(
    base.captures.map(async ({name}) => {
      const packets = async (kept: Kept) => (kept.folder === undefined ? [] : await readCapture(join(kept.folder, name.replace(/\.txt$/, '.pcap'))))
      const [before, after] = [await packets(base), fixed ? await packets(fixed) : []]
      const choice = choose(before)
      const part = (kept: Kept, all: readonly Judged[]) => ({from: `${name}, ${kept.label}`, text: excerpt(packetLines(packetExcerpt(all, choice)))})
      return {before: part(base, before), after: fixed ? [part(fixed, after)] : []}
    }),
  )
  const missing = 'the run has no capture of it'
  const first = artefact(`On the wire, unpatched: ${symptom.observed.base.split('\n')[0] ?? ''}`, chosen.map(({before}) => before), missing)
  return fixed ? [first, artefact(`On the wire, with ${fixed.label}`, chosen.flatMap(({after}) => after), missing)] : [first]
}

/** A line a packet: seconds since the first, the addresses, and what it is. */
function packetLines({packets, before, after}: Excerpt): string {
  const [first] = packets
  const lines = packets.map(({time, from, to, ip, text, right}) => {
    const ends = ip ? `${ip.source} > ${ip.destination}` : `${from} > ${to}`
    return `${((time - first!.time) / 1e6).toFixed(6).padStart(10)}  ${ends}: ${text}${right === false ? '  <- wrong' : ''}`
  })
  const left = [before > 0 ? `${before} before` : '', after > 0 ? `${after} after` : ''].filter(Boolean)
  return [...lines, ...(left.length > 0 ? [`(${left.join(', ')})`] : [])].join('\n')
}

function conntrackOf({moment}: Kept): string {
  return [...(moment?.tables ?? [])].filter(([command]) => command.includes('conntrack')).map(([, text]) => text).join('\n')
}

/** How many packets took the slow path before and after the fix. */
function counted({base, fixed}: Evidence, router: Router): Artefact {
  const of = (kept: Kept | undefined) => {
    const lines = [...(kept?.moment?.tables ?? [])].filter(([command]) => command.startsWith('nft list')).flatMap(([, text]) => counters(text))
    return lines.length > 0 ? [{from: `nft list ruleset, ${kept!.label}`, text: lines.join('\n')}] : []
  }
  const live = counters(router?.get('nft/ruleset.txt') ?? '')
  return artefact('Counters before and after', [...(live.length > 0 ? [{from: 'nft/ruleset.txt, from the router', text: live.join('\n')}] : []), ...of(base), ...of(fixed)])
}

function artefact(title: string, parts: Artefact['parts'], missing = "not in the evidence; 'patchbench router collect' gathers it from a router, and --router adds it"): Artefact {
  const full = parts.filter(({text}) => text.trim() !== '').map(({from, text}) => ({from, text: excerpt(text)}))
  return full.length > 0 ? {title, parts: full} : {title, parts: [], missing}
}

function excerpt(text: string): string {
  const lines = text.trimEnd().split('\n')
  return lines.length <= MOST_LINES ? lines.join('\n') : [...lines.slice(0, MOST_LINES), `... and ${lines.length - MOST_LINES} more lines`].join('\n')
}

/** OpenWrt's own words about a router, of openwrt_release. */
function release(system: string): {description: string; target: string; revision: string} {
  const value = (name: string) => new RegExp(`^${name}=['"]?(.*?)['"]?$`, 'm').exec(system)?.[1] ?? ''
  return {description: value('DISTRIB_DESCRIPTION'), target: value('DISTRIB_TARGET'), revision: value('DISTRIB_REVISION')}
}

async function render(name: string, data: object): Promise<string> {
  const renderer = Handlebars.create()
  renderer.registerHelper('line', (text: string) => printable(text).replace(/\s*\n\s*/g, ' '))
  // What a guest or a router printed cannot end the block that it is quoted in.
  renderer.registerHelper('fenced', (text: string) => printable(text).trimEnd().replaceAll('```', '` ` `'))
  renderer.registerHelper('indented', (text: string) => printable(text).trimEnd().replace(/^/gm, '    '))
  renderer.registerHelper('underlined', (text: string) => `${printable(text)}\n${'-'.repeat(text.length)}`)
  const template = await readFile(projectPath('src/report', name), 'utf8')
  return renderer.compile(template, {noEscape: true})(data)
}
