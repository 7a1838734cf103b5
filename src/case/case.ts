import {readdir, readFile, stat} from 'node:fs/promises'
import {dirname, join, relative, resolve} from 'node:path'
import {LineCounter, parseDocument} from 'yaml'
import {type z} from 'zod'
import {InputError, systemCode} from '../lib/errors.js'
import {plainData} from '../lib/yaml.js'
import {casesFolder} from './folder.js'
import {type CaseFile, caseSchema} from './schema.js'

/** One fix of a case as a livepatch, with what it says that it mends. */
export type Livepatch = Omit<CaseFile['livepatches'][number], 'claims'> & {
  claims: string[]
  /**
   * The candidate whose series it is made of, and then `source` is that one's folder, and those that are
   * written by hand and that it stands in for; neither where it is itself written by hand.
   */
  madeOf?: {candidate: string; insteadOf: readonly Livepatch[]}
}

/** The forms that a ruleset may have, by the end of the file's name: nft's, and those of iptables-restore and ip6tables-restore. */
export const RULESET_FORMATS = ['nft', 'iptables', 'ip6tables'] as const

/**
 * The files of a ruleset by the end of their names: `nft` by the form, one that has several is loaded from
 * each; `hardware.nft` of a variation, which a reproducer loads by its name.
 */
export type RulesetFiles = Record<string, string>

/** What a traced session records at a function. */
export type Probe = CaseFile['probes'][number]

/** One fix of a case as a patch series, or as a ruleset. */
export type Candidate = Omit<CaseFile['candidates'][number], 'claims'> & {
  claims: string[]
  /** The folder of its series by version line: the lines that it claims. None of the tree `ruleset`. */
  series: Record<string, string>
  /** Its ruleset, of the tree `ruleset` alone. */
  ruleset?: RulesetFiles
}

/** One bug: its story, reproducer and fixes, with absolute paths. */
export type Case = Omit<CaseFile, 'livepatches' | 'candidates'> & {
  name: string
  directory: string
  candidates: Candidate[]
  livepatches: Livepatch[]
  /** The ruleset of base, of the tree `ruleset` alone. */
  baseRuleset?: RulesetFiles
}

/** The line of firewall4 whose series are taken: it has a branch for each release, and takes patches for this one. */
export const FIREWALL4_LINE = 'master'

/** The variant that a case's candidates run in: a kernel with the series, or the kernel as it is with another ruleset. */
export function candidateVariant({tree}: Pick<Case, 'tree'>): 'patched' | 'ruleset' {
  return tree === 'linux' ? 'patched' : 'ruleset'
}

/** Whether a candidate is for a kernel's line. A ruleset is for every kernel that the case is for. */
export function isForLine(one: Pick<Case, 'tree'>, {series}: Pick<Candidate, 'series'>, line: string): boolean {
  return candidateVariant(one) === 'ruleset' || line in series
}

/** The names of the cases in a folder of cases, in order; of casesFolder() where none is named. */
export async function caseNames(named?: string): Promise<string[]> {
  const folder = named ?? (await casesFolder())
  const entries = await readdir(folder, {withFileTypes: true}).catch((error: unknown) => {
    const code = systemCode(error)
    const why = code === 'ENOENT' ? 'is not there' : code === 'ENOTDIR' ? 'is a file' : `cannot be read (${code})`
    throw new InputError(`the folder of cases ${folder} ${why}: say another with --cases`)
  })
  const names: string[] = []
  for (const entry of entries) {
    if (entry.isDirectory() && (await isFile(join(folder, entry.name, 'case.yaml')))) names.push(entry.name)
  }
  return names.sort()
}

/**
 * Reads NAME/case.yaml in a folder of cases; in casesFolder() where none is named.
 *
 * @throws InputError naming file, line, key and what was expected there
 */
