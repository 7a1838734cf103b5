import {EXIT} from '../lib/errors.js'
import {type Result} from '../run/results.js'
import {configName, type KernelRecord, type RunRecord} from '../run/record.js'
import {type Claim, type Manifest} from './manifest.js'

/** A test whose outcome is not the author's. */
export type TestDifference = {name: string; theirs: string; ours: string; observed: {theirs: string; ours: string}}

/** A cell, the author's beside ours. */
export type CellAgreement = {
  case: string
  /** The author's kernel and ours. */
  kernel: {theirs: string; ours: string}
  variant: string
  candidate: string | null
  verdict: {theirs: string | null; ours: string | null}
  /** `left-out`: it was not to be run here. `not-claimed`: the author says nothing of it. */
  state: 'same' | 'differs' | 'could-not-run' | 'left-out' | 'not-claimed'
  tests: TestDifference[]
  /** Why our verdict is not the plain one. */
  reasons: string[]
}

/** What a run made, by `case kernel name`. */
export type Made = Pick<Manifest, 'modules' | 'trees'>

/** Something that was not the same, and may be why a result is not. */
export type Difference = {what: string; theirs: string; ours: string}

/** What a result needs to be compared; the author's and ours. */
type Row = Pick<Claim, 'case' | 'kernel' | 'variant' | 'candidate' | 'verdict' | 'tests' | 'selftests' | 'reasons'>

/**
 * The author's cells beside ours, by verdict and by test, and ours that the
 * author does not claim.
 *
 * @param kernels our kernel for the author's, by label
 * @param chosen what of the author's was to be run here: a claim about that which nothing came of is not reproduced
 */
export function compareCells(theirs: readonly Row[], ours: readonly (Row | Result)[], kernels: ReadonlyMap<string, string>, chosen: RunRecord['targets']): CellAgreement[] {
  const found = new Set<Row | Result>()
  const claimed = theirs.map((claim): CellAgreement => {
    const kernel = {theirs: claim.kernel, ours: kernels.get(claim.kernel) ?? ''}
    const own = ours.find((one) => one.case === claim.case && one.kernel === kernel.ours && one.variant === claim.variant && one.candidate === claim.candidate)
    const common = {case: claim.case, kernel, variant: claim.variant, candidate: claim.candidate, verdict: {theirs: claim.verdict, ours: own?.verdict ?? null}}
    if (!own) {
      const wanted = chosen.some((target) => target.case === claim.case && target.kernel === claim.kernel)
      return wanted ? {...common, state: 'differs', tests: [], reasons: ['the run that the bundle describes has no such cell']} : {...common, state: 'left-out', tests: [], reasons: []}
    }
    found.add(own)
    if (own.verdict === 'could-not-run') return {...common, state: 'could-not-run', tests: [], reasons: own.reasons}
    // Repeats that disagree have no outcome of a test to compare.
    const tests = claim.verdict === 'flaky' ? [] : [...differingTests(claim.tests, own.tests, 'variant'), ...differingTests(claim.selftests, own.selftests, 'patched')]
    const state = claim.verdict === own.verdict && tests.length === 0 ? 'same' : 'differs'
    return {...common, state, tests, reasons: state === 'same' ? [] : own.reasons}
  })
  const others = ours.filter((own) => !found.has(own)).map((own): CellAgreement => {
    const kernel = {theirs: [...kernels].find(([, label]) => label === own.kernel)?.[0] ?? own.kernel, ours: own.kernel}
    return {case: own.case, kernel, variant: own.variant, candidate: own.candidate, verdict: {theirs: null, ours: own.verdict}, state: 'not-claimed', tests: [], reasons: own.reasons}
  })
  return [...claimed, ...others]
}

/** A test or a selftest as both have it: what `key` says is what came of it on the kernel in question. */
type Outcome<K extends string> = {name: string; observed: Record<string, string>} & Record<K, string | null>

function differingTests<K extends string>(theirs: readonly Outcome<K>[], ours: readonly Outcome<K>[], key: K): TestDifference[] {
  const names = [...new Set([...theirs, ...ours].map(({name}) => name))]
  return names.flatMap((name) => {
    const [before, now] = [theirs, ours].map((tests) => tests.find((test) => test.name === name))
    const [a, b] = [before?.[key] ?? 'missing', now?.[key] ?? 'missing']
    return a === b ? [] : [{name, theirs: a, ours: b, observed: {theirs: before?.observed[key] ?? '', ours: now?.observed[key] ?? ''}}]
  })
}

/** A result that is another one is certain, and wins over a cell that could not run here, of which nothing is known. */
export function exitOf(cells: readonly CellAgreement[]): number {
  if (cells.some(({state}) => state === 'differs')) return EXIT.missed
  return cells.some(({state}) => state === 'could-not-run') || !cells.some(({state}) => state === 'same') ? EXIT.couldNotRun : EXIT.ok
}

