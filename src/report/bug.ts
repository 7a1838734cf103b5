import Handlebars from 'handlebars'
import {readdir, readFile, stat} from 'node:fs/promises'
import {basename, join, relative} from 'node:path'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {type Comparison, type PairRecord} from '../run/compare.js'
import {type Result, type TestRow} from '../run/results.js'
import {type Artefact, counters, framesTo, likewise, macsOf, type Moment, momentOf, offloaded, parseMoments} from './artefacts.js'
import {controlsText, symptomText} from './symptom.js'

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
export type BugRun = Comparison & {folder: string; version: string}

/** Of one listing, in lines; the run's folder has all of it. */
const MOST_LINES = 120
const MOST_FRAMES = 4
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
  return await render(UPSTREAMS[options.upstream], {
    title: pair.title,
    pair,
    version: run.version,
    symptom: {name: symptom.name, observed: symptom.observed.base},
    others: sameBug(base, mending, symptom).map(({name, observed}) => ({name, observed: observed.base})),
    controls: controlsText(base),
    fixes: fixes.map((result) => ({...result, symptom: fixedText(result, symptom), controls: controlsText(result), reasons: result.reasons})),
    router: router && {system: router.get('system.txt') ?? '', ...release(router.get('system.txt') ?? '')},
    artefacts: [...tables(evidence, router), ...wire(evidence, symptom, router), counted(evidence, router)],
    folder: basename(run.folder),
    command: `patchbench compare ${pair.case}`,
  })
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
type Kept = {label: string; path: string; moment: Moment | undefined; captures: {name: string; text: string}[]; rulesets: {name: string; text: string}[]}
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
    path: folder === undefined ? '' : relative(evidence, folder),
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

/** Seed 000's list: ruleset and flowtables, rules, routes, neighbours, conntrack. */
function tables({base}: Evidence, router: Router): Artefact[] {
  const shown = (...commands: RegExp[]) =>
    [...(base.moment?.tables ?? [])].filter(([command]) => commands.some((one) => one.test(command))).map(([command, text]) => ({from: `${command}, in the machine`, text}))
  const gathered = (...files: string[]) => files.flatMap((file) => (router?.get(file)?.trim() ? [{from: `${file}, from the router`, text: router.get(file)!}] : []))
  const rulesets = base.rulesets.map(({name, text}) => ({from: `${name}, in the machine`, text}))
  const listing = shown(/^nft list/)
  return [
    artefact('Ruleset and flowtable', [...gathered('nft/ruleset.txt', 'nft/flowtables.txt'), ...(listing.length > 0 ? listing : rulesets.slice(0, 1))]),
    artefact('Policy rules (ip rule)', [...gathered('ip/rules4.txt', 'ip/rules6.txt'), ...shown(/^ip (-[46] )?rule/)]),
    artefact('Routes of all tables', [...gathered('ip/routes4.txt', 'ip/routes6.txt'), ...shown(/^ip (-[46] )?route/)]),
    artefact('Neighbours', [...gathered('ip/neighbours.txt'), ...shown(/^ip .*neigh/)]),
    artefact('Connections that are offloaded', [
      ...gathered('conntrack-offloaded.txt'),
      ...shown(/conntrack/).map(({from, text}) => ({from: `${from}, the lines with OFFLOAD`, text: offloaded(text).join('\n')})),
    ]),
    artefact('Hardware offload (ethtool -k, hw-tc-offload)', gathered('ethtool.txt'), 'the machine has veth devices, which have none'),
  ]
}

/** Frames to the MAC addresses that were seen in the symptom, on base and with a fix. */
function wire({base, fixed}: Evidence, symptom: TestRow, router: Router): Artefact[] {
  const macs = macsOf(symptom.observed.base)
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