export async function loadCase(name: string, named?: string): Promise<Case> {
  const folder = named ?? (await casesFolder())
  const known = await caseNames(folder)
  if (!known.includes(name)) {
    if (/^[\w.-]+$/.test(name) && (await stat(join(folder, name)).catch(() => undefined))?.isDirectory()) {
      throw new InputError(`${join(folder, name)} holds no case.yaml, which makes a folder a case`)
    }
    throw new InputError(`there is no case '${name}'; there are ${known.join(', ') || 'none'} (see 'patchbench cases')`)
  }
  const file = join(folder, name, 'case.yaml')
  const parsed = parseCase(await readFile(file, 'utf8'), relative(process.cwd(), file) || file)
  return await locate(parsed, name, file)
}

/** Parses the text of a case.yaml; `file` is for messages. */
export function parseCase(text: string, file: string): CaseFile {
  const lines = new LineCounter()
  const document = parseDocument(text, {lineCounter: lines})
  const [error] = document.errors
  if (error) {
    const words = error.message.split('\n')[0]!.replace(/ at line \d+, column \d+:?$/, '')
    throw new InputError(`${file}:${lines.linePos(error.pos[0]).line}: ${words}`)
  }
  const result = caseSchema.safeParse(plainData(document, file))
  if (result.success) {
    checkTests(result.data, file)
    return result.data
  }
  const [issue] = result.error.issues
  throw new InputError(describeIssue(issue!, document, lines, file))
}

type Document = ReturnType<typeof parseDocument>

function describeIssue(issue: z.core.$ZodIssue, document: Document, lines: LineCounter, file: string): string {
  const key = issue.path.map(String).join('.')
  const path = issue.path as (string | number)[]
  if (issue.code === 'unrecognized_keys') {
    const line = lineAt([...path, issue.keys[0]!], document, lines)
    return `${file}${line}: ${key ? `${key}: ` : ''}${issue.keys.map((one) => `'${one}'`).join(', ')} is no key of a case; is it misspelt?`
  }
  const found = document.getIn(path)
  const seen = typeof found === 'string' || typeof found === 'number' ? `, found '${found}'` : ''
  return `${file}${lineAt(path, document, lines)}: ${key || 'the file'}: ${issue.message.replace(/^Invalid (input|string): /, '')}${seen}`
}

/** `:12`, the line of a key; of the nearest one above it when it is the key that is missing. */
function lineAt(path: readonly (string | number)[], document: Document, lines: LineCounter): string {
  const node = document.getIn(path, true) as {range?: [number, number, number]} | undefined
  if (node?.range) return `:${lines.linePos(node.range[0]).line}`
  return path.length > 0 ? lineAt(path.slice(0, -1), document, lines) : ''
}

/** What the schema cannot say: names are unique, and claims are symptoms. */
function checkTests({tree, symptoms, controls, livepatches, candidates, probes, firewall4}: CaseFile, file: string): void {
  const probe = namedTwice(probes)
  if (probe) throw new InputError(`${file}: the probe '${probe}' is named twice`)
  const test = namedTwice([...symptoms, ...controls])
  if (test) throw new InputError(`${file}: the test '${test}' is named twice; a name belongs to one symptom or one control`)
  checkFixes('livepatch', livepatches, symptoms, file)
  checkFixes('candidate', candidates, symptoms, file)
  if ((tree === 'firewall4') !== (firewall4 !== undefined)) {
    throw new InputError(tree === 'firewall4' ? `${file}: a case of the tree firewall4 describes a router: add firewall4: {router: FOLDER}` : `${file}: firewall4: the case is of the tree ${tree}`)
  }
  for (const {name, expect} of candidates) {
    const variant = candidateVariant({tree})
    if (expect[variant] === undefined || Object.keys(expect).length > 1) {
      throw new InputError(`${file}: candidate '${name}': expect: a candidate of the tree ${tree} runs as '${variant}': write {${variant}: fixed}, or the verdict that it earns`)
    }
    // Its file would be the one of base.
    if (variant === 'ruleset' && name === 'base') throw new InputError(`${file}: no candidate can be called 'base', which is what candidates are compared with`)
  }
}

function checkFixes(kind: string, fixes: readonly {name: string; claims?: string[] | undefined}[], symptoms: readonly {name: string}[], file: string): void {
  const twice = namedTwice(fixes)
  if (twice) throw new InputError(`${file}: the ${kind} '${twice}' is named twice`)
  for (const {name, claims = []} of fixes) {
    const stray = claims.find((claim) => !symptoms.some((symptom) => symptom.name === claim))
    if (stray) throw new InputError(`${file}: ${kind} '${name}': claims: '${stray}' is no symptom of this case`)
  }
}

