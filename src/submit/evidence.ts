import Handlebars from 'handlebars'
import {readdir, readFile} from 'node:fs/promises'
import {join} from 'node:path'
import {z} from 'zod'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {printable} from '../lib/text.js'
import {readJson, stateFolder} from '../lib/state.js'

const test = z.object({
  name: z.string(),
  role: z.enum(['symptom', 'control']),
  claimed: z.boolean(),
  base: z.string(),
  variant: z.string(),
  observed: z.object({base: z.string(), variant: z.string()}),
})

const result = z.object({
  case: z.string(),
  kernel: z.string(),
  variant: z.string(),
  candidate: z.string().nullable(),
  verdict: z.string(),
  expected: z.string(),
  tests: z.array(test),
  repeats: z.number(),
})

const pair = z.object({
  case: z.string(),
  kernel: z.string(),
  release: z.string(),
  candidates: z.array(z.object({name: z.string(), series: z.string().optional()})),
})

/** As much of results.json as is needed here; see report/json.ts. */
const results = z.object({
  schema: z.literal(1),
  run: z.object({folder: z.string(), date: z.string().optional(), command: z.string().optional(), accelerator: z.string().optional()}),
  results: z.array(result),
  pairs: z.array(pair),
})

type Result = z.infer<typeof result>

/** What a run says about a series on a kernel: the cells of base and of the series. */
export type Evidence = {kernel: string; release: string; date: string; command: string; accelerator: string; folder: string; base: Result | undefined; patched: Result}

/** What is looked for: a candidate whose diffs are these, see series/identity.ts. */
export type Wanted = {case: string; candidate: string; code: string}

/**
 * The last comparison of exactly a series on each kernel, from the runs that
 * `compare` left, or from those that are named.
 *
 * @param named folders of runs, as of `compare --output`
 */
export async function evidenceOf(wanted: Wanted, named: readonly string[]): Promise<Evidence[]> {
  const found = new Map<string, Evidence>()
  for (const one of (await Promise.all((await runFolders(named)).map(async (folder) => await evidenceIn(folder, wanted, named.includes(folder))))).flat()) {
    const other = found.get(one.kernel)
    if (!other || other.date < one.date) found.set(one.kernel, one)
  }
  return [...found.values()].sort((a, b) => a.kernel.localeCompare(b.kernel, 'en', {numeric: true}))
}

async function runFolders(named: readonly string[]): Promise<string[]> {
  if (named.length > 0) return [...named]
  const runs = join(stateFolder(), 'runs')
  const names = await readdir(runs).catch(() => [])
  // `latest` is a link to one of the others.
  return names.filter((name) => name !== 'latest').map((name) => join(runs, name))
}

async function evidenceIn(folder: string, wanted: Wanted, isNamed: boolean): Promise<Evidence[]> {
  const file = join(folder, 'results.json')
  // Somebody else's file in the folder of runs is passed over; one that was named is not.
  const read = await readJson(file, results).catch((error: unknown) => {
    if (isNamed) throw error
    return undefined
  })
  if (!read) {
    if (isNamed) throw new InputError(`--results ${folder} has no results.json: name the folder that 'compare --output' wrote`)
    return []
  }
  const {run, pairs, results: all} = read
  return pairs.flatMap(({case: name, kernel, release, candidates}): Evidence[] => {
    if (name !== wanted.case || !candidates.some((one) => one.name === wanted.candidate && one.series === wanted.code)) return []
    const cells = all.filter((cell) => cell.case === name && cell.kernel === kernel)
    const patched = cells.find(({variant, candidate}) => (variant === 'patched' || variant === 'ruleset') && candidate === wanted.candidate)
    if (!patched) return []
    const {date = '', command = '', accelerator = ''} = run
    return [{kernel, release, date, command, accelerator, folder, base: cells.find(({variant}) => variant === 'base'), patched}]
  })
}

/** How many symptoms a letter shows before and after. */
const SHOWN = 4
/** Most characters of what a reproducer saw. */
const WIDEST = 70

export type Bundle = {name: string; sha256: string}

/** What a letter says of the tests: a table, the symptoms before and after, and how to see it again. Plain text, each line indented. */
export async function evidenceText(name: string, evidence: readonly Evidence[], bundle: Bundle | undefined): Promise<string> {
  if (evidence.length === 0) return ''
  const template = await readFile(projectPath('src/submit/evidence.hbs'), 'utf8')
  const rows = evidence.flatMap(({kernel, base, patched}) =>
    [base, patched].filter((cell) => cell !== undefined).map((cell, index) => [index === 0 ? kernel : '', cell.variant, verdictOf(cell), ...countsOf(cell)]),
  )
  const {patched} = evidence.at(-1)!
  const claimed = patched.tests.filter(({role, claimed: is, base: before}) => role === 'symptom' && is && before === 'failed')
  const seen = claimed.slice(0, SHOWN).map(({name: symptom, observed}) => ({name: symptom, before: firstLine(observed.base), after: firstLine(observed.variant)}))
  const facts = {
    ...{case: name, table: columns([['kernel', 'variant', 'verdict', 'symptoms shown', 'controls'], ...rows])},
    ...{seen, more: claimed.length - seen.length, bundle},
    commands: [...new Set(evidence.map(({command}) => firstLine(command, 200)))].filter(Boolean),
    machines: [...new Set(evidence.map(({release, accelerator}) => `${release}${accelerator ? ` (QEMU, ${accelerator})` : ''}`))].join(', '),
  }
  const renderer = Handlebars.create()
  return printable(renderer.compile(template, {strict: true, noEscape: true})(facts)).trimEnd()
}

function verdictOf({verdict, repeats}: Result): string {
  return repeats > 1 ? `${verdict}, ${repeats} times` : verdict
}

function countsOf({tests}: Result): string[] {
  const claimed = tests.filter(({role, claimed}) => role === 'symptom' && claimed)
  const controls = tests.filter(({role}) => role === 'control')
  return [`${claimed.filter(({variant}) => variant === 'failed').length}/${claimed.length}`, `${controls.filter(({variant}) => variant === 'passed').length}/${controls.length} pass`]
}

/** A guest's words, on one line: they stand in a mail, where a line of their own could be anything. */
function firstLine(text: string, most = WIDEST): string {
  const [line = ''] = printable(text).split('\n')
  return line.length > most ? `${line.slice(0, most - 3)}...` : line
}

function columns(rows: readonly (readonly string[])[]): string[] {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)))
  return rows.map((row) => row.map((cell, column) => printable(cell).replaceAll('\n', ' ').padEnd(widths[column]!)).join('  ').trimEnd())
}
