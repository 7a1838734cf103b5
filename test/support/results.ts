import {type PairRecord} from '../../src/run/compare.js'
import {type Result, type TestRow} from '../../src/run/results.js'

type Row = Partial<TestRow> & {name: string}

function row(one: Row): TestRow {
  return {role: 'symptom', claimed: true, base: 'passed', variant: 'passed', observed: {base: '', variant: ''}, ...one}
}

/** A cell of a comparison, as short as the test wants it. */
export function resultWith({tests, ...one}: Partial<Omit<Result, 'tests'>> & {tests?: Row[]}): Result {
  const plain = {case: 'one', kernel: 'debian 6.12.90', variant: 'base', candidate: null, verdict: 'shown', expected: 'shown'} as const
  return {...plain, reasons: [], selftests: [], repeats: 1, evidence: '/nowhere', ...one, tests: (tests ?? TESTS).map(row)}
}

const TESTS: Row[] = [
  {name: 'one-copy', base: 'failed', variant: 'failed', observed: {base: 'TTL 5,4,3\non the wire', variant: 'TTL 5,4,3\non the wire'}},
  {name: 'delivered', role: 'control'},
  {name: 'unjoined', role: 'control'},
]

/** The three cells of a livepatch that does what it claims. */
export const FIXED: Result[] = [
  resultWith({}),
  resultWith({
    variant: 'livepatched',
    candidate: 'input',
    verdict: 'fixed',
    expected: 'fixed',
    tests: [{name: 'one-copy', base: 'failed', observed: {base: 'TTL 5,4,3', variant: 'TTL 4'}}, ...TESTS.slice(1)],
  }),
  resultWith({variant: 'reverted', candidate: 'input', verdict: 'restored', expected: 'restored'}),
]

/** What was used for them. */
export const RECORD: PairRecord = {
  case: 'one',
  title: 'one copy too many',
  parameters: {queries: '4'},
  livepatches: [{name: 'input', module: 'livepatch_one', parameters: {enable: '1'}}],
  candidates: [],
  rulesets: [],
  kernel: 'debian 6.12.90',
  release: '6.12.90+deb12-amd64',
  origin: {'linux-image-6.12.90+deb12-amd64-unsigned': '6.12.90-1~bpo12+1 sha256:00ff'},
  modules: {input: {path: '/cache/livepatch_one.ko', sha256: 'c0ffee'}},
  sessions: [],
}
