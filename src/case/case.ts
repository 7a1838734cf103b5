import {readdir, readFile, stat} from 'node:fs/promises'
import {dirname, join, relative, resolve} from 'node:path'
import {LineCounter, parseDocument} from 'yaml'
import {type z} from 'zod'
import {InputError, systemCode} from '../lib/errors.js'
import {casesFolder} from './folder.js'
import {type CaseFile, caseSchema} from './schema.js'

/** One fix of a case as a livepatch, with what it says that it mends. */
export type Livepatch = Omit<CaseFile['livepatches'][number], 'claims'> & {claims: string[]}

/** One fix of a case as a patch series. */
export type Candidate = Omit<CaseFile['candidates'][number], 'claims'> & {
  claims: string[]
  /** The folder of its series by version line: the lines that it claims. */
  series: Record<string, string>
}

/** One bug: its story, reproducer and fixes, with absolute paths. */
export type Case = Omit<CaseFile, 'livepatches' | 'candidates'> & {
  name: string
  directory: string
  candidates: Candidate[]
  livepatches: Livepatch[]
}

/** The names of the cases in a folder of cases, in order; of casesFolder() where none is named. */
export async function caseNames(named?: string): Promise<string[]> {
  const folder = named ?? (await casesFolder())
  const entries = await readdir(folder, {withFileTypes: true}).catch((error: unknown) => {
    throw new InputError(`the folder of cases ${folder} cannot be read (${systemCode(error)}): say another with --cases`)
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

function plainData(document: Document, file: string): unknown {
  try {
    return document.toJS()
  } catch (error) {
    throw new InputError(`${file}: ${error instanceof Error ? error.message : String(error)}`)
  }
}

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
function checkTests({symptoms, controls, livepatches, candidates}: CaseFile, file: string): void {
  const test = namedTwice([...symptoms, ...controls])
  if (test) throw new InputError(`${file}: the test '${test}' is named twice; a name belongs to one symptom or one control`)
  checkFixes('livepatch', livepatches, symptoms, file)
  checkFixes('candidate', candidates, symptoms, file)
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

async function locate(file: CaseFile, name: string, path: string): Promise<Case> {
  const directory = dirname(path)
  const program = resolve(directory, file.reproducer.program)
  if (!(await isFile(program))) throw new InputError(`${path}: reproducer.program: ${program} is no file`)
  const livepatches = await Promise.all(file.livepatches.map(async (livepatch) => await locateLivepatch(livepatch, file, path)))
  const candidates = await Promise.all(file.candidates.map(async (candidate) => await locateCandidate(candidate, file, path)))
  const kconfig = file.kconfig === undefined ? undefined : resolve(directory, file.kconfig)
  if (kconfig !== undefined && !(await isFile(kconfig))) throw new InputError(`${path}: kconfig: ${kconfig} is no file`)
  return {...file, name, directory, reproducer: {...file.reproducer, program}, candidates, livepatches, ...(kconfig ? {kconfig} : {})}
}

async function locateCandidate(candidate: CaseFile['candidates'][number], file: CaseFile, path: string): Promise<Candidate> {
  const folder = join(dirname(path), file.tree, candidate.name)
  const entries = await readdir(folder, {withFileTypes: true}).catch(() => [])
  const lines = entries.filter((entry) => entry.isDirectory() && /^\d+\.\d+$/.test(entry.name)).map((entry) => entry.name)
  if (lines.length === 0) {
    throw new InputError(`${path}: candidate '${candidate.name}': ${folder} holds no series: make a folder there for each version line, like 6.12/`)
  }
  const series = Object.fromEntries(lines.map((line) => [line, join(folder, line)]))
  return {...candidate, series, claims: candidate.claims ?? file.symptoms.map(({name}) => name)}
}

async function locateLivepatch(livepatch: CaseFile['livepatches'][number], file: CaseFile, path: string): Promise<Livepatch> {
  const source = resolve(dirname(path), livepatch.source)
  if (!(await stat(source).catch(() => undefined))?.isDirectory()) {
    throw new InputError(`${path}: livepatch '${livepatch.name}': source: ${source} is no folder`)
  }
  return {...livepatch, source, claims: livepatch.claims ?? file.symptoms.map(({name}) => name)}
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}
