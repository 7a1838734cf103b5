import {copyFile, mkdir, writeFile} from 'node:fs/promises'
import {dirname, join} from 'node:path'
import {comparisonJson} from '../../src/report/json.js'
import {type RunFacts} from '../../src/report/markdown.js'
import {type PairRecord} from '../../src/run/compare.js'
import {type Result} from '../../src/run/results.js'
import {FIXED, RECORD} from './results.js'
import {projectPath} from '../../src/lib/project.js'
import {scratch} from './scratch.js'

export const FACTS: Omit<RunFacts, 'folder'> = {
  date: '2026-11-20T06:00:00.000Z',
  version: '0.1.0',
  revision: 'abc1234',
  command: 'patchbench compare one',
  accelerator: 'tcg',
  why: 'asked for',
  tools: ['QEMU emulator version 7.2'],
}

type Content = {results?: Result[]; pairs?: PairRecord[]; facts?: Partial<RunFacts>; files?: Record<string, string>; captures?: Record<string, string>}

/** The folder of the evidence below a run's. */
export const PLACE = 'one/debian-6.12.90'

/**
 * A run's folder as compare leaves it.
 *
 * @param files texts by their place in the evidence
 * @param captures names in test/fixtures/captures by place
 */
export async function runFolderWith({results = FIXED, pairs = [RECORD], facts = {}, files = {}, captures = {}}: Content = {}): Promise<string> {
  const folder = await scratch()
  const moved = results.map((result) => ({...result, evidence: result.evidence === '/nowhere' ? join('/elsewhere', PLACE) : result.evidence}))
  await mkdir(join(folder, PLACE), {recursive: true})
  await writeFile(join(folder, 'results.json'), comparisonJson({results: moved, pairs, leftOut: []}, {...FACTS, folder: '/elsewhere', exit: 0, ...facts}))
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(folder, PLACE, path)), {recursive: true})
    await writeFile(join(folder, PLACE, path), text)
  }
  for (const [path, name] of Object.entries(captures)) {
    await mkdir(dirname(join(folder, PLACE, path)), {recursive: true})
    await copyFile(capture(name), join(folder, PLACE, path))
  }
  return folder
}

/** A capture of a real run, cut to some packets. */
export function capture(name: string): string {
  return projectPath('test/fixtures/captures', `${name}.pcap`)
}

/** The folders of the three sessions of FIXED. */
export const BASE = 'base-1/base'
export const LIVE = 'input-livepatched+reverted-1/livepatched'
export const BACK = 'input-livepatched+reverted-1/reverted'

const HOSTILE = '<script>alert(1)</script><img src="http://192.0.2.1/x" onerror="alert(2)">"\'`{{about}}</pre></details>'

/** A run with everything that a page can draw, and a guest that would write into it. */
export async function richRun(): Promise<string> {
  const [base, live, back] = FIXED as [Result, Result, Result]
  const more = Array.from({length: 100}, (_, index) => ({time: 1_001_000 + index, kind: 'packet', name: 'symptom', text: `ttl ${index}`}))
  const trace = {
    notes: [`a note ${HOSTILE}`],
    stacks: [
      {probe: 'forward', frames: ['ip_rcv', 'ip_mr_input', 'ip_mr_forward'], count: 3, caller: 'ip_mr_input', folded: 'ip_rcv;ip_mr_input;ip_mr_forward 3'},
      {probe: 'forward', frames: ['ip_rcv', HOSTILE, 'ip_mr_forward'], count: 1, caller: HOSTILE, folded: `ip_rcv;${HOSTILE};ip_mr_forward 1`},
    ],
    timeline: [{time: 1_000_000, kind: 'probe', name: 'forward', text: HOSTILE}, {time: 1_000_250, kind: 'packet', name: 'symptom', text: 'ttl 4'}, ...more],
  }
  const selftests = [{name: HOSTILE, base: 'failed' as const, patched: null, observed: {base: HOSTILE, patched: ''}}]
  const missed: Result = {...live, variant: 'patched', candidate: HOSTILE, verdict: 'regressed', reasons: [HOSTILE, 'a second reason', 'a third', 'a fourth', 'a fifth', HOSTILE], selftests, repeats: 3}
  const results = [{...base, trace}, live, back, missed, {...base, case: 'two', evidence: '/elsewhere/two'}, {...base, case: 'two', kernel: 'debian 6.1.1', evidence: '/elsewhere/two'}] as Result[]
  const log = (lines: [number, string][]) => lines.map(([time, text]) => `[${time.toFixed(6).padStart(12)}] livepatch: 'livepatch_one': ${text}\n`).join('')
  const start = 1_795_000_000
  const steps = [['load', 30, 2], ['livepatched', 32, 3], ['unload', 35, 1], ['reverted', 36, 4]] as const
  const session = 'input-livepatched+reverted-1'
  return await runFolderWith({
    results,
    pairs: [{...RECORD, title: HOSTILE, candidates: [{name: HOSTILE, patches: [HOSTILE], series: 'c0de', tree: 'c0ffee'}]}, {...RECORD, case: 'two'}, {...RECORD, case: 'two', kernel: 'debian 6.1.1'}],
    facts: {command: `patchbench compare ${HOSTILE}`},
    files: {
      [`${BASE}/ktap`]: `KTAP version 1\n1..3\n# ${HOSTILE}\nnot ok 1 one-copy\nok 2 delivered\nok 3 unjoined\n`,
      [`${BASE}/parties.json`]: JSON.stringify({router: {macs: ['a2:0c:fc:b6:05:ca'], addresses: ['10.0.0.1']}, [HOSTILE.slice(0, 60)]: {macs: [], addresses: ['192.0.2.9', '10.0.0.2']}}),
      [`${BASE}/symptom.txt`]: `what tcpdump says ${HOSTILE}\n`,
      [`${BASE}/${'long-'.repeat(20)}name`]: `${'x'.repeat(400)}\n`.repeat(100),
      [`${LIVE}/ktap`]: 'KTAP version 1\n1..3\nok 1 one-copy\nok 2 delivered\nok 3 unjoined\n',
      [`${BACK}/ktap`]: 'KTAP version 1\n1..3\nnot ok 1 one-copy\nok 2 delivered\nok 3 unjoined\n',
      [`${session}/steps.json`]: JSON.stringify(steps.map(([name, monotonic, seconds]) => ({name, monotonic, real: start + monotonic, seconds}))),
      [`${session}/load/kernel.log`]: log([[30.5, 'starting patching transition'], [31.25, 'patching complete']]),
      [`${session}/unload/kernel.log`]: log([[35.2, 'starting unpatching transition'], [35.6, 'unpatching complete']]),
    },
    captures: {
      [`${BASE}/symptom.pcap`]: 'ipmr-base',
      [`${LIVE}/symptom.pcap`]: 'ipmr-fixed',
      [`${BACK}/symptom.pcap`]: 'ipmr-base',
      [`${BASE}/symptom-client.pcap`]: 'flowtable-base',
      [`${LIVE}/symptom-client.pcap`]: 'flowtable-fixed',
      [`${BACK}/symptom-client.pcap`]: 'flowtable-base',
    },
  })
}