function namedTwice(named: readonly {name: string}[]): string | undefined {
  const names = named.map(({name}) => name)
  return names.find((name, index) => names.indexOf(name) !== index)
}

/**
 * The candidate of this name; the first where none is named.
 *
 * @throws InputError when the case has none, or none of that name
 */
export function candidateOf({name, candidates}: Case, wanted?: string): Candidate {
  const found = wanted === undefined ? candidates[0] : candidates.find((one) => one.name === wanted)
  if (found) return found
  const there = candidates.map((one) => one.name).join(', ')
  throw new InputError(there ? `the case '${name}' has no candidate '${wanted}'; it has ${there}` : `the case '${name}' has no candidate`)
}

/**
 * The folder of a candidate's series for a kernel's line.
 *
 * @throws InputError when it has none
 */
export function seriesFor({name, series}: Candidate, line: string): string {
  const path = series[line]
  if (path !== undefined) return path
  const lines = Object.keys(series).join(', ')
  throw new InputError(lines ? `candidate ${name} has no series for ${line}, only for ${lines}` : `candidate ${name} is a ruleset and no series`)
}

/**
 * The livepatch of this name; the first where none is named.
 *
 * @throws InputError when the case has none, or none of that name
 */
export function livepatchOf({name, livepatches}: Case, wanted?: string): Livepatch {
  const found = wanted === undefined ? livepatches[0] : livepatches.find((one) => one.name === wanted)
  if (found) return found
  const there = livepatches.map((one) => one.name).join(', ')
  throw new InputError(there ? `the case '${name}' has no livepatch '${wanted}'; it has ${there}` : `the case '${name}' has no livepatch`)
}

/** The candidates of a kernel's case as livepatches, instead of those that are written by hand; each is for the lines that it has a series for. */
export function asLivepatches(one: Case): (Livepatch & Required<Pick<Livepatch, 'madeOf'>>)[] {
  if (candidateVariant(one) !== 'patched') return []
  return one.candidates.map(({name, claims, series, expect}) => ({
    name,
    madeOf: {candidate: name, insteadOf: one.livepatches},
    source: join(one.directory, one.tree, name),
    // As long as the kernel allows (MODULE_NAME_LEN); klp-build cuts it there as well.
    module: `livepatch_${one.name}_${name}`.toLowerCase().replace(/[^a-z0-9]/g, '_').slice(0, 55),
    kernels: Object.keys(series),
    parameters: {},
    claims,
    expect: {livepatched: expect.patched ?? 'fixed', reverted: 'restored'},
  }))
}

async function locate(file: CaseFile, name: string, path: string): Promise<Case> {
  const directory = dirname(path)
  const program = resolve(directory, file.reproducer.program)
  if (!(await isFile(program))) throw new InputError(`${path}: reproducer.program: ${program} is no file`)
  const livepatches = await Promise.all(file.livepatches.map(async (livepatch) => await locateLivepatch(livepatch, file, path)))
  const candidates = await Promise.all(file.candidates.map(async (candidate) => await locateCandidate(candidate, file, path)))
  const baseRuleset = file.tree === 'ruleset' ? await locateRuleset('base', path) : undefined
  const differs = candidates.find(({ruleset}) => formatsOf(ruleset) !== formatsOf(baseRuleset))
  if (differs) throw new InputError(`${path}: candidate '${differs.name}': its ruleset has the forms ${formatsOf(differs.ruleset)}, and that of base ${formatsOf(baseRuleset)}: give both the same`)
  const kconfig = file.kconfig === undefined ? undefined : resolve(directory, file.kconfig)
  if (kconfig !== undefined && !(await isFile(kconfig))) throw new InputError(`${path}: kconfig: ${kconfig} is no file`)
  const firewall4 = file.firewall4 && {...file.firewall4, router: await locateRouter(file.firewall4.router, path)}
  const optional = {...(kconfig ? {kconfig} : {}), ...(baseRuleset ? {baseRuleset} : {}), ...(firewall4 ? {firewall4} : {})}
  return {...file, name, directory, reproducer: {...file.reproducer, program}, candidates, livepatches, ...optional}
}

