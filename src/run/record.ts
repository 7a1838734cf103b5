import {cp, mkdir, readdir, readFile, writeFile} from 'node:fs/promises'
import {basename, dirname, join, relative} from 'node:path'
import {z} from 'zod'
import {type Case} from '../case/case.js'
import {FRAGMENTS, isBuilt} from '../kernel/built.js'
import {type Kernel} from '../kernel/kernel.js'
import {type Context} from '../lib/context.js'
import {CouldNotRun, InputError, systemCode} from '../lib/errors.js'
import {sha256File} from '../lib/hash.js'
import {projectPath} from '../lib/project.js'
import {guestRoot, rootFromTar} from '../machine/root.js'
import {type Firewall4} from '../ruleset/firewall4.js'
import {copyCase} from './casecopy.js'
import {type Comparison, type CompareInput, type Target} from './compare.js'

/** The folder of a run that holds what it was made of: somebody else needs no more to repeat it. */
export const INPUTS = 'inputs'
const RECORD = 'run.json'

/** What is used in the guest; reproducers, and what is for hosts, are not of every run. */
const GUEST = ['init', 'agent.py', 'lib', 'modules', 'packages', 'excludes', 'selftests', 'root']

const words = z.record(z.string(), z.string())
const name = z.string().regex(/^[a-z0-9][a-z0-9-]*$/)
/** A folder's. */
const caseName = z.string().regex(/^\w[\w.-]*$/)

const kernelSchema = z.strictObject({
  label: z.string(),
  line: z.string(),
  version: z.string(),
  release: z.string(),
  /** A distribution's, built from a source, or at hand. */
  kind: z.enum(['packaged', 'built', 'given']),
  origin: words,
  /** What git calls the tree that it was built from. */
  tree: z.string().nullable(),
  debug: z.array(z.enum(['kasan', 'lockdep', 'kmemleak'])),
})

/** What rendered the rulesets of cases of firewall4; neither is kept in a run. */
const firewall4Schema = z.strictObject({
  version: z.string(),
  commit: z.string(),
  /** What git calls the tree. */
  tree: z.string(),
  origin: words,
  /** SHA-256 of what ucode maps, by file name. */
  ucode: words,
})

/** inputs/run.json: what a comparison was made with. */
export const runSchema = z.strictObject({
  schema: z.literal(1),
  /** ISO 8601, UTC. */
  date: z.string(),
  patchbench: z.strictObject({version: z.string(), revision: z.string()}),
  command: z.string(),
  accelerator: z.enum(['kvm', 'tcg']),
  tools: z.array(z.string()),
  repeats: z.number().int().min(1).max(1000),
  /** Whether probes were recorded, of the cases that have some. */
  traced: z.boolean(),
  firewall4: firewall4Schema.nullable(),
  /** Whether the guest's root was the user's own (--root), which no other machine has. */
  ownRoot: z.boolean(),
  cases: z.array(
    z.strictObject({
      ...{name: caseName, title: z.string(), parameters: words, livepatches: z.array(name), candidates: z.array(name)},
      /** Whether its livepatches were made of its candidates' series, and have their names. */
      fromPatch: z.boolean().default(false),
    }),
  ),
  kernels: z.array(kernelSchema),
  targets: z.array(z.strictObject({case: caseName, kernel: z.string(), variants: z.array(z.enum(['base', 'patched', 'livepatched', 'reverted', 'ruleset']))})),
  /** SHA-256 of the copies beside it, by path. */
  files: words,
})

export type RunRecord = z.infer<typeof runSchema>
export type KernelRecord = RunRecord['kernels'][number]

/** What is known of a run besides its targets. */
export type RunAbout = Pick<RunRecord, 'date' | 'patchbench' | 'command' | 'accelerator' | 'tools'>

/** Copies what a run is made of beside its evidence, before the first session: the user's files may change meanwhile. */
export async function recordInputs(folder: string, targets: readonly Target[]): Promise<void> {
  const inputs = join(folder, INPUTS)
  const cases = new Map(targets.map(({one}) => [one.name, one]))
  for (const one of cases.values()) await copyCase(one, join(inputs, 'cases'))
  for (const part of GUEST) await cp(projectPath('vm', part), join(inputs, 'vm', part), {recursive: true, filter: (path) => basename(path) !== '__pycache__'})
  const debug = targets.flatMap(({kernel}) => (isBuilt(kernel) ? (kernel.options.debug ?? []) : []))
  if (!targets.some(({kernel}) => isBuilt(kernel))) return
  for (const fragment of [...FRAGMENTS, ...new Set(debug.map((set) => `debug/${set}`))]) {
    const file = `${fragment}.config`
    await mkdir(dirname(join(inputs, 'kconfigs', file)), {recursive: true})
    await cp(projectPath('kconfigs', file), join(inputs, 'kconfigs', file))
  }
}

