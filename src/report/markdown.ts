import {createTwoFilesPatch} from 'diff'
import Handlebars from 'handlebars'
import {readdir, readFile} from 'node:fs/promises'
import {basename, join, relative} from 'node:path'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {type KeptRuleset} from '../ruleset/ruleset.js'
import {type Comparison, type PairRecord} from '../run/compare.js'
import {type Result} from '../run/results.js'
import {type Variant} from '../verdict/verdict.js'
import {callersText, stacksText, timelineText, timesText} from './trace.js'
import {controlsText, symptomText, titleOf} from './symptom.js'

/** What differs in tcpdump's words from run to run: times, MAC addresses, TCP numbers, checksums. */
const VARYING: readonly [RegExp, string][] = [
  [/^\d\d:\d\d:\d\d\.\d+ /gm, ''],
  [/\b(?:[\da-f]{2}:){5}[\da-f]{2}\b/g, '<mac>'],
  [/\b(id|seq|ack|val|ecr) \d+(:\d+)?/g, '$1 N'],
  [/cksum 0x[\da-f]+ \((?:in)?correct(?: -> 0x[\da-f]+)?\)/g, 'cksum N'],
]

/** How many lines of a capture a report shows. */
const EXCERPT = 40

/** What a report says about the run as a whole. */
export type RunFacts = {
  /** ISO 8601, UTC. */
  date: string
  version: string
  /** The commit of patchbench, where it is a checkout. */
  revision: string
  command: string
  folder: string
  accelerator: string
  /** Why it was that accelerator. */
  why: string
  tools: string[]
}

/** The comparison as Markdown for a mail or a pull request, with the evidence that fits in one. */
export async function comparisonMarkdown({results, pairs}: Comparison, run: RunFacts): Promise<string> {
  const renderer = Handlebars.create()
  renderer.registerHelper('cell', (text: string) => printable(text).replaceAll('|', '\\|').replace(/\s*\n\s*/g, ' '))
  // What a guest printed cannot end the block that it is quoted in.
  renderer.registerHelper('fenced', (text: string) => printable(text).trimEnd().replaceAll('```', '` ` `'))
  const template = await readFile(projectPath('src/report/comparison.md.hbs'), 'utf8')
  const met = results.filter(({verdict, expected}) => verdict === expected).length
  const sections = await Promise.all(pairs.map(async (record) => await section(record, results, run)))
  return renderer.compile(template, {strict: true, noEscape: true})({
    run,
    summary: `${met} of ${results.length} verdicts as expected`,
    pairs: sections,
  })
}

async function section(record: PairRecord, all: readonly Result[], run: RunFacts) {
  const results = all.filter((result) => result.case === record.case && result.kernel === record.kernel)
  const [first] = results
  const words = (parameters: Record<string, string>) => Object.entries(parameters).map(([name, value]) => `${name}=${value}`).join(' ')
  const folders = await sessionFolders(first?.evidence)
  return {
    case: record.case,
    title: record.title,
    kernel: record.kernel,
    record,
    parameters: words(record.parameters),
    livepatches: record.livepatches.map(({name, module, parameters}) => ({
      ...{name, module, parameters: words(parameters)},
      sha256: record.modules[name]?.sha256 ?? 'not built',
    })),
    folders: results.length > 0 ? folders.map((folder) => relative(run.folder, folder)) : [],
    machine: `QEMU${run.accelerator ? ` under ${run.accelerator}` : ''}${run.why ? ` (${run.why})` : ''}`,
    results: results.map((result) => ({...result, symptom: symptomText(result), controls: controlsText(result)})),
    tests: (first?.tests ?? []).map(({name, role, claimed, observed}, index) => ({
      name,
      role,
      claimed,
      seen: observed.base,
      statuses: results.map((result) => result.tests[index]!.variant),
    })),
    captures: await capturesOf(folders, results),
    traces: results.flatMap((result) => traceOf(result) ?? []),
    rulesets: record.rulesets.map((ruleset) => ({name: ruleset.name, forms: formsOf(ruleset, run)})),
    differences: await rulesetDifferences(record.rulesets),
    ktaps: [
      ...(await Promise.all(results.map(async (result) => await ktapOf(folders, result)))).filter(({text}) => text !== ''),
      ...(await Promise.all(results.filter(({selftests}) => selftests.length > 0).map(selftestKtaps))).flat(),
    ],
  }
}

/** The sessions' folders, the first repeats first. */
async function sessionFolders(evidence: string | undefined): Promise<string[]> {
  if (!evidence) return []
  const names = await readdir(evidence).catch(() => [])
  return names.sort((a, b) => a.localeCompare(b, 'en', {numeric: true})).map((name) => join(evidence, name))
}

