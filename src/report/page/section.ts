import {join} from 'node:path'
import {type StoredRun} from '../../run/folder.js'
import {type PairRecord} from '../../run/compare.js'
import {type Result} from '../../run/results.js'
import {sessionFolders, type SessionFolder} from '../evidence.js'
import {rulesetDifferences} from '../markdown.js'
import {controlsText, symptomText, titleOf} from '../symptom.js'
import {stacksText, timesText} from '../trace.js'
import {drawCaptures, folderOf} from './captures.js'
import {type Evidence, takeEvidence} from './evidence.js'
import {stacksOf} from './stacks.js'
import {timelineOf} from './timeline.js'

/** What a reader sees of a verdict: its word, a sign, and a colour. */
export type Badge = {verdict: string; kind: 'good' | 'odd' | 'bad' | 'none'; sign: string; missed: string}

/** How many lines of a trace's timeline a page holds. */
const ENTRIES = 200

const GOOD = ['shown', 'fixed', 'restored']

/** A verdict that is expected may still be bad news, as that of a wrong proposal. */
export function badgeOf({verdict, expected}: Pick<Result, 'verdict' | 'expected'>): Badge {
  if (verdict !== expected) return {verdict, kind: 'bad', sign: '\u2717', missed: `expected ${expected}`}
  return GOOD.includes(verdict) ? {verdict, kind: 'good', sign: '\u2713', missed: ''} : {verdict, kind: 'odd', sign: '\u2713', missed: ''}
}

/** How many reasons of a verdict stand beside it; more are folded. */
const REASONS = 4

/** The part of a page about a case on a kernel. */
export async function sectionOf(run: StoredRun, record: PairRecord, id: string) {
  const results = run.results.filter((result) => result.case === record.case && result.kernel === record.kernel)
  const sessions = results[0] ? await sessionFolders(results[0].evidence) : []
  const evidence = await takeEvidence(run.folder, sessions.filter(({repeat}) => repeat === 1), id)
  const captures = await drawCaptures(results, sessions, evidence)
  return {
    id,
    record,
    results: results.map((result, index) => ({
      ...{id: `${id}-r${index}`, title: titleOf(result), badge: badgeOf(result), symptom: symptomText(result), controls: controlsText(result)},
      ...{reasons: result.reasons.slice(0, REASONS), others: result.reasons.slice(REASONS), repeats: result.repeats > 1 ? result.repeats : 0, ktap: ktapId(result, sessions, evidence)},
    })),
    tests: testsOf(results, sessions, evidence),
    claimed: countOf(results, 'symptom'),
    controls: countOf(results, 'control'),
    ...{captures, drawn: captures.better.length + captures.alike.length > 0},
    timelines: await timelinesOf(sessions, evidence),
    traces: results.flatMap((result, index) => traceOf(result, `${id}-t${index}`)),
    selftests: results.filter(({selftests}) => selftests.length > 0).map((result) => ({title: titleOf(result), rows: result.selftests.map(selftestRow)})),
    ...{used: usedOf(record), differences: await rulesetDifferences(record.rulesets)},
    evidence: evidence.groups,
  }
}

function countOf([first]: readonly Result[], role: string): number {
  return first?.tests.filter((test) => test.role === role).length ?? 0
}

function ktapId(result: Result, sessions: readonly SessionFolder[], evidence: Evidence): string {
  const folder = folderOf(result, sessions)
  return (folder && evidence.idOf(join(folder, 'ktap'))) ?? ''
}