/** Writes down how a run was made, with what is known only after it: the kernels' configurations and the guest's packages. */
export async function recordRun(context: Context, input: CompareInput, about: RunAbout, {pairs}: Comparison): Promise<RunRecord> {
  const inputs = join(input.folder, INPUTS)
  const {targets, repeats, rootTar, trace, firewall4} = input
  const ran = targets.filter(({one, kernel}) => pairs.some((pair) => pair.case === one.name && pair.kernel === kernel.label && pair.sessions.length > 0))
  for (const {kernel} of ran) await unlessLost(context, async () => await keepConfig(context, kernel, join(inputs, 'kernels')))
  for (const {one} of ran) await unlessLost(context, async () => await keepPackages(context, one, rootTar, join(inputs, 'packages')))
  const cases = new Map(targets.map(({one}) => [one.name, one]))
  const kernels = new Map(targets.map(({kernel}) => [kernel.label, kernel]))
  const record: RunRecord = {
    ...{schema: 1, ...about, repeats, ownRoot: rootTar !== undefined},
    traced: trace && targets.some(({one}) => one.probes.length > 0),
    firewall4: firewall4 ? firewall4Record(firewall4) : null,
    cases: [...cases.values()].map(({name, title, reproducer, livepatches, candidates}) => ({
      ...{name, title, parameters: reproducer.parameters},
      livepatches: livepatches.map((one) => one.name),
      candidates: candidates.map((one) => one.name),
      fromPatch: livepatches.some(({madeOf}) => madeOf !== undefined),
    })),
    kernels: [...kernels.values()].map(kernelRecord),
    targets: targets.map(({one, kernel, variants}) => ({case: one.name, kernel: kernel.label, variants: variants as RunRecord['targets'][number]['variants']})),
    files: await checksums(inputs),
  }
  await writeFile(join(inputs, RECORD), `${JSON.stringify(record, null, 2)}\n`)
  return record
}

function kernelRecord(kernel: Kernel): KernelRecord {
  const {label, line, release, origin} = kernel
  const common = {label, line, release, origin}
  if (isBuilt(kernel)) return {...common, version: kernel.source.version, kind: 'built', tree: kernel.source.treeHash, debug: [...(kernel.options.debug ?? [])]}
  const [, packaged] = /^debian (.*)$/.exec(label) ?? []
  return {...common, version: packaged ?? release, kind: packaged === undefined ? 'given' : 'packaged', tree: null, debug: []}
}

function firewall4Record({source: {version, commit, treeHash, origin}, ucode}: Firewall4): RunRecord['firewall4'] {
  return {version, commit, tree: treeHash, origin, ucode: Object.fromEntries(Object.entries(ucode.files).map(([path, sum]) => [basename(path), sum]))}
}

async function keepConfig(context: Context, kernel: Kernel, folder: string): Promise<void> {
  const {config} = await kernel.image(context)
  if (config === undefined) return
  await mkdir(folder, {recursive: true})
  await cp(config, join(folder, configName(kernel)))
}

async function keepPackages(context: Context, {name, reproducer}: Case, rootTar: string | undefined, folder: string): Promise<void> {
  const {packages} = rootTar ? await rootFromTar(context, rootTar) : await guestRoot(context, reproducer.packages)
  await mkdir(folder, {recursive: true})
  await writeFile(join(folder, name), packages)
}

/** What a session did not need to have at hand may be gone from the cache: no reason to lose the results. */
async function unlessLost(context: Context, work: () => Promise<void>): Promise<void> {
  await work().catch((error: unknown) => {
    context.signal.throwIfAborted()
    if (!(error instanceof CouldNotRun)) throw error
    context.progress(`not recorded: ${error.message}`)
  })
}

/** What a kernel's configuration is called in inputs/kernels. */
export function configName({label}: {label: string}): string {
  return `${label.replaceAll(' ', '-')}.config`
}

async function checksums(folder: string): Promise<Record<string, string>> {
  const entries = await readdir(folder, {recursive: true, withFileTypes: true})
  const paths = entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name))).sort()
  return Object.fromEntries(await Promise.all(paths.map(async (path) => [path, await sha256File(join(folder, path))] as const)))
}

/**
 * Reads what a run was made with from its folder.
 *
 * @throws InputError when it has no record, or its copies are not what the run used
 */
export async function readRecord(folder: string): Promise<RunRecord> {
  const file = join(folder, INPUTS, RECORD)
  const text = await readFile(file, 'utf8').catch((error: unknown) => {
    if (systemCode(error) === 'ENOENT') throw new InputError(`${folder} has no ${INPUTS}/${RECORD}: it is no folder of a run, or the run did not end; run compare again`)
    throw error
  })
  const record = parseRecord(text, file)
  const now = await checksums(join(folder, INPUTS))
  delete now[RECORD]
  const changed = [...new Set([...Object.keys(now), ...Object.keys(record.files)])].find((path) => now[path] !== record.files[path])
  if (changed !== undefined) throw new InputError(`${join(folder, INPUTS, changed)} is not what the run used: it was changed, added or removed since; run compare again`)
  return record
}

function parseRecord(text: string, file: string): RunRecord {
  try {
    return runSchema.parse(JSON.parse(text))
  } catch {
    throw new InputError(`${file} is no record of a run that this patchbench knows`)
  }
}