/** What the author's run had otherwise than ours; of results, these may be the reason. */
export function differencesOf(theirs: RunRecord, ours: RunRecord, kernels: ReadonlyMap<string, string>): Difference[] {
  const used = theirs.kernels.filter(({label}) => kernels.has(label))
  return [
    ...used.flatMap((kernel) => kernelDifferences(kernel, ours.kernels.find(({label}) => label === kernels.get(kernel.label)))),
    ...differing('accelerator', theirs.accelerator, ours.accelerator),
    ...toolDifferences(theirs.tools, ours.tools),
    ...differing('patchbench', wordsOf(theirs.patchbench), wordsOf(ours.patchbench)),
    ...differing("the guest's root", theirs.ownRoot ? 'of their own' : 'of packages', ours.ownRoot ? 'of your own' : 'of packages'),
    ...fileDifferences(theirs.files, ours.files, used.some(({kind}) => kind === 'built') ? ['vm', 'kconfigs'] : ['vm']),
    ...theirs.cases.flatMap(({name}) => keptDifference(`${name}: the guest's packages`, theirs.files[`packages/${name}`], ours.files[`packages/${name}`])),
    ...used.flatMap(({label}) => keptDifference(`${label}: .config`, theirs.files[configPath(label)], ours.files[configPath(kernels.get(label)!)])),
    ...firewall4Differences(theirs.firewall4, ours.firewall4),
    ...differing('repeats', String(theirs.repeats), String(ours.repeats)),
  ]
}

/** What was made of the bundle's files, as far as both made it: SHA-256 of modules, and git's names of patched trees. */
export function madeDifferences(theirs: Made, ours: Made, kernels: ReadonlyMap<string, string>): Difference[] {
  const both = (what: string, of: (made: Made) => Record<string, string>, shown: (name: string) => string) =>
    Object.entries(of(theirs)).flatMap(([key, value]) => {
      const [name, ...rest] = key.split(' ')
      const label = kernels.get(rest.slice(0, -1).join(' '))
      const own = of(ours)[[name, label, rest.at(-1)].join(' ')]
      return own === undefined ? [] : differing(`${key}: ${what}`, shown(value), shown(own))
    })
  return [...both('module', ({modules}) => modules, shortSum), ...both('patched tree', ({trees}) => trees, (tree) => tree)]
}

function kernelDifferences(theirs: KernelRecord, ours: KernelRecord | undefined): Difference[] {
  if (!ours) return []
  return [
    ...differing('kernel', theirs.label, ours.label),
    ...differing(`${theirs.label}: release`, theirs.release, ours.release),
    ...differing(`${theirs.label}: source tree`, theirs.tree ?? 'none', ours.tree ?? 'none'),
    // The same tree is the same source, whatever it was taken from.
    ...(theirs.tree !== null && theirs.tree === ours.tree ? [] : mapDifferences(theirs.origin, ours.origin)),
  ]
}

/** What rendered rulesets; where nothing was rendered here, it is told with the cells. */
function firewall4Differences(theirs: RunRecord['firewall4'], ours: RunRecord['firewall4']): Difference[] {
  if (!theirs || !ours) return []
  const short = (files: Record<string, string>) => Object.fromEntries(Object.entries(files).map(([name, sum]) => [`ucode: ${name}`, shortSum(sum)]))
  return [...differing('firewall4: tree', `${theirs.version} (${theirs.tree})`, `${ours.version} (${ours.tree})`), ...mapDifferences(short(theirs.ucode), short(ours.ucode))]
}

function mapDifferences(theirs: Record<string, string>, ours: Record<string, string>): Difference[] {
  const names = [...new Set([...Object.keys(theirs), ...Object.keys(ours)])].sort()
  return names.flatMap((name) => differing(name, theirs[name] ?? 'not there', ours[name] ?? 'not there'))
}

/** Tools by their first word: QEMU, gcc. */
function toolDifferences(theirs: readonly string[], ours: readonly string[]): Difference[] {
  const byName = (tools: readonly string[]) => Object.fromEntries(tools.map((tool) => [tool.split(' ')[0]!, tool]))
  return mapDifferences(byName(theirs), byName(ours))
}

/** What every run keeps: what runs in the guest, and where a kernel was built the fragments of its configuration. */
function fileDifferences(theirs: Record<string, string>, ours: Record<string, string>, folders: readonly string[]): Difference[] {
  const short = (files: Record<string, string>) =>
    Object.fromEntries(Object.entries(files).flatMap(([path, sum]) => (folders.includes(path.split('/')[0]!) ? [[path, shortSum(sum)]] : [])))
  return mapDifferences(short(theirs), short(ours))
}

/** What a run keeps of what it had at hand: where one of the two has none, there is nothing to compare. */
function keptDifference(what: string, theirs: string | undefined, ours: string | undefined): Difference[] {
  return theirs === undefined || ours === undefined ? [] : differing(what, shortSum(theirs), shortSum(ours))
}

function configPath(label: string): string {
  return `kernels/${configName({label})}`
}

function shortSum(sum: string): string {
  return `sha256:${sum.slice(0, 12)}`
}

function wordsOf({version, revision}: RunRecord['patchbench']): string {
  return [version, revision && `(${revision})`].filter(Boolean).join(' ')
}

function differing(what: string, theirs: string, ours: string): Difference[] {
  return theirs === ours ? [] : [{what, theirs, ours}]
}