/** A row a test, a cell a result, linked to the line of KTAP that says so. */
function testsOf(results: readonly Result[], sessions: readonly SessionFolder[], evidence: Evidence) {
  const [first] = results
  const fixed = results.find(({verdict}) => verdict === 'fixed')
  return (first?.tests ?? []).map(({name, role, claimed, observed}, index) => ({
    ...{name, role, claimed, seen: observed.base},
    seenFixed: fixed?.tests[index]?.observed.variant ?? '',
    cells: results.map((result) => {
      const status = result.tests[index]?.variant ?? 'missing'
      const folder = folderOf(result, sessions)
      const link = (folder && evidence.idOfTest(join(folder, 'ktap'), name)) ?? ''
      return {status, link, sign: SIGNS[status], kind: status === 'passed' ? 'good' : status === 'failed' ? 'bad' : 'none'}
    }),
  }))
}

const SIGNS = {passed: '\u2713', failed: '\u2717', skipped: '\u2013', missing: '?'}

function selftestRow({name, base, patched, observed}: Result['selftests'][number]) {
  const kind = (status: string | null) => (status === 'passed' ? 'good' : status === 'failed' ? 'bad' : 'none')
  const words = (status: string | null) => ({status: status ?? 'no result', kind: kind(status), sign: status ? SIGNS[status as keyof typeof SIGNS] : '?'})
  return {name, base: words(base), patched: words(patched), seen: observed.patched || observed.base}
}

async function timelinesOf(sessions: readonly SessionFolder[], evidence: Evidence) {
  const live = sessions.filter(({variants, repeat}) => repeat === 1 && (variants.includes('livepatched') || variants.includes('reverted')))
  const drawn = await Promise.all(live.map(async (session) => ({session, timeline: await timelineOf(session)})))
  return drawn.flatMap(({session, timeline}) => {
    if (!timeline) return []
    const logs = ['load', 'unload'].flatMap((step) => evidence.idOf(join(session.path, step, 'kernel.log')) ?? [])
    const transitions = timeline.transitions.map((one, index) => ({...one, link: logs[index] ?? ''}))
    return [{title: session.fix ?? session.name, timeline, transitions, counts: timeline.counts}]
  })
}

/** The stacks and the timeline of a traced session, where the run has them. */
function traceOf(result: Result, id: string) {
  const {trace} = result
  if (!trace) return []
  const probes = [...new Set(trace.stacks.map(({probe}) => probe))]
  const start = trace.timeline[0]?.time ?? 0
  const lines = trace.timeline.slice(0, ENTRIES).map(({time, kind, name, text}) => `${((time - start) / 1e6).toFixed(6).padStart(11)}  ${kind.padEnd(9)}  ${name}  ${text}`.trimEnd())
  return [
    {
      ...{id, title: titleOf(result), notes: trace.notes, lines: lines.join('\n'), entries: trace.timeline.length, shown: lines.length, times: timesText(trace.clock, trace.timeline)},
      stacks: probes.flatMap((probe) => {
        const own = trace.stacks.filter((stack) => stack.probe === probe)
        const drawing = stacksOf(probe, own)
        return drawing ? [{probe, drawing, folded: stacksText(own)}] : []
      }),
    },
  ]
}

/** What was used, a line each. */
function usedOf({release, origin, parameters, livepatches, candidates, rulesets, modules}: PairRecord) {
  const words = (some: Record<string, string>) => Object.entries(some).map(([name, value]) => `${name}=${value}`).join(' ')
  return {
    lines: [
      `kernel release ${release}`,
      ...Object.entries(origin).map(([name, value]) => `${name} ${value}`),
      ...(Object.keys(parameters).length > 0 ? [`the reproducer's parameters: ${words(parameters)}`] : []),
      ...livepatches.map(({name, module, parameters: own}) => `livepatch ${name}: insmod ${[`${module}.ko`, words(own)].filter(Boolean).join(' ')}, SHA-256 ${modules[name]?.sha256 ?? 'not built'}`),
      ...rulesets.flatMap(({name, sha256}) => Object.entries(sha256).map(([form, hash]) => `ruleset ${name}.${form}, SHA-256 ${hash}`)),
    ],
    candidates: candidates.map(({name, patches, tree}) => ({name, patches, tree})),
  }
}
