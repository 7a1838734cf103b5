import Handlebars from 'handlebars'
import {readdir, readFile, realpath, stat} from 'node:fs/promises'
import {join, relative} from 'node:path'
import {z} from 'zod'
import {type Context} from '../lib/context.js'
import {InputError} from '../lib/errors.js'
import {sha256} from '../lib/hash.js'
import {projectPath, projectVersion} from '../lib/project.js'
import {INPUTS, readRecord, type RunRecord} from '../run/record.js'
import {type Made} from './agree.js'
import {type Content, evidenceOf} from './evidence.js'
import {LIMIT, type Manifest, parseManifest} from './manifest.js'
import {byBytes, packBundle, type Sign} from './pack.js'
import {ownProgram} from './program.js'
import {checkPublic, type Private, privateHere, sanitise, sanitiseCommand, sanitised} from './sanitise.js'

/** results.json, as far as a bundle says it. */
const resultsSchema = z.object({
  run: z.object({folder: z.string()}),
  results: z.array(z.record(z.string(), z.unknown())),
  pairs: z.array(
    z.object({
      case: z.string(),
      kernel: z.string(),
      origin: z.record(z.string(), z.string()),
      modules: z.record(z.string(), z.object({sha256: z.string()})),
      candidates: z.array(z.object({name: z.string(), tree: z.string()})),
    }),
  ),
})

export type Bundled = {manifest: Manifest; file: string; /** SHA-256 of manifest.json, which names all the rest. */ sha256: string; bytes: number}

/**
 * Makes the bundle of a run: what it was made of, what it claims, the evidence
 * that is small enough, and the program.
 *
 * @param folder of the run
 * @param name gives the file to write, from the run's record
 * @throws InputError when the run cannot be repeated elsewhere, or names paths of this machine
 */
export async function makeBundle(context: Context, folder: string, name: (record: RunRecord) => string, sign?: Sign): Promise<Bundled> {
  const record = await readRecord(folder)
  const stored = await readResults(folder)
  const programs = stored.pairs.flatMap(({origin}) => Object.values(origin).flatMap((words) => words.split(' ')))
  const own = privateHere([stored.run.folder, folder, await realpath(folder)], context.cache, [record.command, ...programs].join(' '))
  const run: RunRecord = sanitised({...record, command: sanitiseCommand(record.command, own)}, own)
  const output = name(record)
  const results = claimsOf(stored, own)
  const contents = [
    ...(await inputsOf(folder, own)),
    ...(await evidenceOf(folder, record, (text) => sanitise(text, own))),
    ...(await reportOf(folder, record, own)),
    ...(await ownProgram()),
    {path: 'reproduce.sh', data: await readFile(projectPath('src/bundle/reproduce.sh')), executable: true},
    {path: 'README.md', data: Buffer.from(await readme(run, results.results))},
  ].sort((a, b) => byBytes(a.path, b.path))
  const files = Object.fromEntries(contents.map(({path, data, executable}) => [path, {sha256: sha256(data), size: data.length, ...(executable ? {executable} : {})}]))
  const text = `${JSON.stringify({schema: 1, patchbench: {version: projectVersion()}, run, ...results, files}, null, 1)}\n`
  // What we would refuse, nobody else should be sent.
  const manifest = parseManifest(text)
  await packBundle(context, contents, text, output, sign)
  const {size: bytes} = await stat(output)
  if (bytes > LIMIT.archive) throw new InputError(`the bundle has ${bytes} bytes, and ${LIMIT.archive} are the most that reproduce takes: the run has more evidence than a bundle holds`)
  return {manifest, file: output, sha256: sha256(text), bytes}
}

type Stored = z.infer<typeof resultsSchema>

async function readResults(folder: string): Promise<Stored> {
  const file = join(folder, 'results.json')
  try {
    return resultsSchema.parse(JSON.parse(await readFile(file, 'utf8')))
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof z.ZodError) throw new InputError(`${file} is not as compare leaves it`)
    throw error
  }
}

function claimsOf({run, results, pairs}: Stored, own: Private) {
  // The folder may have moved since. A trace explains and is not compared.
  const named = results.map(({trace: _, ...one}) => ({...one, evidence: join('evidence', relative(run.folder, String(one.evidence)))}))
  return {results: sanitised(named, own) as Manifest['results'], ...madeOf(pairs)}
}

/** What a run made of its cases' files, to tell whether another made the same. */
export function madeOf(pairs: Stored['pairs']): Made {
  const modules = pairs.flatMap((pair) => Object.entries(pair.modules).map(([name, one]) => [`${pair.case} ${pair.kernel} ${name}`, one.sha256] as const))
  const trees = pairs.flatMap((pair) => pair.candidates.map(({name, tree}) => [`${pair.case} ${pair.kernel} ${name}`, tree] as const))
  return {modules: Object.fromEntries(modules), trees: Object.fromEntries(trees)}
}

/** The copies that the run kept; the record itself is part of the manifest. */
async function inputsOf(folder: string, own: Private): Promise<Content[]> {
  const inputs = join(folder, INPUTS)
  const entries = (await readdir(inputs, {recursive: true, withFileTypes: true})).filter((entry) => entry.isFile())
  const contents: Content[] = []
  for (const entry of entries) {
    const place = join(entry.parentPath, entry.name)
    const path = relative(inputs, place)
    if (path === 'run.json') continue
    const [data, {mode}] = [await readFile(place), await stat(place)]
    if (path.startsWith('cases/')) checkPublic(data.toString('utf8'), join(INPUTS, path), own)
    contents.push({path, data, executable: (mode & 0o100) !== 0})
  }
  return contents
}

async function reportOf(folder: string, {command}: RunRecord, own: Private): Promise<Content[]> {
  const text = await readFile(join(folder, 'report.md'), 'utf8').catch(() => undefined)
  if (text === undefined) return []
  return [{path: 'evidence/report.md', data: Buffer.from(sanitise(text.replaceAll(command, sanitiseCommand(command, own)), own))}]
}

async function readme({cases, command}: RunRecord, results: Manifest['results']): Promise<string> {
  const template = await readFile(projectPath('src/bundle/README.md.hbs'), 'utf8')
  const met = results.filter(({verdict, expected}) => verdict === expected).length
  const title = cases.map((one) => `${one.name}: ${one.title}`).join('; ')
  return Handlebars.compile(template, {noEscape: true, strict: true})({title, command, met, count: results.length, cells: results})
}