/** The folder that answers firewall4's questions, of which its configuration is one. */
async function locateRouter(folder: string, path: string): Promise<string> {
  const router = resolve(dirname(path), folder)
  const config = join(router, 'uci/firewall.json')
  if (!(await isFile(config))) throw new InputError(`${path}: firewall4.router: ${config} is no file: lay the folder out as firewall4's tests/mocks`)
  return router
}

/** ruleset/NAME.nft, ruleset/NAME.VARIATION.nft and their like, those that there are. */
async function rulesetFiles(path: string, name: string): Promise<RulesetFiles> {
  const folder = join(dirname(path), 'ruleset')
  const entries = await readdir(folder, {withFileTypes: true}).catch(() => [])
  const ending = new RegExp(`^${name}\\.((?:[a-z0-9][a-z0-9-]*\\.)?(?:${RULESET_FORMATS.join('|')}))$`)
  const files = entries.flatMap((entry) => {
    const found = entry.isFile() ? ending.exec(entry.name)?.[1] : undefined
    return found === undefined ? [] : [[found, join(folder, entry.name)] as const]
  })
  return Object.fromEntries(files.sort(([a], [b]) => placeOf(a) - placeOf(b) || a.localeCompare(b)))
}

/** Forms in their order, variations behind them. */
function placeOf(ending: string): number {
  const place = (RULESET_FORMATS as readonly string[]).indexOf(ending)
  return place === -1 ? RULESET_FORMATS.length : place
}

function formatsOf(files: RulesetFiles = {}): string {
  return Object.keys(files).join(', ')
}

async function locateCandidate(candidate: CaseFile['candidates'][number], file: CaseFile, path: string): Promise<Candidate> {
  const claims = candidate.claims ?? file.symptoms.map(({name}) => name)
  if (file.tree === 'ruleset') return {...candidate, claims, series: {}, ruleset: await locateRuleset(candidate.name, path)}
  const folder = join(dirname(path), file.tree, candidate.name)
  const entries = await readdir(folder, {withFileTypes: true}).catch(() => [])
  const isLine = (name: string) => (file.tree === 'firewall4' ? name === FIREWALL4_LINE : /^\d+\.\d+$/.test(name))
  const lines = entries.filter((entry) => entry.isDirectory() && isLine(entry.name)).map((entry) => entry.name)
  if (lines.length === 0) {
    const wanted = file.tree === 'firewall4' ? `the folder ${FIREWALL4_LINE}/ there` : 'a folder there for each version line, like 6.12/'
    throw new InputError(`${path}: candidate '${candidate.name}': ${folder} holds no series: make ${wanted}`)
  }
  const series = Object.fromEntries(lines.map((line) => [line, join(folder, line)]))
  return {...candidate, series, claims}
}

async function locateRuleset(name: string, path: string): Promise<RulesetFiles> {
  const files = await rulesetFiles(path, name)
  if (RULESET_FORMATS.some((format) => format in files)) return files
  const others = RULESET_FORMATS.filter((format) => format !== 'nft').map((format) => `${name}.${format}`)
  throw new InputError(`${path}: ${join(dirname(path), 'ruleset')} holds no ruleset of ${name}: write ${name}.nft there, or ${others.join(' or ')}`)
}

async function locateLivepatch(livepatch: CaseFile['livepatches'][number], file: CaseFile, path: string): Promise<Livepatch> {
  const source = resolve(dirname(path), livepatch.source)
  if (!(await stat(source).catch(() => undefined))?.isDirectory()) {
    throw new InputError(`${path}: livepatch '${livepatch.name}': source: ${source} is no folder`)
  }
  const probe = livepatch.probe && resolve(dirname(path), livepatch.probe)
  if (probe !== undefined && !(await isFile(probe))) throw new InputError(`${path}: livepatch '${livepatch.name}': probe: ${probe} is no file`)
  return {...livepatch, source, ...(probe ? {probe} : {}), claims: livepatch.claims ?? file.symptoms.map(({name}) => name)}
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}
