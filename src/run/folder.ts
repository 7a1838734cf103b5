import {lstat, readdir, readFile, realpath, stat} from 'node:fs/promises'
import {isAbsolute, join, relative, resolve} from 'node:path'
import {z} from 'zod'
import {InputError} from '../lib/errors.js'
import {stateFolder} from '../lib/state.js'
import {printable} from '../lib/text.js'
import {type Comparison} from './compare.js'

/** The link to the last run below the default folder. */
export const LATEST = 'latest'

/** The file of a run that says all of it. */
const RESULTS = 'results.json'
const LARGEST = 256 << 20

/** What a run left: results.json, with the evidence where it is now. */
export type StoredRun = Comparison & {
  /** The run's folder. */
  folder: string
  /** Runs of older versions say less of themselves. */
  about: {date?: string | undefined; version?: string | undefined; revision?: string | undefined; command?: string | undefined; accelerator?: string | undefined; why?: string | undefined; tools?: string[] | undefined; exit: number}
  /** results.json as it is. */
  text: string
}

/** The folder of the runs whose --output was not named. */
export function runsFolder(): string {
  return join(stateFolder(), 'runs')
}

const status = z.enum(['passed', 'failed', 'skipped', 'missing'])
const outcome = z.enum(['passed', 'failed', 'skipped']).nullable()
const variant = z.enum(['base', 'patched', 'livepatched', 'reverted', 'ruleset'])
const verdict = z.enum(['shown', 'fixed', 'not-fixed', 'not-reproduced', 'regressed', 'flaky', 'could-not-run', 'restored', 'not-restored'])
const words = z.record(z.string(), z.string())

const test = z.looseObject({
  name: z.string(),
  role: z.enum(['symptom', 'control']),
  claimed: z.boolean(),
  base: status,
  variant: status,
  observed: z.object({base: z.string(), variant: z.string()}),
})

const trace = z.looseObject({
  notes: z.array(z.string()),
  stacks: z.array(z.looseObject({probe: z.string(), frames: z.array(z.string()), count: z.number(), caller: z.string().default(''), folded: z.string()})),
  timeline: z.array(z.looseObject({time: z.number(), kind: z.string(), name: z.string(), text: z.string()})),
})

const result = z.looseObject({
  case: z.string(),
  kernel: z.string(),
  variant,
  candidate: z.string().nullable(),
  verdict,
  expected: verdict,
  reasons: z.array(z.string()),
  tests: z.array(test),
  selftests: z.array(z.looseObject({name: z.string(), base: outcome, patched: outcome, observed: z.object({base: z.string(), patched: z.string()})})).default([]),
  repeats: z.number(),
  evidence: z.string(),
  trace: trace.optional(),
})

const pair = z.looseObject({
  case: z.string(),
  title: z.string(),
  parameters: words,
  livepatches: z.array(z.looseObject({name: z.string(), module: z.string(), parameters: words})),
  candidates: z.array(z.looseObject({name: z.string(), patches: z.array(z.string()), tree: z.string()})).default([]),
  rulesets: z.array(z.looseObject({name: z.string(), files: words, sha256: words})).default([]),
  kernel: z.string(),
  release: z.string(),
  origin: words,
  modules: z.record(z.string(), z.looseObject({sha256: z.string()})),
  sessions: z.array(z.looseObject({variants: z.array(variant), livepatch: z.string().nullable(), candidate: z.string().nullable().default(null), seconds: z.object({total: z.number()}).loose()})),
})

const run = z.looseObject({
  folder: z.string(),
  exit: z.number(),
  date: z.string().optional(),
  command: z.string().optional(),
  accelerator: z.string().optional(),
  why: z.string().optional(),
  version: z.string().optional(),
  revision: z.string().optional(),
  tools: z.array(z.string()).optional(),
})

const document = z.looseObject({schema: z.literal(1), run, results: z.array(result), pairs: z.array(pair), leftOut: z.array(z.string()).default([])})

/**
 * Reads what a run left: a folder, or the name of one below the default runs
 * folder; the last run where none is named. It may come from somebody else, so
 * its texts are made printable and its evidence has to be in it.
 *
 * @throws InputError when there is none, or it is none
 */
export async function readRun(name?: string): Promise<StoredRun> {
  const folder = await findRun(name)
  const path = join(folder, RESULTS)
  const {size} = await stat(path).catch(() => ({size: 0}))
  if (size > LARGEST) throw new InputError(`${path} has ${size} bytes, and ${LARGEST} are the most`)
  const text = await readFile(path, 'utf8').catch(() => {
    throw new InputError(`${folder} holds no ${RESULTS}: it is no folder of a run that ended`)
  })
  const read = document.safeParse(parseJson(text, path))
  if (!read.success) {
    const [issue] = read.error.issues
    throw new InputError(`${path}: ${issue!.path.join('.') || 'the document'}: ${printable(issue!.message)}; it is of another version, or was changed`)
  }
  const {run: about, results, pairs, leftOut} = read.data
  const here = async (place: string) => await inside(folder, about.folder, place, path)
  const moved = await Promise.all(results.map(async (one) => ({...one, evidence: await here(one.evidence)})))
  const ruled = await Promise.all(pairs.map(async (one) => ({...one, rulesets: await Promise.all(one.rulesets.map(async (ruleset) => ({...ruleset, files: await movedFiles(ruleset.files, here)})))})))
  // Validated above as far as reports read them; keys that are added later come through.
  return {folder, about, text, results: moved, pairs: ruled, leftOut} as unknown as StoredRun
}

/** The folder of a run: the one that is named, or the name of one below the default runs folder; the last run where none is named. */
export async function findRun(name: string | undefined): Promise<string> {
  const places = name === undefined ? [join(runsFolder(), LATEST)] : [resolve(name), join(runsFolder(), name)]
  for (const place of places) if ((await stat(place).catch(() => undefined))?.isDirectory()) return place
  if (name === undefined) throw new InputError(`there is no run in ${runsFolder()}: name the folder that compare left`)
  const known = (await readdir(runsFolder()).catch(() => [])).filter((one) => one !== LATEST).sort().slice(-3)
  throw new InputError(`there is no run ${name}: name the folder that compare left${known.length > 0 ? `, or one of ${runsFolder()}, like ${known.join(', ')}` : ''}`)
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text, (_, value: unknown) => (typeof value === 'string' ? printable(value) : value))
  } catch {
    throw new InputError(`${path} is no JSON: the run did not end, or the file was changed`)
  }
}

async function movedFiles(files: Record<string, string>, here: (place: string) => Promise<string>): Promise<Record<string, string>> {
  return Object.fromEntries(await Promise.all(Object.entries(files).map(async ([form, place]) => [form, await here(place)] as const)))
}

/** Evidence is named where it was made; the folder may be somewhere else now. */
async function inside(folder: string, then: string, evidence: string, path: string): Promise<string> {
  const place = join(folder, relative(then, evidence))
  const real = await realpath(place).catch(() => place)
  const way = relative(await realpath(folder).catch(() => folder), real)
  if (way.split('/')[0] === '..' || isAbsolute(way)) throw new InputError(`${path}: the evidence ${evidence} is not in the run's folder`)
  return place
}

/** The start of a plain file; undefined where there is none. A link leads to files that are none of the run's. */
export async function readEvidence(path: string, limit: number): Promise<{bytes: Buffer; whole: boolean} | undefined> {
  const about = await lstat(path).catch(() => undefined)
  if (!about?.isFile() || about.size > LARGEST) return undefined
  const bytes = await readFile(path)
  return {bytes: bytes.subarray(0, limit), whole: bytes.length <= limit}
}