function formsOf({files, sha256}: KeptRuleset, run: RunFacts) {
  return Object.entries(files).map(([ending, path]) => ({path: relative(run.folder, path), sha256: sha256[ending]}))
}

/** What each candidate's ruleset changes, a diff a form. */
export async function rulesetDifferences([base, ...others]: readonly KeptRuleset[]) {
  if (base?.name !== 'base') return []
  const changed = others.map(async ({name, files}) => {
    // A variation says again what its form says.
    const forms = Object.keys(files).filter((ending) => !ending.includes('.'))
    const diffs = forms.map(async (form) => {
      const [from, to] = [base.files[form], files[form]]
      if (from === undefined || to === undefined) return ''
      const texts = await Promise.all([from, to].map(async (path) => await readFile(path, 'utf8')))
      return createTwoFilesPatch(`base.${form}`, `${name}.${form}`, texts[0]!, texts[1]!).split('\n').slice(1).join('\n')
    })
    return {name, text: excerpt((await Promise.all(diffs)).join(''))}
  })
  return await Promise.all(changed)
}

/** The packets of the symptom (symptom*.txt), on base and with the first fix. */
async function capturesOf(folders: readonly string[], results: readonly Result[]) {
  const fixed = results.find(({candidate}) => candidate !== null)
  const names = await captureNames(folders)
  return await Promise.all(
    names.map(async (name) => {
      const base = await evidenceText(folders, 'base', null, name)
      const variant = fixed ? await evidenceText(folders, fixed.variant, fixed.candidate, name) : ''
      const difference = base && variant ? captureDifference(base, variant, fixed!.variant) : ''
      return {name: name.replace(/\.txt$/, ''), fix: fixed && titleOf(fixed), base: excerpt(base), variant: excerpt(variant), difference: excerpt(difference)}
    }),
  )
}

async function captureNames(folders: readonly string[]): Promise<string[]> {
  for (const folder of folders) {
    const files = await readdir(join(folder, 'base')).catch(() => [])
    const names = files.filter((name) => /^symptom.*\.txt$/.test(name))
    if (names.length > 0) return names.sort()
  }
  return []
}

/** As much of a text as a mail can take; the evidence has the rest. */
function excerpt(text: string): string {
  const lines = text.trimEnd().split('\n')
  if (lines.length <= EXCERPT) return text
  return [...lines.slice(0, EXCERPT), `... and ${lines.length - EXCERPT} more lines in the evidence`].join('\n')
}

function traceOf(result: Result) {
  if (!result.trace) return undefined
  const {evidence, notes, probes, stacks, timeline, clock} = result.trace
  const shown = {stacks: excerpt(stacksText(stacks)), timeline: excerpt(timelineText(timeline)), clock: timesText(clock, timeline)}
  return {title: titleOf(result), evidence, notes, probes: probes.map((probe) => ({...probe, callers: callersText(stacks, probe.name)})), ...shown}
}

async function ktapOf(folders: readonly string[], result: Result) {
  return {variant: titleOf(result), text: await evidenceText(folders, result.variant, result.candidate, 'ktap')}
}

/** What the selftests that a series brings printed, on base and on its kernel. */
async function selftestKtaps({candidate, evidence}: Result) {
  const ktaps = (['base', 'patched'] as const).map(async (on) => {
    const session = join(evidence, `${candidate}-selftests-${on}`)
    const steps = (await readdir(session)).sort()
    const texts = await Promise.all(steps.map(async (step) => await readFile(join(session, step, 'ktap'), 'utf8').catch(() => '')))
    return {variant: `${candidate}'s own selftests on ${on}`, text: texts.join('')}
  })
  return await Promise.all(ktaps)
}

/** A file of the first session that ran this variant of this fix; empty where there is none. */
async function evidenceText(folders: readonly string[], variant: Variant, candidate: string | null, file: string): Promise<string> {
  for (const folder of folders) {
    // CANDIDATE-VARIANTS-REPEAT: one name may be the start of another.
    if (candidate && basename(folder).replace(/-[a-z+]+-\d+$/, '') !== candidate) continue
    const text = await readFile(join(folder, variant, file), 'utf8').catch(() => undefined)
    if (text !== undefined) return text
  }
  return ''
}

/** What a fix changed on the wire, without what differs from run to run anyway. */
function captureDifference(base: string, variant: string, name: Variant): string {
  const steady = (text: string) => VARYING.reduce((rest, [pattern, instead]) => rest.replace(pattern, instead), text)
  return createTwoFilesPatch('base', name, steady(base), steady(variant)).split('\n').slice(1).join('\n')
}
