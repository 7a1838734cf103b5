import {readdir, readFile, stat} from 'node:fs/promises'
import {dirname, join, relative, resolve} from 'node:path'
import {LineCounter, parseDocument} from 'yaml'
import {type z} from 'zod'
import {InputError} from '../lib/errors.js'
import {projectPath} from '../lib/project.js'
import {type CaseFile, caseSchema} from './schema.js'

/** One bug: its story, reproducer and livepatch, with absolute paths. */
export type Case = Omit<CaseFile, 'reproducer' | 'livepatch'> & {
  name: string
  directory: string
  reproducer: CaseFile['reproducer']
  livepatch?: Required<NonNullable<CaseFile['livepatch']>>
}

/** The names of the cases in a folder of cases, in order. */
export async function caseNames(folder = projectPath('patches')): Promise<string[]> {
  const entries = await readdir(folder, {withFileTypes: true})
  const names: string[] = []
  for (const entry of entries) {
    if (entry.isDirectory() && (await isFile(join(folder, entry.name, 'case.yaml')))) names.push(entry.name)
  }
  return names.sort()
}

/**
 * Reads patches/NAME/case.yaml.
 *
 * @throws InputError naming file, line, key and what was expected there
 */
export async function loadCase(name: string, folder = projectPath('patches')): Promise<Case> {
  const known = await caseNames(folder)
  if (!known.includes(name)) {
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
  if (error) throw new InputError(`${file}:${lines.linePos(error.pos[0]).line}: ${error.message.split('\n')[0]}`)
  const result = caseSchema.safeParse(document.toJS())
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
  const node = document.getIn(issue.path as (string | number)[], true) as {range?: [number, number, number]} | undefined
  const line = node?.range ? `:${lines.linePos(node.range[0]).line}` : ''
  if (issue.code === 'unrecognized_keys') {
    return `${file}${line}: ${key ? `${key}: ` : ''}${issue.keys.map((one) => `'${one}'`).join(', ')} is no key of a case; is it misspelt?`
  }
  return `${file}${line}: ${key || 'the file'}: ${issue.message.replace(/^Invalid (input|string): /, '')}`
}

/** What the schema cannot say: names are unique, and claims are symptoms. */
function checkTests({symptoms, controls, livepatch}: CaseFile, file: string): void {
  const names = [...symptoms, ...controls].map(({name}) => name)
  const twice = names.find((name, index) => names.indexOf(name) !== index)
  if (twice) throw new InputError(`${file}: the test '${twice}' is named twice; a name belongs to one symptom or one control`)
  const stray = livepatch?.claims?.find((claim) => !symptoms.some(({name}) => name === claim))
  if (stray) throw new InputError(`${file}: livepatch.claims: '${stray}' is no symptom of this case`)
}

async function locate(file: CaseFile, name: string, path: string): Promise<Case> {
  const directory = dirname(path)
  const program = resolve(directory, file.reproducer.program)
  if (!(await isFile(program))) throw new InputError(`${path}: reproducer.program: ${program} does not exist`)
  const {livepatch, ...rest} = file
  const located = {...rest, name, directory, reproducer: {...file.reproducer, program}}
  if (!livepatch) return located
  const source = resolve(directory, livepatch.source)
  if (!(await stat(source).catch(() => undefined))?.isDirectory()) {
    throw new InputError(`${path}: livepatch.source: ${source} is no folder`)
  }
  const claims = livepatch.claims ?? file.symptoms.map((symptom) => symptom.name)
  return {...located, livepatch: {...livepatch, source, claims}}
}

async function isFile(path: string): Promise<boolean> {
  return (await stat(path).catch(() => undefined))?.isFile() ?? false
}
